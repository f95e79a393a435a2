"""Anybody's CSV: what is a film, a patient, a finding, and what is an error."""

import gzip
import re
from pathlib import Path

import numpy as np
import pytest

from cxrscore.contract import Dataset, LabelTable
from cxrscore.errors import InputError
from cxrscore.labels import canonical, datasets, find_labels, read_labels


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.csv"
    path.write_text(text)
    return path


def read(tmp_path: Path, text: str) -> LabelTable:
    labels, layout = read_labels(table(tmp_path, text), datasets)
    assert layout == "plain"
    return labels


def test_table_by_hand(tmp_path: Path) -> None:
    labels = read(
        tmp_path,
        "film,patient,Pleural Effusion,Fracture,sex,age,view,ward\n"
        "a.png,p1,1,0,female,61,pa,north\n"
        "b/c.png,p2,,1.0,M,,AP,\n"
        '"d,e.png",p1,0.0, 1 ,,,,west\n',
    )
    assert labels.films == ("a.png", "b/c.png", "d,e.png")
    assert labels.patients == ("p1", "p2", "p1")
    assert labels.findings == ("Effusion", "Fracture")
    np.testing.assert_array_equal(labels.labels, np.array([[1, 0], [np.nan, 1], [0, 1]], np.float32))
    assert dict(labels.columns) == {
        "sex": ("F", "M", ""),
        "age": ("61", "", ""),
        "view": ("PA", "AP", ""),
        "ward": ("north", "", "west"),
    }


@pytest.mark.parametrize("film", ["film", "Image Index", "Image", "image", "path", "Path", "filename", "file"])
@pytest.mark.parametrize("patient", ["patient", "patient_id", "PatientId", "Patient ID", "subject_id"])
def test_names_of_columns(tmp_path: Path, film: str, patient: str) -> None:
    labels = read(tmp_path, f"Mass,{patient},{film}\n1,7,a.png\n")
    assert (labels.films, labels.patients, labels.findings) == (("a.png",), ("7",), ("Mass",))


def test_a_number_between_0_and_1_is_a_soft_label(tmp_path: Path) -> None:
    labels = read(tmp_path, "film,Mass,opinion,note\na.png,0.7,.25,0.5 or so\nb.png,,1e-1,\nc.png,1,1.,\n")
    assert labels.findings == ("Mass", "opinion")
    expected = np.array([[0.7, 0.25], [np.nan, 0.1], [1, 1]], np.float32)
    np.testing.assert_array_equal(labels.labels, expected)


def test_no_patient_column_is_no_patients(tmp_path: Path) -> None:
    assert read(tmp_path, "film,Mass\na.png,1\n").patients is None


def test_the_first_film_column_is_used(tmp_path: Path) -> None:
    labels = read(tmp_path, "Path,film,Mass\nfolder/x.png,a.png,1\n")
    assert labels.films == ("a.png",)
    assert labels.columns["Path"] == ("folder/x.png",)


def test_the_index_column_of_pandas_is_passed_over(tmp_path: Path) -> None:
    assert read(tmp_path, ",film,Mass\n0,a.png,1\n1,b.png,0\n2,c.png,0\n").findings == ("Mass",)


def test_a_known_finding_may_be_unknown_throughout(tmp_path: Path) -> None:
    labels = read(tmp_path, "film,Mass,Hernia,note\na.png,1,,\n")
    assert labels.findings == ("Mass", "Hernia")
    assert np.isnan(labels.labels[0, 1])
    assert labels.columns == {"note": ("",)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("film,Mass\na.png,.5\nb.png,-1\n", r"line 2: column Mass has '.5', expected 0, 1 or.*only beside 0 and 1"),
        (
            "film,Mass\na.png,1.7\n",
            "line 2: column Mass has '1.7', expected 0, 1 or nothing",
        ),
        ("film,Mass\na.png,-2\n", "line 2: column Mass has '-2'"),
        ("film,Mass\na.png,2\n", "line 2: column Mass has '2'.*for grades write 1 from"),
        ("film,Mass\na.png,0_1\n", "line 2: column Mass has '0_1'"),
        ("film,Mass\na.png,0\nb.png,100\nc.png,35\n", "line 3: column Mass has '100'.*divide percents by 100"),
        ("film,Mass\na.png,-3\nb.png,100\n", r"line 2: column Mass has '-3'.*\(a soft label\); write"),
        ("film,Mass,Edema\na.png,1,yes\nb.png,0,0\n", "line 3: column Edema has '0'.*has yes and no, and one column"),
        ("film,Mass,Edema\na.png,1,ja\n", "line 2: column Edema has 'ja'.*the German word.*write 1 and 0"),
        ("film,Mass,Edema\na.png,1,unsure\n", "line 2: column Edema has 'unsure'"),
        ("film,Mass,Fracture\na.png,1,\nb.png,0,Non\n", "line 3: column Fracture has 'Non'"),
        ("film,Mass,Effusion,Pleural Effusion\na.png,1,1,1\n", "two columns for Effusion"),
        ("film,Mass,Mass\na.png,1,1\n", "more than one column named Mass"),
        ("film,ward\na.png,north\n", "has no finding.*film, ward"),
        ("film,Mass\n,1\n", "line 2: column film is empty"),
        ("film,Mass\na.png\n", "line 2: 1 cells, expected 2"),
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("name,Mass\na.png,1\n", "none is known to name the films.*--film-column"),
    ],
)
def test_errors_say_where_and_what(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_labels(table(tmp_path, text), datasets)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"film,Mass\n\x81.png,1\n", "not UTF-8 at byte 10, and not a Western European text"),
        (b"\x1f\x8bnot gzip at all", "cannot be read"),
        (b"film,Mass\n" + b"x" * 200_000 + b",1\n", "line 2: field larger than"),
    ],
)
def test_files_that_are_no_text_table(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(data)
    with pytest.raises(InputError, match=message):
        read_labels(path, datasets)


@pytest.mark.parametrize("packed", [True, False])
def test_a_table_that_is_too_large_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    monkeypatch.setattr("cxrscore.labels.text_files.MAX_BYTES", 5_000_000)
    path = tmp_path / "mine.csv"
    text = b"film,Mass\n" + b"a.png,1\n" * 1_000_000
    path.write_bytes(gzip.compress(text) if packed else text)
    with pytest.raises(InputError, match="more than 5,000,000 bytes; expected a label table"):
        read_labels(path, datasets)


def test_an_absent_table_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_labels(tmp_path / "absent.csv", datasets)


def test_the_first_layout_that_knows_the_header_reads_it(tmp_path: Path) -> None:
    made = LabelTable(films=("x",), findings=("Mass",), labels=np.ones((1, 1), np.float32))
    mine = Dataset(name="mine", summary="", recognises=lambda columns: "film" in columns, read=lambda path: made)
    assert read_labels(table(tmp_path, "film,Mass\na.png,1\n"), [mine, *datasets]) == (made, "mine")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Pleural Effusion", "Effusion"),
        ("Infiltrate", "Infiltration"),
        ("Pleural Thickening", "Pleural_Thickening"),
        ("pleural_thickening", "Pleural_Thickening"),
        ("  hernia ", "Hernia"),
        ("Lung Opacity", "Lung Opacity"),
        ("No Finding", "No Finding"),
    ],
)
def test_canonical_names(name: str, expected: str) -> None:
    assert canonical(name) == expected


def test_labels_are_found_in_the_folder_before_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    films = tmp_path / "films"
    films.mkdir()
    assert find_labels(films) is None
    (tmp_path / "labels.csv").touch()
    assert find_labels(films) == tmp_path / "labels.csv"
    monkeypatch.chdir(films)
    assert find_labels(Path(".")) == tmp_path / "labels.csv"
    (films / "labels.csv").touch()
    assert find_labels(films) == films / "labels.csv"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "film Mass\na.png 1\n",
            "begins with 'film Mass', expected names of columns between commas, semicolons or tabs",
        ),
        (
            "a.png,1\nb.png,0\n",
            "begins with a.png, 1, expected the names of its columns: write a header above the rows",
        ),
        ("film,labels\na.png,Mass|Nodule\n", "expected columns of 0, 1 or nothing, one for each finding, beside film"),
    ],
)
def test_what_is_no_table_of_findings_is_refused_by_what_it_is(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(message)):
        read_labels(path, datasets)


@pytest.mark.parametrize(
    ("name", "known"),
    [("PleuralEffusion", "Effusion"), ("pleuralthickening", "Pleural_Thickening"), ("Pulmonary Oedema", "Edema")],
)
def test_findings_in_one_word(name: str, known: str) -> None:
    assert canonical(name) == known
