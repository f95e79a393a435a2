"""The source paper reproduced: its experiments as printed and corrected, and every table and figure from them.

Twelve experiments are trained, scored and compared on the same test films: two networks, each without and with
augmentation, under the paper's rules corrected, as printed, and corrected with the normalisation that the weights
expect. Finished experiments are not trained again, so rerunning the same command resumes an interrupted run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cxrscore import labels as lab
from cxrscore.errors import InputError
from cxrscore.io import atomic_write_bytes, file_lock, sha256_bytes
from cxrscore.io.outputs import mark_folder
from cxrscore.io.strict_json import check_document
from cxrscore.paper import figures, heatmaps
from cxrscore.paper.claims import claims
from cxrscore.paper.data_split import draw_split
from cxrscore.paper.experiments import (
    CORRECTED,
    LITERAL,
    Experiment,
    add_advice,
    all_experiments,
    train_experiment,
    train_options,
)
from cxrscore.paper.measurements import measure
from cxrscore.paper.options import PaperOptions
from cxrscore.paper.outputs import FILES, outputs
from cxrscore.paper.page import render
from cxrscore.paper.record import record
from cxrscore.paper.reported import contradictions
from cxrscore.paper.results import ExperimentResult, experiment_result
from cxrscore.paper.run import Run
from cxrscore.paper.scoring import score_experiment
from cxrscore.paper.tables_and_figures import paper_items
from cxrscore.plot_style import default_style
from cxrscore.progress import Progress, no_progress
from cxrscore.training import TrainOptions
from cxrscore.training.data import Data, labelled_films, read_data
from cxrscore.training.features import augmentation_from_options, augmented_film

__all__ = ["PaperOptions", "reproduce_paper"]


def reproduce_paper(options: PaperOptions, progress: Progress = no_progress) -> dict[str, Any]:
    """Runs all experiments of the paper and writes figures, tables, paper.json, paper.html and the models.

    Parameters
    ----------
    options : PaperOptions
        Films, output folder and settings.
    progress : callable, optional
        Called with a text, the number of completed steps and their total.

    Returns
    -------
    dict
        The content of paper.json (schemas/paper.schema.json).

    Raises
    ------
    InputError
        If an option, a film or the label table cannot be used.
    LeakError
        If a film or a patient is in two splits.
    BackendUnavailableError
        If the backend is not installed or cannot run on the device.
    WriteError
        If a file cannot be written.

    Examples
    --------
    >>> record = cxrscore.reproduce_paper(cxrscore.PaperOptions(films="films"))  # doctest: +SKIP
    """
    folder = options.output
    mark_folder(folder, "paper")
    with file_lock(folder / "paper.lock"), add_advice(folder):
        split, rule, labelled = _split(options)
        experiments = all_experiments(options)
        data = read_data(train_options(experiments[0], options, split), progress)
        data = dataclasses.replace(data, split=dataclasses.replace(data.split, rule=rule))
        rows = _checked(options, data, train_options(experiments[0], options, split).batch_size)
        results = {experiment.name: _result(experiment, options, split, data, progress) for experiment in experiments}
        return _written(_run(options, data, experiments, results, rows, labelled), progress)


def _checked(options: PaperOptions, data: Data, batch: int) -> list[int]:
    """The rows of the films to explain. InputError, before training, for options that would fail after it."""
    heatmaps.check_rule(options.heatmaps, data.findings)
    for name, rows in (("train", data.split.train), ("validate", data.split.valid)):
        if len(rows) < batch:
            raise InputError(f"{len(rows)} films to {name} fill no batch of {batch}, as the paper's steps need")
    return heatmaps.draw_films(data, options.seed)


def _split(options: PaperOptions) -> tuple[Path, str, int]:
    """The drawn split as a file of the output folder, its rule, and the number of labelled films."""
    labelled = labelled_films(options.films, options.labels)
    wanted = (options.train, options.valid, options.test)
    drawn = draw_split(labelled.patients, labelled.labels, wanted, seed=options.seed)
    path = options.output / "split.csv"
    atomic_write_bytes(path, lab.split_csv(drawn, labelled.paths).encode())
    return path, drawn.rule, len(labelled.paths)


def _result(
    experiment: Experiment, options: PaperOptions, split: Path, data: Data, progress: Progress
) -> ExperimentResult:
    """Trains the experiment, unless it is finished, and scores the films."""
    inputs = [data.labels_file["sha256"], data.labels_digest, lab.split_csv(data.split, data.paths)]
    inputs += [film.sha256 for film in data.store.films]
    digest = sha256_bytes("\0".join(inputs).encode())
    training = train_options(experiment, options, split)
    trained = train_experiment(experiment, training, digest, options.output / "experiments", progress)
    return experiment_result(score_experiment(trained, data, progress), data)


def _run(
    options: PaperOptions,
    data: Data,
    experiments: list[Experiment],
    results: dict[str, ExperimentResult],
    rows: list[int],
    labelled: int,
) -> Run:
    best = {series: _experiment(experiments, series) for series in (CORRECTED, LITERAL)}
    shown = {
        name: heatmaps.film_heatmaps(results[experiment.name], data, rows, options.heatmaps)
        for name, experiment in best.items()
    }
    return Run(
        options=options,
        data=data,
        experiments=tuple(experiments),
        results=results,
        augmented=_augmented_example(data, results[best[CORRECTED].name].scored.trained.options),
        shown={name: tuple(films) for name, films in shown.items()},
        labelled=labelled,
    )


def _experiment(experiments: list[Experiment], series: str) -> Experiment:
    """The experiment of figures 5, 7 and 8: the first network, with augmentation."""
    return next(
        experiment
        for experiment in experiments
        if experiment.series == series and experiment.first and experiment.augmented
    )


def _augmented_example(data: Data, options: TrainOptions) -> figures.AugmentedExample:
    """The first training film, and its first augmented copy."""
    row, limits = data.split.train[0], augmentation_from_options(options)
    augmented = augmented_film(data.store, row, limits, seed=options.seed, copy=0)
    return figures.augmented_example(data.store.unit(row), augmented, data.paths[row], limits)


@default_style()
def _written(run: Run, progress: Progress) -> dict[str, Any]:
    """Writes all files of the run; the record is last, because it shows that the others are complete."""
    found, compared = paper_items(run), claims(run.results, run.experiments)
    shown = [film for films in run.shown.values() for film in films]
    facts = measure(run.options, run.data, run.experiments, run.results, shown)
    rows = contradictions({**facts, "films_folder": str(run.labelled)})
    document = record(run, found, compared, rows)
    check_document(document, "paper", "paper.json")
    files = dict(_render_files(run, progress))
    files["paper.html"] = render(run, document, found, compared, rows, files).encode("utf-8")
    files["paper.json"] = figures.json_bytes(document)
    for name, content in files.items():
        atomic_write_bytes(run.options.output / name, content)
    return document


def _render_files(run: Run, progress: Progress) -> Iterator[tuple[str, bytes]]:
    for done, file in enumerate(outputs(run), start=1):
        progress("drawing figures and tables", done, FILES)
        yield file
