"""The plot of a comparison: what is drawn are the differences, and its marks say what the corrected test says."""

import base64
import csv
import io
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from report_scores import made_scores
from test_report_compare import changed, named
from test_report_spread import FOLDS, splits

from cxrscore.metrics import Estimate
from cxrscore.reporting import write_report
from cxrscore.reporting.compare import Comparison, Difference, PairedComparison, compare
from cxrscore.reporting.difference_plot import (
    comparison_figure,
    comparison_variables,
    difference_plot,
    difference_text,
)
from cxrscore.reporting.figures import encode
from cxrscore.reporting.page import environment


def difference(
    finding: str, value: float, error: float, verdict: str = "no difference shown", why: str = ""
) -> Difference:
    """With an interval of 1.96 times the error."""
    return Difference(
        finding=finding, positives=20, negatives=80, first=0.5, other=0.5 + value, p=0.01, verdict=verdict,
        found=Estimate(value=value, influence=np.array([error]), why=why, least=-1.0),
    )  # fmt: skip


def against(*findings: Difference, name: str = "b.h5", macro: float = 0.1) -> PairedComparison:
    whole = difference("Macro AUC", macro, 0.02, "better")
    return PairedComparison(name=name, findings=findings, macro=whole, averaged=len(findings))


def comparison(*others: PairedComparison, **changed: Any) -> Comparison:
    own = {
        "first": "a.h5",
        "films": 100,
        "patients": 100,
        "left_out": 0,
        "seen_out": 0,
        "untold": (),
        "joined": "hash",
        "seen": False,
        "tests": 2,
    }
    return Comparison(others=others, **{**own, **changed})


def marks(figure: Figure) -> list[tuple[float, float, bool]]:
    """Value, height and whether it is filled, of each mark from top to bottom."""
    (axes,) = figure.axes
    found = [
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]), line.get_markerfacecolor() != "white")
        for line in axes.lines
        if line.get_marker() in ("o", "s", "D", "^", "v") and len(line.get_xdata()) == 1
    ]
    return sorted(found, key=lambda mark: mark[1])


def words(figure: Figure) -> list[str]:
    (axes,) = figure.axes
    return [text.get_text() for text in (*axes.texts, *figure.texts, *figure.legends[0].get_texts())]


def test_the_macro_auc_is_first_and_findings_fall_by_their_difference() -> None:
    one = against(
        difference("Mass", -0.2, 0.05, "worse"),
        difference("Edema", 0.1, 0.2),
        difference("Hernia", 0.3, 0.1, "better"),
        difference("Rib", math.nan, 0.0, why="0 positive and 100 negative films"),
    )
    figure = difference_plot(comparison(one))
    assert [(value, filled) for value, _, filled in marks(figure)] == [
        (0.1, True),
        (0.3, True),
        (0.1, False),
        (-0.2, True),
    ]
    found = words(figure)
    assert found[:2] == ["← first file\nis better", "other file →\nis better"]
    assert found[2:6] == ["Macro AUC", "Hernia", "Edema", "Mass"]
    assert "+0.300 (+0.10 to +0.50)" in found
    assert "−0.200 (−0.30 to −0.10)" in found
    assert "No AUC, because only one class is present: Rib." in found
    assert found[-3:] == [
        "b.h5",
        "filled: p < 0.05 after Holm's correction",
        "hollow: no difference shown, or no interval",
    ]


def test_each_file_has_its_own_colour_and_mark_in_each_row() -> None:
    others = [against(difference("Mass", place / 10, 0.05), name=f"{place}.h5") for place in range(5)]
    figure = difference_plot(comparison(*others))
    (axes,) = figure.axes
    lines = [line for line in axes.lines if line.get_marker() != "None" and len(line.get_xdata()) == 1]
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == 5
    assert [value for value, _, _ in marks(figure)[5:]] == [0.0, 0.1, 0.2, 0.3, 0.4]
    assert words(figure)[-6:-1] == [
        *(f"{place}.h5" for place in range(1, 5)),
        "filled: p < 0.05 after Holm's correction",
    ]
    heights = [height for _, height, _ in marks(figure)]
    assert min(np.diff(heights)) > 0.1  # inches: marks do not touch


def test_more_files_have_one_row_each_the_best_first() -> None:
    others = [against(difference("Mass", 0.3, 0.05), name=f"{place}.h5", macro=place / 100) for place in range(7)]
    figure = difference_plot(comparison(*others))
    assert [value for value, _, _ in marks(figure)] == [place / 100 for place in reversed(range(7))]
    assert words(figure)[2:9] == [f"{place}.h5" for place in reversed(range(7))]
    assert "Macro AUCs of 7 files; the tables have the findings." in words(figure)


def test_wide_intervals_are_cut_with_an_arrow_and_nothing_else_is() -> None:
    (axes,) = difference_plot(comparison(against(difference("Mass", 0.0, 0.5), difference("Edema", 0.3, 0.05)))).axes
    low, high = axes.get_xlim()
    assert -0.7 < low < -0.5
    assert 0.5 < high < 0.7
    assert sorted(line.get_marker() for line in axes.lines if line.get_marker() in "<>") == ["<", ">"]
    (narrow,) = difference_plot(comparison(against(difference("Mass", 0.01, 0.005), macro=0.01))).axes
    assert narrow.get_xlim()[1] < 0.1  # zooms to the data, with 0 in it
    assert narrow.get_xlim()[0] < 0


def interval_ends(axes: Axes) -> list[float]:
    return [
        end
        for line in axes.lines
        if len(line.get_xdata()) == 2 and line.get_linewidth() == 1.4
        for end in line.get_xdata()
    ]


def test_a_difference_without_interval_has_a_hollow_mark_alone() -> None:
    figure = difference_plot(
        comparison(against(difference("Mass", 0.3, 0.0, why="no positive and negative film overlap")))
    )
    assert marks(figure)[1][0] == 0.3
    assert not marks(figure)[1][2]
    assert interval_ends(figure.axes[0]) == pytest.approx([0.1 - 1.96 * 0.02, 0.1 + 1.96 * 0.02], abs=1e-4)
    assert difference_text(difference("Mass", 0.3, 0.0, why="no")) == "+0.300"


def test_names_are_drawn_as_they_are() -> None:
    evil = "$\\frac{a}{$<b>\u202e" + "x" * 300
    one = against(difference(evil, 0.1, 0.05), difference(f"{evil}y", math.nan, 0, why="w"), name=evil)
    for others in ((one,), (one,) * 3, (one,) * 8):
        figure = difference_plot(comparison(*others, first=evil))
        assert encode(figure, "svg").startswith(b"<?xml")
        assert all("\u202e" not in text for text in words(figure))
        assert max(len(text) for text in words(figure)) < 100


def test_the_alternative_text_has_the_verdicts() -> None:
    one = against(difference("Mass", -0.2, 0.05, "worse"), difference("Edema", 0.1, 0.2))
    alt = comparison_figure(comparison(one)).alt
    assert alt == ("AUC less that of a.h5, with 95 % intervals. b.h5: macro AUC +0.100, better; worse in Mass.")


def table(variables: dict[str, Any]) -> list[dict[str, str]]:
    data = base64.b64decode(variables["difference_csv"].partition("base64,")[2])
    return list(csv.DictReader(io.StringIO(data.decode("utf-8"))))


def test_the_table_has_the_numbers_of_the_comparison() -> None:
    first = made_scores()
    found = compare([named(first), named(changed(first, 1.0), "b.h5"), named(changed(first, 2.0), "=c.h5")])
    assert found is not None
    rows = table(comparison_variables(found))
    assert len(rows) == 2 * 15
    for other, own in zip(found.others, (rows[:15], rows[15:]), strict=True):
        assert [row["finding"] for row in own] == ["Macro AUC", *(one.finding for one in other.findings)]
        for one, row in zip((other.macro, *other.findings), own, strict=True):
            assert row["compared_with"] == "a.h5"
            assert row["verdict"] == one.verdict
            for key, value in (
                ("difference", one.found.value),
                ("p_holm", one.p),
                ("difference_low", one.found.interval[0]),
            ):
                assert row[key] == ("" if math.isnan(value) else repr(float(value)))
    assert rows[0]["positives"] == ""
    assert rows[1]["positives"] == str(found.others[0].findings[0].positives)
    assert rows[15]["file"] == "'=c.h5"


def test_no_comparison_has_no_figure() -> None:
    assert comparison_variables(None)["differences"] is None
    folds = compare(splits(*FOLDS))
    assert comparison_variables(folds)["differences"] is None


def section(comparison: Comparison | None) -> str:
    """The text of the section."""
    template = environment().get_template("section_comparison.html.j2")
    html = template.render(**comparison_variables(comparison), marks={}, basis="held-out")
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def test_the_page_says_which_summary_is_right() -> None:
    """The same films: paired differences; different films: the spread, and why."""
    text = section(compare(splits(*FOLDS)))
    assert text.startswith("There is no paired difference: the files have no labelled film in common")
    assert "The files are evaluated on different films: 0 of 195 films are in all files, 195 in one file only." in text
    assert "which file is better cannot be seen from them" in text
    text = section(compare(splits(slice(0, 120), slice(40, 160), slice(80, 200))))
    assert "the paired differences above are on the 39 common films alone" in text
    scores = made_scores()
    text = section(
        compare([named(scores), *(named(changed(scores, 1.0, seed=seed), f"{seed}.h5") for seed in range(2))])
    )
    assert "All files are evaluated on the same 137 films. So the paired differences above say which" in text
    assert text.index("Save as SVG") < text.index("Spread over the 3 files") < text.index("Differences as tables")
    assert "are of different networks" not in text
    text = section(compare([named(scores), named(changed(scores, 1.0), "b.h5")]))
    assert "Spread" not in text


@pytest.mark.slow
def test_folds_are_in_the_summary_of_the_page(tmp_path: Path) -> None:
    first, *others = splits(*FOLDS)
    told = write_report(first.scores, tmp_path / "out.html", source="0.h5", others=others)
    spread = told["comparison"]["spread"]
    text = " ".join(re.sub(r"<[^>]+>", " ", (tmp_path / "out.html").read_text(encoding="utf-8")).split())
    assert (
        f"Comparison. Over the 3 files, each on its own films, the macro AUC has the mean {spread['mean']:.3f} and the "
        f"standard deviation {spread['standard_deviation']:.3f}. More"
    ) in text


@pytest.mark.slow
def test_equal_models_are_seldom_called_different() -> None:
    """Two models of equal AUC, whose errors are correlated: a finding is called better or worse in at most 5 % of the
    comparisons (Holm), and 95 % intervals of single differences contain 0 in about 95 %."""
    random, runs, called, covered, tests = np.random.default_rng(5), 200, 0, 0, 0
    base = made_scores(400)
    for _ in range(runs):
        common = random.normal(0, 1, base.logit.shape) + 1.2 * base.truth
        one, other = (base.logit * 0 + common + random.normal(0, 0.7, common.shape) for _ in range(2))
        files = [
            named(
                type(base)(
                    **{
                        **vars(base),
                        "logit": logit.astype(np.float32),
                        "prob": (1 / (1 + np.exp(-logit))).astype(np.float32),
                    }
                )
            )
            for logit in (one, other)
        ]
        found = compare(files)
        assert found is not None
        findings = found.others[0].findings
        called += any(finding.verdict != "no difference shown" for finding in findings)
        known = [finding.found.interval for finding in findings if not math.isnan(finding.p)]
        covered += sum(low <= 0 <= high for low, high in known)
        tests += len(known)
    assert called / runs < 0.05 + 2 * math.sqrt(0.05 * 0.95 / runs)
    assert covered / tests == pytest.approx(0.95, abs=0.02)
