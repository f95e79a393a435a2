"""DenseNet121s saved by torch, in both of its formats and by all their names: the scores stay what they were."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import torch_nets  # noqa: E402

from cxrscore.contract import ModelSpec  # noqa: E402
from cxrscore.errors import InputError  # noqa: E402
from cxrscore.models.foreign import read_foreign  # noqa: E402
from cxrscore.models.imagenet import read_weights  # noqa: E402
from cxrscore.models.output import probabilities  # noqa: E402
from cxrscore.models.torch_file import read_torch  # noqa: E402
from cxrscore.plugins import get_backend  # noqa: E402
from cxrscore.testing.phantoms import golden_films  # noqa: E402

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
    foreign = read_foreign(path)
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
    with pytest.raises(InputError, match=r"Import it first.*--normalize signed-1024"):
        read_weights(tmp_path / "a.pt", licence="unknown")
