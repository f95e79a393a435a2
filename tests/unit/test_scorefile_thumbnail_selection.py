"""Which films are kept small for the report."""

import numpy as np

from cxrscore.scorefile import scored_films, select_thumbnails

NAN = np.nan


def shown(prob, truth, most, split=None):
    codes = np.zeros(len(prob), np.uint8) if split is None else split
    return select_thumbnails(scored_films(prob, truth, codes), len(prob), most)


def test_extremes_and_errors_come_first():
    prob = np.full((10, 1), 0.5, np.float32)
    prob[[7, 2, 4], 0] = 0.9, 0.1, 0.8
    truth = np.full((10, 1), NAN, np.float32)
    truth[[2, 4, 7], 0] = 1, 0, 1
    # 7 is the most probable, 2 a missed positive, 4 a false alarm.
    assert shown(prob, truth, 3) == [2, 4, 7]


def test_films_that_no_model_has_seen_come_before_those_of_training_and_validation():
    prob = np.array([[0.9], [0.1], [0.8], [0.2], [0.7], [0.3]], np.float32)
    truth = np.array([[1], [1], [0], [1], [0], [1]], np.float32)
    split = np.array([1, 1, 2, 3, 0, 0], np.uint8)
    # Unseen: 5 and 3 are the most and the least probable positive, 4 the most probable negative. Then 0, the most
    # probable of all, then the errors of seen films: 2 and 1.
    for most, wanted in [(1, [5]), (2, [4, 5]), (3, [3, 4, 5]), (4, [0, 3, 4, 5]), (5, [0, 2, 3, 4, 5])]:
        assert shown(prob, truth, most, split) == wanted
    assert shown(prob, truth, 3, np.ones(6, np.uint8)) == [0, 1, 2]  # all seen


def test_a_rule_without_films_chooses_none():
    prob, truth = np.array([[0.1], [0.2], [0.3], [0.4]], np.float32), np.full((4, 1), NAN, np.float32)
    assert shown(prob, truth, 1) == [3]
    truth[:] = 0
    assert shown(prob, truth, 1) == [3]


def test_films_without_scores_are_not_shown():
    prob = np.array([[0.5], [NAN], [0.4]], np.float32)
    assert shown(prob, np.full((3, 1), NAN, np.float32), 48) == [0, 2]
    assert shown(np.full((2, 1), NAN, np.float32), np.zeros((2, 1), np.float32), 48) == []
