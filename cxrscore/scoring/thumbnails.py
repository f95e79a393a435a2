"""Thumbnails for the report, collected while films are scored, so that few are decoded a second time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Floats
from cxrscore.images import DecoderPool, Pixels, stream_films, thumbnail
from cxrscore.scorefile import (
    ScoredFilms,
    Thumbnails,
    concatenate,
    scored_films,
    select_thumbnails,
    thumbnail_candidates,
)
from cxrscore.scoring.run_context import RunContext

THUMBNAIL = 256
"""Side of the small films in a scores file, pixels."""


class ThumbnailCollector:
    """Of the films scored so far, small ones of all that may be chosen in the end, whatever comes later: some ninety,
    however many there are. They are as the first network saw them, so that heat maps lie over them."""

    def __init__(self, job: RunContext, decoders: DecoderPool) -> None:
        self._job, self._decoders = job, decoders
        partition = job.file_list.partition
        self._first: int = partition["first_row"] if partition else 0
        self._films: int = partition["total_films"] if partition else len(job.paths)
        self._most: int = partition["thumbnails"] if partition else job.options.thumbnails
        none = np.empty((0, len(job.findings)), np.float32)
        self._found = ScoredFilms(rows=np.empty(0, np.int64), prob=none, truth=none)
        self._kept: dict[int, NDArray[np.uint8]] = {}

    def add(self, rows: Sequence[int], prob: Floats, squares: Sequence[Pixels]) -> None:
        """Films that were scored, behind all others so far: rows, prob [n,C] and the squares of the first network."""
        new = ScoredFilms(rows=np.array(rows, np.int64) + self._first, prob=prob, truth=self._job.truth(rows))
        self._found = thumbnail_candidates(concatenate([self._found, new]), self._films, self._most)
        given = dict(zip(rows, squares, strict=True))
        wanted = (self._found.rows - self._first).tolist()
        self._kept = {row: self._kept[row] if row in self._kept else thumbnail(given[row], THUMBNAIL) for row in wanted}

    def select(self, prob: Floats, truth: Floats) -> Thumbnails:
        """Those to keep of all films, prob and truth [N,C]; what an earlier process or another one scored is decoded
        anew."""
        rows = self._selected_rows(prob, truth)
        found = {**self._kept, **self._decoded([row for row in rows if row not in self._kept])}
        there = [row for row in rows if row in found]
        small = np.array([found[row] for row in there], np.uint8).reshape(len(there), THUMBNAIL, THUMBNAIL)
        return Thumbnails(film=np.array(there, np.int32), pixels=small)

    def _selected_rows(self, prob: Floats, truth: Floats) -> list[int]:
        """Rows of the films to keep small; of a partition, all that may be chosen once the other partitions are
        known."""
        if self._job.file_list.partition is None:
            return select_thumbnails(scored_films(prob, truth), self._films, self._most)
        own = thumbnail_candidates(scored_films(prob, truth, self._first), self._films, self._most)
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
