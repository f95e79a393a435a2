"""The size of a film, and where the places of a map lie on it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from cxrscore.contract import Floats
from cxrscore.explainers import interpolate
from cxrscore.export.dicom.objects import DicomFilm
from cxrscore.export.dicom.source import SourceError, read_attributes
from cxrscore.images import film_in_square
from cxrscore.images.film import MAX_PIXELS

_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
_DIRECTIONS = re.compile("[LRAPHF]{1,3}")
_AXES = {"L": 0, "R": 0, "A": 1, "P": 1, "H": 2, "F": 2}
"""Axes of the directions of a patient."""
_SPACING_RANGE = (1e-4, 100.0)
"""Distances of pixels that can be meant, mm."""


@dataclass(frozen=True, kw_only=True)
class FilmGeometry:
    """The size of a film.

    rows, columns  pixels
    spacing        distance of its rows and of its columns in mm, on the detector if the file says no other; None if
                   unknown
    aspect         height of a pixel over its width
    orientation    directions of the rows and of the columns as in Patient Orientation, such as L and F; empty if
                   unknown
    """

    rows: int
    columns: int
    spacing: tuple[float, float] | None
    aspect: float
    orientation: tuple[str, ...]


def film_geometry(data: bytes) -> FilmGeometry:
    """The size of the film in a DICOM file; SourceError if it is missing or impossible."""
    found = read_attributes(data, ("Rows", "Columns", "PixelAspectRatio", "PatientOrientation", *_SPACINGS))
    rows, columns = (found.get(name) for name in ("Rows", "Columns"))
    if not (isinstance(rows, int) and isinstance(columns, int) and rows > 0 and columns > 0):
        raise SourceError("it has no size in pixels")
    if rows * columns > MAX_PIXELS:
        raise SourceError(f"it has {rows * columns:,} pixels, expected at most {MAX_PIXELS:,}")
    pairs = (_pair(found.get(name)) for name in _SPACINGS)
    low, high = _SPACING_RANGE
    spacing = next((one for one in pairs if one is not None and low <= min(one) and max(one) <= high), None)
    ratio = spacing or _pair(found.get("PixelAspectRatio")) or (1.0, 1.0)
    return FilmGeometry(
        rows=rows,
        columns=columns,
        spacing=spacing,
        aspect=ratio[0] / ratio[1],
        orientation=_orientation(found.get("PatientOrientation")),
    )


def _orientation(value: Any) -> tuple[str, ...]:
    """Two different directions of Patient Orientation; empty for other content."""
    words = (
        tuple(str(one).strip() for one in value) if hasattr(value, "__iter__") and not isinstance(value, str) else ()
    )
    good = len(words) == 2 and all(_DIRECTIONS.fullmatch(word) for word in words)
    axes = [_AXES[word[0]] for word in words] if good else []
    return words if good and axes[0] != axes[1] else ()


def _pair(value: Any) -> tuple[float, float] | None:
    """Two positive numbers of an element; None if it has other content, as spacings of 0."""
    try:
        first, second = (float(one) for one in value)
    except (TypeError, ValueError):
        return None
    good = math.isfinite(first) and math.isfinite(second) and min(first, second) > 0
    return (first, second) if good else None


def places_in_square(film: DicomFilm, size: FilmGeometry) -> tuple[tuple[float, float], tuple[float, float]]:
    """Start and length of the film's rows, and of its columns, in the square of the model: see film_in_square.

    SourceError if it is not known how the film became the square.
    """
    if film.preprocessing is None:
        raise SourceError("the scores file does not say how films became the squares of its models, or they differ")
    return film_in_square(size.rows, size.columns, film.preprocessing)


def map_on_film(film: DicomFilm, size: FilmGeometry, values: Floats, rows: int, columns: int) -> Floats:
    """A map [h,w] of the square as float32 [rows,columns], which cover exactly the film.

    The value at the centre of each pixel is interpolated linearly between the centres of the cells of the map. It is 0
    where the film is outside of the square.
    """
    fractions, inside = [], []
    for (start, length), count in zip(places_in_square(film, size), (rows, columns), strict=True):
        places = start + (np.arange(count) + 0.5) / count * length
        fractions.append(places)
        inside.append((places >= 0) & (places <= 1))
    found = interpolate(values, *fractions)
    return np.where(np.logical_and.outer(*inside), found, np.float32(0)).astype(np.float32)


def bounded_size(size: FilmGeometry, longest: int) -> tuple[int, int]:
    """Rows and columns in the proportions of the film's pixels, with a longer side of at most so many pixels."""
    scale = min(longest / max(size.rows, size.columns), 1.0)
    return max(1, round(size.rows * scale)), max(1, round(size.columns * scale))
