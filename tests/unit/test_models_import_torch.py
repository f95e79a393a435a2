"""DenseNet121s saved by torch, in both of its formats and by all their names: the scores stay what they were."""

import numpy as np
import pytest
import safetensors.numpy

torch = pytest.importorskip("torch")
import torch_nets  # noqa: E402

from cxrscore.contract import ModelSpec  # noqa: E402
from cxrscore.errors import InputError  # noqa: E402
from cxrscore.images import Preprocessing, preprocess, read_film, to_unit  # noqa: E402
from cxrscore.networks.tensors import initial_tensors  # noqa: E402
from cxrscore.models.imagenet import read_weights, read_weights_info  # noqa: E402
from cxrscore.models.import_torch import _layers, read_torch_densenet  # noqa: E402
from cxrscore.models.probabilities import probabilities  # noqa: E402
from cxrscore.models.torch_file import read_torch  # noqa: E402
from cxrscore.plugins import get_backend  # noqa: E402
from cxrscore.synthetic.phantoms import golden_films  # noqa: E402

SIZE = 64
FILMS = golden_films(SIZE, 3)
MEAN, SD = (torch.tensor(v).view(1, 3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))


def theirs(network, films):
    """Probabilities [N,C] as the network's own authors work them out."""
    grey = torch.tensor(films)[:, None]
    with torch.no_grad():
        if isinstance(network, torch_nets.DenseNet) and network.features.conv0.in_channels == 1:
            return torch.sigmoid(network((2 * grey - 1) * 1024)).numpy()
        found = network((grey.expand(-1, 3, -1, -1) - MEAN) / SD)
        return found.numpy() if isinstance(network, torch_nets.CheXNet) else torch.sigmoid(found).numpy()


def ours(foreign, films):
    names = tuple(f"finding {number}" for number in range(len(foreign.bias)))
    spec = ModelSpec(architecture="densenet121", findings=names, size=films.shape[1], normalize=foreign.normalize)
    tensors = {**foreign.base, "head/kernel": foreign.kernel, "head/bias": foreign.bias}
    return probabilities(get_backend("torch").build(spec, tensors, device="cpu").predict(films), "sigmoid")


def expect_alike(network, path):
    expected = theirs(network, FILMS)
    assert np.ptp(expected, axis=0).max() > 0.01, "films that all score alike would show nothing"
    foreign = read_torch_densenet(path)
    assert np.abs(ours(foreign, FILMS) - expected).max() <= 1e-5
    return foreign


@pytest.fixture(scope="module")
def torchvision():
    return torch_nets.lively(torch_nets.DenseNet(5))


@pytest.fixture(scope="module")
def chexnet():
    return torch_nets.lively(torch_nets.CheXNet(), seed=1)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("named", [dict, torch_nets.old_names], ids=["norm1", "norm.1"])
def test_torchvision(torchvision, tmp_path, zipped, named):
    torch.save(named(torchvision.state_dict()), tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    foreign = expect_alike(torchvision, tmp_path / "a.pth")
    assert (foreign.kind, foreign.normalize, foreign.outputs, foreign.points) == (
        *("torchvision", "imagenet-rgb"),
        *(None, None),
    )


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_chexnet(chexnet, tmp_path, zipped):
    state = torch_nets.old_names(chexnet.state_dict())
    optimiser = torch.optim.Adam(chexnet.parameters())
    chexnet.densenet121.classifier[0].weight.sum().backward()
    optimiser.step()
    chexnet.load_state_dict({**chexnet.state_dict()})
    state = torch_nets.old_names(chexnet.state_dict())
    told = {
        "epoch": 3,
        "best_loss": np.float64(0.5),
        "optimizer": optimiser.state_dict(),
        "state_dict": {f"module.{name}": tensor for name, tensor in state.items()},
    }
    torch.save(told, tmp_path / "model.pth.tar", _use_new_zipfile_serialization=zipped)
    assert expect_alike(chexnet, tmp_path / "model.pth.tar").kind == "chexnet"


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
def test_a_whole_network_of_torchxrayvision(tmp_path, zipped):
    with torch_nets.torchxrayvision() as made:
        network = torch_nets.lively(made(4, 1), seed=2)
        network.features.conv0.weight.data /= 500  # films reach from -1024 to 1024
        network.pathologies = ["Effusion", "", "Lung Lesion", "Mass"]
        network.register_buffer("op_threshs", torch.tensor([0.25, float("nan"), 0.5, 0.75]))
        torch.save(network, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    foreign = expect_alike(network, tmp_path / "a.pt")
    assert (foreign.kind, foreign.normalize) == ("torchxrayvision", "signed-1024")
    assert foreign.outputs == ("Effusion", "", "Lung Lesion", "Mass")
    np.testing.assert_array_equal(foreign.points, [0.25, np.nan, 0.5, 0.75])
    assert read_torch(tmp_path / "a.pt").module == "torchxrayvision.models.DenseNet"
    base = read_weights(tmp_path / "a.pt", licence="unknown")
    assert (base.origin.normalize, base.origin.fit) == ("signed-1024", "crop")
    assert read_weights_info(str(tmp_path / "a.pt")) == base.origin
    assert "conv1_conv/kernel" in base.tensors


def test_a_kernel_for_one_channel_becomes_thirds_and_epsilons_are_made_up_for(tmp_path):
    network = torch_nets.DenseNet(2, 1)
    torch.save(network.state_dict(), tmp_path / "a.pth")
    base = read_torch_densenet(tmp_path / "a.pth").base
    kernel = network.features.conv0.weight.detach().numpy()
    assert base["conv1_conv/kernel"].shape == (7, 7, 3, 64)
    np.testing.assert_allclose(base["conv1_conv/kernel"][2, 5, :, 9], [kernel[9, 0, 2, 5] / 3] * 3, rtol=1e-6)
    # The variance of a fresh network is 1: 1 + 1e-5 = x + 1.001e-5.
    np.testing.assert_allclose(base["bn/moving_variance"], 1 - 1e-8, rtol=1e-7)
    assert all(tensor.flags.c_contiguous and tensor.dtype == np.float32 for tensor in base.values())


def test_a_variance_of_0_keeps_its_scores(tmp_path, torchvision):
    """Here the difference of the epsilons is a thousandth of what divides."""
    network = torch_nets.lively(torch_nets.DenseNet(5))
    network.features.norm5.running_var[:500] = 0
    network.features.norm5.weight.data[:500] = 0.002
    torch.save(network.state_dict(), tmp_path / "a.pth")
    assert expect_alike(network, tmp_path / "a.pth").base["bn/moving_variance"][0] < 0


def test_training_can_start_from_imagenet_as_torchvision_has_it(tmp_path):
    torch.save(torch_nets.DenseNet().state_dict(), tmp_path / "densenet121-a639ec97.pth")
    base = read_weights(tmp_path / "densenet121-a639ec97.pth", licence="unknown")
    spec = ModelSpec(architecture="densenet121", findings=("Mass", "Edema"), size=64)
    started = initial_tensors(spec, 0, base.tensors)
    np.testing.assert_array_equal(started["bn/gamma"], base.tensors["bn/gamma"])
    assert (base.name, base.origin.licence) == ("densenet121-a639ec97.pth", "unknown")


def without(state, name):
    return {key: value for key, value in state.items() if key != name}


CHANGES = {
    "misses": (lambda s: without(s, "features.norm5.bias"), "bn/beta is missing"),
    "has more": (lambda s: s | {"features.norm6.bias": torch.ones(1)}, r"holds 'features\.norm6\.bias', which"),
    "has another variable": (lambda s: s | {"features.conv0.bias": torch.ones(1)}, r"conv1_conv\.bias is not of this"),
    "has another shape": (lambda s: s | {"features.norm5.bias": torch.ones(9)}, r"bn/beta has shape \[9\]"),
    "is not finite": (lambda s: s | {"features.norm5.bias": torch.full((1024,), torch.nan)}, "bn/beta is not finite"),
    "has no classifier": (lambda s: without(s, "classifier.bias"), "1 tensors of a classifier"),
    "has two": (lambda s: s | {"classifier.1.bias": torch.ones(2)}, "3 tensors of a classifier"),
    "has a small one": (
        lambda s: s | {"classifier.weight": torch.ones(2, 64)},
        r"shape \[2, 64\], expected \[C,1024\]",
    ),
    "has two channels": (
        lambda s: s | {"features.conv0.weight": torch.ones(64, 2, 7, 7)},
        r"conv1_conv/kernel has shape \[7, 7, 2, 64\]",
    ),
    "has infinite weights": (
        lambda s: s | {"classifier.weight": torch.full((2, 1024), torch.inf)},
        "its classifier is not finite",
    ),
    "has names twice": (
        lambda s: s | {"features.denseblock1.denselayer1.norm.1.bias": torch.ones(64)},
        "under old names and new",
    ),
    "has a classifier of one axis": (
        lambda s: s | {"classifier.weight": torch.ones(1024), "classifier.bias": torch.tensor(1.0)},
        r"shape \[1024\], expected \[C,1024\]",
    ),
    "has a million operating points": (
        lambda s: s | {"op_threshs": torch.ones(10**6)},
        "has 1000000 operating points",
    ),
    "is a ResNet": (lambda s: {"layer1.0.conv1.weight": torch.ones(1)}, "two networks"),
    "is another network": (lambda s: {"fc.weight": torch.ones(1)}, r"there are 'fc\.weight'"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_does_not_fit_is_named(tmp_path, change):
    make, told = CHANGES[change]
    torch.save(make(torch_nets.DenseNet(2).state_dict()), tmp_path / "a.pth")
    with pytest.raises(InputError, match=told) as refused:
        read_torch_densenet(tmp_path / "a.pth")
    assert "a.pth" in str(refused.value)


def test_a_network_of_another_epsilon_is_refused(tmp_path):
    network = torch.nn.Sequential(torch.nn.BatchNorm2d(2, eps=1e-3))
    torch.save(network, tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"add 0\.001 to the variance, expected 1e-05"):
        read_torch_densenet(tmp_path / "a.pth")


@pytest.mark.shared
@pytest.mark.slow
def test_real_weights_and_real_films(shared, tmp_path):
    """ImageNet's weights, put under torchvision's names by what _layers says of ours, with a head that spreads."""
    network = torch_nets.lively(torch_nets.CheXNet())
    theirs_of = {ours: theirs for theirs, ours in _layers()}
    variables = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
    state = network.densenet121.state_dict()
    weights = safetensors.numpy.load_file(shared / "weights" / "densenet121_imagenet_notop.safetensors")
    for name, values in weights.items():
        layer, variable = name.split("/")
        tensor = torch.tensor(values.astype(np.float32))
        state[f"{theirs_of[layer]}.{variables.get(variable, 'weight')}"].copy_(
            tensor.permute(3, 2, 0, 1) if variable == "kernel" else tensor
        )
    network.densenet121.classifier[0].weight.data *= 3
    torch.save(network.state_dict(), tmp_path / "a.pth")
    foreign = read_torch_densenet(tmp_path / "a.pth")
    np.testing.assert_array_equal(foreign.base["conv1_conv/kernel"], weights["conv1_conv/kernel"])
    paths = sorted((shared / "data" / "nih442").rglob("*.png"))[:8]
    films = np.stack([to_unit(preprocess(read_film(path).pixels, Preprocessing(size=224))) for path in paths])
    expected = theirs(network, films)
    assert np.ptp(expected, axis=0).max() > 0.5
    assert np.abs(ours(foreign, films) - expected).max() <= 1e-5
