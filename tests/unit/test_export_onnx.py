"""A model file as an ONNX file: what it holds, which file it may replace, and what is refused."""

import json
import stat
import sys

import numpy as np
import pytest
import safetensors.numpy
from made_model import document, golden
from made_run import made_file

import cxrscore
from cxrscore.contract import GraphBuilder, ModelSpec, Network
from cxrscore.errors import FileFormatError, InputError
from cxrscore.explainers import grad_cam
from cxrscore.export import OnnxOptions, export_onnx
from cxrscore.images import Preprocessing, preprocess, read_film, to_unit
from cxrscore.models.model_file import load_model, save_model
from cxrscore.models.probabilities import probabilities
from cxrscore.networks import reference
from cxrscore.networks.graph import FILM
from cxrscore.networks.tensors import initial_tensors
from cxrscore.plugins import get_backend
from cxrscore.testing.fixtures import random_tensors, some_films, spec_of

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

SPEC = spec_of("tinycnn", size=32)
TENSORS = random_tensors(SPEC)
CALIBRATION = {"method": "platt", "slope": [1.5, 0.7, 1.0], "intercept": [0.1, -0.2, 0.0], "fitted_on": "valid"}
THRESHOLDS = {"Mass": {"prob": 0.25, "rule": "youden", "chosen_on": "valid"}}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder with a model that is calibrated."""
    own = document(SPEC, golden=golden(SPEC, TENSORS), calibration=CALIBRATION, thresholds=THRESHOLDS)
    save_model(tmp_path / "m.safetensors", TENSORS, own)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def exported(home, **options):
    return export_onnx(OnnxOptions(model=home / "m.safetensors", output=home / "m.onnx", **options))


def test_the_file_gives_the_calibrated_probabilities_of_the_model(home):
    result = exported(home)
    assert (result.output, result.opset, result.bytes) == (home / "m.onnx", 17, (home / "m.onnx").stat().st_size)
    assert result.outputs == ("logits", "probabilities", "heatmaps")
    films = some_films(4, SPEC.size)
    session = onnxruntime.InferenceSession(home / "m.onnx")
    logits, prob = session.run(["logits", "probabilities"], {"films": films})
    wanted = reference.logits(SPEC, TENSORS, films)
    np.testing.assert_allclose(logits, wanted, atol=1e-5)
    np.testing.assert_allclose(prob, probabilities(wanted.astype(np.float32), "sigmoid", CALIBRATION), atol=1e-6)
    assert np.abs(prob - probabilities(wanted.astype(np.float32), "sigmoid")).max() > 0.01


def test_the_file_says_what_it_is(home):
    exported(home)
    model = onnx.load(home / "m.onnx")
    onnx.checker.check_model(home / "m.onnx", full_check=True)
    found = {each.key: each.value for each in model.metadata_props}
    texts = {name: found.pop(name) for name in ("architecture", "activation", "licence", "model_sha256", "cxrscore")}
    assert texts == {
        "architecture": "tinycnn",
        "activation": "sigmoid",
        "licence": "yours",
        "model_sha256": load_model(home / "m.safetensors").sha256,
        "cxrscore": cxrscore.__version__,
    }
    assert {name: json.loads(text) for name, text in found.items()} == {
        "findings": list(SPEC.findings),
        "preprocessing": {"size": 32, "fit": "stretch", "resize": "area"},
        "thresholds": THRESHOLDS,
        "calibration": CALIBRATION,
        "heatmaps": {"method": "grad-cam", "layer": "relu"},
    }


def test_the_same_model_gives_the_same_bytes_for_its_owner_only(home):
    exported(home)
    first = (home / "m.onnx").read_bytes()
    exported(home)  # an earlier output is replaced
    assert (home / "m.onnx").read_bytes() == first
    assert stat.S_IMODE((home / "m.onnx").stat().st_mode) == 0o600
    assert sorted(path.name for path in home.iterdir()) == ["m.onnx", "m.safetensors"]


def test_the_pooled_map_is_an_output_if_asked_for(home):
    assert exported(home, feature_map=True).outputs == ("logits", "probabilities", "heatmaps", "feature_map")


def test_another_file_is_replaced_only_if_told(home):
    foreign = onnx.helper.make_model(onnx.helper.make_graph([], "other", [], []))
    (home / "m.onnx").write_bytes(foreign.SerializeToString())
    with pytest.raises(InputError, match=r"is not an ONNX file of `cxrscore export`, .* --overwrite"):
        exported(home)
    exported(home, overwrite=True)
    assert len(onnx.load(home / "m.onnx").graph.node) > 4


def test_the_model_itself_is_never_replaced(home):
    before = (home / "m.safetensors").read_bytes()
    (home / "m.onnx").hardlink_to(home / "m.safetensors")
    with pytest.raises(InputError, match="is an input of this command"):
        exported(home, overwrite=True)
    assert (home / "m.onnx").read_bytes() == before


def test_the_network_of_a_plugin_is_exported_from_the_graph_in_the_model_file(home):
    graph = GraphBuilder()
    x = graph.add("only", "conv2d", FILM, filters=4, size=4, stride=4)
    network = Network(name="theirs", nodes=graph.nodes, output=x, stages=("only",))
    spec = ModelSpec(architecture="theirs", findings=("Mass",), size=32, network=network)
    tensors = random_tensors(spec)
    save_model(home / "m.safetensors", tensors, document(spec, golden=golden(spec, tensors)))
    exported(home)
    films = some_films(2, 32)
    (logits,) = onnxruntime.InferenceSession(home / "m.onnx").run(["logits"], {"films": films})
    np.testing.assert_allclose(logits, reference.logits(spec, tensors, films), atol=1e-5)


@pytest.mark.slow
@pytest.mark.shared
def test_real_films_score_and_are_explained_as_by_torch_and_the_backend(shared, home):
    """DenseNet121 with ImageNet weights and a random head; 1e-5 in probability."""
    pytest.importorskip("torch")
    spec = spec_of("densenet121", size=224)
    base = safetensors.numpy.load_file(shared / "weights" / "densenet121_imagenet_notop.safetensors")
    tensors = initial_tensors(spec, 0, base)
    save_model(home / "m.safetensors", tensors, document(spec))
    exported(home)
    paths = sorted((shared / "data" / "nih442" / "films").glob("*.png"))[:4]
    films = np.stack([to_unit(preprocess(read_film(path).pixels, Preprocessing(size=224))) for path in paths])
    torch, ours = (
        get_backend(name).build(spec, tensors, device="cpu").cam_parts(films, range(3)) for name in ("torch", "onnx")
    )
    session = onnxruntime.InferenceSession(home / "m.onnx")
    prob, maps = session.run(["probabilities", "heatmaps"], {"films": films})
    wanted, largest = probabilities(torch.logits, "sigmoid"), np.abs(grad_cam(torch)).max()
    for found in (prob, probabilities(ours.logits, "sigmoid")):
        assert np.abs(found - wanted).max() <= 1e-5
    for found in (maps, grad_cam(ours)):
        assert np.abs(found - grad_cam(torch)).max() <= 1e-4 * largest


# --- what is refused


def refused(home, error, match):
    with pytest.raises(error, match=match):
        exported(home)
    assert not (home / "m.onnx").exists()


def test_scores_are_no_model(home):
    (home / "m.safetensors").unlink()
    made_file(home / "m.safetensors", 3)
    refused(home, InputError, r"is a scores file \(HDF5\), expected a model file")


def test_tensors_without_a_document_are_no_model(home):
    safetensors.numpy.save_file(TENSORS, home / "m.safetensors")
    refused(home, FileFormatError, "no cxrscore document")


def test_a_network_that_only_a_backend_knows_is_named(home):
    spec = {**SPEC.as_dict(), "architecture": "their-own"}
    save_model(home / "m.safetensors", TENSORS, {**document(SPEC), "spec": spec})
    refused(home, InputError, "does not know the layers of 'their-own', which only a backend computes")


def test_without_the_package_onnx_nothing_is_written(home, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    refused(home, InputError, r'pip install "cxrscore\[onnx\]"')


def test_what_no_file_can_hold_is_refused(home, monkeypatch):
    monkeypatch.setattr("cxrscore.networks.onnx.MAX_BYTES", 100_000)
    refused(home, InputError, "more than 100,000 bytes, more than an ONNX file can have")
