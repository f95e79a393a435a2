"""Films and their scores for the tests of `cxrscore view`: some are there, some failed, some names are hostile."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from made_run import FINDINGS, GIVEN, made_shard, merge

from cxrscore.scorefile import open_run

SIDE = (48, 64)
"""Height and width of a film."""
SCRIPT = "ward 1/<script>alert(1)</script>.png"
TURNED = "ward 1/film\u202egnp.exe"
ATTRIBUTE = "ward 1/\"onmouseover='x'.png"
MARKUP = "ward 1/{{ 7 * 7 }}{% raw %}.png"
CANARY = "Doe^Jane"
NAMES = (SCRIPT, TURNED, ATTRIBUTE, MARKUP, f"ward 2/{CANARY}.png")


@dataclass(frozen=True, kw_only=True)
class MadeView:
    """A scores file and its folder of films.

    paths  of all films, in the order of their rows
    there  rows whose film is in the folder
    """

    scores: Path
    films: Path
    paths: tuple[str, ...]
    there: tuple[int, ...]


def made_view(folder: Path, films: int = 60, *, name: str = "out.h5", shift: float = 0.0) -> MadeView:
    """Writes both. Every seventh film is damaged by its scores, as in made_run; the first 20 of the others are there,
    those of even rows with 16 bits. ``shift`` is added to all probabilities, which stay within 0..1."""
    paths = sorted([*NAMES, *(f"ward {row % 3}/{row:06d}.png" for row in range(films - len(NAMES)))])
    place = folder / "films"
    scored = [row for row in range(films) if row % 7]
    there = tuple(row for row in scored if "\0" not in paths[row])[:20]
    digests = {row: _write_film(place / paths[row], row) for row in there}
    run = open_run(folder / name, paths, FINDINGS, GIVEN)
    for shard, rows in enumerate(run.shards):
        made = made_shard(rows)
        sha256 = [digests.get(row, digest) for row, digest in zip(rows, made.sha256, strict=True)]
        prob = np.clip(made.prob + np.float32(shift), 0, 1)
        height, width = (np.full(len(rows), side, np.uint32) for side in SIDE)
        run.write(shard, replace(made, sha256=sha256, prob=prob, width=width, height=height))
    return MadeView(scores=merge(run), films=place, paths=tuple(paths), there=there)


def film_pixels(row: int) -> np.ndarray:
    """The grey of a film: a ramp over all its range that begins elsewhere for each row; uint16 of even rows."""
    height, width = SIDE
    ramp = (np.arange(height * width).reshape(SIDE) + 37 * row) % (height * width)
    if row % 2 == 0:
        return (ramp * (65535 // (height * width - 1))).astype(np.uint16)
    return (ramp * 255 // (height * width - 1)).astype(np.uint8)


def _write_film(path: Path, row: int) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(".png", film_pixels(row))
    assert done
    path.write_bytes(data.tobytes())
    return hashlib.sha256(data.tobytes()).hexdigest()
