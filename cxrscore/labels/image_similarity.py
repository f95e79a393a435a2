"""Similarity of two thumbnails after alignment."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Floats

SIDE = 64
"""Side of a thumbnail, pixels."""

_MARGIN = 5
"""Pixels at each border that are not compared: cropping removes some of them, and they differ little between films."""
_FINE, _COARSE = 0.8, 2.0
"""Standard deviations, in pixels, of the two Gaussians that limit the compared detail: finer detail changes when a film
is resized, coarser detail is the same in all chests."""
_STEPS = 2
_SHIFT = 3.0
"""Largest shift or stretch of one film to fit the other, in pixels."""


def image_similarity(films: Floats, others: Floats) -> Floats:
    """Correlation, float32 [P], of the detail in pairs of films [P,64,64], after the first are aligned with the
    second."""
    return _correlation(_detail(_register(films, others)), _detail(others))


def _register(films: Floats, others: Floats) -> Floats:
    """The films shifted and stretched along both axes to fit the others best (Lucas and Kanade 1981)."""
    place = np.linspace(-1, 1, SIDE, dtype=np.float32)
    pixels = np.arange(SIDE, dtype=np.float32)
    move = np.zeros((len(films), 4), np.float32)
    laid = films
    for _ in range(_STEPS):
        move = np.clip(move + _step(laid, others, place), -_SHIFT, _SHIFT)
        columns = pixels + move[:, 0:1] + move[:, 2:3] * place
        rows = pixels + move[:, 1:2] + move[:, 3:4] * place
        laid = _float32(_between(rows) @ films @ _between(columns).transpose(0, 2, 1))
    return laid


def _step(films: Floats, others: Floats, place: Floats) -> Floats:
    """Remaining shift and stretch in pixels [P,4], across and down, to first order."""
    down, across = np.gradient(films, axis=(1, 2))
    terms = np.stack([films, across, down, across * place, down * place[:, None]], axis=1)
    weights = _least_squares(_inner(terms), _inner(others))
    gain = np.where(np.abs(weights[:, :1]) < 1e-3, 1e-3, weights[:, :1])
    return _float32(weights[:, 1:] / gain)


def _least_squares(terms: Floats, target: Floats) -> Floats:
    """Least-squares weights [P,k] of terms [P,k,n] for targets [P,n], up to a constant."""
    terms = terms - terms.mean(axis=2, keepdims=True)
    target = target - target.mean(axis=1, keepdims=True)
    squares = terms @ terms.transpose(0, 2, 1) + 1e-3 * np.eye(terms.shape[1], dtype=np.float32)
    return _float32(np.linalg.solve(squares, terms @ target[..., None])[..., 0])


def _between(places: NDArray[Any]) -> Floats:
    """Weights [P,S,S] that interpolate rows of a film at fractional positions [P,S] (cubic convolution, Keys 1981)."""
    t = np.abs(np.clip(places, 0, SIDE - 1)[..., None] - np.arange(SIDE, dtype=np.float32))
    inner = (1.5 * t - 2.5) * t * t + 1
    far = ((2.5 - 0.5 * t) * t - 4) * t + 2
    return _float32(np.where(t < 1, inner, np.where(t < 2, far, 0)))


def _detail(films: Floats) -> Floats:
    fine, coarse = _blur(_FINE), _blur(_COARSE)
    return _inner(_float32(fine @ films @ fine.T - coarse @ films @ coarse.T))


@cache
def _blur(sigma: float) -> Floats:
    """The matrix float32 [S,S] that blurs along one axis; the film is mirrored at the border."""
    places = np.arange(-SIDE, 2 * SIDE)
    weights = np.exp(-0.5 * ((places - np.arange(SIDE)[:, None]) / sigma) ** 2)
    left, middle, right = np.split(weights, 3, axis=1)
    folded = middle + left[:, ::-1] + right[:, ::-1]
    return _float32(folded / folded.sum(axis=1, keepdims=True))


def _inner(films: Floats) -> Floats:
    """The compared detail as vectors: [...,S,S] -> [...,n]."""
    inner = films[..., _MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
    return inner.reshape(*inner.shape[:-2], inner.shape[-2] * inner.shape[-1])


def _correlation(ones: Floats, others: Floats) -> Floats:
    """Pearson's r of pairs of vectors [P,n]; 0 where one is constant."""
    ones = ones - ones.mean(axis=1, keepdims=True)
    others = others - others.mean(axis=1, keepdims=True)
    norms = np.sqrt((ones**2).sum(axis=1) * (others**2).sum(axis=1))
    return _float32((ones * others).sum(axis=1) / np.maximum(norms, 1e-6))


def _float32(array: NDArray[Any]) -> Floats:
    return np.asarray(array, np.float32)
