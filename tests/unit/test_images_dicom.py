"""DICOM films: the display chain against hand-worked values and pydicom's own, and what is refused."""

import sys
import warnings
from io import BytesIO
from typing import Any

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")
imagecodecs = pytest.importorskip("imagecodecs")
from pydicom.dataset import Dataset, FileMetaDataset  # noqa: E402
from pydicom.encaps import encapsulate  # noqa: E402
from pydicom.pixels import apply_modality_lut, apply_voi, apply_windowing  # noqa: E402
from pydicom.sequence import Sequence  # noqa: E402
from pydicom.uid import (  # noqa: E402
    JPEG2000,
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from cxrscore.images import Film, Status, decode_film, dicom  # noqa: E402

SIDE = 40


@pytest.fixture(autouse=True)
def _any_value_may_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.IGNORE)
    monkeypatch.setattr(pydicom.config.settings, "writing_validation_mode", pydicom.config.IGNORE)


def ramp(bits: int, dtype: type = np.uint16, low: int = 0) -> np.ndarray:
    """Every film has all its values, lowest first."""
    return np.linspace(low, low + 2**bits - 1, SIDE * SIDE).round().astype(dtype).reshape(SIDE, SIDE)


def dataset(pixels: np.ndarray, bits: int, **elements: Any) -> Dataset:
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", "1.2.3"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = "SECRET^NAME", "SECRET-ID", "19000101"
    ds.Modality, ds.PhotometricInterpretation = "DX", "MONOCHROME2"
    ds.Rows, ds.Columns = pixels.shape
    ds.SamplesPerPixel = 1
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = pixels.itemsize * 8, bits, bits - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    ds.PixelData = pixels.tobytes()
    for name, value in elements.items():
        setattr(ds, name, value)
    return ds


def written(ds: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds["PixelData"].VR = "OB" if ds.BitsAllocated == 8 or syntax not in NATIVE else "OW"
    out = BytesIO()
    pydicom.dcmwrite(out, ds, enforce_file_format=True)
    return out.getvalue()


NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)


def decoded(pixels: np.ndarray, bits: int, **elements: Any) -> Film:
    return decode_film(written(dataset(pixels, bits, **elements)))


def test_plain_8_bit_film_is_left_as_it_is() -> None:
    film = decoded(ramp(8, np.uint8), 8, ViewPosition="PA")
    assert (film.status, film.message, film.kind, film.modality, film.view) == (Status.OK, "", "dicom", "DX", "PA")
    assert (film.width, film.height) == (SIDE, SIDE)
    assert film.pixels is not None
    assert film.pixels.dtype == np.uint8
    np.testing.assert_array_equal(film.pixels, ramp(8, np.uint8))


def test_stored_bits_are_spread_over_16() -> None:
    film = decoded(ramp(10), 10)
    assert film.pixels is not None
    assert film.pixels.dtype == np.uint16
    np.testing.assert_array_equal(film.pixels, np.rint(ramp(10) / 1023 * 65535))


@pytest.mark.parametrize(("bits", "dtype", "full"), [(8, np.uint8, 255), (12, np.uint16, 65535)])
def test_monochrome1_is_inverted(bits: int, dtype: type, full: int) -> None:
    film = decoded(ramp(bits, dtype), bits, PhotometricInterpretation="MONOCHROME1")
    straight = decoded(ramp(bits, dtype), bits)
    assert film.message == "inverted"
    np.testing.assert_array_equal(film.pixels, full - straight.pixels)


def test_signed_values_reach_from_black_to_white() -> None:
    film = decoded(ramp(12, np.int16, -2048), 12)
    np.testing.assert_array_equal(film.pixels, np.rint((ramp(12, np.int16, -2048) + 2048.0) / 4095 * 65535))


def test_overlays_in_unused_bits_are_dropped() -> None:
    np.testing.assert_array_equal(decoded(ramp(10) | 0xF000, 10).pixels, decoded(ramp(10), 10).pixels)


def test_linear_window_by_hand() -> None:
    # PS3.3 C.11.2.1.2.1, centre 100 and width 11: black up to 94.5, white from 104.5, 99.5 in the middle.
    film = decoded(ramp(10), 10, WindowCenter=100, WindowWidth=11)
    assert film.message == "VOI window"
    shown = {int(stored): int(pixel) for stored, pixel in zip(ramp(10).flat, film.pixels.flat, strict=True)}
    expected = {94: 0, 95: 3277, 99: 29491, 100: 36044, 104: 62258, 105: 65535, 1023: 65535}
    assert {stored: shown[stored] for stored in expected} == expected


def shown_by_pydicom(ds: Dataset, low: float, high: float) -> np.ndarray:
    """pydicom's display chain, its output range low..high brought to 0..65535."""
    values = apply_modality_lut(ds.pixel_array, ds)
    values = apply_voi(values.astype(np.int64), ds) if "VOILUTSequence" in ds else apply_windowing(values, ds)
    return (values.astype(np.float64) - low) / (high - low) * 65535


WINDOWS = [
    {"WindowCenter": 512, "WindowWidth": 300},
    {"WindowCenter": [512, 40], "WindowWidth": [300, 80]},
    {"WindowCenter": 512, "WindowWidth": 300, "VOILUTFunction": "LINEAR_EXACT"},
    {"WindowCenter": 512, "WindowWidth": 60, "VOILUTFunction": "SIGMOID"},
    {"WindowCenter": 20, "WindowWidth": 500, "RescaleSlope": 0.5, "RescaleIntercept": -200},
    {"RescaleSlope": 0.5, "RescaleIntercept": -200},
    {"RescaleSlope": 1, "RescaleIntercept": 0},
]


@pytest.mark.parametrize("elements", WINDOWS)
def test_display_chain_agrees_with_pydicom(elements: dict[str, Any]) -> None:
    ds = pydicom.dcmread(BytesIO(written(dataset(ramp(10), 10, **elements))))
    film = decoded(ramp(10), 10, **elements)
    slope, intercept = elements.get("RescaleSlope", 1), elements.get("RescaleIntercept", 0)
    np.testing.assert_allclose(film.pixels, shown_by_pydicom(ds, intercept, 1023 * slope + intercept), atol=0.6)


def lookup_table(values: list[int], first: int, bits: int) -> Sequence:
    item = Dataset()
    item.LUTDescriptor = [len(values), first, bits]
    item.LUTData = values
    item["LUTDescriptor"].VR = item["LUTData"].VR = "US"
    return Sequence([item])


def test_voi_lut_by_hand_and_by_pydicom() -> None:
    table = [0, 10, 1000, 4095]
    ds = dataset(ramp(10), 10, VOILUTSequence=lookup_table(table, 100, 12), WindowCenter=9, WindowWidth=9)
    film = decode_film(written(ds))
    assert film.message == "VOI LUT"  # and not the window beside it
    shown = {int(stored): int(pixel) for stored, pixel in zip(ramp(10).flat, film.pixels.flat, strict=True)}
    assert [shown[v] for v in (0, 100, 101, 102, 103, 1023)] == [0, 0, 160, 16004, 65535, 65535]
    read = pydicom.dcmread(BytesIO(written(ds)))
    np.testing.assert_allclose(film.pixels, shown_by_pydicom(read, 0, 4095), atol=0.6)


def test_modality_lut_comes_before_the_window() -> None:
    table = lookup_table(list(range(1023, -1, -1)), 0, 10)  # turns the values round
    film = decoded(ramp(10), 10, ModalityLUTSequence=table, WindowCenter=100, WindowWidth=11)
    plain = decoded(1023 - ramp(10), 10, WindowCenter=100, WindowWidth=11)
    assert film.message == "modality LUT, VOI window"
    np.testing.assert_array_equal(film.pixels, plain.pixels)


def test_a_lut_shorter_than_its_descriptor_is_damage() -> None:
    table = lookup_table([0, 1, 2], 0, 10)
    table[0].LUTDescriptor = [400, 0, 10]
    assert decoded(ramp(10), 10, VOILUTSequence=table).status == Status.DAMAGED


@pytest.mark.parametrize(
    ("center", "width", "reason"),
    [
        (100, 0, "width 0"),
        (100, -5, "negative width"),
        (100, 0.5, "width below 1"),
        (100, "1e300", "out of range"),
        ("1e31", 10, "out of range"),
        (100, "NaN", "not a number"),
        ("NaN", 10, "not a number"),
        (100, None, "no width"),
        (None, 100, "no center"),
    ],
)
def test_a_window_that_means_nothing_is_passed_over(center: Any, width: Any, reason: str) -> None:
    film = decoded(ramp(10), 10, WindowCenter=center, WindowWidth=width)
    assert (film.status, film.message) == (Status.OK, f"VOI window ignored: {reason}")
    np.testing.assert_array_equal(film.pixels, decoded(ramp(10), 10).pixels)


def test_a_window_of_text_is_passed_over() -> None:
    data = written(dataset(ramp(10), 10, WindowCenter=100, WindowWidth="12345"))
    film = decode_film(data.replace(b"12345", b"12_AB"))
    assert (film.status, film.message) == (Status.OK, "VOI window ignored: not a number")


def test_the_first_window_that_means_something_counts() -> None:
    film = decoded(ramp(10), 10, WindowCenter=[100, 90, 512], WindowWidth=[0, 0, 300])
    assert film.message == "VOI window ignored: width 0, VOI window"
    np.testing.assert_array_equal(film.pixels, decoded(ramp(10), 10, WindowCenter=512, WindowWidth=300).pixels)


@pytest.mark.parametrize("missing", [{"WindowCenter": None, "WindowWidth": None}, {}])
def test_no_window_needs_no_note(missing: dict[str, Any]) -> None:
    assert decoded(ramp(10), 10, **missing).message == ""


@pytest.mark.parametrize(
    "window",
    [
        {"WindowCenter": 50000, "WindowWidth": 100},  # all black
        {"WindowCenter": -5000, "WindowWidth": 100},  # all white
        {"WindowCenter": 32768, "WindowWidth": 65536},  # nearly black
        {"WindowCenter": 512, "WindowWidth": 1e9},  # all grey
        {"WindowCenter": 32768, "WindowWidth": 65536, "VOILUTFunction": "linear_exact "},
        {"WindowCenter": 512, "WindowWidth": 20000, "VOILUTFunction": "SIGMOID"},
    ],
)
def test_a_window_that_does_not_show_the_film_is_passed_over(window: dict[str, Any]) -> None:
    film = decoded(ramp(10), 10, **window)
    assert (film.status, film.message) == (Status.OK, "VOI window ignored: it contradicts the pixels")
    np.testing.assert_array_equal(film.pixels, decoded(ramp(10), 10).pixels)


def test_a_voi_lut_that_does_not_show_the_film_yields_to_the_window() -> None:
    elements = {"VOILUTSequence": lookup_table([0, 4095], 5000, 12), "WindowCenter": 512, "WindowWidth": 300}
    film = decoded(ramp(10), 10, **elements)
    assert film.message == "VOI LUT ignored: it contradicts the pixels, VOI window"
    np.testing.assert_array_equal(film.pixels, decoded(ramp(10), 10, WindowCenter=512, WindowWidth=300).pixels)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless])
@pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (12, np.uint16)])
def test_syntaxes_that_pydicom_decodes(syntax: str, bits: int, dtype: type) -> None:
    ds = dataset(ramp(bits, dtype), bits)
    if syntax == RLELossless:
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.compress(RLELossless, generate_instance_uid=False)
        data = written(ds, RLELossless)
    elif syntax == ExplicitVRBigEndian:
        swapped = ds.PixelData if bits == 8 else ramp(bits, dtype).astype(">u2").tobytes()
        ds.PixelData = swapped
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = syntax
        ds["PixelData"].VR = "OB" if bits == 8 else "OW"
        out = BytesIO()
        pydicom.dcmwrite(out, ds, implicit_vr=False, little_endian=False, enforce_file_format=True)
        data = out.getvalue()
    else:
        data = written(ds, syntax)
    film = decode_film(data)
    assert film.status == Status.OK
    np.testing.assert_array_equal(film.pixels, decoded(ramp(bits, dtype), bits).pixels)


CODECS = [
    (JPEG2000Lossless, lambda a: imagecodecs.jpeg2k_encode(a, reversible=True, codecformat="j2k"), 0),
    (JPEGLSLossless, imagecodecs.jpegls_encode, 0),
    (JPEGLosslessSV1, lambda a: imagecodecs.jpeg8_encode(a, lossless=True, predictor=1), 0),
    (JPEGLSNearLossless, lambda a: imagecodecs.jpegls_encode(a, level=2), 2),
    (JPEG2000, lambda a: imagecodecs.jpeg2k_encode(a, level=60, codecformat="j2k"), 12),
    (JPEGBaseline8Bit, lambda a: imagecodecs.jpeg8_encode(a, level=95), 6),
]


def compressed(frame: bytes, syntax: str, pixels: np.ndarray, bits: int = 8, **elements: Any) -> bytes:
    ds = dataset(pixels, bits, **elements)
    ds.PixelData = encapsulate([frame])
    ds["PixelData"].is_undefined_length = True
    return written(ds, syntax)


@pytest.mark.parametrize(("syntax", "encode", "loss"), CODECS)
def test_compressed_frames(syntax: str, encode: Any, loss: int) -> None:
    pixels = ramp(8, np.uint8)
    film = decode_film(compressed(encode(pixels), syntax, pixels))
    assert film.status == Status.OK
    assert np.abs(film.pixels.astype(int) - pixels).max() <= loss


@pytest.mark.parametrize(("syntax", "encode", "loss"), CODECS)
def test_compressed_frames_that_are_cut_or_of_another_size(syntax: str, encode: Any, loss: int) -> None:
    pixels = ramp(8, np.uint8)
    frame = encode(pixels)
    assert decode_film(compressed(frame[: len(frame) * 2 // 3], syntax, pixels)).status == Status.DAMAGED
    assert decode_film(compressed(frame, syntax, pixels, Rows=SIDE + 1)).status == Status.DAMAGED


def test_compressed_16_bit_signed_film() -> None:
    pixels = ramp(12, np.int16, -2048)
    frame = imagecodecs.jpegls_encode((pixels & 0xFFF).astype(np.uint16))  # as the standard stores signed values
    film = decode_film(compressed(frame, JPEGLSLossless, pixels, bits=12))
    np.testing.assert_array_equal(film.pixels, decoded(pixels, 12).pixels)


def test_a_lossy_codec_that_overshoots_stays_white() -> None:
    pixels = ramp(10)
    frame = imagecodecs.jpegls_encode(np.where(pixels == 1023, 1030, pixels).astype(np.uint16))
    film = decode_film(compressed(frame, JPEGLSLossless, pixels, bits=10))
    np.testing.assert_array_equal(film.pixels, decoded(pixels, 10).pixels)


def test_film_without_preamble_and_meta() -> None:
    ds = dataset(ramp(10), 10)
    ds["PixelData"].VR = "OW"
    for implicit in (True, False):
        out = BytesIO()
        pydicom.dcmwrite(out, ds, implicit_vr=implicit, little_endian=True)
        assert out.getvalue()[:2] == b"\x08\x00"
        film = decode_film(out.getvalue())
        assert film.status == Status.OK
        np.testing.assert_array_equal(film.pixels, decoded(ramp(10), 10).pixels)


@pytest.mark.parametrize(
    ("elements", "status", "message"),
    [
        ({"Modality": "CT"}, Status.NOT_CHEST, "modality CT, expected one of CR, DX, RG"),
        ({"Modality": None}, Status.NOT_CHEST, "modality unknown"),
        ({"BodyPartExamined": "HIP"}, Status.NOT_CHEST, "another body part"),
        ({"BodyPartExamined": "Left_Foot"}, Status.NOT_CHEST, "another body part"),
        ({"BodyPartExamined": "CHEST"}, Status.OK, ""),
        ({"BodyPartExamined": "CHEST ABDOMEN"}, Status.OK, ""),
        ({"BodyPartExamined": "THORAX"}, Status.OK, ""),
        ({"BodyPartExamined": ""}, Status.OK, ""),
        ({"BodyPartExamined": "CHARM"}, Status.OK, ""),  # holds ARM, but not as a word
        ({"NumberOfFrames": 2}, Status.SEVERAL_FRAMES, "2 frames"),
        ({"NumberOfFrames": 1}, Status.OK, ""),
        ({"PhotometricInterpretation": "RGB"}, Status.UNSUPPORTED, "DICOM in colour (RGB), expected MONOCHROME1 or"),
        ({"PhotometricInterpretation": "YBR_FULL_422"}, Status.UNSUPPORTED, "DICOM in colour (YBR_FULL_422)"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, Status.UNSUPPORTED, "DICOM with a colour palette"),
        ({"PhotometricInterpretation": "DOE^JOHN"}, Status.UNSUPPORTED, "unknown Photometric Interpretation"),
        ({"PhotometricInterpretation": None}, Status.UNSUPPORTED, "Photometric Interpretation (0028,0004) is missing"),
        ({"PhotometricInterpretation": ""}, Status.UNSUPPORTED, "Photometric Interpretation (0028,0004) is missing"),
        ({"PhotometricInterpretation": "monochrome2"}, Status.OK, ""),
        ({"PhotometricInterpretation": " Monochrome1 "}, Status.OK, "inverted"),
        ({"PhotometricInterpretation": "MONOCHROME1\0"}, Status.OK, "inverted"),
        ({"PhotometricInterpretation": "MONOCHROME 2"}, Status.OK, ""),
        ({"SamplesPerPixel": 3}, Status.DAMAGED, "3 samples per pixel contradict MONOCHROME2, expected 1"),
        ({"SamplesPerPixel": None}, Status.OK, ""),
        ({"PixelRepresentation": 7}, Status.DAMAGED, "Pixel Representation 7, expected 0 or 1"),
        ({"PixelData": bytes(3 * 2 * SIDE * SIDE)}, Status.SEVERAL_FRAMES, "several frames"),
        ({"PixelData": bytes(2 * SIDE * SIDE - 2)}, Status.DAMAGED, "3,198 bytes of pixels, expected 3,200"),
        ({"Rows": 31}, Status.TOO_SMALL, "31"),
        ({"Rows": 60000, "Columns": 60000}, Status.TOO_LARGE, "60000"),
        ({"BitsAllocated": 32}, Status.UNSUPPORTED, "bits"),
        ({"BitsAllocated": 12}, Status.UNSUPPORTED, "10 bits stored in 12, expected up to 8 in 8 or 16 in 16"),
        ({"HighBit": 8}, Status.UNSUPPORTED, "10 bits stored in 16 with high bit 8, expected 9"),
        ({"HighBit": 16}, Status.UNSUPPORTED, "10 bits stored in 16 with high bit 16, expected 9"),
        ({"BitsStored": None}, Status.DAMAGED, "Bits Stored is missing"),
        ({"BitsAllocated": None}, Status.DAMAGED, "Bits Allocated is missing"),
        ({"Rows": None}, Status.DAMAGED, "Rows is missing"),
        ({"Columns": None}, Status.DAMAGED, "Columns is missing"),
        ({"Rows": [40, 40]}, Status.DAMAGED, "TypeError"),
        ({"RescaleSlope": 0, "RescaleIntercept": 5}, Status.OK, "rescale slope 0 ignored"),
    ],
)
def test_what_is_refused_and_why(elements: dict[str, Any], status: Status, message: str) -> None:
    film = decoded(ramp(10), 10, **elements)
    assert film.status == status
    assert message in film.message


def test_any_modality_may_be_asked_for() -> None:
    data = written(dataset(ramp(10), 10, Modality="MR", BodyPartExamined="HIP"))
    film = decode_film(data, any_modality=True)
    assert (film.status, film.modality) == (Status.OK, "MR")


def test_without_pixels_it_is_damaged() -> None:
    ds = dataset(ramp(10), 10)
    del ds.PixelData
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = BytesIO()
    pydicom.dcmwrite(out, ds, enforce_file_format=True)
    assert decode_film(out.getvalue()).message == "DICOM without pixels: they are missing, or truncated"


def test_deflated_film() -> None:
    data = written(dataset(ramp(10), 10), DeflatedExplicitVRLittleEndian)
    film = decode_film(data)
    assert (film.status, film.message) == (Status.OK, "")
    np.testing.assert_array_equal(film.pixels, decoded(ramp(10), 10).pixels)
    assert decode_film(data + b"\0").status == Status.OK  # a pad byte to an even length
    cut = decode_film(data[:-20])
    assert (cut.status, "deflated data set is truncated" in cut.message) == (Status.DAMAGED, True)


def test_a_deflated_film_is_inflated_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    data = written(dataset(ramp(10), 10), DeflatedExplicitVRLittleEndian)
    monkeypatch.setattr(dicom, "MAX_BYTES", 1000)
    monkeypatch.setattr(pydicom, "dcmread", None)  # would raise if it were called
    film = decode_film(data)
    assert (film.status, film.message) == (Status.TOO_LARGE, "more than 1,000 bytes when inflated")


def test_text_that_looks_like_the_deflated_syntax_is_only_text() -> None:
    film = decoded(ramp(10), 10, SeriesInstanceUID="1.2.840.10008.1.2.1.99")
    assert (film.status, film.message) == (Status.OK, "")


def test_unknown_syntax_is_unsupported() -> None:
    film = decode_film(compressed(b"\0" * 10, MPEG2MPML, ramp(8, np.uint8)))
    assert (film.status, MPEG2MPML in film.message) == (Status.UNSUPPORTED, True)


@pytest.mark.parametrize("module", ["pydicom", "imagecodecs"])
def test_a_missing_module_names_its_remedy(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = compressed(imagecodecs.jpegls_encode(ramp(8, np.uint8)), JPEGLSLossless, ramp(8, np.uint8))
    monkeypatch.setitem(sys.modules, module, None)
    film = decode_film(data)
    assert (film.status, film.message) == (Status.UNSUPPORTED, f"this DICOM film needs {module}: {dicom.INSTALL}")


@pytest.mark.parametrize(
    "elements",
    [
        {},
        {"Modality": "SECRET^MOD"},
        {"BodyPartExamined": "SECRET HIP"},
        {"WindowWidth": 0, "WindowCenter": 0},
        {"SpecificCharacterSet": "SECRET SET"},
    ],
)
def test_nothing_of_the_patient_comes_out(
    elements: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        data = written(dataset(ramp(10), 10, **{"ViewPosition": "SECRET^VIEW", **elements}))
        monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.WARN)
        dicom._silence_pydicom.cache_clear()
        caplog.clear()
        warned.clear()
        film = decode_film(data)
    assert "SECRET" in data.decode("latin-1")
    assert "SECRET" not in repr(film) + caplog.text + repr([str(warning.message) for warning in warned])
    assert film.view == ""
