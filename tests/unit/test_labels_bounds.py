"""Tables that are too much: each bound is an error in words, and work grows with the table and not with its square."""

import gzip
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrscore.errors import InputError
from cxrscore.labels import boxes, columns, datasets, join_labels, read_labels, read_split, splits, table, text_files
from cxrscore.labels.generic_csv import read_film_columns
from cxrscore.labels.match import match_rows
from cxrscore.labels.padchest import padchest
from cxrscore.reporting.groups import LabelledSet, chosen_columns, subgroup_analysis


def csv_file(folder: Path, text: str | bytes, name: str = "labels.csv") -> Path:
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return folder / name


class Compared(str):
    """A name that counts how often it is compared with another one."""

    times = 0

    def __eq__(self, other: object) -> bool:
        Compared.times += 1
        return str.__eq__(self, other)  # type: ignore[no-any-return]

    def __hash__(self) -> int:
        return str.__hash__(self)

    def strip(self, letters: str | None = None) -> "Compared":
        return self


def test_names_of_columns_are_compared_about_once_each(tmp_path: Path) -> None:
    count = 500
    names = [Compared(f"c{number}") for number in range(count)]
    Compared.times = 0
    header = table._header(tmp_path, iter([names]))  # type: ignore[arg-type]
    one = table.Table(path=tmp_path, columns=header, rows=[["1"] * count], lines=[2])
    for number in range(count):
        assert one.column(f"c{number}") == ["1"]
        assert one.cell(0, f"c{number}") == "1"
    assert one.first_of(["nowhere", "c7"]) == "c7"
    assert Compared.times <= 4 * count


def test_a_wide_table_is_read(tmp_path: Path) -> None:
    width = 20_000
    path = csv_file(tmp_path, f"film,{','.join(f'c{n}' for n in range(width))}\na.png{',1' * width}\n")
    found, _ = read_labels(path, datasets)
    assert found.labels.shape == (1, width)
    films, told = read_film_columns(path, datasets)
    assert (films, len(told)) == (("a.png",), width)


def test_the_first_of_two_columns_of_no_name_is_meant(tmp_path: Path) -> None:
    two = table.Table(path=tmp_path, columns=("", "film", ""), rows=[["1", "a", "2"]], lines=[2])
    assert two.column("") == ["1"]


@pytest.mark.parametrize(
    ("limit", "value", "text", "words"),
    [
        ("MAX_COLUMNS", 3, "film,a,b,c\n", "has 4 columns, expected at most 3"),
        ("MAX_CELLS", 5, "film,a\n" + "x.png,1\n" * 3, "more than 2 rows of 2 columns, which is more than fits"),
        ("MAX_LINES", 3, "film,a\n" + "x.png,1\n" * 3, "more than 3 lines"),
        ("MAX_LINES", 3, "film,a\n" + "\n" * 9, "more than 3 lines"),
        ("MAX_RECORD", 50, "film,a\n" + "x" * 60 + ",1\n", "line 2: a row of more than 50 characters"),
        ("MAX_RECORD", 50, 'film,a\n"' + "x\n" * 30 + '",1\n', "line 26: a row of more than 50 characters"),
        ("MAX_RECORD", 50, "film," * 20 + "\n", "line 1: a row of more than 50 characters"),
    ],
)
def test_each_bound_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, text: str, words: str
) -> None:
    monkeypatch.setattr(table, limit, value)
    with pytest.raises(InputError, match=words):
        read_labels(csv_file(tmp_path, text), datasets)


def test_rows_up_to_a_bound_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "MAX_RECORD", 10)
    monkeypatch.setattr(table, "MAX_LINES", 4)
    monkeypatch.setattr(table, "MAX_CELLS", 6)
    text = "film,Mass\n" + "abcde,1\n" * 3
    assert len(table.read_table(csv_file(tmp_path, text)).rows) == 3
    assert table.read_lines(csv_file(tmp_path, text)) == ["film,Mass", "abcde,1", "abcde,1", "abcde,1"]


def test_a_list_of_films_is_bounded_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    csv_file(tmp_path, "a.png\n" * 10, "test_list.txt")
    path = csv_file(tmp_path, "".join(f"{n}.png\n" for n in range(10)), "train_val_list.txt")
    monkeypatch.setattr(table, "MAX_LINES", 5)
    with pytest.raises(InputError, match="more than 5 lines"):
        read_split(path, ["a.png"])


def test_a_bomb_of_gzip_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "UNQUESTIONED", 2 << 20)
    path = csv_file(tmp_path, gzip.compress(b"film,Mass\n" + b"x" * (30 << 20)), "labels.csv.gz")
    tracemalloc.start()
    with pytest.raises(InputError, match=r"labels\.csv\.gz unpacks to over 200 times its bytes"):
        read_labels(path, datasets)
    assert tracemalloc.get_traced_memory()[1] < 12 << 20
    tracemalloc.stop()


def test_a_small_table_may_pack_as_well_as_it_likes(tmp_path: Path) -> None:
    text = b"film,Mass\n" + b"a.png,1\n" + b"\n" * (4 << 20)
    packed = gzip.compress(text)
    assert len(text) > 200 * len(packed)
    assert read_labels(csv_file(tmp_path, packed), datasets)[0].films == ("a.png",)


@pytest.mark.parametrize("text", [b"film,Mass\na\0.png,1\n", "film,Mass\n".encode("utf-32-le")])
def test_a_zero_byte_is_told(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(InputError, match=r"is not a text file: byte \d+ is zero; save it as CSV in UTF-8"):
        read_labels(csv_file(tmp_path, text), datasets)


def test_boxes_of_as_many_findings_as_films_fill_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "MAX_LABELS", 99)
    rows = [f"{n}.png,f{n},0,0,1,1" for n in range(10)]
    nih = csv_file(tmp_path, "\n".join(["Image Index,Finding Label,Bbox [x,y,w,h]", *rows]), "nih.csv")
    vindr = csv_file(tmp_path, "\n".join(["image_id,class_name,x_min,y_min,x_max,y_max", *rows]), "vindr.csv")
    for path in (nih, vindr):
        with pytest.raises(InputError, match="10 findings and other columns for 10 films, which is more than fits"):
            read_labels(path, datasets)
    assert len(boxes.read_boxes(nih)) == 10


def test_memory_of_a_table_grows_with_its_rows_and_equal_cells_are_stored_once(tmp_path: Path) -> None:
    peaks = []
    for count in (10_000, 40_000):
        rows = (f"{row:08}.png,{row % 7}{',maybe' * 14}" for row in range(count))
        path = csv_file(tmp_path, "\n".join(["film,ward," + ",".join(f"c{n}" for n in range(14)), *rows]))
        tracemalloc.start()
        found = table.read_table(path)
        peaks.append(tracemalloc.get_traced_memory()[1] / count)
        tracemalloc.stop()
        assert len({id(cell) for cell in found.column("c3")}) == 1
        assert found.rows[count - 1][:2] == [f"{count - 1:08}.png", str((count - 1) % 7)]
    # A row takes its line in the file, 16 references, the name of the film, and a share of the blocks being read.
    assert peaks[1] < peaks[0]
    assert peaks[1] < 600


def test_few_rows_of_many_columns_for_many_films_fill_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, _ = read_labels(csv_file(tmp_path, "film,a,b,ward\na.png,1,0,north\n"), datasets)
    monkeypatch.setattr(columns, "MAX_LABELS", 30)
    assert join_labels(found, [f"{n}.png" for n in range(10)]).labels.shape == (10, 2)
    with pytest.raises(InputError, match="3 findings and other columns for 11 films"):
        join_labels(found, [f"{n}.png" for n in range(11)])


class Looked(np.ndarray):  # type: ignore[type-arg]
    """Numbers that count how many of them are looked at."""

    values = 0

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        Looked.values += np.size(found)
        return found


def test_a_split_looks_at_each_count_about_once() -> None:
    findings, patients = 100, 400
    counts = np.column_stack([np.tile(np.eye(findings), (patients // findings, 1)), np.ones(patients)])
    Looked.values = 0
    parts = splits._deal(counts.view(Looked), np.array([0.7, 0.1, 0.2]), np.random.default_rng(0))
    assert set(parts.tolist()) <= {0, 1, 2}
    assert Looked.values < 5 * counts.size


@pytest.mark.parametrize("key", ["a/" * 30_000 + "x.png", "x/" * 60_000, "/" * 50_000])
def test_a_name_of_many_thousand_folders_is_not_taken_apart(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from cxrscore.labels import match

    seen: list[str] = []

    def counted(path: str, longest: int, endings=match._endings):  # type: ignore[no-untyped-def]
        for end in endings(path, longest):
            seen.append(end)
            yield end

    monkeypatch.setattr(match, "_endings", counted)
    paths = ["a/x.png", "b/y.png"]
    match_rows([key], paths)
    match_rows(["x.png"], [key])
    assert len(seen) < 60
    assert max(map(len, seen)) < 40


def test_a_path_ends_with_its_name_however_deep_it_lies() -> None:
    deep = "a/" * 500 + "x.png"
    assert match_rows([deep], ["a/a/x.png"]) == [0]
    assert match_rows(["a/a/x.png"], [deep]) == [0]
    assert match_rows(["a/x"], [deep]) == [0]
    assert match_rows([deep], [deep]) == [0]


def test_ages_that_no_number_holds_are_unknown(tmp_path: Path) -> None:
    ages = ["61", "\N{SUPERSCRIPT TWO}", "9" * 5000, ""]
    assert chosen_columns({"age": ages}, [])["age"] == ("60–79", "", "", "")
    rows = [f"{n}.png,['mass'],20140101,{born}" for n, born in enumerate(["1954.0", "\u00b2", "9" * 5000])]
    path = csv_file(tmp_path, "\n".join(["ImageID,Labels,StudyDate_DICOM,PatientBirth", *rows]))
    assert padchest.read(path).columns["age"] == ("60", "", "")


def test_a_long_cell_makes_no_group_of_films_long() -> None:
    count = 2000
    films = LabelledSet(
        findings=("Mass",),
        truth=np.tile(np.array([[0], [1]], np.float32), (count // 2, 1)),
        prob=np.linspace(0, 1, count, dtype=np.float32)[:, None],
        ranked=np.linspace(0, 1, count)[:, None],
        thresholds=np.full(1, 0.5, np.float32),
        patients=np.arange(count),
    )
    cells = ["F", "F", "M", "M"] * (count // 4)
    cells[0] = "x" * 100_000
    tracemalloc.start()
    found = subgroup_analysis("sex", cells, films)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [group.name for group in found.groups] == ["F", "M"]
    assert peak < 50 << 20
