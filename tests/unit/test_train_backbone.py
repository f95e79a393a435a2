"""A model trained from another: what the first has seen stays seen, and films are normalised as it wants them."""

import dataclasses
from pathlib import Path

import pytest
from made_model import document
from training import some_data

from cxrscore.contract import ModelSpec
from cxrscore.errors import LeakError
from cxrscore.io import sha256_file
from cxrscore.models.imagenet import BaseWeights, WeightsInfo
from cxrscore.models.model_file import load_model, save_model
from cxrscore.networks.tensors import initial_tensors
from cxrscore.show.card import model_card
from cxrscore.synthetic.phantoms import make_phantoms
from cxrscore.training import TrainOptions, train_model
from cxrscore.training.initialization import initial_spec, run_inputs
from cxrscore.training.model_metadata import seen_films


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Films, and a model a.safetensors that was trained on some of them."""
    folder = tmp_path_factory.mktemp("base")
    make_phantoms(folder, films=40, patients=40, side=64, seed=5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXRSCORE_CACHE", str(folder / "cache"))
        train_model(options(folder, "a", weights="none"))
        yield folder


def options(folder, name, **changed):
    small = {"backend": "torch", "device": "cpu", "architecture": "tinycnn", "size": 32, "epochs": 1, "workers": 1}
    return TrainOptions(films=folder / "films", output=folder / f"{name}.safetensors", **small, **changed)


def test_a_film_that_the_base_was_trained_on_is_not_tested_on_unmarked(home):
    weights = str(home / "a.safetensors")
    with pytest.raises(LeakError, match=r"initial weights were trained on are in the validation or test split: "):
        train_model(options(home, "b", weights=weights, seed=1))
    assert not (home / "b.safetensors").exists()
    result = train_model(options(home, "b", weights=weights, seed=1, allow_leakage=True))
    assert result.leakage
    first, second = (load_model(home / f"{name}.safetensors") for name in "ab")
    told = second.document["training"]
    assert (told["has_leakage"], told["leak_count"]) == (True, len(result.leakage))
    assert set(first.document["films"]["train"]) <= set(second.document["films"]["train"])
    assert set(first.seen) < set(second.seen)
    assert told["weights"]["licence"] == second.document["licence"] == "yours"
    # What was made of a leaked model is leaked, though its own parts have nothing in common.
    films = sorted((home / "films").glob("*.png"))
    lines = [f"{film.name},{second.seen.get(sha256_file(film)[:16], 'test')}\n" for film in films]
    (home / "apart.csv").write_text("film,split\n" + "".join(lines))
    train_model(options(home, "c", weights=str(home / "b.safetensors"), split=home / "apart.csv"))
    third = load_model(home / "c.safetensors")
    assert (third.document["training"]["has_leakage"], third.document["training"]["leak_count"]) == (True, 0)
    assert third.seen == second.seen


def test_the_same_split_twice_is_no_leak(home):
    split = home / "a.run" / "split.csv"
    result = train_model(options(home, "again", weights=str(home / "a.safetensors"), split=split))
    assert result.leakage == ()
    assert load_model(home / "again.safetensors").seen == load_model(home / "a.safetensors").seen


def test_films_are_normalised_as_the_weights_want_them(home):
    spec = ModelSpec(architecture="tinycnn", findings=("Mass",), size=32, normalize="signed-1024")
    changed = {"preprocessing": {"size": 32, "fit": "crop", "resize": "area"}, "films": {"train": [], "valid": []}}
    changed |= {"licence": "Apache-2.0", "trained_on": ["NIH", "a clinic"]}
    save_model(home / "xrv.safetensors", initial_tensors(spec, 0), document(spec, **changed))
    said = []
    given = options(home, "tuned", weights=str(home / "xrv.safetensors"), trained_on=["mimic", "nih"])
    train_model(given, say=said.append)
    line = (
        "Figures are not held-out: the network of the initial weights was trained on NIH, and 40 of 40 films have names"
    )
    assert [text for text in said if "held-out" in text] == [f"{line} of NIH films."]
    told = load_model(home / "tuned.safetensors").document
    assert told["spec"]["normalize"] == "signed-1024"
    assert told["preprocessing"]["fit"] == "crop"
    assert told["licence"] == "Apache-2.0"
    assert told["trained_on"] == ["NIH", "a clinic", "MIMIC-CXR"]
    assert "trained_on" not in load_model(home / "a.safetensors").document
    assert "trained_on" not in told["training"]["recipe"]
    assert "* Public data sets that it was trained on: NIH, a clinic, MIMIC-CXR\n" in model_card(
        load_model(home / "tuned.safetensors")
    )


def base(**changed):
    return BaseWeights(tensors={}, name="a", sha256="", origin=WeightsInfo(licence="MIT", **changed))


def test_what_is_asked_for_comes_before_what_the_weights_want():
    asked = TrainOptions(architecture="resnet50")
    assert initial_spec(asked, ("A",), base()).normalize == "imagenet-caffe"
    assert initial_spec(asked, ("A",), base(normalize="signed-1024")).normalize == "signed-1024"
    asked = dataclasses.replace(asked, normalize="unit")
    assert initial_spec(asked, ("A",), base(normalize="signed-1024")).normalize == "unit"


def test_what_was_ever_trained_on_is_not_for_validation():
    data = some_data(train=2, valid=2)
    hashes = [film.sha256[:16] for film in data.store.films]
    origin = {"f" * 16: "valid", hashes[0]: "valid", hashes[2]: "train", "e" * 16: "train"}
    assert seen_films(data, base(seen=origin)) == {
        "train": [hashes[0], hashes[1], hashes[2], "e" * 16],
        "valid": [hashes[3], "f" * 16],
    }
    assert seen_films(data, None) == {"train": hashes[:2], "valid": hashes[2:]}


def test_a_run_goes_on_with_the_same_parts_wherever_they_are_written():
    first, second = (TrainOptions(split=split) for split in (None, Path("elsewhere/parts.csv")))
    assert run_inputs(first, some_data(), None) == run_inputs(second, some_data(), None)
