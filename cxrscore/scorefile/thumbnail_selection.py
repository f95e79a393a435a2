"""Selection of the films with a thumbnail in a scores file.

The selection depends on all films of a run. A partition stores every film that may be selected, whatever the other
partitions contain, so a merge selects among those candidates and gets the same result as a run of one process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Floats


@dataclass(frozen=True, kw_only=True)
class ScoredFilms:
    """Films that have scores, n of them: rows int64 [n] within the run, ascending; prob and truth float32 [n,C]."""

    rows: NDArray[np.int64]
    prob: Floats
    truth: Floats


def scored_films(prob: Floats, truth: Floats, first: int = 0) -> ScoredFilms:
    """The scored films among films [n,C], of which the first is row ``first`` of the run."""
    scored = np.flatnonzero(~np.isnan(prob).any(axis=1))
    return ScoredFilms(rows=scored + first, prob=prob[scored], truth=truth[scored])


def select_thumbnails(found: ScoredFilms, films: int, most: int) -> list[int]:
    """Selected rows, at most ``most``, ascending: for each finding the most probable film, the least probable positive
    film and the most probable negative film; then equidistant films.

    films  number of films in the run, including those that were not scored
    """
    return sorted(found.rows[_picks(found, films, most)[:most]].tolist())


def thumbnail_candidates(found: ScoredFilms, films: int, most: int) -> ScoredFilms:
    """The films of a partition that the selection among all films may contain: extremes of the run are extremes of
    their partition, and the first film at or after a row is also the first in its partition."""
    places = sorted(_picks(found, films, most))
    return ScoredFilms(rows=found.rows[places], prob=found.prob[places], truth=found.truth[places])


def concatenate(parts: Sequence[ScoredFilms]) -> ScoredFilms:
    """The films of one or more partitions, which must be in the order of their rows."""
    return ScoredFilms(
        rows=np.concatenate([part.rows for part in parts]),
        prob=np.concatenate([part.prob for part in parts]),
        truth=np.concatenate([part.truth for part in parts]),
    )


def _picks(found: ScoredFilms, films: int, most: int) -> list[int]:
    """Distinct indexes of films in order of priority. Of equal films, the first one is used."""
    if not len(found.rows) or not most:
        return []
    p, t = found.prob, found.truth
    even = np.linspace(0, films - 1, min(most, films)).astype(np.int64)
    picks = [
        p.argmax(axis=0),
        np.where(t > 0.5, p, np.inf).argmin(axis=0),
        np.where(t < 0.5, p, -np.inf).argmax(axis=0),
        # The first at or after each row, or the last of all.
        np.minimum(np.searchsorted(found.rows, even), len(found.rows) - 1),
    ]
    return list(dict.fromkeys(np.concatenate(picks).tolist()))
