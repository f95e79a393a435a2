"""Contours of a heat map in pixels of its film."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Floats
from cxrscore.explainers import interpolate
from cxrscore.export.dicom.geometry import FilmGeometry, places_in_square
from cxrscore.export.dicom.objects import DicomFilm

Line = NDArray[np.float64]
"""Points [n,2] of column and row, closed: the last is the first."""

_STEPS = 8
"""Points between the centres of two cells. Between two points the interpolated map is linear, so that the places at
which a contour crosses the lines of the grid are exact."""
_MOST_STEPS = 512
"""Most points on each axis, for maps with many cells."""


def contour_lines(film: DicomFilm, size: FilmGeometry, values: Floats, level: float) -> list[Line]:
    """The outlines of the area in which a map [h,w] of the square is at least ``level``, largest first.

    Coordinates are those of PIXEL units: 0, 0 is the upper left corner of the first pixel of the film, and columns,
    rows the lower right corner of the last one. Outlines follow the edge of the film where the area reaches it.
    """
    import contourpy

    axes = []
    for (start, length), cells, pixels in zip(
        places_in_square(film, size), values.shape, (size.rows, size.columns), strict=True
    ):
        inside = _grid(cells)
        first, last = max(start, 0.0), min(start + length, 1.0)
        inside = np.array([first, *inside[(inside > first) & (inside < last)], last])
        axes.append((inside, (inside - start) / length * pixels))
    (row_places, rows), (column_places, columns) = axes
    field = interpolate(values, row_places, column_places).astype(np.float64)
    generator = contourpy.contour_generator(columns, rows, field, fill_type=contourpy.FillType.OuterOffset)
    polygons = generator.filled(level, np.inf)
    lines = [
        np.clip(points[begin:end], 0, (size.columns, size.rows))
        for points, offsets in zip(*polygons, strict=True)
        for begin, end in itertools.pairwise(offsets)
    ]
    return sorted((line for line in lines if len(line) > 3), key=lambda line: -abs(area(line)))


def _grid(cells: int) -> Line:
    """Fractions of the side that include the centres of the cells."""
    steps = max(1, min(_STEPS, _MOST_STEPS // cells))
    return np.asarray((np.arange(-(steps // 2), cells * steps) / steps + 0.5) / cells)


def area(line: Line) -> float:
    """The area inside of a closed line, with a sign; pixels."""
    x, y = line[:, 0], line[:, 1]
    return float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) / 2)
