"""What a training run says of its model, and what the model file keeps of it."""

import json
from pathlib import Path

import forked
import jsonschema
import pytest

from cxrscore.models.model_file import load_model
from cxrscore.synthetic.phantoms import make_phantoms

SMALL = ["--backend", "torch", "--device", "cpu", "--architecture", "tinycnn", "--weights", "none", "--size", "64"]
SCHEMA = json.loads((Path(__file__).parents[2] / "schemas" / "model.schema.json").read_text())


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Films of forty patients, in a table with age, sex and view."""
    folder = tmp_path_factory.mktemp("figures")
    make_phantoms(folder, films=80, patients=40, side=64, seed=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXRSCORE_CACHE", str(folder / "cache"))
        yield folder


@pytest.mark.slow
def test_a_probe_without_test_films_has_yardsticks_a_learning_curve_and_warnings(home):
    line = ["train", *SMALL, "--test", "0", "--folds", "2", "--min-positives", "3", "--learning-curve", "--json"]
    done = forked.cxrscore(*line, cwd=home)
    assert done.returncode == 0, done.stderr
    document = load_model(home / "model.safetensors").document
    found = document["evaluation"]
    jsonschema.validate(found, SCHEMA["properties"]["evaluation"])
    assert found == json.loads(done.stdout)["evaluation"]
    assert found["test"] is None
    assert found["yardsticks"]["metadata"]["columns"] == ["age", "sex", "view"]
    assert found["learning_curve"]["films"][-1] == 40
    assert document["training"]["recipe"]["learning_curve"] is True
    assert "learning_curve = true" in (home / "model.run" / "recipe.toml").read_text()
    assert "; no film was kept for a test, so the cross-validated figure is the model's figure" in done.stderr
    assert "age, sex and view alone: macro AUC 0." in done.stderr
    assert "Brier score: model 0." in done.stderr
    assert "learning curve: macro AUC 0." in done.stderr
    assert [f"warning: {warning}" for warning in found["warnings"]] == [
        text for text in done.stderr.splitlines() if text.startswith("warning: ")
    ]


@pytest.mark.slow
def test_epochs_on_few_films_are_warned_of(home):
    line = ["train", *SMALL, "--solver", "adam", "--epochs", "1", "-o", "epochs.safetensors"]
    done = forked.cxrscore(*line, cwd=home)
    assert done.returncode == 0, done.stderr
    found = load_model(home / "epochs.safetensors").document["evaluation"]
    jsonschema.validate(found, SCHEMA["properties"]["evaluation"])
    assert found["on"] == "valid"
    assert found["yardsticks"]["metadata"]["columns"] == ["age", "sex", "view"]
    assert found["learning_curve"] is None
    assert "warning: there are only 16 test films, expected 100 or more" in done.stderr
    assert "warning: the epoch, the thresholds and the calibration were chosen on 8 validation films" in done.stderr
