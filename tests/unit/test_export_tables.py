"""Scores as CSV, JSON and Parquet: what is in them, what is not, and that nothing in them runs."""

import csv
import io
import json
import re
import stat
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from few_scores import NAN, few_scores
from hypothesis import example, given
from hypothesis import strategies as st

from cxrscore.errors import InputError, WriteError
from cxrscore.export import ExportOptions, export_pieces, export_scores
from cxrscore.io.csv_text import escape_formula
from cxrscore.io.strict_json import schema


def exported(scores, name, **options):
    return b"".join(export_pieces(scores, ExportOptions(output=Path(name), **options))).decode()


# --- CSV


def test_the_table_by_hand():
    assert exported(few_scores(), "out.csv") == (
        "film,status,message,prob_Mass,prob_Edema\na.png,OK,,0.25,0.5\nb/c.png,OK,,0.1,0.9\nd.dcm,DAMAGED,cut short,,\n"
    )


def test_every_column_by_hand():
    before = np.array([[0.75, 0.125], [0.1, 0.9], [NAN, NAN]], np.float32)
    first = exported(few_scores(prob_uncalibrated=before), "out.csv", every_column=True).splitlines()[:2]
    assert first == [
        "film,status,message,sha256,kind,modality,view,width,height,patient,split,"
        "prob_Mass,prob_Edema,logit_Mass,logit_Edema,prob_uncalibrated_Mass,prob_uncalibrated_Edema,truth_Mass,"
        "truth_Edema",
        f"a.png,OK,,{'0' * 64},png,,,64,48,-1,,0.25,0.5,-1.0986123,0.0,0.75,0.125,1.0,1.0",
    ]


def test_the_layout_of_others_by_hand():
    assert exported(few_scores(), "out.csv", layout="peer") == (
        "Image Index,prob_Mass,prob_Edema\na.png,0.25,0.5\nc.png,0.1,0.9\nd.dcm,,\n"
    )


def test_the_layout_of_others_is_theirs_byte_for_byte(shared):
    text = (shared / "data" / "nih442" / "peer_preds.csv").read_text()
    head, *rows = list(csv.reader(io.StringIO(text)))
    scores = few_scores(
        [row[0] for row in rows],
        [name.removeprefix("prob_") for name in head[1:]],
        [[float(cell) for cell in row[1:]] for row in rows],
    )
    assert exported(scores, "out.csv", layout="peer") == text


def test_names_without_folders_must_be_distinct():
    with pytest.raises(InputError, match=r"2 films are called a\.png.*--layout plain"):
        exported(few_scores(["x/a.png", "y/a.png", "b.png"]), "out.csv", layout="peer")


@given(st.floats(width=32, min_value=0, max_value=1))
def test_a_number_is_the_same_float32_when_read_again(value):
    cell = exported(few_scores(["a.png"], ["Mass"], [[value]]), "out.csv").splitlines()[1].split(",")[3]
    assert np.float32(cell) == np.float32(value)


@pytest.mark.parametrize(
    "cell", ["=1+1", "+a", "-a", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "=cmd|' /C calc'!A0", "＝1", "-"]
)
def test_formulas_are_defused(cell):
    assert escape_formula(cell) == "'" + cell


@pytest.mark.parametrize("cell", ["", "-1", "+1.5", "-1e-7", "-.5", "a=b", "a.png", "0.5", "'=1"])
def test_what_is_no_formula_stays(cell):
    assert escape_formula(cell) == cell


@pytest.mark.parametrize("cell", ["-1+1", "+1e", "-1.2.3", "-1 ", "+0x1", "-inf", "-１"])
def test_what_only_begins_as_a_number_is_defused(cell):
    assert escape_formula(cell).startswith("'")


NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


@given(st.text(), st.text(min_size=1), st.text())
@example("", "0", "-0")
def test_no_cell_of_any_file_begins_a_formula(path, finding, message):
    scores = few_scores([path], [finding], [[NAN]], message=(message,))
    for layout in ("plain", "peer"):
        text = exported(scores, "out.csv", layout=layout)
        rows = list(csv.reader(io.StringIO(text, newline="")))
        assert len(rows) == 2
        begun = [cell for row in rows for cell in row if cell[:1] in ("=", "+", "-", "@", "\t", "\r") and cell]
        assert [cell for cell in begun if not NUMBER.fullmatch(cell)] == []


def test_names_that_are_not_utf_8_are_written_out():
    assert (
        exported(few_scores(["\udcff.png"], ["Mass"], [[0.5]]), "out.csv").splitlines()[1].startswith("\\udcff.png,OK")
    )


def test_no_films_are_a_table_without_rows():
    empty = few_scores([], ["Mass"], [])
    assert exported(empty, "out.csv") == "film,status,message,prob_Mass\n"
    assert exported(empty, "out.csv", layout="peer") == "Image Index,prob_Mass\n"
    assert json.loads(exported(empty, "out.json"))["films"] == []


def test_more_films_than_are_text_at_one_time():
    scores = few_scores([f"{row}.png" for row in range(9000)], ["Mass"], np.linspace(0, 1, 9000))
    rows = list(csv.DictReader(io.StringIO(exported(scores, "out.csv"))))
    assert [row["film"] for row in rows] == list(scores.films.path)
    assert np.array_equal(np.array([row["prob_Mass"] for row in rows], np.float32), scores.prob[:, 0])
    films = json.loads(exported(scores, "out.json"))["films"]
    assert [film["film"] for film in films] == list(scores.films.path)


# --- JSON


def test_the_document_by_hand_and_by_its_schema():
    found = json.loads(exported(few_scores(), "out.json"), parse_constant=lambda word: 1 / 0)
    jsonschema.validate(found, schema("export"))
    assert found["findings"] == [
        {"name": "Mass", "code": {"scheme": "SCT", "value": "4147007", "meaning": "Mass"}, "threshold": 0.2},
        {
            "name": "Edema",
            "code": {"scheme": "SCT", "value": "19242006", "meaning": "Pulmonary edema"},
            "threshold": None,
        },
    ]
    assert found["provenance"] == few_scores().provenance
    assert found["probabilities"] == "Probabilities are of unknown calibration."
    assert found["films"][1]["prob"] == {"Mass": 0.1, "Edema": 0.9}
    assert found["films"][2] == {
        "film": "d.dcm",
        "status": "DAMAGED",
        "message": "cut short",
        "sha256": f"{2:064x}",
        "kind": "dicom",
        "modality": "",
        "view": "",
        "width": 64,
        "height": 48,
        "patient": 1,
        "split": "valid",
        "prob": {"Mass": None, "Edema": None},
        "logit": {"Mass": None, "Edema": None},
        "prob_uncalibrated": {"Mass": None, "Edema": None},
        "truth": {"Mass": 1.0, "Edema": None},
    }


def test_what_json_does_not_have_is_null():
    odd = few_scores(["a.png"], ["Mass"], [[0.5]], provenance={"a": [float("inf"), NAN]})
    odd = replace(odd, logit=np.array([[np.inf]], np.float32))
    found = json.loads(exported(odd, "out.json"), parse_constant=lambda word: 1 / 0)
    assert found["provenance"] == {"a": [None, None]}
    assert found["films"][0]["logit"] == {"Mass": None}


def test_names_of_findings_cannot_change_what_a_value_is():
    findings = ("prob", "a_b", "logit_x", "film")
    found = json.loads(exported(few_scores(["a.png"], findings, [[0.1, 0.2, 0.3, 0.4]]), "out.json"))
    assert found["films"][0]["prob"] == dict(zip(findings, (0.1, 0.2, 0.3, 0.4), strict=True))
    assert found["films"][0]["film"] == "a.png"


def test_a_provenance_without_bottom_is_refused():
    deep: dict = {}
    for _ in range(100_000):
        deep = {"a": deep}
    with pytest.raises(InputError, match="nested too deep"):
        exported(few_scores(provenance=deep), "out.json")


# --- Parquet


def test_parquet_holds_all_of_it(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "out.parquet"
    export_scores(few_scores(), ExportOptions(output=path))
    table = parquet.read_table(path)
    assert table.column_names == exported(few_scores(), "x.csv", every_column=True).splitlines()[0].split(",")
    assert table["prob_Mass"].to_pylist() == [0.25, float(np.float32(0.1)), None]
    assert table["split"].to_pylist() == ["", "train", "valid"]
    assert {name: str(table.schema.field(name).type) for name in ("film", "prob_Mass", "width", "patient")} == {
        "film": "string",
        "prob_Mass": "float",
        "width": "uint32",
        "patient": "int32",
    }
    assert table.schema.field("prob_Edema").metadata[b"value"] == b"19242006"
    told = json.loads(table.schema.metadata[b"cxrscore"])
    assert told["provenance"] == few_scores().provenance
    assert told["findings"][0]["threshold"] == 0.2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_parquet_takes_names_that_are_not_unicode(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    export_scores(few_scores(["\udcff"], ["\udcfe"], [[0.5]]), ExportOptions(output=tmp_path / "out.pq"))
    table = parquet.read_table(tmp_path / "out.pq")
    assert table["film"].to_pylist() == ["\\udcff"]
    assert "prob_\\udcfe" in table.column_names


def test_without_pyarrow_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(InputError, match=r'pip install "cxrscore\[parquet\]"'):
        export_scores(few_scores(), ExportOptions(output=tmp_path / "out.parquet"))
    assert list(tmp_path.iterdir()) == []


# --- files and options


def test_a_file_is_for_its_owner_and_is_not_replaced_unasked(tmp_path):
    path = tmp_path / "out.csv"
    result = export_scores(few_scores(), ExportOptions(output=path))
    assert (result.format, result.films, result.unscored, result.files) == ("csv", 3, 1, 1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("mine")
    with pytest.raises(InputError, match=r"out\.csv exists.*--overwrite"):
        export_scores(few_scores(), ExportOptions(output=path))
    assert path.read_text() == "mine"
    export_scores(few_scores(), ExportOptions(output=path, overwrite=True))
    assert path.read_text().startswith("film,")


def test_what_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(WriteError, match=r"cannot write .*out\.csv"):
        export_scores(few_scores(), ExportOptions(output=tmp_path / "none" / "out.csv"))
    with pytest.raises(InputError, match="is a folder"):
        export_scores(few_scores(), ExportOptions(output=tmp_path, kind="csv"))
    with pytest.raises(InputError, match="2 films are called"):
        export_scores(few_scores(["x/a", "y/a", "b"]), ExportOptions(output=tmp_path / "peer.csv", layout="peer"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("out.xlsx", {}, "names no format; expected .csv, .json, .parquet, .pq, or --to"),
        ("out", {}, "names no format"),
        ("out.json", {"layout": "peer"}, "--layout has no meaning for the format json"),
        ("out.json", {"every_column": True}, "--all-columns has no meaning for the format json"),
        ("out.csv", {"every_column": True, "layout": "peer"}, "--all-columns has no meaning for the format csv with"),
        ("out.csv", {"films": Path("films")}, "--films has no meaning for the format csv"),
        ("out.parquet", {"with_patient": True}, "--with-patient has no meaning for the format parquet"),
    ],
)
def test_options_that_do_not_fit_are_told(name, options, words):
    with pytest.raises(InputError, match=words.replace("(", r"\(")):
        ExportOptions(output=Path(name), **options).chosen_kind()


@pytest.mark.parametrize(("name", "kind"), [("a.CSV", "csv"), ("a.json", "json"), ("a.b.pq", "parquet")])
def test_the_suffix_names_the_format(name, kind):
    assert ExportOptions(output=Path(name)).chosen_kind() == kind
    assert ExportOptions(output=Path(name), kind="json").chosen_kind() == "json"


def test_objects_of_dicom_need_no_format():
    assert ExportOptions(output=Path("objects"), objects=("sr",), films=Path("films")).chosen_kind() == "dicom"
    with pytest.raises(InputError, match="--objects has no meaning for the format csv"):
        ExportOptions(output=Path("out.csv"), objects=("sr",)).chosen_kind()
