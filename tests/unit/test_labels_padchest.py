"""PadChest: labels as lists of words, compared as a whole and never evaluated."""

import csv
from pathlib import Path

import numpy as np
import pytest
from test_labels_layouts import PADCHEST

from cxrscore.contract import LabelTable
from cxrscore.errors import InputError
from cxrscore.labels import datasets, read_labels

NAMES = PADCHEST.split(",")


def read(tmp_path: Path, *rows: dict[str, str]) -> LabelTable:
    path = tmp_path / "padchest.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, NAMES, restval="")
        writer.writeheader()
        writer.writerows({"ImageID": f"{number}.png", **row} for number, row in enumerate(rows))
    table, layout = read_labels(path, datasets)
    assert layout == "padchest"
    return table


def test_table_by_hand(tmp_path: Path) -> None:
    table = read(
        tmp_path,
        {
            "PatientID": "8398",
            "StudyDate_DICOM": "20140915",
            "PatientBirth": "1930.0",
            "PatientSex_DICOM": "M",
            "Projection": "AP_horizontal",
            "Labels": "['pleural effusion', \"cardiomegaly \", 'laminar atelectasis']",
            "Localizations": "['loc right']",
        },
        {"PatientID": "1", "PatientBirth": "", "Projection": "UNK", "Labels": "['normal']"},
    )
    assert table.films == ("0.png", "1.png")
    assert table.patients == ("8398", "1")
    assert dict(table.columns) == {"sex": ("M", ""), "view": ("AP Supine", ""), "age": ("84", "")}
    present = {name for name, label in zip(table.findings, table.labels[0], strict=True) if label == 1}
    assert present == {"Effusion", "Cardiomegaly", "Atelectasis"}
    assert (table.labels[1] == 0).all()


@pytest.mark.parametrize(
    ("labels", "finding", "expected"),
    [
        ("['subcutaneous emphysema']", "Emphysema", 0),  # what a search for part of a word gets wrong
        ("['emphysema']", "Emphysema", 1),
        ("['pseudonodule', 'nipple shadow']", "Nodule", 0),
        ("['multiple nodules']", "Nodule", 1),
        ("['hydropneumothorax']", "Pneumothorax", 1),
        ("['hydropneumothorax']", "Effusion", 1),
        ("['pericardial effusion']", "Effusion", 0),
        ("['chronic changes', 'unchanged']", "Mass", np.nan),
        ("['scoliosis', 'unchanged']", "Scoliosis", 1),
        ("['exclude']", "Mass", np.nan),
        ("['suboptimal study', 'mass']", "Mass", np.nan),
        ("[]", "Mass", np.nan),
        ("", "Mass", np.nan),
        ("nan", "Mass", np.nan),
        ("['mass', nan]", "Mass", 1),
        ("[ 'mass' , 'nodule' ]", "Nodule", 1),
    ],
)
def test_words_are_compared_as_a_whole(tmp_path: Path, labels: str, finding: str, expected: float) -> None:
    table = read(tmp_path, {"Labels": labels})
    assert np.array_equal(table.labels[0, table.findings.index(finding)], np.float32(expected), equal_nan=True)


@pytest.mark.parametrize(
    "cell",
    [
        "cardiomegaly",
        "['mass'",
        "['mass' 'nodule']",
        "['mass', 1]",
        "[['mass']]",
        "{'mass'}",
        "__import__('os').system('true')",
        "['mass'] + ['nodule']",
        "[" * 5000,
        "['a\\'b']",
    ],
)
def test_anything_but_a_list_of_words_is_an_error_with_its_line(tmp_path: Path, cell: str) -> None:
    with pytest.raises(InputError, match=r"line 3: column Labels has .* expected a list of words"):
        read(tmp_path, {"Labels": "['mass']"}, {"Labels": cell})


def test_ages_that_cannot_be_are_unknown(tmp_path: Path) -> None:
    rows = [{"Labels": "[]", "StudyDate_DICOM": date, "PatientBirth": "2000"} for date in ("1999", "2150", "x", "2019")]
    assert read(tmp_path, *rows).columns["age"] == ("", "", "", "19")
