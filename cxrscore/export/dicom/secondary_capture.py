"""A film with a heat map over it as a Secondary Capture, for viewers that show pictures only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

import cxrscore
from cxrscore.contract import Floats
from cxrscore.export.codes import finding_code
from cxrscore.export.dicom.drawing import WARNING, Caption, Picture, capture
from cxrscore.export.dicom.geometry import FilmGeometry, film_geometry, map_on_film
from cxrscore.export.dicom.objects import (
    CHARACTER_SET,
    DESCRIPTION,
    Algorithm,
    DicomFilm,
    DicomObject,
    FindingMap,
    LeftOut,
    common_attributes,
    concept,
    finished,
    highdicom_reported,
    set_compression,
    short,
    source_dataset,
)
from cxrscore.export.dicom.source import SourceError, module, read_attributes
from cxrscore.export.object_kinds import SC
from cxrscore.export.options import ExportOptions
from cxrscore.images import Status, decode_film

SIDES = (768, 1536)
"""Longer side of the film in a capture, pixels: smaller films are enlarged, so that the text fits."""
_PROCESSED = ("113085", "DCM", "Spatial resampling")
_SOURCE = ("121322", "DCM", "Source image for image processing operation")


def secondary_captures(film: DicomFilm, options: ExportOptions) -> Iterator[DicomObject | LeftOut]:
    """The captures of a film, one object for each of its findings that has a map."""
    del options
    if not film.maps:
        return
    size = film_geometry(film.data)
    grey = _shown(film, size)
    for finding, own in film.maps.items():
        if not np.isfinite(own.values).all():
            yield LeftOut("the map has values that are not finite")
        else:
            yield _secondary_capture(film, size, finding, _picture(film, size, grey, finding, own))


def _shown(film: DicomFilm, size: FilmGeometry) -> Picture:
    """The film as cxrscore displays it, with its own window, as uint8 [H,W] with square pixels."""
    decoded = decode_film(film.data, any_modality=True)
    if decoded.status != Status.OK or decoded.pixels is None:
        raise SourceError(decoded.message or "it cannot be decoded")
    pixels: NDArray[Any] = decoded.pixels
    height, width = pixels.shape[0] * size.aspect, float(pixels.shape[1])
    scale = min(max(SIDES[0] / max(height, width), 1.0), SIDES[1] / max(height, width))
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    shrunk = min(rows, pixels.shape[0]), min(columns, pixels.shape[1])
    for wanted, how in ((shrunk, cv2.INTER_AREA), ((rows, columns), cv2.INTER_LINEAR)):
        if pixels.shape != wanted:
            pixels = cv2.resize(pixels, wanted[::-1], interpolation=how)
    return pixels if pixels.dtype == np.uint8 else np.asarray((pixels.astype(np.uint32) + 128) // 257, np.uint8)


def _picture(film: DicomFilm, size: FilmGeometry, grey: Picture, finding: str, own: FindingMap) -> Picture:
    positive: Floats = np.maximum(own.values, 0)
    values = map_on_film(film, size, positive, *grey.shape)
    drawn = own.strongest > 0 and bool(positive.any())
    strength = np.clip(values / own.strongest, 0, 1) if drawn else np.zeros_like(values)
    return capture(grey, strength, _caption(film, finding, own if drawn else None))


def _caption(film: DicomFilm, finding: str, own: FindingMap | None) -> Caption:
    """The caption; ``own`` None if the map has no positive value."""
    prob, threshold = film.scores.probs[finding], film.scores.thresholds.get(finding)
    point = "no threshold" if threshold is None else f"threshold {_number(threshold)}"
    method = film.explainer or "heat map"
    if own is None:
        scale, evidence = None, f"{method}: no positive evidence in this film"
    else:
        scale = (f"{own.strongest:.2g}", f"{method}, strongest map of this finding in the scores file")
        share = float(own.values.max()) / own.strongest
        evidence = f"Largest value in this film: {own.values.max():.2g} ({_percent(share)} of the scale)"
    return Caption(
        lines=(
            f"{finding_code(finding).meaning}: probability {_number(prob)}, {point}",
            evidence,
            _model(film.algorithm),
        ),
        scale=scale,
    )


def _number(probability: float) -> str:
    """A probability with two decimals, and with two digits below 0.01."""
    return f"{probability:.2f}" if probability >= 0.01 else f"{probability:.1g}"


def _percent(share: float) -> str:
    return "less than 1 %" if share < 0.005 else f"{100 * share:.0f} %"


def _model(algorithm: Algorithm) -> str:
    network = algorithm.network or "unknown network"
    return f"cxrscore {cxrscore.__version__}, {network}, model {algorithm.model[:12] or 'unknown'}"


def _secondary_capture(film: DicomFilm, size: FilmGeometry, finding: str, picture: Picture) -> DicomObject:
    source = source_dataset(film.source)
    with highdicom_reported() as hd:
        made = hd.sc.SCImage(
            pixel_array=picture,
            photometric_interpretation="RGB",
            bits_allocated=8,
            coordinate_system="PATIENT",
            patient_orientation=("L", "F"),
            study_instance_uid=source.StudyInstanceUID,
            series_description=DESCRIPTION,
            specific_character_set=CHARACTER_SET,
            **common_attributes(SC, film.source, film.algorithm, place=film.place(finding)),
        )
        _set_image(made, film, size, finding)
        return finished(made, SC, film.source, film.algorithm)


def _set_image(made: Any, film: DicomFilm, size: FilmGeometry, finding: str) -> None:
    """Attributes of the modules General Image, General Reference and SC Equipment that highdicom does not set."""
    found = read_attributes(film.data, ("BurnedInAnnotation",))
    # Bands of text without patient data do not identify anybody: what is burned into the film decides (PS3.3 C.7.6.1).
    burned = str(found.get("BurnedInAnnotation") or "").strip()
    if burned in ("YES", "NO"):
        made.BurnedInAnnotation = burned
    made.PatientOrientation = list(size.orientation) or None
    made.BodyPartExamined = "CHEST"  # which is not paired, so that there is no Laterality
    made.ConversionType = "WSD"
    made.ImageComments = f"{short(finding)}: {WARNING}"
    set_compression(made, film)
    item = module("pydicom").Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = film.source.sop_class, film.source.instance
    item.PurposeOfReferenceCodeSequence = [concept(_SOURCE)]
    made.SourceImageSequence = [item]
    made.DerivationDescription = f"Heat map of {short(finding)} over the film, with captions. For research only."
    made.DerivationCodeSequence = [concept(_PROCESSED)]
