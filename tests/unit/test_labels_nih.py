"""NIH's own table, its versions, and what is wrong with a wrong one."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from cxrscore.errors import InputError
from cxrscore.labels import FINDINGS, datasets, read_labels

HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
ROWS = (
    "00000001_000.png,Cardiomegaly|Effusion,0,1,57,M,PA,2682,2749,0.143,0.143",
    "00000002_000.png,No Finding,0,2,81,F,AP,2500,2048,0.168,0.168",
)


def table(tmp_path: Path, *rows: str, header: str = HEADER, end: str = "\n") -> Path:
    path = tmp_path / "labels.csv"
    path.write_bytes(end.join([header, *rows, ""]).encode())
    return path


def test_findings_are_the_fourteen_in_nih_order() -> None:
    assert len(FINDINGS) == len(set(FINDINGS)) == 14
    assert (FINDINGS[0], FINDINGS[2], FINDINGS[13]) == ("Atelectasis", "Effusion", "Hernia")


def test_table_by_hand(tmp_path: Path) -> None:
    labels, layout = read_labels(table(tmp_path, *ROWS), datasets)
    assert layout == "nih"
    assert labels.films == ("00000001_000.png", "00000002_000.png")
    assert labels.findings == FINDINGS
    assert labels.patients == ("1", "2")
    assert dict(labels.columns) == {"age": ("57", "81"), "sex": ("M", "F"), "view": ("PA", "AP")}
    expected = np.zeros((2, 14), np.float32)
    expected[0, [1, 2]] = 1
    np.testing.assert_array_equal(labels.labels, expected)
    assert labels.labels.dtype == np.float32


@pytest.mark.parametrize(
    "variant",
    [
        lambda path: path.write_text(path.read_text().replace("\n", ",\n")),  # 2017: a comma ends each line
        lambda path: path.write_text(path.read_text().replace("y]\n", "y],\n")),  # or only the header
        lambda path: path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes()),
        lambda path: path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n")),
        lambda path: path.write_text(path.read_text().replace(",57,", ",057Y,").replace(",81,", ",081Y,")),  # Kaggle
        lambda path: path.write_bytes(gzip.compress(path.read_bytes())),  # told by content, not by name
        lambda path: path.write_text(path.read_text().replace("Effusion", "Pleural Effusion")),
        lambda path: path.write_text(path.read_text() + "\n\n"),
    ],
)
def test_other_versions_say_the_same(tmp_path: Path, variant: object) -> None:
    path = table(tmp_path, *ROWS)
    expected, _ = read_labels(path, datasets)
    variant(path)
    found, layout = read_labels(path, datasets)
    assert layout == "nih"
    np.testing.assert_array_equal(found.labels, expected.labels)
    assert (found.films, found.patients, found.columns) == (expected.films, expected.patients, expected.columns)


def test_a_cell_without_finding_is_unknown(tmp_path: Path) -> None:
    labels, _ = read_labels(table(tmp_path, "a.png,,0,1,57,M,PA,1,1,1,1"), datasets)
    assert np.isnan(labels.labels).all()


def test_columns_that_are_missing_are_left_out(tmp_path: Path) -> None:
    labels, _ = read_labels(table(tmp_path, "a.png,Mass", header="Image Index,Finding Labels"), datasets)
    assert (labels.patients, dict(labels.columns)) == (None, {})


@pytest.mark.parametrize(
    ("age", "sex", "view", "expected"),
    [
        ("018M", "f", "pa", ("1", "F", "PA")),
        ("006D", "male", "", ("0", "M", "")),
        ("414", "?", "LL", ("", "", "L")),
        ("40", "M", "ap_horizontal", ("40", "M", "AP Supine")),
        ("40", "M", "LPO", ("40", "M", "LPO")),
        ("120", "FEMALE", "AP", ("120", "F", "AP")),
        ("61.0", "", "AP", ("61", "", "AP")),
        ("old", "M", "AP", ("", "M", "AP")),
    ],
)
def test_age_sex_and_view_in_one_form(tmp_path: Path, age: str, sex: str, view: str, expected: tuple[str, ...]) -> None:
    columns = read_labels(table(tmp_path, f"a.png,Mass,0,1,{age},{sex},{view},1,1,1,1"), datasets)[0].columns
    assert (columns["age"][0], columns["sex"][0], columns["view"][0]) == expected


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.png,Mass|Lump,0,1,57,M,PA,1,1,1,1", r"line 3: column Finding Labels has the unknown finding 'Lump'"),
        ("a.png,No Finding|Mass,0,1,57,M,PA,1,1,1,1", "line 3: .* excludes all findings"),
        ("a.png,Mass||Nodule,0,1,57,M,PA,1,1,1,1", "line 3: .* unknown finding ''"),
        (",Mass,0,1,57,M,PA,1,1,1,1", "line 3: column Image Index is empty"),
        ("a.png,Mass,0", "line 3: 3 cells, expected 11"),
        ("a.png,Mass,0,1,57,M,PA,1,1,1,1,more", "line 3: 12 cells, expected 11"),
    ],
)
def test_errors_name_the_row(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_labels(table(tmp_path, ROWS[0], row), datasets)


@pytest.mark.shared
def test_the_full_nih_table(shared: Path) -> None:
    labels, layout = read_labels(shared / "data" / "nih_tables" / "Data_Entry_2017_v2020.csv.gz", datasets)
    assert (layout, len(labels.films), len(set(labels.patients))) == ("nih", 112_120, 30_805)
    counts = dict(zip(labels.findings, labels.labels.sum(axis=0).astype(int).tolist(), strict=True))
    assert counts == {
        "Atelectasis": 11_559,
        "Cardiomegaly": 2_776,
        "Effusion": 13_317,
        "Infiltration": 19_894,
        "Mass": 5_782,
        "Nodule": 6_331,
        "Pneumonia": 1_431,
        "Pneumothorax": 5_302,
        "Consolidation": 4_667,
        "Edema": 2_303,
        "Emphysema": 2_516,
        "Fibrosis": 1_686,
        "Pleural_Thickening": 3_385,
        "Hernia": 227,
    }
    per_film = labels.labels.sum(axis=1)
    assert ((per_film == 0).sum(), (per_film > 1).sum()) == (60_361, 20_796)
    views, sexes = labels.columns["view"], labels.columns["sex"]
    assert (views.count("PA"), views.count("AP")) == (67_310, 44_810)
    assert (sexes.count("M"), sexes.count("F")) == (63_340, 48_780)
    ages = [int(age) for age in labels.columns["age"]]
    assert (min(ages), max(ages)) == (0, 95)


@pytest.mark.shared
def test_tables_made_from_it(shared: Path) -> None:
    small, layout = read_labels(shared / "data" / "nih442" / "labels.csv", datasets)
    assert (layout, len(small.films), len(set(small.patients))) == ("nih", 442, 442)


GOOGLE = HEADER + ",Fracture,Pneumothorax,Airspace opacity,Nodule or mass,Set Id"


def test_google_labels_by_hand(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        "00000013_008.png,No Finding,8,13,60,M,AP,3056,2544,0.139,0.139,NO,NO,YES,NO,test",
        "00000013_026.png,Pneumothorax,26,13,57,M,AP,2500,2048,0.168,0.168,YES,,NO,NO,val",
        header=GOOGLE,
        end="\r\n",
    )
    labels, layout = read_labels(path, datasets)
    assert layout == "nih-google"
    assert labels.findings == ("Fracture", "Pneumothorax", "Airspace opacity", "Nodule/Mass")
    np.testing.assert_array_equal(labels.labels, np.array([[0, 0, 1, 0], [1, np.nan, 0, 0]], np.float32))
    assert labels.patients == ("13", "13")
    assert labels.columns["set"] == ("test", "val")
    assert labels.columns["view"] == ("AP", "AP")


def test_google_labels_are_yes_or_no(tmp_path: Path) -> None:
    row = "a.png,No Finding,8,13,60,M,AP,3056,2544,0.139,0.139,NO,NO,MAYBE,NO,test"
    with pytest.raises(InputError, match=r"line 2: column Airspace opacity has 'MAYBE', expected YES, NO or nothing"):
        read_labels(table(tmp_path, row, header=GOOGLE), datasets)


@pytest.mark.shared
def test_the_full_google_table(shared: Path) -> None:
    path = shared / "data" / "nih_tables" / "google2019_nih-chest-xray-labels.csv.gz"
    labels, layout = read_labels(path, datasets)
    assert (layout, labels.labels.shape) == ("nih-google", (4376, 4))
    assert not np.isnan(labels.labels).any()
    assert (labels.columns["set"].count("test"), labels.columns["set"].count("val")) == (1962, 2414)
