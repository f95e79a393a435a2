"""Random augmentation of a film: one affine warp, drawn from a seed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from cxrscore.errors import InputError
from cxrscore.images.codecs import cv2
from cxrscore.types import Floats


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Limits of the augmentation; each amount is drawn uniformly between minus and plus its limit.

    rotation  degrees
    shift     fraction of the side, across and down
    shear     degrees
    zoom      0.1 is 0.9 to 1.1 times the size, 0 up to but not 1
    flip      whether half of the copies are mirrored left to right; a chest is not symmetric, so not by default
    """

    rotation: float = 7.0
    shift: float = 0.05
    shear: float = 0.0
    zoom: float = 0.1
    flip: bool = False

    def __post_init__(self) -> None:
        for name, limit in (("rotation", 180), ("shift", 1), ("shear", 45), ("zoom", 0.99)):
            if not 0 <= getattr(self, name) <= limit:
                raise InputError(f"{name} is {getattr(self, name)}, expected 0..{limit}")

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return dataclasses.asdict(self)


def augment(film: Floats, augmentation: Augmentation, seed: int) -> Floats:
    """Return one augmented copy float32 [S,S] of a film float32 [S,S]: bilinear, black outside the film.

    The same seed gives the same copy. Every amount is drawn even if its limit is 0, so that changing one limit does not
    change the other amounts.
    """
    matrix = _matrix(augmentation, film.shape[0], np.random.default_rng(seed))
    warped = cv2.warpAffine(film, matrix, film.shape[::-1], flags=cv2.INTER_LINEAR, borderValue=0.0)
    return cast(Floats, warped)


def _matrix(augmentation: Augmentation, side: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Affine matrix of a point (x, y), float64 [2,3]: flip, zoom, shear and rotation about the centre, then shift."""
    angle, across, down, slant, size = rng.uniform(-1, 1, 5)
    mirrored = rng.random() < 0.5 and augmentation.flip
    turn, lean = np.radians(augmentation.rotation * angle), np.radians(augmentation.shear * slant)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    shear = np.array([[1.0, np.tan(lean)], [0.0, 1.0]])
    scale = (1 + augmentation.zoom * size) * np.diag([-1.0 if mirrored else 1.0, 1.0])
    linear = rotation @ shear @ scale
    centre = np.full(2, (side - 1) / 2)
    shift = augmentation.shift * side * np.array([across, down])
    return np.column_stack([linear, centre - linear @ centre + shift])
