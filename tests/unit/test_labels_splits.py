"""Splits: patients kept together, findings spread, leaks found."""

from pathlib import Path

import numpy as np
import pytest

from cxrscore.errors import InputError, LeakError
from cxrscore.labels import Split, check_leaks, datasets, read_labels, read_split, split_by_patient, split_csv


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
    assert split.rule == "0.5/0/0.5 by patient, findings balanced, seed 1"


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
    with pytest.raises(InputError, match="wanted three of sum 1"):
        split_by_patient(["a", "b"], np.zeros((2, 1), np.float32), fractions=fractions, seed=0)


def test_too_few_patients_for_every_part() -> None:
    with pytest.raises(InputError, match="2 patients are too few"):
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
        ("film,split\na.png,train\nb.png,validate\n", "line 3: split is 'validate', wanted train, valid, test"),
        ("film,split\ngone.png,train\n", "names none of the 4 films"),
        ("film,split\na.png,train\na.png,test\n", "2 rows for the film 'a.png'"),
    ],
)
def test_wrong_split_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "split.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_split(path, PATHS)


def test_no_leak_no_error() -> None:
    check_leaks(SPLIT, ["p", "q", "r", "p"], ["1", "2", "3", "1"], PATHS)
    check_leaks(SPLIT, [None] * 4, [""] * 4, PATHS)  # unknown is not the same


@pytest.mark.parametrize(
    ("patients", "hashes", "message"),
    [
        (["p", "q", "p", "r"], ["", "", "", ""], r"one patient .*: a\.png \(train\) and x/c\.png \(test\)\. Keep"),
        ([None] * 4, ["1", "2", "3", "2"], r"same bytes .*: d,e\.png \(train\) and b\.png \(valid\)"),
    ],
)
def test_leaks_name_the_films(patients: list[str | None], hashes: list[str], message: str) -> None:
    with pytest.raises(LeakError, match=message) as caught:
        check_leaks(SPLIT, patients, hashes, PATHS)
    assert caught.value.exit_code == 4


def test_a_film_in_two_parts_is_a_leak() -> None:
    with pytest.raises(LeakError, match=r"same film .*a\.png \(train\) and a\.png \(test\)"):
        check_leaks(Split(train=(0,), valid=(1,), test=(0,), rule=""), [None] * 4, [""] * 4, PATHS)


def test_many_leaks_are_counted() -> None:
    split = Split(train=(0,), valid=(), test=tuple(range(1, 9)), rule="")
    with pytest.raises(LeakError, match="and 3 more"):
        check_leaks(split, ["p"] * 9, [""] * 9, [f"{k}.png" for k in range(9)])


@pytest.mark.shared
def test_the_full_nih_table_is_split_evenly(shared: Path) -> None:
    table, _ = read_labels(shared / "data" / "nih_tables" / "Data_Entry_2017_v2020.csv.gz", datasets)
    assert table.patients is not None
    split = split_by_patient(table.patients, table.labels, seed=0)
    check_leaks(split, table.patients, [""] * len(table.films), table.films)
    for rows, fraction in ((split.train, 0.7), (split.valid, 0.1), (split.test, 0.2)):
        assert len(rows) / len(table.films) == pytest.approx(fraction, abs=0.001)
        shares = table.labels[list(rows)].sum(axis=0) / table.labels.sum(axis=0)
        np.testing.assert_allclose(shares, fraction, atol=0.003)
