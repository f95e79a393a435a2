"""Find films that show the same picture, from thumbnails: recompressed, resized, brightened or slightly cropped copies.

Two steps. Candidates are films whose lowest 8x8 cosine coefficients agree; in large sets only films in the same bucket
of a locality-sensitive hash are compared, so time grows little faster than the number of films. Each candidate is then
aligned with the other film (shift, scale and contrast by least squares). The similarity is measured in a band of detail
in which films of different people differ: shoulders and lungs look similar in all chests, ribs do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Floats
from cxrscore.labels.image_similarity import SIDE, image_similarity

Ints = NDArray[np.intp]

MIN_SIMILARITY = 0.97
"""Similarity from which two films count as the same picture. Measured on 442 films of 442 patients:
docs/datasets.md."""

_FLAT = 2.0
"""Standard deviation in grey levels; thumbnails below it have too little contrast to compare."""
_FAR = 0.06
"""Largest squared distance between unit vectors of candidates."""
_ALL_PAIRS = 4096
"""Up to this number of films, every pair is a candidate."""
_TABLES = 32
_LOW = 8
_BLOCK, _PAIRS = 1024, 256
"""Number of films, and of pairs of films, that are in memory as float32 at the same time."""


@dataclass(frozen=True, kw_only=True)
class DuplicatePair:
    """Two films by row, the one of the earlier split first, and their similarity, up to 1."""

    first: int
    second: int
    similarity: float


def near_duplicates(
    thumbnails: NDArray[np.uint8], parts: NDArray[Any], *, min_similarity: float = MIN_SIMILARITY
) -> list[DuplicatePair]:
    """For each film, find the most similar film of an earlier split whose similarity is at least `min_similarity`.

    thumbnails: uint8 [N,64,64], films stretched to a square by area averaging; may be a memory map.

    parts: integers [N]; films below 0 are in no split; films of the same split are not compared.
    """
    if thumbnails.shape[1:] != (SIDE, SIDE) or thumbnails.dtype != np.uint8:
        raise ValueError(f"thumbnails are {thumbnails.dtype} {thumbnails.shape}, expected uint8 [N,{SIDE},{SIDE}]")
    rows, low = _coefficients(thumbnails, np.flatnonzero(parts >= 0))
    part = np.asarray(parts)[rows]
    copies = _first_copies(low, part)
    distinct = np.unique(copies)
    candidates = _all_pairs if len(distinct) <= _ALL_PAIRS else _bucket_pairs
    pairs = distinct[candidates(low[distinct], part[distinct])]
    found = _similarities(thumbnails, rows[pairs[:, 0]], rows[pairs[:, 1]], min_similarity)
    best: dict[int, tuple[int, float]] = {}
    for k in np.lexsort((pairs[:, 0], -found)):  # the most similar first
        if found[k] >= min_similarity:
            best.setdefault(int(pairs[k, 1]), (int(rows[pairs[k, 0]]), float(found[k])))
    return [
        DuplicatePair(first=best[copy][0], second=int(row), similarity=best[copy][1])
        for row, copy in zip(rows, copies.tolist(), strict=True)
        if copy in best
    ]


def _first_copies(low: Floats, part: NDArray[Any]) -> Ints:
    """For each film, the index of the first film of its split with the same coefficients: of a thousand copies of one
    picture, only one is compared."""
    first: dict[tuple[bytes, int], int] = {}
    keys = zip(map(bytes, np.ascontiguousarray(low)), part.tolist(), strict=True)
    return np.array([first.setdefault(key, place) for place, key in enumerate(keys)], np.intp)


def _coefficients(thumbnails: NDArray[np.uint8], rows: Ints) -> tuple[Ints, Floats]:
    """The rows that have contrast, and float32 [n,63]: the low cosine coefficients of each as a unit vector."""
    rows_found, parts = [np.empty(0, np.intp)], [np.empty((0, _LOW * _LOW - 1), np.float32)]
    basis = _cosines()
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        films = thumbnails[block].astype(np.float32)
        spread = films.std(axis=(1, 2))
        films = films[spread >= _FLAT]
        low = (basis @ films @ basis.T).reshape(len(films), _LOW * _LOW)[:, 1:]
        rows_found.append(block[spread >= _FLAT])
        parts.append(low / (SIDE * spread[spread >= _FLAT, None]))
    return np.concatenate(rows_found), np.concatenate(parts)


@cache
def _cosines() -> Floats:
    """The lowest rows of the orthonormal cosine transform (DCT-II), float32 [8,64]."""
    k, x = np.arange(_LOW)[:, None], np.arange(SIDE)
    rows = np.cos(np.pi * k * (2 * x + 1) / (2 * SIDE)) * np.sqrt(2 / SIDE)
    rows[0] /= np.sqrt(2)
    return np.asarray(rows, np.float32)


def _all_pairs(low: Floats, part: NDArray[Any]) -> Ints:
    """Candidates [M,2] from all pairs, the film of the earlier split first."""
    norms = (low**2).sum(axis=1)
    pairs = [np.empty((0, 2), np.intp)]
    for start in range(0, len(low), _BLOCK):
        rows = slice(start, start + _BLOCK)
        apart = norms[rows, None] + norms - 2 * low[rows] @ low.T
        first, second = np.nonzero((apart <= _FAR) & (part[rows, None] < part))
        pairs.append(np.stack([first + start, second], axis=1))
    return np.concatenate(pairs)


def _bucket_pairs(low: Floats, part: NDArray[Any]) -> Ints:
    """Candidates [M,2] from pairs that share a bucket of a hash table, the film of the earlier split first.

    A bucket is a combination of sides of random planes, so many that few films share it by chance. A plane may separate
    two similar films, but hardly in every table.
    """
    planes = int(np.log2(len(low))) + 1
    scaled = (low - low.mean(axis=0)) / (low.std(axis=0) + 1e-6)
    rng = np.random.default_rng(0)
    found = [np.empty(0, np.int64)]
    for _ in range(_TABLES):
        sides = scaled @ rng.standard_normal((low.shape[1], planes)).astype(np.float32) > 0
        codes = sides @ (1 << np.arange(planes))
        found += [first * len(low) + second for first, second in _sharing(codes, low, part)]
    both = np.unique(np.concatenate(found))
    return np.stack([both // len(low), both % len(low)], axis=1)


def _sharing(codes: NDArray[np.int64], low: Floats, part: NDArray[Any]) -> Iterator[tuple[Ints, Ints]]:
    """Candidates with the same code: each film with the next one in its bucket, then with the one after that, and so
    on."""
    order = np.argsort(codes, kind="stable")
    sorted_codes = codes[order]
    here, step = np.arange(len(order)), 0
    while len(here):
        step += 1
        here = here[here + step < len(order)]
        here = here[sorted_codes[here] == sorted_codes[here + step]]
        one, other = order[here], order[here + step]
        crossing = part[one] != part[other]
        one, other = one[crossing], other[crossing]
        close = ((low[one] - low[other]) ** 2).sum(axis=1) <= _FAR
        one, other = one[close], other[close]
        swap = part[one] > part[other]
        yield np.where(swap, other, one), np.where(swap, one, other)


def _similarities(thumbnails: NDArray[np.uint8], first: Ints, second: Ints, min_similarity: float) -> Floats:
    """The similarity of each pair, float32 [M]; if it is high enough, the similarity after alignment must be high,
    too."""
    found = [np.empty(0, np.float32)]
    for start in range(0, len(first), _PAIRS):
        one, other = (thumbnails[rows[start : start + _PAIRS]].astype(np.float32) for rows in (first, second))
        likenesses = image_similarity(one, other)
        enough = likenesses >= min_similarity
        likenesses[enough] = np.minimum(likenesses[enough], image_similarity(other[enough], one[enough]))
        found.append(likenesses)
    return np.concatenate(found)
