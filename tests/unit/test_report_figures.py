"""The plots of a report, as matplotlib Figures."""

import dataclasses
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import StepPatch
from report_scores import made_scores

from cxrscore.metrics import average_precision, net_benefit, reliability, roc, supported_thresholds
from cxrscore.models.evaluation import Figure as Estimated
from cxrscore.models.evaluation import Yardstick, Yardsticks
from cxrscore.reporting import figures
from cxrscore.reporting.figures import FindingData
from cxrscore.reporting.forest_plot import (
    LIGHT,
    MARKERS,
    MOST_ROWS,
    Series,
    forest_plot,
    overview_alt,
    overview_plot,
    prevalence_plot,
)
from cxrscore.reporting.groups import MAX_SUBGROUPS
from cxrscore.reporting.heatmaps import heatmap_panels
from cxrscore.reporting.plot_elements import CURVE_GRID, thin_curve
from cxrscore.reporting.provenance import Epoch, Training
from cxrscore.reporting.small_multiples import (
    HEIGHT,
    LONGEST_TITLE,
    WIDTH,
    Panel,
    log_odds,
    probability_ticks,
    short_title,
)
from cxrscore.reporting.summary import summarise

TRAINING = Training(
    epochs=tuple(Epoch(number=n, train_loss=1 / n, valid_loss=0.2 + 1 / n, monitored=0.5 + n / 10) for n in (1, 2, 3)),
    monitor="valid_macro_auc",
    best_epoch=2,
    has_leakage=False,
)


def finding(name: str = "Mass", **changes: object) -> FindingData:
    data = FindingData(
        finding=name,
        truth=np.array([1, 0, 1, 0, np.nan], np.float32),
        prob=np.array([0.9, 0.8, 0.4, 0.3, 0.5], np.float32),
        ranked=np.array([0.9, 0.8, 0.4, 0.3, 0.5]),
        all_prob=np.array([0.9, 0.8, 0.4, 0.3, 0.5, 0.1], np.float32),
        auc=0.75,
        threshold=0.35,
        sensitivity=1.0,
        specificity=0.5,
    )
    return dataclasses.replace(data, **changes)


def lines(figure: Figure) -> list[np.ndarray]:
    return [line.get_xydata() for line in figure.axes[0].lines]


def drawn(figure: Figure, colour: str) -> list[np.ndarray]:
    """The data of the lines and marks of one colour in all panels."""
    return [one.get_xydata() for one in figure.artists if isinstance(one, Line2D) and one.get_color() == colour]


def texts(figure: Figure) -> list[str]:
    return [one.get_text() for one in figure.texts]


def legend(figure: Figure) -> list[str]:
    return [one.get_text() for one in figure.legends[0].get_texts()]


def test_a_roc_panel_shows_chance_the_curve_and_the_operating_point() -> None:
    figure = figures.roc_grid([finding()])
    expected = roc(finding().truth, finding().prob)
    ((curve,), (point,)) = drawn(figure, figures.BLUE), drawn(figure, figures.RED)
    np.testing.assert_array_equal(curve, np.column_stack([expected.fpr, expected.tpr]))
    assert point.tolist() == [[0.5, 1.0]]
    assert [[0, 0], [1, 1]] in [one.tolist() for one in drawn(figure, figures.GREY)]
    assert legend(figure) == ["ROC curve", "chance", "threshold"]


def test_a_panel_draws_its_data_inside_its_frame() -> None:
    figure = Figure()
    panel = Panel(figure, 1.0, 2.0)
    panel.set_limits((10, 20), (0, 4))
    panel.plot([10, 15, 20], [0, 2, 4], color="red")
    (line,) = figure.artists
    inches = line.get_transform().transform(line.get_xydata()) / figure.dpi
    np.testing.assert_allclose(inches, [[1, 2], [1 + WIDTH / 2, 2 + HEIGHT / 2], [1 + WIDTH, 2 + HEIGHT]])
    np.testing.assert_allclose(np.array(line.get_clip_box().bounds) / figure.dpi, [1, 2, WIDTH, HEIGHT])


def test_the_area_of_a_precision_recall_panel_is_the_average_precision() -> None:
    random = np.random.default_rng(5)
    truth = (random.random(80) < 0.2).astype(np.float32)
    data = finding(truth=truth, ranked=np.round(random.normal(truth, 1), 1))
    figure = figures.precision_recall_grid([data])
    ((curve,),) = (drawn(figure, figures.BLUE),)
    area = float(np.sum(np.diff(curve[:, 0]) * curve[1:, 1]))
    assert area == pytest.approx(average_precision(truth, data.ranked), rel=1e-12)
    prevalence = float(truth.mean())
    level = next(one for one in drawn(figure, figures.GREY) if one[:, 0].tolist() == [0, 1])
    assert level[:, 1].tolist() == pytest.approx([prevalence, prevalence])
    assert f"AP {area:.3f}" in texts(figure)


def test_a_decision_panel_is_the_net_benefit_as_a_fraction_of_the_prevalence() -> None:
    random = np.random.default_rng(6)
    prob = random.uniform(0.02, 0.3, 200).astype(np.float32)
    truth = (random.random(200) < prob).astype(np.float32)
    figure = figures.decision_grid([finding(truth=truth, prob=prob)])
    ((model,), (everyone,)) = drawn(figure, figures.BLUE), drawn(figure, figures.RED)
    thresholds = supported_thresholds(truth, prob)
    expected = net_benefit(truth, prob, thresholds)
    np.testing.assert_allclose(model, np.column_stack([log_odds(thresholds), expected.model / truth.mean()]), rtol=1e-6)
    np.testing.assert_allclose(everyone[:, 1], expected.treat_all / truth.mean(), rtol=1e-6)


def test_thinned_keeps_corners_and_ends_and_drops_what_falls_together() -> None:
    x, y = np.array([0, 0, 0.5, 0.5 + 1e-6, 1, 1]), np.array([0, 0.5, 0.5, 0.5, 1 - 1e-6, 1])
    kept = thin_curve(x, y)
    assert [axis.tolist() for axis in kept] == [[0, 0, 0.5, 1, 1], [0, 0.5, 0.5, 1 - 1e-6, 1]]


def test_the_curve_of_many_films_stays_light_and_exact() -> None:
    random = np.random.default_rng(3)
    truth = (random.random(50_000) < 0.2).astype(np.float32)
    curve = roc(truth, random.normal(truth, 1))
    x, y = thin_curve(curve.fpr, curve.tpr)
    assert len(x) <= 2 * CURVE_GRID + 2 < len(curve.fpr)
    before = np.searchsorted(x + y, curve.fpr + curve.tpr, side="right") - 1
    for whole, kept in ((curve.fpr, x), (curve.tpr, y)):
        assert np.abs(whole - kept[before]).max() <= 1 / CURVE_GRID


def test_an_undefined_auc_draws_no_curve() -> None:
    undefined = finding(auc=math.nan, sensitivity=math.nan, specificity=math.nan)
    figure = figures.roc_grid([undefined])
    assert drawn(figure, figures.BLUE) == drawn(figure, figures.RED) == []


def test_a_grid_has_one_titled_panel_for_each_finding_and_ticks_only_outside() -> None:
    grid = figures.roc_grid([finding(), finding("Hernia", auc=math.nan), finding("A"), finding("B"), finding("C")])
    found = texts(grid)
    for word in ("Mass", "Hernia", "A", "B", "C"):
        assert found.count(word) == 1
    assert found.count("AUC 0.750") == 4
    assert found.count("AUC undefined") == 1
    assert found.count("0.5") == 2 + 4  # two panels at the left, four without a panel below


def test_a_long_name_is_cut_to_its_panel() -> None:
    assert short_title("Enlarged Cardiomediastinum") == "Enlarged Cardiomediast…"
    assert len(short_title("Enlarged Cardiomediastinum")) == LONGEST_TITLE


def test_a_distribution_shows_fractions_of_each_class_on_either_side() -> None:
    up, down = (one for one in figures.distribution_grid([finding()]).artists if isinstance(one, StepPatch))
    for bars, probabilities, sign in ((up, (0.9, 0.4), 1), (down, (0.8, 0.3), -1)):
        values, edges, _ = bars.get_data()
        assert values.sum() * sign == pytest.approx(1)
        inside = np.clip(log_odds(np.array(probabilities, np.float32)), edges[0], edges[-1])
        np.testing.assert_allclose(values * sign, np.histogram(inside, edges)[0] / 2)


def test_without_labels_a_distribution_shows_all_films() -> None:
    figure = figures.distribution_grid([finding(truth=np.full(5, np.nan, np.float32))])
    (bars,) = (one for one in figure.artists if isinstance(one, StepPatch))
    assert bars.get_data().values.sum() == pytest.approx(1)
    assert legend(figure) == ["all scored films, no labels", "threshold"]


def test_ticks_of_probabilities_are_apart_and_inside() -> None:
    ticks = probability_ticks(-4.6, 0.0)
    assert [words for _, words in ticks] == ["0.01", "0.03", "0.1", "0.5"]
    assert [at for at, _ in ticks] == pytest.approx([math.log(p / (1 - p)) for p in (0.01, 0.03, 0.1, 0.5)])


def test_the_loss_plot_marks_the_best_epoch() -> None:
    train, valid, best = lines(figures.loss_plot(TRAINING))
    np.testing.assert_allclose(train, [[1, 1], [2, 1 / 2], [3, 1 / 3]])
    np.testing.assert_allclose(valid[:, 1], [1.2, 0.7, 0.2 + 1 / 3])
    assert best[:, 0].tolist() == [2, 2]


def test_the_monitored_figure_is_drawn_where_it_is_no_loss() -> None:
    assert figures.monitors_more(TRAINING)
    assert [axes.get_ylabel() for axes in figures.loss_grid(TRAINING).axes] == ["loss", "validation macro AUC"]
    by_loss = dataclasses.replace(TRAINING, monitor="valid_loss")
    assert not figures.monitors_more(by_loss)
    assert len(figures.loss_grid(by_loss).axes) == 1


def test_a_panel_names_each_map_with_its_probability() -> None:
    panel = heatmap_panels(made_scores(), limit=1).panels[0]
    titles = [axes.get_title().splitlines()[:2] for axes in figures.panel_figure(panel).axes]
    assert titles == [["film"], [f"Atelectasis {panel.prob:.3f}", "true positive"]]


@pytest.mark.parametrize(("kind", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_the_same_plot_gives_the_same_bytes(kind: figures.Format, start: bytes) -> None:
    first, second = (figures.encode(figures.roc_grid([finding()]), kind) for _ in range(2))
    assert first == second
    assert first.startswith(start)


def test_a_finding_is_words_and_never_a_formula() -> None:
    assert figures.encode(figures.distribution_grid([finding(r"$\frac{1}{$")]), "png").startswith(b"\x89PNG")


def test_drawing_needs_no_pyplot() -> None:
    code = "import sys, cxrscore.reporting; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0


def test_a_reliability_panel_shows_bins_of_twenty_films_and_ends_where_they_do() -> None:
    random = np.random.default_rng(0)
    prob = random.uniform(0, 0.18, 90).astype(np.float32)
    data = finding(truth=(random.random(90) < prob).astype(np.float32), prob=prob)
    figure = figures.reliability_grid([data])
    curve = reliability(data.truth, data.prob, points=4)
    assert curve.films.min() >= figures.FILMS_PER_BIN
    intervals, points, negatives = drawn(figure, figures.BLUE)
    np.testing.assert_allclose(points, np.column_stack([curve.prob, curve.share]))
    assert len(intervals) == 3 * len(curve.films)
    assert len(negatives) == 3 * np.count_nonzero(data.truth == 0)
    (positives,) = drawn(figure, figures.RED)
    low, high = (float(words) for words in texts(figure)[:2])
    assert 0 <= low <= np.quantile(prob, figures.EDGE)
    assert np.quantile(prob, 1 - figures.EDGE) <= high < 0.2
    assert sorted(positives[::3, 0]) == pytest.approx(sorted(prob[data.truth == 1]), abs=0.005)


def test_one_distant_film_does_not_squash_a_reliability_panel() -> None:
    prob = np.r_[np.linspace(0.01, 0.05, 199), 0.9].astype(np.float32)
    figure = figures.reliability_grid([finding(truth=np.r_[np.zeros(199), 1].astype(np.float32), prob=prob)])
    high = float(texts(figure)[1])
    assert 0.05 < high < 0.12
    (positives,) = drawn(figure, figures.RED)
    assert positives[0, 0] == pytest.approx(high, abs=0.005)


def test_a_rug_of_many_films_is_of_quantiles() -> None:
    prob = np.linspace(0.1, 0.2, 5000, dtype=np.float32)
    figure = figures.reliability_grid([finding(truth=np.zeros(5000, np.float32), prob=prob)])
    assert len(drawn(figure, figures.BLUE)[-1]) == 3 * figures.MOST_MARKS


def test_the_first_epoch_does_not_squash_the_others() -> None:
    losses = (9.0, 1.0, 0.8, 0.7)
    epochs = tuple(
        Epoch(number=n, train_loss=loss, valid_loss=loss + 0.1, monitored=0.5) for n, loss in enumerate(losses, start=1)
    )
    figure = figures.loss_plot(dataclasses.replace(TRAINING, epochs=epochs))
    low, high = figure.axes[0].get_ylim()
    assert 0.65 < low < 0.7
    assert 1.1 < high < 1.2
    assert [words.get_text() for words in figure.axes[0].texts] == ["first epoch, outside: 9, 9.1"]
    steady = figures.loss_plot(TRAINING).axes[0]
    assert not steady.texts
    assert steady.get_ylim()[1] > 1.2


def test_probability_and_prevalence_are_beside_each_other() -> None:
    rare = finding("Rare", truth=np.array([1, 0, 0, 0, 0], np.float32), prob=np.full(5, 0.25, np.float32))
    common = finding("Common", truth=np.array([1, 1, 0, 1, 0], np.float32), prob=np.full(5, 0.5, np.float32))
    axes = prevalence_plot([rare, common]).axes[0]
    words = [one.get_text() for one in axes.texts]
    assert words.index("Common") < words.index("Rare")
    assert {"0.250", "0.500", "0.200 (0.04–0.62)", "0.600 (0.23–0.88)"} <= set(words)
    marks = {line.get_marker(): [] for line in axes.lines if line.get_marker() in ("o", "D")}
    for line in axes.lines:
        if line.get_marker() in marks:
            marks[line.get_marker()].append(float(line.get_xdata()[0]))
    assert marks["o"] == pytest.approx([math.log(0.6 / 0.4), math.log(0.25)])
    assert marks["D"] == pytest.approx([0, math.log(1 / 3)])


def test_the_forest_shows_values_intervals_and_names() -> None:
    nothing = (math.nan,) * 3
    one = Series(name="$F$", values=[(0.1, 0.0, 0.2), nothing])
    other = Series(name="_M", values=[(-0.6, -0.9, -0.3), (0.05, math.nan, math.nan)])
    figure = forest_plot(["$Mass$", "Edema"], [one, other], "gap")
    axes = figure.axes[0]
    assert [words.get_text() for words in axes.get_yticklabels()] == ["$Mass$", "Edema"]
    assert [words.get_text() for words in figure.legends[0].get_texts()] == ["$F$", "_M"]
    assert not any(words.get_parse_math() for words in figure.legends[0].get_texts())
    marks = [line for line in axes.lines if line.get_marker() in MARKERS]
    assert [list(mark.get_xdata()) for mark in marks] == [[0.1], [-0.6, 0.05]]
    low, high = axes.get_xlim()
    assert (low, high) == (pytest.approx(-0.63), pytest.approx(0.63))
    assert figures.encode(figure, "svg").startswith(b"<?xml")
    assert not forest_plot(["Mass"], [one], "gap").legends


def test_no_two_groups_look_the_same() -> None:
    series = [Series(name=str(place), values=[(0.1, 0.0, 0.2)]) for place in range(MAX_SUBGROUPS)]
    (legend,) = forest_plot(["Mass"], series, "gap").legends
    looks = [(line.get_color(), line.get_marker()) for line in legend.get_lines()]
    assert len(set(looks)) == MAX_SUBGROUPS
    for place in (0, 1):  # the first six differ in both, for readers who tell no colours apart
        assert len({look[place] for look in looks[:6]}) == 6


def test_a_forest_of_nothing() -> None:
    assert figures.encode(forest_plot(["Mass"], [Series(name="", values=[(math.nan,) * 3])], "gap"), "png")


NOT_KNOWN = Estimated(value=math.nan, low=math.nan, high=math.nan)


def yardsticks(auc: float = 0.61) -> Yardsticks:
    alone = Yardstick(
        name="Age and sex alone", macro_auc=dataclasses.replace(NOT_KNOWN, value=auc), brier=0.1, label_accuracy=0.9
    )
    return Yardsticks(model=alone, without=(alone,), columns="age and sex", difference=NOT_KNOWN)


def words_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in (*figure.axes[0].texts, *figure.texts, *figure.legends[0].get_texts())]


def test_the_overview_has_all_findings_the_highest_first_and_the_mean_last() -> None:
    summary = summarise(made_scores())
    figure = overview_plot(summary, yardsticks())
    found = sorted((one for one in summary.findings if math.isfinite(one.auc)), key=lambda one: -one.auc)
    words = words_of(figure)
    names = [word for word in words if word in {one.finding for one in found}]
    assert names == [one.finding for one in found]
    assert f"{found[0].positives} / {found[0].positives + found[0].negatives}" in words
    sure = next(one for one in found if math.isfinite(one.interval[0]))
    assert f"{sure.auc:.3f} ({sure.interval[0]:.2f}\N{EN DASH}{sure.interval[1]:.2f})" in words
    assert "No AUC, because only one class is present: Hernia." in words
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [line.get_xydata()[0].tolist() for line in dots] == [[one.auc, y] for y, one in enumerate(found)]
    assert [line.get_color() == LIGHT for line in dots] == [one.few_positives for one in found]
    assert {0.5, 0.61} <= {line.get_xdata()[0] for line in figure.axes[0].lines}
    assert "age and sex alone, mean 0.610 in the model's evaluation" in words
    diamonds = [patch.get_xy()[:4, 0] for patch in figure.axes[0].patches if len(patch.get_xy()) == 5]
    (low, high), value = summary.areas.macro_known_interval, summary.areas.macro_known.value
    assert math.isnan(summary.areas.macro_interval[0])
    assert diamonds[-1].tolist() == pytest.approx([low, value, high, value])
    assert f"{found[0].finding} {found[0].auc:.3f}" in overview_alt(summary)


def test_the_overview_of_one_finding_without_interval_is_hollow() -> None:
    scores = made_scores()
    summary = summarise(scores)
    nothing = (math.nan, math.nan)
    one = dataclasses.replace(summary.findings[0], interval=nothing, why="one positive film only")
    areas = dataclasses.replace(
        summary.areas, intervals=(nothing,), macro_interval=nothing, macro_known_interval=nothing
    )
    figure = overview_plot(dataclasses.replace(summary, findings=(one,), areas=areas), None)
    (dot,) = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert dot.get_markerfacecolor() == "white"
    assert "hollow: no interval" in words_of(figure)
    assert figures.encode(figure, "svg").startswith(b"<?xml")


def test_the_overview_of_many_findings_shows_those_with_most_positives() -> None:
    summary = summarise(made_scores())
    many = tuple(
        dataclasses.replace(summary.findings[0], finding=f"F{place}", positives=place + 1)
        for place in range(MOST_ROWS + 5)
    )
    words = words_of(overview_plot(dataclasses.replace(summary, findings=many), None))
    shown = {word for word in words if word.startswith("F")}
    assert shown == {f"F{place}" for place in range(5, MOST_ROWS + 5)}
    assert f"The {MOST_ROWS} of {MOST_ROWS + 5} findings with the most positives; the macro AUC is of all." in words


@pytest.mark.parametrize("name", ["W" * 60, "A" * 20, "Enlarged Cardiomediastinum"])
def test_names_beside_the_axes_stay_inside_the_figure(name: str) -> None:
    series = [Series(name="all", values=[(0.1, 0.0, 0.2)])]
    for figure in (forest_plot([name], series, "gap"), prevalence_plot([finding(name)])):
        (axes,) = figure.axes
        figure.draw_without_rendering()
        words = [one for one in (*axes.texts, *axes.get_yticklabels()) if one.get_text()[:3] == name[:3]]
        assert [one.get_window_extent().x0 >= 0 for one in words] == [True]
        assert axes.get_position().width > 0.2


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_letters_that_the_font_lacks_are_no_warning(kind: figures.Format) -> None:
    assert figures.encode(prevalence_plot([finding("\u80ba\u708e")]), kind)


def test_titles_of_wide_letters_or_with_line_breaks_stay_above_their_panel() -> None:
    figure = figures.roc_grid([finding("W" * 40), finding("a\nb")])
    figure.draw_without_rendering()
    titles = [one for one in figure.texts if one.get_text().startswith(("W", "a"))]
    assert [one.get_text() for one in titles] == ["W" * (LONGEST_TITLE - 1) + "\N{HORIZONTAL ELLIPSIS}", "a[U+000A]b"]
    assert titles[0].get_window_extent().width <= 1.02 * WIDTH * figure.dpi


def test_one_finding_has_no_mean() -> None:
    summary = summarise(made_scores())
    one = dataclasses.replace(summary, findings=summary.findings[:1])
    assert "Macro" not in overview_alt(one)
    assert "Macro" in overview_alt(summary)
    assert overview_plot(one, None).axes
