"""A heat map as a Parametric Map: raw, signed values as float32, of one finding, over exactly the film."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cxrscore.contract import Floats
from cxrscore.export.codes import LOCAL, finding_code
from cxrscore.export.dicom.geometry import FilmGeometry, bounded_size, film_geometry, map_on_film
from cxrscore.export.dicom.objects import (
    CHARACTER_SET,
    DESCRIPTION,
    DicomFilm,
    DicomObject,
    FindingMap,
    LeftOut,
    coding_scheme,
    common_attributes,
    concept,
    finding_concept,
    finished,
    highdicom_reported,
    set_compression,
    short,
    source_dataset,
    uid,
)
from cxrscore.export.dicom.source import module
from cxrscore.export.object_kinds import PM
from cxrscore.export.options import ExportOptions

LARGEST_SIDE = 256
"""Longer side of a map, pixels. Networks give 7 to 32 cells on each side, so nothing is lost."""
_HEAT_MAP = ("HEATMAP", LOCAL, "Heat map value")
_FINDING = ("121071", "DCM", "Finding")
_METHOD = ("370129005", "SCT", "Measurement Method")
_NO_UNIT = ("1", "UCUM", "no units")
_DIRECTIONS = {
    "L": (1, 0, 0),
    "R": (-1, 0, 0),
    "P": (0, 1, 0),
    "A": (0, -1, 0),
    "H": (0, 0, 1),
    "F": (0, 0, -1),
}
"""Directions in the patient; PS3.3 C.7.6.2.1.1."""
_FRONTAL = ("L", "F")
_CHEST = ("51185008", "SCT", "Chest")


def parametric_maps(film: DicomFilm, options: ExportOptions) -> Iterator[DicomObject | LeftOut]:
    """The maps of a film, one object for each of its findings."""
    del options
    size = film_geometry(film.data)
    for finding, own in film.maps.items():
        if not np.isfinite(own.values).all():
            yield LeftOut("the map has values that are not finite")
        else:
            yield _parametric_map(film, size, finding, own)


def _parametric_map(film: DicomFilm, size: FilmGeometry, finding: str, own: FindingMap) -> DicomObject:
    values = map_on_film(film, size, own.values, *bounded_size(size, LARGEST_SIDE))
    with highdicom_reported() as hd:
        made = hd.pm.ParametricMap(
            source_images=[_as_large(film, size, values)],
            pixel_array=values,
            contains_recognizable_visual_features=False,
            real_world_value_mappings=[_real_world_values(hd, film, finding, values)],
            voi_lut_transformations=[_window(hd, values)],
            image_flavor="STATIC",
            content_description=short(f"Heat map of {finding}"),
            series_description=DESCRIPTION,
            specific_character_set=CHARACTER_SET,
            coding_schemes=[coding_scheme()],
            **common_attributes(PM, film.source, film.algorithm, place=film.place(finding)),
        )
        set_compression(made, film)
        _set_projection(made, film, size, finding, values)
        return finished(made, PM, film.source, film.algorithm)


def _as_large(film: DicomFilm, size: FilmGeometry, values: Floats) -> Any:
    """The film as if it had the pixels of the map and a plane in space, from which highdicom takes the place of the
    map.

    A film has no place in the patient. The plane is that of the film, in a frame of reference of its own: the centre
    of its first pixel is the origin, and directions are those of Patient Orientation, or of a frontal film as it is
    viewed.
    """
    source = source_dataset(film.source)
    source.Rows, source.Columns = values.shape
    source.SamplesPerPixel = 1
    source.FrameOfReferenceUID = _frame_of_reference(film)
    across, down = (_DIRECTIONS[word[0]] for word in size.orientation or _FRONTAL)
    first = [(film / own - 1) / 2 for film, own in zip((size.rows, size.columns), values.shape, strict=True)]
    if size.spacing is not None:
        first = [place * spacing for place, spacing in zip(first, size.spacing, strict=True)]
    decimal = module("pydicom.valuerep").DS
    position = [first[1] * x + first[0] * y for x, y in zip(across, down, strict=True)]
    source.ImagePositionPatient = [decimal(place, auto_format=True) for place in position]
    source.ImageOrientationPatient = [*across, *down]
    source.PixelSpacing, source.SliceThickness = _spacing(size, values) or [1, 1], None
    return source


def _frame_of_reference(film: DicomFilm) -> str:
    """The frame of reference of all maps of a film, and of nothing else."""
    return uid("frame of reference", film.source.instance)


def _spacing(size: FilmGeometry, values: Floats) -> list[Any] | None:
    """Distance of the rows and of the columns of a map, mm, as decimal strings."""
    if size.spacing is None:
        return None
    counts = zip(size.spacing, (size.rows, size.columns), values.shape, strict=True)
    decimal = module("pydicom.valuerep").DS
    return [decimal(spacing * film / own, auto_format=True) for spacing, film, own in counts]


def _real_world_values(hd: Any, film: DicomFilm, finding: str, values: Floats) -> Any:
    """Stored values are the values of the method, without unit: what is measured, of which finding, by which method."""
    code = finding_code(finding)
    mapping = hd.pm.RealWorldValueMapping(
        lut_label=code.value,
        lut_explanation=short(f"{film.explainer or 'heat map'} of {code.meaning}"),
        unit=concept(_NO_UNIT),
        value_range=(float(values.min()), float(values.max())),
        quantity_definition=concept(_HEAT_MAP),
    )
    method = film.explainer or "unknown"
    for name, value in (
        (_FINDING, finding_concept(code)),
        (_METHOD, concept((short(method)[:16], LOCAL, short(method)))),
    ):
        mapping.QuantityDefinitionSequence.append(hd.sr.CodeContentItem(name=concept(name), value=value))
    return mapping


def _window(hd: Any, values: Floats) -> Any:
    """Zero is mid-grey, evidence for the finding is brighter."""
    largest = float(np.abs(values).max())
    width = 2 * largest or 1.0
    # LINEAR is not defined for widths below 1.
    return hd.VOILUTTransformation(window_center=0.0, window_width=width, voi_lut_function="LINEAR_EXACT")


def _set_projection(made: Any, film: DicomFilm, size: FilmGeometry, finding: str, values: Floats) -> None:
    """What highdicom cannot know of a projection: no thickness, a spacing only if the film has one, and the finding as
    dimension."""
    pydicom = module("pydicom")
    shared, frame = made.SharedFunctionalGroupsSequence[0], made.PerFrameFunctionalGroupsSequence[0]
    measures = pydicom.Dataset()
    if (spacing := _spacing(size, values)) is not None:
        measures.PixelSpacing = spacing
    shared.PixelMeasuresSequence = [measures]
    region = pydicom.Dataset()
    region.AnatomicRegionSequence, region.FrameLaterality = [concept(_CHEST)], "U"
    shared.FrameAnatomySequence = [region]
    content = frame.FrameContentSequence[0]
    content.FrameLabel, content.DimensionIndexValues = short(finding), [1]
    organization = uid("dimensions", made.SeriesInstanceUID)
    made.DimensionOrganizationSequence[0].DimensionOrganizationUID = organization
    index = made.DimensionIndexSequence[0]
    index.DimensionOrganizationUID = organization
    index.DimensionIndexPointer, index.FunctionalGroupPointer = 0x00209453, 0x00209111
    index.DimensionDescriptionLabel = "Frame Label"
    rows, columns = values.shape
    frame.DerivationImageSequence[0].DerivationDescription = (
        f"The {rows} rows and {columns} columns cover exactly the {size.rows} rows and {size.columns} columns of the "
        "film. Positive values are evidence for the finding, negative values against it. The values are those of the "
        f"method {film.explainer or '(unknown)'}, not scaled, interpolated linearly. For research only."
    )
