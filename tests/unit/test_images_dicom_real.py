"""Real DICOM films: what becomes of each, and their pixels beside those of the same film in another coding."""

from pathlib import Path

import cv2
import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("imagecodecs")

from cxrscore.images import Status, read_film  # noqa: E402


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "status", "message"),
    [
        ("1.2.276.0.7230010.3.1.4.8323329.6904.1517875201.850819.dcm", Status.OK, ""),
        ("CR-MONO1-10-chest.dcm", Status.OK, "VOI window, inverted"),
        ("Fake_MONOHR1.dcm", Status.OK, "inverted"),
        ("RG1_J2KI.dcm", Status.OK, "VOI window, inverted"),
        ("RG1_JLSN.dcm", Status.OK, "VOI window, inverted"),
        ("RG2_JPLL.dcm", Status.NOT_CHEST, "another body part, expected the chest"),
        ("RG3_J2KR.dcm", Status.NOT_CHEST, "another body part, expected the chest"),
        ("nih_google_00000002_000.dcm", Status.OK, ""),
    ],
)
def test_real_dicom_films(shared: Path, name: str, status: Status, message: str) -> None:
    film = read_film(shared / "data" / "dicom" / name)
    assert (film.status, film.message, film.kind) == (status, message, "dicom")


@pytest.mark.shared
def test_real_films_agree_with_each_other(shared: Path) -> None:
    folder = shared / "data" / "dicom"
    lossy, near = (read_film(folder / f"RG1_{codec}.dcm").pixels for codec in ("J2KI", "JLSN"))
    assert lossy.shape == near.shape == (1955, 1841)
    assert np.abs(lossy.astype(int) - near).mean() < 150  # of 65535: two codings of one film
    as_stored = read_film(folder / "1.2.276.0.7230010.3.1.4.8323329.6904.1517875201.850819.dcm").pixels
    np.testing.assert_array_equal(read_film(folder / "Fake_MONOHR1.dcm").pixels, 255 - as_stored)


@pytest.mark.shared
def test_nih_film_as_dicom_has_the_pixels_of_its_png(shared: Path, tmp_path: Path) -> None:
    path = shared / "data" / "dicom" / "nih_google_00000002_000.dcm"
    film = read_film(path)
    stored = pydicom.dcmread(path).pixel_array  # known to be equal to NIH's PNG
    assert film.pixels is not None
    assert film.pixels.dtype == np.uint8
    np.testing.assert_array_equal(film.pixels, stored)
    cv2.imwrite(str(tmp_path / "as.png"), stored)
    np.testing.assert_array_equal(read_film(tmp_path / "as.png").pixels, film.pixels)
