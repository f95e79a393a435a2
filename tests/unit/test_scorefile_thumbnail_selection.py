"""Which films are kept small for the report."""

import numpy as np

from cxrscore.scorefile import scored_films, select_thumbnails

NAN = np.nan


def shown(prob, truth, most):
    return select_thumbnails(scored_films(prob, truth), len(prob), most)


def test_extremes_and_errors_come_first():
    prob = np.full((10, 1), 0.5, np.float32)
    prob[[7, 2, 4], 0] = 0.9, 0.1, 0.8
    truth = np.full((10, 1), NAN, np.float32)
    truth[[2, 4, 7], 0] = 1, 0, 1
    # 7 is the most probable, 2 a missed positive, 4 a false alarm.
    assert shown(prob, truth, 3) == [2, 4, 7]


def test_films_without_scores_are_not_shown():
    prob = np.array([[0.5], [NAN], [0.4]], np.float32)
    assert shown(prob, np.full((3, 1), NAN, np.float32), 48) == [0, 2]
    assert shown(np.full((2, 1), NAN, np.float32), np.zeros((2, 1), np.float32), 48) == []
