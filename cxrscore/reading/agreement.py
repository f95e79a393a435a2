"""Agreement of the readers of a marks file, by finding and pair of readers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from cxrscore.marks import Answer, FilmMarks, MarkedFilm, answers_of
from cxrscore.metrics import Agreement, cohen_kappa

_CODES = {Answer.NO: 0, Answer.UNSURE: 1, Answer.YES: 2}


@dataclass(frozen=True, kw_only=True)
class ReaderAgreement:
    """Agreement of two readers on one finding.

    The answers yes, no and unsure are three categories without an order. Films that one of the two did not mark, or
    calls not assessable, are left out.

    finding         the finding
    first, second   the readers
    agreement       with the interval of kappa by patient
    not_assessable  number of films that both have marked and at least one calls not assessable
    blinded         number of films of the agreement on which both answers were given without scores and labels
    """

    finding: str
    first: str
    second: str
    agreement: Agreement
    not_assessable: int
    blinded: int


def reader_agreements(
    marks: Iterable[FilmMarks], films: Mapping[str, MarkedFilm], findings: Iterable[str]
) -> Iterator[ReaderAgreement]:
    """The agreement of each pair of readers on each finding that they have a film in common of, in order of finding and
    readers."""
    given = list(marks)
    answers = answers_of(given)
    blinded = {
        (one.sha256, finding, one.reader) for one in given for finding, mark in one.marks.items() if mark.blinded
    }
    readers = sorted({one.reader for one in given})
    for finding in findings:
        by_film = {sha256: of_film[finding] for sha256, of_film in answers.items() if finding in of_film}
        for first, second in combinations(readers, 2):
            common = sorted(sha256 for sha256, by_reader in by_film.items() if {first, second} <= by_reader.keys())
            if not common:
                continue
            used = [one for one in common if Answer.NOT_ASSESSABLE not in (by_film[one][first], by_film[one][second])]
            own, theirs = (np.array([_CODES[by_film[one][name]] for one in used], int) for name in (first, second))
            patients = np.array([_patient(films[one], place) for place, one in enumerate(used)], int)
            yield ReaderAgreement(
                finding=finding,
                first=first,
                second=second,
                agreement=cohen_kappa(own, theirs, patients),
                not_assessable=len(common) - len(used),
                blinded=sum({(one, finding, first), (one, finding, second)} <= blinded for one in used),
            )


def _patient(film: MarkedFilm, place: int) -> int:
    """The number of the patient; of a film without one a number of its own."""
    return film.patient if film.patient >= 0 else -1 - place
