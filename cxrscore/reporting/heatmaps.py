"""Heat maps on films: which films to show, and how a map is drawn over a film.

Maps are raw and signed. Only positive values, the evidence for the finding, are drawn. All maps of a film share one
scale, from 0 to their maximum, so that weak evidence looks weak.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import matplotlib.image
import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Floats
from cxrscore.errors import InputError
from cxrscore.explainers import enlarge
from cxrscore.images import Status
from cxrscore.metrics import hard_truth
from cxrscore.models.calibration import prevalences, times_prevalence
from cxrscore.reporting.ranking import ranking_scores
from cxrscore.reporting.summary import SEEN
from cxrscore.scorefile.data import SPLITS, Scores

LIMIT = 28
"""Maximum number of panels in a report, so that a phone can open the page."""
ERRORS = 5
"""Number of panels of the worst false negatives, and of the worst false positives."""
MAX_RANDOM_FILMS = 4
"""Number of panels of randomly selected films."""
HIGHEST = "Highest probability of "
MAPS_A_FILM = 4
"""The four most probable findings, as in the paper's figures 7 and 8."""
LARGEST_SIDE = 320
"""Maximum side of a drawn film, pixels."""

_COLOURS = matplotlib.colormaps["inferno"]  # perceptually uniform, also for colour-blind readers
_STRONGEST = 0.75  # opacity at the top of the scale: the film must remain visible

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class HeatmapOverlay:
    """One map over its film: pixels uint8 [S,S,3]; peak: its largest value; note: why no map is drawn, or ""; times:
    prob as a multiple of the prevalence of a rare finding, or ""."""

    finding: str
    prob: float
    truth: float
    pixels: Pixels
    peak: float
    note: str
    times: str = ""


@dataclass(frozen=True, kw_only=True)
class HeatmapPanel:
    """A film (uint8 [S,S,3]) with its maps, most probable finding first.

    reasons  why this film was chosen
    split    word of SPLITS
    scale    the map value at the top of the colour scale; 0 if no map has a positive value
    """

    path: str
    reasons: tuple[str, ...]
    split: str
    film: Pixels
    maps: tuple[HeatmapOverlay, ...]
    scale: float


def heatmap_panels(
    scores: Scores, limit: int = LIMIT, seed: int = 0, findings: Sequence[str] = ()
) -> tuple[HeatmapPanel, ...]:
    """Panels of selected films: the highest probability of each finding, the worst errors, and some random films.

    findings  findings whose maps are drawn, in this order, if the file contains them; empty: the most probable ones
              of each film. InputError for a finding that the scores do not have.
    """
    if unknown := [name for name in findings if name not in scores.findings]:
        raise InputError(f"there is no finding {unknown[0]}; the scores file has {', '.join(scores.findings)}")
    columns = [scores.findings.index(name) for name in findings]
    return tuple(_panel(scores, row, reasons, columns) for row, reasons in choose_films(scores, limit, seed).items())


def choose_films(scores: Scores, limit: int = LIMIT, seed: int = 0) -> dict[int, tuple[str, ...]]:
    """Rows of the films to show, with the reasons, among films that have a thumbnail and a map.

    If there are films that the model has not seen, only these are selected.
    """
    rows = np.intersect1d(scores.thumbnails.film, scores.heat_maps.film)
    rows = rows[scores.films.status[rows] == Status.OK]
    unseen = rows[~np.isin(scores.films.split[rows], SEEN)]
    rows = unseen if unseen.size else rows
    if not rows.size:
        return {}
    same = _constant(scores, rows)
    errors = [*_worst(scores, rows, same, missed=True), *_worst(scores, rows, same, missed=False)]
    drawn = np.random.default_rng(seed).permutation(rows)[: min(MAX_RANDOM_FILMS, limit // 4)]
    random = [(int(row), f"Random film, seed {seed}") for row in drawn]
    chosen: dict[int, list[str]] = {}
    highest = [one for one in _highest(scores, rows) if one[1].removeprefix(HIGHEST) not in same]
    highest = highest[: max(limit - len(errors) - len(random), 0)]
    for row, reason in [*highest, *errors, *random]:
        if row in chosen or len(chosen) < limit:
            chosen.setdefault(row, []).append(reason)
    return {row: tuple(reasons) for row, reasons in chosen.items()}


def _highest(scores: Scores, rows: NDArray[np.intp]) -> list[tuple[int, str]]:
    """The film with the highest probability for each finding, in order of descending probability."""
    ranked = ranking_scores(scores)[rows]
    best = ranked.argmax(axis=0)
    order = np.argsort(-ranked.max(axis=0), kind="stable")
    return [(int(rows[best[c]]), f"{HIGHEST}{scores.findings[c]}") for c in order]


def _constant(scores: Scores, rows: NDArray[np.intp]) -> set[str]:
    """Findings with one probability for all of several films."""
    prob = scores.prob[rows]
    flat = (prob == prob[0]).all(axis=0) & (len(rows) > 1)
    return {finding for finding, one in zip(scores.findings, flat, strict=True) if one}


def _worst(scores: Scores, rows: NDArray[np.intp], same: set[str], *, missed: bool) -> list[tuple[int, str]]:
    """The ERRORS worst false negatives, or false positives: the films whose log odds are furthest below, or above,
    those of the prevalence, or of 0.5 if it is unknown. Calibrated probabilities of a rare finding are all small: by
    size alone, every positive film of it would be a false negative. Without the findings ``same``: one probability for
    all films says nothing about one of them."""
    truth, prob = scores.truth[rows], scores.prob[rows]
    truth[:, [finding in same for finding in scores.findings]] = np.nan
    known = prevalences(scores.provenance, scores.findings)
    base = np.array([known.get(finding, 0.5) for finding in scores.findings])
    with np.errstate(invalid="ignore"):
        above = _log_odds(prob.astype(np.float64)) - _log_odds(base)
    error = np.where(truth > 0.5, -above, -np.inf) if missed else np.where(truth < 0.5, above, -np.inf)
    words = "Labelled {}, scored only {:.2g}" if missed else "Not labelled {}, scored {:.2g}"
    worst = np.argsort(-error, axis=None, kind="stable")[:ERRORS]
    places = [divmod(int(place), error.shape[1]) for place in worst if error.flat[place] > 0]
    return [(int(rows[r]), words.format(scores.findings[c], float(prob[r, c]))) for r, c in places]


def _log_odds(p: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(p) - np.log1p(-p), np.float64)


def _panel(scores: Scores, row: int, reasons: tuple[str, ...], chosen: Sequence[int]) -> HeatmapPanel:
    thumbnail = scores.thumbnails.pixels[np.flatnonzero(scores.thumbnails.film == row)[0]]
    grey = shrink(thumbnail, LARGEST_SIDE)
    indexes = np.flatnonzero(scores.heat_maps.film == row)
    indexes = _selected_maps(scores, row, indexes, chosen)
    maps = scores.heat_maps.map[indexes].astype(np.float32)
    scale = max((peak_value(one) for one in maps), default=0.0)
    columns = scores.heat_maps.finding[indexes]
    known = prevalences(scores.provenance, scores.findings)
    drawn = (_draw_overlay(scores, row, int(c), one, grey, scale, known) for c, one in zip(columns, maps, strict=True))
    return HeatmapPanel(
        path=scores.films.path[row],
        reasons=reasons,
        split=SPLITS[scores.films.split[row]],
        film=_rgb(grey),
        maps=tuple(drawn),
        scale=scale,
    )


def _selected_maps(scores: Scores, row: int, indexes: NDArray[np.intp], chosen: Sequence[int]) -> NDArray[np.intp]:
    """The maps of a film to draw: those of the selected findings in their order, or the most probable ones."""
    columns = scores.heat_maps.finding[indexes]
    if chosen:
        return np.array([place for column in chosen for place in indexes[columns == column]], np.intp)
    return indexes[np.argsort(-scores.prob[row, columns], kind="stable")][:MAPS_A_FILM]


def _draw_overlay(
    scores: Scores, row: int, column: int, raw: Floats, grey: Pixels, scale: float, known: Mapping[str, float]
) -> HeatmapOverlay:
    """The map of a finding; known: prevalences by finding."""
    finding, prob = scores.findings[column], float(scores.prob[row, column])
    damaged = not np.isfinite(raw).all()
    empty = damaged or peak_value(raw) == 0
    return HeatmapOverlay(
        finding=finding,
        prob=prob,
        times=times_prevalence(prob, known.get(finding)),
        truth=float(hard_truth(scores.truth[row, column])),
        pixels=_rgb(grey) if empty else overlay(grey, raw, scale),
        peak=peak_value(raw),
        note="the map contains values that are not finite" if damaged else "no positive evidence" if empty else "",
    )


def peak_value(raw: Floats) -> float:
    """The largest positive value of a map [h,w]; 0 if there is none, or if a value is not finite."""
    return max(float(raw.max()), 0.0) if np.isfinite(raw).all() else 0.0


def overlay(film: Pixels, raw: Floats, scale: float) -> Pixels:
    """A film [S,S] with the positive part of a raw map [h,w] over it, as uint8 [S,S,3].

    Colour and opacity rise with the value, from transparent at 0 to the maximum at ``scale``.
    """
    strength = np.clip(enlarge(np.maximum(raw, 0), film.shape[0]) / scale, 0, 1)
    colour = _COLOURS(0.25 + 0.75 * strength)[..., :3]
    opacity = _STRONGEST * strength[..., None]
    mixed = (1 - opacity) * (film[..., None] / 255) + opacity * colour
    return np.asarray(np.rint(255 * mixed), dtype=np.uint8)


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
