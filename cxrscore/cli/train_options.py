"""The options of cxrscore train, by what they decide."""

from __future__ import annotations

from pathlib import Path

import click

from cxrscore.cli.common import (
    COMMA_SEPARATED,
    FILE,
    address_option,
    allow_unmatched_option,
    blank_option,
    complete_plugins,
    complete_weights,
    device_option,
    executor_option,
    film_column_option,
    json_option,
    overwrite_option,
    patient_column_option,
    precision_option,
    processes_option,
    quiet_option,
    trained_on_option,
    uncertain_option,
    workers_option,
)
from cxrscore.cli.sections import section
from cxrscore.networks.builtin import BUILT_IN
from cxrscore.networks.graph import NORMALISATION_NAMES

_SHARE = click.FloatRange(0, 1)


def _use_recipe(context: click.Context, option: click.Parameter, recipe: str | None) -> Path | None:
    """Use the recipe's values as defaults: flags and environment variables override them. Returns its file."""
    if recipe is None:
        return None
    from cxrscore.recipes import find_recipe, read_recipe

    path = find_recipe(recipe)
    several = {option.name for option in context.command.params if isinstance(option, click.Option) and option.multiple}
    values = {name: (value,) if name in several else value for name, value in read_recipe(path).items()}
    context.default_map = {**(context.default_map or {}), **values}
    return path


def _split_names(_: click.Context, __: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    """The names in texts with commas."""
    return tuple(name.strip() for text in names for name in text.split(",") if name.strip())


run_options = section(
    "Run",
    click.option(
        "--recipe",
        metavar="NAME|FILE",
        is_eager=True,
        callback=_use_recipe,
        help="Set several options at once: a packaged recipe (default, fine-tune-last-block, fine-tune, paper, "
        "paper-literal) or a TOML file, such as model.run/recipe.toml of an earlier run. Options and environment "
        "variables override the recipe.",
    ),
    click.option(
        "-o", "--output", type=FILE, default=Path("model.safetensors"), show_default=True, help="Model file to write."
    ),
    click.option("--resume", is_flag=True, help="Resume an interrupted run from its last finished epoch."),
    click.option(
        "--seed",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        help="Random seed of the split, the folds, the film order, the augmentation and the initial weights.",
    ),
    click.option(
        "--mlflow",
        metavar="FOLDER|URI",
        help="Log options, figures, model file and curves of the finished run to MLflow: a folder, or the URI of a "
        "tracking server. Needs the extra mlflow. [default: nothing is logged]",
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
        help="Label table: NIH, CheXpert, MIMIC-CXR, ... or any CSV file or Excel workbook with a column of films. "
        "[default: labels.csv in FILMS or beside it]",
    ),
    click.option(
        "--finding",
        "--findings",
        "findings",
        metavar="NAME[=COLUMN]",
        type=COMMA_SEPARATED,
        multiple=True,
        callback=_split_names,
        help="Finding to train, from the column of this name or from COLUMN; repeat for several, or put commas between "
        "them. all: those that are read without this option. [default: all]",
    ),
    film_column_option,
    patient_column_option,
    uncertain_option,
    blank_option,
    allow_unmatched_option,
    click.option(
        "--weight-column",
        metavar="NAME",
        help="Column of the label table with the weight of each film in training, 0 or more. [default: equal weights]",
    ),
    click.option(
        "--split",
        type=FILE,
        help="CSV with the columns film,split (train, valid or test), or an official NIH or MIMIC-CXR split list. "
        "[default: drawn by patient, with --test]",
    ),
    click.option(
        "--test",
        type=click.FloatRange(0, 0.9),
        default=0.2,
        show_default=True,
        help="Fraction of the films to keep for the test. 0: none; the cross-validated figures are then the only ones.",
    ),
    click.option(
        "--allow-leakage",
        is_flag=True,
        help="Continue although films or patients are in more than one split. The model is marked LEAKED.",
    ),
)

model_options = section(
    "Model",
    click.option(
        "--backend",
        shell_complete=complete_plugins,
        help="Training backend: keras, torch, or another that `cxrscore plugins` lists. [default: the first one that "
        "can train]",
    ),
    click.option(
        "--feature-backend",
        shell_complete=complete_plugins,
        help="Backend that computes the features of the frozen backbone, such as openvino on a CPU. Only with "
        "--trainable head. [default: --backend]",
    ),
    click.option(
        "--architecture",
        default="densenet121",
        show_default=True,
        help=f"Network: {', '.join(BUILT_IN)}, or one of a plugin that `cxrscore plugins` lists. Several, separated by "
        "commas, become an ensemble: one model file each, and an ensemble file as output.",
    ),
    click.option(
        "--weights",
        default="imagenet",
        show_default=True,
        shell_complete=complete_weights,
        help="Initial weights: imagenet, none, a name that `cxrscore weights` lists, or a file: of cxrscore, PyTorch, "
        "Hugging Face or Keras. A name also sets --architecture and, for weights trained on films, --size and --head, "
        "if these are not given. For several networks: one for all, or one for each, separated by commas.",
    ),
    trained_on_option,
    click.option(
        "--size",
        type=click.IntRange(32, 4096),
        help="Side of the square network input, in pixels. [default: as suits the network: 518 for vit_b14, 400 for "
        "the other built-in ones]",
    ),
    click.option(
        "--trainable",
        type=click.Choice(["head", "last-block", "all"]),
        default="head",
        show_default=True,
        help="Layers to train. With head and last-block, the layers below are frozen and run only once.",
    ),
    click.option(
        "--head",
        type=click.Choice(["gap", "flatten", "cls"]),
        default="gap",
        show_default=True,
        help="Classifier head: gap (global average pooling and a dense layer), flatten (a dense layer on the whole "
        "feature map) or cls (a dense layer on the class token, which vit_b14 has).",
    ),
    click.option(
        "--activation",
        type=click.Choice(["sigmoid", "softmax"]),
        default="sigmoid",
        show_default=True,
        help="How logits become probabilities: sigmoid (findings are independent) or softmax (findings exclude each "
        "other).",
    ),
    click.option(
        "--normalize",
        type=click.Choice(NORMALISATION_NAMES),
        help="Input normalization. [default: as the initial weights require]",
    ),
    click.option(
        "--standardize/--no-standardize",
        default=True,
        show_default=True,
        help="With a frozen backbone: standardize the features to mean 0 and standard deviation 1.",
    ),
    click.option(
        "--initial-head",
        type=click.Choice(["auto", "probe", "zero", "random"]),
        default="auto",
        show_default=True,
        help="Initial weights of the head when it is trained in epochs. probe: the linear probe. auto: probe for "
        "fine-tuning of trained weights, else zero.",
    ),
    click.option(
        "--initial-bias",
        type=click.Choice(["zero", "prevalence"]),
        default="zero",
        show_default=True,
        help="Initial bias of a head that is trained in epochs: zero (probability 0.5) or the prevalence of each "
        "finding in the training films.",
    ),
)

probe_options = section(
    "Linear probe (the default: the head is solved to its optimum)",
    click.option(
        "--solver",
        type=click.Choice(["auto", "lbfgs", "adam"]),
        default="auto",
        show_default=True,
        help="lbfgs: solve the head as a logistic regression on the features of the frozen backbone, with "
        "cross-validation. adam: train it in epochs. auto: lbfgs, unless an option below needs epochs.",
    ),
    click.option(
        "--folds",
        type=click.IntRange(2),
        default=5,
        show_default=True,
        help="Parts of the cross-validation, by patient, of all films that are not test films.",
    ),
    click.option(
        "--min-positives",
        type=click.IntRange(1),
        default=10,
        show_default=True,
        help="Positive films, and negative films, that a finding needs. With fewer, its probability is its prevalence "
        "on every film, and it is marked.",
    ),
    click.option(
        "--learning-curve/--no-learning-curve",
        default=False,
        show_default=True,
        help="Also cross-validate with an eighth, a quarter and half of the films, and predict the macro AUC with 2 "
        "and 4 times the labels.",
    ),
)

learning_options = section(
    "Epochs (--solver adam, and all training of more than the head)",
    click.option("--loss", default="weighted-bce", show_default=True, help="Loss function; see `cxrscore plugins`."),
    click.option("--epochs", type=click.IntRange(1), default=80, show_default=True, help="Maximum number of epochs."),
    click.option(
        "-b", "--batch-size", type=click.IntRange(1), default=16, show_default=True, help="Films per training step."
    ),
    click.option(
        "--learning-rate",
        type=click.FloatRange(0, min_open=True),
        default=1e-5,
        show_default=True,
        help="Learning rate of Adam. The default suits a head on standardized features; the fine-tuning recipes set "
        "other values.",
    ),
    click.option(
        "--warmup",
        type=click.FloatRange(0),
        default=0.0,
        show_default=True,
        metavar="EPOCHS",
        help="Number of epochs in which the learning rate increases linearly from 0.",
    ),
    click.option(
        "--schedule",
        type=click.Choice(["constant", "cosine"]),
        default="constant",
        show_default=True,
        help="Learning rate after the warm-up: constant, or decreasing to 0 (cosine).",
    ),
    click.option(
        "--layer-decay",
        type=click.FloatRange(0, 1, min_open=True),
        default=1.0,
        show_default=True,
        help="Factor of the learning rate per block, counted down from the head.",
    ),
    click.option(
        "--weight-decay",
        type=click.FloatRange(0),
        default=0.0,
        show_default=True,
        help="Decoupled weight decay of the kernels (AdamW).",
    ),
    click.option(
        "--clip-norm",
        type=click.FloatRange(0),
        default=0.0,
        show_default=True,
        help="Maximum norm of the gradient. 0: no clipping.",
    ),
    click.option(
        "--batch-norm",
        type=click.Choice(["frozen", "batch"]),
        default="frozen",
        show_default=True,
        help="Statistics of batch normalization in training: the stored ones (frozen) or those of the batch.",
    ),
    click.option(
        "--sampling",
        type=click.Choice(["natural", "balanced"]),
        default="natural",
        show_default=True,
        help="natural: each film once per epoch; balanced: films with rare findings more often.",
    ),
    click.option(
        "--drop-last/--no-drop-last",
        default=False,
        show_default=True,
        help="Drop the last, incomplete batch in training and validation.",
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
        "--rotation",
        type=click.FloatRange(0, 180),
        default=7.0,
        show_default=True,
        help="Maximum rotation in either direction, in degrees.",
    ),
    click.option(
        "--shift",
        type=_SHARE,
        default=0.05,
        show_default=True,
        help="Maximum shift in either direction, as a fraction of the side.",
    ),
    click.option(
        "--shear",
        type=click.FloatRange(0, 45),
        default=0.0,
        show_default=True,
        help="Maximum shear in either direction, in degrees.",
    ),
    click.option(
        "--zoom",
        type=click.FloatRange(0, 0.99),
        default=0.1,
        show_default=True,
        help="Maximum zoom, in or out, as a fraction of the size.",
    ),
    click.option(
        "--flip/--no-flip",
        default=False,
        show_default=True,
        help="Mirror half of the augmented copies left to right. Off by default: a chest is not symmetric.",
    ),
)

choice_options = section(
    "Model selection and calibration",
    click.option(
        "--monitor",
        type=click.Choice(
            ["valid_macro_auc", "valid_loss", "valid_label_accuracy", "train_loss", "train_label_accuracy"]
        ),
        default="valid_loss",
        show_default=True,
        help="Metric that selects the best epoch.",
    ),
    click.option(
        "--patience",
        type=click.IntRange(1),
        default=10,
        show_default=True,
        help="Stop after this number of epochs without improvement.",
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
        help="Rule for the thresholds: youden, corner, sensitivity=S or specificity=S.",
    ),
    click.option(
        "--calibration",
        type=click.Choice(["auto", "none", "temperature", "platt", "shrunken-platt"]),
        default="auto",
        show_default=True,
        help="Calibration of the probabilities on out-of-fold predictions, or on the validation films: one slope for "
        "all findings (temperature), slope and intercept for each (platt), or the same with slopes drawn towards their "
        "mean (shrunken-platt). auto: shrunken-platt; none for softmax.",
    ),
)

machine_options = section("Hardware", device_option, precision_option, workers_option)

process_options = section(
    "Distributed computation of the frozen layers", executor_option, processes_option, address_option
)
