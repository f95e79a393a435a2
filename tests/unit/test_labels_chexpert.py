"""CheXpert's and MIMIC-CXR-JPG's tables: what is uncertain, what is blank, which film is meant."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from test_labels_layouts import CHEXPERT, MIMIC, written

from cxrscore.contract import LabelTable
from cxrscore.errors import InputError
from cxrscore.labels import LabelRules, datasets, join_labels, read_joined_labels, read_labels

NAN = np.nan
HEALTHY = "train/patient00001/study1/view1_frontal.jpg,Female,68,Frontal,AP,1.0,,,,,,,,,,,,,"
SICK = "train/patient00002/study2/view1_frontal.jpg,Male,87,Frontal,,,,-1.0,1.0,,-1.0,0.0,,-1.0,,1.0,,,1.0"
SIDE = "train/patient00002/study2/view2_lateral.jpg,Unknown,87,Lateral,,,,-1.0,1.0,,-1.0,0.0,,-1.0,,1.0,,,1.0"


def read(tmp_path: Path, *rows: str, uncertain: str = "unknown", header: str = CHEXPERT) -> LabelTable:
    return read_labels(written(tmp_path, header, *rows), datasets, LabelRules(uncertain=uncertain))[0]


def test_chexpert_by_hand(tmp_path: Path) -> None:
    table = read(tmp_path, HEALTHY, SICK, SIDE)
    assert table.films == (
        "patient00001/study1/view1_frontal.jpg",
        "patient00002/study2/view1_frontal.jpg",
        "patient00002/study2/view2_lateral.jpg",
    )
    assert table.patients == ("patient00001", "patient00002", "patient00002")
    assert table.columns["view"] == ("AP", "", "L")
    assert table.columns["sex"] == ("F", "M", "")
    assert table.columns["age"] == ("68", "87", "87")
    assert table.findings[:4] == ("No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity")
    assert table.findings[10] == "Effusion"
    # No Finding: all but Support Devices is 0. Else only what is said is known.
    assert np.array_equal(table.labels[0], [1, *[0] * 12, NAN], equal_nan=True)
    sick = [NAN, NAN, NAN, 1, NAN, NAN, 0, NAN, NAN, NAN, 1, NAN, NAN, 1]
    assert np.array_equal(table.labels[1], sick, equal_nan=True)


@pytest.mark.parametrize(("word", "label"), [("unknown", NAN), ("positive", 1), ("negative", 0)])
def test_uncertain_counts_as_told(tmp_path: Path, word: str, label: float) -> None:
    labels = read(tmp_path, SICK, uncertain=word).labels[0]
    assert np.array_equal(labels[[2, 5, 8]], [label] * 3, equal_nan=True)
    assert np.array_equal(labels[[0, 3, 6]], [NAN, 1, 0], equal_nan=True)


def test_only_what_a_healthy_row_leaves_blank_is_0(tmp_path: Path) -> None:
    row = HEALTHY.replace("1.0,,,", "1.0,,-1.0,")
    assert np.isnan(read(tmp_path, row).labels[0, 2])
    unsure = HEALTHY.replace("1.0,", "-1.0,")
    assert np.isnan(read(tmp_path, unsure, uncertain="positive").labels[0, 1:]).all()


@pytest.mark.parametrize("root", ["CheXpert-v1.0/", "CheXpert-v1.0-small/", "", "D:\\data\\"])
@pytest.mark.parametrize("below", ["train/", "", "chexpert/train/", "set.zip/CheXpert-v1.0/train/"])
def test_films_are_found_below_any_folder(tmp_path: Path, root: str, below: str) -> None:
    table = read(tmp_path, f"{root}{HEALTHY}", f"{root}{SICK}", f"{root}{SIDE}")
    paths = [
        f"{below}patient00002/study2/view1_frontal.jpg",
        f"{below}patient00001/study1/view1_frontal.jpg",
        f"{below}patient00003/study1/view1_frontal.jpg",
    ]
    joined = join_labels(table, paths)
    assert joined.patients == ("patient00002", "patient00001", None)


def test_other_films_of_that_file_name_have_no_label(tmp_path: Path) -> None:
    table = read(tmp_path, HEALTHY, SICK)
    joined = join_labels(table, ["valid/patient64541/study1/view1_frontal.jpg"])
    assert joined.unmatched_films == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (SICK.replace("0.0,", "2.0,"), "line 3: column Consolidation has '2.0', expected 0, 1, -1 or nothing"),
        (SICK.replace("patient00002", "p2"), "line 3: column Path has .*expected a path with a folder such as patient"),
        (SICK.rpartition(",")[0], "line 3: 18 cells, expected 19"),
    ],
)
def test_errors_name_row_and_column(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path, HEALTHY, row)


METADATA = (
    "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,StudyDate,StudyTime,"
    "ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,PatientOrientationCodeSequence_CodeMeaning"
)
STUDIES = (
    "10000032,50414267,,,,,,,,,1.0,,,,,",
    "10000032,53189527,1.0,,-1.0,,,,,,,0.0,,,,",
    "10000764,57375967" + "," * 14,
)
FILMS = (
    "02aa804e,10000032,50414267,CHEST (PA AND LAT),PA,3056,2544,21800506,213014.531,CHEST (PA AND LAT),p,Erect",
    "174413ec,10000032,50414267,CHEST (PA AND LAT),LATERAL,3056,2544,21800506,213014.531,CHEST (PA AND LAT),l,Erect",
    "2a2277a9,10000032,53189527,CHEST (PORTABLE AP),AP,3056,2544,21800626,165500.312,CHEST (PORTABLE AP),a,Recumbent",
    "ffffffff,19999999,59999999,CHEST (PORTABLE AP),AP,3056,2544,21800626,165500.312,CHEST (PORTABLE AP),a,Erect",
)


def mimic(tmp_path: Path, *films: str, uncertain: str = "unknown") -> LabelTable:
    if films:
        packed = gzip.compress("\n".join([METADATA, *films, ""]).encode())
        (tmp_path / "mimic-cxr-2.0.0-metadata.csv.gz").write_bytes(packed)
    return read(tmp_path, *STUDIES, header=MIMIC, uncertain=uncertain)


def test_mimic_with_its_table_of_films_by_hand(tmp_path: Path) -> None:
    table = mimic(tmp_path, *FILMS)
    assert table.films == (
        "p10/p10000032/s50414267/02aa804e",
        "p10/p10000032/s50414267/174413ec",
        "p10/p10000032/s53189527/2a2277a9",
        "p10/p10000764/s57375967/",  # no film of it is told: whatever lies in its folder
    )
    assert table.patients == ("10000032", "10000032", "10000032", "10000764")
    assert table.columns == {"view": ("PA", "L", "AP Supine", "")}
    effusion = table.findings.index("Effusion")
    assert np.array_equal(table.labels[:, effusion], [0, 0, 0, NAN], equal_nan=True)
    consolidation = table.findings.index("Consolidation")
    assert np.array_equal(table.labels[:, consolidation], [0, 0, NAN, NAN], equal_nan=True)
    positive = mimic(tmp_path, *FILMS, uncertain="positive")
    assert np.array_equal(positive.labels[:, consolidation], [0, 0, 1, NAN], equal_nan=True)


@pytest.mark.parametrize("with_films", [True, False])
@pytest.mark.parametrize("below", ["files/", "", "mimic-cxr-jpg/2.0.0/files/"])
@pytest.mark.parametrize("suffix", [".jpg", ".dcm", ""])
def test_mimic_films_are_found_in_their_folders(tmp_path: Path, with_films: bool, below: str, suffix: str) -> None:
    table = mimic(tmp_path, *(FILMS if with_films else ()))
    paths = [
        f"{below}p10/p10000032/s50414267/174413ec{suffix}",
        f"{below}p10/p10000032/s50414267/02aa804e{suffix}",
        f"{below}p10/p10000032/s53189527/2a2277a9{suffix}",
        f"{below}p10/p10000032/s00000000/00000000{suffix}",
    ]
    joined = join_labels(table, paths)
    assert joined.patients == ("10000032", "10000032", "10000032", None)
    no_finding = joined.findings.index("No Finding")
    assert np.array_equal(joined.labels[:, no_finding], [1, 1, NAN, NAN], equal_nan=True)
    assert (joined.unmatched_films, joined.unused_rows) == (1, 1)


def test_mimic_films_in_one_folder_need_the_table_of_films(tmp_path: Path) -> None:
    paths = ["02aa804e.jpg", "174413ec.jpg"]
    assert join_labels(mimic(tmp_path, *FILMS), paths).patients == ("10000032", "10000032")
    (tmp_path / "mimic-cxr-2.0.0-metadata.csv.gz").unlink()
    with pytest.raises(InputError, match=r"'02aa804e.jpg'.*mimic-cxr-2.0.0-metadata.csv.gz"):
        read_joined_labels(tmp_path / "labels.csv", datasets, paths)


def test_mimic_labelled_by_hand_has_neither_subjects_nor_lung_opacity(tmp_path: Path) -> None:
    header = MIMIC.removeprefix("subject_id,").replace("Lung Opacity", "Airspace Opacity")
    table = read(tmp_path, "50414267,,,,,,,,1.0,,,,,,", header=header)
    assert (table.films, table.patients) == (("s50414267/",), None)
    assert table.labels[0, table.findings.index("Lung Opacity")] == 1
    assert join_labels(table, ["files/p10/p10000032/s50414267/x.jpg"]).unmatched_films == 0


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (STUDIES[0], "line 5: column study_id has 50414267 again, as on line 2"),
        ("10000032,,1" + "," * 13, "line 5: column study_id has '', expected a number"),
        ("10000032,50000000,yes" + "," * 13, "line 5: column Atelectasis has 'yes'"),
    ],
)
def test_mimic_errors_name_row_and_column(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path, *STUDIES, row, header=MIMIC)


def test_a_table_of_films_without_films(tmp_path: Path) -> None:
    (tmp_path / "mimic-cxr-2.0.0-metadata.csv").write_text("subject_id,study_id\n10000032,50414267\n")
    with pytest.raises(InputError, match=r"metadata.csv lacks the column dicom_id"):
        mimic(tmp_path)
