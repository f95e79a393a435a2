"""Which films a report shows with a heat map."""

import numpy as np
import pytest
from choice_scores import MASS, ruled
from few_scores import NAN

from cxrscore.errors import InputError
from cxrscore.reporting.heatmap_choice import FindingChoices, choose_films
from cxrscore.scorefile import Scores

TP, FP, FN = "true positive", "false positive", "false negative"


def mass(scores: Scores, **options: object) -> FindingChoices:
    return choose_films(scores, **options)[0]


def chosen(found: FindingChoices) -> list[tuple[str, int, int, int]]:
    return [(one.kind, one.row, one.place, one.films) for one in found.films]


def test_one_film_of_each_kind_by_the_rule() -> None:
    found = mass(ruled())
    assert chosen(found) == [(TP, 0, 1, 2), (FP, 2, 1, 2), (FN, 3, 1, 2)]
    assert (found.point, found.stored, found.missing, found.unstored) == (0.5, True, (), ())


def test_a_film_that_is_not_stored_gives_way_to_the_next_and_it_is_said() -> None:
    found = mass(ruled(pictured=[1, 2, 3], mapped=[0, 1, 4, 6]))
    assert chosen(found) == [(TP, 1, 2, 2)]
    assert (found.missing, found.unstored) == ((), (FP, FN))


def test_of_equal_films_the_first_is_chosen() -> None:
    found = mass(ruled(prob=[0.9, 0.9, 0.7, 0.1, 0.1, 0.7, 0.7, 0.3]))
    assert [row for _, row, _, _ in chosen(found)] == [0, 2, 3]


def test_a_film_at_the_point_is_above_it() -> None:
    found = mass(ruled(prob=[0.5, 0.4, 0.5, 0.4, 0.4, 0.4, 0.4, 0.4]))
    assert chosen(found) == [(TP, 0, 1, 1), (FP, 2, 1, 1), (FN, 1, 1, 3)]


def test_without_positives_or_negatives_a_kind_is_missing() -> None:
    found = mass(ruled(truth=[0, 0, 0, 0, 0, 0, 0, 0]))
    assert (chosen(found), found.missing) == ([(FP, 0, 1, 4)], (TP, FN))
    found = mass(ruled(truth=[1, 1, 1, 1, 1, 1, 1, 1]))
    assert (chosen(found), found.missing) == ([(TP, 0, 1, 4), (FN, 3, 1, 4)], (FP,))


def test_the_prevalence_takes_the_place_of_a_threshold() -> None:
    bare = {"thresholds": np.full(2, NAN, np.float32)}
    found = mass(ruled(**bare))
    assert (found.point, found.stored, found.recorded) == (pytest.approx(4 / 7), False, False)
    document = {"spec": {"findings": ["Mass", "Edema"]}, "calibration": {"prevalence": [0.25, 0.5]}}
    found = mass(ruled(**bare, provenance={"models": [{"document": document}]}))
    assert (found.point, found.prevalence, found.recorded) == (0.25, 0.25, True)
    assert chosen(found) == [(TP, 0, 1, 3), (FP, 2, 1, 2), (FN, 3, 1, 1)]


def test_soft_labels_and_films_without_a_score_or_a_label() -> None:
    found = mass(ruled(prob=[NAN, *MASS[1:]], truth=[1, 0.7, 0.2, 0.5, 1, 0, 0, NAN], status=np.array([4] + [1] * 7)))
    assert chosen(found) == [(TP, 1, 1, 1), (FP, 2, 1, 2), (FN, 4, 1, 1)]


def test_only_held_out_films_are_chosen_unless_all_were_seen() -> None:
    split = np.array([1, 0, 2, 0, 0, 0, 3, 0], np.uint8)
    assert [row for _, row, _, _ in chosen(mass(ruled(split=split)))] == [1, 6, 3]
    assert [row for _, row, _, _ in chosen(mass(ruled(split=np.ones(8, np.uint8))))] == [0, 2, 3]


def test_a_finding_without_labels_shows_its_highest_film() -> None:
    found = mass(ruled(truth=[NAN] * 8))
    assert chosen(found) == [("highest probability", 0, 1, 8)]
    split = np.array([1, 0, 0, 0, 0, 0, 0, 0], np.uint8)
    assert chosen(mass(ruled(truth=[NAN] * 8, split=split))) == [("highest probability", 2, 1, 7)]


def test_one_probability_for_all_films_chooses_none() -> None:
    edema = choose_films(ruled())[1]
    assert (edema.constant, edema.films, edema.missing, edema.unstored) == (True, (), (), ())


def test_without_thumbnails_or_maps_nothing_is_shown() -> None:
    for scores in (ruled(pictured=[]), ruled(mapped=[])):
        found = mass(scores)
        assert (found.films, found.unstored) == ((), (TP, FP, FN))


def test_a_named_finding_has_more_films() -> None:
    (found,) = choose_films(ruled(), ["Mass"])
    assert chosen(found) == [(TP, 0, 1, 2), (TP, 1, 2, 2), (FP, 2, 1, 2), (FP, 6, 2, 2), (FN, 3, 1, 2), (FN, 4, 2, 2)]
    assert [one.finding for one in choose_films(ruled(), ["Edema", "Mass"])] == ["Edema", "Mass"]
    with pytest.raises(InputError, match="there is no finding Rib; the scores file has Mass, Edema"):
        choose_films(ruled(), ["Rib"])


def test_a_film_with_a_box_is_shown_too() -> None:
    assert chosen(mass(ruled(), boxed=[(4, 0), (6, 0), (5, 1)]))[3:] == [("film with a box", 6, 1, 2)]
    split = np.array([0, 0, 0, 0, 0, 0, 1, 0], np.uint8)  # of a seen film last, whatever its probability
    assert chosen(mass(ruled(split=split), boxed=[(4, 0), (6, 0)]))[3:] == [("film with a box", 4, 1, 2)]
    assert chosen(mass(ruled(split=split), boxed=[(6, 0)]))[3:] == [("film with a box", 6, 1, 1)]
    assert len(mass(ruled(), boxed=[(0, 0)]).films) == 3  # shown already
    found = mass(ruled(pictured=[0, 2, 3]), boxed=[(6, 0)])
    assert found.unstored == ("film with a box",)
