"""The sentence at the top of a report, in all its variants, and the warnings below it."""

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
from report_scores import FINDINGS, made_scores
from test_report_summary import by_hand, imported

from cxrscore.images import Status
from cxrscore.models.calibration import describe_probabilities
from cxrscore.reporting.first_screen import answer, cautions
from cxrscore.reporting.model_evaluations import recorded_models
from cxrscore.reporting.section_figures import without_curve
from cxrscore.reporting.summary import summarise
from cxrscore.scorefile.data import Scores


def sentence(scores: Scores) -> str:
    return answer(summarise(scores), scores.provenance).text


def warnings(scores: Scores, **options: Any) -> list[str]:
    models = recorded_models(scores.provenance, scores.findings)
    words = describe_probabilities(scores.provenance)
    found = cautions(summarise(scores), models, probabilities=words, **options)
    return [one.text for one in found]


def with_failures(scores: Scores, failed: int) -> Scores:
    status = np.full(len(scores.films.path), Status.OK, np.uint8)
    status[:failed] = Status.DAMAGED
    prob = np.where(np.isnan(scores.prob), np.float32(0.1), scores.prob)
    return dataclasses.replace(scores, films=dataclasses.replace(scores.films, status=status), prob=prob, logit=prob)


def columns(scores: Scores, number: int) -> Scores:
    """The first findings of these scores."""
    cut = {name: getattr(scores, name)[:, :number] for name in ("prob", "logit", "prob_uncalibrated", "truth")}
    return dataclasses.replace(scores, findings=FINDINGS[:number], thresholds=scores.thresholds[:number], **cut)


def test_the_sentence_says_what_by_what_how_well_on_what_and_what_failed() -> None:
    scores = columns(made_scores(), 5)
    areas = summarise(scores).areas
    low, high = areas.macro_interval
    assert sentence(scores) == (
        "195 films were scored by densenet121; on 137 held-out films of 137 patients the macro AUC over 5 findings is "
        f"{areas.macro.value:.2f} (95 % interval {low:.2f} to {high:.2f}); 5 films could not be scored."
    )
    assert sentence(with_failures(scores, 0)).endswith("; all films could be scored.")
    assert sentence(with_failures(scores, 1)).endswith("; 1 film could not be scored.")


def test_a_narrow_interval_has_three_decimals() -> None:
    scores = columns(made_scores(), 1)
    summary = summarise(scores)
    known = dataclasses.replace(summary.areas.macro, value=0.7812)
    narrow = dataclasses.replace(summary.areas, macro=known, macro_interval=(0.7793, 0.7831))
    text = answer(dataclasses.replace(summary, areas=narrow), scores.provenance).text
    assert "is 0.781 (95 % interval 0.779 to 0.783); " in text
    wide = dataclasses.replace(narrow, macro_interval=(0.70, 0.85))
    assert "is 0.78 (95 % interval 0.70 to 0.85); " in answer(dataclasses.replace(summary, areas=wide), {}).text


def test_by_hand() -> None:
    # Mass: AUC 5/6 on five held-out films, Nodule has no positive; the interval of five films is wide.
    found = answer(summarise(by_hand()), by_hand().provenance)
    assert (found.before, found.value) == (
        "7 films were scored by densenet121; on 5 held-out films of 5 patients the AUC of Mass, the only finding with "
        "positive and negative films, is ",
        "0.83",
    )


def test_one_finding_has_no_macro_auc() -> None:
    assert "the AUC of Atelectasis is 0." in sentence(columns(made_scores(), 1))


def test_a_macro_auc_without_interval_says_so() -> None:
    assert "is 0.88 (without an interval; over the 12 findings with a known variance: 0.87, 95 % interval" in sentence(
        made_scores()
    )
    assert "macro AUC over 13 of 14 findings" in sentence(made_scores())


def test_no_labels_no_class_and_no_scores() -> None:
    assert sentence(made_scores(labels=False)) == (
        "195 films were scored by densenet121; no scored film has a label, so there is no AUC; 5 films could not be "
        "scored."
    )
    scores = made_scores()
    scores.truth[:] = 0
    assert "on 137 held-out films of 137 patients no AUC is defined, because only one class is present" in sentence(
        scores
    )
    assert sentence(with_failures(scores, 200)) == "None of the 200 films could be scored."


def test_films_that_are_not_held_out_are_said_to_be_so() -> None:
    seen = "on 195 labelled films of 195 patients that the model saw in training or validation, the macro AUC"
    assert seen in sentence(made_scores(split="valid"))
    scores = made_scores(split="")
    imported(scores)
    assert "that the model may have seen in training, the macro AUC" in sentence(scores)
    scores = made_scores()
    scores.provenance["not_held_out"] = [{"set": "NIH", "films": 2, "trained_on": ["NIH"], "overlap": "same"}]
    assert "on 137 labelled films of 137 patients that are not held-out (NIH), the macro" in sentence(scores)


def test_unknown_patients_are_not_counted() -> None:
    scores = made_scores()
    scores.films.patient[100] = -1
    assert "; on 137 held-out films the macro AUC" in sentence(scores)


def test_several_models_an_ensemble_and_other_programs() -> None:
    scores = made_scores()
    model = scores.provenance["models"][0]
    other = copy.deepcopy(model)
    other["document"]["spec"]["architecture"] = "resnet50"
    scores.provenance["models"] = [model, model, other]
    assert "195 films were scored by the mean of 3 models (densenet121, resnet50); on" in sentence(scores)
    scores.provenance["ensemble"] = {"file": "e.json", "document": {}}
    assert "195 films were scored by an ensemble of 3 models (densenet121, resnet50); on" in sentence(scores)
    assert "195 films were scored by another program; on" in sentence(dataclasses.replace(scores, provenance={}))
    scores.provenance["models"] = [{"document": "odd"}]
    assert "scored by a model without a name; on" in sentence(scores)


def test_a_warning_is_given_once_and_says_what_to_do() -> None:
    found = warnings(made_scores())
    assert len(found) == len(set(found))
    (few,) = [text for text in found if text.startswith("Fewer than 10 patients have positive films of ")]
    assert few.endswith("label more films.")
    assert any(text.endswith("Use them to rank films, not as the chance of a finding.") for text in found)
    scores = made_scores()
    scores.films.split[:150] = 1  # training
    assert any(text.startswith("The metrics are of 49 films, expected 100 or more") for text in warnings(scores))


def test_the_sentence_takes_the_place_of_the_warning_that_nothing_was_scored() -> None:
    scores = with_failures(made_scores(), 200)
    assert "No film could be scored." in summarise(scores).warnings
    assert "No film could be scored." not in warnings(scores)


def test_notes_on_pixels_of_one_action_are_one_warning() -> None:
    scores = made_scores()
    message = list(scores.films.message)
    for row in (100, 101, 102):
        message[row] = "grey range taken from its pixels: 0 to 9 of 0 to 255"
    message[103] = "transparency ignored"
    noted = dataclasses.replace(scores, films=dataclasses.replace(scores.films, message=tuple(message)))
    pixels = [text for text in warnings(noted) if text.startswith("Pixels: ")]
    assert pixels[0].startswith("Pixels: grey range taken from its pixels (3 films). ")
    assert len(pixels) == 2


@pytest.mark.parametrize("number", [1, 7, 12])
def test_a_warning_names_the_first_findings(number: int) -> None:
    (text,) = [one for one in warnings(made_scores(), drifted=FINDINGS[:number]) if "distributed otherwise" in one]
    assert text.startswith("The scores of Atelectasis")
    assert (f"and {number - 6} more" in text) == (number > 6)


def test_findings_with_one_probability_for_all_films_are_warned_of() -> None:
    (text,) = [one for one in warnings(made_scores(), constant=FINDINGS[:2]) if "the same probability of" in one]
    assert text.startswith("Every film has the same probability of Atelectasis, Cardiomegaly: ")
    assert not [one for one in warnings(made_scores()) if "the same probability of" in one]


def test_a_warning_of_few_patients_counts_patients_not_films() -> None:
    scores = made_scores()
    patient = np.arange(200) // 20
    scores = dataclasses.replace(scores, films=dataclasses.replace(scores.films, patient=patient.astype(np.int32)))
    few = [one for one in summarise(scores).findings if one.few_positives]
    assert any(one.positives > one.positive_patients for one in few)
    (text,) = [one for one in warnings(scores) if one.startswith("Fewer than 10 patients have positive films of ")]
    for one in few[:6]:
        assert f"{one.finding} ({one.positive_patients})" in text


def test_scores_that_are_all_missing_are_not_called_one_class() -> None:
    scores = made_scores()
    prob = np.full_like(scores.prob, np.nan)
    scores = dataclasses.replace(scores, prob=prob, logit=prob, prob_uncalibrated=prob)
    assert "no AUC is defined, because no film has a score and a label of the same finding;" in sentence(scores)
    assert "Atelectasis (no label or no score)" in without_curve(summarise(scores))
