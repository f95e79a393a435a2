"""Weights of transformers and Keras, built from a configuration with random numbers: features here equal theirs.

Nothing is downloaded. The implementations have nothing in common with cxrscore's.
"""

import os
import re
import warnings

import numpy as np
import pytest

from cxrscore.contract import ModelSpec
from cxrscore.errors import InputError
from cxrscore.models.import_weights import read_weights_of
from cxrscore.models.keras_file import read_keras
from cxrscore.networks.builtin import built_in
from cxrscore.plugins import get_backend

os.environ["HF_HUB_OFFLINE"] = "1"
torch = pytest.importorskip("torch")

pytestmark = [
    pytest.mark.slow,
    # Of Keras on torch, when it converts a tensor.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"),
]
LIMIT = 1e-4
MEAN, SD = (np.float32(v)[:, None, None] for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))


def films(side, count=2):
    """float32 [count,side,side], smooth."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:side, 0:side] / side
    waves = [np.sin(a * x + b * y) for a, b in rng.uniform(2, 20, (count, 2))]
    return (0.5 + 0.4 * np.stack(waves)).astype(np.float32)


def features(foreign, grey, normalize=None):
    """float32 [N,K] of the imported backbone in torch."""
    width = foreign.network.shapes(grey.shape[1])[foreign.network.output][2]
    head = {"head/kernel": np.zeros((width, 1), np.float32), "head/bias": np.zeros(1, np.float32)}
    spec = ModelSpec(
        architecture=foreign.network.name,
        findings=("any",),
        size=grey.shape[1],
        normalize=normalize or foreign.normalize,
        head=foreign.head,
    )
    return get_backend("torch").build(spec, {**foreign.base, **head}, device="cpu").embed(grey)


def expect_equal(found, expected):
    assert np.ptp(expected, axis=0).max() > 0.01 * np.abs(expected).max(), "films that look alike would show nothing"
    assert np.abs(found - expected).max() <= LIMIT * np.abs(expected).max()


def randomised(network, seed=0):
    """Every weight and statistic away from its first value, such that features differ from film to film."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if not tensor.is_floating_point():
            continue
        if name.endswith("running_var"):
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
        elif name.endswith(("layer_scale1.lambda1", "layer_scale2.lambda1")):
            tensor.copy_(0.3 + 0.1 * torch.randn(tensor.shape, generator=generator))
        else:
            tensor += 0.02 * torch.randn(tensor.shape, generator=generator)
    return network.eval()


def normalised(grey):
    return torch.tensor((grey[:, None] - MEAN) / SD)


@pytest.fixture(scope="module")
def transformers():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own modules, when they are first imported
        return pytest.importorskip("transformers")


# --- Dinov2


@pytest.fixture(scope="module")
def dinov2(transformers):
    return randomised(transformers.Dinov2Model(transformers.Dinov2Config(image_size=518)))


@pytest.mark.parametrize("side", [518, 224])
def test_dinov2_of_transformers(dinov2, tmp_path, side):
    dinov2.save_pretrained(tmp_path)
    foreign = read_weights_of(tmp_path / "model.safetensors")
    assert (foreign.kind, foreign.network.name, foreign.size, foreign.head) == ("transformers", "vit_b14", 518, "cls")
    assert foreign.layer is None
    assert foreign.notes == ("ignored 1 entry that is no weight of the network: embeddings.mask_token",)
    grey = films(side, 1 if side == 518 else 2)
    if side == 518:
        grey = np.concatenate([grey, 1 - grey])
    with torch.no_grad():
        expected = dinov2(normalised(grey)).pooler_output.numpy()
    expect_equal(features(foreign, grey), expected)


def test_rad_dino_as_its_image_processor_prepares_films(transformers, dinov2, tmp_path):
    """The settings of microsoft/rad-dino's preprocessor_config.json; the file itself does not say its normalisation."""
    processor = transformers.BitImageProcessorPil(
        size={"shortest_edge": 518},
        crop_size={"height": 518, "width": 518},
        image_mean=[0.5307] * 3,
        image_std=[0.2583] * 3,
        resample=3,
    )
    grey = np.rint(films(518, 1) * 255).astype(np.uint8)
    grey = np.concatenate([grey, 255 - grey])
    given = processor([np.repeat(film[..., None], 3, axis=2) for film in grey], return_tensors="pt").pixel_values
    dinov2.save_pretrained(tmp_path)
    foreign = read_weights_of(tmp_path / "model.safetensors")
    assert foreign.normalize == "imagenet-rgb"
    with torch.no_grad():
        expected = dinov2(given).pooler_output.numpy()
    expect_equal(features(foreign, grey.astype(np.float32) / 255, "rad-dino"), expected)


def timm_names(state, chunks):
    """Those of timm and facebook's DINOv2 for the names of transformers' Dinov2Model, 5th release."""
    found = {}
    words = {
        "embeddings.cls_token": "cls_token",
        "embeddings.mask_token": "mask_token",
        "embeddings.position_embeddings": "pos_embed",
        "embeddings.patch_embeddings.projection": "patch_embed.proj",
        "layernorm.": "norm.",
        "attention.o_proj": "attn.proj",
        "layer_scale1.lambda1": "ls1.gamma",
        "layer_scale2.lambda1": "ls2.gamma",
    }
    for name, value in state.items():
        if "q_proj" in name:
            parts = [state[name.replace("q_proj", f"{letter}_proj")] for letter in "qkv"]
            name, value = name.replace("attention.q_proj", "attn.qkv"), torch.cat(parts)
        elif "k_proj" in name or "v_proj" in name:
            continue
        for theirs, timm in words.items():
            name = name.replace(theirs, timm)
        if name.startswith("encoder.layer."):
            number, rest = name.removeprefix("encoder.layer.").split(".", 1)
            name = f"blocks.{int(number) // 3}.{number}.{rest}" if chunks else f"blocks.{number}.{rest}"
        found[name] = value
    return found


@pytest.mark.parametrize("chunks", [False, True], ids=["blocks.0", "blocks.0.0"])
def test_timm_and_facebook_names_of_the_same_network(dinov2, tmp_path, chunks):
    state = timm_names(dinov2.state_dict(), chunks)
    head = {"head.weight": torch.randn(3, 768), "head.bias": torch.randn(3)}
    torch.save({f"backbone.{name}": value for name, value in state.items()} | head, tmp_path / "a.pth")
    dinov2.save_pretrained(tmp_path)
    one, other = read_weights_of(tmp_path / "a.pth"), read_weights_of(tmp_path / "model.safetensors")
    assert (one.kind, one.network.name) == ("timm", "vit_b14")
    for name, values in other.base.items():
        np.testing.assert_array_equal(one.base[name], values)
    np.testing.assert_array_equal(one.layer.kernel, head["head.weight"].T)


def test_the_classifier_of_transformers_takes_twice_the_features(transformers, tmp_path):
    from cxrscore.errors import InputError

    network = transformers.Dinov2ForImageClassification(transformers.Dinov2Config(image_size=518, num_labels=3))
    network.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"takes 1536 features: those of the class token and the mean of the patches"):
        read_weights_of(tmp_path / "model.safetensors")
    assert read_weights_of(tmp_path / "model.safetensors", backbone_only=True).network.name == "vit_b14"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"image_size": 224}, r"position_embeddings has shape \[1, 257, 768\], expected \[1, 1370, 768\]"),
        ({"num_hidden_layers": 13, "image_size": 518}, r"holds 'encoder\.layer\.12\."),
        ({"num_hidden_layers": 11, "image_size": 518}, r"it lacks 18 of its weights: encoder\.layer\.11\."),
        ({"hidden_size": 384, "num_attention_heads": 6}, r"has shape \[1, 1, 384\], expected \[1, 1, 768\]"),
    ],
)
def test_other_transformers_are_refused(transformers, tmp_path, options, told):
    from cxrscore.errors import InputError

    transformers.Dinov2Model(transformers.Dinov2Config(**options)).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=told):
        read_weights_of(tmp_path / "model.safetensors")


# --- ResNet


@pytest.fixture(scope="module")
def resnet(transformers):
    return randomised(transformers.ResNetModel(transformers.ResNetConfig()))


def torchvision_name(name):
    """For the name of transformers' ResNetModel."""
    place, _, variable = name.rpartition(".")
    parts = place.split(".")
    norm = parts[-1] == "normalization"
    if parts[0] == "embedder":
        return f"{'bn1' if norm else 'conv1'}.{variable}"
    stage, block = int(parts[2]) + 1, parts[4]
    if parts[5] == "shortcut":
        return f"layer{stage}.{block}.downsample.{int(norm)}.{variable}"
    return f"layer{stage}.{block}.{'bn' if norm else 'conv'}{int(parts[6]) + 1}.{variable}"


@pytest.mark.parametrize("names", ["transformers", "torchvision"])
def test_resnet_of_transformers_is_version_1_5(resnet, tmp_path, names):
    state = resnet.state_dict()
    if names == "torchvision":
        state = {torchvision_name(name): value for name, value in state.items()}
    torch.save(state, tmp_path / "a.pth")
    foreign = read_weights_of(tmp_path / "a.pth")
    assert (foreign.kind, foreign.network.name) == (names, "resnet50v1.5")
    grey = films(128)
    with torch.no_grad():
        expected = resnet(normalised(grey)).pooler_output[:, :, 0, 0].numpy()
    expect_equal(features(foreign, grey), expected)


# --- Keras

KERAS = {
    "densenet121": "DenseNet121",
    "densenet169": "DenseNet169",
    "densenet201": "DenseNet201",
    "resnet50": "ResNet50",
}


@pytest.fixture(scope="module")
def keras():
    os.environ.setdefault("KERAS_BACKEND", "torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("keras")


def keras_network(keras, name, **options):
    network = getattr(keras.applications, KERAS[name])(
        include_top=False, weights=None, input_shape=(96, 96, 3), **options
    )
    rng = np.random.default_rng(0)
    for weight in network.weights:
        value = np.asarray(keras.ops.convert_to_numpy(weight))
        drawn = rng.normal(scale=0.1, size=value.shape)
        if weight.path.endswith("kernel"):
            drawn = rng.normal(scale=np.sqrt(2 / np.prod(value.shape[:-1])), size=value.shape)
        elif weight.path.endswith(("gamma", "moving_variance")):
            drawn = rng.uniform(0.5, 1.5, value.shape)
        weight.assign(drawn.astype(np.float32))
    return network


def preprocessed(keras, name, grey):
    """As keras.applications passes films to this network."""
    rgb = np.repeat(255 * grey[..., None], 3, axis=3)
    module = keras.applications.resnet50 if name == "resnet50" else keras.applications.densenet
    return module.preprocess_input(rgb.copy())


@pytest.mark.parametrize("name", KERAS)
def test_keras_applications(keras, tmp_path, name):
    network = keras_network(keras, name, pooling="avg")
    grey = films(96)
    expected = np.asarray(keras.ops.convert_to_numpy(network(preprocessed(keras, name, grey))))
    suffixes = (".keras", ".weights.h5", ".h5") if name == "resnet50" else (".keras",)
    for suffix in suffixes:
        path = tmp_path / f"a{suffix}"
        if suffix == ".weights.h5":
            network.save_weights(path)
        else:
            network.save(path)
        foreign = read_weights_of(path)
        assert (foreign.kind, foreign.network.name, foreign.notes) == ("keras", name, ())
        assert foreign.layer is None
        expect_equal(features(foreign, grey), expected)


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5", ".h5"])
def test_a_keras_network_within_a_trained_model(keras, tmp_path, suffix):
    """As people fine-tune: a model within a Sequential, a head of their own, and the state of an optimiser."""
    inner = keras_network(keras, "densenet121")
    layers = [keras.Input((96, 96, 3)), inner, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3, "softmax")]
    network = keras.Sequential(layers)
    network.compile("adam", "binary_crossentropy")
    network.fit(np.zeros((2, 96, 96, 3), np.float32), np.zeros((2, 3), np.float32), verbose=0)
    path = tmp_path / f"a{suffix}"
    if suffix == ".weights.h5":
        network.save_weights(path)
    else:
        network.save(path)
    foreign = read_weights_of(path)
    assert (foreign.kind, foreign.network.name) == ("keras", "densenet121")
    kernel, bias = map(keras.ops.convert_to_numpy, network.layers[-1].weights)
    np.testing.assert_array_equal(foreign.layer.kernel, kernel)
    np.testing.assert_array_equal(foreign.layer.bias, bias)
    weight = next(weight for weight in inner.weights if weight.path.endswith("conv5_block16_2_conv/kernel"))
    np.testing.assert_array_equal(foreign.base["conv5_block16_2_conv/kernel"], keras.ops.convert_to_numpy(weight))
    # .weights.h5 says nothing of activations.
    assert foreign.layer.activation == ("sigmoid" if suffix == ".weights.h5" else "softmax")
    (note,) = foreign.notes
    assert note.startswith("ignored ")
    assert "optimizer" in note


def test_the_names_of_a_file_are_those_of_its_layers(keras, tmp_path):
    network = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(3, name="one"), keras.layers.Dense(1, name="two")]
    )
    network.save_weights(tmp_path / "a.weights.h5")
    found = read_keras(tmp_path / "a.weights.h5", frozenset()).tensors
    assert sorted(found) == ["layers/one/bias", "layers/one/kernel", "layers/two/bias", "layers/two/kernel"]


# --- layers of a Keras model around the network


def around_tinycnn(path, *after, before=()):
    """A Keras model with the names of tinycnn's layers, others before it, and others after its map."""
    keras = pytest.importorskip("keras")
    made = {"filters": 64, "kernel_size": 3, "strides": 2, "padding": "same"}
    x = given = keras.layers.Input((32, 32, 3))
    for layer in before:
        x = getattr(keras.layers, layer[0])(*layer[1:])(x)
    for node in built_in("tinycnn").nodes:
        if node.operation == "conv2d":
            x = keras.layers.Conv2D(**{**made, "filters": node.attributes["filters"]}, name=node.name)(x)
        else:
            x = keras.layers.ReLU(name=node.name)(x)
    for layer in after:
        x = getattr(keras.layers, layer[0])(*layer[1:])(x)
    keras.Model(given, x).save(path)
    return path


POOL, DENSE = ("GlobalAveragePooling2D",), ("Dense", 2, "linear")


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_layers_around_the_network_of_a_keras_model(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    for last in (("Softmax",), ("Activation", "softmax")):
        found = read_weights_of(around_tinycnn(path, POOL, ("Dropout", 0.5), DENSE, last))
        assert (found.network.name, found.layer.activation, found.notes) == ("tinycnn", "softmax", ())
    found = read_weights_of(around_tinycnn(path, POOL, DENSE, before=[("Rescaling", 1 / 255), ("RandomFlip",)]))
    assert found.layer.activation == "sigmoid"
    assert re.match(r"the layer 'rescaling\w*' \(Rescaling\) before the network changes films", found.notes[-1])
    for odd in (
        [("GlobalMaxPooling2D",), DENSE],
        [POOL, ("BatchNormalization",), DENSE],
        [POOL, DENSE, ("ReLU",)],
    ):
        around_tinycnn(path, *odd)
        with pytest.raises(InputError, match=r"its head has more than a mean and one dense layer: '\w+' \(\w+\)"):
            read_weights_of(path)
        assert read_weights_of(path, backbone_only=True).layer is None
