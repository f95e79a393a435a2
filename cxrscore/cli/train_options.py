"""The options of cxrscore train, by what they decide."""

from __future__ import annotations

from pathlib import Path

import click

from cxrscore.cli.common import (
    FILE,
    address_option,
    complete_plugins,
    device_option,
    executor_option,
    json_option,
    overwrite_option,
    precision_option,
    processes_option,
    quiet_option,
    workers_option,
)
from cxrscore.cli.sections import section

_SHARE = click.FloatRange(0, 1)


def _use_recipe(context: click.Context, option: click.Parameter, recipe: str | None) -> Path | None:
    """Makes the recipe's values the defaults: flags and environment variables come before them. Returns its file."""
    if recipe is None:
        return None
    from cxrscore.recipes import find_recipe, read_recipe

    path = find_recipe(recipe)
    context.default_map = {**(context.default_map or {}), **read_recipe(path)}
    return path


run_options = section(
    "The run",
    click.option(
        "--recipe",
        metavar="NAME|FILE",
        is_eager=True,
        callback=_use_recipe,
        help="Options of many at once: default, fine-tune-last-block, fine-tune, paper, ..., or a TOML file such as an "
        "earlier run's model.run/recipe.toml. Flags and environment variables come before it.",
    ),
    click.option(
        "-o", "--output", type=FILE, default=Path("model.safetensors"), show_default=True, help="Model file to write."
    ),
    click.option("--resume", is_flag=True, help="Go on from the last epoch of this run, if it was stopped."),
    click.option(
        "--seed",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        help="Of split, order, augmentation and first weights.",
    ),
    overwrite_option,
    json_option,
    quiet_option,
)

data_options = section(
    "Films and labels",
    click.option(
        "--labels",
        type=FILE,
        help="Label table: NIH, CheXpert, MIMIC, ... or plain CSV. [default: labels.csv in or beside FILMS]",
    ),
    click.option(
        "--uncertain",
        type=click.Choice(["unknown", "positive", "negative"]),
        default="unknown",
        show_default=True,
        help="What a finding that the table calls uncertain counts as.",
    ),
    click.option(
        "--split",
        type=FILE,
        help="CSV with the columns film,split (train, valid, test), or an official list of NIH or MIMIC. [default: "
        "70/10/20 by patient]",
    ),
    click.option(
        "--allow-leakage",
        is_flag=True,
        help="Go on though films or patients stand in two parts of the split; the model is marked LEAKED.",
    ),
)

model_options = section(
    "The model",
    click.option(
        "--backend",
        shell_complete=complete_plugins,
        help="keras, torch, or another that `cxrscore plugins` lists. [default: the first that can train]",
    ),
    click.option(
        "--feature-backend",
        shell_complete=complete_plugins,
        help="Runs the frozen base where only the head learns, such as openvino on a CPU. [default: --backend]",
    ),
    click.option(
        "--architecture",
        default="densenet121",
        show_default=True,
        help="densenet121, resnet50, tinycnn, or a network that the backend brings itself.",
    ),
    click.option(
        "--weights",
        default="imagenet",
        show_default=True,
        help="Where to start from: imagenet, none, or a weights file.",
    ),
    click.option(
        "--size",
        type=click.IntRange(32, 4096),
        default=400,
        show_default=True,
        help="Side of the films for the network, pixels.",
    ),
    click.option(
        "--trainable",
        type=click.Choice(["head", "last-block", "all"]),
        default="head",
        show_default=True,
        help="What training may change; head and last-block: the layers before are frozen and run once.",
    ),
    click.option(
        "--head",
        type=click.Choice(["gap", "flatten"]),
        default="gap",
        show_default=True,
        help="Mean over the last map and a dense layer, or a dense layer over every place of it.",
    ),
    click.option(
        "--activation",
        type=click.Choice(["sigmoid", "softmax"]),
        default="sigmoid",
        show_default=True,
        help="How logits become probabilities: each finding by itself, or as if findings excluded each other.",
    ),
    click.option(
        "--normalize",
        type=click.Choice(["imagenet-rgb", "imagenet-caffe", "unit", "signed-1024"]),
        help="What the network does to films first. [default: as the weights want it]",
    ),
    click.option(
        "--standardize/--no-standardize",
        default=True,
        show_default=True,
        help="With a frozen base: the head learns from embeddings of mean 0 and deviation 1.",
    ),
    click.option(
        "--initial-head",
        type=click.Choice(["zero", "random"]),
        default="zero",
        show_default=True,
        help="Weights that the head begins with.",
    ),
    click.option(
        "--initial-bias",
        type=click.Choice(["zero", "prevalence"]),
        default="zero",
        show_default=True,
        help="Where the head begins: at one half, or at each finding's share of the training films.",
    ),
)

learning_options = section(
    "Learning",
    click.option("--loss", default="weighted-bce", show_default=True, help="One that `cxrscore plugins` lists."),
    click.option(
        "--epochs", type=click.IntRange(1), default=80, show_default=True, help="Most passes over the training films."
    ),
    click.option(
        "-b", "--batch-size", type=click.IntRange(1), default=16, show_default=True, help="Films in a training step."
    ),
    click.option(
        "--learning-rate",
        type=click.FloatRange(0, min_open=True),
        default=1e-5,
        show_default=True,
        help="Of Adam. The default suits a head on standardised embeddings; more wants more, as in the recipes.",
    ),
    click.option(
        "--warmup",
        type=click.FloatRange(0),
        default=0.0,
        show_default=True,
        metavar="EPOCHS",
        help="Epochs in which the rate rises evenly from 0.",
    ),
    click.option(
        "--schedule",
        type=click.Choice(["constant", "cosine"]),
        default="constant",
        show_default=True,
        help="Whether the rate then stays, or falls to 0 over the epochs.",
    ),
    click.option(
        "--layer-decay",
        type=click.FloatRange(0, 1, min_open=True),
        default=1.0,
        show_default=True,
        help="Factor of the rate for each block further from the head.",
    ),
    click.option(
        "--weight-decay",
        type=click.FloatRange(0),
        default=0.0,
        show_default=True,
        help="Share by which kernels shrink each step, times the rate.",
    ),
    click.option(
        "--clip-norm",
        type=click.FloatRange(0),
        default=0.0,
        show_default=True,
        help="Longest that the gradient may be; 0: any length.",
    ),
    click.option(
        "--batch-norm",
        type=click.Choice(["frozen", "batch"]),
        default="frozen",
        show_default=True,
        help="Batch normalisation in training: on stored statistics, or on those of the batch.",
    ),
    click.option(
        "--sampling",
        type=click.Choice(["natural", "balanced"]),
        default="natural",
        show_default=True,
        help="Each film once an epoch, or films with rarer findings more often than others.",
    ),
    click.option(
        "--drop-last/--no-drop-last",
        default=False,
        show_default=True,
        help="Leave out films that fill no whole batch, in training and validation.",
    ),
)

augmentation_options = section(
    "Augmentation of the training films",
    click.option(
        "--augmentations",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        help="Augmented copies of each film, used in turn, one per epoch. 0: no augmentation; as many as --epochs: a "
        "new copy in each epoch.",
    ),
    click.option(
        "--rotation", type=click.FloatRange(0, 180), default=7.0, show_default=True, help="Most, either way, degrees."
    ),
    click.option("--shift", type=_SHARE, default=0.05, show_default=True, help="Most, either way, share of the side."),
    click.option(
        "--shear", type=click.FloatRange(0, 45), default=0.0, show_default=True, help="Most, either way, degrees."
    ),
    click.option(
        "--zoom",
        type=click.FloatRange(0, 0.99),
        default=0.1,
        show_default=True,
        help="Most, in or out, share of the size.",
    ),
    click.option(
        "--flip/--no-flip",
        default=False,
        show_default=True,
        help="Mirror half of the augmented copies left to right. Off by default: a chest is not symmetric.",
    ),
)

choice_options = section(
    "Choosing on the validation films",
    click.option(
        "--monitor",
        type=click.Choice(
            ["valid_macro_auc", "valid_loss", "valid_label_accuracy", "train_loss", "train_label_accuracy"]
        ),
        default="valid_macro_auc",
        show_default=True,
        help="Figure by which the best epoch is chosen.",
    ),
    click.option(
        "--patience",
        type=click.IntRange(1),
        default=10,
        show_default=True,
        help="Epochs without better after which to stop.",
    ),
    click.option(
        "--checkpoint-policy",
        type=click.Choice(["best", "last"]),
        default="best",
        show_default=True,
        help="Which epoch becomes the model.",
    ),
    click.option(
        "--threshold-rule",
        default="youden",
        show_default=True,
        help="How operating points are chosen: youden, corner, sensitivity=S or specificity=S.",
    ),
    click.option(
        "--calibration",
        type=click.Choice(["none", "temperature", "platt"]),
        default="none",
        show_default=True,
        help="What is fitted so that probabilities mean what they say.",
    ),
)

machine_options = section("This machine", device_option, precision_option, workers_option)

process_options = section("Processes that run the frozen layers", executor_option, processes_option, address_option)
