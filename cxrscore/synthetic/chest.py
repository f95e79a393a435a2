"""Drawing of synthetic chests: simplified anatomy, with findings at plausible positions.

Positions and lengths are fractions of the side, x to the right and y down; greys are 0 (black) to 1 (white).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrscore.errors import InputError

Grey = NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """Where a finding was drawn: the upper left corner and the sides of its box, in pixels of the film."""

    finding: str
    x: float
    y: float
    width: float
    height: float
    film: str = ""


@dataclass(frozen=True, kw_only=True)
class Chest:
    """Properties that are equal in all films of a patient. Lung 0 is left in the film, lung 1 right."""

    middle: float
    lung_x: tuple[float, float]
    lung_y: float
    lung_width: float
    lung_height: float
    floor: tuple[float, float]
    heart_x: float
    heart_y: float
    heart_width: float
    heart_height: float
    body_width: float
    rib_distance: float
    rib_start: float
    rib_bend: float
    spine_width: float
    marks: int
    """Seed of the vessels."""


def draw_chest(rng: np.random.Generator) -> Chest:
    """The chest of a patient, drawn from `rng`."""
    middle = 0.5 + rng.uniform(-0.02, 0.02)
    apart = rng.uniform(0.195, 0.215)
    floor = rng.uniform(0.72, 0.8)
    return Chest(
        middle=middle,
        lung_x=(middle - apart, middle + apart),
        lung_y=rng.uniform(0.47, 0.51),
        lung_width=rng.uniform(0.165, 0.185),
        lung_height=rng.uniform(0.35, 0.39),
        floor=(floor, floor + rng.uniform(0.01, 0.03)),
        heart_x=middle + rng.uniform(0.035, 0.055),
        heart_y=floor - rng.uniform(0.09, 0.11),
        heart_width=rng.uniform(0.105, 0.125),
        heart_height=rng.uniform(0.14, 0.16),
        body_width=rng.uniform(0.43, 0.49),
        rib_distance=rng.uniform(0.062, 0.086),
        rib_start=rng.uniform(0, 1),
        rib_bend=rng.uniform(0.6, 1.6),
        spine_width=rng.uniform(0.035, 0.045),
        marks=int(rng.integers(1 << 32)),
    )


class Canvas:
    """One film being drawn: the grey of every pixel and the chest that is in it."""

    def __init__(self, side: int, chest: Chest, rng: np.random.Generator) -> None:
        self.side, self.chest, self.rng = side, chest, rng
        places = ((np.arange(side) + 0.5) / side).astype(np.float32)
        self.x, self.y = np.meshgrid(places, places)
        self.grey: Grey = np.zeros((side, side), np.float32)
        self.lungs = (self._lung(0), self._lung(1))

    def paint(self, where: Grey, grey: float | Grey) -> None:
        """Lays a grey over the film, as opaque as `where` (0..1) says."""
        self.grey = self.grey * (1 - where) + grey * where

    def ellipse(self, x: float, y: float, width: float, height: float, soft: float) -> Grey:
        """1 inside, 0 outside, an edge of about `soft`; width and height from the centre."""
        return _edge((self.from_centre(x, y, width, height) - 1) * min(width, height), soft)

    def from_centre(self, x: float, y: float, width: float, height: float) -> Grey:
        """0 in the centre of an ellipse, 1 on its edge."""
        return np.sqrt(((self.x - x) / width) ** 2 + ((self.y - y) / height) ** 2)

    def below(self, lung: int, lift: float = 0.0, soft: float = 0.006) -> Grey:
        """1 below the dome of the diaphragm under a lung, raised by `lift`."""
        chest = self.chest
        dome = chest.floor[lung] - lift + 1.6 * (self.x - chest.lung_x[lung]) ** 2
        return _edge(dome - self.y, soft)

    def clouds(self, cells: int, rng: np.random.Generator | None = None) -> Grey:
        """Smooth noise, about -1..1, with `cells` ups and downs across the film; drawn from `rng`, else the film's."""
        coarse = (rng or self.rng).uniform(-1, 1, (cells + 2, cells + 2)).astype(np.float32)
        at = np.linspace(0.5, cells + 0.499, self.side)
        low = at.astype(int)
        part = (at - low).astype(np.float32)
        part = part * part * (3 - 2 * part)
        rows = coarse[low] * (1 - part)[:, None] + coarse[low + 1] * part[:, None]
        return np.asarray(rows[:, low] * (1 - part) + rows[:, low + 1] * part)

    def box(self, finding: str, left: float, top: float, right: float, bottom: float) -> Lesion:
        """The box with these edges, cut at the film's border."""
        left, top, right, bottom = (float(np.clip(edge, 0, 1)) * self.side for edge in (left, top, right, bottom))
        return Lesion(finding=finding, x=left, y=top, width=right - left, height=bottom - top)

    def _lung(self, lung: int) -> Grey:
        chest = self.chest
        lung_area = self.ellipse(chest.lung_x[lung], chest.lung_y, chest.lung_width, chest.lung_height, 0.008)
        return lung_area * (1 - self.below(lung))


def draw_film(canvas: Canvas, findings: Sequence[str]) -> list[Lesion]:
    """Draws the chest with these findings; returns where each of them is. InputError for one that it cannot draw."""
    if unknown := [finding for finding in findings if finding not in DRAWN]:
        raise InputError(f"no phantom has {', '.join(unknown)}; there are: {', '.join(DRAWN)}")
    _draw_body(canvas)
    wide = canvas.rng.uniform(1.4, 1.7) if "Cardiomegaly" in findings else 1.0
    lesions = [_draw_heart(canvas, wide)] if wide > 1 else []
    if wide == 1:
        _draw_heart(canvas, wide)
    _draw_bones(canvas)
    return lesions + [paint(canvas) for finding, paint in _PAINTERS.items() if finding in findings]


def expose(canvas: Canvas) -> NDArray[np.uint8]:
    """The film as uint8 [S,S], with random exposure and grain."""
    rng = canvas.rng
    grey = canvas.grey + 0.03 * canvas.clouds(5)
    grey = np.clip(grey, 0, 1) ** rng.uniform(0.85, 1.2) * rng.uniform(0.88, 1.05) + rng.uniform(-0.03, 0.03)
    grey += rng.uniform(0.012, 0.025) * rng.standard_normal(grey.shape, np.float32)
    return np.rint(255 * np.clip(grey, 0, 1)).astype(np.uint8)


def _edge(distance: Grey, soft: float) -> Grey:
    """1 where the distance to an edge is negative (inside), 0 where positive, smooth over about `soft`."""
    inside = np.clip(0.5 - distance / (2 * soft), 0, 1)
    return np.asarray(inside * inside * (3 - 2 * inside))


def _draw_body(canvas: Canvas) -> None:
    chest, x, y = canvas.chest, canvas.x, canvas.y
    canvas.paint(np.ones_like(x), 0.04)
    corner = abs(x - chest.middle) / chest.body_width, abs(y - 0.72) / 0.6
    torso = _edge((corner[0] ** 4 + corner[1] ** 4 - 1) / 4, 0.05)
    neck = canvas.ellipse(chest.middle, 0.02, 0.11, 0.25, 0.02)
    thick = np.sqrt(np.clip(1 - corner[0] ** 2 / 1.1, 0, 1))
    canvas.paint(np.maximum(torso, neck), 0.3 + 0.3 * thick)
    vessels = 0.03 * canvas.clouds(20, np.random.default_rng(chest.marks))  # of a patient: no two lungs are alike
    for lung in (0, 1):
        canvas.paint(canvas.lungs[lung], 0.2 + vessels + 0.04 * canvas.clouds(14) + 0.03 * canvas.clouds(30))
        outer = _edge((2 * lung - 1) * (chest.middle - x), 0.02) * canvas.below(lung) * torso
        canvas.paint(outer, 0.66 + 0.03 * canvas.clouds(6))
    canvas.paint(0.8 * _edge(abs(x - chest.middle) - 0.055, 0.03) * np.maximum(torso, neck), 0.62)


def _draw_heart(canvas: Canvas, wide: float) -> Lesion:
    chest = canvas.chest
    width, height = chest.heart_width * wide, chest.heart_height * (1 + 0.3 * (wide - 1))
    x = chest.heart_x + 0.25 * (width - chest.heart_width)
    heart = canvas.ellipse(x, chest.heart_y, width, height, 0.025)
    canvas.paint(0.9 * heart, 0.66 + 0.02 * canvas.clouds(8))
    for side in (-1, 1):  # hila
        hilum = canvas.ellipse(chest.middle + side * 0.085, chest.lung_y - 0.02, 0.03, 0.06, 0.04)
        canvas.paint(0.6 * hilum, 0.55)
    return canvas.box("Cardiomegaly", x - width, chest.heart_y - height, x + width, chest.heart_y + height)


def _draw_bones(canvas: Canvas) -> None:
    chest, x, y = canvas.chest, canvas.x, canvas.y
    off = abs(x - chest.middle)
    cage = canvas.ellipse(chest.middle, 0.5, 0.385, 0.42, 0.03) * (1 - _edge(off - 0.04, 0.01))
    turn = (y - chest.rib_bend * (off - 0.12) ** 2 - 0.35 * off) / chest.rib_distance + chest.rib_start
    ribs = _edge((abs(turn % 1 - 0.5) - 0.12) * chest.rib_distance, 0.01)
    above = 1 - 0.7 * np.maximum(canvas.below(0), canvas.below(1))
    canvas.grey = canvas.grey + 0.09 * ribs * cage * above
    discs = 0.75 + 0.25 * np.cos(2 * np.pi * y / 0.055)
    canvas.grey = canvas.grey + 0.1 * _edge(off - chest.spine_width, 0.012) * discs * _edge(y - 1.2, 0.1)
    collar = abs(y - 0.17 - 0.25 * (off - 0.18) ** 2 + 0.2 * off) - 0.011
    canvas.grey = canvas.grey + 0.13 * _edge(collar, 0.01) * _edge(off - 0.33, 0.02) * (1 - _edge(off - 0.03, 0.02))


def _place(canvas: Canvas, margin: float) -> tuple[int, float, float]:
    """A lung and a place in it, at least `margin` from its edge, above the diaphragm and beside the heart."""
    chest, rng = canvas.chest, canvas.rng
    while True:
        lung = int(rng.integers(2))
        angle, out = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform(0, 1))
        x = chest.lung_x[lung] + (chest.lung_width - margin) * out * np.cos(angle)
        y = chest.lung_y + (chest.lung_height - margin) * out * np.sin(angle)
        heart = np.hypot((x - chest.heart_x) / chest.heart_width, (y - chest.heart_y) / chest.heart_height)
        if y < chest.floor[lung] - margin - 0.02 and heart > 1.2 and abs(x - chest.middle) > 0.07:
            return lung, x, y


def _draw_nodule(canvas: Canvas) -> Lesion:
    radius = canvas.rng.uniform(0.022, 0.034)
    _, x, y = _place(canvas, radius)
    canvas.grey = canvas.grey + canvas.rng.uniform(0.25, 0.4) * canvas.ellipse(x, y, radius, radius, 0.01)
    return canvas.box("Nodule", x - radius, y - radius, x + radius, y + radius)


def _draw_mass(canvas: Canvas) -> Lesion:
    rng, size = canvas.rng, canvas.rng.uniform(0.06, 0.085)
    _, x, y = _place(canvas, size)
    angle = np.arctan2(canvas.y - y, canvas.x - x)
    uneven = 1 + sum(rng.uniform(0.05, 0.12) * np.cos(k * angle + rng.uniform(0, 6.3)) for k in (2, 3, 5))
    blob = _edge(np.hypot(canvas.x - x, canvas.y - y) - size * uneven, 0.012)
    canvas.grey = canvas.grey + rng.uniform(0.25, 0.4) * blob
    return canvas.box("Mass", x - 1.2 * size, y - 1.2 * size, x + 1.2 * size, y + 1.2 * size)


def _draw_consolidation(canvas: Canvas) -> Lesion:
    rng = canvas.rng
    width, height = rng.uniform(0.08, 0.11), rng.uniform(0.09, 0.14)
    lung, x, y = _place(canvas, 0.08)
    patch = canvas.ellipse(x, y, width, height, 0.09) * canvas.lungs[lung]
    uneven = np.clip(0.65 + 0.6 * canvas.clouds(22), 0, 1)
    canvas.grey = canvas.grey + rng.uniform(0.25, 0.38) * patch * uneven
    chest = canvas.chest
    left = max(x - width, chest.lung_x[lung] - chest.lung_width)
    right = min(x + width, chest.lung_x[lung] + chest.lung_width)
    return canvas.box("Consolidation", left, y - height, right, min(y + height, chest.floor[lung]))


def _draw_effusion(canvas: Canvas) -> Lesion:
    """Fluid at the floor of one lung, highest at the outer wall."""
    chest, rng = canvas.chest, canvas.rng
    lung, lift = int(rng.integers(2)), rng.uniform(0.09, 0.2)
    outward = (2 * lung - 1) * (canvas.x - chest.lung_x[lung]) / chest.lung_width
    level = chest.floor[lung] - lift - 0.06 * np.clip(outward, -1, 1.2) ** 3
    lung_area = canvas.ellipse(chest.lung_x[lung], chest.lung_y, chest.lung_width, chest.lung_height, 0.01)
    fluid = _edge(level - canvas.y, 0.02) * lung_area
    canvas.paint(rng.uniform(0.8, 0.95) * fluid, 0.62 + 0.02 * canvas.clouds(8))
    left, right = chest.lung_x[lung] - chest.lung_width, chest.lung_x[lung] + chest.lung_width
    return canvas.box("Effusion", left, chest.floor[lung] - lift - 0.06, right, chest.floor[lung] + 0.04)


def _draw_pneumothorax(canvas: Canvas) -> Lesion:
    """Air without a trace of lung between the wall and the fallen lung, whose edge is a fine bright line."""
    chest, rng = canvas.chest, canvas.rng
    lung, gap = int(rng.integers(2)), rng.uniform(0.05, 0.085)
    inward = chest.lung_x[lung] - (2 * lung - 1) * gap
    drop = chest.lung_y + 1.2 * gap
    fallen = canvas.ellipse(inward, drop, chest.lung_width - 0.3 * gap, chest.lung_height - 0.5 * gap, 0.008)
    upper = _edge(canvas.y - chest.lung_y - 0.1, 0.06)
    air = canvas.lungs[lung] * (1 - fallen) * upper
    canvas.paint(rng.uniform(0.7, 0.9) * air, 0.07)
    canvas.grey = canvas.grey + 0.5 * fallen * (1 - fallen) * upper * canvas.lungs[lung]
    left, right = chest.lung_x[lung] - chest.lung_width, chest.lung_x[lung] + chest.lung_width
    return canvas.box("Pneumothorax", left, chest.lung_y - chest.lung_height, right, chest.lung_y + 0.1)


_PAINTERS = {  # in this order: air and fluid cover what lies under them, the others shine through
    "Pneumothorax": _draw_pneumothorax,
    "Effusion": _draw_effusion,
    "Consolidation": _draw_consolidation,
    "Mass": _draw_mass,
    "Nodule": _draw_nodule,
}
DRAWN = ("Cardiomegaly", *_PAINTERS)
"""Findings that can be drawn."""
