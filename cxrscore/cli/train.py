"""cxrscore train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cxrscore.cli.common import (
    FILE,
    FOLDER,
    Bar,
    complete_plugins,
    device_option,
    ends_with_exit_code,
    json_option,
    precision_option,
    print_json,
    quiet_option,
    say,
    workers_option,
)
from cxrscore.errors import CxrscoreError


def _use_recipe(context: click.Context, option: click.Parameter, path: Path | None) -> None:
    """Makes the recipe's values the defaults: flags and environment variables come before them."""
    if path is None:
        return
    from cxrscore.recipes import read_recipe

    try:
        context.default_map = {**(context.default_map or {}), **read_recipe(path)}
    except CxrscoreError as error:
        click.echo(f"cxrscore: {error}", err=True)
        context.exit(error.exit_code)


@click.command()
@click.argument("films", type=FOLDER, default=Path("films"))
@click.option(
    "--labels", type=FILE, help="Label table: NIH Data_Entry or plain CSV. [default: labels.csv in or beside FILMS]"
)
@click.option(
    "--recipe",
    type=FILE,
    is_eager=True,
    expose_value=False,
    callback=_use_recipe,
    help="TOML file with these options, such as an earlier run's model.run/recipe.toml. Flags win.",
)
@click.option(
    "-o", "--output", type=FILE, default=Path("model.safetensors"), show_default=True, help="Model file to write."
)
@click.option(
    "--backend",
    shell_complete=complete_plugins,
    help="keras, torch, or another that `cxrscore plugins` lists. [default: the first that can train]",
)
@click.option("--architecture", default="densenet121", show_default=True, help="densenet121, resnet50 or tinycnn.")
@click.option(
    "--weights", default="imagenet", show_default=True, help="Where to start from: imagenet, none, or a weights file."
)
@click.option(
    "--size",
    type=click.IntRange(32, 4096),
    default=400,
    show_default=True,
    help="Side of the films for the network, pixels.",
)
@click.option(
    "--trainable",
    type=click.Choice(["head", "last-block", "all"]),
    default="head",
    show_default=True,
    help="What training may change; head: the base is frozen and run once.",
)
@click.option(
    "--head",
    type=click.Choice(["gap", "flatten"]),
    default="gap",
    show_default=True,
    help="Mean over the last map and a dense layer, or a dense layer over every place of it.",
)
@click.option(
    "--activation",
    type=click.Choice(["sigmoid", "softmax"]),
    default="sigmoid",
    show_default=True,
    help="How logits become probabilities: each finding by itself, or as if findings excluded each other.",
)
@click.option(
    "--normalize",
    type=click.Choice(["imagenet-rgb", "imagenet-caffe", "unit", "signed-1024"]),
    help="What the network does to films first. [default: as the weights want it]",
)
@click.option("--loss", default="weighted-bce", show_default=True, help="One that `cxrscore plugins` lists.")
@click.option(
    "--epochs", type=click.IntRange(1), default=80, show_default=True, help="Most passes over the training films."
)
@click.option(
    "-b", "--batch-size", type=click.IntRange(1), default=16, show_default=True, help="Films in a training step."
)
@click.option(
    "--learning-rate", type=click.FloatRange(0, min_open=True), default=1e-3, show_default=True, help="Of Adam."
)
@click.option(
    "--monitor",
    type=click.Choice(["valid_macro_auc", "valid_loss", "train_loss"]),
    default="valid_macro_auc",
    show_default=True,
    help="Figure by which the best epoch is chosen.",
)
@click.option(
    "--patience",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="Epochs without better after which to stop.",
)
@click.option(
    "--views",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Augmented views of each training film; 0: none.",
)
@click.option(
    "--split", type=FILE, help="CSV with the columns film,split (train, valid, test). [default: 70/10/20 by patient]"
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Of split, order, augmentation and first weights.",
)
@click.option(
    "--threshold-rule",
    default="youden",
    show_default=True,
    help="How operating points are chosen on the validation films: youden, corner, sensitivity=S or specificity=S.",
)
@click.option(
    "--calibration",
    type=click.Choice(["none", "temperature", "platt"]),
    default="none",
    show_default=True,
    help="Fitted on the validation films, so that probabilities mean what they say.",
)
@click.option("--resume", is_flag=True, help="Go on from the last epoch of this run, if it was stopped.")
@device_option
@precision_option
@workers_option
@json_option
@quiet_option
@ends_with_exit_code
def train(*, as_json: bool, quiet: bool, backend: str | None, **options: Any) -> None:
    """Train a model on FILMS (default: films) and its label table."""
    from cxrscore.plugins import first_trainer
    from cxrscore.train import TrainOptions, train_model

    bar = Bar(quiet)
    result = train_model(TrainOptions(backend=backend or first_trainer(), **options), bar)
    bar.close()
    for path, message in result.failed.items():
        say(f"left out: {path}: {message}", quiet)
    sizes = ", ".join(f"{count} {name}" for name, count in result.films.items())
    say(f"{sizes} films; epoch {result.best_epoch} of {len(result.history)} chosen", quiet)
    say(f"macro AUC: validation {result.macro_auc:.3f}, test {result.test_auc:.3f}", quiet)
    say(f"wrote {result.output} and {result.run_folder}/", quiet)
    if as_json:
        print_json(vars(result))
