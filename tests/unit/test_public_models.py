"""The model file of a public classifier: made once, kept for the file, the version and the facts it was made from."""

from dataclasses import replace

import pytest
import safetensors.numpy

import cxrscore
from cxrscore import import_checkpoint, public_models
from cxrscore.contract import ModelSpec
from cxrscore.errors import InputError
from cxrscore.import_checkpoint import import_model
from cxrscore.models.model_file import load_model
from cxrscore.models.public_weights import PUBLIC_WEIGHTS
from cxrscore.networks.tensors import initial_tensors
from cxrscore.public_models import import_weights, model_path

OUTPUTS = ("Mass", "", "Edema")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache with the file of the classifier "tiny", of two findings and one untrained output; no network."""
    monkeypatch.setenv("CXRSCORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CXRSCORE_OFFLINE", "1")
    tensors = initial_tensors(ModelSpec(architecture="tinycnn", findings=("a", "b", "c"), size=64), 0)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "tiny.safetensors").write_bytes(safetensors.numpy.save(tensors))
    like = PUBLIC_WEIGHTS["densenet121-res224-nih"]
    about = {"name": "tiny", "file": "tiny.safetensors", "architecture": "tinycnn", "size": 64, "outputs": OUTPUTS}
    monkeypatch.setitem(PUBLIC_WEIGHTS, "tiny", replace(like, **about, normalize="unit"))
    return tmp_path / "cache"


@pytest.fixture
def made(monkeypatch):
    """The outputs of the imports so far."""
    outputs = []

    def counted(options):
        outputs.append(options.output)
        return import_model(options)

    monkeypatch.setattr(import_checkpoint, "import_model", counted)
    return outputs


def test_the_model_file_says_what_is_known_of_the_weights(cache):
    said = []
    model = load_model(model_path("tiny", said.append))
    assert said == ["converting tiny to a model file, once"]
    assert model.path.name == "tiny.safetensors"
    assert (model.spec.findings, model.spec.size, model.spec.normalize) == (("Mass", "Edema"), 64, "unit")
    assert model.document["training"]["weights"]["name"] == "tiny"
    assert model.document["licence"] == PUBLIC_WEIGHTS["tiny"].licence
    assert model.document["trained_on"] == ["NIH"]


def test_it_is_made_once(cache, made):
    assert model_path("tiny") == model_path("tiny")
    assert len(made) == 1
    assert [path.name for path in model_path("tiny").parent.iterdir()] == ["tiny.safetensors"]


@pytest.mark.parametrize("change", ["version", "facts", "damage", "damaged tensors"])
def test_it_is_made_anew_for_another_version_or_after_damage(cache, made, monkeypatch, change):
    first = model_path("tiny")
    if change == "version":
        monkeypatch.setattr(cxrscore, "__version__", "99.0.0")
    if change == "facts":
        monkeypatch.setitem(PUBLIC_WEIGHTS, "tiny", replace(PUBLIC_WEIGHTS["tiny"], licence="another"))
    if change == "damage":
        first.write_bytes(first.read_bytes()[:1000])
    if change == "damaged tensors":
        first.write_bytes(first.read_bytes()[:-1] + bytes([first.read_bytes()[-1] ^ 1]))
    second = model_path("tiny")
    assert (second == first) is change.startswith("damage")
    assert len(made) == 2
    assert load_model(second).spec.findings == ("Mass", "Edema")


def test_of_two_processes_the_first_file_stays(cache, monkeypatch):
    """Runs that share a cache must use the same bytes, though a model file holds the time it was made."""
    others = []

    def slower(options):
        result = import_model(options)
        if not others:
            others.append(result.output.read_bytes())
            target = next(options.output.parent.parent.glob("*")) / "tiny.safetensors"
            target.write_bytes(others[0])
            other = load_model(target).document
            assert other["training"]["weights"]["name"] == "tiny"
            options.output.write_bytes(b"made later")
        return result

    monkeypatch.setattr(import_checkpoint, "import_model", slower)
    path = model_path("tiny")
    assert path.read_bytes() == others[0]
    assert [each.name for each in path.parent.iterdir()] == ["tiny.safetensors"]


def test_without_hard_links_it_is_moved(cache, monkeypatch):
    def refused(*args):
        raise OSError("no links here")

    monkeypatch.setattr(public_models.os, "link", refused)
    assert load_model(model_path("tiny")).spec.findings == ("Mass", "Edema")


def test_paths_are_paths(cache, tmp_path):
    for path in ("model.safetensors", tmp_path / "tiny", "./tiny"):
        assert model_path(path) == type(tmp_path)(path)
    with pytest.raises(InputError, match="source is a URL"):
        model_path("https://host/tiny", name="source")


def test_a_backbone_is_trained_from_and_does_not_score(cache):
    with pytest.raises(InputError, match=r"is a backbone without findings.*`cxrscore train --weights rad-dino`"):
        model_path("rad-dino")
    with pytest.raises(InputError, match="is a backbone without findings"):
        import_weights("keras-resnet50", output="x.safetensors")


def test_an_import_by_name_takes_other_options_before_what_is_known(cache, tmp_path):
    output = tmp_path / "m.safetensors"
    result = import_weights("tiny", output=output, licence="as agreed", size=96, findings=("", "Hernia", ""))
    assert result.findings == ("Hernia",)
    document = load_model(output).document
    assert (document["licence"], document["spec"]["size"], document["trained_on"]) == ("as agreed", 96, ["NIH"])
    assert document["training"]["weights"]["name"] == "tiny"


def test_an_import_of_a_file_is_as_before(cache, tmp_path):
    result = import_weights(cache / "tiny.safetensors", output=tmp_path / "m.safetensors", findings=("A", "B", "C"))
    assert result.findings == ("A", "B", "C")
    assert load_model(result.output).document["training"]["weights"]["name"] == "tiny.safetensors"
