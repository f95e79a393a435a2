"""JPEG data held to the letter: damage that decoders keep to themselves."""

import cv2
import pytest
from corpus_bytes import BASELINE, chest, dicom, exif, frame, jpeg, with_segment, zeroed

from cxrscore.images import Status, codecs, decode_film

LYING = jpeg().replace(b"\x00\x60\x00\x60", b"\x00\x70\x00\x60", 1)
"""Of 112 rows, says its header; there are 96."""


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "_simplejpeg", lambda: None)


@pytest.mark.parametrize("data", [zeroed(jpeg()), LYING], ids=["zeroed", "lying height"])
def test_damage_in_the_coded_data_is_found(data: bytes) -> None:
    pytest.importorskip("simplejpeg")
    film = decode_film(data)
    assert film.status == Status.DAMAGED
    assert film.message.startswith("damaged: Corrupt JPEG data")


def test_so_it_is_in_a_dicom_film() -> None:
    for module in ("simplejpeg", "pydicom", "imagecodecs"):
        pytest.importorskip(module)
    sound, damaged = (decode_film(dicom(syntax=BASELINE, frame=f(frame(BASELINE)))) for f in (bytes, zeroed))
    assert sound.status == Status.OK
    assert (damaged.status, damaged.message[:26]) == (Status.DAMAGED, "damaged: Corrupt JPEG data")


@pytest.mark.usefixtures("without")
def test_without_simplejpeg_it_goes_unseen() -> None:
    assert decode_film(zeroed(jpeg())).status == Status.OK


@pytest.mark.parametrize(
    "data",
    [
        jpeg(),
        jpeg(cv2.cvtColor(chest(), cv2.COLOR_GRAY2BGR)),
        jpeg(None, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        jpeg(None, cv2.IMWRITE_JPEG_RST_INTERVAL, 3),
        with_segment(jpeg(), 0xE1, exif(6)),
        jpeg() + bytes(9),
    ],
    ids=["grey", "colour", "progressive", "restarts", "exif", "padded"],
)
def test_sound_films_pass(data: bytes) -> None:
    pytest.importorskip("simplejpeg")
    assert decode_film(data).status == Status.OK
