"""The page of a reproduction: one self-contained HTML file in the style of the report, without scripts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cxrscore.metrics import Estimate
from cxrscore.paper import figures
from cxrscore.paper.claims import Claim
from cxrscore.paper.experiments import CORRECTED, IMAGENET, LITERAL, SERIES
from cxrscore.paper.heatmaps import FilmHeatmaps
from cxrscore.paper.outputs import SUFFIXES, roc_stems
from cxrscore.paper.reported import FILMS, Contradiction, reported_auc
from cxrscore.paper.results import ExperimentResult
from cxrscore.paper.run import Run
from cxrscore.paper.tables_and_figures import TABLES, PaperItem, table_rows
from cxrscore.reporting.drawn import uri
from cxrscore.reporting.heatmaps import colour_scale
from cxrscore.reporting.page import environment, jpeg
from cxrscore.reporting.summary import FEW_POSITIVES

_SHORT = {CORRECTED: "corrected", LITERAL: "as printed", IMAGENET: "normalised"}
_TITLES = {
    CORRECTED: "corrected, against each other",
    LITERAL: "as printed, against each other",
    IMAGENET: "corrected and normalised as the weights expect it, against each other",
    f"{IMAGENET} - {CORRECTED}": "normalisation as the weights expect it, against films in 0..1",
    f"{CORRECTED} - {LITERAL}": "corrected, against as printed",
}


def render(
    run: Run,
    record: Mapping[str, Any],
    items: Sequence[PaperItem],
    claims: Sequence[Claim],
    rows: Sequence[Contradiction],
    files: Mapping[str, bytes],
) -> str:
    """The page as HTML. record: the content of paper.json; files: the written figures by name."""
    found = environment("paper")
    found.filters.update(interval=interval, value=value)
    return found.get_template("paper.html.j2").render(
        run=run,
        record=record,
        items=items,
        series=SERIES,
        short=_SHORT,
        paper_films=FILMS,
        few=FEW_POSITIVES,
        tables=[(f"Table {no}", title, table_rows(run, part, paper), part) for no, part, title, paper in TABLES],
        film=jpeg(_rgb(run.augmented.film)),
        augmented=jpeg(_rgb(run.augmented.augmented)),
        losses=[(name, uri(files[f"fig3{suffix}.png"], "image/png")) for name, suffix in SUFFIXES.items()],
        rocs=[_roc(run, place, stem, files) for place, stem in roc_stems().items()],
        maps=[_maps(number, series, one) for series, shown in run.shown.items() for number, one in _numbered(shown)],
        colour_scale=jpeg(colour_scale(240, 14)),
        groups=[(title, [c for c in claims if c.group == group]) for group, title in _TITLES.items()],
        contradictions=rows,
    )


def _roc(run: Run, place: tuple[bool, bool], stem: str, files: Mapping[str, bytes]) -> dict[str, Any]:
    """The ROC figure of an experiment under both recipes, and the table of its AUCs."""
    both = [run.experiment(series, first=place[0], augmented=place[1]) for series in SUFFIXES]
    drawn = [uri(files[f"{stem}{suffix}.png"], "image/png") for suffix in SUFFIXES.values()]
    corrected, literal = (result.splits["test"].findings for result in both)
    return {
        "title": f"Figure {stem.removeprefix('fig')}" if stem.startswith("fig") else "The missing experiment",
        "words": both[0].scored.experiment.words,
        "plots": [(one.scored.experiment.series, picture, _alt(one)) for one, picture in zip(both, drawn, strict=True)],
        "rows": [(one, other, reported_auc(place, one.finding)) for one, other in zip(corrected, literal, strict=True)],
        "macro": [result.splits["test"].macro for result in both],
    }


def _alt(result: ExperimentResult) -> str:
    areas = [f"{one.finding} {value(one.area.value)}" for one in result.splits["test"].findings]
    return f"ROC curves of {result.scored.experiment.words}; areas: {', '.join(areas)}"


def _numbered(shown: Sequence[FilmHeatmaps]) -> list[tuple[str, FilmHeatmaps]]:
    return list(zip(("7", "8"), shown, strict=True))


def _maps(number: str, series: str, shown: FilmHeatmaps) -> dict[str, Any]:
    panel = figures.film_panel(shown)
    return {
        "title": f"Figure {number}, {_SHORT[series]}",
        "shown": shown,
        "scale": panel.scale,
        "film": jpeg(panel.film),
        "maps": [(one, jpeg(one.pixels)) for one in panel.maps],
    }


def _rgb(grey: Any) -> Any:
    return np.repeat(grey[..., None], 3, axis=2)


def value(number: float, digits: int = 3) -> str:
    """A number with three digits, a dash if undefined; a minus sign replaces the hyphen, to prevent line breaks."""
    return f"{number:.{digits}f}".replace("-", "−") if math.isfinite(number) else "–"


def interval(found: Estimate, digits: int = 3) -> str:
    """Its 95 % interval, a dash if there is none."""
    low, high = found.interval
    return f"{value(low, digits)} to {value(high, digits)}" if math.isfinite(low) else "–"
