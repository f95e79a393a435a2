"""Weights of torch, safetensors and other names: the scores stay what they were, and what does not fit is named."""

import re
import zipfile

import numpy as np
import pytest
import safetensors.numpy

torch = pytest.importorskip("torch")
import safetensors.torch  # noqa: E402
import torch_nets  # noqa: E402

from cxrscore.contract import ModelSpec  # noqa: E402
from cxrscore.errors import FileFormatError, InputError  # noqa: E402
from cxrscore.images import Preprocessing, preprocess, read_film, to_unit  # noqa: E402
from cxrscore.models.imagenet import read_weights, read_weights_info  # noqa: E402
from cxrscore.models.import_weights import read_weights_of  # noqa: E402
from cxrscore.models.naming import _densenet_layers  # noqa: E402
from cxrscore.models.probabilities import probabilities  # noqa: E402
from cxrscore.models.torch_file import read_torch  # noqa: E402
from cxrscore.networks.builtin import built_in  # noqa: E402
from cxrscore.networks.graph import FILM, GraphBuilder, Network  # noqa: E402
from cxrscore.networks.tensors import initial_tensors  # noqa: E402
from cxrscore.plugins import get_backend  # noqa: E402
from cxrscore.synthetic.phantoms import golden_films  # noqa: E402

SIZE = 64
FILMS = golden_films(SIZE, 3)
MEAN, SD = (torch.tensor(v).view(1, 3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
SCALES = {"imagenet-rgb": lambda grey: (grey.expand(-1, 3, -1, -1) - MEAN) / SD, "unit": lambda grey: grey}
SCALES["signed-1024"] = lambda grey: (2 * grey - 1) * 1024


def theirs(network, films, normalize="imagenet-rgb"):
    """Probabilities [N,C] as the network's own authors compute them."""
    with torch.no_grad():
        found = network(SCALES[normalize](torch.tensor(films)[:, None]))
    return found.numpy() if isinstance(network, torch_nets.CheXNet) else torch.sigmoid(found).numpy()


def ours(foreign, films):
    names = tuple(f"finding {number}" for number in range(len(foreign.layer.bias)))
    name, side = foreign.network.name, films.shape[1]
    spec = ModelSpec(architecture=name, findings=names, size=side, normalize=foreign.normalize, head=foreign.head)
    tensors = {**foreign.base, "head/kernel": foreign.layer.kernel, "head/bias": foreign.layer.bias}
    return probabilities(get_backend("torch").build(spec, tensors, device="cpu").predict(films), "sigmoid")


def expect_alike(network, path, **options):
    foreign = read_weights_of(path, **options)
    expected = theirs(network, FILMS, foreign.normalize)
    assert np.ptp(expected, axis=0).max() > 0.01, "films that all score alike would show nothing"
    assert np.abs(ours(foreign, FILMS) - expected).max() <= 1e-5
    return foreign


@pytest.fixture(scope="module")
def torchvision():
    return torch_nets.lively(torch_nets.DenseNet(5))


@pytest.fixture(scope="module")
def resnet():
    return torch_nets.lively(torch_nets.ResNet(4), seed=5)


@pytest.fixture(scope="module")
def chexnet():
    return torch_nets.lively(torch_nets.CheXNet(), seed=1)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("named", [dict, torch_nets.old_names], ids=["norm1", "norm.1"])
def test_torchvision(torchvision, tmp_path, zipped, named):
    torch.save(named(torchvision.state_dict()), tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    foreign = expect_alike(torchvision, tmp_path / "a.pth")
    assert (foreign.kind, foreign.network.name, foreign.normalize) == ("torchvision", "densenet121", "imagenet-rgb")
    assert (foreign.outputs, foreign.points, foreign.size) == (None, None, 224)
    assert foreign.notes == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "blocks"), [("densenet169", (6, 12, 32, 32)), ("densenet201", (6, 12, 48, 32))], ids=["169", "201"]
)
def test_deeper_densenets_are_told_apart_by_their_layers(tmp_path, name, blocks):
    network = torch_nets.lively(torch_nets.DenseNet(3, blocks=blocks))
    torch.save(network.state_dict(), tmp_path / "a.pth")
    assert expect_alike(network, tmp_path / "a.pth").network.name == name


def of_resnet(network, **names):
    """Its state, with some names before the layers replaced."""
    state = network.state_dict()
    return {re.sub(r"^(\w+)\.", lambda m: f"{names.get(m[1], m[1])}.", name): value for name, value in state.items()}


NUMBERED = {"conv1": "0", "bn1": "1", **{f"layer{n}": str(n + 3) for n in range(1, 5)}}


@pytest.mark.parametrize(
    "names",
    [
        {},
        {name: f"module.backbone.{name}" for name in NUMBERED},
        {name: f"encoder.{number}" for name, number in NUMBERED.items()} | {"fc": "fc.1"},
        NUMBERED | {"fc": "10"},
    ],
    ids=["plain", "backbone", "numbered in an encoder", "one Sequential"],
)
def test_resnet50(resnet, tmp_path, names):
    torch.save(of_resnet(resnet, **names), tmp_path / "a.pth")
    foreign = expect_alike(resnet, tmp_path / "a.pth")
    assert (foreign.kind, foreign.network.name, foreign.size) == ("torchvision", "resnet50v1.5", 224)


def test_resnet50_of_torchxrayvision(tmp_path):
    network = torch_nets.lively(torch_nets.ResNet(18, 1))
    network.conv1.weight.data /= 500
    network.fc.weight.data /= 100
    torch.save({f"model.{name}": value for name, value in network.state_dict().items()}, tmp_path / "a.pt")
    foreign = expect_alike(network, tmp_path / "a.pt")
    assert (foreign.kind, foreign.normalize, foreign.size, foreign.fit) == (
        "torchxrayvision",
        "signed-1024",
        512,
        "crop",
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_monai(tmp_path, channels):
    network = torch_nets.lively(torch_nets.DenseNet(2, channels), seed=7)
    network.classifier.weight.data *= channels
    torch.save({"net": torch_nets.monai_names(network.state_dict())}, tmp_path / "a.pt")
    if channels == 3:
        network.features.conv0.weight.data = network.features.conv0.weight.data.sum(1, keepdim=True)
    foreign = expect_alike(network, tmp_path / "a.pt")
    assert (foreign.kind, foreign.normalize) == ("monai", "unit")
    assert "films are passed as 0..1" in foreign.notes[-1]


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_chexnet(chexnet, tmp_path, zipped):
    optimiser = torch.optim.Adam(chexnet.parameters())
    chexnet.densenet121.classifier[0].weight.sum().backward()
    optimiser.step()
    state = torch_nets.old_names(chexnet.state_dict())
    told = {
        "epoch": 3,
        "best_loss": np.float64(0.5),
        "optimizer": optimiser.state_dict(),
        "state_dict": {f"module.{name}": tensor for name, tensor in state.items()},
    }
    torch.save(told, tmp_path / "model.pth.tar", _use_new_zipfile_serialization=zipped)
    foreign = expect_alike(chexnet, tmp_path / "model.pth.tar")
    assert (foreign.kind, foreign.outputs) == ("torchvision", None)


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
    base = read_weights(tmp_path / "a.pt", "densenet121")
    assert (base.origin.normalize, base.origin.fit) == ("signed-1024", "crop")
    assert read_weights_info(str(tmp_path / "a.pt")) == base.origin
    assert "conv1_conv/kernel" in base.tensors


def test_a_kernel_for_one_channel_becomes_thirds_and_epsilons_are_made_up_for(tmp_path):
    network = torch_nets.DenseNet(2, 1)
    torch.save(network.state_dict(), tmp_path / "a.pth")
    base = read_weights_of(tmp_path / "a.pth").base
    kernel = network.features.conv0.weight.detach().numpy()
    assert base["conv1_conv/kernel"].shape == (7, 7, 3, 64)
    np.testing.assert_allclose(base["conv1_conv/kernel"][2, 5, :, 9], [kernel[9, 0, 2, 5] / 3] * 3, rtol=1e-6)
    # The variance of a fresh network is 1: 1 + 1e-5 = x + 1.001e-5.
    np.testing.assert_allclose(base["bn/moving_variance"], 1 - 1e-8, rtol=1e-7)
    assert all(tensor.flags.c_contiguous and tensor.dtype == np.float32 for tensor in base.values())


def test_a_variance_of_0_keeps_its_scores(tmp_path):
    """Here the difference of the epsilons is a thousandth of what divides."""
    network = torch_nets.lively(torch_nets.DenseNet(5))
    network.features.norm5.running_var[:500] = 0
    network.features.norm5.weight.data[:500] = 0.002
    torch.save(network.state_dict(), tmp_path / "a.pth")
    assert expect_alike(network, tmp_path / "a.pth").base["bn/moving_variance"][0] < 0


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
def test_another_epsilon_of_a_whole_network_is_added_to_the_variance(tmp_path):
    with torch_nets.torchxrayvision() as made:
        network = torch_nets.lively(made(2, 1))
        network.features.norm5.eps = 0.5
        torch.save(network, tmp_path / "a.pt")
    base = read_weights_of(tmp_path / "a.pt").base
    variance = network.features.norm5.running_var.numpy()
    np.testing.assert_allclose(base["bn/moving_variance"], variance + 0.5 - 1.001e-5, rtol=1e-6)
    np.testing.assert_allclose(
        base["conv1_bn/moving_variance"], network.features.norm0.running_var.numpy() - 1e-8, rtol=1e-6
    )


def test_training_can_start_from_imagenet_as_torchvision_has_it(tmp_path):
    torch.save(torch_nets.DenseNet().state_dict(), tmp_path / "densenet121-a639ec97.pth")
    base = read_weights(tmp_path / "densenet121-a639ec97.pth", "densenet121")
    spec = ModelSpec(architecture="densenet121", findings=("Mass", "Edema"), size=64)
    started = initial_tensors(spec, 0, base.tensors)
    np.testing.assert_array_equal(started["bn/gamma"], base.tensors["bn/gamma"])
    assert (base.name, base.origin.licence) == ("densenet121-a639ec97.pth", "unknown")
    with pytest.raises(
        InputError, match=r"weights of densenet121, expected those of resnet50: give --architecture den"
    ):
        read_weights(tmp_path / "densenet121-a639ec97.pth", "resnet50")


# --- safetensors without a document


@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16])
def test_a_state_dict_in_safetensors(torchvision, tmp_path, kind):
    state = {f"model.{name}": value.to(kind) for name, value in torchvision.state_dict().items()}
    safetensors.torch.save_file(state, tmp_path / "a.safetensors")
    foreign = read_weights_of(tmp_path / "a.safetensors")
    expected = torchvision.features.norm5.bias.to(kind).float().detach().numpy()
    np.testing.assert_array_equal(foreign.base["bn/beta"], expected)
    assert foreign.layer.kernel.shape == (1024, 5)


@pytest.mark.parametrize("name", ["resnet50", "resnet50v1.5", "tinycnn"])
def test_neutral_names(tmp_path, name):
    spec = ModelSpec(architecture=name, findings=("Mass", "Edema"), size=64)
    tensors = initial_tensors(spec, 3)
    safetensors.numpy.save_file(tensors, tmp_path / "a.bin")
    foreign = read_weights_of(tmp_path / "a.bin")
    assert (foreign.kind, foreign.network.name, foreign.normalize) == ("keras", name, built_in(name).normalize)
    assert foreign.notes == ()
    for tensor, values in {**foreign.base, "head/kernel": foreign.layer.kernel}.items():
        np.testing.assert_array_equal(values, tensors[tensor])


def test_a_network_of_a_plugin_by_the_names_of_its_nodes(tmp_path):
    graph = GraphBuilder()
    x = graph.add("relu", "relu", graph.add("stem", "conv2d", FILM, filters=4, size=3, stride=2, padding=1))
    network = Network(name="small", nodes=graph.nodes, output=x, stages=("stem",))
    kernel = np.arange(108, dtype=np.float32).reshape(3, 3, 3, 4)
    tensors = {"stem/kernel": kernel, "stem/bias": np.ones(4, np.float32), "head/kernel": np.ones((4, 2), np.float32)}
    safetensors.numpy.save_file(tensors, tmp_path / "a.safetensors")
    foreign = read_weights_of(tmp_path / "a.safetensors", networks=(network,))
    assert foreign.network is network
    np.testing.assert_array_equal(foreign.base["stem/kernel"], kernel)
    assert foreign.layer.kernel.shape == (4, 2)
    assert read_weights(tmp_path / "a.safetensors", "small", network).tensors.keys() == {"stem/kernel", "stem/bias"}
    with pytest.raises(InputError, match=r"no network that can be imported: .* 'head/kernel' \[4, 2\]"):
        read_weights_of(tmp_path / "a.safetensors")


# --- what else a file holds


def under(prefix, state):
    return {f"{prefix}{name}": value for name, value in state.items()}


def no_counters(network):
    return {name: value for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")}


def test_entries_that_are_no_weights_are_ignored_and_told(torchvision, tmp_path):
    state = under("model.", no_counters(torchvision))
    more = {"criterion.pos_weight": torch.ones(5), "val_auc.confmat": torch.ones(5, 5), "empty": torch.ones(0)}
    adam = {"exp_avg": {"model.features.conv0.weight": torch.ones(64, 3, 7, 7)}}
    torch.save({"state_dict": state | more, "epoch": 4, "optim": adam}, tmp_path / "a.ckpt")
    foreign = expect_alike(torchvision, tmp_path / "a.ckpt")
    assert foreign.notes == (
        "ignored 3 entries that are no weights of the network: state_dict.criterion.pos_weight, "
        "state_dict.val_auc.confmat, optim.exp_avg.model.features.conv0.weight",
    )


@pytest.mark.slow
@pytest.mark.parametrize("copy", ["ema.module.", "model_ema.", "teacher."])
def test_of_two_copies_the_plain_one_is_taken_unless_the_other_is_asked_for(torchvision, tmp_path, copy):
    other = torch_nets.lively(torch_nets.DenseNet(5), seed=9)
    torch.save(under(copy, no_counters(other)) | under("student.", no_counters(torchvision)), tmp_path / "a.pth")
    foreign = expect_alike(torchvision, tmp_path / "a.pth")
    assert foreign.notes[0] == (
        "the file holds 2 networks: took densenet121 under 'student.features.', not densenet121 under "
        f"'{copy}features.'. `cxrscore import --key` chooses another"
    )
    assert foreign.notes[1].endswith(f"of the network: {copy}classifier.weight, {copy}classifier.bias")
    expect_alike(other, tmp_path / "a.pth", key=copy.rstrip("."))
    with pytest.raises(InputError, match=r"no weights of a network under 'none'; its entries begin with '"):
        read_weights_of(tmp_path / "a.pth", key="none")


@pytest.mark.slow
def test_two_copies_alike_must_be_chosen_between_but_one_network_under_two_names_not(torchvision, tmp_path):
    other = torch_nets.lively(torch_nets.DenseNet(5), seed=9)
    torch.save({"fold0": no_counters(torchvision), "fold1": no_counters(other)}, tmp_path / "a.pth")
    with pytest.raises(
        InputError, match=r"2 networks: densenet121 under .* Choose one .*, such as --key fold0\.features"
    ):
        read_weights_of(tmp_path / "a.pth")
    expect_alike(other, tmp_path / "a.pth", key="fold1")
    torch.save({"fold0": no_counters(torchvision), "fold1": no_counters(torchvision)}, tmp_path / "b.pth")
    expect_alike(torchvision, tmp_path / "b.pth")


@pytest.mark.slow
def test_of_two_networks_the_one_that_is_asked_for(torchvision, resnet, tmp_path):
    torch.save({"a": no_counters(torchvision), "b": no_counters(resnet)}, tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"2 networks: densenet121 under 'a\.features\.', resnet50v1\.5 under 'b\.'"):
        read_weights_of(tmp_path / "a.pth")
    assert expect_alike(resnet, tmp_path / "a.pth", key="b").network.name == "resnet50v1.5"


# --- heads


def with_head(network, **tensors):
    state = {name: value for name, value in no_counters(network).items() if not name.startswith("classifier")}
    return state | {name.replace("__", "."): value for name, value in tensors.items()}


KERNEL, BIAS = torch.randn(2, 1024), torch.randn(2)


@pytest.mark.parametrize(
    "name", ["classifier", "classifier__2", "fc", "class_layers__out", "head", "heads__head", "odd"]
)
@pytest.mark.parametrize("axes", [2, 4], ids=["dense", "1x1"])
def test_names_of_heads(torchvision, tmp_path, name, axes):
    kernel = KERNEL if axes == 2 else KERNEL[:, :, None, None]
    state = with_head(torchvision, **{f"{name}__weight": kernel, f"{name}__bias": BIAS})
    torch.save(state, tmp_path / "a.pth")
    layer = read_weights_of(tmp_path / "a.pth").layer
    np.testing.assert_array_equal(layer.kernel, KERNEL.T)
    np.testing.assert_array_equal(layer.bias, BIAS)


def test_a_head_beside_the_backbone_and_one_without_a_bias(torchvision, tmp_path):
    backbone = under("net.backbone.", with_head(torchvision))
    projector = {"net.projector.0.weight": torch.ones(8, 1024), "net.projector.0.bias": torch.ones(8)}
    torch.save(backbone | projector | {"net.classifier.weight": KERNEL}, tmp_path / "a.pth")
    layer = read_weights_of(tmp_path / "a.pth").layer
    np.testing.assert_array_equal(layer.kernel, KERNEL.T)
    assert layer.bias.tolist() == [0, 0]


def test_heads_side_by_side_are_one(torchvision, tmp_path):
    heads = {
        f"heads__{n}__{part}": value[n : n + 1]
        for n in range(2)
        for part, value in zip(("weight", "bias"), (KERNEL, BIAS), strict=True)
    }
    torch.save(with_head(torchvision, **heads), tmp_path / "a.pth")
    layer = read_weights_of(tmp_path / "a.pth").layer
    np.testing.assert_array_equal(layer.kernel, KERNEL.T)
    np.testing.assert_array_equal(layer.bias, BIAS)


def test_a_head_beside_one_that_was_left_over(torchvision, tmp_path):
    state = under("backbone.", with_head(torchvision, classifier__weight=torch.ones(1000, 1024)))
    more = {"aux_head.weight": torch.ones(2, 7), "head.weight": KERNEL, "head.bias": BIAS}
    torch.save(state | more, tmp_path / "a.pth")
    foreign = read_weights_of(tmp_path / "a.pth")
    np.testing.assert_array_equal(foreign.layer.kernel, KERNEL.T)
    assert foreign.notes[0].endswith("network: backbone.classifier.weight, aux_head.weight")


def test_a_backbone_alone_has_no_head(torchvision, tmp_path):
    torch.save(with_head(torchvision), tmp_path / "a.pth")
    assert read_weights_of(tmp_path / "a.pth").layer is None
    assert (
        read_weights(tmp_path / "a.pth", "densenet121").tensors.keys()
        == built_in("densenet121").tensor_shapes(224).keys()
    )


HEADS = {
    "small": ({"classifier__weight": torch.ones(2, 64), "classifier__bias": BIAS}, "takes 64 features. Expected 1024"),
    "two layers": (
        {"fc__0__weight": torch.ones(64, 1024), "fc__2__weight": torch.ones(2, 64)},
        r"2 layers that may be its head, 'fc\.0' \[64, 1024\], 'fc\.2' \[2, 64\]: expected one dense layer",
    ),
    "a layer upon ImageNet's": (
        {"classifier__weight": torch.ones(1000, 1024), "head__weight": torch.ones(2, 1000)},
        r"2 layers that may be its head, 'head' \[2, 1000\], 'classifier' \[1000, 1024\]",
    ),
    "two that fit": (
        {"head__weight": KERNEL, "fc__weight": KERNEL},
        r"2 layers that may be its head, 'fc' \[2, 1024\], 'head' \[2, 1024\]",
    ),
    "many without a usual name": (
        {f"fc_{n}__{part}": value for n in (0, 1) for part, value in (("weight", KERNEL[:1]), ("bias", BIAS[:1]))},
        r"2 layers that may be its head, 'fc_0' \[1, 1024\], 'fc_1' \[1, 1024\]",
    ),
    "a normalisation": (
        {"fc__0__weight": torch.ones(1024), "fc__0__bias": torch.ones(1024), "fc__1__weight": KERNEL},
        r"its head has more than a mean and one dense layer: 'fc\.0\.weight'",
    ),
    "a bias of another length": (
        {"fc__weight": KERNEL, "fc__bias": torch.ones(3)},
        r"head 'fc' has 2 outputs, but 'fc\.bias' has shape \[3\], expected \[2\]",
    ),
    "whole numbers": (
        {"fc__weight": KERNEL.to(torch.int8), "fc__bias": BIAS},
        r"'fc\.weight' is int8, expected floating",
    ),
    "infinite": ({"fc__weight": torch.full((2, 1024), torch.inf), "fc__bias": BIAS}, "its head is not finite"),
    "wide": ({"fc__weight": torch.ones(1001, 1024)}, "its head has 1001 outputs, expected 1 to 1000"),
}


@pytest.mark.parametrize("head", HEADS)
def test_heads_that_do_not_fit_are_refused_but_training_can_start_from_the_backbone(torchvision, tmp_path, head):
    tensors, told = HEADS[head]
    torch.save(with_head(torchvision, **tensors), tmp_path / "a.pth")
    with pytest.raises(InputError, match=told):
        read_weights_of(tmp_path / "a.pth")
    assert "bn/gamma" in read_weights(tmp_path / "a.pth", "densenet121").tensors


# --- what is refused


NAME = "features.denseblock1.denselayer1.conv1.weight"
ODD_WEIGHTS = {
    "whole numbers": (NAME, lambda value: value.to(torch.int8), rf"{NAME}' is int8, expected floating-point numbers"),
    "8-bit floating point": (
        NAME,
        lambda value: value.to(torch.float8_e4m3fn),
        rf"it lacks 1 of its weights: {NAME}. Numbers of this type cannot be read: '{NAME}' \(F8_E4M3\)",
    ),
    "variance": (
        "features.norm5.running_var",
        lambda value: -value,
        r"norm5\.running_var is negative, and is a variance",
    ),
}


@pytest.mark.parametrize("odd", ODD_WEIGHTS)
def test_weights_that_stand_for_other_numbers_are_refused(torchvision, tmp_path, odd):
    name, change, told = ODD_WEIGHTS[odd]
    state = no_counters(torchvision)
    safetensors.torch.save_file({**state, name: change(state[name]).contiguous()}, tmp_path / "a.safetensors")
    with pytest.raises(InputError, match=told):
        read_weights_of(tmp_path / "a.safetensors")


def test_a_torchscript_program_is_told(tmp_path):
    """Its members are packed, as torch.jit.save writes its code."""
    with zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("data.pkl", "code/__torch__.py", "constants.pkl"):
            archive.writestr(f"a/{name}", "import torch\n" * 9)
    with pytest.raises(FileFormatError, match=r"it is a TorchScript program, not weights\. Save the state_dict"):
        read_weights_of(tmp_path / "a.pt")


def without(state, name):
    return {key: value for key, value in state.items() if key != name}


CHANGES = {
    "misses": (
        lambda s: without(s, "features.norm5.bias"),
        r"looks like densenet121 by torchvision names, but it lacks 1 of its weights: features\.norm5\.bias",
    ),
    "has more": (
        lambda s: s | {"features.norm5.extra": torch.ones(1)},
        r"but it holds 'features\.norm5\.extra' \[1\], which that network does not have",
    ),
    "has another block": (
        lambda s: s | {"features.denseblock5.denselayer1.conv1.weight": torch.ones(1)},
        r"holds 'features\.denseblock5\.denselayer1\.conv1\.weight'",
    ),
    "has another shape": (
        lambda s: s | {"features.norm5.bias": torch.ones(9)},
        r"features\.norm5\.bias has shape \[9\], expected \[1024\]",
    ),
    "is not finite": (
        lambda s: s | {"features.norm5.bias": torch.full((1024,), torch.nan)},
        r"norm5\.bias is not finite",
    ),
    "has two channels": (
        lambda s: s | {"features.conv0.weight": torch.ones(64, 2, 7, 7)},
        r"conv0\.weight has shape \[64, 2, 7, 7\], expected \[64, 3, 7, 7\]",
    ),
    "has names twice": (
        lambda s: s | {"features.denseblock1.denselayer1.norm.1.bias": torch.ones(64)},
        r"holds 'features\.denseblock1\.denselayer1\.norm\.1\.bias'",
    ),
    "has a million thresholds": (lambda s: s | {"op_threshs": torch.ones(10**6)}, "has 1000000 thresholds"),
    "is another network": (
        lambda s: {"fc.weight": torch.ones(1)},
        r"holds no network .* it has 1 tensors, 'fc\.weight' \[1\]\. Expected: densenet121, densenet169, .* by names",
    ),
    "has a little of one": (
        lambda s: {name: value for name, value in s.items() if "denseblock1" in name},
        r"The closest is densenet121 by torchvision names: 60 of its 604 weights are there",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_does_not_fit_is_named(torchvision, tmp_path, change):
    make, told = CHANGES[change]
    torch.save(make(torchvision.state_dict()), tmp_path / "a.pth")
    with pytest.raises(InputError, match=told) as refused:
        read_weights_of(tmp_path / "a.pth")
    assert "a.pth" in str(refused.value)


@pytest.mark.slow
def test_a_resnet101_and_a_densenet161_are_not_taken_for_another(tmp_path):
    torch.save(torch_nets.ResNet(2, depths=(3, 4, 23, 3)).state_dict(), tmp_path / "a.pth")
    with pytest.raises(
        InputError, match=r"looks like resnet50v1\.5 .* holds 'layer3\.10\.bn1\.bias' \[256\]|layer3\.6"
    ):
        read_weights_of(tmp_path / "a.pth")
    torch.save(torch_nets.DenseNet(2, blocks=(6, 12, 36, 24)).state_dict(), tmp_path / "b.pth")
    with pytest.raises(InputError, match=r"of its weights: features\.denseblock"):
        read_weights_of(tmp_path / "b.pth")


@pytest.mark.shared
@pytest.mark.slow
def test_real_weights_and_real_films(shared, tmp_path):
    """ImageNet's weights, put under torchvision's names, with a head that spreads."""
    network = torch_nets.lively(torch_nets.CheXNet())
    theirs_of = {ours: theirs.format("") for theirs, ours in _densenet_layers(torch_nets.BLOCKS)}
    variables = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
    state = network.densenet121.state_dict()
    weights = safetensors.numpy.load_file(shared / "weights" / "densenet121_imagenet_notop.safetensors")
    for name, values in weights.items():
        layer, variable = name.split("/")
        tensor = torch.tensor(values.astype(np.float32))
        state[f"features.{theirs_of[layer]}.{variables.get(variable, 'weight')}"].copy_(
            tensor.permute(3, 2, 0, 1) if variable == "kernel" else tensor
        )
    network.densenet121.classifier[0].weight.data *= 3
    torch.save(network.state_dict(), tmp_path / "a.pth")
    foreign = read_weights_of(tmp_path / "a.pth")
    np.testing.assert_array_equal(foreign.base["conv1_conv/kernel"], weights["conv1_conv/kernel"])
    paths = sorted((shared / "data" / "nih442").rglob("*.png"))[:8]
    films = np.stack([to_unit(preprocess(read_film(path).pixels, Preprocessing(size=224))) for path in paths])
    expected = theirs(network, films)
    assert np.ptp(expected, axis=0).max() > 0.5
    assert np.abs(ours(foreign, films) - expected).max() <= 1e-5
