"""Subgroups of patients or films: performance and errors of each, compared with all other films."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array, Floats
from cxrscore.errors import InputError
from cxrscore.labels.columns import index_of_distinct
from cxrscore.metrics import Decisions, Estimate, decisions, delong, difference, mean_estimate
from cxrscore.metrics.confidence_intervals import undefined_estimate
from cxrscore.metrics.grouping import count_groups, hard_truth

MIN_FILMS = 10
MIN_PER_CLASS = 5
"""Minimum films of a group and patients of a class; smaller groups are not reported, because results are random."""
MAX_SUBGROUPS = 24
"""Maximum number of groups in a column."""
DEFAULT_COLUMNS = ("sex", "age", "view")
"""Default columns."""
AGES = ((0, "0–17"), (18, "18–39"), (40, "40–59"), (60, "60–79"), (80, "80 and above"))
UNKNOWN = "unknown"
_LONGEST_AGE = 10
"""Maximum number of digits of an age; longer numbers are invalid and slow to parse."""


@dataclass(frozen=True, kw_only=True)
class SubgroupFinding:
    """One finding in one group.

    area       AUC in the group
    gap        this AUC minus the AUC of all other films
    decisions  at the same threshold for all groups
    """

    finding: str
    positives: int
    negatives: int
    area: Estimate
    gap: Estimate
    decisions: Decisions


@dataclass(frozen=True, kw_only=True)
class Subgroup:
    """One group; macro and gap are means over the findings listed here."""

    name: str
    films: int
    findings: tuple[SubgroupFinding, ...]
    left_out: tuple[str, ...]
    macro: Estimate
    gap: Estimate


@dataclass(frozen=True, kw_only=True)
class SubgroupAnalysis:
    """The groups of one column, and the omitted groups with the reason."""

    column: str
    groups: tuple[Subgroup, ...]
    dropped: tuple[tuple[str, str], ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, NaN as None."""
        return {
            "column": self.column,
            "excluded_groups": dict(self.dropped),
            "groups": [_as_dict(group) for group in self.groups],
        }


def chosen_columns(columns: Mapping[str, Sequence[str]], by: Sequence[str]) -> dict[str, Sequence[str]]:
    """The columns to group by: the named ones, else the existing DEFAULT_COLUMNS. Ages in years become bands.

    InputError for a name that is not in the table, and if no column is named and the table has no default column.
    """
    names = tuple(by) or tuple(name for name in DEFAULT_COLUMNS if name in columns)
    if missing := [name for name in names if name not in columns]:
        raise InputError(f"the table of groups has no column {missing[0]}; it has {_some(columns)}")
    if not names:
        raise InputError(
            f"the table of groups has none of {', '.join(DEFAULT_COLUMNS)}; name a column with --group-by: it has "
            f"{_some(columns)}"
        )
    return {name: tuple(map(_band, columns[name])) if name == "age" else columns[name] for name in names}


def _some(columns: Mapping[str, Sequence[str]]) -> str:
    """Names of columns, at most MAX_SUBGROUPS of them."""
    more = f" and {len(columns) - MAX_SUBGROUPS} more" if len(columns) > MAX_SUBGROUPS else ""
    return (", ".join(list(columns)[:MAX_SUBGROUPS]) or "none") + more


def _band(cell: str) -> str:
    if not (cell.isdecimal() and len(cell) < _LONGEST_AGE):
        return ""
    return [name for start, name in AGES if int(cell) >= start][-1]


@dataclass(frozen=True, kw_only=True)
class LabelledSet:
    """The films to group: A films and C findings.

    truth, prob  float32 [A,C]
    ranked       float64 [A,C], the result of ranking.ranking_scores
    thresholds   float32 [C], NaN if undefined
    patients     int [A], the result of auc.patient_groups
    """

    findings: tuple[str, ...]
    truth: Floats
    prob: Array
    ranked: Array
    thresholds: Floats
    patients: NDArray[np.intp]


def subgroup_analysis(column: str, cells: Sequence[str], films: LabelledSet) -> SubgroupAnalysis:
    """Subgroups of A films by the value of each, "" if unknown. InputError for more than MAX_SUBGROUPS values."""
    codes = index_of_distinct(cell or UNKNOWN for cell in cells)
    names = _ordered(column, codes)
    if len(names) > MAX_SUBGROUPS:
        raise InputError(
            f"column {column} has {len(names)} different values, too many for subgroups; use a column with at most "
            f"{MAX_SUBGROUPS}"
        )
    values = np.array([codes[cell or UNKNOWN] for cell in cells])
    labelled = ~np.isnan(films.truth).all(axis=1)
    groups, dropped = [], []
    for name in names:
        inside = values == codes[name]
        number = int((inside & labelled).sum())
        group = _group(name, inside, films) if number >= MIN_FILMS else None
        if group is None:
            dropped.append((name, f"labelled films: {number}, fewer than {MIN_FILMS}"))
        elif not group.findings:
            dropped.append((name, f"no finding with positive and negative films of {MIN_PER_CLASS} patients each"))
        else:
            groups.append(group)
    return SubgroupAnalysis(column=column, groups=tuple(groups), dropped=tuple(dropped))


def _ordered(column: str, names: Collection[str]) -> list[str]:
    """Sort key: bands of age by age, other names alphabetically, unknown last."""
    order = [name for _, name in AGES] if column == "age" else sorted(names)
    return [name for name in order if name in names and name != UNKNOWN] + [UNKNOWN] * (UNKNOWN in names)


def _group(name: str, inside: NDArray[np.bool_], films: LabelledSet) -> Subgroup:
    pairs = {c: tuple(subgroup_auc(films, c, rows) for rows in (inside, ~inside)) for c in range(len(films.findings))}
    comparable = [c for c, (here, _) in pairs.items() if not math.isnan(here.value)]
    both = [c for c in comparable if not math.isnan(pairs[c][1].value)]
    heres, theres = (mean_estimate([pairs[c][side] for c in both]) for side in (0, 1))
    return Subgroup(
        name=name,
        films=int(inside.sum()),
        findings=tuple(_finding(films, c, inside, *pairs[c]) for c in comparable),
        left_out=tuple(finding for c, finding in enumerate(films.findings) if c not in comparable),
        macro=mean_estimate([pairs[c][0] for c in comparable]),
        gap=difference(heres, theres),
    )


def _finding(
    films: LabelledSet, column: int, inside: NDArray[np.bool_], here: Estimate, there: Estimate
) -> SubgroupFinding:
    truth, prob = films.truth[inside, column], films.prob[inside, column]
    return SubgroupFinding(
        finding=films.findings[column],
        positives=int((truth > 0.5).sum()),
        negatives=int((truth < 0.5).sum()),
        area=here,
        gap=difference(here, there),
        decisions=decisions(truth, prob, float(films.thresholds[column])),
    )


def subgroup_auc(films: LabelledSet, column: int, chosen: NDArray[np.bool_]) -> Estimate:
    """DeLong's AUC of the selected films, undefined if a class has fewer than MIN_PER_CLASS patients.

    Its influence terms are over the patients of all films, so that AUCs of different films can be subtracted.
    """
    truth = np.where(chosen, hard_truth(films.truth[:, column]), np.nan)
    ones, zeros = (count_groups(films.patients, truth == value) for value in (1, 0))
    if min(ones, zeros) < MIN_PER_CLASS:
        return undefined_estimate(
            films.patients, f"too few patients: {ones} with positive and {zeros} with negative films"
        )
    return delong(truth, films.ranked[:, column], films.patients)


def _as_dict(group: Subgroup) -> dict[str, Any]:
    findings = {
        one.finding: {
            "positives": one.positives,
            "negatives": one.negatives,
            "auc": _figure(one.area),
            "auc_difference": _figure(one.gap),
            "false_negative_rate": _number(one.decisions.missed.value),
            "false_positive_rate": _number(one.decisions.false_alarms.value),
        }
        for one in group.findings
    }
    return {
        "name": group.name,
        "films": group.films,
        "macro_auc": _figure(group.macro),
        "auc_difference": _figure(group.gap),
        "findings": findings,
        "excluded_findings": list(group.left_out),
    }


def _figure(found: Estimate) -> dict[str, Any]:
    low, high = found.interval
    return {"value": _number(found.value), "interval": None if math.isnan(low) else [low, high]}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
