"""Thresholds: the probability from which a film is positive, chosen on validation films.

All rules use the distinct scores only; a film is positive if its score is at least the threshold.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from cxrscore.contract import Array
from cxrscore.errors import InputError
from cxrscore.metrics.roc import RocCurve, roc

RULES = ("youden", "corner", "sensitivity=S", "specificity=S")
"""youden: maximum of sensitivity + specificity; corner: nearest to (0, 1); the others: at least this value of one
rate, and then the maximum of the other."""

_TIES = 12
"""Decimals to which rates are rounded before comparison, so that equal rates tie."""
_FIXED = re.compile(r"(sensitivity|specificity)=(0?\.[0-9]+|1(?:\.0+)?)")


def check_rule(rule: str) -> str:
    """The rule; InputError if it is not one of RULES."""
    if rule not in ("youden", "corner") and not _FIXED.fullmatch(rule):
        raise InputError(f"threshold rule {rule!r}, expected one of {', '.join(RULES)} with S between 0 and 1")
    return rule


def operating_point(truth: Array, score: Array, rule: str) -> float:
    """The threshold of truth [n] (0, 1, NaN unknown) and score [n] by a rule; NaN with one class only.

    Youden, Index for rating diagnostic tests, Cancer 1950; ties give the highest threshold, with
    the fewest positive films.
    """
    check_rule(rule)
    curve = roc(truth, score)
    if np.isnan(curve.tpr).any() or np.isnan(curve.fpr).any() or len(curve.tpr) < 2:
        return float("nan")
    return float(curve.thresholds[1:][_best(rule)(curve)])


def _best(rule: str) -> Callable[[RocCurve], int]:
    """The index of the best threshold of the curve, without the first one (infinity)."""
    if rule == "youden":
        return lambda curve: int(np.argmax((curve.tpr - curve.fpr)[1:].round(_TIES)))
    if rule == "corner":
        return lambda curve: int(np.argmin(np.hypot(1 - curve.tpr, curve.fpr)[1:].round(_TIES)))
    name, _, wanted = rule.partition("=")
    if name == "sensitivity":
        # Sensitivity rises along the curve: the first sufficient threshold has the highest specificity.
        return lambda curve: int(np.argmax(curve.tpr[1:] >= float(wanted)))
    return lambda curve: _first_specific(curve, float(wanted))


def _first_specific(curve: RocCurve, wanted: float) -> int:
    """The first threshold with the highest sensitivity among those with enough specificity; else the first one."""
    enough = (1 - curve.fpr[1:]).round(_TIES) >= round(wanted, _TIES)
    return int(np.argmax(np.where(enough, curve.tpr[1:], -1.0))) if enough.any() else 0
