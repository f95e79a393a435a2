"""Synthetic chest films: drawn thorax phantoms with findings at known places. Nothing in them is copied from a film.

Coordinates are shares of the side, x to the right, y down; the left half of the film is the patient's right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Floats
from cxrscore.files import write_whole

Drawing = NDArray[np.float64]

_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
_BOX_HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,"


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """A finding drawn on a film and the box around it, in pixels of the film."""

    film: str
    finding: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, kw_only=True)
class _Anatomy:
    """What stays the same over a patient's films."""

    lung_x: float
    lung_width: float
    lung_height: float
    heart: float
    ribs: int
    tilt: float


def _anatomy(rng: np.random.Generator) -> _Anatomy:
    return _Anatomy(
        lung_x=rng.uniform(0.19, 0.22),
        lung_width=rng.uniform(0.135, 0.165),
        lung_height=rng.uniform(0.29, 0.34),
        heart=rng.uniform(0.105, 0.13),
        ribs=int(rng.integers(7, 10)),
        tilt=rng.uniform(-0.02, 0.02),
    )


def _grid(side: int) -> tuple[Drawing, Drawing]:
    places = (np.arange(side) + 0.5) / side
    x, y = np.meshgrid(places, places)
    return x, y


def _soft(distance: Drawing, edge: float) -> Drawing:
    """1 inside (distance < 0), 0 outside, a soft edge between."""
    return 1 / (1 + np.exp(np.clip(distance / edge, -50, 50)))


def _ellipse(x: Drawing, y: Drawing, cx: float, cy: float, rx: float, ry: float) -> Drawing:
    """About the distance to the ellipse, in shares of its smaller radius: negative inside."""
    return (np.hypot((x - cx) / rx, (y - cy) / ry) - 1) * min(rx, ry)


def _thorax(x: Drawing, y: Drawing, body: _Anatomy, heart: float) -> tuple[Drawing, Drawing]:
    """Brightness of a film without lesions, and where lung is (0..1)."""
    film = 0.62 * _soft(_ellipse(x, y, 0.5, 0.62, 0.47, 0.62), 0.01)
    lungs = np.zeros_like(x)
    for sign in (-1, 1):
        distance = _ellipse(x, y, 0.5 + sign * body.lung_x, 0.46 + sign * body.tilt, body.lung_width, body.lung_height)
        lungs = np.maximum(lungs, _soft(distance, 0.008))
    diaphragm = _soft(y - 0.74 + 0.10 * np.cos((x - 0.5) * 9) ** 2, 0.008)
    lungs = lungs * diaphragm
    film = film - 0.38 * lungs
    film += 0.12 * _soft(np.abs(x - 0.5 - 0.01 * np.sin(9 * y)) - 0.035, 0.008)  # spine and mediastinum
    ribs = np.sin(2 * np.pi * (body.ribs * (y - 0.35 * (np.abs(x - 0.5) - 0.2) ** 2 * 6)))
    film += 0.045 * np.clip(ribs, 0, 1) * lungs
    shadow = _soft(_ellipse(x, y, 0.53, 0.60, heart, 0.8 * heart + 0.03), 0.008)
    film += 0.30 * shadow * (1 - 0.5 * (1 - lungs))
    return film, lungs * (1 - shadow)


def _in_lung(rng: np.random.Generator, body: _Anatomy) -> tuple[float, float]:
    sign = -1 if rng.random() < 0.5 else 1
    return 0.5 + sign * (body.lung_x + rng.uniform(-0.05, 0.07)), rng.uniform(0.28, 0.58)


Box = tuple[float, float, float, float]
_Draw = Callable[[np.random.Generator, Drawing, Drawing, Drawing, Drawing, _Anatomy], tuple[Drawing, Box]]


def _nodule(
    rng: np.random.Generator, x: Drawing, y: Drawing, film: Drawing, lungs: Drawing, body: _Anatomy
) -> tuple[Drawing, Box]:
    cx, cy = _in_lung(rng, body)
    r = rng.uniform(0.022, 0.034)
    spot = _soft(_ellipse(x, y, cx, cy, r, r), 0.004)
    return film + rng.uniform(0.28, 0.4) * spot, (cx - r, cy - r, 2 * r, 2 * r)


def _mass(
    rng: np.random.Generator, x: Drawing, y: Drawing, film: Drawing, lungs: Drawing, body: _Anatomy
) -> tuple[Drawing, Box]:
    cx, cy = _in_lung(rng, body)
    rx, ry = rng.uniform(0.06, 0.085, 2)
    waves = 0.012 * np.sin(5 * np.arctan2(y - cy, x - cx) + rng.uniform(0, 6))
    spot = _soft(_ellipse(x, y, cx, cy, rx, ry) + waves, 0.006)
    return film + rng.uniform(0.26, 0.36) * spot, (cx - rx, cy - ry, 2 * rx, 2 * ry)


def _consolidation(
    rng: np.random.Generator, x: Drawing, y: Drawing, film: Drawing, lungs: Drawing, body: _Anatomy
) -> tuple[Drawing, Box]:
    cx, cy = _in_lung(rng, body)
    r = rng.uniform(0.09, 0.12)
    texture = 0.75 + 0.25 * np.sin(70 * x + 20 * np.sin(30 * y))
    spot = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (0.8 * r * r)) * lungs * texture
    return film + rng.uniform(0.26, 0.36) * spot, (cx - r, cy - r, 2 * r, 2 * r)


def _effusion(
    rng: np.random.Generator, x: Drawing, y: Drawing, film: Drawing, lungs: Drawing, body: _Anatomy
) -> tuple[Drawing, Box]:
    sign = -1 if rng.random() < 0.5 else 1
    level = rng.uniform(0.54, 0.62)
    cx = 0.5 + sign * body.lung_x
    meniscus = level - 1.6 * np.maximum(sign * (x - cx), 0) ** 1.5
    fluid = _soft(meniscus - y, 0.008) * lungs * (sign * (x - 0.5) > 0)
    return film + rng.uniform(0.3, 0.38) * fluid, (cx - body.lung_width, level - 0.05, 2 * body.lung_width, 0.8 - level)


def _pneumothorax(
    rng: np.random.Generator, x: Drawing, y: Drawing, film: Drawing, lungs: Drawing, body: _Anatomy
) -> tuple[Drawing, Box]:
    sign = -1 if rng.random() < 0.5 else 1
    cx, top = 0.5 + sign * body.lung_x, 0.46 - body.lung_height
    inner = _ellipse(x, y, cx - sign * 0.03, 0.53, body.lung_width - 0.01, body.lung_height - 0.03)
    air = lungs * (1 - _soft(inner, 0.004)) * (sign * (x - 0.5) > 0) * _soft(y - 0.45, 0.02)
    line = np.exp(-((inner / 0.006) ** 2)) * lungs * (sign * (x - 0.5) > 0) * _soft(y - 0.45, 0.02)
    film = film - rng.uniform(0.16, 0.22) * air + 0.2 * line
    return film, (cx - body.lung_width, top, 2 * body.lung_width, 0.45 - top)


_LESIONS: dict[str, _Draw] = {
    "Nodule": _nodule,
    "Mass": _mass,
    "Consolidation": _consolidation,
    "Effusion": _effusion,
    "Pneumothorax": _pneumothorax,
}
DRAWN = ("Cardiomegaly", *_LESIONS)
"""The findings that phantoms can have."""


def phantom(
    patient_seed: int, film_seed: int, findings: tuple[str, ...], side: int
) -> tuple[NDArray[np.uint8], dict[str, Box]]:
    """A film uint8 [side,side] with these findings, and the box of each in pixels (x, y, width, height).

    The same patient_seed gives the same anatomy; film_seed draws lesions, exposure and noise.
    """
    body, rng = _anatomy(np.random.default_rng(patient_seed)), np.random.default_rng(film_seed)
    x, y = _grid(side)
    heart = body.heart + (0.075 if "Cardiomegaly" in findings else 0.0)
    film, lungs = _thorax(x, y, body, heart)
    boxes: dict[str, Box] = {}
    if "Cardiomegaly" in findings:
        boxes["Cardiomegaly"] = (0.53 - heart, 0.60 - 0.8 * heart - 0.03, 2 * heart, 1.6 * heart + 0.06)
    for finding in findings:
        if finding in _LESIONS:
            film, boxes[finding] = _LESIONS[finding](rng, x, y, film, lungs, body)
    grain = rng.normal(0, 0.02, film.shape)
    film = np.clip(0.06 + rng.uniform(0.9, 1.1) * film + rng.uniform(-0.03, 0.03) + grain, 0, 1)
    scaled = {finding: (bx * side, by * side, w * side, h * side) for finding, (bx, by, w, h) in boxes.items()}
    return np.round(255 * film).astype(np.uint8), scaled


def golden_films(size: int, count: int = 4) -> Floats:
    """float32 [count,size,size] in 0..1: the same films for ever, by which a model shows that it still scores alike."""
    films = [phantom(i, 1000 + i, (DRAWN[i % len(DRAWN)],), size)[0] for i in range(count)]
    return (np.stack(films) / np.float32(255)).astype(np.float32)


def make_phantoms(
    folder: Path, *, films: int = 240, patients: int | None = None, side: int = 256, seed: int = 0
) -> list[Lesion]:
    """Draws films into folder/films with labels.csv and bboxes.csv in NIH's layouts; returns the lesions.

    patients  how many people they are of; None: two films of each three (so that some have several)
    """
    from cxrscore.films.opencv import cv2

    target = folder / "films"
    target.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    people = patients or max(1, 2 * films // 3)
    rows, lesions = [_HEADER], []
    for index in range(films):
        patient = index if index < people else int(rng.integers(people))
        findings = _findings(rng)
        name = f"{patient + 1:08d}_{index:03d}.png"
        pixels, boxes = phantom(seed * 100_003 + patient, seed * 100_003 + 50_000_000 + index, findings, side)
        write_whole(target / name, cv2.imencode(".png", pixels)[1].tobytes(), mode=0o644)
        words = "|".join(findings) or "No Finding"
        rows.append(
            f"{name},{words},0,{patient + 1},{30 + patient % 50},{'MF'[patient % 2]},PA,{side},{side},0.143,0.143"
        )
        lesions += [Lesion(film=name, finding=f, x=bx, y=by, width=w, height=h) for f, (bx, by, w, h) in boxes.items()]
    write_whole(target / "labels.csv", ("\n".join(rows) + "\n").encode(), mode=0o644)
    boxes_text = [f"{b.film},{b.finding},{b.x:.1f},{b.y:.1f},{b.width:.1f},{b.height:.1f}" for b in lesions]
    write_whole(target / "bboxes.csv", ("\n".join([_BOX_HEADER, *boxes_text]) + "\n").encode(), mode=0o644)
    return lesions


def _findings(rng: np.random.Generator) -> tuple[str, ...]:
    """None in four of ten films, else one to three."""
    if rng.random() < 0.4:
        return ()
    count = int(rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1]))
    return tuple(DRAWN[i] for i in sorted(rng.choice(len(DRAWN), count, replace=False)))
