"""Synthetic films with known findings at known positions: for the demo, tests and the golden probe of a model.

They need no download and contain no patient data. A network trained on them cannot diagnose.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Floats
from cxrscore.errors import InputError
from cxrscore.io import atomic_write_bytes, make_folder
from cxrscore.synthetic.chest import DRAWN, Canvas, Lesion, draw_chest, draw_film, expose

__all__ = ["DRAWN", "Lesion", "golden_films", "make_phantoms", "phantom"]

_NONE_SHARE = 0.4
"""Of the films without finding."""
_COLUMNS = (
    *("Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", "Patient Gender", "View Position"),
    *("OriginalImage[Width", "Height]", "OriginalImagePixelSpacing[x", "y]"),
)
_BOX_COLUMNS = ("Image Index", "Finding Label", "Bbox [x", "y", "w", "h]", "", "", "")
_SPACING = 0.143
"""Pixel spacing in millimetres, a column of the NIH tables; it has no meaning here."""


def phantom(
    seed: int, findings: Sequence[str], side: int, *, patient: int | None = None
) -> tuple[NDArray[np.uint8], list[Lesion]]:
    """A chest film uint8 [S,S] with these findings, and the box of each.

    The same patient (None: as many as there are seeds) has the same chest in every film; the position of a finding, its
    contrast, the exposure and the grain are drawn from the seed. InputError for a finding that is not in DRAWN.
    """
    chest = draw_chest(np.random.default_rng([seed if patient is None else patient, 1]))
    canvas = Canvas(side, chest, np.random.default_rng([seed, 2]))
    lesions = draw_film(canvas, findings)
    return expose(canvas), lesions


def make_phantoms(
    folder: Path, *, films: int = 240, patients: int | None = None, side: int = 256, seed: int
) -> list[Lesion]:
    """Draws a folder to train on: FOLDER/films/*.png (8-bit grey) with labels.csv and bboxes.csv, both in the
    layouts of NIH ChestX-ray14, and returns all boxes.

    About four films in ten have no finding, the others one to three of DRAWN. patients defaults to two for each
    five films. The same seed gives the same films. InputError unless there is a film for every patient and the
    side is at least 32; WriteError if the folder cannot be written.
    """
    patients = max(1, films * 2 // 5) if patients is None else patients
    if not 1 <= patients <= films or side < 32:
        raise InputError(f"{films} films of {patients} patients, side {side}: expected a film for each and side 32")
    visits = _visits(films, patients, side, np.random.default_rng(seed))
    target = folder / "films"
    make_folder(target)
    boxes: list[Lesion] = []
    for number, visit in enumerate(visits):
        film_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        pixels, lesions = phantom(film_seed, visit.findings, side, patient=seed * 1_000_003 + visit.patient)
        atomic_write_bytes(target / visit.name, _png(pixels))
        boxes += [replace(lesion, film=visit.name) for lesion in lesions]
    atomic_write_bytes(target / "labels.csv", _csv(_COLUMNS, (visit.row() for visit in visits)))
    atomic_write_bytes(target / "bboxes.csv", _csv(_BOX_COLUMNS, map(_box_row, boxes)))
    return boxes


def golden_films(size: int, count: int = 4) -> Floats:
    """Fixed films float32 [count,size,size] in 0..1, whose logits a model file stores for checks on other machines.

    The greys are computed in integers and divided once, so they are bit-identical on every machine.
    """
    at = (2 * np.arange(size, dtype=np.int64) + 1) * 32768 // size  # 16-bit places
    y, x = np.meshgrid(at, at, indexing="ij")
    films = np.empty((count, size, size), np.float32)
    for number in range(count):
        grain = np.random.default_rng(number).integers(0, 8192, (16, 16), dtype=np.int64)
        grey = 20000 + (x * (number % 3 + 1) + y * (number // 3 % 3 + 1)) // 16 + grain[y >> 12, x >> 12]
        for centre in (20000, 45000):  # two lungs, darker, and between them a spine
            inside = 4 * (x - centre) ** 2 + (y - 33000) ** 2 < (24000 + 1500 * (number % 4)) ** 2
            grey -= np.where(inside, 12000, 0)
        grey += np.where(abs(x - 32768) < 3000, 9000, 0)
        films[number] = np.clip(grey, 0, 65535).astype(np.float32) / np.float32(65535)
    return films


@dataclass(frozen=True, kw_only=True)
class _Visit:
    """A row of the label table."""

    name: str
    findings: tuple[str, ...]
    patient: int
    number: int
    age: int
    sex: str
    view: str
    side: int

    def row(self) -> tuple[object, ...]:
        labels = "|".join(sorted(self.findings)) or "No Finding"
        who = (self.number, self.patient, self.age, self.sex, self.view)
        return (self.name, labels, *who, self.side, self.side, _SPACING, _SPACING)


def _visits(films: int, patients: int, side: int, rng: np.random.Generator) -> list[_Visit]:
    """Draws patient and findings of each film; every patient has at least one film."""
    owners = np.sort(np.concatenate([np.arange(patients), rng.integers(0, patients, films - patients)])) + 1
    ages, sexes = rng.integers(20, 85, patients + 1), rng.choice(["F", "M"], patients + 1)
    visits: list[_Visit] = []
    for owner in owners.tolist():
        number = visits[-1].number + 1 if visits and visits[-1].patient == owner else 0
        count = 0 if rng.random() < _NONE_SHARE else int(rng.choice([1, 2, 3], p=[0.5, 0.35, 0.15]))
        chosen = rng.permutation(len(DRAWN))[:count]
        visit = _Visit(
            name=f"{owner:08d}_{number:03d}.png",
            findings=tuple(DRAWN[i] for i in chosen),
            patient=owner,
            number=number,
            age=int(ages[owner]) + number,
            sex=str(sexes[owner]),
            view="PA" if rng.random() < 0.6 else "AP",
            side=side,
        )
        visits.append(visit)
    return visits


def _box_row(lesion: Lesion) -> tuple[object, ...]:
    return (lesion.film, lesion.finding, lesion.x, lesion.y, lesion.width, lesion.height)


def _csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """CSV with the header written as NIH does, its commas unquoted."""
    text = io.StringIO()
    text.write(",".join(columns) + "\n")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _png(pixels: NDArray[np.uint8]) -> bytes:
    from cxrscore.images.codecs import cv2

    return bytes(cv2.imencode(".png", pixels)[1])
