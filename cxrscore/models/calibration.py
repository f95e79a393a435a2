"""The calibration of a model: moved to another prevalence, and in words.

A classifier that gives the probabilities of one population gives those of another, in which a finding looks the same
but has another frequency, if its odds are multiplied by the ratio of the prior odds:

    logit p' = logit p + logit(target prevalence) - logit(training prevalence)

Saerens, Latinne and Decaestecker, Adjusting the Outputs of a Classifier to New a Priori Probabilities, Neural
Computation 14, 2002, equation 2.4; Elkan, The Foundations of Cost-Sensitive Learning, IJCAI 2001, theorem 2.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Floats
from cxrscore.io.strict_json import get_nested, get_text, provenance_models

RARE = 0.1
"""A finding with a smaller prevalence is rare: its probabilities are small numbers, which are easier to read as
multiples of the prevalence."""
_METHODS = {
    "temperature": "one temperature for all findings",
    "platt": "a slope and an intercept for each finding",
    "shrunken-platt": "a slope and an intercept for each finding, shrunk together where positives are few",
}
_FILMS = {"valid": "the validation films", "folds": "out-of-fold predictions of the training films"}

Doubles = NDArray[np.float64]


def moved_calibration(document: Mapping[str, Any], target: Mapping[str, float] | None) -> Mapping[str, Any] | None:
    """The calibration of a model, with intercepts for the target prevalence of some findings.

    Parameters
    ----------
    document : the document of a model file; with a target, its calibration has a prevalence
    target : prevalence by finding, each between 0 and 1; findings that are not named keep theirs

    Returns
    -------
    The calibration as in the document, or with other intercepts; None if the model has none.
    """
    calibration = document.get("calibration")
    if not calibration or not target:
        return calibration
    shift = prevalence_shift(document, target)
    return {**calibration, "intercept": (np.array(calibration["intercept"], np.float64) + shift).tolist()}


def prevalence_shift(document: Mapping[str, Any], target: Mapping[str, float] | None) -> Doubles:
    """float64 [C]: logit(target) - logit(training prevalence) of each finding; 0 for a finding without a target."""
    findings = document["spec"]["findings"] if "spec" in document else document["findings"]  # of an ensemble
    shift = np.zeros(len(findings))
    for place, finding in enumerate(findings):
        if target and finding in target:
            trained = document["calibration"]["prevalence"][place]
            # Equal prevalences give exactly 0.
            shift[place] = _logit(target[finding]) - _logit(trained)
    return shift


def moved_thresholds(thresholds: Floats, shift: Doubles) -> Floats:
    """Thresholds float32 [C] on probabilities whose logits were moved by ``shift``; NaN stays.

    The films that reached the threshold still do: the lowest number that rounds to the threshold as float32 is moved,
    and both conversions keep the order.
    """
    moved = thresholds.copy()
    for place in np.flatnonzero((shift != 0) & (thresholds > 0) & (thresholds < 1)):
        lowest = (float(thresholds[place]) + float(np.nextafter(thresholds[place], np.float32(0)))) / 2
        moved[place] = _expit(_logit(lowest) + shift[place])
    return moved


def recorded_shift(provenance: Mapping[str, Any]) -> dict[str, float]:
    """The shift of prevalence_shift by finding, from the provenance of a scores file of one model, in which anything
    may be missing; empty without a target prevalence."""
    target, models = get_nested(provenance, "target_prevalence"), calibrated_models(provenance)
    trained = _trained_prevalences(models[0]) if len(models) == 1 else {}
    named = target if isinstance(target, Mapping) else {}
    return {name: _logit(named[name]) - _logit(trained[name]) for name in trained if _is_share(named.get(name))}


def moved_probabilities(prob: Doubles, shift: float) -> Doubles:
    """Probabilities float64 [n] whose logits are moved by ``shift``; 0 and 1 stay."""
    less = math.exp(-abs(shift))  # at most 1, so that no shift overflows
    present, absent = (prob, (1 - prob) * less) if shift > 0 else (prob * less, 1 - prob)
    return np.asarray(np.divide(present, present + absent, out=prob.copy(), where=present + absent > 0), np.float64)


def _expit(z: float) -> float:
    less = math.exp(-abs(z))
    return (1 if z >= 0 else less) / (1 + less)


def _logit(p: float) -> float:
    return math.log(p) - math.log1p(-p)


def prevalences(provenance: Mapping[str, Any], findings: Sequence[str]) -> dict[str, float]:
    """The prevalence for which the probabilities of each finding hold: the target, or that of the training films.

    Findings of unknown prevalence are missing: the models are not calibrated, or do not record it. Of several models
    with different training films it is the mean.
    """
    target = get_nested(provenance, "target_prevalence")
    lines = [_trained_prevalences(model) for model in calibrated_models(provenance)]
    found = {}
    for finding in findings:
        known = [line[finding] for line in lines if finding in line]
        if lines and len(known) == len(lines):
            value = target.get(finding) if isinstance(target, Mapping) else None
            found[finding] = float(value if _is_share(value) else np.mean(known))
    return found


def times_prevalence(prob: float, prevalence: float | None) -> str:
    """The probability of a rare finding as a multiple of its prevalence: "3.2 × the prevalence"; "" if the prevalence
    is unknown, or RARE or more."""
    if prevalence is None or prevalence >= RARE or not math.isfinite(prob):
        return ""
    ratio = prob / prevalence
    return f"{ratio:.{0 if ratio >= 9.95 else 1}f} × the prevalence"


def calibrated_models(provenance: Mapping[str, Any]) -> Sequence[Any]:
    """The records whose calibrations gave the scores: of the models, or of the ensemble file alone, whose calibration
    is the last step."""
    ensemble = get_nested(provenance, "ensemble")
    return provenance_models(provenance) if ensemble is None else (ensemble,)


def is_calibrated(provenance: Mapping[str, Any]) -> bool:
    """Whether the probabilities of a scores file are calibrated by a known method, as far as its provenance says."""
    methods = [get_text(model, "document", "calibration", "method") for model in calibrated_models(provenance)]
    return bool(methods) and all(method in _METHODS for method in methods)


def _trained_prevalences(model: Any) -> dict[str, float]:
    """The prevalence by finding in one record of provenance, in which anything may be missing or of another type."""
    names = get_nested(model, "document", "spec", "findings") or get_nested(model, "document", "findings")
    values = get_nested(model, "document", "calibration", "prevalence")
    if not isinstance(names, list | tuple) or not isinstance(values, list | tuple) or len(names) != len(values):
        return {}
    pairs = zip(names, values, strict=True)
    return {name: value for name, value in pairs if isinstance(name, str) and _is_share(value)}


def _is_share(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1


def describe_probabilities(provenance: Mapping[str, Any]) -> str:
    """One or two sentences: whether the probabilities of a scores file are calibrated, by what method, on which films,
    and for which prevalence. Every text that shows probabilities uses them.

    provenance  of a scores file; anything may be missing
    """
    used = provenance_models(provenance)
    if not used:
        return "It is not known whether the probabilities are calibrated: the file names no model."
    kinds = Counter(_describe_model(get_nested(one, "document")) for one in used)
    ensemble = get_nested(provenance, "ensemble", "document")
    if ensemble is not None:
        text = f"Probabilities are means over {len(used)} models, as an ensemble {_describe_model(ensemble)}."
    elif len(used) == 1:
        text = f"Probabilities are {next(iter(kinds))}."
    elif len(kinds) == 1:
        text = f"Probabilities are means over {len(used)} models, each {next(iter(kinds))}."
    else:
        parts = "; ".join(f"{count} {kind}" for kind, count in kinds.items())
        text = f"Probabilities are means over {len(used)} models: {parts}."
    return f"{text}{_describe_target(provenance)}"


def describe_calibration(calibration: Any) -> str:
    """A sentence about the probabilities of one model, from its document's calibration."""
    return f"Probabilities are {_describe_calibration(calibration)}."


def _describe_model(document: Any) -> str:
    if not isinstance(document, Mapping) or "calibration" not in document:
        return "of unknown calibration"
    return _describe_calibration(document["calibration"])


def _describe_calibration(calibration: Any) -> str:
    if not isinstance(calibration, Mapping):
        return "not calibrated: they are the outputs of the network"
    if get_text(calibration, "method") == "op-thresholds":
        return "not calibrated: they are rescaled so that the threshold of each finding becomes 0.5"
    method = _METHODS.get(get_text(calibration, "method"), "an unknown method")
    films = _FILMS.get(get_text(calibration, "fitted_on"), "unknown films")
    unknown = "" if isinstance(calibration.get("prevalence"), list | tuple) else ", which is not recorded"
    return f"calibrated by {method}, on {films}, for the prevalence in these films{unknown}"


def _describe_target(provenance: Mapping[str, Any]) -> str:
    target = get_nested(provenance, "target_prevalence")
    if not isinstance(target, Mapping) or not target:
        return ""
    moved = ", ".join(f"{finding} {value:.3g}" for finding, value in target.items() if _is_share(value))
    return f" They were moved to a target prevalence (--target-prevalence): {moved}."
