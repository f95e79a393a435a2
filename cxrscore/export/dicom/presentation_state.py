"""Contours of heat maps on a film as a Grayscale Softcopy Presentation State: nothing is written into pixels, and a
viewer can switch each finding on and off."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrscore.export.codes import finding_code
from cxrscore.export.dicom.contours import Line, contour_lines
from cxrscore.export.dicom.geometry import FilmGeometry, film_geometry
from cxrscore.export.dicom.objects import (
    CHARACTER_SET,
    DESCRIPTION,
    DicomFilm,
    DicomObject,
    LeftOut,
    common_attributes,
    finished,
    highdicom_reported,
    short,
    source_dataset,
)
from cxrscore.export.dicom.source import SourceError, module
from cxrscore.export.object_kinds import PR
from cxrscore.export.options import ExportOptions
from cxrscore.images import Display, Lut, Window, dicom_display
from cxrscore.images.film import FilmError

_MOST_POINTS = 4000
"""Most points of a line: an element of explicit length has at most 64 KiB. Longer lines are divided."""
_COLOURS = ((0, 229, 255), (255, 191, 0), (124, 252, 0), (255, 105, 180), (255, 140, 60), (170, 160, 255))
"""Colours of the layers, RGB, in turn."""


def presentation_states(film: DicomFilm, options: ExportOptions) -> Iterator[DicomObject | LeftOut]:
    """The contours of a film: one object with a layer for each of its findings that has a map with positive values."""
    size = film_geometry(film.data)
    contours: dict[str, list[Line]] = {}
    for finding, own in film.maps.items():
        if not np.isfinite(own.values).all():
            yield LeftOut("the map has values that are not finite")
        elif not (own.values > 0).any():
            yield LeftOut("the map has no positive values, and so no contour")
        else:
            contours[finding] = contour_lines(film, size, own.values, options.contour_level * float(own.values.max()))
            if not contours[finding]:  # of a cropped map, or of one finer than a float
                del contours[finding]
                yield LeftOut("the map has no area above the level of the contour")
    if contours:
        yield _presentation_state(film, size, contours, options.contour_level)


def _presentation_state(
    film: DicomFilm, size: FilmGeometry, contours: dict[str, list[Line]], level: float
) -> DicomObject:
    try:
        display = dicom_display(film.data)
    except FilmError as error:
        raise SourceError(str(error)) from None
    reference = source_dataset(film.source)
    reference.Rows, reference.Columns, reference.SamplesPerPixel = size.rows, size.columns, 1
    with highdicom_reported() as hd:
        layers = [_layer(hd, order, finding) for order, finding in enumerate(contours, start=1)]
        made = hd.pr.GrayscaleSoftcopyPresentationState(
            referenced_images=[reference],
            content_label="HEATMAP_CONTOURS",
            content_description=f"Heat map contours at {100 * level:g} % of the maximum",
            graphic_layers=layers,
            graphic_annotations=[
                _annotation(hd, reference, layer, film, finding, lines)
                for layer, (finding, lines) in zip(layers, contours.items(), strict=True)
            ],
            series_description=DESCRIPTION,
            specific_character_set=CHARACTER_SET,
            **common_attributes(PR, film.source, film.algorithm),
        )
        made.BodyPartExamined = "CHEST"  # which is not paired, so that there is no Laterality
        _set_area(made, size)
        _set_display(made, display)
        return finished(made, PR, film.source, film.algorithm)


def _layer(hd: Any, order: int, finding: str) -> Any:
    words = re.sub("[^A-Z0-9]+", "_", finding.upper()).strip("_")
    red, green, blue = _COLOURS[(order - 1) % len(_COLOURS)]
    return hd.pr.GraphicLayer(
        layer_name=f"F{order}_{words}"[:16].rstrip("_"),
        order=order,
        description=short(f"{finding}: research only, not for diagnosis"),
        display_color=hd.color.CIELabColor.from_rgb(red, green, blue),
    )


def _annotation(hd: Any, reference: Any, layer: Any, film: DicomFilm, finding: str, lines: list[Line]) -> Any:
    """The contours of a finding, and its name at the highest point of the largest one."""
    highest = lines[0][int(np.argmin(lines[0][:, 1]))]
    return hd.pr.GraphicAnnotation(
        referenced_images=[reference],
        graphic_layer=layer,
        graphic_objects=[
            hd.pr.GraphicObject(graphic_type="POLYLINE", graphic_data=part, units="PIXEL")
            for line in lines
            for part in _parts(line)
        ],
        text_objects=[
            hd.pr.TextObject(
                text_value=f"{finding_code(finding).meaning} {film.scores.probs[finding]:.2f} (not for diagnosis)",
                units="PIXEL",
                anchor_point=(float(highest[0]), float(highest[1])),
            )
        ],
    )


def _parts(line: Line) -> Iterator[Line]:
    """The line in parts of at most _MOST_POINTS, each of which begins where the one before it ends."""
    for start in range(0, len(line) - 1, _MOST_POINTS - 1):
        yield line[start : start + _MOST_POINTS]


def _set_area(made: Any, size: FilmGeometry) -> None:
    """The whole film, with the proportions of its pixels."""
    area = made.DisplayedAreaSelectionSequence[0]
    del area.PixelOriginInterpretation  # is for images of several tiles
    if size.spacing is not None:
        del area.PresentationPixelAspectRatio
        area.PresentationPixelSpacing = [_decimal(one) for one in size.spacing]
    elif size.aspect != 1:
        area.PresentationPixelAspectRatio = [round(10000 * size.aspect), 10000]


def _set_display(made: Any, display: Display) -> None:
    """The film's own grey scale, as cxrscore displays it: a presentation state without it would show all its values.

    The presentation LUT of a state takes the place of MONOCHROME1, which is inverted after the window.
    """
    pydicom = module("pydicom")
    for name in ("RescaleIntercept", "RescaleSlope", "RescaleType", "ModalityLUTSequence", "SoftcopyVOILUTSequence"):
        made.pop(name, None)
    if isinstance(display.modality, tuple):
        made.RescaleSlope, made.RescaleIntercept = (_decimal(number) for number in display.modality)
        made.RescaleType = "US"
    elif display.modality is not None:
        item = _lut(display.modality, display.modality.table)
        item.ModalityLUTType = "US"
        made.ModalityLUTSequence = [item]
    voi = pydicom.Dataset()
    if isinstance(display.voi, Window):
        voi.WindowCenter, voi.WindowWidth = _decimal(display.voi.center), _decimal(display.voi.width)
        if display.voi.function != "LINEAR":
            voi.VOILUTFunction = display.voi.function
    else:
        voi.VOILUTSequence = [_lut(display.voi, display.voi.table * (65535 / display.voi.top))]
    made.SoftcopyVOILUTSequence = [voi]
    made.PresentationLUTShape = "INVERSE" if display.inverted else "IDENTITY"


def _lut(lut: Lut, table: NDArray[Any]) -> Any:
    """A LUT with this table as an item of the presentation state."""
    bits = 16 if table.max() > 255 else 8
    item, element = module("pydicom").Dataset(), module("pydicom.dataelem").DataElement
    item.add(element(0x00283002, "SS" if lut.first < 0 else "US", [len(table) % 65536, lut.first, bits]))
    data = np.rint(table).astype("<u2" if bits == 16 else "u1").tobytes()
    item.add(element(0x00283006, "OW", data + b"\0" * (len(data) % 2)))
    return item


def _decimal(number: float) -> Any:
    return module("pydicom.valuerep").DS(number, auto_format=True)
