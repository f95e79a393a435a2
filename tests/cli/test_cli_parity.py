"""cxrscore check --parity as it is typed: backends and a model that was tampered with."""

import json

import pytest
from test_cli_three_lines import SMALL, cxrscore

from cxrscore.models.model_file import load_model, save_model
from cxrscore.synthetic.phantoms import make_phantoms


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parity")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXRSCORE_CACHE", str(folder / "cache"))
        make_phantoms(folder, films=60, patients=40, side=96, seed=2)
        recipe = folder / "mine.toml"
        recipe.write_text('backend = "torch"\narchitecture = "tinycnn"\nweights = "none"\nsize = 48\nepochs = 9\n')
        cxrscore("train", "--recipe", "mine.toml", "--trainable", "all", "--epochs", "1", folder=folder)
        yield folder


def test_a_recipe_comes_after_flags_and_before_defaults(home):
    document = load_model(home / "model.safetensors").document
    assert document["spec"]["size"] == 48
    assert document["training"]["backend"] == "torch"
    assert len(document["training"]["history"]) == 1
    kept = (home / "model.run" / "recipe.toml").read_text()
    assert "epochs = 1\n" in kept
    cxrscore("train", "films", "--recipe", "model.run/recipe.toml", "-o", "again.safetensors", folder=home)
    assert (home / "again.run" / "recipe.toml").read_text() == kept
    (home / "bad.toml").write_text("epoch = 3")
    assert "epoch" in cxrscore("train", "--recipe", "bad.toml", *SMALL, folder=home, expect=1).stderr


@pytest.mark.slow
def test_backends_agree_on_synthetic_films_and_on_real_ones(home):
    words = ("check", "--parity", "model.safetensors", "--backends", "torch,keras", "--json")
    found = json.loads(cxrscore(*words, folder=home).stdout)
    assert [one["framework"].split()[0] for one in found["runs"]] == ["torch", "keras"]
    assert all(one["max_logit_difference"] <= found["tolerance"] for one in found["runs"])
    (pair,) = found["pairs"]
    assert pair["max_prob_difference"] <= 1e-5
    assert pair["min_heatmap_correlation"] > 0.999
    found = json.loads(cxrscore(*words, "--films", "films", folder=home).stdout)
    assert [one["films"] for one in found["runs"]] == [60, 60]
    assert found["pairs"][0]["max_prob_difference"] <= 1e-5


def test_a_model_that_is_not_what_it_was_fails_and_is_not_scored_with(home, tmp_path):
    model = load_model(home / "model.safetensors")
    tensors = {**model.tensors, "head/bias": model.tensors["head/bias"] + 0.01}
    save_model(tmp_path / "other.safetensors", tensors, model.document)
    words = ("check", "--parity", "other.safetensors", "--backends", "torch")
    done = cxrscore(*words, folder=tmp_path, expect=5)
    assert "FAILED: torch is 0.01 from the logits in the model file" in done.stdout
    score = ("score", home / "films", "-o", "out.h5", "-m", "other.safetensors", "--backend", "torch")
    assert "differ by 0.01" in cxrscore(*score, folder=tmp_path, expect=5).stderr
    assert not (tmp_path / "out.h5").exists()


def test_one_thing_is_checked_at_a_time(home):
    assert "give the name of a plugin" in cxrscore("check", folder=home, expect=2).stderr
