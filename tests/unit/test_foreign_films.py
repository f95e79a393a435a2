"""The test files of other projects are read as pydicom and Pillow read them, and the comparison finds what is wrong."""

import importlib.util
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("imagecodecs")
pytest.importorskip("PIL")

from cxrscore.images import Film, Status  # noqa: E402

SCRIPT = Path(__file__).parents[2] / "tools" / "foreign_films.py"


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("tested_foreign_films", SCRIPT)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # as in use: pydicom warns of unusual files, and an error would be damage
@pytest.mark.parametrize(("suite", "files", "compared"), [("pydicom", 170, 10), ("pydicom-data", 60, 15)])
def test_no_file_of_a_suite_is_read_otherwise(tool, suite, files, compared):
    folder = tool.installed_suites().get(suite)
    if folder is None:
        pytest.skip(f"{suite} is not installed: pip install {suite}")
    rows = list(tool.check_suite(suite, folder))
    verdicts = Counter(row.verdict for row in rows)
    assert [row for row in rows if row.verdict == "WRONG"] == []
    assert len(rows) >= files
    assert verdicts["agrees"] + verdicts["stretched"] >= compared


def data_set(stored, **elements):
    made = pydicom.Dataset()
    made.update({"PhotometricInterpretation": "MONOCHROME2", "BitsStored": 12, "PixelRepresentation": 0})
    for name, value in elements.items():
        setattr(made, name, value)
    return np.array(stored, dtype=np.uint16), made


def test_the_independent_chain_by_hand(tool):
    """PS3.3 C.11.2.1.2.1: center c and width w show x as (x - (c - 0.5)) / (w - 1) + 0.5, from 0 to 1."""
    np.testing.assert_allclose(tool._shown(*data_set([[0, 2047, 4095]])), [[0, 2047 / 4095, 1]])
    window = {"WindowCenter": [2048, 100], "WindowWidth": [1025, 50]}
    np.testing.assert_allclose(
        tool._shown(*data_set([[0, 1536, 2048, 2560]], **window)), [[0, 0.5 / 1024, 512.5 / 1024, 1]]
    )
    inverted = tool._shown(*data_set([[0, 1536, 4095]], **window, PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_allclose(inverted, [[1, 1 - 0.5 / 1024, 0]])


def test_a_window_that_cannot_be_used_leaves_the_next_one_or_the_full_range(tool):
    stored = [[0, 1000, 4095]]
    second = tool._shown(*data_set(stored, WindowCenter=[5, 1000.5], WindowWidth=[0, 2001]))
    np.testing.assert_allclose(second, [[0, 0.5, 1]], atol=1e-9)
    full = tool._shown(*data_set(stored, WindowCenter=5, WindowWidth=0))
    np.testing.assert_allclose(full, [[0, 1000 / 4095, 1]])


def test_facts_of_files_that_are_no_films(tool, tmp_path):
    assert list(tool.read_independently(b"").reasons) == ["EMPTY"]
    assert list(tool.read_independently(b"A text of some length.\n" * 20).reasons) == ["NOT_AN_IMAGE"]
    assert list(tool.read_independently(tool.PNG + bytes(100)).reasons) == ["TOO_SMALL", "DAMAGED"]
    lossless = b"\xff\xd8\xff\xc3\0\x0b\x08" + bytes(20)
    assert list(tool.read_independently(lossless).reasons) == ["UNSUPPORTED"]
    huge = tool.PNG + b"\0\0\0\rIHDR" + (20_000).to_bytes(4) * 2 + b"\x08\0\0\0\0" + bytes(4)
    assert "TOO_LARGE" in tool.read_independently(huge).reasons
    report = pydicom.Dataset()
    report.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"  # Basic Text SR
    report.file_meta = pydicom.dataset.FileMetaDataset()
    report.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    report.save_as(tmp_path / "report.dcm")
    reading = tool.read_independently((tmp_path / "report.dcm").read_bytes())
    assert (set(reading.reasons), reading.selection) == ({"UNSUPPORTED", "NOT_CHEST"}, "modality missing")


def grey_film(values, status=Status.OK):
    pixels = None if status is not Status.OK else np.rint(np.asarray(values) * 65535).astype(np.uint16)
    return Film(status=status, pixels=pixels)


def verdict(tool, film, grey, **facts):
    return tool.compare(film, film, tool.Reading(grey=np.asarray(grey), **facts))[0]


def test_what_counts_as_wrong(tool):
    ramp = np.linspace(0, 1, 64).reshape(8, 8)
    assert verdict(tool, grey_film(ramp), ramp) == "agrees"
    assert verdict(tool, grey_film(ramp), ramp + 0.004) == "agrees"
    assert verdict(tool, grey_film(1 - ramp), ramp) == "WRONG"
    assert verdict(tool, grey_film(ramp**1.1), ramp) == "WRONG"
    assert verdict(tool, grey_film(ramp), ramp[:4]) == "WRONG"
    assert verdict(tool, grey_film(ramp, Status.DAMAGED), ramp) == "WRONG"
    assert verdict(tool, grey_film(ramp), ramp, reasons={"UNSUPPORTED": "colour"}) == "WRONG"
    assert verdict(tool, grey_film(ramp, Status.UNSUPPORTED), ramp, reasons={"UNSUPPORTED": "colour"}) == "not compared"
    assert verdict(tool, grey_film(ramp), ramp, selection="modality CT") == "WRONG"


def test_a_film_may_be_stretched_only_if_it_uses_little_of_its_range(tool):
    ramp = np.linspace(0, 1, 64).reshape(8, 8)
    assert verdict(tool, grey_film(ramp), ramp / 16) == "stretched"
    assert verdict(tool, grey_film(1 - ramp), ramp / 16) == "WRONG"
    assert verdict(tool, grey_film(ramp), ramp / 2) == "WRONG"


def test_a_film_may_be_shown_without_its_window_only_if_that_shows_little(tool):
    ramp = np.linspace(0, 1, 64).reshape(8, 8)
    assert verdict(tool, grey_film(ramp), np.ones((8, 8)), plain=ramp / 2) == "stretched"
    assert verdict(tool, grey_film(ramp), np.ones((8, 8)), plain=ramp**2) == "WRONG"
    assert verdict(tool, grey_film(ramp), np.clip(2 * ramp, 0, 1), plain=ramp) == "WRONG"
    assert verdict(tool, grey_film(ramp), np.clip(12 * ramp - 11, 0, 1), plain=ramp) == "stretched"
    assert verdict(tool, grey_film(ramp), np.clip(8 * ramp - 7, 0, 1), plain=ramp) == "WRONG"


def test_a_film_that_is_passed_over_is_wrong(tool):
    ramp = np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1))
    data = cv2.imencode(".png", ramp)[1].tobytes()
    assert tool.check_file("made", "1.2.840", data).verdict == "agrees"
    assert tool.check_file("made", "1.2.840", data, found=False).verdict == "WRONG"


def test_padding_is_black(tool):
    ramp = np.linspace(0, 1, 64).reshape(8, 8)
    padding = np.zeros((8, 8), bool)
    padding[0, :4] = padding[7, 7] = True
    assert verdict(tool, grey_film(ramp), ramp, padding=padding) == "WRONG"
    assert verdict(tool, grey_film(np.where(padding, 0, ramp)), ramp, padding=padding) == "agrees"


def test_the_table_of_a_page_is_replaced(tool, tmp_path):
    row = tool.check_file("made", "a", b"")
    page = tmp_path / "page.md"
    page.write_text(f"above\n{tool.BEGIN}\nold\n{tool.END}\nbelow\n")
    for _ in range(2):
        tool.put_table(page, [row])
    lines = page.read_text().splitlines()
    assert (lines[:2], lines[-2:]) == (["above", tool.BEGIN], [tool.END, "below"])
    assert lines[2:-2] == [
        "",
        "| suite | files | scored | other statuses | compared | stretched | largest difference | argued | wrong |",
        "|---|---|---|---|---|---|---|---|---|",
        "| made | 1 | 0 | 1 EMPTY | 0 | 0 |  | 0 | 0 |",
        "",
    ]


def test_a_suite_that_cannot_be_had_is_told(tool, tmp_path, capsys):
    assert tool.main([f"mine={tmp_path / 'none'}"]) == 2
    assert capsys.readouterr().err == f"no folder: {tmp_path / 'none'}\n"
