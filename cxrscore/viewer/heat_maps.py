"""Heat maps of one film: from the scores file, or computed on demand by the model that made the scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Floats
from cxrscore.errors import CxrscoreError, InputError
from cxrscore.images.codecs import cv2
from cxrscore.io.regular import sha256_file
from cxrscore.io.strict_json import get_nested, get_text
from cxrscore.reporting.heatmaps import VERY_WEAK, colour_scale, overlay_layer, peak_value, strength_text
from cxrscore.reporting.provenance import provenance_models
from cxrscore.scorefile.by_row import ScoresByRow
from cxrscore.viewer.film_files import OTHER_FILE, FilmFiles, NewestFirst, NoFilmError
from cxrscore.viewer.film_index import Recent

if TYPE_CHECKING:
    from cxrscore.api import Classifier

LAYER_SIDE = 320
"""Side of a drawn map, pixels."""
KEPT_MAPS = 64
WAITING = 8
"""Maps that may wait to be computed; of more, the one that waits for the longest time is refused."""
MAX_SIDE = 2048
"""Longest side of a map that is drawn."""

Rectangle = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class FilmMap:
    """The map of a finding on a film.

    words  what the map is, and how strong on its scale
    layer  PNG with colours and opacities; b"" if there is nothing to draw
    place  left, top, width and height of the map, in pixels of the stored film
    """

    words: str
    layer: bytes
    place: Rectangle


class HeatMapSource:
    """Maps of the films of a scores file; safe to use from several threads.

    model  computes maps that the file does not have; None: only those of the file are shown
    """

    def __init__(self, scores: ScoresByRow, films: FilmFiles, model: Classifier | None = None) -> None:
        self._scores, self._films, self._model = scores, films, model
        fits = {get_text(one, "document", "preprocessing", "fit") for one in provenance_models(scores.provenance)}
        self._fit = fits.pop() if len(fits) == 1 else "stretch"
        self._explainer = get_text(scores.provenance, "explainer", "name")
        self._computed: Recent[tuple[int, int], Floats] = Recent(KEPT_MAPS)
        self._turns = NewestFirst(1, WAITING)

    @property
    def computes(self) -> bool:
        """Whether maps that the file does not have are computed."""
        return self._model is not None

    def film_map(self, row: int, finding: int) -> FilmMap:
        """The map of a film and a finding 0..C-1. NoFilmError if there is none."""
        stored = self._scores.heat_map(row, finding)
        raw = self._compute(row, finding) if stored is None else stored
        if raw.size == 0 or max(raw.shape) > MAX_SIDE:
            raise NoFilmError("The map in the file has no usable size.")
        peak = peak_value(raw)
        scale = max(float(self._scores.map_scale()[finding]), 0.0)
        if stored is None and not scale:
            scale = peak
        layer = png(overlay_layer(raw, scale, LAYER_SIDE)) if peak else b""
        width, height = int(self._scores.width[row]), int(self._scores.height[row])
        return FilmMap(
            words=self._words(finding, raw, peak, scale, computed=stored is None),
            layer=layer,
            place=map_rectangle(width, height, self._fit),
        )

    def _words(self, finding: int, raw: Floats, peak: float, scale: float, *, computed: bool) -> str:
        name = self._scores.findings[finding]
        method = f" by {self._explainer}" if self._explainer else ""
        origin = "Map computed now" if computed else "Map of the scores file"
        if not np.isfinite(raw).all():
            return f"{origin}: it contains values that are not finite, and is not drawn."
        if not peak:
            return f"{origin}{method}: no positive evidence for {name}."
        strength = strength_text(peak / scale)
        weak = "Very weak: " if peak / scale < VERY_WEAK else ""
        return (
            f"{origin}{method}. {weak}Its largest value is {strength} of the strongest map of {name} in the file. "
            f"Scale 0 to {scale:.3g}, the same for all films."
        )

    def _compute(self, row: int, finding: int) -> Floats:
        name = self._scores.findings[finding]
        if self._model is None:
            raise NoFilmError(
                f"The file has no map of {name} on this film. Start the command with --films and --model to compute "
                "it, or score with more --heatmaps."
            )
        kept = self._computed.recall((row, finding))
        if kept is not None:
            return kept
        if self._films.is_other(row):
            raise NoFilmError(OTHER_FILE)
        try:
            with self._turns.turn():
                found = self._model.explain(self._films.location(row), name, **self._options())
        except CxrscoreError:
            # The message would name the file of the film.
            raise NoFilmError(f"The map of {name} cannot be computed for this film.") from None
        return self._computed.keep((row, finding), np.asarray(found, np.float32))

    def _options(self) -> dict[str, str]:
        return {"explainer": self._explainer} if self._explainer else {}


def load_model(scores: ScoresByRow, models: Sequence[Path], backend: str | None) -> Classifier:
    """The model that made the scores. InputError if it is another one."""
    from cxrscore import api

    provenance = scores.provenance
    known = {get_text(one, "sha256") for one in provenance_models(provenance)}
    ensemble = get_nested(provenance, "ensemble")
    if ensemble is not None:
        known.add(get_text(ensemble, "sha256"))
    for path in models:
        try:
            same = sha256_file(path) in known
        except OSError:
            raise InputError(f"there is no model file {path}") from None
        if not same:
            raise InputError(
                f"{path} is not the model that made these scores: its SHA-256 differs from that in the file"
            )
    return api.load(tuple(models), backend=backend, batch_size=1, workers=1)


def map_rectangle(width: int, height: int, fit: str) -> Rectangle:
    """Where a map lies on a film of this size: left, top, width, height in pixels of the film.

    A map covers the square that the network gets: the stretched film, its middle ("crop"), or the film with black bands
    ("pad").
    """
    if fit == "crop":
        side = min(width, height)
        return ((width - side) // 2, (height - side) // 2, side, side)
    if fit == "pad":
        side = max(width, height)
        return ((width - side) / 2, (height - side) / 2, side, side)
    return (0, 0, width, height)


def scale_picture() -> bytes:
    """The colour scale as PNG."""
    return png(colour_scale(240, 12))


def png(pixels: NDArray[np.uint8]) -> bytes:
    """A colour picture [H,W,3 or 4], red first, as PNG."""
    order = cv2.COLOR_RGBA2BGRA if pixels.shape[2] == 4 else cv2.COLOR_RGB2BGR
    done, data = cv2.imencode(".png", cv2.cvtColor(np.ascontiguousarray(pixels), order))
    if not done:
        raise CxrscoreError("a picture could not be encoded")
    return bytes(data)
