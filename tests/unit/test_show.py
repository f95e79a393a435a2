"""What `show` says of a scores file and of a model is what stands in them, and harmless on a terminal."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from few_scores import NAN, few_scores
from made_evaluation import made_evaluation, made_probe
from made_model import document
from made_run import made_file

from cxrscore.contract import ModelSpec
from cxrscore.errors import FileFormatError, InputError
from cxrscore.models.model_file import load_model, save_model
from cxrscore.networks.tensors import initial_tensors
from cxrscore.show import as_text, describe_file, describe_model, describe_scores, model_card, read_model_card

SPEC = ModelSpec(architecture="tinycnn", findings=("Mass", "Edema"), size=32)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.safetensors"
    whole = document(
        SPEC,
        thresholds={"Mass": {"prob": 0.25, "rule": "youden", "chosen_on": "valid"}},
        validation={"loss": 0.5, "macro_auc": 0.75, "auc": {"Mass": 0.75, "Edema": None}},
    )
    save_model(path, initial_tensors(SPEC, 0), whole)
    return path


def described(**changed):
    return describe_scores(few_scores(**changed), "f" * 64, name="out.h5")


# --- scores


def test_the_numbers_by_hand():
    found = described()
    assert found["films"] == {
        "total": 3,
        "scored": 2,
        "labelled": 3,
        "patients": 2,
        "status": {"OK": 2, "DAMAGED": 1},
        "split": {"not seen": 1, "train": 1, "valid": 1},
    }
    mass, edema = found["findings"]
    assert mass["mean_prob"] == pytest.approx(0.175)
    assert mass | {"mean_prob": 0} == {
        "finding": "Mass",
        "mean_prob": 0,
        "max_prob": 0.25,
        "threshold": pytest.approx(0.2),
        "above_threshold": 1,
        "positives": 1,
        "negatives": 0,
    }
    assert (edema["threshold"], edema["above_threshold"]) == (None, None)
    assert [one["sha256"] for one in found["models"]] == ["ab" * 32]
    assert found["complete"] is True
    assert found["has_leakage"] is False


def test_a_file_is_described_as_it_is_read(tmp_path):
    found = describe_file(made_file(tmp_path / "out.h5"))
    assert (found["file_type"], found["file"], found["films"]["total"]) == ("scores", "out.h5", 150)
    assert re.fullmatch("[0-9a-f]{64}", found["fingerprint"])
    assert found["heatmaps"] == 256
    assert "150 found, 128 scored" in as_text(found)


def test_no_scored_film_has_no_means():
    found = described(prob=np.full((3, 2), NAN))
    assert [one["mean_prob"] for one in found["findings"]] == [None, None]
    assert [one["max_prob"] for one in found["findings"]] == [None, None]
    assert "0 scored" in as_text(found)
    assert json.dumps(found, allow_nan=False)


def test_a_leak_is_told():
    leaked = {"models": [{"document": {"training": {"has_leakage": True}}}]}
    assert "LEAKED" in as_text(described(provenance=leaked))
    assert "LEAKED" not in as_text(described())


def test_means_over_models_and_views_are_told():
    leaked = {"sha256": "cd" * 32, "file": "b.safetensors", "document": {"training": {"has_leakage": True}}}
    several = {"models": [{"sha256": "ab" * 32, "file": "a.safetensors"}, leaked], "tta": {"copies": 4}}
    found = described(provenance=several)
    assert [one["file"] for one in found["models"]] == ["a.safetensors", "b.safetensors"]
    assert found["has_leakage"] is True
    text = as_text(found)
    assert "mean over 2 models and 4 augmented copies of each film" in text
    assert "LEAKED" in text
    assert "mean over" not in as_text(described())
    many = as_text(described(provenance={"models": [{"sha256": "ab" * 32}] * 1000}))
    assert "and 990 more" in many
    assert len(many.splitlines()) < 60


@pytest.mark.parametrize("value", [None, 7, True, "text", [], [1, [2]], {}, {"a": {}}, NAN, 10**400])
@pytest.mark.parametrize(
    "key",
    [
        "created",
        "cxrscore",
        "command",
        "backend",
        "model",
        "models",
        "tta",
        "films",
        "labels",
        "warnings",
        "preprocessing",
    ],
)
def test_a_provenance_of_any_shape_is_shown(key, value):
    found = described(provenance={key: value})
    assert as_text(found)
    assert json.dumps(found, allow_nan=False)


def test_nothing_reaches_the_terminal_but_letters():
    evil = "\x1b]0;owned\x07\x1b[2J\r\n\u202eexe.png\udcff"
    told = {"command": [evil], "warnings": [evil], "models": [{"file": evil, "document": {"licence": evil}}]}
    text = as_text(described(provenance=told, findings=(evil, "b")))
    assert all(letter.isprintable() or letter == "\n" for letter in text)
    assert "[U+001B]]0;owned" in text


def test_long_texts_are_cut():
    lines = as_text(described(findings=("a" * 5000, "b"), provenance={"warnings": ["w" * 5000] * 1000})).splitlines()
    assert max(map(len, lines)) < 300
    assert len(lines) < 60
    assert "and 990 more" in "".join(lines)


# --- models


def test_a_model_is_described_and_shown(model):
    found = describe_file(model)
    assert (found["file_type"], found["spec"], found["films"]) == ("model", SPEC.as_dict(), {"train": 1, "valid": 1})
    assert found["parameters"] == sum(array.size for array in load_model(model).tensors.values())
    text = as_text(found)
    assert re.search(r"^  Mass +0\.750 +0\.250 +youden$", text, re.MULTILINE)
    assert re.search(r"^  Edema +- +-$", text, re.MULTILINE)
    assert "a" * 16 not in json.dumps(found)  # hashes of films are counted and not shown


def test_the_card_by_hand(model):
    card = read_model_card(model)
    assert card.startswith("# Model card: model.safetensors\n\n## Intended use\n")
    for line in (
        "* Network: tinycnn",
        "* Label table: labels.csv",
        "* Patients: 2",
        "| train | 1 |",
        "* Split by patient: yes, checked in training",
        "* Macro AUC: 0.750",
        "* Uncertainty: not recorded",
        "| Mass | 0.750 | 0.250 | youden |",
        "| Edema | undefined | - | - |",
        "| epochs | 1 |",
    ):
        assert f"\n{line}\n" in card, line
    assert "LEAKED" not in card
    assert card.endswith("\n")
    assert not card.endswith("\n\n")


def test_the_card_says_what_is_not_recorded(model):
    file = load_model(model)
    training = {**file.document["training"], "patients": 0, "has_leakage": True, "weights": {}}
    card = model_card(replace(file, document={**file.document, "training": training, "licence": ""}))
    assert "**LEAKED.**" in card
    assert "* Patients: not recorded" in card
    assert "* Split by patient: no" in card
    assert "* Started from: not recorded" in card
    assert "## Licence\n\nnot recorded\n" in card
    unleaked = replace(file, document={**file.document, "training": {**training, "has_leakage": False}})
    assert "* Split by patient: no: no patient is known, the split is by film" in model_card(unleaked)


def test_a_model_that_others_trained_claims_no_training(model):
    """As `cxrscore import` writes it: what only a training run can tell is empty or 0."""
    file = load_model(model)
    empty = {"seed": 0, "recipe": {}, "history": [], "best_epoch": 0, "monitor": "", "patients": 0}
    training = {
        **file.document["training"],
        **empty,
        "weights": {"name": "net.pth.tar", "sha256": "cd" * 32, "licence": "unknown"},
        "imported": {"checkpoint_type": "chexnet", "n_outputs": 14},
        "split": {"train": 0, "valid": 0, "test": 0, "rule": "not known", "sha256": ""},
        "labels": {"file": "", "dataset": "", "sha256": ""},
    }
    whole = {**file.document, "training": training, "validation": {"loss": None, "macro_auc": None, "auc": {}}}
    foreign = replace(file, document=whole)
    card = model_card(foreign)
    for section in ("Partitions", "Figures on the validation films"):
        assert f"\n## {section}\n\nnot recorded\n" in card
    for line in (
        "* Label table: not recorded",
        "* Reference standard: not recorded",
        "* Imported from: net.pth.tar",
        "* File type: chexnet",
        "| Mass | 0.250 | youden |",
    ):
        assert f"\n{line}\n" in card, line
    for word in ("undefined", "checked in training", "flatter", "| train |", "Epoch"):
        assert word not in card
    text = as_text(describe_model(foreign))
    assert re.search(r"^  from +net\.pth\.tar, a file of chexnet$", text, re.MULTILINE)
    assert "0 of 0" not in text
    assert "recipe" not in text


@pytest.fixture
def probe(tmp_path):
    """A linear probe, of which Edema has too few positives."""
    path, whole = tmp_path / "probe.safetensors", document(SPEC, evaluation=made_evaluation(SPEC.findings))
    recipe = {"folds": 5, "epochs": 80}
    whole["training"] |= {"history": [], "best_epoch": 0, "recipe": recipe, "probe": made_probe(SPEC.findings)}
    whole["thresholds"] = {"Mass": {"prob": 0.25, "rule": "youden", "chosen_on": "folds"}}
    save_model(path, initial_tensors(SPEC, 0), whole)
    return path


def test_the_card_of_a_probe_by_hand(probe):
    card = read_model_card(probe)
    chosen = "strength C 0.001 for all findings, chosen by 5-fold cross-validation by patient"
    for line in (
        f"* Solved: linear probe, {chosen}",
        "* Films: 5-fold cross-validation on 40 training films of 38 patients",
        "* Cross-validated macro AUC, with 95 % interval: 0.650 (0.60 to 0.70)",
        "* Brier score: 0.080 (0.070 to 0.090)",
        "* Brier skill against the prevalence: 0.040",
        "* Macro AUC of the test films, evaluated once: 0.620 (0.50 to 0.74), 10 films",
        "| Always “no” | 0.500 | 0.100 | 0.900 |",
        "| Age and view alone | 0.610 (0.55 to 0.67) | 0.082 | undefined |",
        "| Edema | 4 | 0.500 | 0.200 (0.10 to 0.30) | 0.080 (0.070 to 0.090) | 0.000 | 0.620 | - | prevalence only: "
        "4 positive training films |",
        "Warnings:",
        "* 10 test films are few.",
        "* Figures by subgroup",
    ):
        assert f"\n{line}\n" in card, line
    assert "\nLearning curve: With 40 training films the macro AUC is 0.650; the power law predicts" in card
    assert "| 0.250 by youden |" in card
    for words in ("Epoch", "| epochs |", "Uncertainty", "Figures on films that neither", "Intervals or other"):
        assert words not in card


def test_a_probe_without_test_films_says_which_figure_is_its_own(probe):
    file = load_model(probe)
    changed = {"test": None, "yardsticks": None, "learning_curve": None, "warnings": []}
    alone = replace(file, document={**file.document, "evaluation": made_evaluation(SPEC.findings, **changed)})
    card, text = model_card(alone), as_text(describe_model(alone))
    assert "The run kept no test films, so the cross-validated figure is the model's figure." in card
    assert "no test films: the cross-validated figure is the model's" in text
    for words in ("Warnings", "Learning curve", "Always"):
        assert words not in card


def test_a_probe_is_shown(probe):
    found = describe_file(probe)
    assert found["evaluation"]["macro_auc"] == {"value": 0.65, "low": 0.6, "high": 0.7}
    assert found["training"]["probe"]["folds"] == 5
    assert json.dumps(found, allow_nan=False)
    text = as_text(found)
    for line in (
        r"solved +linear probe, strength C 0\.001 for all findings, chosen by 5-fold cross-validation by patient",
        r"films +5-fold cross-validation on 40 training films of 38 patients",
        r"cross-validated macro AUC +0\.650 \(0\.60 to 0\.70\)",
        r"test macro AUC +0\.620 \(0\.50 to 0\.74\), 10 films",
        r"age and view alone +macro AUC 0\.610, Brier 0\.082, label accuracy -",
        r"warning +10 test films are few\.",
        r"Mass +0\.660 \(0\.60 to 0\.72\) +0\.200 +0\.080 +0\.250 +youden",
        r"Edema +0\.500 +0\.200 +0\.080 +- +prevalence only: 4 positive training films",
    ):
        assert re.search(rf"^  {line}$", text, re.MULTILINE), line
    assert "epoch" not in text


def test_nothing_of_a_file_becomes_markdown(model):
    evil = "|a\n# b <script>[x](http://y) `c` *d* _e_"
    file = load_model(model)
    spec = {**SPEC.as_dict(), "findings": [evil, "Edema"]}
    card = model_card(replace(file, document={**file.document, "spec": spec, "licence": evil}))
    assert "<script>" not in card
    assert "\n# b" not in card
    shown = r"\|a\[U+000A\]# b &lt;script&gt;\[x\](http://y) \`c\` \*d\* \_e\_"
    assert f"\n| {shown} | " in card
    assert f"\n## Licence\n\n{shown}\n" in card


# --- what is neither


def test_what_is_neither_is_told(tmp_path, model):
    scores = made_file(tmp_path / "out.h5")
    with pytest.raises(InputError, match="a card describes a model"):
        read_model_card(scores)
    (tmp_path / "page.html").write_text("<!doctype html>")
    for name, error, words in (
        ("page.html", FileFormatError, "neither a scores file"),
        ("none.h5", InputError, "there is no file"),
        (".", InputError, "there is no file"),
    ):
        for look in (describe_file, read_model_card):
            with pytest.raises(error, match=words):
                look(tmp_path / name)


def test_what_8_bit_integers_cost_is_told_where_it_was_measured(model):
    loaded = load_model(model)
    assert "int8: not measured" in model_card(loaded)
    assert "int8" not in as_text(describe_model(loaded))
    compared = {
        "films": 9,
        "max_difference": 0.04,
        "mean_difference": 0.005,
        "labelled_films": 7,
        "macro_auc_before": 0.75,
        "macro_auc_after": 0.7475,
    }
    measured = {"model": "a" * 64, "backend": "openvino", "films": 9, "fingerprint": "b" * 64, "ranges": {}}
    moved = "probabilities move by at most 0.0400, 0.0050 in the mean"
    of_labels = "; macro AUC of 7 films not trained on 0.7500, in {} 0.7475"
    unlabelled = {"labelled_films": 0, "macro_auc_before": None, "macro_auc_after": None}
    for changed, more in (({}, of_labels), (unlabelled, "")):
        effect = {**compared, **changed}
        effects = {"quantization": measured, "precision_effects": {"int8": effect, "bf16": effect}}
        bound = {"precision_bound": {"max_difference": 0.02, "max_auc_loss": 0.002}}
        quantized = replace(loaded, document={**loaded.document, **effects, **bound})
        int8, bf16 = f"ranges of 9 films; {moved}{more.format('int8')}\n", f"{moved}{more.format('bf16')}\n"
        shown, card = as_text(describe_model(quantized)), model_card(quantized)
        assert f"int8        {int8}" in shown
        assert f"bf16        {bf16}" in shown
        assert (
            "auto        uses bf16 or int8 if probabilities move by at most 0.02 and the macro AUC falls by " in shown
        )
        assert f"int8: {int8}" in card
        assert f"bf16: {bf16}" in card


def test_the_comparison_of_a_quantized_file_of_an_earlier_version_is_shown(model):
    loaded = load_model(model)
    old = {"max_difference": 0.04, "mean_difference": 0.005, "labelled_films": 7, "macro_auc": 0.75}
    quantization = {"films": 9, "comparison": {**old, "films": 9, "macro_auc_int8": 0.7475}}
    told = "ranges of 9 films; probabilities move by at most 0.0400, 0.0050 in the mean"
    of_labels = "; macro AUC of 7 films not trained on 0.7500, in int8 0.7475"
    quantized = replace(loaded, document={**loaded.document, "quantization": quantization})
    assert f"int8        {told}{of_labels}\n" in as_text(describe_model(quantized))
