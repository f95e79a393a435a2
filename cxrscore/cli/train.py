"""cxrscore train."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from cxrscore.cli.common import FOLDER, Bar, ends_with_exit_code, print_result, say
from cxrscore.cli.sections import SectionedCommand
from cxrscore.cli.train_options import (
    choice_options,
    data_options,
    learning_options,
    machine_options,
    model_options,
    process_options,
    run_options,
    view_options,
)


@click.command(cls=SectionedCommand)
@click.argument("films", type=FOLDER, default=Path("films"))
@run_options
@data_options
@model_options
@learning_options
@view_options
@choice_options
@machine_options
@process_options
@ends_with_exit_code
def train(*, as_json: bool, quiet: bool, backend: str | None, **options: Any) -> None:
    """Train a model on FILMS (default: films) and its label table.

    Without options: a densenet121 with ImageNet weights, of which only the head learns.
    """
    from cxrscore.plugins import default_note, first_trainer
    from cxrscore.train import Place, TrainOptions, train_model

    place = Place.told_by(os.environ)
    quiet = quiet or place.rank > 0
    bar = Bar(quiet)
    with place.says_once():
        architecture = options["architecture"]
        chosen = backend or first_trainer(architecture=architecture, parallel=place.of > 1)
        if backend is None and (note := default_note(chosen, f"train {architecture}")):
            say(note, quiet)
        given = TrainOptions(backend=chosen, **options)
    result = train_model(given, bar, bar.line, place=place)
    bar.close()
    for path, message in result.failed:
        say(f"left out: {path}: {message}", quiet)
    if result.leaks:
        say(f"LEAKED: {len(result.leaks)} leaks were allowed; the model and all its outputs are marked", quiet)
    say(f"epoch {result.best_epoch} of {len(result.history)} chosen", quiet)
    say(f"macro AUC: validation {result.macro_auc:.3f}, test {result.test_auc:.3f}", quiet)
    say(f"wrote {result.output} and {result.run_folder}/", quiet)
    if as_json and place.rank == 0:
        print_result(result)
