"""Cases of a reader of label tables."""

from __future__ import annotations

import csv
import io
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cxrscore.contract import Dataset, LabelTable
from cxrscore.errors import InputError
from cxrscore.io import atomic_write_bytes
from cxrscore.labels.table import read_headers
from cxrscore.testing.cases import Cases, expect

_HEADERS = {
    "nih": ("Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", "Patient Gender"),
    "plain": ("film", "patient", "sex", "age", "Mass", "Nodule"),
}
_UNRELATED = (("id", "value"), ("a",), ())
GARBAGE = "?~garbled~?"


class DatasetCases(Cases):
    """Cases of a label table reader, D01 to D08. Fixtures: ``dataset``, an object that cxrscore_datasets returns, and
    ``table``, the path of a small text table of its layout, with two rows or more and cells between commas, semicolons,
    tabs or bars."""

    def test_d01_the_descriptor_is_well_formed(self, dataset: Dataset) -> None:
        """It is a ``Dataset`` whose ``name`` is one word, with a summary and two functions."""
        expect(isinstance(dataset, Dataset), f"it is a {type(dataset).__name__}, expected a Dataset")
        name = dataset.name
        expect(isinstance(name, str) and len(name.split()) == 1, f"name is {name!r}, expected one word")
        expect(isinstance(dataset.summary, str) and dataset.summary, "summary is empty, expected a few words")
        expect(callable(dataset.recognises) and callable(dataset.read), "recognises and read are not both functions")

    def test_d02_it_recognises_its_own_header(self, dataset: Dataset, table: Path) -> None:
        """``recognises`` is True for the column names of the table, in any order, or for its first line split at
        commas."""
        header = next(filter(dataset.recognises, read_headers(table)), read_headers(table)[0])
        for columns in (header, header[::-1]):
            expect(dataset.recognises(columns) is True, f"it does not recognise {list(columns)}")

    def test_d03_it_ignores_other_layouts(self, dataset: Dataset) -> None:
        """``recognises`` is False for headers of built-in layouts and for unrelated ones. The plain layout is
        excepted."""
        others = [columns for name, columns in _HEADERS.items() if name != dataset.name and dataset.name != "plain"]
        for columns in (*others, *_UNRELATED):
            expect(dataset.recognises(columns) is False, f"it recognises {list(columns)}, which is not its layout")

    def test_d04_labels_are_0_1_or_unknown(self, dataset: Dataset, table: Path) -> None:
        """``read`` returns a LabelTable with labels float32 [N,C] of 0 to 1 and NaN, not all NaN, for N > 0 films and
        C > 0 findings."""
        found = dataset.read(table)
        expect(isinstance(found, LabelTable), f"it returned a {type(found).__name__}, expected a LabelTable")
        labels, shape = found.labels, (len(found.films), len(found.findings))
        expect(all(shape), f"it read {shape[0]} films and {shape[1]} findings, expected some of each")
        expect(labels.dtype == np.float32, f"labels are {labels.dtype}, expected float32")
        expect(labels.shape == shape, f"labels have shape {list(labels.shape)}, expected {list(shape)}")
        odd = sorted(set(labels[(labels < 0) | (labels > 1)].tolist()))
        expect(not odd, f"labels hold {odd[:5]}, expected 0 to 1 and NaN")
        expect(not np.isnan(labels).all(), "no label is known")

    def test_d05_films_and_findings_are_unique(self, dataset: Dataset, table: Path) -> None:
        """Films and findings are distinct, non-empty texts; patients, if any, and every further column have one text
        for each film."""
        found = dataset.read(table)
        for what, names in (("films", found.films), ("findings", found.findings)):
            _expect_texts(what, names)
            twice = sorted({name for name in names if names.count(name) > 1})
            expect("" not in names, f"{what} hold an empty name")
            expect(not twice, f"{what} name {', '.join(twice[:5])} more than once")
        columns = {**({} if found.patients is None else {"patients": found.patients}), **found.columns}
        for what, texts in columns.items():
            _expect_texts(what, texts)
            expect(len(texts) == len(found.films), f"{what}: {len(texts)} texts for {len(found.films)} films")

    def test_d06_reading_twice_gives_the_same(self, dataset: Dataset, table: Path) -> None:
        """``read`` does not change the file, and returns the same the second time."""
        before = table.read_bytes()
        first, second = dataset.read(table), dataset.read(table)
        expect(table.read_bytes() == before, "the file was changed")
        for part in ("films", "findings", "patients", "columns"):
            expect(getattr(first, part) == getattr(second, part), f"{part} differ the second time")
        expect(np.array_equal(first.labels, second.labels, equal_nan=True), "labels differ the second time")

    def test_d07_a_truncated_row_is_reported(self, dataset: Dataset, table: Path) -> None:
        """If the last row ends after its first cell, ``read`` raises an InputError that names the row, by line or
        film."""
        rows = _rows(table)
        message = _refusal(dataset, table, [*rows[:-1], rows[-1][:1]])
        expect(message is not None, "a row cut short was read as if it were whole")
        _expect_row(message or "", rows, "a row cut short")

    def test_d08_a_damaged_cell_is_reported(self, dataset: Dataset, table: Path) -> None:
        """Nonsense in a cell of the last row is either valid text or an InputError that names the row, by line or film;
        never another error. In at least one column, that of a label, it is the InputError."""
        rows = _rows(table)
        messages = []
        for column in range(len(rows[0])):
            cells = [*rows[-1]]
            cells[column] = GARBAGE
            messages.append(_refusal(dataset, table, [*rows[:-1], cells]))
        met = [message for message in messages if message is not None]
        expect(met, "nonsense was read without complaint in every column")
        for message in met:
            _expect_row(message, rows, "a damaged cell")


def _delimiter(table: Path) -> str:
    with table.open(encoding="utf-8-sig") as file:
        header = file.readline()
    return max(",;\t|", key=header.count)


def _rows(table: Path) -> list[list[str]]:
    with table.open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.reader(file, delimiter=_delimiter(table)) if any(row)]
    expect(len(rows) > 2, f"{table} has {max(len(rows) - 1, 0)} rows, expected a header and two or more")
    expect(len(rows[0]) > 1, f"{table} has one column only, expected films and labels")
    return rows


def _refusal(dataset: Dataset, table: Path, rows: Sequence[Sequence[str]]) -> str | None:
    """The InputError's message for a table like this one of these rows; None where it is read."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"damaged{table.suffix}")
        text = io.StringIO()
        csv.writer(text, delimiter=_delimiter(table), lineterminator="\n").writerows(rows)
        atomic_write_bytes(path, text.getvalue().encode())
        try:
            dataset.read(path)
        except InputError as error:
            return str(error).replace(str(path), path.name)
    return None


def _expect_row(message: str, rows: Sequence[Sequence[str]], what: str) -> None:
    line = re.search(rf"\b{len(rows)}\b", message)
    film = any(cell and cell in message for cell in rows[-1][:1])
    expect(line or film, f"{what}: the message {message!r} names neither line {len(rows)} nor the film")


def _expect_texts(what: str, values: object) -> None:
    fits = isinstance(values, tuple) and all(isinstance(value, str) for value in values)
    expect(fits, f"{what} are not a tuple of texts")
