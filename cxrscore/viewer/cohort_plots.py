"""The plots of the cohort page as SVG in the page, with marks that its script moves."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

from cxrscore.contract import Array, Floats
from cxrscore.metrics import Proportion, precision_recall, roc
from cxrscore.metrics.grouping import class_mask
from cxrscore.reporting.figures import FindingData, reliability_bins
from cxrscore.reporting.plot_elements import thin_curve
from cxrscore.reporting.small_multiples import Ticks, log_odds, probability_ticks

WIDTH, HEIGHT = 320, 264
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 10, 42
"""Margins of a plot, units of the SVG."""
BINS = 24
"""Bars of a distribution."""
MOST_POINTS = 2000
"""Films of a scatter plot; more are drawn as a two-dimensional histogram."""
CELLS = 40
"""Cells of a side of this histogram."""
_UNIT: Ticks = ((0, "0"), (0.25, "0.25"), (0.5, "0.5"), (0.75, "0.75"), (1, "1"))

Marks = dict[str, dict[str, float]]
"""Attributes of elements by their id."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """An axis: its name, the data at its ends, and its ticks."""

    name: str
    low: float = 0.0
    high: float = 1.0
    ticks: Ticks = _UNIT

    def share(self, value: float) -> float:
        """Where a value is between the ends, 0..1; values beyond are at an end."""
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A plot without its moving marks.

    Attributes
    ----------
    name : str
        Id of the SVG element.
    alt : str
        What it shows.
    x, y : Axis
    body : Markup
        Axes and curves.
    """

    name: str
    alt: str
    x: Axis
    y: Axis
    body: Markup

    def dot(self, x: float, y: float) -> dict[str, float]:
        """Attributes of a circle; far outside if a coordinate is undefined."""
        if not (math.isfinite(x) and math.isfinite(y)):
            return {"cx": -99.0, "cy": -99.0}
        return {"cx": _at_x(self.x, x), "cy": _at_y(self.y, y)}

    def upright(self, x: float) -> dict[str, float]:
        """Attributes of a vertical line."""
        place = _at_x(self.x, x)
        return {"x1": place, "x2": place, "y1": float(TOP), "y2": float(HEIGHT - BOTTOM)}

    def level(self, y: float) -> dict[str, float]:
        """Attributes of a horizontal line."""
        place = _at_y(self.y, y)
        return {"x1": float(LEFT), "x2": float(WIDTH - RIGHT), "y1": place, "y2": place}

    def svg(self, marks: Marks) -> Markup:
        """The whole, with marks that have an id: circles, and lines."""
        drawn = Markup("").join(
            Markup('<{} id="{}" class="now" {}/>').format(
                "circle" if "cx" in values else "line",
                name,
                _attributes({**values, **({"r": 5} if "cx" in values else {})}),
            )
            for name, values in marks.items()
        )
        return Markup('<svg class="plot" id="{}" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}</svg>').format(
            self.name, WIDTH, HEIGHT, self.alt, self.body, drawn
        )


def roc_plot(data: FindingData) -> Plot:
    """Sensitivity against 1 - specificity."""
    x, y = Axis(name="1 − specificity"), Axis(name="sensitivity")
    curve = roc(data.truth, data.ranks)
    drawn = [_line(x, y, [0, 1], [0, 1], "grey"), _line(x, y, *thin_curve(curve.fpr, curve.tpr), "curve")]
    if math.isfinite(data.sensitivity) and math.isfinite(data.specificity):
        drawn.append(_square(x, y, 1 - data.specificity, data.sensitivity))
    return _plot("roc", f"ROC curve of {data.finding}, AUC {data.auc:.3f}", x, y, drawn)


def precision_recall_plot(data: FindingData) -> Plot:
    """Precision against recall, in steps whose area is the average precision."""
    x, y = Axis(name="recall (sensitivity)"), Axis(name="precision (PPV)")
    valid = class_mask(data.truth, data.ranks)
    prevalence = float((data.truth[valid] > 0.5).mean())
    curve = precision_recall(data.truth, data.ranks)
    rises = np.diff(curve.recall, prepend=0) > 0
    recall, precision = curve.recall[rises], curve.precision[rises]
    steps = thin_curve(np.repeat(np.r_[0, recall], 2)[1:-1], np.repeat(precision, 2))
    drawn = [_line(x, y, [0, 1], [prevalence, prevalence], "grey"), _line(x, y, *steps, "curve")]
    if math.isfinite(data.sensitivity):
        called = data.prob[valid] >= np.float32(data.threshold)
        if called.any():
            drawn.append(_square(x, y, data.sensitivity, float((data.truth[valid][called] > 0.5).mean())))
    return _plot("precision-recall", f"Precision-recall curve of {data.finding}", x, y, drawn)


def reliability_plot(data: FindingData, prevalence: float) -> Plot:
    """The fraction of positives by probability, with the intervals of the bins."""
    curve = reliability_bins(data)
    ends = [
        Proportion(hits=round(share * films), total=int(films)).interval
        for share, films in zip(curve.share, curve.films, strict=True)
    ]
    top = _round_up(max([*(end for _, end in ends), *curve.prob, 0.05]))
    ticks = [(part * top / 4, f"{part * top / 4:.3g}") for part in range(5)]
    x = Axis(name="probability", high=top, ticks=ticks)
    y = Axis(name="fraction of positives", high=top, ticks=ticks)
    drawn = [_line(x, y, [0, top], [0, top], "grey"), *_references(x, y, data.threshold, prevalence, odds=False)]
    drawn += [_line(x, y, [at, at], end, "whisker") for at, end in zip(curve.prob, ends, strict=True)]
    drawn.append(_line(x, y, curve.prob, curve.share, "curve"))
    drawn += [_dot(x, y, at, share) for at, share in zip(curve.prob, curve.share, strict=True)]
    return _plot("reliability", f"Reliability curve of {data.finding}", x, y, drawn)


def distribution_plot(data: FindingData, prevalence: float) -> Plot:
    """The probabilities of positive films above the line, and of negative ones below it; without labels of all films,
    as fractions of each."""
    known = class_mask(data.truth, data.prob)
    shown = data.prob[known] if known.any() else data.all_prob
    x = odds_axis(shown, "probability (log odds scale)")
    edges = np.linspace(x.low, x.high, BINS + 1)
    parts = [data.prob[known & (data.truth > 0.5)], data.prob[known & (data.truth < 0.5)]] if known.any() else [shown]
    bars = [np.histogram(log_odds(part), edges)[0] / max(len(part), 1) for part in parts]
    top = max(0.02, *(float(one.max()) for one in bars))
    low = -top if len(bars) > 1 else 0.0
    ticks = [(end, f"{abs(end):.2g}") for end in dict.fromkeys((low, 0.0, top))]
    y = Axis(
        name="fraction of films of the class" if len(bars) > 1 else "fraction of films", low=low, high=top, ticks=ticks
    )
    kinds = ("bar positive", "bar negative") if len(bars) > 1 else ("bar all",)
    drawn = [_bars(x, y, edges, sign * one, kind) for sign, one, kind in zip((1, -1), bars, kinds, strict=False)]
    drawn += _references(x, y, data.threshold, prevalence, odds=True)
    return _plot("distribution", f"Distribution of the probabilities of {data.finding}", x, y, drawn)


def scatter_plot(finding: str, names: Sequence[str], truth: Floats, first: Floats, other: Floats) -> Plot:
    """The probabilities of two files, film by film, or as a histogram of many films."""
    both = np.r_[first, other]
    ends = odds_axis(both, "")
    x, y = (Axis(name=name, low=ends.low, high=ends.high, ticks=ends.ticks) for name in names)
    drawn = [_line(x, y, [x.low, x.high], [y.low, y.high], "grey")]
    across, up = log_odds(first), log_odds(other)
    if len(first) <= MOST_POINTS:
        for kind, chosen in (("unknown", np.isnan(truth)), ("negative", truth < 0.5), ("positive", truth > 0.5)):
            drawn += [_dot(x, y, *at, f"film {kind}") for at in zip(across[chosen], up[chosen], strict=True)]
    else:
        drawn.append(_histogram(x, y, across, up))
    return _plot("scatter", f"Probabilities of {finding} in both files", x, y, drawn)


def odds_axis(prob: Array, name: str) -> Axis:
    """An axis of log odds that has all these probabilities."""
    odds = log_odds(prob) if len(prob) else np.array([-2.0, 2.0])
    low, high = float(odds.min()), float(odds.max())
    room = max(0.02 * (high - low), 0.05)
    return Axis(name=name, low=low - room, high=high + room, ticks=probability_ticks(low - room, high + room))


def odds(prob: float) -> float:
    """The place of a probability on an axis of log odds."""
    return float(log_odds(np.array(prob)))


def _plot(name: str, alt: str, x: Axis, y: Axis, drawn: Sequence[Markup]) -> Plot:
    return Plot(name=name, alt=alt, x=x, y=y, body=Markup("").join([*_frame(x, y), *drawn]))


def _frame(x: Axis, y: Axis) -> list[Markup]:
    foot, side = HEIGHT - BOTTOM, WIDTH - RIGHT
    found = [Markup('<path class="frame" d="M{} {}V{}H{}"/>').format(LEFT, TOP, foot, side)]
    for at, words in x.ticks:
        place = _at_x(x, at)
        found.append(Markup('<path class="frame" d="M{0:.1f} {1}v4"/>').format(place, foot))
        found.append(_text(place, foot + 15, words, "middle"))
    for at, words in y.ticks:
        place = _at_y(y, at)
        found.append(Markup('<path class="frame" d="M{0} {1:.1f}h-4"/>').format(LEFT, place))
        found.append(_text(LEFT - 7, place + 4, words, "end"))
    found.append(_text((LEFT + side) / 2, HEIGHT - 8, short(x.name), "middle"))
    turned = Markup('<text text-anchor="middle" transform="translate(11 {}) rotate(-90)">{}</text>')
    return [*found, turned.format((TOP + foot) / 2, short(y.name))]


def short(name: str) -> str:
    """A name that fits beside an axis."""
    return name if len(name) <= 34 else f"{name[:33]}\N{HORIZONTAL ELLIPSIS}"


def _references(x: Axis, y: Axis, threshold: float, prevalence: float, *, odds: bool) -> list[Markup]:
    """Vertical lines at the threshold of the file and the prevalence, where they are known."""
    found = []
    for value, kind in ((threshold, "stored"), (prevalence, "prevalence")):
        at = float(log_odds(np.array(value))) if odds else value
        if math.isfinite(value) and x.low <= at <= x.high:
            found.append(_line(x, y, [at, at], [y.low, y.high], kind))
    return found


def _text(x: float, y: float, words: str, anchor: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(x, y, anchor, escape(words))


def _at_x(axis: Axis, value: float) -> float:
    return round(LEFT + (WIDTH - LEFT - RIGHT) * axis.share(value), 1)


def _at_y(axis: Axis, value: float) -> float:
    return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * axis.share(value), 1)


def _line(x: Axis, y: Axis, xs: Sequence[float] | Array, ys: Sequence[float] | Array, kind: str) -> Markup:
    points = [f"{_at_x(x, float(a)):g} {_at_y(y, float(b)):g}" for a, b in zip(xs, ys, strict=True)]
    return Markup('<path class="{}" d="M{}"/>').format(kind, "L".join(point for point, _ in itertools.groupby(points)))


def _bars(x: Axis, y: Axis, edges: Array, heights: Array, kind: str) -> Markup:
    base = _at_y(y, 0)
    steps = "".join(
        f"V{_at_y(y, float(high)):g}H{_at_x(x, float(end)):g}" for high, end in zip(heights, edges[1:], strict=True)
    )
    return Markup('<path class="{}" d="M{} {}{}V{}Z"/>').format(kind, LEFT, base, steps, base)


def _dot(x: Axis, y: Axis, a: float, b: float, kind: str = "dot") -> Markup:
    return Markup('<circle class="{}" r="2.5" cx="{:g}" cy="{:g}"/>').format(kind, _at_x(x, a), _at_y(y, b))


def _square(x: Axis, y: Axis, a: float, b: float) -> Markup:
    place = _at_x(x, a) - 4.5, _at_y(y, b) - 4.5
    return Markup('<rect class="stored" width="9" height="9" x="{:g}" y="{:g}"/>').format(*place)


def _histogram(x: Axis, y: Axis, across: Array, up: Array) -> Markup:
    """Cells with films, the darker the more."""
    limits = [[x.low, x.high], [y.low, y.high]]
    counts = np.histogram2d(across, up, bins=CELLS, range=limits)[0]
    width, height = (WIDTH - LEFT - RIGHT) / CELLS, (HEIGHT - TOP - BOTTOM) / CELLS
    most = math.log1p(float(counts.max()))
    cells = [
        Markup('<rect class="cell" width="{:.2f}" height="{:.2f}" x="{:.2f}" y="{:.2f}" opacity="{:.2f}"/>').format(
            width,
            height,
            LEFT + width * a,
            HEIGHT - BOTTOM - height * (b + 1),
            0.12 + 0.88 * math.log1p(counts[a, b]) / most,
        )
        for a, b in np.argwhere(counts).tolist()
    ]
    return Markup("").join(cells)


def _attributes(values: dict[str, float]) -> Markup:
    return Markup(" ").join(Markup('{}="{:g}"').format(name, value) for name, value in values.items())


def _round_up(value: float) -> float:
    """A round number at or above, at most 1."""
    step = 10.0 ** math.floor(math.log10(value))
    return min(1.0, next(step * part for part in (1, 2, 4, 6, 8, 10) if step * part >= value - 1e-12))
