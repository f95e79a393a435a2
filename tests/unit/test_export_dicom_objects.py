"""Heat maps as DICOM objects: at the right places of the film, readable by others, and the same for the same scores."""

import warnings
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO

import numpy as np
import pytest
from corpus_bytes import chest, dicom, lookup_table
from dciodvfy import PROGRAM, complaints, needs_dciodvfy
from few_scores import NAN, few_scores
from made_patient import PATIENT_ATTRIBUTES, UIDS

from cxrscore.errors import InputError
from cxrscore.export import ExportOptions, export_scores
from cxrscore.export.dicom.algorithm import preprocessing_of
from cxrscore.export.dicom.contours import area, contour_lines
from cxrscore.export.dicom.geometry import bounded_size, film_geometry, map_on_film
from cxrscore.export.dicom.objects import Algorithm, DicomFilm, FilmScores, FindingMap, LeftOut
from cxrscore.export.dicom.parametric_map import parametric_maps
from cxrscore.export.dicom.presentation_state import presentation_states
from cxrscore.export.dicom.secondary_capture import secondary_captures
from cxrscore.export.dicom.source import PATIENT, SourceError, read_source
from cxrscore.export.object_kinds import OBJECT_KINDS, parse_objects
from cxrscore.images import Preprocessing, preprocess
from cxrscore.io import sha256_bytes
from cxrscore.scorefile import HeatMaps

hd = pytest.importorskip("highdicom")
pydicom = pytest.importorskip("pydicom")

PERSON = {
    "SpecificCharacterSet": "ISO_IR 100",
    **{name: value for name, value in PATIENT_ATTRIBUTES.items() if name != "IssuerOfPatientID"},
}
OTHERS = {
    "InstitutionName": "Sankt-Elsewhere",
    "PatientComments": "he is the mayor",
    "OperatorsName": "Radio^Grapher",
    "StationName": "ROOM-7",
    "ProtocolName": "Thorax-Maier",
}
MAP = np.array([[0.5, -1, 0], [0, 2, 0], [0, 0, -0.25]], np.float32)
OPTIONS = ExportOptions(output="out", kind="dicom", films="films")
ALGORITHM = Algorithm(network="tinycnn", model="ab" * 32, parameters=(), created=datetime(2026, 1, 2, tzinfo=UTC))
KINDS = (parametric_maps, secondary_captures, presentation_states)


def film_of(data=None, fit="stretch", side=64, maps=None, **changed):
    """A film with a map of Mass, and one of Hernia if it has another."""
    data = dicom(**UIDS) if data is None else data
    own = {"Mass": MAP} if maps is None else maps
    scores = {
        "sha256": sha256_bytes(data),
        "probs": {"Edema": 0.1, "Mass": 0.75, "Hernia": 0.125},
        "thresholds": {"Edema": None, "Mass": 0.5, "Hernia": None},
    }
    fields = {
        "data": data,
        "source": read_source(data, with_patient=False),
        "scores": FilmScores(**scores),
        "maps": {name: FindingMap(values=np.float32(values), strongest=4.0) for name, values in own.items()},
        "algorithm": ALGORITHM,
        "explainer": "grad-cam",
        "preprocessing": Preprocessing(size=side, fit=fit),
    }
    return DicomFilm(**{**fields, **changed})


def objects(kind, film, options=OPTIONS):
    return list(kind(film, options))


@pytest.fixture
def small_captures(monkeypatch):
    """Captures that take little time."""
    monkeypatch.setattr("cxrscore.export.dicom.secondary_capture.SIDES", (96, 96))


def one(kind, film, options=OPTIONS):
    (made,) = objects(kind, film, options)
    return pydicom.dcmread(BytesIO(made.data))  # which is strict: preamble and meta information


# --- where a map lies on its film

SHAPES = {"portrait": (96, 60), "landscape": (50, 100), "square": (64, 64), "odd": (97, 61)}


@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_blob_of_the_film_is_where_the_map_of_its_square_says(shape, fit):
    """The square that the network sees is taken as the map: on the film, the blob must be where it was drawn."""
    rows, columns = shape
    y, x = np.mgrid[:rows, :columns]
    row, column = rows / 2 + 6.0, columns / 2 - 9.0  # inside of every crop
    drawn = (65535 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 18)).astype(np.uint16)
    film = film_of(dicom(drawn, bits=16, **UIDS), fit=fit, side=48)
    square = preprocess(drawn, film.preprocessing).astype(np.float32)
    back = map_on_film(film, film_geometry(film.data), square, rows, columns)
    for place, wanted in ((y, row), (x, column)):
        assert float((place * back).sum() / back.sum()) == pytest.approx(wanted, abs=0.1)
    seen = np.zeros(shape, bool)
    edge = ((rows - columns) // 2, (columns - rows) // 2) if fit == "crop" else (0, 0)
    top, left = max(edge[0], 0), max(edge[1], 0)
    middle = min(shape) if fit == "crop" else None
    seen[top : None if middle is None else top + middle, left : None if middle is None else left + middle] = True
    assert not back[~seen].any()


def test_the_parametric_map_has_the_numbers_that_a_hand_finds():
    """A film of 4 rows and 8 columns, 0.2 and 0.1 mm, in the pad of a square of 8: it covers the middle half, and so of
    a map of 4 x 4 the rows 1 and 2."""
    values = np.zeros((4, 4), np.float32)
    values[0], values[1], values[2], values[3] = 100, [1, 2, 3, 4], [-5, -6, -7, -8], 100
    data = dicom(chest()[:4, :8], ImagerPixelSpacing=[0.2, 0.1], InstanceNumber=7, **UIDS)
    film = film_of(data, fit="pad", side=8, maps={"Mass": values})
    size = film_geometry(data)
    assert (size.rows, size.columns, size.spacing, size.aspect) == (4, 8, (0.2, 0.1), 2)
    made = one(parametric_maps, film)
    # Centres of the film's rows in rows of the map: 0.75, 1.25, 1.75 and 2.25.
    rows = [[0.25, 0.75, 0, 0], [0, 0.75, 0.25, 0], [0, 0.25, 0.75, 0], [0, 0, 0.75, 0.25]]
    # Columns of the film in columns of the map: -0.25 (as 0), 0.25, 0.75, ... 2.75, 3.25 (as 3).
    columns = np.clip(np.arange(8) / 2 - 0.25, 0, 3)
    wanted = [np.interp(columns, range(4), row) for row in np.array(rows) @ values]
    assert made.pixel_array.dtype == np.float32
    np.testing.assert_allclose(made.pixel_array, wanted, rtol=1e-6)
    shared, frame = made.SharedFunctionalGroupsSequence[0], made.PerFrameFunctionalGroupsSequence[0]
    assert shared.PixelMeasuresSequence[0].PixelSpacing == [0.2, 0.1]
    assert frame.PlanePositionSequence[0].ImagePositionPatient == [0, 0, 0]
    assert made.InstanceNumber == 702  # the second finding of film 7


def test_a_large_film_has_a_smaller_map_over_the_same_area():
    """1000 x 600 pixels of 0.14 mm become 256 x 154: 0.546875 and 0.545455 mm. The first pixel is centred 1.453 rows
    and 1.448 columns below the first of the film."""
    data = dicom(np.zeros((1000, 600), np.uint8), PixelSpacing=[0.14, 0.14], PatientOrientation=["L", "F"], **UIDS)
    assert bounded_size(film_geometry(data), 256) == (256, 154)
    made = one(parametric_maps, film_of(data))
    shared, frame = made.SharedFunctionalGroupsSequence[0], made.PerFrameFunctionalGroupsSequence[0]
    assert (made.Rows, made.Columns) == (256, 154)
    np.testing.assert_allclose(shared.PixelMeasuresSequence[0].PixelSpacing, [0.546875, 0.5454545], rtol=1e-6)
    position = [(600 / 154 - 1) / 2 * 0.14, 0, -(1000 / 256 - 1) / 2 * 0.14]
    found = [float(number) for number in frame.PlanePositionSequence[0].ImagePositionPatient]
    np.testing.assert_allclose(found, position, rtol=1e-6)
    assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == [1, 0, 0, 0, 0, -1]


def test_a_parametric_map_says_what_it_is():
    made = one(parametric_maps, film_of())
    (source,) = made.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence
    assert source.ReferencedSOPInstanceUID == UIDS["SOPInstanceUID"]
    assert source.SpatialLocationsPreserved == "YES"
    assert made.StudyInstanceUID == UIDS["StudyInstanceUID"]
    mapping = made.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert (mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) == (1, 0)
    found = {
        item.ConceptNameCodeSequence[0].CodeMeaning: item.ConceptCodeSequence[0]
        for item in mapping.QuantityDefinitionSequence
    }
    assert found["Quantity"].CodingSchemeDesignator == "99CXRSCORE"
    assert (found["Finding"].CodeValue, found["Measurement Method"].CodeMeaning) == ("4147007", "grad-cam")
    assert made.ContentQualification == "RESEARCH"
    read = hd.pm.ParametricMap.from_dataset(made)
    np.testing.assert_array_equal(read.pixel_array, made.pixel_array)


@pytest.mark.parametrize(
    "spacing",
    [
        {"PixelSpacing": [0, 0]},
        {"PixelSpacing": ["0.1"]},
        {"PixelSpacing": [1e9, 1e9]},
        {"PixelSpacing": [0.1, 0.1, 0.1]},
        {},
    ],
)
def test_a_film_without_a_spacing_has_a_map_without_one(spacing):
    data = dicom(**UIDS, **spacing)
    assert film_geometry(data).spacing is None
    made = one(parametric_maps, film_of(data))
    assert "PixelSpacing" not in made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]


def test_a_spacing_that_is_no_number_is_none():
    data = dicom(**UIDS, PixelSpacing=["8888", "8888"])
    assert data.count(b"8888\\8888") == 1
    assert film_geometry(data.replace(b"8888\\8888", b"wide\\high")).spacing is None


def test_damaged_elements_are_told():
    """Rows of three bytes, and a group length of five in the meta information."""
    data = dicom(**UIDS)
    at = data.index(b"\x28\x00\x10\x00US\x02\x00")
    rows = data[:at] + b"\x28\x00\x10\x00US\x03\x00abc" + data[at + 10 :]
    with pytest.raises(SourceError, match="no size"):
        film_geometry(rows)
    meta = data[:132] + b"\x02\x00\x00\x00UL\x05\x00abcde" + data[144:]
    for read in (film_geometry, lambda data: read_source(data, with_patient=True)):
        with pytest.raises(SourceError, match=r"cannot be read as DICOM|no usable"):
            read(meta)


# --- contours


def lines_of(values, level, shape=(64, 128), **changed):
    film = film_of(dicom(np.zeros(shape, np.uint8), **UIDS), **changed)
    return contour_lines(film, film_geometry(film.data), np.asarray(values, np.float32), level)


@pytest.mark.parametrize(("level", "column"), [(0.5, 64), (0.25, 48), (0.75, 80)])
def test_a_contour_is_exact(level, column):
    """Of [0, 1] over 128 columns, the values rise from column 32 to column 96."""
    (line,) = lines_of([[0, 1], [0, 1]], level)
    assert abs(area(line)) == pytest.approx((128 - column) * 64)
    assert line.min(axis=0) == pytest.approx([column, 0])
    assert line.max(axis=0) == pytest.approx([128, 64])
    np.testing.assert_array_equal(line[0], line[-1])


def test_an_area_with_a_hole_has_two_lines_and_two_areas_have_two():
    ring = np.ones((5, 5))
    ring[2, 2] = -1
    outer, inner = lines_of(ring, 0.5)
    assert abs(area(outer)) == pytest.approx(64 * 128)
    assert inner.mean(axis=0) == pytest.approx([64, 32], abs=2)
    peaks = np.zeros((5, 5))
    peaks[1, 1], peaks[3, 3] = 1, 0.9
    first, second = lines_of(peaks, 0.5)
    assert first[:-1].mean(axis=0) == pytest.approx([1.5 / 5 * 128, 1.5 / 5 * 64], abs=0.5)
    assert second[:-1].mean(axis=0) == pytest.approx([3.5 / 5 * 128, 3.5 / 5 * 64], abs=0.5)


def test_contours_of_padded_and_cropped_films_are_in_pixels_of_the_film():
    """Of a film of 64 x 128 the pad has the rows 16 to 48 of a square of 64, and the crop the columns 32 to 96."""
    peak = np.zeros((8, 8))
    peak[3, 5] = 1  # the centre is at 3.5 / 8 of the rows and 5.5 / 8 of the columns of the square
    (padded,) = lines_of(peak, 0.5, fit="pad")
    assert padded[:-1].mean(axis=0) == pytest.approx([5.5 / 8 * 128, (3.5 / 8 - 0.25) * 128], abs=0.5)
    (cropped,) = lines_of(peak, 0.5, fit="crop")
    assert cropped[:-1].mean(axis=0) == pytest.approx([32 + 5.5 / 8 * 64, 3.5 / 8 * 64], abs=0.5)


def test_a_presentation_state_has_a_layer_with_contours_for_each_finding():
    film = film_of(maps={"Mass": MAP, "Hernia": MAP[::-1], "Edema": -np.abs(MAP)})
    left, made = objects(presentation_states, film)
    assert left == LeftOut("the map has no positive values, and so no contour")
    state = pydicom.dcmread(BytesIO(made.data))
    assert [layer.GraphicLayer for layer in state.GraphicLayerSequence] == ["F1_MASS", "F2_HERNIA"]
    mass, hernia = state.GraphicAnnotationSequence
    (drawn,) = mass.GraphicObjectSequence
    assert (drawn.GraphicType, drawn.GraphicAnnotationUnits) == ("POLYLINE", "PIXEL")
    wanted = contour_lines(film, film_geometry(film.data), film.maps["Mass"].values, 1.0)
    np.testing.assert_allclose(np.reshape(drawn.GraphicData, (-1, 2)), wanted[0], atol=1e-4)
    assert mass.TextObjectSequence[0].UnformattedTextValue == "Mass 0.75 (not for diagnosis)"
    assert hernia.GraphicLayer == "F2_HERNIA"
    (reference,) = state.ReferencedSeriesSequence
    assert reference.SeriesInstanceUID == UIDS["SeriesInstanceUID"]
    assert reference.ReferencedImageSequence[0].ReferencedSOPInstanceUID == UIDS["SOPInstanceUID"]
    lower = one(presentation_states, film_of(), replace(OPTIONS, contour_level=0.25))
    assert lower.ContentDescription == "Heat map contours at 25 % of the maximum"
    assert lower.SOPInstanceUID != state.SOPInstanceUID


@pytest.mark.parametrize(
    ("bits", "film", "wanted", "shape"),
    [
        (8, {"WindowCenter": 100, "WindowWidth": 150}, (100, 150), "IDENTITY"),
        (8, {"WindowCenter": [100, 5], "WindowWidth": [150, 6]}, (100, 150), "IDENTITY"),
        (8, {"WindowCenter": 128, "WindowWidth": 0}, (128, 256), "IDENTITY"),
        (8, {"PhotometricInterpretation": "MONOCHROME1"}, (128, 256), "INVERSE"),
        (8, {"RescaleSlope": 2, "RescaleIntercept": -10}, (245.5, 511), "IDENTITY"),
        (8, {"VOILUTSequence": [range(0, 65536, 257), 16]}, None, "IDENTITY"),
        (12, {}, (2048, 4096), "IDENTITY"),
    ],
)
def test_a_presentation_state_shows_the_film_as_it_is(bits, film, wanted, shape):
    pixels = chest() if bits == 8 else chest().astype(np.uint16) * 16
    own = {name: lookup_table(*value) if name.endswith("Sequence") else value for name, value in film.items()}
    state = one(presentation_states, film_of(dicom(pixels, bits=bits, **UIDS, **own)))
    (voi,) = state.SoftcopyVOILUTSequence
    if wanted is None:
        assert voi.VOILUTSequence[0].LUTDescriptor == [256, 0, 16]
    else:
        assert (voi.WindowCenter, voi.WindowWidth) == wanted
    assert state.PresentationLUTShape == shape
    assert state.get("RescaleSlope") == film.get("RescaleSlope")
    area = state.DisplayedAreaSelectionSequence[0]
    assert area.DisplayedAreaBottomRightHandCorner == [96, 96]


@needs_dciodvfy
@pytest.mark.parametrize(
    "film",
    [
        {"VOILUTSequence": (range(0, 4096, 16), 12)},
        {"ModalityLUTSequence": (range(255, -1, -1), 16), "WindowCenter": 128, "WindowWidth": 200},
        {"RescaleSlope": 2.5, "RescaleIntercept": -1, "WindowCenter": 300, "WindowWidth": 400},
        {"WindowCenter": 128, "WindowWidth": 200, "VOILUTFunction": "SIGMOID"},
        {"PixelSpacing": [0.2, 0.1]},
        {"PixelAspectRatio": [2, 1]},
    ],
)
def test_other_hands_find_no_error_in_the_display(film, tmp_path):
    own = {name: lookup_table(*value) if name.endswith("Sequence") else value for name, value in film.items()}
    (made,) = objects(presentation_states, film_of(dicom(**UIDS, **own)))
    (tmp_path / "pr.dcm").write_bytes(made.data)
    assert complaints(tmp_path / "pr.dcm") == []


@pytest.mark.parametrize("kind", [parametric_maps, secondary_captures])
def test_loss_of_the_film_is_told_of_its_images(kind):
    own = {"LossyImageCompression": "01", "LossyImageCompressionRatio": 12.5}
    data = dicom(LossyImageCompressionMethod="ISO_10918_1", **own, **UIDS)
    made = one(kind, film_of(data))
    assert (made.LossyImageCompression, made.LossyImageCompressionRatio) == ("01", 12.5)
    assert one(kind, film_of()).LossyImageCompression == "00"


@pytest.mark.parametrize("kind", [parametric_maps, secondary_captures])
def test_words_of_the_film_that_are_no_terms_are_not_copied(kind):
    odd = {
        "LossyImageCompression": "01",
        "LossyImageCompressionRatio": [3.0, 4.0],
        "LossyImageCompressionMethod": "Maier, by hand",
        "PatientOrientation": ["L", "Maier"],
        "BurnedInAnnotation": "Maier",
    }
    (made,) = objects(kind, film_of(dicom(**odd, **UIDS)))
    assert b"Maier" not in made.data
    assert pydicom.dcmread(BytesIO(made.data)).LossyImageCompression == "01"


# --- captures


def test_a_capture_is_the_film_between_bands_of_text():
    """96 pixels become 768; where the map is not positive, the film is grey, and at its centre it has a colour."""
    made = one(secondary_captures, film_of(dicom(BurnedInAnnotation="NO", **UIDS)))
    assert (made.Columns, made.PhotometricInterpretation, made.ConversionType) == (768, "RGB", "WSD")
    assert (made.BurnedInAnnotation, made.Modality, made.BodyPartExamined) == ("NO", "OT", "CHEST")
    pixels = made.pixel_array
    top = int(np.flatnonzero((pixels[:, 384] == pixels[:, 384, :1]).all(axis=1) & (pixels[:, 384].sum(axis=1) > 0))[0])
    assert 20 < top < 60
    picture = pixels[top : top + 768]
    grey = picture[:, 700].astype(int)  # right of the middle cell
    assert (np.ptp(grey[256:400], axis=1) <= 1).all()
    centre = picture[384, 384].astype(int)
    assert centre[0] > centre[2] + 40
    assert (pixels[:top] == (255, 191, 0)).all(axis=2).any()
    assert (pixels[top + 768 :] == 255).all(axis=2).sum() > 200


def test_a_capture_of_a_film_with_high_pixels_has_square_ones():
    made = one(secondary_captures, film_of(dicom(chest()[:48], PixelSpacing=[0.2, 0.1], **UIDS)))
    assert made.Columns == 768
    assert made.Rows > 768


def test_the_warning_fits_above_a_narrow_film():
    """Of 32 x 400 pixels, which become 61 x 768."""
    pixels = one(secondary_captures, film_of(dicom(np.tile(chest()[:, :32], (5, 1))[:400], **UIDS))).pixel_array
    assert pixels.shape[1] == 480
    letters = np.flatnonzero((pixels[:40] == (255, 191, 0)).all(axis=2).any(axis=0))
    assert letters.min() < 20
    assert 300 < letters.max() < 470
    assert pixels[300, 240].any()
    assert not pixels[300, :200].any()


@pytest.mark.parametrize(("value", "wanted"), [("YES", "YES"), ("", None), ("perhaps", None)])
def test_what_is_burned_into_the_film_is_said_of_the_capture(value, wanted):
    assert one(secondary_captures, film_of(dicom(BurnedInAnnotation=value, **UIDS))).get("BurnedInAnnotation") == wanted


def test_a_capture_without_positive_evidence_is_the_film_and_says_so():
    with_map, without = (one(secondary_captures, film_of(maps={"Mass": values})) for values in (MAP, -np.abs(MAP)))
    assert without.Rows < with_map.Rows  # no colour scale
    assert (np.ptp(without.pixel_array[100:700].astype(int), axis=2) == 0).all()


# --- all kinds


@needs_dciodvfy
@pytest.mark.parametrize("patient", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_other_hands_find_no_error(kind, patient, tmp_path):
    data = dicom(**UIDS, **PERSON, BodyPartExamined="CHEST", PixelSpacing=[0.1, 0.1])
    film = film_of(data, source=read_source(data, with_patient=patient), maps={"Mass": MAP, "Hernia": MAP})
    for made in objects(kind, film):
        path = tmp_path / f"{made.uid}.dcm"
        path.write_bytes(made.data)
        assert complaints(path) == []


@pytest.mark.usefixtures("small_captures")
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_scores_give_the_same_object_and_others_another(kind):
    film = film_of()
    (made,) = objects(kind, film)
    assert objects(kind, film_of())[0].data == made.data
    later = replace(film, algorithm=replace(film.algorithm, created=datetime(2026, 5, 6, tzinfo=UTC)))
    (again,) = objects(kind, later)
    assert (again.uid, again.data == made.data) == (made.uid, False)
    read = pydicom.dcmread(BytesIO(made.data))
    assert (read.SOPInstanceUID, read.file_meta.MediaStorageSOPInstanceUID) == (made.uid, made.uid)
    others = [
        film_of(maps={"Hernia": MAP}),
        film_of(maps={"Mass": MAP * 1.5 + 0.1}),
        replace(film, algorithm=replace(film.algorithm, model="cd" * 32)),
        replace(film, source=replace(film.source, instance="1.2.826.1.4")),
        replace(film, source=replace(film.source, patient={"PatientID": "7"})),
    ]
    found = {objects(kind, other)[0].uid for other in others}
    assert len(found | {made.uid}) == 6
    series = {pydicom.dcmread(BytesIO(objects(kind, other)[0].data)).SeriesInstanceUID for other in others}
    assert len(series) == 2  # one for each model


def test_each_kind_has_a_series_of_its_own():
    read = [one(kind, film_of()) for kind in KINDS]
    assert len({made.SeriesInstanceUID for made in read}) == 3
    assert {int(made.SeriesNumber) for made in read} == {
        OBJECT_KINDS[name].series_number for name in ("pm", "sc", "pr")
    }


@pytest.mark.parametrize("kind", KINDS)
def test_every_value_has_the_form_of_its_kind(kind):
    data = dicom(**UIDS, **PERSON)
    (made,) = objects(kind, film_of(data, source=read_source(data, with_patient=True)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pydicom.config.settings.reading_validation_mode = pydicom.config.RAISE
        try:
            read = pydicom.dcmread(BytesIO(made.data))
            assert len(list(read.iterall())) > 50
        finally:
            pydicom.config.settings.reading_validation_mode = pydicom.config.WARN
    assert {name: str(read.get(name)) for name in PATIENT if name in PERSON} == {
        name: PERSON[name] for name in PATIENT if name in PERSON
    }


@pytest.mark.parametrize("kind", KINDS)
def test_maps_that_are_not_finite_are_left_out(kind):
    broken = MAP.copy()
    broken[0, 0] = NAN
    assert objects(kind, film_of(maps={"Mass": broken})) == [LeftOut("the map has values that are not finite")]


@pytest.mark.parametrize("kind", KINDS)
def test_a_film_whose_place_in_the_square_is_unknown_is_told(kind):
    with pytest.raises(SourceError, match="does not say how films became the squares"):
        objects(kind, film_of(preprocessing=None))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("elements", "told"),
    [({"Rows": ""}, "no size|has no"), ({"Rows": [3, 4]}, "no size"), ({"Columns": 0}, "no size")],
)
def test_a_film_without_a_size_is_told(kind, elements, told):
    with pytest.raises(SourceError, match=told):
        objects(kind, film_of(dicom(**UIDS, **elements)))


ODD_NAMES = {
    "control": "a\\b\x1b",
    "umlaut": "Ödem",
    "no-text": "\udcff",
    "long": "x" * 300,
    "chinese": "肺炎",
    "signs": "%-/",
}


@pytest.mark.usefixtures("small_captures")
@pytest.mark.parametrize("finding", ODD_NAMES.values(), ids=ODD_NAMES)
@pytest.mark.parametrize("kind", KINDS)
def test_odd_names_of_findings_are_written(kind, finding):
    scores = FilmScores(sha256="ab" * 32, probs={finding: 0.001}, thresholds={finding: None})
    (made,) = objects(kind, film_of(maps={finding: MAP}, scores=scores, explainer=""))
    assert pydicom.dcmread(BytesIO(made.data)).SOPInstanceUID == made.uid


def test_the_preprocessing_of_a_provenance_is_checked():
    def told(*several):
        return preprocessing_of({"models": [{"document": {"preprocessing": one}} for one in several]})

    good = {"size": 224, "fit": "pad", "resize": "area"}
    assert told(good, {**good, "size": 64}) == Preprocessing(size=224, fit="pad")
    for odd in ([], [good, {**good, "fit": "crop"}], [{**good, "size": "large"}], [{}], [7], [None]):
        assert told(*odd) is None


# --- the export


@pytest.fixture
def folder(tmp_path, small_captures):
    films = tmp_path / "films"
    films.mkdir()
    for name, instance in (("a.dcm", "1.2.826.1.3"), ("b.dcm", "1.2.826.1.4")):
        (films / name).write_bytes(dicom(**PERSON, **OTHERS, **{**UIDS, "SOPInstanceUID": instance}))
    return tmp_path


def scores(folder, maps=None, **changed):
    """Mass of the first film is above its threshold; the second film has no finding above one."""
    places = ((0, 0), (0, 1), (1, 0), (1, 1)) if maps is None else maps
    model = {"document": {"preprocessing": Preprocessing(size=32).as_dict(), "spec": {"architecture": "tinycnn"}}}
    given = {
        "prob": ((0.25, 0.5), (0.1, 0.3)),
        "sha256": tuple(sha256_bytes((folder / "films" / name).read_bytes()) for name in ("a.dcm", "b.dcm")),
        "heat_maps": HeatMaps(
            map=np.array([MAP] * len(places), np.float16).reshape(-1, 3, 3),
            film=np.array([film for film, _ in places], np.int32),
            finding=np.array([finding for _, finding in places], np.int16),
        ),
        "provenance": {"created": "2026-01-02T03:04:05+02:00", "models": [model], "explainer": {"name": "grad-cam"}},
    }
    return few_scores(["a.dcm", "b.dcm"], **{**given, **changed})


def export(folder, given=None, **options):
    wanted = ExportOptions(
        **{"output": folder / "out", "kind": "dicom", "films": folder / "films", "overwrite": True, **options}
    )
    return export_scores(scores(folder) if given is None else given, wanted)


def findings(folder):
    return sorted(
        (read.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0])[
            "ReferencedSOPInstanceUID"
        ].value[-1]
        + read.ContentDescription.rpartition(" ")[2]
        for read in map(pydicom.dcmread, (folder / "out").iterdir())
    )


def test_all_kinds_are_written_and_copy_the_patient(folder):
    result = export(folder)
    assert (result.failed, result.films) == ((), 2)
    assert {name: result.objects[name] for name in ("sr", "pm", "sc", "pr")} == {"sr": 2, "pm": 2, "sc": 2, "pr": 2}
    files = [pydicom.dcmread(path) for path in (folder / "out").iterdir()]
    assert len(files) == result.files
    assert {str(file.PatientID) for file in files} == {"MRN-778899"}
    assert {file.StudyInstanceUID for file in files} == {UIDS["StudyInstanceUID"]}
    for path in (folder / "out").iterdir():
        data = path.read_bytes()
        assert not [word for word in OTHERS.values() if word.encode() in data]


def test_without_patient_leaves_all_kinds_empty(folder):
    export(folder, with_patient=False)
    for path in (folder / "out").iterdir():
        read = pydicom.dcmread(path)
        assert not any(read.get(name) for name in PATIENT), path
        for word in (*OTHERS.values(), "Zacharias", "MRN-778899", "S-4711", "ACC-0815", "19480503", "berweiser"):
            assert word.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    ("maps_of", "wanted"),
    [
        ((), ["3Mass", "4Edema"]),  # above the threshold 0.2; else the highest probability
        (("above-threshold",), ["3Mass", "4Edema"]),
        (("all",), ["3Edema", "3Mass", "4Edema", "4Mass"]),
        (("Edema",), ["3Edema", "4Edema"]),
        (("Mass", "Edema"), ["3Edema", "3Mass", "4Edema", "4Mass"]),
    ],
)
def test_the_findings_that_get_maps(folder, maps_of, wanted):
    export(folder, objects=("pm",), maps_of=maps_of)
    assert findings(folder) == wanted


def test_of_findings_with_a_known_prevalence_the_least_expected_is_chosen(folder):
    """0.3 of Edema with a prevalence of 0.5 is less than expected, 0.1 of Mass with 0.01 is far more."""
    line = {"method": "platt", "slope": [1.0] * 2, "intercept": [0.0] * 2, "prevalence": [0.01, 0.5]}
    given = scores(folder)
    document = {**given.provenance["models"][0]["document"], "calibration": line}
    document["spec"] = {"findings": ["Mass", "Edema"], "architecture": "tinycnn"}
    export(folder, replace(given, provenance={"models": [{"document": document}]}), objects=("pm",))
    assert findings(folder) == ["3Mass", "4Mass"]


def test_findings_without_a_map_are_counted(folder):
    result = export(folder, scores(folder, maps=((0, 1), (1, 1))), objects=("pm",))
    assert (result.objects, list(result.left_out.values())) == ({"pm": 1}, [1])
    assert "--heatmaps" in next(iter(result.left_out))
    with pytest.raises(InputError, match="has no heat maps"):
        export(folder, scores(folder, maps=()), objects=("pm", "sc"))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"objects": ("ct",)}, "no DICOM object 'ct'; expected sr, pm"),
        ({"maps_of": ("Hernia",)}, "no finding Hernia"),
        ({"maps_of": ("all", "Mass")}, "stands alone"),
        ({"contour_level": 1.0}, "between 0 and 1"),
        ({"contour_level": NAN}, "between 0 and 1"),
        ({"kind": "dicom-sr", "objects": ("pm",)}, "--objects has no meaning"),
        ({"kind": "csv", "films": None, "maps_of": ("all",)}, "--maps-of has no meaning"),
        ({"kind": "csv", "films": None, "with_patient": False}, "--with-patient has no meaning"),
    ],
)
def test_mistakes_of_options_are_told(folder, options, told):
    with pytest.raises(InputError, match=told):
        export(folder, **options)


def test_names_of_objects_are_parsed_in_the_order_of_the_table():
    assert parse_objects("pr, sr") == ("sr", "pr")
    for text in ("", "sr,,pm", "SR"):
        with pytest.raises(InputError, match="no DICOM object"):
            parse_objects(text)


def test_a_bad_film_fails_alone_with_its_reason(folder, capfd):
    bad = dicom(**{**PERSON, **UIDS, "SOPInstanceUID": "1.2.826.1.4", "PatientID": ["MRN-1", "MRN-2"]})
    (folder / "films" / "b.dcm").write_bytes(bad)
    result = export(folder)
    assert result.failed == (("b.dcm", "its PatientID has several values, expected one"),)
    assert result.films == 1
    assert "MRN" not in "".join(capfd.readouterr())


def test_a_kind_that_a_film_cannot_have_leaves_the_others(folder):
    """A film that lost its pixels after it was scored is no film of this file; one with odd pixels has no capture."""
    data = dicom(**{**PERSON, **UIDS, "PhotometricInterpretation": "RGB"})
    (folder / "films" / "a.dcm").write_bytes(data)
    result = export(folder)
    assert [(name, reason.partition(":")[0]) for name, reason in result.failed] == [
        ("a.dcm", "no Secondary Capture"),
        ("a.dcm", "no Grayscale Softcopy Presentation State"),
    ]
    assert (result.films, result.objects["sr"], result.objects["pm"]) == (2, 2, 2)


@pytest.mark.parametrize(
    ("charset", "name"),
    [("ISO_IR 192", "山田^太郎"), ("\\ISO 2022 IR 87", "Yamada^Tarou=山田^太郎=やまだ^たろう")],
)
def test_names_of_any_character_set_become_utf8(folder, charset, name):
    own = {"SpecificCharacterSet": charset.split("\\"), "PatientName": name, "ReferringPhysicianName": "A"}
    data = dicom(**{**PERSON, **UIDS, **own})
    (folder / "films" / "a.dcm").write_bytes(data)
    export(folder, objects=("pr",))
    found = {str(pydicom.dcmread(path).PatientName) for path in (folder / "out").iterdir()}
    assert found == {name, PERSON["PatientName"]}


@pytest.mark.slow
@pytest.mark.shared
def test_real_films_have_all_kinds(shared, tmp_path):
    films = shared / "data" / "dicom"
    names = sorted(path.name for path in films.glob("*.dcm") if not path.name.startswith(("RG2", "RG3")))
    given = few_scores(
        names,
        prob=[[0.5, 0.1]] * len(names),
        sha256=tuple(sha256_bytes((films / name).read_bytes()) for name in names),
        heat_maps=HeatMaps(
            map=np.array([MAP] * len(names), np.float16),
            film=np.arange(len(names), dtype=np.int32),
            finding=np.zeros(len(names), np.int16),
        ),
        provenance={"models": [{"document": {"preprocessing": Preprocessing(size=512, fit="pad").as_dict()}}]},
    )
    result = export_scores(given, ExportOptions(output=tmp_path / "out", kind="dicom", films=films))
    assert (result.failed, {result.objects[name] for name in ("sr", "pm", "sc", "pr")}) == ((), {6})
    paths = sorted((tmp_path / "out").iterdir())
    # One of these films is another with MONOCHROME1 for MONOCHROME2: their Parametric Maps are one object.
    assert len(paths) == result.files - 1
    if PROGRAM is not None:
        assert [line for path in paths for line in complaints(path)] == []
