"""Heat maps against boxes."""

import math

import numpy as np
import pytest

from cxrscore.metrics import energy_inside, iou, pointing_game

MASK = np.zeros((4, 4), bool)
MASK[1:3, 1:3] = True


def test_by_hand() -> None:
    values = np.array([[0, 0, 0, 0], [0, 4, 1, 3], [0, 2, -9, 0], [0, 0, 0, 0]], np.float32)
    assert pointing_game(values, MASK) == 1
    assert energy_inside(values, MASK) == pytest.approx((4 + 1 + 2) / 10)
    # At least 2: 4, 3 and 2, two of them inside; four places of the box and one outside.
    assert iou(values, MASK) == pytest.approx(2 / 5)
    assert iou(values, MASK, level=0.2) == pytest.approx(3 / 5)


def test_a_tie_counts_by_its_share() -> None:
    values = np.zeros((4, 4), np.float32)
    values[1, 1] = values[0, 0] = 5
    assert pointing_game(values, MASK) == 0.5


def test_chance_is_the_share_of_the_area() -> None:
    even = np.ones((4, 4), np.float32)
    assert pointing_game(even, MASK) == energy_inside(even, MASK) == iou(even, MASK) == 4 / 16
    random = np.random.default_rng(0)
    hits = [pointing_game(random.random((4, 4)), MASK) for _ in range(4000)]
    assert np.mean(hits) == pytest.approx(4 / 16, abs=0.03)


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_map_without_evidence_says_nothing(value: float) -> None:
    values = np.full((4, 4), value, np.float32)
    assert all(math.isnan(figure(values, MASK)) for figure in (pointing_game, energy_inside, iou))


def test_the_box_itself_is_the_best_map() -> None:
    values = MASK.astype(np.float32)
    assert pointing_game(values, MASK) == energy_inside(values, MASK) == iou(values, MASK) == 1
