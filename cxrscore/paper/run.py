"""A finished reproduction: everything that its files, its page and its record are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cxrscore.paper.claims import Results
from cxrscore.paper.experiments import Experiment
from cxrscore.paper.figures import AugmentedExample
from cxrscore.paper.heatmaps import FilmHeatmaps
from cxrscore.paper.options import PaperOptions
from cxrscore.paper.results import ExperimentResult
from cxrscore.training.data import Data


@dataclass(frozen=True, kw_only=True)
class Run:
    """shown: by series, the two films of figures 7 and 8. labelled: films that the parts were drawn from."""

    options: PaperOptions
    data: Data
    cells: tuple[Experiment, ...]
    results: Results
    augmented: AugmentedExample
    shown: Mapping[str, tuple[FilmHeatmaps, ...]]
    labelled: int

    @property
    def seconds(self) -> float:
        """What the cells took, each as long as the process that finished it worked on it."""
        return sum(result.scored.trained.seconds for result in self.results.values())

    def cell(self, series: str, *, first: bool, augmented: bool) -> ExperimentResult:
        """The result of one cell."""
        return next(
            self.results[cell.name]
            for cell in self.cells
            if (cell.series, cell.first, cell.augmented) == (series, first, augmented)
        )

    def series(self, series: str) -> list[ExperimentResult]:
        """The results of one set of rules, the paper's three cells and the missing one, in the order of its tables."""
        return [self.results[cell.name] for cell in self.cells if cell.series == series]
