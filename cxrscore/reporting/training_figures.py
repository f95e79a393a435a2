"""The plots of how a linear probe was chosen and of what more training films would bring."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from cxrscore.models.evaluation import LearningCurve, Probe
from cxrscore.reporting.plot_elements import BLUE, DOTS, GREY, INK, RED, SMALL, plain_axes

NORMAL_95 = 1.959964
"""Standard errors in half a 95 % interval."""
_MOST_TICKS = 6


def cross_validation_plot(probe: Probe) -> Figure:
    """Log loss of the held-out films against strength, with the chosen strengths."""
    figure, axes = _wide()
    strengths, losses = np.array(probe.tried).T
    axes.plot(strengths, losses, color=BLUE, linewidth=1.4, marker="o" if len(losses) <= 30 else "", markersize=3)
    if probe.strengths:
        low, high = min(probe.strengths), max(probe.strengths)
        for one in sorted(set(probe.strengths)):
            axes.axvline(one, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
        label = f"chosen, {low:.3g}" if low == high else f"chosen for the findings, {low:.3g} to {high:.3g}"
        axes.plot([], [], color=INK, linewidth=0.8, linestyle=(0, (4, 3)), label=label)
        legend = axes.legend(fontsize=SMALL, labelcolor=INK, facecolor="white", edgecolor="none", framealpha=1)
        legend.set_zorder(3)
    axes.set_xscale("log")
    axes.margins(y=0.12)
    plain_axes(axes, "strength C, from strong to weak shrinkage", "mean log loss of held-out films")
    return figure


def learning_curve_plot(curve: LearningCurve) -> Figure:
    """Macro AUC against training films with 95 % intervals, the power law, and its predictions."""
    figure, axes = _wide()
    films, aucs, errors = np.array(curve.points).T
    bars = np.nan_to_num(NORMAL_95 * errors)
    axes.errorbar(films, aucs, yerr=bars, color=BLUE, linewidth=1.2, marker="o", markersize=3.5, label="measured")
    known = [(count, found) for count, found in curve.predicted if math.isfinite(found.value)]
    if curve.law is not None:
        _draw_law(axes, curve.law, films[0], max([films[-1], *(count for count, _ in known)]))
    for place, (count, found) in enumerate(known):
        if math.isfinite(found.interval[0]):
            axes.plot([count, count], found.interval, color=RED, linewidth=1.1)
        axes.plot(
            [count], [found.value], "s", color=RED, markerfacecolor="white", markersize=4,
            label="predicted" if place == 0 else None,
        )  # fmt: skip
    axes.set_xscale("log")
    _name_films(axes, [*films, *(count for count, _ in known)])
    axes.margins(y=0.12)
    plain_axes(axes, "training films", "macro AUC")
    axes.legend(fontsize=SMALL, frameon=False, labelcolor=INK, loc="best")
    return figure


def _draw_law(axes: Axes, law: tuple[float, float, float], first: float, last: float) -> None:
    """The power law where it is an AUC."""
    asymptote, factor, exponent = law
    films = np.geomspace(first, last, 100)
    with np.errstate(all="ignore"):
        auc = asymptote - factor * films**-exponent
    there = (auc >= 0) & (auc <= 1)
    axes.plot(films[there], auc[there], color=GREY, linewidth=1, linestyle=(0, (4, 3)), label="power law")


def _name_films(axes: Axes, films: list[float]) -> None:
    """The numbers of films below the axis, of at most some of the points."""
    ordered = sorted(set(films))
    step = -(-len(ordered) // _MOST_TICKS)
    shown = ordered[::-1][::step]
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks(shown, [f"{count:,.0f}" for count in shown])


def _wide() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.6, 2.9), dpi=DOTS)
    return figure, figure.add_axes((0.14, 0.15, 0.83, 0.81))
