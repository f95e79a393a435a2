"""Model cards as CHAI Applied Model Cards: XML of the schema https://mc.chai.org/v0.2/schema.xsd.

The texts are Markdown, as the documentation of the schema allows. What no model file says is marked with TO_FILL.
"""

from __future__ import annotations

import json
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from cxrscore.io.strict_json import get_nested, get_text, get_texts
from cxrscore.models.evaluation import Evaluation, Figure, format_count
from cxrscore.models.model_file import EnsembleFile, ModelFile
from cxrscore.show.card import created, is_ensemble_document, is_imported, model_input, model_output, split_by_patient
from cxrscore.show.describe import (
    describe_effect,
    describe_ensemble,
    describe_model,
    described_findings,
    model_evaluation,
)
from cxrscore.show.markdown import escape_markdown, markdown_table

NAMESPACE = "https://mc.chai.org/v0.2/schema.xsd"
TO_FILL = "To be filled in by a person: "
"""Start of every text that a model file cannot give."""
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 does not have, even escaped."""
_CHOSEN_ON = {
    "folds": "out-of-fold predictions of the training films",
    "valid": "validation films",
    "imported": "read from the imported file",
}

Content: TypeAlias = "str | Sequence[tuple[str, Content]]"
"""The text of an element, or the elements in it, in order."""
Result: TypeAlias = tuple[str, Figure]
"""A figure and its label."""

USE = "For research on chest radiographs: to score films, to compare models and to study how they fail."
USERS = "Researchers who know what an ROC curve is."
NOT_FOR = (
    "Not a medical device, and not validated for any clinical use. Not for diagnosis, treatment, triage or any other "
    "decision about a living patient."
)
OTHER_FILMS = (
    "Lateral films, films of children and of other parts of the body are scored like all others: the model does not "
    "recognise what it was not made for."
)
RISKS = (
    "A score says how much a film looks like the training films with that label. It is a probability of disease only "
    "if the model was calibrated on films of the same kind and prevalence. Figures of one collection of films do not "
    "hold for another. Heat maps show where the model looked, not whether it was right."
)
NO_SUBGROUPS = (
    "No figure by subgroup (sex, age, view, site, machine) was measured, so no bias is shown and none is excluded. "
    "`cxrscore report SCORES --groups TABLE` measures subgroups."
)


def chai_model_card(model: ModelFile | EnsembleFile) -> str:
    """The card as XML, in ASCII characters, with a final newline."""
    found = describe_model(model) if isinstance(model, ModelFile) else describe_ensemble(model)
    evaluation = model_evaluation(found)
    root = ET.Element("AppliedModelCard", {"xmlns": NAMESPACE})
    sections: Content = (
        ("BasicInfo", _basic(found)),
        ("ReleaseInfo", _release(found)),
        ("ModelSummary", _summary(found)),
        ("UsesAndDirections", _uses(found)),
        ("Warnings", _warnings(found, evaluation)),
        ("TrustIngredients", (("AISystemFacts", _system(found)), ("TransparencyInformation", _transparency(found)))),
        ("KeyMetrics", _metrics(found, evaluation)),
        (
            "Resources",
            (
                ("PeerReviewedPublications", _missing("publications about this model.")),
                ("PatientConsentOrDisclosure", _missing("whether patients agreed, or are told, that it is used.")),
            ),
        ),
        ("Bibliography", _missing("references in BibTeX.")),
    )
    _append(root, sections)
    ET.indent(root)
    # Character references in place of all other letters: right in whatever encoding the text is written.
    body = ET.tostring(root, encoding="us-ascii", xml_declaration=False).decode("ascii")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


def _append(parent: ET.Element, content: Content) -> None:
    if isinstance(content, str):
        parent.text = _FORBIDDEN.sub(lambda found: f"[U+{ord(found[0]):04X}]", content)
        return
    for name, inside in content:
        _append(ET.SubElement(parent, name), inside)


def _missing(words: str) -> str:
    return f"{TO_FILL}{words}"


def _paragraphs(*texts: str) -> str:
    return "\n\n".join(filter(None, texts))


def _sentence(name: str, value: str) -> str:
    """ "name: value." with a value of the file; "" without a value."""
    return f"{name}: {escape_markdown(value)}." if value else ""


def _basic(found: Any) -> Content:
    return (
        ("ModelName", escape_markdown(found["file"])),
        ("ModelDeveloper", _missing("who made the model and answers for it.")),
        ("DeveloperContact", _missing("how to reach the developer.")),
    )


def _release(found: Any) -> Content:
    made = f"The file was made on {escape_markdown(created(found))}." if created(found) else ""
    return (
        ("ReleaseStage", _missing("stage of the release.")),
        ("ReleaseDate", _paragraphs(made, _missing("date of the release."))),
        ("ReleaseVersion", f"The file with SHA-256 {found['sha256']}."),
        ("GlobalAvailability", _missing("where the model is available.")),
        ("RegulatoryApproval", NOT_FOR),
    )


def _architecture(found: Any) -> str:
    if is_ensemble_document(found):
        names = ", ".join(member["architecture"] for member in found["members"])
        return f"Ensemble of {len(found['members'])} networks: {escape_markdown(names)}."
    network = escape_markdown(get_text(found, "spec", "architecture"))
    head = escape_markdown(get_text(found, "spec", "head"))
    return f"Neural network {network} with {found['parameters']:,} parameters; head: {head}."


def _summary(found: Any) -> Content:
    findings = [escape_markdown(finding) for finding in described_findings(found)]
    output = f"Output for each film: {escape_markdown(model_output(found))}: {', '.join(findings)}."
    keywords = ("chest radiograph", "deep learning", "image classification", *findings)
    return (
        ("Summary", _paragraphs(_architecture(found), output, f"{USE} {NOT_FOR}")),
        ("Keywords", [("Keyword", word) for word in keywords]),
    )


def _uses(found: Any) -> Content:
    file = escape_markdown(found["file"])
    how = (
        f"Score a folder of films with `cxrscore score FILMS --model MODEL`, where MODEL is {file}; `cxrscore report` "
        "then compares the scores with labels. Evaluate the model on labelled films of your own first."
    )
    return (
        ("IntendedUseAndWorkflow", _paragraphs(USE, _missing("the workflow in which the model is used."))),
        ("PrimaryIntendedUsers", USERS),
        ("HowToUse", _paragraphs(how, _thresholds(found))),
        ("TargetedPatientPopulation", _missing("patients for whom the model is meant: age, sex, setting, views.")),
        ("CautionedOutOfScopeSettings", f"{NOT_FOR} {OTHER_FILMS}"),
    )


def _thresholds(found: Any) -> str:
    points = [
        (finding, f"{_number(get_nested(found, 'thresholds', finding, 'prob'))}", _rule(found, finding))
        for finding in described_findings(found)
        if get_nested(found, "thresholds", finding)
    ]
    if not points:
        return "The file has no thresholds."
    head = ("finding", "threshold, probability", "rule, and films for it")
    return f"Thresholds:\n\n{markdown_table(head, points)}"


def _rule(found: Any, finding: str) -> str:
    chosen = get_text(found, "thresholds", finding, "chosen_on")
    return ", ".join(filter(None, (get_text(found, "thresholds", finding, "rule"), _CHOSEN_ON.get(chosen, chosen))))


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else ""


def _warnings(found: Any, evaluation: Evaluation | None) -> Content:
    leaked = get_nested(found, "training", "has_leakage") is True
    leak = (
        "LEAKED: the same patients or films were in more than one split when this model was trained. Its measured "
        "performance is too high."
        if leaked
        else ""
    )
    measured = evaluation.warnings if evaluation is not None else ()
    noted = "\n".join(f"* {escape_markdown(text)}" for text in measured)
    sticks = evaluation.yardsticks if evaluation is not None else None
    return (
        ("KnownRisksAndLimitations", _paragraphs(leak, RISKS, OTHER_FILMS, noted)),
        (
            "KnownBiasesOrEthicalConsiderations",
            _paragraphs(
                NO_SUBGROUPS,
                "" if sticks is None else escape_markdown(sticks.sentence),
                _missing("known biases of the films and labels, and ethical considerations."),
            ),
        ),
        ("ClinicalRiskLevel", _paragraphs(NOT_FOR, _missing("level of risk of the intended use."))),
    )


def _system(found: Any) -> Content:
    operating = "Thresholds turn probabilities into yes or no." if found["thresholds"] else ""
    return (
        (
            "OutcomesAndOutputs",
            _paragraphs(
                f"{escape_markdown(model_output(found))}; heat maps of them.",
                escape_markdown(found["probabilities"]),
                operating,
            ),
        ),
        ("ModelType", _architecture(found)),
        *_foundation(found),
        ("InputDataSource", _paragraphs(_source(found), _missing("sites, machines and years of the films."))),
        ("OutputAndInputDataTypes", _types(found)),
        ("DevelopmentDataCharacterization", _development(found)),
        ("BiasMitigationApproaches", _missing("what was done against bias; the file records nothing.")),
        ("OngoingMaintenance", _missing("who watches the model in use, and how it is updated.")),
        ("Security", "The file holds arrays and one JSON document. Reading it executes no code."),
    )


def _foundation(found: Any) -> Sequence[tuple[str, str]]:
    """The weights from which training started; nothing where it started from none, or is not known."""
    name = get_text(found, "training", "weights", "name")
    if is_imported(found) or name in ("", "none"):
        return ()
    return (("FoundationModels", f"Training started from the weights {escape_markdown(name)}."),)


def _source(found: Any) -> str:
    if is_imported(found):
        return _paragraphs(
            "Another program trained this model; the file does not record on which films.",
            _sentence("Imported from", get_text(found, "training", "weights", "name")),
            _public_sets(found),
        )
    labels = get_nested(found, "training", "labels")
    return _paragraphs(
        _sentence("Films with the labels of the table", get_text(labels, "file")),
        _sentence("SHA-256 of this table", get_text(labels, "sha256")),
        _sentence("Layout of this table", get_text(labels, "dataset")),
        _public_sets(found),
    )


def _public_sets(found: Any) -> str:
    return _sentence("Public data sets on which the model was trained", ", ".join(get_texts(found, "trained_on")))


def _types(found: Any) -> str:
    return _paragraphs(
        "Input: chest radiographs as PNG, JPEG or DICOM files.",
        _sentence("Input of the network", model_input(found)),
        "Output: a scores file (HDF5) with a probability between 0 and 1 for each film and finding.",
    )


def _development(found: Any) -> str:
    missing = _missing("age, sex and other characteristics of the patients; who labelled the films, and how.")
    if is_imported(found):
        return _paragraphs("The training of this model is not recorded.", missing)
    counts = [(name, get_text(found, "training", "split", name)) for name in ("train", "valid", "test")]
    patients = get_nested(found, "training", "patients")
    return _paragraphs(
        f"Films by split:\n\n{markdown_table(('split', 'films'), counts)}",
        f"Patients: {patients:,}." if isinstance(patients, int) and patients else "Patients: not known.",
        _sentence("Split by patient", split_by_patient(found)),
        _sentence("Rule of the split", get_text(found, "training", "split", "rule")),
        missing,
    )


def _transparency(found: Any) -> Content:
    third = _paragraphs(
        _sentence("Licence of the model", get_text(found, "licence")),
        _sentence("Licence of the weights that it started from", get_text(found, "training", "weights", "licence")),
    )
    return (
        ("FundingSource", _missing("who paid for the development.")),
        *((("ThirdPartyInformation", third),) if third else ()),
        ("StakeholdersConsulted", _missing("who was asked: clinicians, patients, others.")),
    )


def _metrics(found: Any, evaluation: Evaluation | None) -> Content:
    return (
        ("UsefulnessUsabilityEfficacy", _usefulness(found, evaluation)),
        (
            "FairnessEquity",
            _metric(
                goal=_missing("subgroups of patients in which the model must work equally well."),
                results=(),
                wanted="figures by subgroup, such as the AUC by sex, age and view.",
                interpretation=NO_SUBGROUPS,
                test="Not measured.",
                data=_missing("films with the characteristics of their patients."),
                process=_missing("how subgroups were chosen and compared."),
            ),
        ),
        ("SafetyReliability", _reliability(found, evaluation)),
    )


def _usefulness(found: Any, evaluation: Evaluation | None) -> Content:
    results = list(_discrimination(found, evaluation))
    defined = [label for label, figure in results if math.isfinite(figure.value)]
    undefined = [label for label, figure in results if label not in defined]
    return _metric(
        goal=_paragraphs(
            "Discrimination: the area under the ROC curve (AUC) of each finding, and their mean (macro AUC). 0.5 is "
            "chance, 1 is perfect.",
            _missing("the performance that the use needs."),
        ),
        results=results,
        wanted="AUCs on held-out films.",
        interpretation=_paragraphs(
            _caution(found, evaluation),
            f"Undefined: {'; '.join(undefined)}." if undefined else "",
            _missing("what these figures mean for the use."),
        ),
        **_test(found, evaluation),
    )


def _discrimination(found: Any, evaluation: Evaluation | None) -> Iterator[Result]:
    if evaluation is None:
        if not is_imported(found):
            yield "Macro AUC, validation films", _plain(get_nested(found, "validation", "macro_auc"))
            for finding in described_findings(found):
                label = f"AUC of {escape_markdown(finding)}, validation films"
                yield label, _plain(get_nested(found, "validation", "auc", finding))
        return
    yield f"Macro AUC, {evaluation.short}", evaluation.macro_auc
    if evaluation.has_test:
        films = format_count(evaluation.test_films)
        yield f"Macro AUC, {films} test films, evaluated once", evaluation.test_auc
    for one in evaluation.findings:
        name = f"{escape_markdown(one.finding)} ({format_count(one.positives)} positive films)"
        yield f"AUC of {name}, {evaluation.short}", one.auc
        yield f"Average precision of {name}, {evaluation.short}", one.average_precision
    sticks = () if evaluation.yardsticks is None else evaluation.yardsticks.without
    for stick in sticks:
        if math.isfinite(stick.macro_auc.low):  # the others are chance by definition
            yield f"Macro AUC without any film: {stick.name}, {evaluation.short}", stick.macro_auc


def _reliability(found: Any, evaluation: Evaluation | None) -> Content:
    results: list[Result] = []
    if evaluation is not None:
        on = evaluation.short
        results = [
            (f"Brier score (mean squared error of the probability), {on}", evaluation.brier),
            (f"Brier skill against the prevalence, {on}", _plain(evaluation.brier_skill)),
            (f"Calibration error, {on}", _plain(evaluation.calibration_error)),
            (f"Spread of the probabilities, 95th minus 5th percentile, {on}", _plain(evaluation.spread)),
        ]
    int8, bf16 = (describe_effect(found, precision) for precision in ("int8", "bf16"))
    return _metric(
        goal=_paragraphs(
            "Calibration: a probability of 0.2 means that 2 of 10 such films are positive.",
            _missing("the reliability that the use needs."),
        ),
        results=results,
        wanted="calibration on held-out films.",
        interpretation=_paragraphs(
            escape_markdown(found["probabilities"]),
            _caution(found, evaluation) if results else "",
            f"In 8-bit integers: {escape_markdown(int8)}." if int8 else "",
            f"In bfloat16: {escape_markdown(bf16)}." if bf16 else "",
            _missing("what these figures mean for the safety of the use."),
        ),
        **_test(found, evaluation if results else None, bool(results)),
    )


def _caution(found: Any, evaluation: Evaluation | None) -> str:
    if evaluation is not None:
        return evaluation.caution
    if is_imported(found):
        return "Another program trained this model; the file has no figures of it."
    return (
        "The epoch, the thresholds and the calibration were chosen on these validation films, so the figures "
        "flatter the model. The file has no intervals."
    )


def _test(found: Any, evaluation: Evaluation | None, measured: bool = True) -> dict[str, str]:
    """Kind of test, its films and how it was done."""
    if not measured or (evaluation is None and is_imported(found)):
        return {
            "test": "Not measured.",
            "data": _missing("films on which the model was tested."),
            "process": _missing("how it was tested."),
        }
    valid = get_text(found, "training", "split", "valid")
    where = evaluation.where if evaluation is not None else f"{valid} validation films"
    test = evaluation is not None and evaluation.has_test
    return {
        "test": f"Internal: {where}{' and test films' if test else ''}, all of the label table of the training.",
        "data": _paragraphs(_source(found), _missing("sites, patients and reference standard of these films.")),
        "process": _paragraphs(
            _sentence("Split by patient", split_by_patient(found)), _missing("why this test is enough for the use.")
        ),
    }


def _metric(
    *, goal: str, results: Sequence[Result], wanted: str, interpretation: str, test: str, data: str, process: str
) -> Content:
    """One key metric; ``wanted`` are the figures that a person has to add if there are none."""
    values = [(label, _value(figure)) for label, figure in results if math.isfinite(figure.value)]
    values = values or [(_missing(wanted), '{"kind":"single","value":null}')]
    return (
        ("MetricGoal", goal),
        ("Results", [("MetricResult", (("Label", label), ("ValueJson", value))) for label, value in values]),
        ("Interpretation", interpretation),
        ("TestType", test),
        ("TestingDataDescription", data),
        ("ValidationProcessAndJustification", process),
    )


def _value(figure: Figure) -> str:
    """The figure as JSON, with its interval if it has one."""
    value, (low, high) = round(figure.value, 4), figure.interval
    found: dict[str, Any] = {"kind": "single", "value": value}
    if math.isfinite(low):
        found = {"kind": "estimate_ci", "estimate": value, "lower": round(low, 4), "upper": round(high, 4), "level": 95}
    return json.dumps(found, separators=(",", ":"))


def _plain(value: Any) -> Figure:
    """A figure without an interval; NaN if it is no finite number."""
    known = isinstance(value, int | float) and math.isfinite(value)
    return Figure(value=float(value) if known else math.nan, low=math.nan, high=math.nan)
