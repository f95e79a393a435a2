"""Selection of the films with a thumbnail in a scores file.

The selection depends on all films of a run. A partition stores every film that may be selected, whatever the other
partitions contain, so a merge selects among those candidates and gets the same result as a run of one process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array, Floats
from cxrscore.scorefile.data import SEEN


@dataclass(frozen=True, kw_only=True)
class ScoredFilms:
    """Films that have scores, n of them: rows int64 [n] within the run, ascending; prob and truth float32 [n,C]; seen
    bool [n], whether a model was trained or validated on the film."""

    rows: NDArray[np.int64]
    prob: Floats
    truth: Floats
    seen: NDArray[np.bool_]

    def take(self, places: Array) -> ScoredFilms:
        """Those at these indexes."""
        return ScoredFilms(
            rows=self.rows[places], prob=self.prob[places], truth=self.truth[places], seen=self.seen[places]
        )


def scored_films(prob: Floats, truth: Floats, split: Array, first: int = 0) -> ScoredFilms:
    """The scored films among films [n,C] with codes of SPLITS [n]; the first of them is row ``first`` of the run."""
    found = ScoredFilms(rows=np.arange(len(prob)) + first, prob=prob, truth=truth, seen=np.isin(split, SEEN))
    return found.take(np.flatnonzero(~np.isnan(prob).any(axis=1)))


def select_thumbnails(found: ScoredFilms, films: int, most: int) -> list[int]:
    """Selected rows, at most ``most``, ascending: for each finding the most probable and the least probable positive
    film and the most probable negative film among those that no model has seen; the most probable film, seen or not;
    the same errors of seen films; then equidistant films.

    films  number of films in the run, including those that were not scored
    """
    return sorted(found.rows[_picks(found, films, most)[:most]].tolist())


def thumbnail_candidates(found: ScoredFilms, films: int, most: int) -> ScoredFilms:
    """The films of a partition that the selection among all films may contain: extremes of the run are extremes of
    their partition, and the first film at or after a row is also the first in its partition."""
    return found.take(np.array(sorted(_picks(found, films, most)), np.intp))


def concatenate(parts: Sequence[ScoredFilms]) -> ScoredFilms:
    """The films of one or more partitions, which must be in the order of their rows."""
    return ScoredFilms(
        rows=np.concatenate([part.rows for part in parts]),
        prob=np.concatenate([part.prob for part in parts]),
        truth=np.concatenate([part.truth for part in parts]),
        seen=np.concatenate([part.seen for part in parts]),
    )


def _picks(found: ScoredFilms, films: int, most: int) -> list[int]:
    """Distinct indexes of films in order of priority. Of equal films, the first one is used."""
    if not len(found.rows) or not most:
        return []
    p, new = found.prob, ~found.seen[:, None]
    positive, negative = found.truth > 0.5, found.truth < 0.5
    even = np.linspace(0, films - 1, min(most, films)).astype(np.int64)
    picks = [
        _highest(p, positive & new),
        _highest(p, negative & new),
        _highest(-p, positive & new),
        _highest(p, np.ones_like(positive)),
        _highest(p, positive),
        _highest(p, negative),
        _highest(-p, positive),
        # The first at or after each row, or the last of all.
        np.minimum(np.searchsorted(found.rows, even), len(found.rows) - 1),
    ]
    return list(dict.fromkeys(np.concatenate(picks).tolist()))


def _highest(values: Floats, among: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The index of the highest of these values [n,C] of each finding that has one."""
    best = np.where(among, values, -np.inf).argmax(axis=0)
    return np.asarray(best[among.any(axis=0)], np.intp)
