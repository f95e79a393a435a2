"""Tables as spreadsheets and other programs save them: the same labels from each, or an error that names what it is."""

import csv
import datetime
import gzip
import io
import itertools
import json
import sqlite3
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from cxrscore.errors import InputError
from cxrscore.labels import (
    LabelRules,
    datasets,
    describe_table,
    read_joined_labels,
    read_labels,
    read_split,
    table,
    text_files,
)
from cxrscore.labels.boxes import read_boxes
from cxrscore.labels.excel import _has_formula_without_value
from cxrscore.labels.nih import FILM

NAN = float("nan")
HEADER = ("film", "patient", "Mass", "Pleural Effusion", "age", "note")
ROWS = (
    ("a.png", "00012", "1", "0.5", "61.0", "Zoë, said: twice"),
    ("b.png", "00013", "0", "", "7", "x; y | z"),
    ("c.png", "00013", "1.0", "0", "", ""),
)
LABELS = [[1, 0.5], [0, NAN], [1, 0]]


def saved(folder: Path, data: str | bytes, name: str = "labels.csv") -> Path:
    (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return folder / name


def written(delimiter: str = ",", comma: bool = False, end: str = "\r\n", rows: Sequence[Sequence[str]] = ROWS) -> str:
    """The table of HEADER and these rows as text; comma: numbers have a decimal comma."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end)
    writer.writerow(HEADER)
    for row in rows:
        writer.writerow(
            [cell.replace(".", ",") if comma and place in (2, 3, 4) else cell for place, cell in enumerate(row)]
        )
    return text.getvalue()


def check(path: Path, dialect: str = "") -> None:
    """The table says what ROWS say, and its dialect is told."""
    labels, layout = read_labels(path, datasets)
    assert layout == "plain"
    assert labels.films == ("a.png", "b.png", "c.png")
    assert labels.patients == ("00012", "00013", "00013")
    assert labels.findings == ("Mass", "Effusion")
    np.testing.assert_array_equal(labels.labels, np.array(LABELS, np.float32))
    assert labels.columns["age"] == ("61", "7", "")
    assert labels.columns["note"] == ("Zoë, said: twice", "x; y | z", "")
    assert table.read_table(path).dialect == table.file_dialect(path) == dialect


@pytest.mark.parametrize(
    ("delimiter", "comma", "dialect"),
    [
        (",", False, ""),
        (";", False, "semicolons"),
        (";", True, "semicolons, decimal commas"),
        ("\t", False, "tabs"),
        ("\t", True, "tabs, decimal commas"),
        ("|", False, "vertical bars"),
        ("|", True, "vertical bars, decimal commas"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_delimiters_and_line_ends(tmp_path: Path, delimiter: str, comma: bool, dialect: str, end: str) -> None:
    check(saved(tmp_path, written(delimiter, comma, end)), dialect)


@pytest.mark.parametrize(
    ("encoding", "mark", "dialect"),
    [
        ("utf-8-sig", b"", "semicolons"),
        ("utf-16-le", b"\xff\xfe", "semicolons, UTF-16"),
        ("utf-16-be", b"\xfe\xff", "semicolons, UTF-16"),
        ("utf-16-le", b"", "semicolons, UTF-16"),
        ("utf-16-be", b"", "semicolons, UTF-16"),
        ("cp1252", b"", "semicolons, Windows-1252 (accents may be wrong)"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_encodings(tmp_path: Path, encoding: str, mark: bytes, dialect: str, packed: bool) -> None:
    data = mark + written(";").encode(encoding)
    check(saved(tmp_path, gzip.compress(data) if packed else data), dialect)


@pytest.mark.parametrize("first", ["sep=;\r\n", '"sep=;"\n', "SEP=;\n"])
def test_a_first_line_states_the_delimiter(tmp_path: Path, first: str) -> None:
    path = saved(tmp_path, first + written(";", comma=True))
    check(path, "semicolons, decimal commas")
    assert table.read_table(path).lines[0] == 3
    check(saved(tmp_path, "sep=,\n" + written()))
    check(saved(tmp_path, "sep=\t\n" + written("\t")), "tabs")
    with pytest.raises(InputError, match=r"line 1: 'sep=#' states '#'; expected one of ,, ;, tab, \|"):
        read_labels(saved(tmp_path, "sep=#\nfilm#Mass\n"), datasets)


@pytest.mark.parametrize("program", ["blank lines", "delimiters", "index", "unnamed", "blanks", "marks", "formulas"])
def test_what_programs_add(tmp_path: Path, program: str) -> None:
    lines = written(";", end="\n").splitlines()
    added = {
        "blank lines": ["", ";;;;;", *lines, "", " ; ; "],
        "delimiters": [f"{line};;" for line in lines],
        "index": [f"{place or ''};{line}" for place, line in enumerate(lines)],
        "unnamed": [f"{place or 'Unnamed: 0'};{line}" for place, line in enumerate(lines)],
        "blanks": [line.replace(";", "\N{NO-BREAK SPACE}; ", 3) for line in lines],
        "marks": [f"\ufeff{line}" for line in lines],
        "formulas": [line.replace("00012", '="00012"').replace("00013", '"=""00013"""') for line in lines],
    }[program]
    check(saved(tmp_path, "\n".join(added)), "semicolons")


def test_a_no_break_space_within_a_name(tmp_path: Path) -> None:
    path = saved(tmp_path, written(";").replace("Pleural Effusion", "Pleural\N{NO-BREAK SPACE}Effusion"))
    check(path, "semicolons")


NIH = "Image Index{0}Finding Labels{0}Patient ID{0}OriginalImage[Width,Height]{0}OriginalImagePixelSpacing[x,y]"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_bars_and_commas_of_nih_separate_no_cells(tmp_path: Path, delimiter: str) -> None:
    header = NIH.format(delimiter) if delimiter != "," else "Image Index,Finding Labels,Patient ID"
    row = delimiter.join(["00000001_000.png", "Mass|Effusion", "1", *(["2,3", "4,5"] if delimiter != "," else [])])
    labels, layout = read_labels(saved(tmp_path, f"{header}\n{row}\n" + row.replace("_000", "_001")), datasets)
    assert layout == "nih"
    assert labels.labels.sum() == 4
    full = (
        "Image Index,Finding Labels,Patient ID,OriginalImage[Width,Height],Spacing[x,y]\n1_000.png,Mass|Edema,1,2,3,4,5"
    )
    assert read_labels(saved(tmp_path, full), datasets)[0].labels.sum() == 2


def test_boxes_of_nih_with_semicolons_and_decimal_commas(tmp_path: Path) -> None:
    text = f"{FILM};Finding Label;Bbox [x;y;w;h]\n1_000.png;Mass;1,5;2;3,25;4\n"
    (box,) = read_boxes(saved(tmp_path, text))
    assert (box.x, box.y, box.width, box.height) == (1.5, 2, 3.25, 4)


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [
        ("film\na.png\n", ","),
        ("a;b.png\nc.png\nd.png\n", ","),
        ("film,Mass;Nodule\na.png,1\n", ","),
        ("film,what (a; b)\na;b.png,1\n", ","),
        ("film;Mass, large;Edema\na.png;1;0\n", ";"),
        ('film,"Mass;Nodule"\na.png,1;0\n', ","),
        ('"film;x";Mass\na.png;0,5\n', ";"),
        ("film;Mass\n", ";"),
        ("film,a,b,c,d,e;f\nx,1,1,1,1,1;0\n", ","),
        ("film;Mass\na.png;0,5\nb.png;1,0\n", ";"),
        ("film,Mass|Nodule\na.png,1\n", ","),
        ("film\tMass, large\na.png\t0,5\n", "\t"),
    ],
)
def test_the_header_tells_the_delimiter(tmp_path: Path, text: str, delimiter: str) -> None:
    assert table._Records(saved(tmp_path, text)).delimiter == delimiter


def test_two_delimiters_that_both_fit_are_named(tmp_path: Path) -> None:
    words = r"separated by commas or by semicolons; write sep=, or sep=; as its first line"
    with pytest.raises(InputError, match=words):
        read_labels(saved(tmp_path, "film,Mass;Nodule\na.png,1;0\n"), datasets)
    labels, _ = read_labels(saved(tmp_path, "sep=;\nfilm;Mass, large\na.png;0,5\n"), datasets)
    assert labels.labels.tolist() == [[0.5]]


@pytest.mark.parametrize(
    ("cells", "read"),
    [
        (["0,5", "1", "NA"], ["0.5", "1", "NA"]),
        (["1,5e-1", "-1,0"], ["1.5e-1", "-1.0"]),
        (["1,234", "5"], ["1,234", "5"]),  # thousands?
        (["1,234", "0,5"], ["1.234", "0.5"]),
        (["1.234", "0,5"], ["1.234", "0,5"]),  # thousands and decimals?
        (["0,5", "x"], ["0,5", "x"]),
        (["1,2,3", "0,5"], ["1,2,3", "0,5"]),
    ],
)
def test_decimal_commas_of_a_column(tmp_path: Path, cells: list[str], read: list[str]) -> None:
    path = saved(tmp_path, "\n".join(["film\tvalue", *(f"f{place}\t{cell}" for place, cell in enumerate(cells))]))
    found = table.read_table(path)
    assert found.column("value") == read
    assert ("decimal commas" in found.dialect) == (cells != read)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Export of 2024\nfilm,Mass\na,1\n", r"line 1: 'Export of 2024', but .* 2 cells. If line 2 \('film', 'Mass'\)"),
        (
            "Export of 2024\n\nfilm;Mass\na;1\n",
            r"line 1: 'Export of 2024', .*If line 3 \('film', 'Mass'\) is the header",
        ),
        ("Export;;\n;;\nfilm;Mass;Edema\na;1;0\n", r"If line 3 \('film', 'Mass', 'Edema'\)"),
        ("# by me, today\nfilm,Mass,Edema\na,1,0\n", r"If line 2 \('film', 'Mass', 'Edema'\)"),
        ('film,Mass\na.png,1\n"b.png,0\nc.png,1\n', "line 3: a quote opens in the row that begins here"),
        ("film,Mass\na.png,1\n" + '"' + "b.png,0\n" * 30_000, "the row begins on line 3: is a quote there not closed"),
        (
            "film;Mass\na.png;1;1\n",
            "line 2: 3 cells, expected 2 as in the header .are there row names",
        ),
    ],
)
def test_damaged_texts(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_labels(saved(tmp_path, text), datasets)


def test_a_header_of_few_names_is_no_title(tmp_path: Path) -> None:
    assert table.read_header(saved(tmp_path, ",film\n0,a\n1,b\n")) == ("", "film")
    assert table.read_header(saved(tmp_path, "#,film,Mass\n0,a,1\n1,b,1\n")) == ("#", "film", "Mass")
    assert table.read_header(saved(tmp_path, "film\n'a'\n")) == ("film",)


def zipped(*members: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for member in members:
            archive.writestr(member, "x")
    return data.getvalue()


def database() -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.execute("create table labels (film)")
    return connection.serialize()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), r"an old Excel file \(.xls\) or one with a password: save"),
        (zipped("mimetype", "content.xml"), r"an OpenDocument file \(.ods\): save it as .xlsx or CSV"),
        (zipped("Index/Document.iwa"), "a Numbers file: export it as CSV"),
        (zipped("xl/workbook.bin"), r"an Excel binary file \(.xlsb\)"),
        (zipped("labels.csv"), "a ZIP archive: unpack it"),
        (zipped("labels.csv")[:-30], "begins like a ZIP archive or an Excel file, but is damaged"),
        (b"$FL2@(#) SPSS DATA FILE" + bytes(99), r"an SPSS file \(.sav\)"),
        (b"<stata_dta><header>" + bytes(99), r"a Stata file \(.dta\)"),
        (b"\x72\x02\x01\x00" + bytes(99), r"a Stata file \(.dta\)"),
        (b"PAR1\x15\x04\x15" + bytes(99), "a Parquet file: write it as CSV"),
        (b"ARROW1\0\0" + bytes(99), "a Feather"),
        (gzip.compress(b"RDX3\nX\n\0\0\0\3"), "an R data file"),
        (database(), "an SQLite database"),
        (b"%PDF-1.7\n", "a PDF file"),
        (b"\n<!DOCTYPE html>\n<table>", r"a web page \(HTML\), as some programs save under .xls"),
        ("\ufeff<html><table>".encode("utf-16"), "a web page"),
        (
            b"<?xml version='1.0'?>\n<Workbook xmlns='urn:schemas-microsoft-com:office:spreadsheet'>",
            "an Excel 2003 XML",
        ),
        (json.dumps([{"film": "a"}]).encode(), "a JSON file: write it as CSV"),
        (json.dumps({"film": ["a"]}, indent=1).encode(), "a JSON file"),
        ("film,Mass\n".encode("utf-32"), "a text in UTF-32: save it as CSV in UTF-8"),
        (b"BZh91AY&SY" + bytes(99), "packed with bzip2: unpack it"),
        (bytes(128) + b"DICM", "a DICOM file; expected a CSV file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\n", "a Git LFS pointer in place of the table"),
        ("film,Mass\nЖенщина.png,1\n".encode("cp1251"), "not UTF-8 at byte 10, and not a Western European text"),
        ("film,Mass\nÜbung.png,1\n".encode() + b"\xe9t\xe9.png,0\n", "not UTF-8 at byte .* it is damaged"),
        (b"\xff\xfef\0i\0\0\xd8\0\0", "is not UTF-16-LE near byte 0"),
        ("film,Ma\0ss\na.png,1\n".encode("utf-16"), "it has a NUL character"),
    ],
    ids=itertools.count(),  # the bytes would be the names, and those of archives hold the time
)
def test_other_files_are_named(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_labels(saved(tmp_path, data), datasets)


def test_letters_of_a_signature_may_begin_a_name(tmp_path: Path) -> None:
    assert table.read_header(saved(tmp_path, "ORCID,film,Mass\n1,a,1\n")) == ("ORCID", "film", "Mass")


def test_the_dialect_is_kept_and_told(tmp_path: Path) -> None:
    path = saved(tmp_path, written(";", comma=True).encode("utf-16"))
    record = read_joined_labels(path, datasets, ["a.png"])[1]
    assert record["dialect"] == "semicolons, UTF-16, decimal commas"
    assert describe_table(record).startswith("labels.csv (layout plain; semicolons, UTF-16, decimal commas): film")
    assert "dialect" not in read_joined_labels(saved(tmp_path, written()), datasets, ["a.png"])[1]


def test_lists_of_films_have_dialects_too(tmp_path: Path) -> None:
    saved(tmp_path, "a.png\r\nb.png\r\n".encode("utf-16"), "test_list.txt")
    path = saved(tmp_path, "c.png\rd.png\r".encode("utf-8-sig"), "train_val_list.txt")
    split = read_split(path, ["a.png", "b.png", "c.png", "d.png"])
    assert (split.train, split.test) == ((2, 3), (0, 1))
    split = read_split(saved(tmp_path, "film;split\na.png;train\nb.png;test\n"), ["a.png", "b.png"])
    assert (split.train, split.test) == ((0,), (1,))


def workbook(folder: Path, sheets: dict[str, Sequence[Sequence[object]]], hidden: Sequence[str] = ()) -> Path:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(list(row))
        if name in hidden:
            sheet.sheet_state = "hidden"
    book.save(folder / "labels.xlsx")
    (folder / "labels.xlsx").rename(folder / "labels.csv")
    return folder / "labels.csv"


def test_a_workbook(tmp_path: Path) -> None:
    rows = [[float(cell) if place in (2, 3, 4) and cell else cell for place, cell in enumerate(row)] for row in ROWS]
    found = workbook(tmp_path, {"Labels": [(), HEADER, *rows, (), ()], "Notes": [], "lists": [["x"]]}, hidden=["lists"])
    check(found, "Excel sheet 'Labels'")
    assert list(table.read_table(found).lines) == [3, 4, 5]


def test_cells_of_a_workbook_are_texts(tmp_path: Path) -> None:
    cells = (1, 1.0, 0.25, True, None, "  x ", datetime.date(2024, 1, 31), datetime.datetime(2024, 1, 31, 12, 5), 1e20)
    path = workbook(tmp_path, {"s": [[f"c{place}" for place in range(len(cells))], cells]})
    expected = ["1", "1", "0.25", "True", "", "x", "2024-01-31", "2024-01-31T12:05:00", "1e+20"]
    assert table.read_table(path).rows[0] == expected


def has_formula_without_value(cell: str) -> bool:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("xl/worksheets/sheet1.xml", f"<sheetData><row>{cell}</row></sheetData>")
    return _has_formula_without_value(data)


def test_workbooks_that_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two = workbook(tmp_path, {"A": [["film", "Mass"], ["a", 1]], "B": [["film"]]})
    with pytest.raises(InputError, match=r"of 2 sheets with content \('A', 'B'\), expected one: remove or hide"):
        read_labels(two, datasets)
    with pytest.raises(InputError, match="an Excel workbook without content"):
        read_labels(workbook(tmp_path, {"A": []}), datasets)
    with pytest.raises(InputError, match="with formulas whose values are not stored"):
        read_labels(workbook(tmp_path, {"A": [["film", "Mass"], ["a", "=1-0"]]}), datasets)
    for cell, is_refused in (
        ('<c r="B2"><f>1-0</f><v></v></c>', True),
        ('<c r="B2"><f>1-0</f><v/></c>', True),
        ('<c r="B2"><f>1-0</f></c>', True),
        ('<c r="B2" t="n"><f>' + "1+" * 4000 + "0</f><v> </v></c>", True),
        ('<c r="B2"><f>1-0</f><v>1</v></c>', False),
        ('<c r="B2" t="str"><f>T("")</f><v></v></c>', False),
    ):
        assert has_formula_without_value(cell) is is_refused, cell
    path = workbook(tmp_path, {"A": [["film", "Mass"], ["a", 1]]})
    data = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["xl/worksheets/sheet1.xml"] = parts["xl/worksheets/sheet1.xml"][:-40]
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    with pytest.raises(InputError, match=r"an Excel workbook that cannot be read \(ParseError: "):
        read_labels(path, datasets)
    path.write_bytes(data)
    monkeypatch.setattr(text_files, "UNQUESTIONED", 0)
    monkeypatch.setattr(text_files, "MAX_RATIO", 1)
    with pytest.raises(InputError, match="unpacks to over 1 times its bytes"):
        read_labels(path, datasets)
    monkeypatch.undo()
    monkeypatch.setattr("cxrscore.labels.excel.importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        InputError, match=r'is an Excel workbook: pip install "cxrscore\[excel\]" to read it, or save it'
    ):
        read_labels(path, datasets)


def test_a_sheet_of_one_far_cell_needs_no_memory(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for place, cell in {"A1": "film", "B1": "Mass", "A2": "a", "B2": 1, "XFD60000": 1}.items():
        book.active[place] = cell
    book.save(tmp_path / "labels.xlsx")
    with pytest.raises(InputError, match=r"line 60000: 16384 cells, expected 2"):
        read_labels(tmp_path / "labels.xlsx", datasets)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1", "1.", "1.0", "0", "0.", "0.00"], [1, 1, 1, 0, 0, 0]),
        (["0", "-1", "1", "-1.0", "-1."], [0, -1, 1, -1, -1]),
        (["yes", "No", "YES", ""], [1, 0, 1, NAN]),
        (["y", "N"], [1, 0]),
        (["True", "FALSE", "NA"], [1, 0, NAN]),
        (["positive", "Negative", "uncertain", "unknown"], [1, 0, -1, NAN]),
        (["Pos", "neg"], [1, 0]),
        (["present", "absent", "?"], [1, 0, NAN]),
        (["NA", "N/A", "nan", "NaN", "NULL", "None", "-", "?", "unknown", "1"], [NAN] * 9 + [1]),
    ],
)
def test_cells_of_labels(tmp_path: Path, cells: list[str], expected: list[float]) -> None:
    path = saved(tmp_path, "\n".join(["film,Mass", *(f"f{place},{cell}" for place, cell in enumerate(cells))]))
    for rule, value in (("unknown", NAN), ("positive", 1), ("negative", 0)):
        labels = read_labels(path, datasets, LabelRules(uncertain=rule))[0].labels[:, 0]
        np.testing.assert_array_equal(labels, np.array([value if cell == -1 else cell for cell in expected]))


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (["yes", "1"], "has '1', .*the column has yes and no, and one column is written in one way"),
        (["yes", "y"], "has 'y', .*the column has yes and no"),
        (["present", "none"], "has 'none', .*it may mean unknown or absent"),
        (["1", "0,5"], "has '0,5', .*a decimal comma"),
        (["0", "3"], "has '3', .*for grades write 1 from"),
        (["oui", "non"], "has 'oui', .*the French word for yes or no"),
        (["si", "no"], "has 'si', .*the Spanish or Italian word"),
        (["+", "-"], r"has '\+'"),
        (["1", "maybe"], "has 'maybe'"),
    ],
)
def test_cells_that_are_no_labels(tmp_path: Path, cells: list[str], words: str) -> None:
    rows = [f'f{place},"{cell}"' for place, cell in enumerate(cells)]
    with pytest.raises(InputError, match=rf"line \d: column Mass {words}"):
        read_labels(saved(tmp_path, "\n".join(["film,Mass", *rows])), datasets)


def test_uncertain_cells_of_any_table_are_not_blank(tmp_path: Path) -> None:
    path = saved(tmp_path, "film,Mass,Edema\na,-1,1\nb,,0\nc,1,-1.0\n")
    rules = LabelRules(uncertain="negative,Mass=unknown", blank="negative")
    np.testing.assert_array_equal(read_labels(path, datasets, rules)[0].labels, [[NAN, 1], [0, 0], [1, 0]])


def test_yes_and_no_are_labels_under_the_name_of_a_finding_only(tmp_path: Path) -> None:
    path = saved(tmp_path, "film,Mass,smoker,Fracture\na,1,yes,no\nb,0,no,yes\n")
    labels, _ = read_labels(path, datasets)
    assert labels.findings == ("Mass", "Fracture")
    assert labels.columns == {"smoker": ("yes", "no")}
    assert read_labels(path, datasets, LabelRules(findings=("smoker",)))[0].labels.tolist() == [[1], [0]]


def test_layouts_of_public_sets_take_every_spelling_of_their_numbers(tmp_path: Path) -> None:
    header = "Path;Enlarged Cardiomediastinum;Lung Lesion;Support Devices"
    film = "patient00001/study1/view{}_frontal.jpg"
    lines = [header, f"{film.format(1)};1,0;-1,0;0", f"{film.format(2)};1.;-1;NA"]
    labels, layout = read_labels(saved(tmp_path, "\n".join(lines)), datasets, LabelRules(uncertain="positive"))
    assert layout == "chexpert"
    np.testing.assert_array_equal(labels.labels, [[1, 1, 0], [1, 1, NAN]])
    with pytest.raises(InputError, match="column Lung Lesion has 'yes', expected 0, 1, -1 or nothing"):
        read_labels(saved(tmp_path, f"{header}\n{film};1;yes;0\n"), datasets)
