"""Groups of patients or films: is the model as good, and as often wrong, for each as for all others?"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Floats
from cxrscore.errors import InputError
from cxrscore.metrics import Decisions, Estimate, clustered, decisions, delong, difference, mean_of
from cxrscore.metrics.estimates import undefined

LEAST_FILMS = 10
LEAST_OF_A_CLASS = 5
"""Below either, a group's figures would tell of chance, and are not given."""
MOST_GROUPS = 24
"""In a column; more are values, not groups."""
USUAL = ("sex", "age", "view")
"""Columns that are looked at where none is named."""
AGES = ((0, "0–17"), (18, "18–39"), (40, "40–59"), (60, "60–79"), (80, "80 and above"))
UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class GroupFinding:
    """One finding in one group.

    area       AUC in the group
    gap        that, less the AUC of all other films
    decisions  at the threshold that all groups share
    """

    finding: str
    positives: int
    negatives: int
    area: Estimate
    gap: Estimate
    decisions: Decisions


@dataclass(frozen=True, kw_only=True)
class Group:
    """macro and gap are over the same findings: those given here."""

    name: str
    films: int
    findings: tuple[GroupFinding, ...]
    left_out: tuple[str, ...]
    macro: Estimate
    gap: Estimate


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """The groups of one column, and those left out with the reason."""

    column: str
    groups: tuple[Group, ...]
    dropped: tuple[tuple[str, str], ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, NaN as None."""
        return {
            "column": self.column,
            "dropped": dict(self.dropped),
            "groups": [_told(group) for group in self.groups],
        }


def chosen_columns(columns: Mapping[str, Sequence[str]], by: Sequence[str]) -> dict[str, Sequence[str]]:
    """The columns to group by: those named, else USUAL ones that are there. Ages in years become bands.

    InputError for a name that the table does not have, and where there is no usual column and none is named.
    """
    names = tuple(by) or tuple(name for name in USUAL if name in columns)
    if missing := [name for name in names if name not in columns]:
        raise InputError(f"the table of groups has no column {missing[0]}; it has {', '.join(columns) or 'none'}")
    if not names:
        raise InputError(
            f"the table of groups has none of {', '.join(USUAL)}; name a column with --by: it has "
            f"{', '.join(columns) or 'none'}"
        )
    return {name: tuple(map(_band, columns[name])) if name == "age" else columns[name] for name in names}


def _band(cell: str) -> str:
    if not cell.isdigit():
        return ""
    return [name for start, name in AGES if int(cell) >= start][-1]


def grouping(
    column: str,
    cells: Sequence[str],
    findings: Sequence[str],
    truth: Floats,
    prob: Floats,
    thresholds: Floats,
    patients: NDArray[np.intp],
) -> Grouping:
    """The films apart by their cell. cells [A], "" unknown; truth, prob [A,C]; thresholds [C]; patients int [A].

    InputError for more than MOST_GROUPS different cells.
    """
    values = np.array([cell or UNKNOWN for cell in cells])
    names = _ordered(column, set(values.tolist()))
    if len(names) > MOST_GROUPS:
        raise InputError(
            f"column {column} has {len(names)} different values, of which no groups can be made; wanted at most "
            f"{MOST_GROUPS}"
        )
    groups, dropped = [], []
    for name in names:
        inside = values == name
        labelled = inside & ~np.isnan(truth).all(axis=1)
        if labelled.sum() < LEAST_FILMS:
            dropped.append((name, f"labelled films: {int(labelled.sum())}, fewer than {LEAST_FILMS}"))
            continue
        group = _group(name, inside, findings, truth, prob, thresholds, patients)
        if group.findings:
            groups.append(group)
        else:
            dropped.append((name, f"no finding with {LEAST_OF_A_CLASS} positive and {LEAST_OF_A_CLASS} negative films"))
    return Grouping(column=column, groups=tuple(groups), dropped=tuple(dropped))


def _ordered(column: str, names: set[str]) -> list[str]:
    """Bands of age by age, other names by the alphabet, the unknown last."""
    order = [name for _, name in AGES] if column == "age" else sorted(names)
    return [name for name in order if name in names and name != UNKNOWN] + [UNKNOWN] * (UNKNOWN in names)


def _group(
    name: str,
    inside: NDArray[np.bool_],
    findings: Sequence[str],
    truth: Floats,
    prob: Floats,
    thresholds: Floats,
    patients: NDArray[np.intp],
) -> Group:
    kept, left_out, rests = [], [], []
    for c, finding in enumerate(findings):
        label, score = truth[:, c], prob[:, c]
        ones, zeros = (int((inside & (label == value)).sum()) for value in (1, 0))
        if min(ones, zeros) < LEAST_OF_A_CLASS:
            left_out.append(finding)
            continue
        area, rest = area_of(label, score, inside), _rest(label, score, ~inside)
        rests.append(rest)
        kept.append(
            GroupFinding(
                finding=finding,
                positives=ones,
                negatives=zeros,
                area=area,
                gap=clustered(difference(area, rest), patients),
                decisions=decisions(label[inside], score[inside], float(thresholds[c])),
            )
        )
    both = [(one.area, rest) for one, rest in zip(kept, rests, strict=True) if not math.isnan(rest.value)]
    here, there = (mean_of([pair[k] for pair in both]) for k in (0, 1))
    gap = difference(here, there) if both else mean_of([])
    return Group(
        name=name,
        films=int(inside.sum()),
        findings=tuple(dataclasses.replace(one, area=clustered(one.area, patients)) for one in kept),
        left_out=tuple(left_out),
        macro=clustered(mean_of([one.area for one in kept]), patients) if kept else mean_of([]),
        gap=clustered(gap, patients) if both else gap,
    )


def area_of(truth: Floats, prob: Floats, chosen: NDArray[np.bool_]) -> Estimate:
    """DeLong's AUC of the chosen films, its influence float64 [A] over all: 0 for the others, so that figures of
    different films can be subtracted."""
    found = delong(truth[chosen], prob[chosen])
    influence = np.zeros(len(truth))
    influence[chosen] = found.influence
    return dataclasses.replace(found, influence=influence)


def _rest(truth: Floats, prob: Floats, chosen: NDArray[np.bool_]) -> Estimate:
    """The AUC of all other films; undefined where these are too few themselves."""
    ones, zeros = (int((chosen & (truth == value)).sum()) for value in (1, 0))
    if min(ones, zeros) < LEAST_OF_A_CLASS:
        return undefined(len(truth), f"the rest has {ones} positive and {zeros} negative films")
    return area_of(truth, prob, chosen)


def _told(group: Group) -> dict[str, Any]:
    findings = {
        one.finding: {
            "positives": one.positives,
            "negatives": one.negatives,
            "auc": _figure(one.area),
            "gap": _figure(one.gap),
            "missed": _number(one.decisions.missed.value),
            "false_alarms": _number(one.decisions.false_alarms.value),
        }
        for one in group.findings
    }
    return {
        "name": group.name,
        "films": group.films,
        "macro_auc": _figure(group.macro),
        "gap": _figure(group.gap),
        "findings": findings,
        "left_out": list(group.left_out),
    }


def _figure(found: Estimate) -> dict[str, Any]:
    low, high = found.interval
    return {"value": _number(found.value), "interval": None if math.isnan(low) else [low, high]}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
