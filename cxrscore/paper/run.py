"""A finished reproduction: the data for its files, its page and its record."""

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
    """shown: by series, the two films of figures 7 and 8. labelled: number of films before the split."""

    options: PaperOptions
    data: Data
    experiments: tuple[Experiment, ...]
    results: Results
    augmented: AugmentedExample
    shown: Mapping[str, tuple[FilmHeatmaps, ...]]
    labelled: int

    @property
    def seconds(self) -> float:
        """Total duration of the experiments, each in the process that finished it."""
        return sum(result.scored.trained.seconds for result in self.results.values())

    def experiment(self, series: str, *, first: bool, augmented: bool) -> ExperimentResult:
        """The result of one experiment."""
        return next(
            self.results[experiment.name]
            for experiment in self.experiments
            if (experiment.series, experiment.first, experiment.augmented) == (series, first, augmented)
        )

    def series(self, series: str) -> list[ExperimentResult]:
        """The results of one set of rules: the three experiments of the paper and the missing one, in the order of its
        tables."""
        return [self.results[experiment.name] for experiment in self.experiments if experiment.series == series]
