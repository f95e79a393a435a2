"""Comparison of heat maps with bounding boxes of readers, for each finding, with the values expected by chance."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Floats
from cxrscore.errors import InputError
from cxrscore.explainers import enlarge
from cxrscore.images import Status
from cxrscore.labels import Box, read_boxes
from cxrscore.labels.match import match_rows
from cxrscore.metrics import Proportion, energy_inside, iou, pointing_game
from cxrscore.metrics.confidence_intervals import Z
from cxrscore.reporting.load_scores import check_paths
from cxrscore.reporting.provenance import get_text, provenance_models
from cxrscore.scorefile.data import SEEN, Scores

SIDE = 128
"""Side in pixels to which maps and boxes are resized for the comparison."""
OVERHANG = 1.01
"""Pixels by which a box may exceed the film by rounding; a larger excess means that the film had another size."""
LEAST = 2
"""Minimum number of films for an interval of a mean."""


@dataclass(frozen=True, kw_only=True)
class MeanEstimate:
    """A mean over films with its interval of 95 %: Wilson's for a proportion, else by the normal distribution and
    clipped to 0..1; NaN if undefined."""

    value: float
    interval: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class LocalisationResult:
    """Results of one finding, or of all findings pooled.

    films     number of films with a box and a map of the finding
    empty     number of these maps without positive values, which count as 0
    pointing  fraction of films whose largest map value is inside a box; energy, overlap: means of metrics.localisation
    chance    mean fraction of the film that the boxes cover: the expected pointing and energy of a random map
    """

    finding: str
    films: int
    empty: int
    pointing: MeanEstimate
    energy: MeanEstimate
    overlap: MeanEstimate
    chance: float


@dataclass(frozen=True, kw_only=True)
class BoxAgreement:
    """A map against the boxes of its film and finding.

    pointing  fraction of the largest map value's places inside the boxes, usually 0 or 1
    energy    fraction of the positive map values inside the boxes
    area      fraction of the film that the boxes cover, which a constant map would have as energy
    """

    pointing: float
    energy: float
    area: float


@dataclass(frozen=True, kw_only=True)
class Localisation:
    """All findings that have boxes and maps, on films that no model was trained or validated on, unless ``seen``.

    boxes     boxes in the table; unused: boxes of films that were not scored, or whose size does not fit
    left_out  excluded pairs of film and finding, because the film was seen; seen: all films were seen
    unmapped  pairs of film and finding with boxes but without a map in the scores file
    drawn     the boxes by film row and finding column, of all films
    """

    findings: tuple[LocalisationResult, ...]
    together: LocalisationResult
    explainer: str
    boxes: int
    unused: int
    left_out: int
    seen: bool
    unmapped: int
    drawn: Mapping[tuple[int, int], tuple[Box, ...]]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, NaN as None."""
        return {
            "boxes": self.boxes,
            "unmatched_boxes": self.unused,
            "excluded_training_pairs": self.left_out,
            "includes_training_films": self.seen,
            "pairs_without_heatmap": self.unmapped,
            "explainer": self.explainer,
            "findings": [_as_dict(one) for one in (*self.findings, self.together)],
        }


def localise(scores: Scores, path: Path, name: str) -> Localisation:
    """Compares the maps of a scores file with the boxes of a table (labels.read_boxes).

    InputError if films are identified by hashes, if films were not stretched to the square of the model, or if no box
    fits a film.
    """
    check_paths(scores, name)
    fits_of = {
        get_text(model, "document", "preprocessing", "fit") or "stretch"
        for model in provenance_models(scores.provenance)
    }
    if other := " and ".join(sorted(fits_of - {"stretch"})):
        raise InputError(f"films of {name} were fitted by {other}; boxes can be compared only with stretched films")
    boxes = read_boxes(path)
    drawn, unused = boxes_on_films(boxes, scores.films, scores.findings)
    masks = {
        (film, column): _mask(own, int(scores.films.width[film]), int(scores.films.height[film]))
        for (film, column), own in drawn.items()
    }
    if not masks:
        raise InputError(f"none of the {len(boxes)} boxes of {path} lies on a scored film of {name}")
    unseen = {pair: mask for pair, mask in masks.items() if scores.films.split[pair[0]] not in SEEN}
    chosen = unseen or masks
    maps = {
        (int(film), int(column)): place
        for place, (film, column) in enumerate(zip(scores.heat_maps.film, scores.heat_maps.finding, strict=True))
    }
    rows: defaultdict[str, list[NDArray[np.float64]]] = defaultdict(list)
    for (film, column), mask in chosen.items():
        if (film, column) in maps:
            raw = scores.heat_maps.map[maps[film, column]].astype(np.float32)
            rows[scores.findings[column]].append(_figures(raw, mask))
    return Localisation(
        findings=tuple(_localisation_result(f, rows[f]) for f in scores.findings if f in rows),
        together=_localisation_result("All", [row for several in rows.values() for row in several]),
        explainer=get_text(scores.provenance, "explainer", "name"),
        boxes=len(boxes),
        unused=unused,
        left_out=len(masks) - len(chosen),
        seen=not unseen,
        unmapped=len(chosen) - sum(map(len, rows.values())),
        drawn=drawn,
    )


class _Films(Protocol):
    """Paths, statuses and sizes of N films: those of FilmRows, or of a file that is read by row."""

    @property
    def path(self) -> Iterable[str]: ...
    @property
    def status(self) -> NDArray[np.uint8]: ...
    @property
    def width(self) -> NDArray[np.uint32]: ...
    @property
    def height(self) -> NDArray[np.uint32]: ...


def boxes_on_films(
    boxes: Sequence[Box], films: _Films, findings: Sequence[str]
) -> tuple[dict[tuple[int, int], tuple[Box, ...]], int]:
    """The boxes by row of the film and column of the finding; and the number of boxes that fit no film."""
    names = list(dict.fromkeys(box.film for box in boxes))
    matched = match_rows(names, tuple(films.path))
    film_of = {names[row]: film for film, row in enumerate(matched) if row is not None}
    found: dict[tuple[int, int], tuple[Box, ...]] = {}
    unused = 0
    for box in boxes:
        film = film_of.get(box.film)
        there = film is not None and films.status[film] == Status.OK and box.finding in findings
        if film is None or not there or not box_fits_film(box, films.width[film], films.height[film]):
            unused += 1
            continue
        key = film, findings.index(box.finding)
        found[key] = (*found.get(key, ()), box)
    return found, unused


def box_agreement(raw: Floats, boxes: Sequence[Box], width: int, height: int) -> BoxAgreement:
    """A map [h,w] with a positive value against boxes in pixels of a film of this size."""
    pointing, energy, _, area = _figures(raw, _mask(boxes, width, height))
    return BoxAgreement(pointing=float(pointing), energy=float(energy), area=float(area))


def _mask(boxes: Sequence[Box], width: int, height: int) -> NDArray[np.bool_]:
    """The union of boxes, bool [SIDE,SIDE]."""
    return np.asarray(np.logical_or.reduce([mask_of(box, width, height) for box in boxes]), np.bool_)


def box_fits_film(box: Box, width: float, height: float) -> bool:
    """Whether a box is inside a film of this size."""
    right, low = box.x + box.width, box.y + box.height
    return min(box.x, box.y) > -(OVERHANG - 1) * width and right <= OVERHANG * width and low <= OVERHANG * height


def mask_of(box: Box, width: int, height: int) -> NDArray[np.bool_]:
    """bool [SIDE,SIDE]: the pixels whose centres are inside the box, and at least the pixel at its centre."""
    centres = (np.arange(SIDE) + 0.5) / SIDE
    sides = ((box.y, box.height, height), (box.x, box.width, width))
    inside = [(centres >= start / size) & (centres < (start + length) / size) for start, length, size in sides]
    for axis, (start, length, size) in zip(inside, sides, strict=True):
        axis[min(int((start + length / 2) / size * SIDE), SIDE - 1)] = True
    return np.logical_and.outer(*inside)


def _figures(raw: Floats, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Pointing game, energy, IoU and chance of one map."""
    values = enlarge(np.where(np.isfinite(raw), raw, 0).astype(np.float32), SIDE)
    return np.array([pointing_game(values, mask), energy_inside(values, mask), iou(values, mask), mask.mean()])


def _localisation_result(finding: str, rows: Sequence[NDArray[np.float64]]) -> LocalisationResult:
    table = np.array(rows, np.float64).reshape(-1, 4)
    empty = np.isnan(table[:, 0])
    hits = float(np.nansum(table[:, 0]))
    energy, overlap = (_mean(np.where(empty, 0.0, table[:, k])) for k in (1, 2))
    return LocalisationResult(
        finding=finding,
        films=len(table),
        empty=int(empty.sum()),
        pointing=MeanEstimate(
            value=hits / len(table) if len(table) else math.nan,
            interval=Proportion(hits=round(hits), total=len(table)).interval,
        ),
        energy=energy,
        overlap=overlap,
        chance=float(table[:, 3].mean()) if len(table) else math.nan,
    )


def _mean(values: NDArray[np.float64]) -> MeanEstimate:
    if not len(values):
        return MeanEstimate(value=math.nan, interval=(math.nan, math.nan))
    value = float(values.mean())
    if len(values) < LEAST:
        return MeanEstimate(value=value, interval=(math.nan, math.nan))
    half = Z * float(values.std(ddof=1)) / math.sqrt(len(values))
    return MeanEstimate(value=value, interval=(max(value - half, 0.0), min(value + half, 1.0)))


def _as_dict(one: LocalisationResult) -> dict[str, Any]:
    document: dict[str, Any] = {
        "finding": one.finding,
        "films": one.films,
        "empty_heatmaps": one.empty,
        "chance": one.chance,
    }
    for name in ("pointing", "energy", "overlap"):
        mean: MeanEstimate = getattr(one, name)
        document[name] = None if math.isnan(mean.value) else mean.value
        document[f"{name}_interval"] = None if math.isnan(mean.interval[0]) else list(mean.interval)
    document["chance"] = None if math.isnan(one.chance) else one.chance
    return document
