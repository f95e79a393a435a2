"""Operating points: the probability from which a film counts as positive, chosen on validation films.

All rules look at the distinct scores only, and a film is called positive where its score is at least the threshold.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from cxrscore.contract import Array
from cxrscore.errors import InputError
from cxrscore.metrics.roc import RocCurve, roc

RULES = ("youden", "corner", "sensitivity=S", "specificity=S")
"""youden: most sensitivity + specificity; corner: nearest to (0, 1); the others: at least so much of the one, and of
the thresholds that give it the one with most of the other."""

_TIES = 12
"""Decimals to which rates are compared, so that equal ones tie whatever fractions they come from."""
_FIXED = re.compile(r"(sensitivity|specificity)=(0?\.[0-9]+|1(?:\.0+)?)")


def check_rule(rule: str) -> str:
    """The rule itself; InputError where it is none of RULES."""
    if rule not in ("youden", "corner") and not _FIXED.fullmatch(rule):
        raise InputError(f"threshold rule {rule!r}, wanted one of {', '.join(RULES)} with S between 0 and 1")
    return rule


def operating_point(truth: Array, score: Array, rule: str) -> float:
    """The threshold of truth [n] (0, 1, NaN unknown) and score [n] by a rule; NaN with one class only.

    Youden, Index for rating diagnostic tests, Cancer 1950; of equally good thresholds the highest, which calls
    fewer films positive.
    """
    check_rule(rule)
    curve = roc(truth, score)
    if np.isnan(curve.tpr).any() or np.isnan(curve.fpr).any() or len(curve.tpr) < 2:
        return float("nan")
    return float(curve.thresholds[1:][_best(rule)(curve)])


def _best(rule: str) -> Callable[[RocCurve], int]:
    """The place of the best of the curve's thresholds, the first of which (infinity) is left out."""
    if rule == "youden":
        return lambda curve: int(np.argmax((curve.tpr - curve.fpr)[1:].round(_TIES)))
    if rule == "corner":
        return lambda curve: int(np.argmin(np.hypot(1 - curve.tpr, curve.fpr)[1:].round(_TIES)))
    name, _, wanted = rule.partition("=")
    if name == "sensitivity":
        # Sensitivity rises along the curve: the first threshold that has it costs the least specificity.
        return lambda curve: int(np.argmax(curve.tpr[1:] >= float(wanted)))
    return lambda curve: _first_specific(curve, float(wanted))


def _first_specific(curve: RocCurve, wanted: float) -> int:
    """The first threshold of most sensitivity among those with enough specificity; the first where none has it."""
    enough = (1 - curve.fpr[1:]).round(_TIES) >= round(wanted, _TIES)
    return int(np.argmax(np.where(enough, curve.tpr[1:], -1.0))) if enough.any() else 0
