"""Splits: patients kept together, findings spread, official lists read."""

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest

from cxrscore.errors import InputError
from cxrscore.labels import (
    Split,
    check_leakage,
    datasets,
    draw_valid,
    read_labels,
    read_split,
    split_by_patient,
    split_csv,
)


def cohort(patients: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Patients with one to eight films; three findings, of which the last is rare."""
    rng = np.random.default_rng(seed)
    owners = [f"p{number}" for number in range(patients) for _ in range(rng.integers(1, 9))]
    return owners, (rng.random((len(owners), 3)) < [0.3, 0.1, 0.02]).astype(np.float32)


def test_split_by_hand() -> None:
    # Two findings, ten patients of one film: the two with the rare one (8, 9) go one to each half.
    labels = np.zeros((10, 2), np.float32)
    labels[[8, 9], 0] = 1
    labels[:6, 1] = 1
    split = split_by_patient([str(k) for k in range(10)], labels, fractions=(0.5, 0.0, 0.5), seed=1)
    assert (len(split.train), len(split.valid), len(split.test)) == (5, 0, 5)
    assert len({8, 9} & set(split.train)) == 1
    assert len(set(range(6)) & set(split.train)) == 3
    assert split.rule == "0.5 train, 0.5 test by patient, findings balanced, seed 1"


def test_without_valid_and_test_films_all_are_for_training() -> None:
    split = split_by_patient(["1", "2", "2"], np.eye(3, dtype=np.float32), fractions=(1.0, 0.0, 0.0), seed=0)
    assert (split.train, split.rule) == ((0, 1, 2), "all films for training")


def test_shares_of_films_and_of_every_finding_are_met() -> None:
    patients, labels = cohort(600)
    split = split_by_patient(patients, labels, seed=0)
    for rows, fraction in ((split.train, 0.7), (split.valid, 0.1), (split.test, 0.2)):
        assert len(rows) == pytest.approx(fraction * len(patients), abs=4)
        positives = labels[list(rows)].sum(axis=0)
        np.testing.assert_allclose(positives, fraction * labels.sum(axis=0), atol=4)


def test_the_same_seed_gives_the_same_split() -> None:
    patients, labels = cohort(100)
    assert split_by_patient(patients, labels, seed=3) == split_by_patient(patients, labels, seed=3)
    assert split_by_patient(patients, labels, seed=3).train != split_by_patient(patients, labels, seed=4).train


def test_films_of_unknown_patient_are_on_their_own() -> None:
    split = split_by_patient([None] * 100, np.zeros((100, 1), np.float32), seed=0)
    assert (len(split.train), len(split.valid), len(split.test)) == (70, 10, 20)


def test_unknown_labels_count_for_nothing() -> None:
    split = split_by_patient([str(k) for k in range(50)], np.full((50, 2), np.nan, np.float32), seed=0)
    assert (len(split.train), len(split.valid), len(split.test)) == (35, 5, 10)


@pytest.mark.parametrize("fractions", [(0.7, 0.1, 0.1), (0.0, 0.5, 0.5), (1.2, -0.2, 0.0), (0.5, 0.5)])
def test_fractions_must_be_three_of_sum_one(fractions: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="expected three of sum 1"):
        split_by_patient(["a", "b"], np.zeros((2, 1), np.float32), fractions=fractions, seed=0)


def test_too_few_patients_for_every_part() -> None:
    with pytest.raises(InputError, match="have 2 patients, too few"):
        split_by_patient(["a", "a", "b", "b"], np.zeros((4, 1), np.float32), seed=0)


PATHS = ["a.png", "b.png", "x/c.png", "d,e.png"]
SPLIT = Split(train=(0, 3), valid=(1,), test=(2,), rule="by hand")


def test_split_csv_by_hand_and_back(tmp_path: Path) -> None:
    text = split_csv(SPLIT, PATHS)
    assert text == 'film,split\na.png,train\nb.png,valid\nx/c.png,test\n"d,e.png",train\n'
    path = tmp_path / "split.csv"
    path.write_text(text)
    back = read_split(path, PATHS)
    assert (back.train, back.valid, back.test) == (SPLIT.train, SPLIT.valid, SPLIT.test)
    assert back.rule == "as in split.csv"


def test_no_cell_is_a_formula(tmp_path: Path) -> None:
    """Programs for tables work out what begins so, and may start other programs."""
    paths = ["=cmd|' /C calc'!A0.png", "+1.png", "-1/film.png", "@sum.png", "a=b.png", "\tx.png"]
    text = split_csv(Split(train=(0, 1, 2, 3), valid=(4,), test=(5,), rule="by hand"), paths)
    cells = [cell for row in csv.reader(text.splitlines()) for cell in row]
    assert not [cell for cell in cells if cell[0] in "=+-@\t\r"]
    (tmp_path / "split.csv").write_text(text)
    back = read_split(tmp_path / "split.csv", paths)
    assert (back.train, back.valid, back.test) == ((0, 1, 2, 3), (4,), (5,))


def test_films_that_a_split_does_not_name_are_in_no_part(tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    path.write_text("film,split\nb.png,train\ngone.png,test\n")
    split = read_split(path, PATHS)
    assert (split.train, split.valid, split.test) == ((1,), (), ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("film,part\na.png,train\n", "lacks the column split"),
        ("name,part\na.png,train\n", "lacks the column film and split"),
        ("film,split\na.png,train\nb.png,validate\n", "line 3: split is 'validate', expected train, valid, test"),
        ("film,split\ngone.png,train\n", "names none of the 4 films"),
        ("film,split\na.png,train\na.png,test\n", "2 rows for the film 'a.png'"),
    ],
)
def test_wrong_split_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "split.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_split(path, PATHS)


def test_validation_is_drawn_from_training_by_patient() -> None:
    patients, labels = cohort(400)
    test = tuple(row for row, patient in enumerate(patients) if patient.endswith("7"))
    rest = tuple(row for row in range(len(patients)) if row not in set(test))
    official = Split(train=rest, valid=(), test=test, rule="official")
    drawn = draw_valid(official, patients, labels, fraction=0.2, seed=1)
    assert sorted(drawn.train + drawn.valid) == list(rest)
    assert drawn.test == test
    assert len(drawn.valid) == pytest.approx(0.2 * len(rest), abs=4)
    assert drawn.rule == "official; valid is 0.2 of train by patient, findings balanced, seed 1"
    check_leakage(drawn, patients, [""] * len(patients), [str(row) for row in range(len(patients))])
    assert draw_valid(drawn, patients, labels, seed=2) is drawn


def test_validation_by_hand() -> None:
    # Four patients of two films each to train with, rows 0 to 7: a quarter is one patient.
    split = Split(train=tuple(range(8)), valid=(), test=(8,), rule="")
    drawn = draw_valid(split, [str(row // 2) for row in range(9)], np.zeros((9, 1), np.float32), fraction=0.25, seed=0)
    assert (len(drawn.train), len(drawn.valid), drawn.test) == (6, 2, (8,))
    assert drawn.valid[1] == drawn.valid[0] + 1


NIH_PATHS = ["images/00000001_000.png", "images/00000001_001.png", "images/00000002_000.png", "images/other.png"]


def lists(tmp_path: Path, **files: str) -> Path:
    for name, text in files.items():
        (tmp_path / f"{name}.txt").write_text(text)
    return tmp_path / f"{next(iter(files))}.txt"


@pytest.mark.parametrize("named", ["train_val_list.txt", "test_list.txt"])
def test_lists_of_nih_by_hand(tmp_path: Path, named: str) -> None:
    lists(tmp_path, train_val_list="00000001_000.png\r\n00000001_001.png\r\n", test_list="00000002_000.png\n\n")
    split = read_split(tmp_path / named, NIH_PATHS)
    assert (split.train, split.valid, split.test) == ((0, 1), (), (2,))
    assert split.rule == "as in train_val_list.txt, test_list.txt"


def test_three_lists(tmp_path: Path) -> None:
    path = lists(
        tmp_path, my_val_list="00000001_001.png", my_train_list="00000001_000.png", my_test_list="00000002_000.png"
    )
    split = read_split(path, NIH_PATHS)
    assert (split.train, split.valid, split.test) == ((0,), (1,), (2,))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"train_val_list": "a.png"}, "is one of several lists: test_list.txt is missing"),
        ({"test_list": "a.png"}, "is one of several lists: train_val_list.txt is missing"),
        ({"films": "a.png"}, "its name gives no split; call it train_val_list.txt or test_list.txt"),
        ({"test_list": "a.png", "train_list": "b.png\na.png"}, "name 'a.png' more than once"),
        ({"test_list": "a.png", "train_list": "b.png"}, "names none of the 4 films"),
    ],
)
def test_wrong_lists(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_split(lists(tmp_path, **files), NIH_PATHS)


def test_the_split_table_of_mimic_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "mimic-cxr-2.0.0-split.csv.gz"
    rows = "dicom_id,study_id,subject_id,split\n02aa,50414267,10000032,train\n174f,50414267,10000032,validate\n"
    path.write_bytes(gzip.compress(f"{rows}2a2f,53189527,10000032,test\n".encode()))
    folder = "files/p10/p10000032"
    split = read_split(path, [f"{folder}/s53189527/2a2f.jpg", f"{folder}/s50414267/174f.jpg", "02aa.dcm"])
    assert (split.train, split.valid, split.test) == ((2,), (1,), (0,))
    path.write_text("dicom_id,study_id,subject_id,split\n02aa,50414267,10000032,valid\n")
    with pytest.raises(InputError, match="line 2: split is 'valid', expected train, validate, test"):
        read_split(path, ["02aa.jpg"])


@pytest.mark.slow
@pytest.mark.shared
def test_the_official_lists_of_nih_cross_no_patient(shared: Path) -> None:
    folder = shared / "data" / "nih_tables"
    table, _ = read_labels(folder / "Data_Entry_2017_v2020.csv.gz", datasets)
    assert table.patients is not None
    split = read_split(folder / "nih_official_test_list.txt.gz", table.films)
    assert (len(split.train), len(split.valid), len(split.test)) == (86_524, 0, 25_596)
    assert check_leakage(split, table.patients, [""] * len(table.films), table.films) == []
    drawn = draw_valid(split, table.patients, table.labels, seed=0)
    assert check_leakage(drawn, table.patients, [""] * len(table.films), table.films) == []
    assert len(drawn.valid) / 86_524 == pytest.approx(0.125, abs=0.001)


@pytest.mark.slow
@pytest.mark.shared
def test_the_full_nih_table_is_split_evenly(shared: Path) -> None:
    table, _ = read_labels(shared / "data" / "nih_tables" / "Data_Entry_2017_v2020.csv.gz", datasets)
    assert table.patients is not None
    split = split_by_patient(table.patients, table.labels, seed=0)
    check_leakage(split, table.patients, [""] * len(table.films), table.films)
    for rows, fraction in ((split.train, 0.7), (split.valid, 0.1), (split.test, 0.2)):
        assert len(rows) / len(table.films) == pytest.approx(fraction, abs=0.001)
        shares = table.labels[list(rows)].sum(axis=0) / table.labels.sum(axis=0)
        np.testing.assert_allclose(shares, fraction, atol=0.003)
