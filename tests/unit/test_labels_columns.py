"""Which column of a label table is the film, the patient and a finding: by name, by its cells, or as the user says."""

from pathlib import Path

import numpy as np
import pytest

from cxrscore.contract import Dataset, LabelTable
from cxrscore.errors import InputError
from cxrscore.labels import LabelRules, datasets, describe_table, grouping, read_joined_labels
from cxrscore.labels.findings import is_known_finding
from cxrscore.labels.patients import patient_of_film
from cxrscore.labels.read import LabelReading, read_label_table
from cxrscore.labels.roles import MAX_NAMES, ColumnRoles

NIH = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"


def written(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def read(tmp_path: Path, header: str, *rows: str, **rules: object) -> LabelReading:
    return read_label_table(written(tmp_path, header, *rows), datasets, LabelRules(**rules))


PATIENTS = (
    *("PatientID", "patientId", "MRN", "PATIENT_ID", "Patient", "Patient Id", "patient-id", "Subject ID", "mrn", "pid"),
    *("SubjectID", "participant_id", "Pt ID", "deid_patient_id", "Medical Record Number", "Anon Patient ID"),
)


@pytest.mark.parametrize("patient", PATIENTS)
def test_the_patient_in_any_usual_spelling(tmp_path, patient):
    reading = read(tmp_path, f"film,{patient},Mass", "a.png,p1,1", "b.png,p1,0")
    assert reading.table.patients == ("p1", "p1")
    assert reading.roles == ColumnRoles(film="film", patient=patient, findings=("Mass",))


@pytest.mark.parametrize("film", ["FILM", "image_path", "Image ID", "File Name", "dicom_id", "SOPInstanceUID"])
def test_the_film_in_any_usual_spelling(tmp_path, film):
    assert read(tmp_path, f"Mass,{film}", "1,a.png").table.films == ("a.png",)


def test_columns_that_the_user_names(tmp_path):
    rows = ("f1,x,7,1,0", "f2,y,8,0,1")
    header = "Datei,film,Akte,Erguss,Mass"
    reading = read(tmp_path, header, *rows, film_column="Datei", patient_column="akte", findings=("Effusion=Erguss",))
    assert (reading.table.films, reading.table.patients) == (("f1", "f2"), ("7", "8"))
    assert reading.table.findings == ("Effusion",)
    assert reading.table.labels.tolist() == [[1], [0]]
    assert reading.roles.findings == ("Effusion (Erguss)",)
    for option in ("film_column", "patient_column"):
        with pytest.raises(
            InputError, match=rf"{option} names the column 'Bild', which is not there.*it has Datei, film"
        ):
            read(tmp_path, header, *rows, **{option: "Bild"})


def test_a_film_column_makes_any_table_readable(tmp_path):
    with pytest.raises(InputError, match=r"Datei, Mass, of which none is known to name the films.*--film-column"):
        read(tmp_path, "Datei,Mass", "a.png,1")
    assert read(tmp_path, "Datei,Mass", "a.png,1", film_column="datei").table.films == ("a.png",)


def test_a_name_that_two_columns_could_mean_is_refused(tmp_path):
    with pytest.raises(InputError, match="patient_column names the column 'akte', which could be 'Akte' or 'AKTE'"):
        read(tmp_path, "film,Akte,AKTE,Mass", "a.png,1,2,1", patient_column="akte")


# --- findings


def test_what_is_known_to_be_no_finding_is_none(tmp_path):
    header = "film,Silicosis,male,Is_Test,fold,split,Unnamed: 0,AP,Study ID"
    reading = read(tmp_path, header, "a.png,1,1,0,0,1,0,1,1", "b.png,0,0,0,1,1,1,0,0")
    assert reading.table.findings == ("Silicosis",)
    assert reading.roles.others == ("male", "Is_Test", "fold", "split", "AP", "Study ID")
    assert read(tmp_path, "film,Erguss,Männlich,sexo", "a.png,1,1,1", "b.png,0,1,0").table.findings == ("Erguss",)
    asked = read(tmp_path, "film,Silicosis,male", "a.png,1,1", "b.png,0,1", findings=("all", "male"))
    assert asked.table.findings == ("Silicosis", "male")


@pytest.mark.parametrize("name", ["sex_M", "gender_male", "Fold 1", "age_over_65", "inTestSet", "cv_fold_3", "offset"])
def test_a_word_of_the_name_may_tell_that_a_column_is_no_finding(tmp_path, name):
    reading = read(tmp_path, f"film,Mass,{name}", "a.png,1,1", "b.png,0,0")
    assert (reading.table.findings, reading.roles.others) == (("Mass",), (name,))


def test_beside_two_known_findings_an_unknown_one_must_be_named(tmp_path):
    header, rows = "film,Effusion,Mass,opinion,note", ("a.png,1,0,1,x", "b.png,0,1,0.5,y")
    reading = read(tmp_path, header, *rows)
    assert reading.table.findings == ("Effusion", "Mass")
    assert (reading.roles.unsure, reading.roles.others) == (("opinion",), ("opinion", "note"))
    assert reading.table.columns["opinion"] == ("1", "0.5")
    named = read(tmp_path, header, *rows, findings=("all", "opinion"))
    assert named.table.findings == ("Effusion", "Mass", "opinion")
    assert named.roles.unsure == ()
    assert read(tmp_path, "film,Effusion,opinion", "a.png,1,1").table.findings == ("Effusion", "opinion")


def test_a_column_that_is_almost_a_finding_is_an_error_and_another_number_is_a_text(tmp_path):
    rows = [f"{i}.png,{i % 2},{i % 2},{60 + i}" for i in range(20)]
    with pytest.raises(InputError, match="line 22: column opinion has '2', expected 0, 1 or nothing"):
        read(tmp_path, "film,Mass,opinion,kg", *rows, "x.png,1,2,71")
    assert read(tmp_path, "film,Mass,opinion,kg", *rows).roles.others == ("kg",)


def test_a_further_finding_of_a_layout(tmp_path):
    rows = ("00000001_000.png,Mass,0,1,50,M,PA,1", "00000002_000.png,No Finding,0,2,50,F,AP,0")
    plain = read(tmp_path, f"{NIH},COVID", *rows)
    assert len(plain.table.findings) == 14
    assert plain.roles.ignored == ("Follow-up #", "COVID")
    more = read(tmp_path, f"{NIH},COVID", *rows, findings=("all", "Covid-19=covid"))
    assert more.table.findings == (*plain.table.findings, "Covid-19")
    np.testing.assert_array_equal(more.table.labels[:, -1], [1, 0])
    assert more.roles.ignored == ("Follow-up #",)
    assert more.roles.findings == ("Finding Labels", "Covid-19 (COVID)")
    some = read(tmp_path, f"{NIH},COVID", *rows, findings=("COVID", "Mass"))
    assert (some.table.findings, some.table.labels.tolist()) == (("COVID", "Mass"), [[1, 1], [0, 0]])
    with pytest.raises(InputError, match=r"lacks \(to name its column, write Erguss=COLUMN\); it has .*COVID$"):
        read(tmp_path, f"{NIH},COVID", *rows, findings=("Erguss",))
    with pytest.raises(InputError, match=r"findings names the finding 'Covit', .*Follow-up #, COVID$"):
        read(tmp_path, f"{NIH},COVID", *rows, findings=("Covit",))
    with pytest.raises(InputError, match="line 2: column Follow-up # has '7', expected 0, 1"):
        read(tmp_path, NIH, "00000001_000.png,Mass,7,1,50,M,PA", findings=("more=Follow-up #",))


def test_a_column_instead_of_the_finding_of_a_layout(tmp_path):
    rows = ("00000001_000.png,Mass,0,1,50,M,PA,0", "00000002_000.png,No Finding,0,2,50,F,AP,1")
    reading = read(tmp_path, f"{NIH},mass by hand", *rows, findings=("Effusion", "Mass=mass by hand"))
    assert (reading.table.findings, reading.table.labels.tolist()) == (("Effusion", "Mass"), [[0, 0], [0, 1]])


def test_other_films_and_patients_of_a_layout(tmp_path):
    rows = ("00000001_000.png,Mass,0,1,50,M,PA,x.dcm,m1", "00000002_000.png,No Finding,0,2,50,F,AP,y.dcm,m1")
    reading = read(tmp_path, f"{NIH},DICOM,MRN", *rows, film_column="dicom", patient_column="MRN")
    assert (reading.table.films, reading.table.patients) == (("x.dcm", "y.dcm"), ("m1", "m1"))
    assert (reading.roles.film, reading.roles.patient) == ("DICOM", "MRN")
    assert reading.table.findings == read(tmp_path, NIH, *(row[:-9] for row in rows)).table.findings


def test_a_layout_with_several_rows_of_a_film_has_no_other_columns(tmp_path):
    header, row = "patientId,x,y,width,height,Target,MRN", "p1,,,,,0,7"
    with pytest.raises(InputError, match=r"need a table with one row per film, and .* has the layout rsna"):
        read(tmp_path, header, row, patient_column="MRN")
    mine = Dataset(name="mine", summary="", recognises=lambda columns: True, read=lambda path: TABLE)
    with pytest.raises(InputError, match="has the layout mine"):
        read_label_table(written(tmp_path, header, row), [mine], LabelRules(film_column="MRN"))


TABLE = LabelTable(films=("a.png",), findings=("Mass",), labels=np.ones((1, 1), np.float32), columns={"ward": ("n",)})


def test_the_columns_of_a_reader_of_another_package_are_told_by_name(tmp_path):
    mine = Dataset(name="mine", summary="", recognises=lambda columns: True, read=lambda path: TABLE)
    path = written(tmp_path, "id,mass,ward,bed", "a.png,1,n,3")
    assert read_label_table(path, [mine]).roles == ColumnRoles(film="", findings=("mass",), others=("ward",))


def test_a_column_for_a_finding_of_a_model(tmp_path):
    header, rows = "film,Erguss,Mass,kg", ("a.png,1,0,71", "b.png,0,1,80")
    rules = {"model": ("Effusion", "Mass"), "findings": ("Effusion=Erguss",)}
    reading = read(tmp_path, header, *rows, **rules)
    assert dict(zip(reading.table.findings, reading.table.labels.T.tolist(), strict=True)) == {
        "Effusion": [1, 0],
        "Mass": [0, 1],
    }


def test_a_column_for_a_finding_of_a_model_beside_those_of_a_layout(tmp_path):
    rows = ("00000001_000.png,Mass,0,1,50,M,PA,0", "00000002_000.png,No Finding,0,2,50,F,AP,1")
    rules = {"model": ("Mass", "Edema"), "findings": ("Mass=by hand",)}
    table = read(tmp_path, f"{NIH},by hand", *rows, **rules).table
    assert table.labels[:, table.findings.index("Mass")].tolist() == [0, 1]
    assert table.labels[:, table.findings.index("Edema")].tolist() == [0, 0]


@pytest.mark.parametrize(
    "rules", [{"model": ("Mass",), "findings": ("Mass=by hand",)}, {"findings": ("all", "Mass=by hand")}]
)
def test_a_named_column_stands_in_for_the_one_of_that_name(tmp_path, rules):
    reading = read(tmp_path, "film,mass,by hand,kg", "a.png,1,0,71", "b.png,0,1,80", **rules)
    assert (reading.table.findings, reading.table.labels.tolist()) == (("Mass",), [[0], [1]])
    assert reading.roles.others == ("mass", "kg")


@pytest.mark.parametrize("text", ["", "=", "Mass=", "=column"])
def test_what_is_no_finding_with_a_column(text):
    with pytest.raises(InputError, match="expected NAME or NAME=COLUMN"):
        LabelRules(findings=(text,))


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("pleural_effusion", True),
        ("COVID-19", True),
        ("Covid19", True),
        ("TB", True),
        ("PleuralThickening", True),
        ("Aortic enlargement", True),
        ("male", False),
        ("fold", False),
    ],
)
def test_known_findings(name, known):
    assert is_known_finding(name) is known


# --- patients


@pytest.mark.parametrize(
    ("film", "patient"),
    [
        ("00000013_005.png", "13"),
        ("images/00000013_005", "13"),
        ("00030805_000.jpg", "30805"),
        ("00030806_000.png", ""),  # NIH has 30,805 patients
        ("20260101_001.png", ""),  # a date
        ("CheXpert-v1.0-small/train/patient00042/study1/view1_frontal.jpg", "patient00042"),
        ("patient00042_study1_view1_frontal.png", "patient00042"),
        ("files/p10/p10000032/s50414267/02aa804e-bde0afdd-112c0b34-7bc16630-4e384014.jpg", "10000032"),
        ("images/id_00a1-b/Study_1.2/Series_3.4/image-1-2.png", "id_00a1-b"),
        ("CXR12_1_IM-0001-3001.png", "12"),
        ("12_IM-0001-4001.dcm.png", "12"),
        ("patient7/study1/a.png", ""),
        ("film.png", ""),
    ],
)
def test_patients_in_names(film, patient):
    assert patient_of_film(film) == patient


def test_patients_of_names_where_no_column_tells(tmp_path):
    films = ["00000007_000.png", "00000007_001.png", "other.png"]
    path = written(tmp_path, "Image Index,Mass,Effusion", *(f"{film},1,0" for film in films))
    joined, record = read_joined_labels(path, datasets, films)
    assert joined.patients == ("7", "7", None)
    assert joined.patient_source == record["patients"] == "names of the films"
    assert "patient = names of the films" in describe_table(record)


def test_patients_of_a_column_come_before_those_of_names(tmp_path):
    films = ["00000007_000.png", "00000007_001.png"]
    path = written(tmp_path, "film,MRN,Mass", "00000007_000.png,a,1", "00000007_001.png,b,0")
    joined, record = read_joined_labels(path, datasets, films)
    assert joined.patients == ("a", "b")
    assert record["patients"] == "column MRN"


def test_names_tell_the_patients_of_empty_cells(tmp_path):
    films = ["00000007_000.png", "00000007_001.png", "00000008_000.png", "00000008_001.png", "own.png"]
    path = written(tmp_path, "film,MRN,Mass", f"{films[0]},a,1", *(f"{film},,0" for film in films[1:]))
    joined, record = read_joined_labels(path, datasets, films)
    assert joined.patients == ("a", "a", "8", "8", None)
    assert record["patients"] == "column MRN and names of the films"
    assert "patient = MRN and names of the films;" in describe_table(record)


def test_an_empty_column_of_patients_tells_none(tmp_path):
    joined, record = read_joined_labels(written(tmp_path, "film,MRN,Mass", "a.png,,1"), datasets, ["a.png"])
    assert (joined.patients, joined.patient_source) == ((None,), "")
    assert "patient = unknown (no film has one in MRN);" in describe_table(record)


@pytest.mark.parametrize(
    "name",
    [
        *("PatID", "pat_nr", "Patienten-ID", "PatientenNummer", "ID_Patient", "id_paciente", "SubjID", "PatientUID"),
        *("Anon_ID", "anon_mrn", "NHS Number", "study_patient_id", "DeidentifiedPatientID", "pseudonymised_id"),
        *("Chart Number", "case_no", "unique_patient_id", "patient_index", "Patient #", "hashed_patient_key", "患者ID"),
    ],
)
def test_a_usual_name_of_the_patient_is_known(tmp_path, name):
    joined, record = read_joined_labels(written(tmp_path, f"film,{name},Mass", "a.png,7,1"), datasets, ["a.png"])
    assert joined.patients == ("7",)
    assert record["columns"]["patient"] == name


@pytest.mark.parametrize("name", ["patient_age_group", "PatientBirth", "Patient Status", "note", "pathology", "study"])
def test_what_is_about_patients_is_not_the_patient(tmp_path, name):
    joined, _ = read_joined_labels(written(tmp_path, f"film,{name},Mass", "a.png,x7,1"), datasets, ["a.png"])
    assert (joined.patients, joined.maybe_patients) == ((None,), ())


@pytest.mark.parametrize("name", ["patient_study_id", "member", "client_id", "pt", "record_id", "pid_x"])
def test_a_column_that_may_be_the_patient_is_named(tmp_path, name):
    path = written(tmp_path, f"film,{name},patient_age_group,Mass", "a.png,7,2,1")
    joined, record = read_joined_labels(path, datasets, ["a.png"])
    assert (joined.patient_source, joined.maybe_patients) == ("", (name,))
    assert "patient = unknown" in describe_table(record)


def test_a_column_of_identifiers_of_a_few_films_each_may_be_the_patient(tmp_path):
    films = [f"f{place}.png" for place in range(9)]
    rows = (f"{film},K{place // 3:03},W-1,{place},E{place},1" for place, film in enumerate(films))
    path = written(tmp_path, "film,Kennung,lot,dose,scan,Mass", *rows)
    assert read_joined_labels(path, datasets, films)[0].maybe_patients == ("Kennung",)


@pytest.mark.parametrize(
    ("patients", "words"),
    [
        (["a", "a", "b"], "by patient"),
        ([None, None], "by film"),
        (["a", None, None], "by patient (2 films without one each by itself)"),
    ],
)
def test_words_of_a_split(patients, words):
    assert grouping(patients) == words


# --- the record


def test_the_record_of_a_wide_table_is_short(tmp_path):
    header = ",".join(["film", "Mass", *(f"c{i}" for i in range(500))])
    path = written(tmp_path, header, ",".join(["a.png", "1", *["x"] * 500]))
    _, record = read_joined_labels(path, datasets, ["a.png"])
    assert len(record["columns"]["others"]) == MAX_NAMES
    assert describe_table(record).endswith("c7 and 42 more")
