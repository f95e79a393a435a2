"""Training at the command line: leaks end it or are marked in all that follows, recipes go by name."""

import json

import forked
import pytest

from cxrscore.models.model_file import load_model
from cxrscore.synthetic.phantoms import make_phantoms

SMALL = ["--backend", "torch", "--device", "cpu", "--architecture", "tinycnn", "--weights", "none", "--size", "64"]


def cxrscore(folder, *words):
    return forked.cxrscore(*words, cwd=folder)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Films of twenty patients, and a split in which one patient stands in two parts."""
    folder = tmp_path_factory.mktemp("leaks")
    make_phantoms(folder, films=40, patients=20, side=64, seed=3)
    names = sorted(path.name for path in (folder / "films").glob("*.png"))
    owners = sorted({name[:8] for name in names})
    twice = next(name for name in names if name.endswith("_001.png"))
    parts = {owner: ("train" if i < 12 else "valid" if i < 16 else "test") for i, owner in enumerate(owners)}
    lines = [f"{name},{'test' if name == twice else parts[name[:8]]}" for name in names]
    (folder / "split.csv").write_text("\n".join(["film,split", *lines]) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXRSCORE_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        yield folder


@pytest.mark.slow
def test_a_leak_ends_with_4_and_one_that_is_allowed_marks_all_that_follows(home):
    line = ["train", *SMALL, "--epochs", "1", "--split", "split.csv"]
    done = cxrscore(home, *line)
    assert done.returncode == 4
    assert "films of one patient in two splits: " in done.stderr
    assert not (home / "model.safetensors").exists()
    done = cxrscore(home, *line, "--allow-leakage")
    assert done.returncode == 0, done.stderr
    assert "LEAKED: 1 leaks between the splits were allowed" in done.stderr
    assert "_001.png (test)" in done.stderr
    told = load_model(home / "model.safetensors").document["training"]
    assert (told["has_leakage"], told["leak_count"]) == (True, 1)
    done = cxrscore(home, "score", "films", "-o", "out.h5", "--backend", "torch", "--device", "cpu", "--heatmaps", "0")
    assert done.returncode == 0, done.stderr
    assert "LEAKED: the training and test data of the model overlap (films or patients)" in done.stderr
    done = cxrscore(home, "report", "out.h5", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["warnings"][0].startswith("LEAKED: ")
    assert "<li>LEAKED: " in (home / "out.html").read_text()


def test_a_recipe_that_is_not_there_ends_with_the_known_ones(home):
    done = cxrscore(home, "train", "--recipe", "fine")
    assert done.returncode == 1
    assert done.stderr.startswith("cxrscore: there is no recipe 'fine'; there is: default, fine-tune, ")


@pytest.mark.slow
def test_a_recipe_by_name_decides_the_run_and_is_kept_with_it(home):
    done = cxrscore(
        home, "train", *SMALL, "--recipe", "fine-tune-last-block", "--epochs", "2", "-o", "named.safetensors"
    )
    assert done.returncode == 0, done.stderr
    named = load_model(home / "named.safetensors").document
    recipe = named["training"]["recipe"]
    assert (recipe["trainable"], recipe["schedule"], recipe["epochs"]) == ("last-block", "cosine", 2)
    line = ["--recipe", "named.run/recipe.toml", "--device", "cpu", "-o", "again.safetensors"]
    done = cxrscore(home, "train", *line)
    assert done.returncode == 0, done.stderr
    assert load_model(home / "again.safetensors").document["golden"] == named["golden"]


@pytest.mark.slow
def test_labels_are_read_as_asked_and_the_run_can_be_repeated(home):
    names = sorted(path.name for path in (home / "films").glob("*.png"))
    lines = [
        f"{name},{name[:8]},{[0, 1, 0.25, 0.75][row % 4]},{'1' if row % 3 else ''},{row % 2},{row},{row % 5 + 0.5}"
        for row, name in enumerate(names)
    ]
    (home / "mine.csv").write_text("\n".join(["film,patient,Mass,Tube,male,number,trust", *lines]) + "\n")
    line = ["train", *SMALL, "--labels", "mine.csv"]
    refused = cxrscore(home, *line, "--findings", "number", "-o", "mine.safetensors")
    assert refused.returncode == 1
    assert "column number has '2', expected 0, 1 or nothing" in refused.stderr
    assert "name the findings (--finding)" in refused.stderr
    chosen = ["--findings", "Tube,Mass", "--weight-column", "trust", "--blank", "Tube=negative"]
    done = cxrscore(home, *line, *chosen, "-o", "mine.safetensors")
    assert done.returncode == 0, done.stderr
    assert "20 labels are soft, between 0 and 1" in done.stderr
    document = load_model(home / "mine.safetensors").document
    assert document["spec"]["findings"] == ["Tube", "Mass"]
    labels = document["training"]["labels"]
    assert (labels["blank"], labels["weight_column"]) == ("Tube=negative", "trust")
    assert "uncertain" not in labels
    shown = cxrscore(home, "show", "mine.safetensors").stdout
    assert "layout plain, blank cells: Tube=negative, weights of films: column trust" in shown
    again = cxrscore(home, *line, "--recipe", "mine.run/recipe.toml", "-o", "again.safetensors")
    assert again.returncode == 0, again.stderr
    first, second = (load_model(home / f"{name}.safetensors") for name in ("mine", "again"))
    assert all((first.tensors[name] == second.tensors[name]).all() for name in first.tensors)
    # What training left out of the findings does not stop an evaluation.
    scored = cxrscore(
        *(home, "score", "films", "-m", "mine.safetensors", "--labels", "mine.csv", "-o", "mine.h5"),
        *("--backend", "torch", "--device", "cpu", "--heatmaps", "0"),
    )
    assert scored.returncode == 0, scored.stderr
    told = cxrscore(home, "report", "mine.h5", "--json")
    assert told.returncode == 0, told.stderr
    tube = json.loads(told.stdout)["findings"][0]
    assert (tube["finding"], tube["positives"] > 0, tube["negatives"]) == ("Tube", True, 0)
    blank = cxrscore(home, "report", "mine.h5", "--json", "--labels", "mine.csv", "--blank", "Tube=negative")
    assert blank.returncode == 0, blank.stderr
    assert json.loads(blank.stdout)["findings"][0]["negatives"] > 0
    (soft,) = [text for text in json.loads(told.stdout)["warnings"] if "soft" in text]
    assert "labels are soft, between 0 and 1. Above 0.5 they count as positive" in soft


def test_two_networks_give_a_line_each_and_one_of_their_ensemble(home):
    line = ["train", *SMALL[:4], "--architecture", "tinycnn,tinycnn", *SMALL[6:], "--epochs", "1", "-o", "two.st"]
    done = cxrscore(home, *line, "--json")
    assert done.returncode == 0, done.stderr
    assert "network 2 of 2: tinycnn, 64 pixels" in done.stderr
    assert "tinycnn: macro AUC: validation " in done.stderr
    assert "wrote two.tinycnn-2.st" in done.stderr
    assert "\nensemble: macro AUC: validation " in done.stderr
    told = json.loads(done.stdout)
    assert told["output"] == "two.st"
    assert [member["output"] for member in told["members"]] == ["two.tinycnn.st", "two.tinycnn-2.st"]
    shown = cxrscore(home, "show", "two.st")
    assert "two.tinycnn-2.st, tinycnn" in shown.stdout
    done = cxrscore(home, "quantize", "two.st", "films", "-o", "int8.st")
    assert done.returncode == 1
    assert "two.st is an ensemble of several networks" in done.stderr
