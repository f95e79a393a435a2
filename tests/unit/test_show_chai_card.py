"""CHAI model cards follow their schema, say what the file says, and mark the rest for a person."""

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
import xmlschema
from click.testing import CliRunner
from made_ensemble import made_document
from made_evaluation import made_evaluation, made_probe
from made_model import document
from made_models import made_model

from cxrscore.cli import main
from cxrscore.contract import ModelSpec
from cxrscore.errors import InputError
from cxrscore.models.ensemble_file import load_ensemble, save_ensemble
from cxrscore.models.model_file import load_model, save_model
from cxrscore.networks.tensors import initial_tensors
from cxrscore.show import chai_model_card, model_card, read_model_card
from cxrscore.show.chai_card import NAMESPACE, TO_FILL

SPEC = ModelSpec(architecture="tinycnn", findings=("Mass", "Edema"), size=32)
SCHEMA = Path(__file__).parents[1] / "chai" / "schema.xsd"


@pytest.fixture(scope="module")
def schema():
    """Read from the copy here and the copy of the signature schema that xmlschema has: nothing is downloaded."""
    return xmlschema.XMLSchema(SCHEMA, allow="local")


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, initial_tensors(SPEC, 0), document(SPEC))
    return load_model(path)


def changed(model, **fields):
    return replace(model, document={**model.document, **fields})


def probed(model, **evaluation):
    training = {**model.document["training"], "probe": made_probe(SPEC.findings), "history": [], "patients": 38}
    thresholds = {"Mass": {"prob": 0.25, "rule": "youden", "chosen_on": "folds"}}
    return changed(
        model, training=training, thresholds=thresholds, evaluation=made_evaluation(SPEC.findings, **evaluation)
    )


def imported(model):
    training = {
        **model.document["training"],
        "weights": {"name": "net.pth.tar", "sha256": "cd" * 32, "licence": "unknown"},
        "imported": {"checkpoint_type": "chexnet", "n_outputs": 14},
        "split": {"train": 0, "valid": 0, "test": 0, "rule": "not known", "sha256": ""},
        "labels": {"file": "", "dataset": "", "sha256": ""},
        "patients": 0,
    }
    return changed(model, training=training, trained_on=["NIH"])


def softmax(model):
    return changed(model, spec={**SPEC.as_dict(), "activation": "softmax"})


def read(text):
    return ET.fromstring(text)


def texts(card, name):
    """The texts of all elements with this name, in order."""
    return [one.text or "" for one in read(card).iter(f"{{{NAMESPACE}}}{name}")]


def results(card, section):
    """Label -> value of the figures of a key metric."""
    found = read(card).find(f".//{{{NAMESPACE}}}{section}")
    pairs = [[part.text for part in one] for one in found.iter(f"{{{NAMESPACE}}}MetricResult")]
    return {label: json.loads(value) for label, value in pairs}


@pytest.mark.parametrize(
    "kind", [lambda one: one, probed, imported, softmax], ids=["old", "probe", "import", "softmax"]
)
def test_a_card_follows_the_schema(schema, model, kind):
    schema.validate(chai_model_card(kind(model)))


def test_the_schema_refuses_what_it_does_not_describe(schema, model):
    """So that the tests above show something."""
    card = chai_model_card(model)
    assert not schema.is_valid(card.replace("ModelDeveloper>", "Developer>"))
    assert not schema.is_valid(card.replace("<FundingSource>", "<!--").replace("</FundingSource>", "-->"))


def test_the_card_of_a_probe_by_hand(model):
    card = chai_model_card(probed(model))
    figures = results(card, "UsefulnessUsabilityEfficacy")
    assert figures["Macro AUC, cross-validated"] == {
        "kind": "estimate_ci",
        "estimate": 0.65,
        "lower": 0.6,
        "upper": 0.7,
        "level": 95,
    }
    assert figures["Macro AUC, 10 test films, evaluated once"]["upper"] == 0.74
    assert figures["AUC of Edema (4 positive films), cross-validated"] == {"kind": "single", "value": 0.5}
    assert figures["Macro AUC without any film: Age and view alone, cross-validated"]["estimate"] == 0.61
    assert len(figures) == 7  # two macro AUCs, one without films, and two figures of each of the two findings
    assert results(card, "SafetyReliability") == {
        "Brier score (mean squared error of the probability), cross-validated": {
            "kind": "estimate_ci",
            "estimate": 0.08,
            "lower": 0.07,
            "upper": 0.09,
            "level": 95,
        },
        "Brier skill against the prevalence, cross-validated": {"kind": "single", "value": 0.04},
        "Calibration error, cross-validated": {"kind": "single", "value": 0.02},
        "Spread of the probabilities, 95th minus 5th percentile, cross-validated": {"kind": "single", "value": 0.12},
    }
    assert texts(card, "ModelName") == ["model.safetensors"]
    assert texts(card, "Keyword")[-2:] == ["Mass", "Edema"]
    assert texts(card, "ReleaseVersion") == [f"The file with SHA-256 {model.sha256}."]
    assert texts(card, "TestType") == [
        "Internal: 5-fold cross-validation on 40 training films of 38 patients and test films, all of the label table "
        "of the training.",
        "Not measured.",
        "Internal: 5-fold cross-validation on 40 training films of 38 patients and test films, all of the label table "
        "of the training.",
    ]
    assert "| Mass | 0.250 | youden, out-of-fold predictions of the training films |" in texts(card, "HowToUse")[0]
    assert "\n\nPatients: 38.\n\nSplit by patient: yes, checked in training.\n\n" in card
    assert "* 10 test films are few." in texts(card, "KnownRisksAndLimitations")[0]
    assert "The model minus age and view alone: +0.040" in texts(card, "KnownBiasesOrEthicalConsiderations")[0]
    assert "LEAKED" not in card


def test_what_nobody_measured_is_marked_alike(model):
    card = chai_model_card(probed(model))
    for name in ("ModelDeveloper", "DeveloperContact", "ReleaseStage", "FundingSource", "Bibliography"):
        assert [text.startswith(TO_FILL) for text in texts(card, name)] == [True], name
    assert results(card, "FairnessEquity") == {
        f"{TO_FILL}figures by subgroup, such as the AUC by sex, age and view.": {"kind": "single", "value": None}
    }
    assert card.count("person") == card.count(TO_FILL) > 20  # no other words for the same


def test_a_model_without_evaluation_has_its_validation_figures_without_intervals(model):
    validation = {"loss": 0.5, "macro_auc": 0.75, "auc": {"Mass": 0.75, "Edema": None}}
    card = chai_model_card(changed(model, validation=validation))
    assert results(card, "UsefulnessUsabilityEfficacy") == {
        "Macro AUC, validation films": {"kind": "single", "value": 0.75},
        "AUC of Mass, validation films": {"kind": "single", "value": 0.75},
    }
    first, _, last = texts(card, "Interpretation")
    assert "the figures flatter the model. The file has no intervals.\n\nUndefined: AUC of Edema, validation" in first
    assert TO_FILL in last
    assert list(results(card, "SafetyReliability")) == [f"{TO_FILL}calibration on held-out films."]
    assert texts(card, "TestType") == [
        "Internal: 1 validation films, all of the label table of the training.",
        "Not measured.",
        "Not measured.",
    ]


def test_an_imported_model_claims_no_training(model):
    card = chai_model_card(imported(model))
    assert texts(card, "InputDataSource")[0].startswith("Another program trained this model;")
    assert "Imported from: net.pth.tar.\n\nPublic data sets on which the model was trained: NIH." in card
    assert texts(card, "FoundationModels") == []
    assert list(results(card, "UsefulnessUsabilityEfficacy")) == [f"{TO_FILL}AUCs on held-out films."]
    assert set(texts(card, "TestType")) == {"Not measured."}
    assert "| train |" not in card


def test_a_leak_comes_first_in_the_risks(model):
    training = {**model.document["training"], "has_leakage": True}
    (risks,) = texts(chai_model_card(changed(model, training=training)), "KnownRisksAndLimitations")
    assert risks.startswith("LEAKED: the same patients or films")


def test_findings_of_a_softmax_exclude_each_other(model):
    words = "2 probabilities by softmax: the findings exclude each other"
    assert words in texts(chai_model_card(softmax(model)), "OutcomesAndOutputs")[0]
    assert f"* Output: {words}\n" in model_card(softmax(model))


@pytest.mark.parametrize(
    "evil",
    [
        "\"'><x>&y;",
        "]]></ModelName><ModelName>",
        "<!ENTITY a 'b'>&a;",
        "<?xml?>",
        "a\u202eb",
        "\x1b[2J\x00\r\n",
        "\ufffe",
    ],
)
def test_hostile_names_stay_text(schema, model, evil):
    def named(word):
        training = {**model.document["training"], "labels": {"file": word, "dataset": word, "sha256": word}}
        spec = {**SPEC.as_dict(), "findings": [word, "Edema"], "architecture": word}
        figures = made_evaluation((word, "Edema"), warnings=[word])
        return changed(model, training=training, spec=spec, evaluation=figures, licence=word, trained_on=[word])

    card = chai_model_card(named(evil))
    schema.validate(card)
    assert [one.tag for one in read(card).iter()] == [one.tag for one in read(chai_model_card(named("x"))).iter()]
    assert card.isascii()
    for text in read(card).itertext():
        assert all(letter.isprintable() or letter == "\n" for letter in text)
    assert texts(card, "Keyword")[3] == texts(card, "Summary")[0].split("by sigmoid: ")[1].split(", Edema.")[0]


def test_a_card_has_no_markdown_of_the_file(model):
    card = chai_model_card(changed(model, licence="[x](http://y) <b>"))
    assert "Licence of the model: \\[x\\](http://y) &lt;b&gt;." in texts(card, "ThirdPartyInformation")[0]


# --- ensembles


@pytest.fixture
def ensemble(tmp_path):
    members = [made_model(tmp_path / f"m.{name}.safetensors", seed) for seed, name in enumerate("ab")]
    save_ensemble(tmp_path / "m.safetensors", made_document(*members))
    return tmp_path / "m.safetensors"


def test_an_ensemble_has_both_cards(schema, ensemble):
    card, text = chai_model_card(load_ensemble(ensemble)), read_model_card(ensemble)
    schema.validate(card)
    assert "Ensemble of 2 networks: tinycnn, tinycnn." in card
    assert results(card, "UsefulnessUsabilityEfficacy")["Macro AUC, cross-validated"]["estimate"] == 0.7
    digest = load_ensemble(ensemble).document["members"][1]["sha256"]
    for line in (
        "# Model card: m.safetensors",
        f"* Network 2: tinycnn, m.b.safetensors, SHA-256 {digest}",
        "* Cross-validated macro AUC, with 95 % interval: 0.700 (0.60 to 0.80)",
        "Each network has its own; the cards of the member files have it.",
        "| train | 8 |",
    ):
        assert f"{line}\n" in text, line
    assert "Probabilities are means over 2 models, as an ensemble calibrated by" in text


def test_a_card_of_an_ensemble_needs_no_member(ensemble):
    (ensemble.parent / "m.a.safetensors").unlink()
    assert "m.a.safetensors" in read_model_card(ensemble)


# --- the command


def test_the_command_prints_one_card(schema, ensemble):
    def shown(*words):
        return CliRunner().invoke(main, ["show", str(ensemble), *words])

    xml = shown("--model-card-format", "chai-xml").stdout
    schema.validate(xml)
    assert (
        xml == read_model_card(ensemble, "chai-xml") == shown("--model-card", "--model-card-format", "chai-xml").stdout
    )
    assert shown("--model-card").stdout == shown("--model-card-format", "markdown").stdout == read_model_card(ensemble)
    both = shown("--model-card-format", "chai-xml", "--json")
    assert (both.exit_code, "use either --model-card or --json, not both" in both.stderr) == (2, True)


def test_scores_have_no_card(tmp_path):
    (tmp_path / "out.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(InputError, match="a card describes a model"):
        read_model_card(tmp_path / "out.h5", "chai-xml")
