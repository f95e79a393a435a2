"""Thumbnails for the report, collected during scoring, so that few films are decoded twice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array, Floats
from cxrscore.images import DecoderPool, Pixels, stream_films, thumbnail
from cxrscore.scorefile import (
    SEEN,
    ScoredFilms,
    Thumbnails,
    concatenate,
    scored_films,
    select_thumbnails,
    thumbnail_candidates,
)
from cxrscore.scoring.film_splits import FilmSplits
from cxrscore.scoring.run_context import RunContext

THUMBNAIL = 256
"""Side of the thumbnails in a scores file, pixels."""


class ThumbnailCollector:
    """Thumbnails of all films scored so far that the final selection may contain: about ninety, for any number of
    films. They show the input of the first network, so that heat maps fit over them."""

    def __init__(self, job: RunContext, decoders: DecoderPool) -> None:
        self._job, self._decoders, self._splits = job, decoders, FilmSplits(job.files)
        partition = job.file_list.partition
        self._first: int = partition["first_row"] if partition else 0
        self._films: int = partition["total_films"] if partition else len(job.paths)
        self._most: int = partition["thumbnails"] if partition else job.options.thumbnails
        none = np.empty((0, len(job.findings)), np.float32)
        self._found = ScoredFilms(rows=np.empty(0, np.int64), prob=none, truth=none, seen=np.empty(0, bool))
        self._kept: dict[int, NDArray[np.uint8]] = {}

    def add(self, rows: Sequence[int], hashes: Sequence[str], prob: Floats, squares: Sequence[Pixels]) -> None:
        """Adds scored films, in order of their rows: rows, SHA-256, prob [n,C] and the squares of the first network."""
        new = ScoredFilms(
            rows=np.array(rows, np.int64) + self._first,
            prob=prob,
            truth=self._job.truth(rows),
            seen=np.isin(self._splits.of(hashes), SEEN),
        )
        self._found = thumbnail_candidates(concatenate([self._found, new]), self._films, self._most)
        given = dict(zip(rows, squares, strict=True))
        wanted = (self._found.rows - self._first).tolist()
        self._kept = {row: self._kept[row] if row in self._kept else thumbnail(given[row], THUMBNAIL) for row in wanted}

    def select(self, prob: Floats, truth: Floats, split: Array) -> Thumbnails:
        """The selected thumbnails of all films, prob and truth [N,C], split [N]; films that another process scored are
        decoded again."""
        rows = self._selected_rows(prob, truth, split)
        found = {**self._kept, **self._decoded([row for row in rows if row not in self._kept])}
        there = [row for row in rows if row in found]
        small = np.array([found[row] for row in there], np.uint8).reshape(len(there), THUMBNAIL, THUMBNAIL)
        return Thumbnails(film=np.array(there, np.int32), pixels=small)

    def _selected_rows(self, prob: Floats, truth: Floats, split: Array) -> list[int]:
        """Rows of the films with a thumbnail; in a partition, all films that the selection after the merge may
        contain."""
        if self._job.file_list.partition is None:
            return select_thumbnails(scored_films(prob, truth, split), self._films, self._most)
        own = thumbnail_candidates(scored_films(prob, truth, split, self._first), self._films, self._most)
        return [int(row) - self._first for row in own.rows]

    def _decoded(self, rows: Sequence[int]) -> dict[int, NDArray[np.uint8]]:
        options = self._job.options
        stream = stream_films(
            options.films,
            [self._job.paths[row] for row in rows],
            self._job.squares[0],
            workers=options.workers,
            any_modality=options.any_modality,
            decoders=self._decoders,
        )
        films = zip(rows, stream, strict=True)
        return {row: thumbnail(film.pixels, THUMBNAIL) for row, film in films if film.pixels is not None}
