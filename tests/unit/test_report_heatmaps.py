"""Heat maps in a report: what is laid over a film, on what scale."""

import io

import cv2
import matplotlib.image
import numpy as np
import pytest
from choice_scores import ruled
from report_scores import made_scores

from cxrscore.labels import Box
from cxrscore.reporting.figures import panel_figure
from cxrscore.reporting.heatmaps import (
    FindingPanels,
    HeatmapPanel,
    colour_scale,
    enlarge,
    heatmap_panels,
    jpeg,
    outlined,
    overlay,
    peak_value,
    shrink,
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


def panels_of(*peaks: float, **changed: object) -> tuple[FindingPanels, list[HeatmapPanel]]:
    """The panels of Mass for films of RULE whose maps have these largest values."""
    maps = np.zeros((len(peaks), 2, 2))
    maps[:, 0, 1] = peaks
    one = heatmap_panels(ruled(maps=maps, **changed)).findings[0]
    return one, list(one.panels)


def test_maps_of_a_finding_share_the_scale_of_its_strongest_map_in_the_file() -> None:
    one, (best, alarm, missed) = panels_of(1, 2, 4, 0.2, 3, 8, 1, 1)  # films 0, 2 and 3 are shown; 5 is the strongest
    assert one.scale == 8
    assert (best.peak, alarm.peak, missed.peak) == (1, 4, pytest.approx(0.2, abs=1e-3))
    assert [panel.strength_text for panel in (best, alarm, missed)] == ["12 %", "50 %", "2 %"]
    assert [panel.very_weak for panel in (best, alarm, missed)] == [False, False, True]
    seen = [int(np.abs(panel.overlay.astype(int) - panel.film).max()) for panel in (missed, best, alarm)]
    assert 0 < seen[0] < seen[1] < seen[2]


def test_a_map_without_positive_evidence_says_so_and_shows_the_film() -> None:
    _, panels = panels_of(1, 1, -1, 1, 1, 1, 1, 1)
    assert [panel.note for panel in panels] == ["", "no positive evidence", ""]
    assert (panels[1].strength_text, panels[1].very_weak) == ("", False)
    np.testing.assert_array_equal(panels[1].overlay, panels[1].film)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_map_that_is_not_finite_is_not_drawn(value: float) -> None:
    one, panels = panels_of(1, 1, value, 1, 1, 1, 1, 2)
    assert [panel.note for panel in panels] == ["", "the map contains values that are not finite", ""]
    assert one.scale == 2
    assert peak_value(np.array([[1.0, value]], np.float32)) == 0


def test_the_share_of_a_very_weak_map_is_said() -> None:
    _, panels = panels_of(0.004, 1, 0.3, 1, 1, 1, 1, 1)
    assert [panel.strength_text for panel in panels] == ["less than 1 %", "30 %", "100 %"]


def test_a_panel_has_what_its_words_need() -> None:
    scores = ruled(view=("PA", *[""] * 7), split=np.array([1] * 8, np.uint8))
    best = heatmap_panels(scores).panels[0]
    assert (best.view, best.split, best.truth, best.prob) == ("PA", "train", 1, pytest.approx(0.9))
    assert best.times == ""  # the model records no prevalence


def test_boxes_are_drawn_on_film_and_overlay() -> None:
    box = Box(film="", finding="Mass", x=32, y=0, width=32, height=24)  # the right upper quarter of 64 x 48
    values = np.zeros((8, 8, 8))
    values[:, :4, 4:] = 1
    panel = heatmap_panels(ruled(maps=values), boxes={(0, 0): (box,)}).panels[0]
    for picture in (panel.film, panel.overlay):
        assert picture[0, 8].tolist() == [0, 229, 255]
        assert picture[4, 12].tolist() != [0, 229, 255]
    assert panel.box is not None
    assert (panel.box.pointing, panel.box.area) == (1, 0.25)
    assert panel.box.energy == pytest.approx(0.9, abs=0.1)  # the enlarged map passes the edge a little
    assert heatmap_panels(ruled(maps=values)).panels[0].box is None


def test_an_outline_stays_on_the_film() -> None:
    film = np.zeros((8, 8, 3), np.uint8)
    box = Box(film="", finding="", x=-1, y=90, width=50, height=20)
    drawn = outlined(film, [box], 100, 100)
    assert not film.any()
    assert np.flatnonzero(drawn.any(axis=(1, 2))).tolist() == [7]
    assert np.flatnonzero(drawn.any(axis=(0, 2))).tolist() == [0, 1, 2, 3, 4]


def test_no_more_panels_than_the_limit() -> None:
    found = heatmap_panels(made_scores(), limit=5)
    assert len(found.panels) == 5
    assert found.total > 20
    assert len(heatmap_panels(made_scores()).panels) == found.total <= 42


def test_a_rare_finding_is_shown_as_a_multiple_of_its_prevalence() -> None:
    document = {"spec": {"findings": ["Mass", "Edema"]}, "calibration": {"prevalence": [0.05, 0.5]}}
    rare = heatmap_panels(ruled(provenance={"models": [{"document": document}]})).panels[0]
    assert rare.times == "18 × the prevalence"
    assert [axes.get_title() for axes in panel_figure(rare).axes] == [
        "film",
        "Mass 0.900\ntrue positive\n18 × the prevalence",
    ]


def test_jpeg_keeps_the_picture() -> None:
    picture = overlay(np.full((64, 64), 90, np.uint8), np.eye(2, dtype=np.float32), 1.0)
    back = matplotlib.image.imread(io.BytesIO(jpeg(picture)), format="jpeg")
    assert np.abs(back.astype(int) - picture).mean() < 3
