"""A scores file in memory: what writers fill, readers return and reports draw from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Floats

SPLITS = ("", "train", "valid", "test")
"""Words of /films/split, by code: what the model that scored a film had to do with it; "" = never seen."""


@dataclass(frozen=True, kw_only=True)
class FilmRows:
    """One row a film, in the sorted order of the run's manifest.

    path     N POSIX paths below the films folder
    sha256   N hex digests of the file's bytes, "" where it could not be read
    status   uint8 [N], codes of cxrscore.images.Status; 1 = scored, 0 = not written
    message  N texts: why a film was not scored; of a scored one a note on how it was read, mostly ""
    kind     N of "png", "jpeg", "dicom", "" where it is none of these
    modality N DICOM modalities, "" for other films
    view     N DICOM view positions, "" for other films
    width    uint32 [N] of the film as stored, pixels; 0 where unknown
    height   uint32 [N]
    split    uint8 [N], indexes into SPLITS
    patient  int32 [N], a number per patient, -1 where unknown; never an identifier
    """

    path: tuple[str, ...]
    sha256: tuple[str, ...]
    status: NDArray[np.uint8]
    message: tuple[str, ...]
    kind: tuple[str, ...]
    modality: tuple[str, ...]
    view: tuple[str, ...]
    width: NDArray[np.uint32]
    height: NDArray[np.uint32]
    split: NDArray[np.uint8]
    patient: NDArray[np.int32]


@dataclass(frozen=True, kw_only=True)
class HeatMaps:
    """Raw signed maps, M of them, of the findings that were chosen for each film.

    map      float16 [M,h,w], as the explainer returned them: unscaled, negative where evidence is against
    film     int32 [M], row of the film
    finding  int16 [M], column of the finding
    """

    map: NDArray[np.float16]
    film: NDArray[np.int32]
    finding: NDArray[np.int16]


@dataclass(frozen=True, kw_only=True)
class Thumbnails:
    """Small films for the report: film int32 [T] rows, pixels uint8 [T,side,side], grey."""

    film: NDArray[np.int32]
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The content of a scores file.

    findings    C names; the columns of logit, prob and truth
    logit       float32 [N,C], NaN for films that were not scored
    prob        float32 [N,C] in 0..1, NaN likewise
    truth       float32 [N,C], 0 or 1, NaN unknown; all NaN without labels
    thresholds  float32 [C], the model's operating points as probabilities, NaN where it has none
    provenance  JSON-ready: what scored what, with which model, when (schemas/scores.schema.json)
    """

    findings: tuple[str, ...]
    films: FilmRows
    logit: Floats
    prob: Floats
    truth: Floats
    thresholds: Floats
    heat_maps: HeatMaps
    thumbnails: Thumbnails
    provenance: Mapping[str, Any] = field(default_factory=dict)
