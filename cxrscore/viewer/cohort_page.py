"""The cohort: curves of a finding with a movable threshold, the confusion table whose cells lead to their films, all
findings at a glance, and where two files differ."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from cxrscore.metrics import Decisions, Proportion
from cxrscore.metrics.reliability import BINS, POINTS
from cxrscore.models.calibration import describe_probabilities
from cxrscore.reporting.figures import FindingData
from cxrscore.reporting.provenance import has_leakage, threshold_source
from cxrscore.reporting.summary import FEW_POSITIVES, MIN_PATIENTS, FindingResult
from cxrscore.status import Status
from cxrscore.viewer import cohort_plots
from cxrscore.viewer.cohort_numbers import LABEL_KINDS, CohortNumbers
from cxrscore.viewer.cohort_plots import Marks, Plot
from cxrscore.viewer.film_index import UNSEEN, Recent
from cxrscore.viewer.list_state import ListState, StateError, parse_threshold, threshold_text
from cxrscore.viewer.viewer import Viewer

SECTION = ("Cohort", "/cohort")
KEPT_PLOTS = 32
"""Findings whose plots are kept."""
_FOLDER = Path(__file__).parent
_WHERE = {"valid": "validation films", "folds": "out-of-fold predictions", "imported": "unknown films (imported model)"}


def routes(viewer: Viewer) -> list[BaseRoute]:
    """The routes of this page."""
    page = CohortPage(viewer)
    script, style = ((_FOLDER / name).read_text(encoding="utf-8") for name in ("cohort.js", "cohort.css"))

    def cohort_script(request: Request) -> Response:
        return Response(script, media_type="text/javascript")

    def cohort_style(request: Request) -> Response:
        return Response(style, media_type="text/css")

    return [
        Route("/cohort", page.show_all, name="cohort"),
        Route("/cohort.js", cohort_script),
        Route("/cohort.css", cohort_style),
        Route("/cohort/{finding:int}", page.show),
        Route("/cohort/{finding:int}/decisions", page.decisions),
    ]


@dataclass(frozen=True, kw_only=True)
class CohortState:
    """What a page shows, as its address has it.

    Attributes
    ----------
    everything : bool
        All labelled films, not only those that the model has not seen.
    at, other_at : str
        Thresholds in the first and the other file; "": those of the files.
    other : int
        The file to compare with, from 1; 0: none.
    """

    everything: bool = False
    at: str = ""
    other: int = 0
    other_at: str = ""

    @classmethod
    def parse(cls, request: Request, files: int) -> CohortState:
        """The state of a request. HTTPException 400 for values outside their range."""
        query = request.query_params
        try:
            other = query.get("other", "1" if files > 1 else "0")
            if other not in map(str, range(files)):
                raise StateError(f"other, expected 0 to {files - 1}")
            if query.get("films", "") not in ("", "unseen", "all"):
                raise StateError("films, expected unseen or all")
            return cls(
                everything=query.get("films") == "all",
                at=parse_threshold("at", query.get("at", "")),
                other=int(other),
                other_at=parse_threshold("other_at", query.get("other_at", "")),
            )
        except StateError as error:
            raise HTTPException(400, f"The address has a wrong {error}.") from None

    def query(self, **changed: Any) -> str:
        """The state, with changes, as the query of an address; what is as usual is left out."""
        now = {**vars(self), **changed}
        films = "all" if now.pop("everything") else ""
        given = {"films": films, **{name: value for name, value in now.items() if name != "other" or value > 1}}
        return urlencode({name: value for name, value in given.items() if value})


class CohortPage:
    """The answers of the page."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._numbers = CohortNumbers(viewer.files, viewer.names, viewer.index)
        self._plots: Recent[tuple[int, bool], list[Plot]] = Recent(KEPT_PLOTS)
        self._scatters: Recent[tuple[int, int, bool], Plot] = Recent(KEPT_PLOTS)
        self._source = threshold_source(viewer.scores.provenance)
        self._probabilities = describe_probabilities(viewer.scores.provenance)
        self._leaked = has_leakage(viewer.scores.provenance)

    def show_all(self, request: Request) -> Response:
        """All findings at a glance."""
        viewer, state = self._viewer, CohortState.parse(request, len(self._viewer.files))
        columns = range(len(viewer.scores.findings))
        compared = self._comparison(state)
        return viewer.render(
            "cohort.html.j2",
            state=state,
            results=[self._numbers.result(column, everything=state.everything) for column in columns],
            differences=compared["differences"],
            why_not_compared=compared["why"],
            few_positives=FEW_POSITIVES,
            **self._basis(state),
        )

    def show(self, request: Request) -> Response:
        """A finding."""
        viewer, column = self._viewer, self._viewer.finding(request)
        state = CohortState.parse(request, len(viewer.files))
        result = self._numbers.result(column, everything=state.everything)
        threshold, prevalence = result.threshold, viewer.prevalences.get(result.finding, math.nan)
        compared = self._comparison(state)
        plots = self._finding_plots(column, state, prevalence)
        made = self._made(column, state)
        low, high = (plots[-1].x.low, plots[-1].x.high)
        return viewer.render(
            "cohort_finding.html.j2",
            state=state,
            number=column + 1,
            finding=result.finding,
            findings=viewer.scores.findings,
            result=result,
            plots=[
                (plot, plot.svg({key: at for key, at in made["marks"].items() if key.startswith(f"{plot.name}-")}))
                for plot in plots
            ],
            slider=(low, high, cohort_plots.odds(float(made["threshold"]))),
            stored="" if math.isnan(threshold) else threshold_text(threshold),
            stored_on=_WHERE.get(self._source, ""),
            prevalence=prevalence,
            probabilities=self._probabilities,
            scatter=self._scatter(column, state, made["marks"]),
            scatter_points=cohort_plots.MOST_POINTS,
            difference=next((one for one in compared["differences"].values() if one.finding == result.finding), None),
            why_not_compared=compared["why"],
            points=POINTS,
            bins=BINS,
            **made,
            **self._basis(state),
        )

    def decisions(self, request: Request) -> Response:
        """What depends on the threshold: the tables, and the places of the marks."""
        column = self._viewer.finding(request)
        state = CohortState.parse(request, len(self._viewer.files))
        made = self._made(column, state)
        values = {"names": self._viewer.names, "finding": self._viewer.scores.findings[column], "state": state}
        names = ["cohort_decisions.html.j2", *(["cohort_paired.html.j2"] if made["paired"] else [])]
        parts = [self._viewer.templates.get_template(name) for name in names]
        return HTMLResponse("".join(part.render(**values, **made, **self._basis(state)) for part in parts))

    # --- Parts of the pages

    def _basis(self, state: CohortState) -> dict[str, Any]:
        """Which films the numbers are of."""
        films = self._numbers.films(everything=state.everything)
        unseen = self._numbers.films(everything=False)
        return {
            "basis": films.basis,
            "films": len(films.rows),
            "unseen": len(unseen.rows),
            "labelled": len(self._numbers.films(everything=True).rows),
            "left_out": unseen.left_out,
            "scored": int(np.count_nonzero(self._viewer.scores.status == Status.OK)),
            "leaked": self._leaked,
            "min_patients": MIN_PATIENTS,
        }

    def _thresholds(self, column: int, state: CohortState) -> tuple[np.float32, np.float32]:
        """Those of both files; those of the files, or the usual one, where the address has none."""
        index = self._viewer.index
        first = np.float32(state.at) if state.at else np.float32(index.points[column])
        if not state.other:
            return first, np.float32(math.nan)
        other = np.float32(state.other_at) if state.other_at else np.float32(index.other_points(state.other)[column])
        return first, other

    def _made(self, column: int, state: CohortState) -> dict[str, Any]:
        """Decisions at the thresholds, with the addresses of their films."""
        thresholds = self._thresholds(column, state)
        at = threshold_text(float(thresholds[0]))
        found = self._numbers.decisions(column, thresholds[0], everything=state.everything)
        sides = self._numbers.sides(column, thresholds[0], everything=state.everything)
        shared = bool(state.other) and self._numbers.has(column, state.other)
        paired = self._numbers.paired(column, state.other, thresholds, everything=state.everything) if shared else None
        films = partial(self._address, column, state)
        return {
            "threshold": at,
            "made": found,
            "sides": sides,
            "prevalence_here": Proportion(hits=found.tp + found.fn, total=found.tp + found.fn + found.fp + found.tn),
            "cells": {
                (side, label): films(side=side, label=label, at=at)
                for side in ("above", "below")
                for label in (*LABEL_KINDS, "")
            },
            "paired": paired,
            "other_threshold": threshold_text(float(thresholds[1])) if shared else "",
            "paired_cells": {
                (label, one, two): films(
                    label=label,
                    side="above" if one else "below",
                    at=at,
                    other=state.other,
                    other_side="above" if two else "below",
                    other_at=threshold_text(float(thresholds[1])),
                )
                for label in LABEL_KINDS
                for one in (True, False)
                for two in (True, False)
            }
            if shared
            else {},
            "marks": self._marks(column, state, thresholds, found),
        }

    def _address(self, column: int, state: CohortState, **chosen: Any) -> str:
        """The address of a list of films of the cohort."""
        split = UNSEEN if self._numbers.leaves_out_seen(everything=state.everything) else -1
        sort = "disagreement" if chosen.get("other") else "probability"
        return f"/?{ListState(finding=column + 1, sort=sort, status=int(Status.OK), split=split, **chosen).query()}"

    def _marks(
        self, column: int, state: CohortState, thresholds: tuple[np.float32, np.float32], found: Decisions
    ) -> Marks:
        """Where the thresholds are in the plots."""
        marks: Marks = {}
        at = float(thresholds[0])
        for plot in self._finding_plots(column, state, self._prevalence(column)):
            if plot.name == "roc":
                marks["roc-now"] = plot.dot(found.false_alarms.value, found.sensitivity.value)
            elif plot.name == "precision-recall":
                marks["precision-recall-now"] = plot.dot(found.sensitivity.value, found.ppv.value)
            else:
                marks[f"{plot.name}-now"] = plot.upright(at if plot.name == "reliability" else cohort_plots.odds(at))
        scatter = self._scatter_plot(column, state)
        if scatter is not None:
            marks["scatter-first"] = scatter.upright(cohort_plots.odds(at))
            marks["scatter-other"] = scatter.level(cohort_plots.odds(float(thresholds[1])))
        return marks

    def _prevalence(self, column: int) -> float:
        return self._viewer.prevalences.get(self._viewer.scores.findings[column], math.nan)

    def _finding_plots(self, column: int, state: CohortState, prevalence: float) -> list[Plot]:
        """The plots of a finding; the last is the distribution, which needs no label."""
        key = (column, state.everything)
        kept = self._plots.recall(key)
        if kept is not None:
            return kept
        data = self._numbers.plot_data(column, everything=state.everything)
        result = self._numbers.result(column, everything=state.everything)
        return self._plots.keep(key, _plots(data, result, prevalence))

    def _scatter_plot(self, column: int, state: CohortState) -> Plot | None:
        if not state.other or not self._numbers.has(column, state.other):
            return None
        key = (column, state.other, state.everything)
        kept = self._scatters.recall(key)
        if kept is not None:
            return kept
        truth, first, other = self._numbers.common(column, state.other, everything=state.everything)
        names = self._viewer.names[0], self._viewer.names[state.other]
        return self._scatters.keep(
            key, cohort_plots.scatter_plot(self._viewer.scores.findings[column], names, truth, first, other)
        )

    def _scatter(self, column: int, state: CohortState, marks: Marks) -> Any:
        plot = self._scatter_plot(column, state)
        return plot and plot.svg({key: at for key, at in marks.items() if key.startswith("scatter-")})

    def _comparison(self, state: CohortState) -> dict[str, Any]:
        """Differences of the AUCs by finding, or why there are none."""
        if not state.other:
            return {"differences": {}, "why": ""}
        found = self._numbers.comparison(state.other, everything=state.everything)
        if isinstance(found, str):
            return {"differences": {}, "why": found}
        return {"differences": {one.finding: one for one in found.findings}, "why": ""}


def _plots(data: FindingData, result: FindingResult, prevalence: float) -> list[Plot]:
    """The plots of a finding: no curves with few patients of a class."""
    found = []
    if result.has_curve:
        found += [cohort_plots.roc_plot(data), cohort_plots.precision_recall_plot(data)]
        found.append(cohort_plots.reliability_plot(data, prevalence))
    return [*found, cohort_plots.distribution_plot(data, prevalence)]
