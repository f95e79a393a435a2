"""Boxes, and films that several readers or several rows tell of: NIH, VinDr, RSNA, SIIM."""

from pathlib import Path

import numpy as np
import pytest
from test_labels_layouts import TABLES, VINDR, written

from cxrscore.errors import InputError
from cxrscore.labels import Box, datasets, join_labels, read_boxes, read_labels
from cxrscore.labels.vindr import majority

NAN = np.nan
NIH_BOXES = TABLES["nih-boxes"][0]
KAGGLE = TABLES["vindr-boxes"][0]


def test_nih_boxes_by_hand(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        NIH_BOXES,
        "00013118_008.png,Infiltrate,225.5,547.0,86.75,79.25",
        "00013118_008.png,Mass,1,2,3,4,,,",
        "00014716_007.png,Mass,686.1,131.5,185.5,313.5",
    )
    table, layout = read_labels(path, datasets)
    assert (layout, table.films) == ("nih-boxes", ("00013118_008.png", "00014716_007.png"))
    assert table.findings == ("Infiltration", "Mass")
    assert np.array_equal(table.labels, [[1, 1], [NAN, 1]], equal_nan=True)  # no box is no evidence of absence
    assert table.patients == ("13118", "14716")
    assert read_boxes(path)[0] == Box(
        film="00013118_008.png", finding="Infiltration", x=225.5, y=547.0, width=86.75, height=79.25
    )


@pytest.mark.shared
def test_the_full_list_of_nih_boxes(shared: Path) -> None:
    path = shared / "data" / "nih_tables" / "BBox_List_2017.csv.gz"
    boxes = read_boxes(path)
    assert len(boxes) == 984
    table, layout = read_labels(path, datasets)
    assert (layout, len(table.films), len(table.findings)) == ("nih-boxes", 880, 8)
    assert sum(box.finding == "Infiltration" for box in boxes) == 123


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.png,Mass,1,x,3,4", "line 3: column y has 'x', expected a number of pixels"),
        ("a.png,Mass,1,nan,3,4", "line 3: column y has 'nan'"),
        ("a.png,Mass,1,2,3,", r"line 3: column h\] has ''"),
        ("a.png,Mass,1,2,0,4", "line 3: the box is 0 wide and 4 high"),
        (",Mass,1,2,3,4", "line 3: column Image Index is empty"),
    ],
)
def test_a_box_that_is_none(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_boxes(written(tmp_path, NIH_BOXES, "a.png,Mass,1,2,3,4", row))


def test_boxes_are_not_read_from_other_tables(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has the columns film, patient, Mass, expected a table of boxes"):
        read_boxes(written(tmp_path, *TABLES["plain"]))


def test_the_majority_by_hand() -> None:
    labels = np.array([[1, 1, 0, 1], [1, 0, 0, NAN], [0, 0, 0, NAN], [1, NAN, 0, 0]], np.float32)
    expected = [[1, 0, 0, 1], [1, NAN, 0, 0]]  # three readers; one reader
    assert np.array_equal(majority(labels, np.array([0, 0, 0, 1]), 2), expected, equal_nan=True)
    assert np.array_equal(majority(labels[:2], np.array([0, 0]), 1), [[1, NAN, 0, 1]], equal_nan=True)  # a tie


def test_vindr_boxes_by_hand(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        KAGGLE,
        "9a5094b2,No finding,14,R11,,,,",
        "9a5094b2,No finding,14,R7,,,,",
        "9a5094b2,Pleural effusion,10,R9,100,200,150,300",
        "051132a7,Nodule/Mass,8,R8,10,20,30,50",
        "051132a7,Nodule/Mass,8,R8,60,20,80,50",
        "051132a7,Nodule/Mass,8,R9,11,21,31,51",
        "051132a7,Pleural effusion,10,R10,1,2,3,4",
        "1c32170b,Pleural effusion,10,R10,1,2,3,4",
        "1c32170b,No finding,14,R9,,,,",
    )
    table, layout = read_labels(path, datasets)
    assert (layout, table.films) == ("vindr-boxes", ("9a5094b2", "051132a7", "1c32170b"))
    assert (table.findings, table.patients) == (("Effusion", "Nodule/Mass"), None)
    assert np.array_equal(table.labels, [[0, 0], [0, 1], [NAN, 0]], equal_nan=True)
    boxes = read_boxes(path)
    assert len(boxes) == 6
    assert boxes[1] == Box(film="051132a7", finding="Nodule/Mass", x=10, y=20, width=20, height=30, rater="R8")
    joined = join_labels(table, ["train/051132a7.dicom", "train/9a5094b2.png"])
    assert joined.labels.tolist() == [[0, 1], [0, 0]]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a,,14,R1,,,,", "line 2: column class_name is empty"),
        ("a,Nodule/Mass,8,R1,10,20,abc,50", "line 2: column x_max has 'abc'"),
        ("a,Nodule/Mass,8,R1,10,20,5,50", "line 2: the box is -5 wide"),
    ],
)
def test_a_wrong_row_of_vindr_boxes(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_labels(written(tmp_path, KAGGLE, row), datasets)


@pytest.mark.parametrize("header", [VINDR, VINDR.replace("Other diseases", "Other disease")])
def test_vindr_image_labels_by_hand(tmp_path: Path, header: str) -> None:
    zeros = ["0"] * 28
    sick = ["1", *zeros[1:]]
    other = [*zeros[:26], "1", "0"]
    path = written(tmp_path, header, *(",".join(["a", f"R{k}", *row]) for k, row in enumerate([sick, sick, other])))
    table, layout = read_labels(path, datasets)
    assert (layout, table.films, len(table.findings)) == ("vindr", ("a",), 28)
    assert table.labels[0].tolist() == [1, *[0] * 27]
    assert table.findings[16:18] == ("Effusion", "Pleural_Thickening")
    assert table.findings[-2:] == ("Other Disease", "No Finding")


def test_vindr_test_labels_have_no_reader(tmp_path: Path) -> None:
    header = VINDR.replace("rad_id,", "")
    table, layout = read_labels(written(tmp_path, header, "a," + "0," * 27 + "1"), datasets)
    assert (layout, table.labels[0, -1]) == ("vindr", 1)


def test_rsna_by_hand(tmp_path: Path) -> None:
    path = written(tmp_path, TABLES["rsna"][0], "a,264.0,152.0,213.0,379.0,1", "b,,,,,0", "a,562.0,152.0,256.0,453.0,1")
    table, layout = read_labels(path, datasets)
    assert (layout, table.films, table.findings) == ("rsna", ("a", "b"), ("Pneumonia",))
    assert table.labels.tolist() == [[1], [0]]
    assert table.patients is None
    assert [box.x for box in read_boxes(path)] == [264.0, 562.0]
    with pytest.raises(InputError, match="line 2: column Target has '2'"):
        read_labels(written(tmp_path, TABLES["rsna"][0], "a,,,,,2"), datasets)


def test_siim_by_hand(tmp_path: Path) -> None:
    header = TABLES["siim"][0]
    table, layout = read_labels(written(tmp_path, header, "1.2.826.0.1, -1", "1.2.3,119 1 30 2", "1.2.3,5 1"), datasets)
    assert (layout, table.findings, table.labels.tolist()) == ("siim", ("Pneumothorax",), [[0], [1]])
    assert join_labels(table, ["x/1.2.3.dcm", "y/1.2.826.0.1.dcm"]).labels.tolist() == [[1], [0]]
    with pytest.raises(InputError, match="line 2: column EncodedPixels has 'mask'"):
        read_labels(written(tmp_path, header, "a,mask"), datasets)
