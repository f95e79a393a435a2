"""Whatever the bytes, a film is a status and never an exception."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrscore.images import Status, decode_film, find_films

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 48), dtype=np.uint8)


def encoded(suffix: str) -> bytes:
    return bytes(cv2.imencode(suffix, PIXELS)[1])


def dicom() -> bytes:
    pydicom = pytest.importorskip("pydicom")
    ds = pydicom.Dataset()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", "1.2.3"
    ds.Modality, ds.PhotometricInterpretation, ds.SamplesPerPixel = "CR", "MONOCHROME1", 1
    ds.Rows, ds.Columns = PIXELS.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    ds.WindowCenter, ds.WindowWidth, ds.RescaleSlope, ds.RescaleIntercept = 120, 200, 1.5, -3
    ds.PixelData = PIXELS.tobytes()
    ds["PixelData"].VR = "OB"
    out = io.BytesIO()
    pydicom.dcmwrite(out, ds, enforce_file_format=True)
    return out.getvalue()


def assert_sound(data: bytes) -> Status:
    film = decode_film(data)
    assert film.status not in (Status.NOT_WRITTEN, Status.UNREADABLE)
    assert (film.pixels is not None) == (film.status == Status.OK)
    assert film.message or film.status == Status.OK
    if film.pixels is not None:
        assert film.pixels.shape == (film.height, film.width)
        assert film.pixels.dtype in (np.uint8, np.uint16)
    return film.status


@settings(deadline=None)
@given(st.binary(max_size=400), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", bytes(128) + b"DICM"]))
def test_any_bytes(data: bytes, start: bytes) -> None:
    assert_sound(start + data)


@pytest.mark.parametrize("kind", ["png", "jpeg", "dicom"])
@settings(deadline=None, max_examples=150)
@given(
    changes=st.lists(st.tuples(st.floats(0, 0.999), st.integers(1, 255)), min_size=1, max_size=8), head=st.booleans()
)
def test_changed_bytes(kind: str, changes: list[tuple[float, int]], head: bool) -> None:
    data = bytearray({"png": encoded(".png"), "jpeg": encoded(".jpg"), "dicom": dicom()}[kind])
    span = min(len(data), 700) if head else len(data)
    for place, value in changes:
        data[int(place * span)] ^= value
    assert_sound(bytes(data))


@pytest.mark.parametrize("kind", ["png", "jpeg"])
@settings(deadline=None)
@given(place=st.floats(0, 0.999))
def test_a_film_cut_anywhere_is_never_ok(kind: str, place: float) -> None:
    data = encoded(f".{kind}")
    assert assert_sound(data[: int(place * len(data))]) != Status.OK


@settings(deadline=None)
@given(place=st.floats(0, 0.999))
def test_a_dicom_film_cut_anywhere_is_never_ok(place: float) -> None:
    data = dicom()
    assert assert_sound(data[: int(place * len(data))]) != Status.OK


@settings(deadline=None, max_examples=30)
@given(
    st.sets(
        st.lists(
            st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=12), max_size=3
        ).map("/".join),
        max_size=8,
    )
)
def test_every_film_is_found_once_and_in_order(tmp_path_factory: pytest.TempPathFactory, names: set[str]) -> None:
    folder: Path = tmp_path_factory.mktemp("films")
    expected = []
    for number, name in enumerate(sorted(names)):
        path = folder / f"{number}" / f"f{name}.PNG"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        expected.append(path.relative_to(folder).as_posix())
    found = find_films(folder)
    assert found.paths == tuple(sorted(expected))
    assert (found.others.total, found.unreadable) == (0, ())
