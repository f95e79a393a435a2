"""Heat maps on films: the film, and the same film with the map of a finding over it.

Maps are raw and signed. Only positive values, the evidence for the finding, are drawn. All maps of a finding share one
scale, from 0 to the strongest map of this finding in the scores file, so that weak evidence looks weak: a scale of its
own would colour every map fully, whatever its values.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import matplotlib.image
import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Floats
from cxrscore.explainers import enlarge
from cxrscore.labels import Box
from cxrscore.metrics import hard_truth
from cxrscore.models.calibration import times_prevalence
from cxrscore.plot_style import blend_heat, heat_layer
from cxrscore.reporting.boxes import BoxAgreement, box_agreement
from cxrscore.reporting.heatmap_choice import Choice, FindingChoices, choose_films
from cxrscore.scorefile.data import SPLITS, Scores

LIMIT = 60
"""Maximum number of panels in a report: three films of 20 findings."""
LARGEST_SIDE = 320
"""Maximum side of a drawn film, pixels."""
VERY_WEAK = 0.1
"""A map whose largest value is a smaller fraction of that of the strongest map of its finding is called very weak: it
is drawn with less than a tenth of the opacity, so that hardly anything is seen."""

_BOX = (0, 229, 255)  # a colour that neither films nor maps have

Pixels = NDArray[np.uint8]
Boxes = Mapping[tuple[int, int], tuple[Box, ...]]


@dataclass(frozen=True, kw_only=True)
class HeatmapPanel:
    """A film and the map of one finding over it.

    choice     the film, and by what rule it was chosen
    view       PA, AP, ... as the file of the film says, or ""
    split      word of SPLITS
    truth      0, 1 or NaN
    times      prob as a multiple of the prevalence of a rare finding, or ""
    film       uint8 [S,S,3]; overlay: the same with the map; both with the boxes of readers
    peak       the largest value of the map
    strength   peak as a fraction of that of the strongest map of the finding in the file; NaN if no map is drawn
    note       why no map is drawn, or ""
    box        agreement of the map with the boxes of readers; None if there are none
    """

    finding: str
    choice: Choice
    path: str
    view: str
    split: str
    prob: float
    truth: float
    times: str
    film: Pixels
    overlay: Pixels
    peak: float
    strength: float
    note: str
    box: BoxAgreement | None

    @property
    def very_weak(self) -> bool:
        return self.strength < VERY_WEAK

    @property
    def strength_text(self) -> str:
        """The strength as a percentage; "" if no map is drawn."""
        return strength_text(self.strength)


def strength_text(strength: float) -> str:
    """The largest value of a map as a percentage of that of the strongest map of its finding; "" if it is NaN."""
    if math.isnan(strength):
        return ""
    return "less than 1 %" if strength < 0.005 else f"{100 * strength:.0f} %"


@dataclass(frozen=True, kw_only=True)
class FindingPanels:
    """The panels of a finding, in the order of its choices; scale: the map value at the top of the colour scale, 0 if
    no map has a positive value."""

    choices: FindingChoices
    scale: float
    panels: tuple[HeatmapPanel, ...]


@dataclass(frozen=True, kw_only=True)
class HeatmapSection:
    """All panels of a report.

    total       number of films that were chosen, of which LIMIT at most are drawn
    stored      whether any film of the scores file has a thumbnail and a map
    all_stored  whether the scores file has the maps of all findings of each film that has maps
    """

    findings: tuple[FindingPanels, ...]
    total: int
    stored: bool
    all_stored: bool

    @property
    def panels(self) -> tuple[HeatmapPanel, ...]:
        return tuple(panel for one in self.findings for panel in one.panels)

    @property
    def constant(self) -> tuple[str, ...]:
        """Findings with one probability for all films."""
        return tuple(one.choices.finding for one in self.findings if one.choices.constant)

    def without(self, kind: str, *, stored: bool) -> tuple[str, ...]:
        """Findings without a film of a kind: because no film is of this kind, or, with ``stored`` False, because none
        of these has a map and a thumbnail."""
        choices = [one.choices for one in self.findings]
        return tuple(one.finding for one in choices if kind in (one.missing if stored else one.unstored))


def heatmap_panels(
    scores: Scores, findings: Sequence[str] = (), boxes: Boxes | None = None, limit: int = LIMIT
) -> HeatmapSection:
    """The panels of the films of choose_films.

    findings  as of choose_films
    boxes     the boxes of readers by film row and finding column
    limit     maximum number of panels
    """
    boxes = boxes or {}
    chosen = choose_films(scores, findings, boxes)
    peaks = _peaks(scores)
    drawn, left = [], limit
    for one in chosen:
        own = peaks[scores.heat_maps.finding == one.column]
        scale = max(float(own.max()), 0.0) if own.size else 0.0
        films = one.films[:left]
        left -= len(films)
        panels = tuple(_panel(scores, one, film, scale, boxes) for film in films)
        drawn.append(FindingPanels(choices=one, scale=scale, panels=panels))
    return HeatmapSection(
        findings=tuple(drawn),
        total=sum(len(one.films) for one in chosen),
        stored=bool(np.intersect1d(scores.heat_maps.film, scores.thumbnails.film).size),
        all_stored=len(peaks) >= len(scores.findings) * len(np.unique(scores.heat_maps.film)),
    )


def _peaks(scores: Scores) -> NDArray[np.float32]:
    """The largest value of each map, float32 [M]; 0 if it is not finite."""
    maps = scores.heat_maps.map
    largest = maps.reshape(len(maps), -1).max(axis=1).astype(np.float32) if maps.size else np.zeros(len(maps))
    return np.where(np.isfinite(largest), largest, 0).astype(np.float32)


def _panel(scores: Scores, chosen: FindingChoices, choice: Choice, scale: float, boxes: Boxes) -> HeatmapPanel:
    row, column = choice.row, chosen.column
    grey = shrink(scores.thumbnails.pixels[np.flatnonzero(scores.thumbnails.film == row)[0]], LARGEST_SIDE)
    stored = (scores.heat_maps.film == row) & (scores.heat_maps.finding == column)
    raw = scores.heat_maps.map[np.flatnonzero(stored)[0]].astype(np.float32)
    damaged, peak, prob = not np.isfinite(raw).all(), peak_value(raw), float(scores.prob[row, column])
    own = boxes.get((row, column), ())
    size = int(scores.films.width[row]), int(scores.films.height[row])
    return HeatmapPanel(
        finding=chosen.finding,
        choice=choice,
        path=scores.films.path[row],
        view=scores.films.view[row],
        split=SPLITS[scores.films.split[row]],
        prob=prob,
        truth=float(hard_truth(scores.truth[row, column])),
        times=times_prevalence(prob, chosen.prevalence if chosen.recorded else None),
        film=outlined(_rgb(grey), own, *size),
        overlay=outlined(overlay(grey, raw, scale) if peak else _rgb(grey), own, *size),
        peak=peak,
        strength=peak / scale if peak else math.nan,
        note="the map contains values that are not finite" if damaged else "" if peak else "no positive evidence",
        box=box_agreement(raw, own, *size) if own and peak else None,
    )


def outlined(film: Pixels, boxes: Sequence[Box], width: float, height: float) -> Pixels:
    """A film [S,S,3] with the outlines of boxes in pixels of the film of this size, two pixels wide."""
    drawn, side = film.copy(), film.shape[0]
    for box in boxes:
        left, right = (_edge(x / width, side) for x in (box.x, box.x + box.width))
        top, low = (_edge(y / height, side) for y in (box.y, box.y + box.height))
        frame = drawn[top : low + 1, left : right + 1]
        frame[:2], frame[-2:], frame[:, :2], frame[:, -2:] = _BOX, _BOX, _BOX, _BOX
    return drawn


def _edge(place: float, side: int) -> int:
    return min(max(round(place * side), 0), side - 1)


def peak_value(raw: Floats) -> float:
    """The largest positive value of a map [h,w]; 0 if there is none, or if a value is not finite."""
    return max(float(raw.max()), 0.0) if np.isfinite(raw).all() else 0.0


def overlay(film: Pixels, raw: Floats, scale: float) -> Pixels:
    """A film [S,S] with the positive part of a raw map [h,w] over it, as uint8 [S,S,3].

    Colour and opacity rise with the value, from transparent at 0 to the maximum at ``scale``.
    """
    return blend_heat(film, _strength(raw, scale, film.shape[0]))


def overlay_layer(raw: Floats, scale: float, side: int) -> Pixels:
    """What ``overlay`` lays over a film, alone: uint8 [side,side,4], red, green, blue and opacity."""
    layer = np.concatenate(heat_layer(_strength(raw, scale, side)), axis=2)
    return np.asarray(np.rint(255 * layer), dtype=np.uint8)


def _strength(raw: Floats, scale: float, side: int) -> NDArray[Any]:
    """The positive part of a map [h,w] as float [side,side], 1 at ``scale`` and above."""
    return np.asarray(np.clip(enlarge(np.maximum(raw, 0), side) / scale, 0, 1))


def colour_scale(width: int, height: int) -> Pixels:
    """The colour scale as uint8 [height,width,3] over mid-grey: 0 at the left."""
    ramp = np.broadcast_to(np.linspace(0, 1, width, dtype=np.float32), (width, width))
    return overlay(np.full((width, width), 128, np.uint8), ramp, 1.0)[:height]


def shrink(film: Pixels, largest: int) -> Pixels:
    """A film [S,S] reduced by an integer factor (block means) to a side of at most ``largest``."""
    step = -(-film.shape[0] // largest)
    side = film.shape[0] // step
    blocks = film[: side * step, : side * step].reshape(side, step, side, step)
    return np.asarray(np.rint(blocks.mean(axis=(1, 3))), dtype=np.uint8)


def _rgb(grey: Pixels) -> Pixels:
    return np.repeat(grey[..., None], 3, axis=2)


def jpeg(pixels: Pixels) -> bytes:
    """uint8 [S,S,3] as a JPEG file, a sixth of the size of a PNG, without chroma subsampling."""
    file = io.BytesIO()
    matplotlib.image.imsave(file, pixels, format="jpeg", pil_kwargs={"quality": 85, "subsampling": 0})
    return file.getvalue()
