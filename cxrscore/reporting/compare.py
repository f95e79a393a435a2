"""Comparison of several scores files on the same films, by paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array, Floats
from cxrscore.errors import InputError
from cxrscore.images import Status
from cxrscore.labels.match import match_rows
from cxrscore.metrics import Estimate, corrected_verdict, counts, delong, difference, holm, mean_estimate, p_value
from cxrscore.reporting.auc import has_repeated_patients, patient_groups
from cxrscore.reporting.load_scores import NamedScores, check_paths
from cxrscore.reporting.provenance import films_not_held_out, knows_training_films
from cxrscore.reporting.ranking import ranking_scores
from cxrscore.reporting.spread import Spread, macro_spread
from cxrscore.scorefile.data import SEEN, Scores

Rows = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One finding, or the macro AUC, of another file against the first.

    found     other - first, its interval over the patients
    p         corrected for the number of findings and files (Holm); NaN for the macro AUC, which is one test per file
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
class PairedComparison:
    """Another file against the first, finding by finding, and the macro AUC over ``averaged`` of these findings: those
    whose AUC has an interval in both files."""

    name: str
    findings: tuple[Difference, ...]
    macro: Difference
    averaged: int


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Several files, compared on the films that all of them scored.

    others    empty if no film is fit to compare in all files, as in folds: then there is only the spread
    films     number of labelled films that no model has seen, unless ``seen``; number of all films without labels
    joined    "hash" of the films' bytes or "path"
    left_out  films that are not scored in all files; seen_out: labelled films excluded because a model has seen them
    untold    files that do not contain the training films of their models
    public    files whose models were trained on a public data set that has some of the films
    spread    the macro AUC of each file on its own films; None for two files
    """

    first: str
    others: tuple[PairedComparison, ...]
    films: int
    patients: int
    left_out: int
    seen_out: int
    untold: tuple[str, ...]
    joined: str
    seen: bool
    tests: int
    public: tuple[str, ...] = ()
    spread: Spread | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, NaN as None."""
        return {
            "reference": self.first,
            "films": self.films,
            "excluded_films": self.left_out,
            "excluded_training_films": self.seen_out,
            "unknown_training_films": list(self.untold),
            "not_held_out": list(self.public),
            "joined_by": self.joined,
            "includes_training_films": self.seen,
            "tests": self.tests,
            "spread": self.spread and self.spread.as_dict(),
            "others": [
                {
                    "name": other.name,
                    "macro_auc": _as_dict(other.macro),
                    "macro_auc_findings": other.averaged,
                    "findings": [_as_dict(one) for one in other.findings],
                }
                for other in self.others
            ],
        }


def compare(files: Sequence[NamedScores]) -> Comparison | None:
    """Compares the first file with each other file; None if there is no other.

    Three or more files without a common film that no model has seen, as folds, are compared by their spread alone.

    InputError if the files have no finding in common, contradictory labels, or no film in common and no spread.
    """
    if len(files) < 2:
        return None
    first, *others = files
    findings = [f for f in first.scores.findings if all(f in one.scores.findings for one in others)]
    if not findings:
        raise InputError(f"{first.name} and the others have no finding in common")
    spread = macro_spread(files, findings)
    everywhere, joined = _join_films(files) if spread is not None else common_films(files)
    labelled, unseen = _labelled(files, everywhere, findings), _unseen(files, everywhere)
    rows = everywhere[:, _evaluation_mask(labelled, unseen)]
    seen = bool(labelled.any()) and not (labelled & unseen).any()
    if seen and spread is not None and spread.is_held_out:  # each split has held-out films, and none is so in all
        rows, seen = rows[:, :0], False
    truth = _common_truth(files, rows, findings)
    groups = _patients(files, rows)
    places = range(1, len(files)) if rows.shape[1] else ()
    against = [_paired_comparison(files, rows, place, truth, groups, findings) for place in places]
    return Comparison(
        first=first.name,
        others=corrected_comparisons(against),
        films=rows.shape[1],
        patients=len(np.unique(groups)) if has_repeated_patients(groups) else rows.shape[1],
        left_out=_all_films(files, joined) - everywhere.shape[1],
        seen_out=0 if seen else int(np.count_nonzero(labelled & ~unseen)),
        untold=tuple(one.name for one in files if not knows_training_films(one.scores.provenance)),
        public=tuple(one.name for one in files if films_not_held_out(one.scores.provenance)),
        joined=joined,
        seen=seen,
        spread=spread,
        tests=sum(not np.isnan(p_value(one.found)) for other in against for one in other.findings),
    )


def common_films(files: Sequence[NamedScores]) -> tuple[Rows, str]:
    """int [K,n]: the rows in each of K files of the n films that all have scored, and the key of the join.

    Films are matched by their hash; if a file has no hashes, by path. If a file has a film twice, its first row is
    used. InputError if there is no such film.
    """
    table, joined = _join_films(files)
    if not table.shape[1]:
        names = ", ".join(one.name for one in files)
        raise InputError(f"no film was scored in all of {names}; a comparison needs files with the same films")
    return table, joined


def _join_films(files: Sequence[NamedScores]) -> tuple[Rows, str]:
    """As common_films; there may be no film."""
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
    return table[:, np.array(scored).all(axis=0)], "hash" if by_hash else "path"


def _places(scores: Scores) -> dict[str, int]:
    places: dict[str, int] = {}
    for row, digest in enumerate(scores.films.sha256):
        if digest and scores.films.status[row] == Status.OK:
            places.setdefault(digest, row)
    return places


def _by_path(files: Sequence[NamedScores]) -> list[list[int]]:
    for one in files:
        check_paths(one.scores, one.name)
    first = files[0].scores.films.path
    found = [match_rows(one.scores.films.path, first) for one in files[1:]]
    common = [row for row in range(len(first)) if all(rows[row] is not None for rows in found)]
    return [common, *([rows[row] or 0 for row in common] for rows in found)]


def _all_films(files: Sequence[NamedScores], joined: str) -> int:
    """Number of distinct films in all files, scored or not."""
    if joined == "hash":
        films = [one.scores.films for one in files]
        return len({digest or path for one in films for digest, path in zip(one.sha256, one.path, strict=True)})
    first, *others = (one.scores.films.path for one in files)
    more = set()
    for paths in others:
        matched = set(match_rows(paths, first))
        more |= {path for row, path in enumerate(paths) if row not in matched}
    return len(first) + len(more)


def _evaluation_mask(labelled: NDArray[np.bool_], unseen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """bool [n]: the films of the comparison, selected as in summary.assessed_films; all films if none has a label."""
    if (labelled & unseen).any():
        return labelled & unseen
    return labelled if labelled.any() else ~labelled


def _labelled(files: Sequence[NamedScores], rows: Rows, findings: Sequence[str]) -> NDArray[np.bool_]:
    """bool [n]: films with a label of any finding in any file."""
    truths = [_columns(one.scores, own, findings, one.scores.truth) for one, own in zip(files, rows, strict=True)]
    return np.asarray(np.isfinite(truths).any(axis=(0, 2)))


def _patients(files: Sequence[NamedScores], rows: Rows) -> Rows:
    """The patients of the films (see patient_groups), from the first file that contains patients."""
    patients = [one.scores.films.patient[places] for one, places in zip(files, rows, strict=True)]
    return patient_groups(next((patient for patient in patients if (patient >= 0).any()), patients[0]))


def _unseen(files: Sequence[NamedScores], rows: Rows) -> NDArray[np.bool_]:
    """bool [n]: films that no model has seen."""
    seen = [np.isin(one.scores.films.split[places], SEEN) for one, places in zip(files, rows, strict=True)]
    return np.asarray(~np.array(seen).any(axis=0))


def _columns(scores: Scores, rows: Rows, findings: Sequence[str], matrix: Array) -> Array:
    """The values [n,F] of these films and findings in a matrix [N,C] of the scores."""
    places = np.array([scores.findings.index(finding) for finding in findings])
    return np.asarray(matrix[rows[:, None], places])


def _common_truth(files: Sequence[NamedScores], rows: Rows, findings: Sequence[str]) -> Floats:
    """Labels float32 [n,F] from all files; InputError if two files have different labels."""
    truth = _columns(files[0].scores, rows[0], findings, files[0].scores.truth)
    for one, places in zip(files[1:], rows[1:], strict=True):
        other = _columns(one.scores, places, findings, one.scores.truth)
        both = ~(np.isnan(truth) | np.isnan(other))
        if differing := int((truth[both] != other[both]).sum()):
            raise InputError(
                f"{files[0].name} and {one.name} differ in {differing} labels of the same films; give --labels TABLE "
                "to use one table for both"
            )
        truth = np.where(np.isnan(truth), other, truth)
    return truth


def _paired_comparison(
    files: Sequence[NamedScores], rows: Rows, place: int, truth: Floats, groups: Rows, findings: Sequence[str]
) -> PairedComparison:
    both = [_columns(files[k].scores, rows[k], findings, ranking_scores(files[k].scores)) for k in (0, place)]
    return paired_comparison(files[place].name, truth, both, groups, findings)


def paired_comparison(
    name: str, truth: Floats, both: Sequence[Array], groups: Array, findings: Sequence[str]
) -> PairedComparison:
    """Another file against the first on the same films; p-values are not corrected yet.

    Parameters
    ----------
    name : str
        Of the other file.
    truth : float32 [n,F]
        Labels of these films and findings.
    both : two of float64 [n,F]
        The results of ranking.ranking_scores for the first and the other file.
    groups : int [n]
        The result of auc.patient_groups.
    findings : sequence of str
    """
    # Each finding is compared on the films that have a score of it in both files.
    truth = np.where(np.isnan(both).any(axis=0), np.nan, truth)
    ones, others = ([delong(truth[:, c], score[:, c], groups) for c in range(len(findings))] for score in both)
    known = [c for c in range(len(findings)) if not (ones[c].why or others[c].why)]
    positives, negatives = counts(truth)
    differences = [
        _difference(finding, one, other, int(positives[c]), int(negatives[c]))
        for c, (finding, one, other) in enumerate(zip(findings, ones, others, strict=True))
    ]
    first, other = (mean_estimate([area[c] for c in known or range(len(findings))]) for area in (ones, others))
    macro = _difference("Macro AUC", first, other, 0, 0)
    return PairedComparison(name=name, findings=tuple(differences), macro=macro, averaged=len(known))


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


def corrected_comparisons(against: Sequence[PairedComparison]) -> tuple[PairedComparison, ...]:
    """Adds verdicts, and p-values corrected over all findings of all files, for the macro AUC over the files."""
    adjusted = iter(holm([one.p for other in against for one in other.findings]))
    macros = holm([other.macro.p for other in against])
    return tuple(
        PairedComparison(
            name=other.name,
            findings=tuple(_with_verdict(one, float(next(adjusted))) for one in other.findings),
            macro=_with_verdict(other.macro, float(macro)),
            averaged=other.averaged,
        )
        for other, macro in zip(against, macros, strict=True)
    )


def _with_verdict(one: Difference, adjusted: float) -> Difference:
    return Difference(**{**vars(one), "p": adjusted, "verdict": corrected_verdict(one.found, adjusted)})


def _as_dict(one: Difference) -> dict[str, Any]:
    low, high = one.found.interval
    numbers = {"reference": one.first, "other": one.other, "difference": one.found.value, "p": one.p}
    document: dict[str, Any] = {key: None if np.isnan(value) else float(value) for key, value in numbers.items()}
    interval = None if np.isnan(low) else [low, high]
    return {"finding": one.finding, **document, "interval": interval, "verdict": one.verdict, "why": one.found.why}
