"""Which films have a thumbnail in a scores file.

The choice depends on all films of a run. A part of it keeps every film that the choice may fall on, whatever the other
parts hold; so who joins parts can choose among those, and comes to what one process would have chosen.
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
    """Those that were scored of films [n,C] of which the first is row ``first`` of the run."""
    scored = np.flatnonzero(~np.isnan(prob).any(axis=1))
    return ScoredFilms(rows=scored + first, prob=prob[scored], truth=truth[scored])


def select_thumbnails(found: ScoredFilms, films: int, most: int) -> list[int]:
    """Rows worth a look, at most ``most``, ascending: of each finding the most probable film, the least probable
    that is labelled positive and the most probable that is labelled negative; then films at even distances.

    films  in the run, which counts those that were not scored, too
    """
    return sorted(found.rows[_picks(found, films, most)[:most]].tolist())


def thumbnail_candidates(found: ScoredFilms, films: int, most: int) -> ScoredFilms:
    """Those of the films of a part on which the choice among all films of the run may fall: the extremes of the whole
    are extremes of their part, and the film at or after a place is so in its part."""
    places = sorted(_picks(found, films, most))
    return ScoredFilms(rows=found.rows[places], prob=found.prob[places], truth=found.truth[places])


def concatenate(parts: Sequence[ScoredFilms]) -> ScoredFilms:
    """The films of several parts, which are given in the order of their rows; at least one."""
    return ScoredFilms(
        rows=np.concatenate([part.rows for part in parts]),
        prob=np.concatenate([part.prob for part in parts]),
        truth=np.concatenate([part.truth for part in parts]),
    )


def _picks(found: ScoredFilms, films: int, most: int) -> list[int]:
    """Places among the films found, each once, the most wanted first. Where several are equal, the first is taken."""
    if not len(found.rows) or not most:
        return []
    p, t = found.prob, found.truth
    even = np.linspace(0, films - 1, min(most, films)).astype(np.int64)
    picks = [
        p.argmax(axis=0),
        np.where(t == 1, p, np.inf).argmin(axis=0),
        np.where(t == 0, p, -np.inf).argmax(axis=0),
        # The first at or after each row, or the last of all.
        np.minimum(np.searchsorted(found.rows, even), len(found.rows) - 1),
    ]
    return list(dict.fromkeys(np.concatenate(picks).tolist()))
