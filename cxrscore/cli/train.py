"""cxrscore train."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from cxrscore.cli.common import FOLDER, Bar, handle_errors, print_failures, print_line, print_result
from cxrscore.cli.sections import SectionedCommand
from cxrscore.cli.train_figures import figure_lines
from cxrscore.cli.train_options import (
    augmentation_options,
    choice_options,
    data_options,
    learning_options,
    machine_options,
    model_options,
    probe_options,
    process_options,
    run_options,
)
from cxrscore.errors import WriteError

LOG_LATER = "Rerun the same command with --resume to log it: trained epochs and features are kept."


@click.command(cls=SectionedCommand, short_help="Train a model on a folder of films.")
@click.argument("films", type=FOLDER, default=Path("films"))
@run_options
@data_options
@model_options
@probe_options
@learning_options
@augmentation_options
@choice_options
@machine_options
@process_options
@handle_errors
def train(*, as_json: bool, quiet: bool, backend: str | None, **options: Any) -> int:
    """Train a model on the folder FILMS (default: films) and its label table. Files are PNG, JPEG or DICOM by their
    first bytes, whatever their names; zip archives are read, too.

    By default, the head of a densenet121 with ImageNet weights is solved as a logistic regression on the features of
    the frozen backbone, and its probabilities are calibrated by cross-validation.
    """
    from cxrscore.plugins import film_size, training_backend
    from cxrscore.training import ProcessRank, TrainOptions, train_model

    place = ProcessRank.from_environment(os.environ)
    quiet = quiet or place.rank > 0
    bar = Bar(quiet)
    with place.raise_once_per_node():
        _use_defaults_of_weights(options)
        architecture = options["architecture"]
        chosen = training_backend(backend, bar.line, architecture=architecture, parallel=place.world_size > 1)
        options["size"] = options["size"] or film_size(architecture)
        given = TrainOptions(backend=chosen, **options)
    result = train_model(given, bar, bar.line, place=place)
    bar.close()
    print_failures("excluded", result.failed, quiet=quiet)
    if result.leakage:
        print_line(
            f"LEAKED: {len(result.leakage)} leaks were allowed; the model and its scores files are marked", quiet
        )
    if result.history:
        print_line(f"epoch {result.best_epoch} of {len(result.history)} chosen", quiet)
    for member, name in zip(result.members, given.architectures, strict=False):
        print_line(f"{name}: {next(figure_lines(member.evaluation))}; wrote {member.output}", quiet)
    for line in figure_lines(result.evaluation):
        print_line(f"ensemble: {line}" if result.members else line, quiet)
    for warning in result.warnings:
        print_line(f"warning: {warning}", quiet)
    print_line(f"wrote {result.output} and {result.run_folder}/", quiet)
    if as_json and place.rank == 0:
        print_result(result)
    if not result.mlflow_error:
        return 0
    if place.rank == 0:  # also with --quiet: it is an error
        print_line(f"cxrscore: {result.mlflow_error}. The model is written. {LOG_LATER}")
    return WriteError.exit_code


def _use_defaults_of_weights(options: dict[str, Any]) -> None:
    """Sets options that go with public weights and that neither the command line nor a recipe gives."""
    from cxrscore.models.public_weights import training_defaults

    context = click.get_current_context()
    for name, value in training_defaults(options["weights"]).items():
        if context.get_parameter_source(name) is ParameterSource.DEFAULT:
            options[name] = value
