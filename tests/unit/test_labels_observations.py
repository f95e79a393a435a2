"""Tables of the CheXpert labeller besides CheXpert's own: its test set, CheXpert Plus, BRAX, and MIMIC-CXR by film."""

import json
from pathlib import Path

import numpy as np
import pytest
from test_labels_layouts import BRAX, BRAX_FOLDER, BRAX_ROW, CHEXPERT_PLUS, MIMIC, OBSERVED, written

from cxrscore.contract import LabelTable
from cxrscore.errors import InputError
from cxrscore.labels import LabelRules, datasets, join_labels, read_joined_labels, read_labels

NAN = np.nan
RULES = LabelRules()


def read(tmp_path: Path, header: str, *rows: str, rules: LabelRules = RULES) -> tuple[LabelTable, str]:
    return read_labels(written(tmp_path, header, *rows), datasets, rules)


def known(labels: np.ndarray, table: LabelTable) -> dict[str, float]:
    return {name: float(label) for name, label in zip(table.findings, labels, strict=True) if not np.isnan(label)}


# --- CheXpert's test set

STUDIES = (
    "CheXpert-v1.0/test/patient64741/study1,0,1,1,1,0,0,0,0,0,0,0,0,0,1",
    "CheXpert-v1.0/test/patient64742/study1,0,1,0,1,0,0,0,0,1,0,0,0,0,0",
)


def test_a_row_of_the_test_set_is_all_films_of_a_study(tmp_path: Path) -> None:
    table, layout = read(tmp_path, f"Study,{OBSERVED}", *STUDIES)
    assert layout == "chexpert-studies"
    assert table.films == ("patient64741/study1/", "patient64742/study1/")
    assert table.patients == ("patient64741", "patient64742")
    joined = join_labels(
        table,
        [
            "test/patient64741/study1/view1_frontal.jpg",
            "test/patient64741/study1/view2_lateral.jpg",
            "test/patient64742/study1/view1_frontal.jpg",
            "test/patient64743/study1/view1_frontal.jpg",
        ],
    )
    cardiomegaly = joined.findings.index("Cardiomegaly")
    assert np.array_equal(joined.labels[:, cardiomegaly], [1, 1, 0, NAN], equal_nan=True)
    assert joined.patients == ("patient64741", "patient64741", "patient64742", None)


def test_a_path_of_chexpert_may_be_a_study(tmp_path: Path) -> None:
    table, layout = read(tmp_path, f"Path,{OBSERVED}", *STUDIES, STUDIES[0].replace("study1", "study2/view1.jpg"))
    assert layout == "chexpert"
    assert table.films == ("patient64741/study1/", "patient64742/study1/", "patient64741/study2/view1.jpg")


@pytest.mark.parametrize("name", ["test/patient64741/study1/view1_frontal.jpg", "study1", "1.2.840.1"])
def test_a_study_is_a_folder_of_a_patient(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"line 2: column Study has .*expected a (folder|path)"):
        read(tmp_path, f"Study,{OBSERVED}", STUDIES[0].replace("CheXpert-v1.0/test/patient64741/study1", name))


def test_a_table_of_films_with_a_study_column_is_no_test_set(tmp_path: Path) -> None:
    rules = LabelRules(findings=("Edema",))
    assert read(tmp_path, f"film,Study,{OBSERVED}", "a.png,7" + ",0" * 14, rules=rules)[1] == "plain"


def test_names_of_observations_need_no_capitals(tmp_path: Path) -> None:
    header = f"Path,{OBSERVED}".replace("Pleural Effusion", "pleural_effusion").replace("Lung Lesion", "lung lesion")
    table, layout = read(tmp_path, header, "patient00001/study1/view1_frontal.jpg" + ",0" * 10 + ",1,0,0,0")
    assert layout == "chexpert"
    assert known(table.labels[0], table)["Effusion"] == 1
    assert len(table.findings) == 14


# --- CheXpert Plus

ABOUT = CHEXPERT_PLUS.removesuffix(f",{OBSERVED}")
PLUS = (
    "train/patient00001/study1/view1_frontal.jpg,x,Frontal,AP,patient00001,1,r,f,i,68.0,Female,Black,Unknown,train",
    "train/patient00002/study1/view2_lateral.jpg,x,Lateral,,patient00002,1,r,f,i,90.0,Male,,Unknown,train",
)


def test_chexpert_plus_with_labels_as_columns(tmp_path: Path) -> None:
    labels = ("1.0" + "," * 13, ",,1.0,,-1.0,0.0" + "," * 8)
    table, layout = read(tmp_path, CHEXPERT_PLUS, *(f"{row},{cells}" for row, cells in zip(PLUS, labels, strict=True)))
    assert layout == "chexpert-plus"
    assert table.films == ("patient00001/study1/view1_frontal", "patient00002/study1/view2_lateral")
    assert table.patients == ("patient00001", "patient00002")
    assert table.columns == {
        "age": ("68", "90"),
        "sex": ("F", "M"),
        "race": ("Black", ""),
        "view": ("AP", "L"),
    }
    assert known(table.labels[0], table) == {"No Finding": 1} | dict.fromkeys(
        set(table.findings) - {"No Finding", "Support Devices"}, 0
    )
    assert known(table.labels[1], table) == {"Cardiomegaly": 1, "Edema": 0}
    for films in (".png", ".dcm", ".jpg"):
        paths = [f"PNG/train/patient00002/study1/view2_lateral{films}"]
        assert join_labels(table, paths).patients == ("patient00002",)


def json_line(film: str, **labels: float | None) -> str:
    names = OBSERVED.split(",")
    return json.dumps({"path_to_image": film, **{name: labels.get(name.replace(" ", "_")) for name in names}})


def test_chexpert_plus_with_labels_in_its_json_file(tmp_path: Path) -> None:
    impression = [
        json_line(PLUS[1].split(",")[0], Cardiomegaly=1.0, Pleural_Effusion=-1.0, Edema=0.0),
        json_line("train/patient00009/study1/view1_frontal.jpg", Edema=1.0),
    ]
    (tmp_path / "impression_fixed.json").write_text("\n".join(impression).replace("null", "NaN") + "\n\n")
    (tmp_path / "findings_fixed.json").write_text(json_line("patient00001/study1/view1_frontal.jpg", No_Finding=1))
    table, layout = read(tmp_path, ABOUT, *PLUS)
    assert layout == "chexpert-plus"
    assert np.isnan(table.labels[0]).all()
    assert known(table.labels[1], table) == {"Cardiomegaly": 1, "Edema": 0}
    table, _ = read(tmp_path, ABOUT, *PLUS, rules=LabelRules(uncertain="positive"))
    assert known(table.labels[1], table) == {"Cardiomegaly": 1, "Edema": 0, "Effusion": 1}
    (tmp_path / "impression_fixed.json").unlink()
    table, _ = read(tmp_path, ABOUT, *PLUS)
    assert known(table.labels[0], table)["Cardiomegaly"] == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"labels.csv has no labels: expected impression_fixed.json .*in the same folder"),
        ("[1]", r"impression_fixed.json, line 1: expected a JSON object with path_to_image"),
        ("{", r"impression_fixed.json, line 1: .*expected a JSON object on each line"),
        (json_line("patient00001/study1/view1_frontal.jpg", Edema=7), r"line 1: column Edema has '7', expected 0, 1"),
        (json_line("a.jpg", Edema=1), r"line 1: column path_to_image has 'a.jpg', expected a path"),
        ("\n".join([json_line("patient00001/study1/view1_frontal.jpg")] * 2), r"has 2 lines for 1 films"),
    ],
)
def test_files_of_labels_that_are_refused(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "impression_fixed.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read(tmp_path, ABOUT, *PLUS)


# --- BRAX


def test_brax_by_hand(tmp_path: Path) -> None:
    sick = BRAX_ROW.replace("9f1c-22", "77aa-11").replace("F,85 or more", "O,45").replace("PA,2000", "RL,2000")
    sick = sick.replace("1.0,,,,,,", ",1.0,-1.0,,0.0,,")
    table, layout = read(tmp_path, BRAX, BRAX_ROW, sick)
    assert layout == "brax"
    assert table.films == (BRAX_FOLDER, BRAX_FOLDER.replace("9f1c-22", "77aa-11"))
    assert table.patients == ("9f1c-22", "77aa-11")
    assert table.columns == {"age": ("85", "45"), "sex": ("F", ""), "view": ("PA", "L")}
    assert known(table.labels[0], table)["Effusion"] == 0
    assert "Support Devices" not in known(table.labels[0], table)
    assert known(table.labels[1], table) == {"Enlarged Cardiomediastinum": 1, "Lung Opacity": 0}
    negative, _ = read(tmp_path, BRAX, sick, rules=LabelRules(uncertain="negative"))
    assert known(negative.labels[0], negative)["Cardiomegaly"] == 0
    paths = [f"images/{BRAX_FOLDER}.png", f"Anonymized_DICOMs/{table.films[1]}.dcm"]
    assert join_labels(table, paths).patients == ("9f1c-22", "77aa-11")


# --- MIMIC-CXR with a row for each film

ORIENTATION = "PatientOrientationCodeSequence_CodeMeaning"
BY_FILM = f"dicom_id,{MIMIC},ViewPosition,{ORIENTATION},gender"
FILMS = (
    "02aa804e,10000032,50414267" + ",,,,,,,,,1.0,,,,," + ",PA,Erect,F",
    "174413ec,10000032,50414267" + ",,,,,,,,,1.0,,,,," + ",LATERAL,Erect,F",
    "2a2277a9,10000032,53189527" + ",1.0,,-1.0,,,,,,,0.0,,,," + ",AP,Recumbent,F",
)


def test_films_of_one_study_are_told_by_dicom_id(tmp_path: Path) -> None:
    table, layout = read(tmp_path, BY_FILM, *FILMS)
    assert layout == "mimic"
    assert table.films == (
        "p10/p10000032/s50414267/02aa804e",
        "p10/p10000032/s50414267/174413ec",
        "p10/p10000032/s53189527/2a2277a9",
    )
    assert table.patients == ("10000032",) * 3
    assert table.columns == {"view": ("PA", "L", "AP Supine"), "sex": ("F",) * 3}
    effusion, consolidation = table.findings.index("Effusion"), table.findings.index("Consolidation")
    assert table.labels[:, effusion].tolist() == [0, 0, 0]
    assert np.array_equal(table.labels[:, consolidation], [0, 0, NAN], equal_nan=True)
    positive, _ = read(tmp_path, BY_FILM, *FILMS, rules=LabelRules(uncertain="positive"))
    assert positive.labels[:, consolidation].tolist() == [0, 0, 1]
    assert join_labels(table, ["174413ec.jpg"]).patients == ("10000032",)


def test_the_film_column_of_a_merged_table_may_be_a_path(tmp_path: Path) -> None:
    header = BY_FILM.replace("dicom_id", "path")
    rows = [row.replace("02aa804e", "./files/p10/x.jpg").replace("174413ec", "files/p10/y.jpg") for row in FILMS]
    table, layout = read(tmp_path, header, *rows)
    assert layout == "mimic"
    assert table.films == ("files/p10/x.jpg", "files/p10/y.jpg", "2a2277a9")


def test_numbers_that_a_merge_made_decimal(tmp_path: Path) -> None:
    row = FILMS[0].replace("10000032,50414267", "10000032.0,50414267.0")
    lone = FILMS[1].replace("50414267", "")
    table, _ = read(tmp_path, BY_FILM, row, lone)
    assert table.films == ("p10/p10000032/s50414267/02aa804e", "174413ec")
    assert table.patients == ("10000032", "10000032")


def test_the_table_of_films_is_not_asked_for_films_that_are_known(tmp_path: Path) -> None:
    (tmp_path / "mimic-cxr-2.0.0-metadata.csv").write_text("subject_id,study_id\n10000032,50414267\n")
    joined, record = read_joined_labels(written(tmp_path, BY_FILM, *FILMS), datasets, ["02aa804e.dcm"])
    assert (joined.unmatched_films, record["dataset"]) == (0, "mimic")


def test_a_weight_column_needs_a_row_for_each_film_of_mimic(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one row per film"):
        read(tmp_path, f"{MIMIC},trust", "10000032,50414267" + "," * 14 + ",2", rules=LabelRules(weight_column="trust"))


# --- CXR-LT

LT_2023 = (
    "dicom_id,subject_id,study_id,path,ViewPosition,Atelectasis,Calcification of the Aorta,Cardiomegaly,Consolidation,"
    "Edema,Emphysema,Enlarged Cardiomediastinum,Fibrosis,Fracture,Hernia,Infiltration,Lung Lesion,Lung Opacity,Mass,"
    "No Finding,Nodule,Pleural Effusion,Pleural Other,Pleural Thickening,Pneumomediastinum,Pneumonia,Pneumoperitoneum,"
    "Pneumothorax,Subcutaneous Emphysema,Support Devices,Tortuous Aorta"
)


def test_cxr_lt_of_2023_by_hand(tmp_path: Path) -> None:
    rows = (
        "02aa804e,10000032,50414267,files/a.jpg,PA" + ",0" * 14 + ",1" + ",0" * 11,
        "174413ec,10000032,50414267,files/b.jpg,LL,1,1" + ",0" * 23 + ",-1",
    )
    table, layout = read(tmp_path, LT_2023, *rows)
    assert layout == "cxr-lt"
    assert table.films == ("p10/p10000032/s50414267/02aa804e", "p10/p10000032/s50414267/174413ec")
    assert table.patients == ("10000032", "10000032")
    assert table.columns["view"] == ("PA", "L")
    assert len(table.findings) == 26
    assert {"Effusion", "Pleural_Thickening", "Calcification of the Aorta", "No Finding"} <= set(table.findings)
    assert [name for name, label in known(table.labels[0], table).items() if label] == ["No Finding"]
    assert [name for name, label in known(table.labels[1], table).items() if label] == [
        "Atelectasis",
        "Calcification of the Aorta",
    ]
    assert "Tortuous Aorta" not in known(table.labels[1], table)
    positive, _ = read(tmp_path, LT_2023, *rows, rules=LabelRules(uncertain="positive"))
    assert known(positive.labels[1], positive)["Tortuous Aorta"] == 1


@pytest.mark.parametrize(
    ("header", "row", "films"),
    [
        ("dicom_id,Bulla,Cardiomyopathy,Hilum,Osteopenia,Scoliosis", "02aa804e,0,1,0,0,1", "02aa804e"),
        ("subject_id,study_id,Hilum,Scoliosis,fpath", "10000032,50414267,0,1,files/p10/a.jpg", "files/p10/a.jpg"),
    ],
)
def test_cxr_lt_of_2024_without_findings_of_mimic(tmp_path: Path, header: str, row: str, films: str) -> None:
    table, layout = read(tmp_path, header, row)
    assert layout == "cxr-lt"
    assert table.films == (films,)
    assert known(table.labels[0], table)["Scoliosis"] == 1


def test_a_table_of_ones_own_with_rare_findings(tmp_path: Path) -> None:
    table, layout = read(tmp_path, "path,study_id,Osteopenia,Scoliosis,Gibbus", "a.png,s7,0,1,1")
    assert layout == "plain"
    assert set(table.findings) == {"Osteopenia", "Scoliosis"}  # beside two known ones, Gibbus must be named


def test_normal_of_cxr_lt_is_no_finding(tmp_path: Path) -> None:
    table, _ = read(tmp_path, "dicom_id,Normal,Hilum,Scoliosis", "02aa804e,1,0,0")
    assert table.findings == ("No Finding", "Hilum", "Scoliosis")


def test_one_of_two_columns_for_a_finding_is_read(tmp_path: Path) -> None:
    table, _ = read(tmp_path, "dicom_id,Normal,Hilum,No Finding,Scoliosis", "02aa804e,1,0,0,0")
    assert table.findings == ("No Finding", "Hilum", "Scoliosis")
    assert table.labels.tolist() == [[1, 0, 0]]
    table, _ = read(tmp_path, f"{OBSERVED},Path,lung_lesion", "0," * 14 + "patient00001/study1/view1_frontal.jpg,1")
    assert known(table.labels[0], table)["Lung Lesion"] == 0
