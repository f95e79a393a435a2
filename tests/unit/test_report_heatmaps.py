"""Heat maps in a report: which films are shown, and what is laid over them."""

import dataclasses
import io

import cv2
import matplotlib.image
import numpy as np
import pytest
from report_scores import FINDINGS, made_scores

from cxrscore.errors import InputError
from cxrscore.reporting.figures import panel_figure
from cxrscore.reporting.heatmaps import (
    MAPS_A_FILM,
    choose_films,
    colour_scale,
    enlarge,
    heatmap_panels,
    jpeg,
    overlay,
    peak_value,
    shrink,
)
from cxrscore.scorefile.data import HeatMaps, Scores, Thumbnails


def one_film(*maps: list[list[float]]) -> Scores:
    """Scores whose film 100 alone has a thumbnail, and these maps for its findings 0, 1, ..."""
    scores = made_scores()
    return dataclasses.replace(
        scores,
        heat_maps=HeatMaps(
            map=np.array(maps, np.float16),
            film=np.full(len(maps), 100, np.int32),
            finding=np.arange(len(maps), dtype=np.int16),
        ),
        thumbnails=Thumbnails(film=np.array([100], np.int32), pixels=np.full((1, 8, 8), 100, np.uint8)),
    )


def test_enlarge_by_hand() -> None:
    # Cell centres lie at 1 and 3 of 4 pixels; pixel centres at .5, 1.5, 2.5, 3.5.
    assert enlarge(np.array([[0, 1]], np.float32), 4)[0].tolist() == [0, 0.25, 0.75, 1]


@pytest.mark.parametrize("shape", [(7, 7), (13, 12), (1, 1), (3, 5)])
def test_enlarge_agrees_with_opencv(shape: tuple[int, int]) -> None:
    values = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    wanted = cv2.resize(values, (64, 64), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(enlarge(values, 64), wanted, atol=1e-5)


def test_shrink_by_hand() -> None:
    film = np.array([[0, 10, 20, 30], [0, 10, 20, 30], [0, 0, 9, 9], [0, 0, 9, 9]], np.uint8)
    assert shrink(film, 2).tolist() == [[5, 25], [0, 9]]
    assert shrink(film, 4) is not film
    assert shrink(film, 4).tolist() == film.tolist()


def test_overlay_draws_the_positive_part_alone() -> None:
    film = np.full((4, 4), 100, np.uint8)
    drawn = overlay(film, np.array([[-3, 2]], np.float32), 2.0)
    assert drawn[:, 0].tolist() == [[100] * 3] * 4
    # At the top of the scale: a quarter film, three quarters the last colour of inferno (0.988, 1, 0.645).
    assert drawn[0, 3].tolist() == pytest.approx([25 + 191.25 * c for c in (0.988, 0.998, 0.645)], abs=1)


def test_overlay_of_less_evidence_is_nearer_the_film() -> None:
    film = np.full((8, 8), 100, np.uint8)
    strong, weak = (overlay(film, np.full((2, 2), value, np.float32), 4.0).astype(int) for value in (4, 1))
    assert np.abs(strong - 100).sum() > np.abs(weak - 100).sum() > 0


def test_colour_scale_runs_from_the_film_to_the_strongest_colour() -> None:
    scale = colour_scale(32, 4)
    assert scale.shape == (4, 32, 3)
    assert scale[0, 0].tolist() == [128] * 3
    assert scale[0, -1].astype(int).sum() > scale[0, 0].astype(int).sum()


def test_maps_of_one_film_share_its_scale() -> None:
    (panel,) = heatmap_panels(one_film([[4.0]], [[2.0]], [[-1.0]]))
    assert panel.scale == 4.0
    peaks = {one.finding: one.peak for one in panel.maps}
    assert peaks == {"Atelectasis": 4.0, "Cardiomegaly": 2.0, "Effusion": 0.0}
    strong, weak = (next(m.pixels for m in panel.maps if m.finding == name) for name in FINDINGS[:2])
    assert not np.array_equal(strong, weak)


def test_a_map_without_positive_evidence_says_so_and_shows_the_film() -> None:
    (panel,) = heatmap_panels(one_film([[-1.0, 0.0]]))
    (drawn,) = panel.maps
    assert drawn.note == "no positive evidence"
    assert panel.scale == 0
    np.testing.assert_array_equal(drawn.pixels, panel.film)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_map_that_is_not_finite_is_not_drawn(value: float) -> None:
    (panel,) = heatmap_panels(one_film([[1.0, value]], [[1.0, 1.0]]))
    notes = {one.finding: one.note for one in panel.maps}
    assert notes == {"Atelectasis": "the map contains values that are not finite", "Cardiomegaly": ""}
    assert peak_value(np.array([[1.0, value]], np.float32)) == 0


def test_the_most_probable_findings_come_first() -> None:
    for panel in heatmap_panels(made_scores(), limit=6):
        prob = [one.prob for one in panel.maps]
        assert len(prob) == MAPS_A_FILM
        assert prob == sorted(prob, reverse=True)


def test_films_are_chosen_for_a_reason_that_holds() -> None:
    scores = made_scores()
    chosen = choose_films(scores)
    rows = [row for row in range(60, 200, 2) if scores.films.status[row] == 1]
    for column, finding in enumerate(FINDINGS):
        best = max(rows, key=lambda row: scores.prob[row, column])
        assert f"Highest probability of {finding}" in chosen[best]
    reasons = [reason for several in chosen.values() for reason in several]
    assert sum(reason.startswith("Labelled") for reason in reasons) == 5
    alarms = [float(reason.split()[-1]) for reason in reasons if reason.startswith("Not labelled")]
    assert max(alarms) == pytest.approx(np.where(scores.truth == 0, scores.prob, 0)[rows].max(), abs=0.005)


def test_errors_are_measured_from_the_prevalence() -> None:
    """Every probability of the rare finding is small: a positive film above its prevalence is no false negative."""
    scores = made_scores()
    shown = np.array([row for row in range(60, 200, 2) if scores.films.status[row] == 1])
    prob, truth = np.full_like(scores.prob, 0.3), np.zeros_like(scores.truth)
    prob[:, 0], truth[shown[0], 0] = 0.03, 1  # of prevalence 0.01, not missed
    prob[shown[1], 1], truth[shown[1], 1] = 0.1, 1  # of prevalence 0.3: missed
    prob[shown[2], 0] = 0.3  # 30 times the prevalence: a false alarm
    prob[shown[3], 1] = 0.6
    share = [0.01, *[0.3] * (len(FINDINGS) - 1)]
    models = [{"document": {"spec": {"findings": list(FINDINGS)}, "calibration": {"prevalence": share}}}]
    made = dataclasses.replace(scores, prob=prob, truth=truth, provenance={"models": models})
    reasons = [one for several in choose_films(made).values() for one in several]
    assert [one for one in reasons if one.startswith("Labelled")] == [f"Labelled {FINDINGS[1]}, scored only 0.1"]
    alarms = [one for one in reasons if one.startswith("Not labelled")]
    assert f"Not labelled {FINDINGS[0]}, scored 0.3" in alarms


def test_unseen_films_come_before_seen_ones() -> None:
    scores = made_scores()
    assert set(choose_films(scores)) <= set(range(60, 200))
    assert choose_films(made_scores(split="valid"))


def test_no_more_films_than_the_limit() -> None:
    assert len(choose_films(made_scores(), limit=3)) == 3
    assert len(choose_films(made_scores())) <= 24


def test_failed_films_and_films_without_a_thumbnail_are_never_chosen() -> None:
    scores = made_scores()
    assert 90 in scores.thumbnails.film
    assert not {11, 47, 90, 133, 178} & set(choose_films(scores))
    nothing = Thumbnails(film=np.zeros(0, np.int32), pixels=np.zeros((0, 8, 8), np.uint8))
    assert heatmap_panels(dataclasses.replace(scores, thumbnails=nothing)) == ()


def test_jpeg_keeps_the_picture() -> None:
    picture = overlay(np.full((64, 64), 90, np.uint8), np.eye(2, dtype=np.float32), 1.0)
    back = matplotlib.image.imread(io.BytesIO(jpeg(picture)), format="jpeg")
    assert np.abs(back.astype(int) - picture).mean() < 3


def test_findings_may_be_chosen() -> None:
    scores = one_film([[4.0]], [[2.0]], [[-1.0]])
    (panel,) = heatmap_panels(scores, findings=[FINDINGS[2], FINDINGS[0], FINDINGS[5]])
    assert [one.finding for one in panel.maps] == [FINDINGS[2], FINDINGS[0]]  # of the third there is no map
    with pytest.raises(InputError, match="there is no finding Rib; the scores file has Atelectasis"):
        heatmap_panels(scores, findings=["Rib"])


def test_some_films_are_drawn_at_random_by_the_seed() -> None:
    def drawn(seed: int) -> set[int]:
        return {
            row
            for row, reasons in choose_films(made_scores(), seed=seed).items()
            if f"Random film, seed {seed}" in reasons
        }

    assert len(drawn(0)) == len(drawn(1)) == 4
    assert drawn(0) != drawn(1)
    assert drawn(0) == drawn(0)


def test_a_rare_finding_is_shown_as_a_multiple_of_its_prevalence() -> None:
    scores = one_film([[1.0, 0.0], [0.0, 0.0]])
    (plain,) = heatmap_panels(scores)
    assert plain.maps[0].times == ""
    document = {
        "spec": {"findings": list(scores.findings)},
        "calibration": {"prevalence": [0.05] * len(scores.findings)},
    }
    (rare,) = heatmap_panels(dataclasses.replace(scores, provenance={"models": [{"document": document}]}))
    assert rare.maps[0].times == f"{rare.maps[0].prob / 0.05:.1f} × the prevalence"
    titles = [axes.get_title() for axes in panel_figure(rare).axes]
    assert rare.maps[0].times in titles[1]
