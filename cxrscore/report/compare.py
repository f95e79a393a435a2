"""Several scores files on the same films: paired differences, and the word "better" only where it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Floats
from cxrscore.errors import InputError
from cxrscore.films import Status
from cxrscore.labels.match import match_rows
from cxrscore.metrics import (
    Estimate,
    corrected_verdict,
    counts,
    delong,
    difference,
    holm,
    mean_of,
    p_value,
)
from cxrscore.report.areas import patient_groups, repeats
from cxrscore.report.inputs import Named, check_paths
from cxrscore.report.summary import SEEN
from cxrscore.scores.data import Scores

Rows = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One finding, or the macro AUC, of another file against the first.

    found     other - first, its interval over the patients
    p         corrected for the number of findings and files (Holm); NaN for the macro AUC's, which is one test a file
    verdict   better, worse, or "no difference shown"
    """

    finding: str
    positives: int
    negatives: int
    first: float
    other: float
    found: Estimate
    p: float
    verdict: str


@dataclass(frozen=True, kw_only=True)
class Against:
    """Another file against the first, finding by finding, and the macro AUC over the findings that both have."""

    name: str
    findings: tuple[Difference, ...]
    macro: Difference


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Several files on the films that all of them scored.

    films    how many, of whom none was seen by any of the models, unless ``seen``
    joined   "hash" of the films' bytes or "path"
    left_out films that only some of the files have
    """

    first: str
    others: tuple[Against, ...]
    films: int
    patients: int
    left_out: int
    joined: str
    seen: bool
    tests: int

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, NaN as None."""
        return {
            "first": self.first,
            "films": self.films,
            "joined_by": self.joined,
            "seen": self.seen,
            "tests": self.tests,
            "others": [
                {
                    "name": other.name,
                    "macro": _told(other.macro),
                    "findings": [_told(one) for one in other.findings],
                }
                for other in self.others
            ],
        }


def compare(files: Sequence[Named]) -> Comparison | None:
    """The first file against each other one; None where there is no other.

    InputError where the files have no film, or no finding, in common, or labels that contradict each other.
    """
    if len(files) < 2:
        return None
    first, *others = files
    rows, joined = common_films(files)
    seen = not _unseen(files, rows).any()
    everywhere = rows.shape[1]
    rows = rows if seen else rows[:, _unseen(files, rows)]
    findings = [f for f in first.scores.findings if all(f in one.scores.findings for one in others)]
    if not findings:
        raise InputError(f"{first.name} and the others have no finding in common")
    truth = _common_truth(files, rows, findings)
    groups = patient_groups(first.scores.films.patient[rows[0]])
    against = [_against(files, rows, place, truth, groups, findings) for place in range(1, len(files))]
    return Comparison(
        first=first.name,
        others=_corrected(against),
        films=rows.shape[1],
        patients=len(np.unique(groups)) if repeats(groups) else rows.shape[1],
        left_out=max(len(one.scores.films.path) for one in files) - everywhere,
        joined=joined,
        seen=seen,
        tests=sum(not np.isnan(p_value(one.found)) for other in against for one in other.findings),
    )


def common_films(files: Sequence[Named]) -> tuple[Rows, str]:
    """int [K,n]: the row in each of K files of the n films that all have scored, and by what they were joined.

    Films are the same where their bytes are; where a file does not know the bytes, where their paths are. Of films that
    a file has twice, the first is taken.
    """
    by_hash = all(any(one.scores.films.sha256) for one in files)
    first = files[0].scores
    if by_hash:
        found = [_places(one.scores) for one in files]
        shared = [digest for digest in found[0] if all(digest in places for places in found)]
        rows = [[places[digest] for digest in shared] for places in found]
    else:
        rows = _by_path(files)
    table = np.array(rows, np.intp).reshape(len(files), -1)
    table = table[:, np.isin(table[0], np.flatnonzero(first.films.status == Status.OK))]
    scored = [one.scores.films.status[places] == Status.OK for one, places in zip(files, table, strict=True)]
    table = table[:, np.array(scored).all(axis=0)]
    if not table.shape[1]:
        names = ", ".join(one.name for one in files)
        raise InputError(f"no film was scored in all of {names}; a comparison needs the same films in each")
    return table, "hash" if by_hash else "path"


def _places(scores: Scores) -> dict[str, int]:
    places: dict[str, int] = {}
    for row, digest in enumerate(scores.films.sha256):
        if digest and scores.films.status[row] == Status.OK:
            places.setdefault(digest, row)
    return places


def _by_path(files: Sequence[Named]) -> list[list[int]]:
    for one in files:
        check_paths(one.scores, one.name)
    first = files[0].scores.films.path
    found = [match_rows(one.scores.films.path, first) for one in files[1:]]
    kept = [row for row in range(len(first)) if all(rows[row] is not None for rows in found)]
    return [kept, *([rows[row] or 0 for row in kept] for rows in found)]


def _unseen(files: Sequence[Named], rows: Rows) -> NDArray[np.bool_]:
    """bool [n]: films that none of the models had seen."""
    seen = [np.isin(one.scores.films.split[places], SEEN) for one, places in zip(files, rows, strict=True)]
    return np.asarray(~np.array(seen).any(axis=0))


def _columns(scores: Scores, rows: Rows, findings: Sequence[str], what: str) -> Floats:
    places = np.array([scores.findings.index(finding) for finding in findings])
    values: Floats = getattr(scores, what)[rows[:, None], places]
    return values


def _common_truth(files: Sequence[Named], rows: Rows, findings: Sequence[str]) -> Floats:
    """float32 [n,F]: what any file knows; InputError where two know different things."""
    truth = _columns(files[0].scores, rows[0], findings, "truth")
    for one, places in zip(files[1:], rows[1:], strict=True):
        other = _columns(one.scores, places, findings, "truth")
        both = ~(np.isnan(truth) | np.isnan(other))
        if differing := int((truth[both] != other[both]).sum()):
            raise InputError(
                f"{files[0].name} and {one.name} differ in {differing} labels of the same films; give --labels TABLE "
                "to judge both by one table"
            )
        truth = np.where(np.isnan(truth), other, truth)
    return truth


def _against(
    files: Sequence[Named], rows: Rows, place: int, truth: Floats, groups: Rows, findings: Sequence[str]
) -> Against:
    probs = [_columns(files[k].scores, rows[k], findings, "prob") for k in (0, place)]
    ones, others = ([delong(truth[:, c], prob[:, c], groups) for c in range(len(findings))] for prob in probs)
    positives, negatives = counts(truth)
    differences = [
        _difference(finding, one, other, int(positives[c]), int(negatives[c]))
        for c, (finding, one, other) in enumerate(zip(findings, ones, others, strict=True))
    ]
    macro = _difference("Macro AUC", mean_of(ones), mean_of(others), 0, 0)
    return Against(name=files[place].name, findings=tuple(differences), macro=macro)


def _difference(finding: str, one: Estimate, other: Estimate, positives: int, negatives: int) -> Difference:
    found = difference(other, one)
    return Difference(
        finding=finding,
        positives=positives,
        negatives=negatives,
        first=one.value,
        other=other.value,
        found=found,
        p=p_value(found),
        verdict="",
    )


def _corrected(against: Sequence[Against]) -> tuple[Against, ...]:
    """With p-values corrected over all findings of all files, those of the macro AUC over the files, and verdicts."""
    adjusted = iter(holm([one.p for other in against for one in other.findings]))
    macros = holm([other.macro.p for other in against])
    return tuple(
        Against(
            name=other.name,
            findings=tuple(_judged(one, float(next(adjusted))) for one in other.findings),
            macro=_judged(other.macro, float(macro)),
        )
        for other, macro in zip(against, macros, strict=True)
    )


def _judged(one: Difference, adjusted: float) -> Difference:
    return Difference(**{**vars(one), "p": adjusted, "verdict": corrected_verdict(one.found, adjusted)})


def _told(one: Difference) -> dict[str, Any]:
    low, high = one.found.interval
    numbers = {"first": one.first, "other": one.other, "difference": one.found.value, "p": one.p}
    told: dict[str, Any] = {key: None if np.isnan(value) else float(value) for key, value in numbers.items()}
    interval = None if np.isnan(low) else [low, high]
    return {"finding": one.finding, **told, "interval": interval, "verdict": one.verdict, "why": one.found.why}
