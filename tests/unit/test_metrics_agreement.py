"""Cohen's kappa and its standard error."""

import math

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from cxrscore.errors import InputError
from cxrscore.metrics import cohen_kappa


def readers(*cells: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Answers of two readers from (first, second, films)."""
    pairs = [(one, other) for one, other, films in cells for _ in range(films)]
    return np.array([one for one, _ in pairs]), np.array([other for _, other in pairs])


def test_by_hand() -> None:
    """25 films: 10 both yes, 2 and 3 apart, 10 both no. Observed 0.8; expected 12/25 * 13/25 + 13/25 * 12/25 = 312/625;
    kappa = (500 - 312) / (625 - 312) = 188 / 313."""
    found = cohen_kappa(*readers((1, 1, 10), (1, 0, 2), (0, 1, 3), (0, 0, 10)))
    assert (found.films, found.equal) == (25, 20)
    assert found.observed == 0.8
    assert found.expected == pytest.approx(312 / 625)
    assert found.kappa == pytest.approx(188 / 313)


def fleiss(table: np.ndarray) -> float:
    """The standard error as the paper of 1969 writes it, cell by cell."""
    p, n = table / table.sum(), table.sum()
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    expected = rows @ columns
    kappa = (np.trace(p) - expected) / (1 - expected)
    same = sum(p[i, i] * (1 - (rows[i] + columns[i]) * (1 - kappa)) ** 2 for i in range(len(p)))
    apart = sum(p[i, j] * (columns[i] + rows[j]) ** 2 for i in range(len(p)) for j in range(len(p)) if i != j)
    rest = (kappa - expected * (1 - kappa)) ** 2
    return float(math.sqrt((same + (1 - kappa) ** 2 * apart - rest) / (n * (1 - expected) ** 2)))


@pytest.mark.parametrize(
    "table", [[[10, 2], [3, 10]], [[44, 5, 1], [7, 20, 3], [9, 5, 6]], [[0, 4], [5, 0]]], ids=["two", "three", "never"]
)
def test_kappa_and_its_error_are_those_of_others(table: list[list[int]]) -> None:
    cells = [(i, j, count) for i, row in enumerate(table) for j, count in enumerate(row)]
    first, second = readers(*cells)
    found = cohen_kappa(first, second)
    assert found.kappa == pytest.approx(cohen_kappa_score(first, second), abs=1e-12)
    assert found.error == pytest.approx(fleiss(np.array(table)), abs=1e-12)
    low, high = found.interval
    assert -1 <= low < found.kappa < high <= 1


def test_films_of_one_patient_are_one_observation() -> None:
    first, second = readers((1, 1, 10), (1, 0, 2), (0, 1, 3), (0, 0, 10))
    alone = cohen_kappa(first, second)
    twice = cohen_kappa(np.repeat(first, 2), np.repeat(second, 2), np.repeat(np.arange(25), 2))
    assert twice.kappa == pytest.approx(alone.kappa)
    assert twice.error == pytest.approx(alone.error)
    assert cohen_kappa(np.repeat(first, 2), np.repeat(second, 2)).error < 0.8 * alone.error


def test_without_films_and_with_one_answer_only_kappa_is_undefined() -> None:
    none = cohen_kappa(np.array([], int), np.array([], int))
    assert math.isnan(none.kappa)
    assert math.isnan(none.observed)
    same = cohen_kappa(*readers((0, 0, 7)))
    assert (same.observed, same.expected) == (1, 1)
    assert math.isnan(same.kappa)
    assert all(map(math.isnan, same.interval))


def test_complete_agreement_has_no_interval() -> None:
    found = cohen_kappa(*readers((0, 0, 7), (1, 1, 3)))
    assert found.kappa == 1
    assert all(map(math.isnan, found.interval))


def test_a_reader_with_one_answer_only_agrees_by_chance_and_gives_no_interval() -> None:
    found = cohen_kappa(np.full(5, 2), np.array([0, 2, 0, 2, 0]))
    assert (found.equal, found.kappa) == (2, 0)
    assert np.isnan(found.interval).all()


def test_answers_must_fit() -> None:
    with pytest.raises(InputError, match="do not fit"):
        cohen_kappa(np.zeros(3), np.zeros(2))
