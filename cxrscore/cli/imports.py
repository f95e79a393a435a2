"""cxrscore import."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from cxrscore.cli.common import (
    FILE,
    MODEL,
    Bar,
    device_option,
    handle_errors,
    json_option,
    overwrite_option,
    print_json,
    print_line,
    quiet_option,
    split_names,
    trained_on_option,
)
from cxrscore.networks.graph import NORMALISATION_NAMES


@click.command("import", short_help="Import weights of PyTorch, Hugging Face or Keras.")
@click.argument("file", type=MODEL)
@click.option(
    "-o", "--output", type=FILE, default=Path("model.safetensors"), show_default=True, help="Model file to write."
)
@click.option(
    "--findings",
    help="Names of the outputs, separated by commas; leave a name empty to exclude an output: A,,B. Or one word for a "
    "usual order: nih14, chexpert14 or xrv18 (torchxrayvision). [default: those in the file]",
)
@click.option(
    "--key",
    default="",
    help="Entry or prefix of the copy of the network to import, such as ema.module. [default: the plain copy]",
)
@click.option(
    "--size",
    type=click.IntRange(32, 4096),
    help="Side of the images that the network was trained on, in pixels. [default: 224; 518 for vit_b14, 512 for "
    "torchxrayvision's ResNet50]",
)
@click.option(
    "--normalize",
    type=click.Choice(NORMALISATION_NAMES),
    help="Normalization of films. [default: the one that goes with the names in the file]",
)
@click.option(
    "--operating-points",
    metavar="NUMBERS",
    help="Threshold of each output, a probability, separated by commas; leave one empty where there is none. "
    "[default: op_threshs in the file]",
)
@click.option(
    "--rescale-to-thresholds",
    is_flag=True,
    help="Rescale the probabilities of each finding piecewise, such that its threshold becomes 0.5, as "
    "torchxrayvision does.",
)
@trained_on_option
@click.option("--licence", default="unknown", show_default=True, help="Licence of the weights.")
@click.option("--backend", help="Backend that computes the reference logits. [default: the fastest of cxrscore's own]")
@device_option
@overwrite_option
@json_option
@quiet_option
@handle_errors
def import_file(
    *,
    findings: str | None,
    operating_points: str | None,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Import FILE, trained weights of PyTorch, Hugging Face or Keras, as a model file.

    FILE is a checkpoint of torch, a safetensors file, or an .h5 or .keras file. The network is recognised by the names
    of its weights: a DenseNet, a ResNet50 or a ViT-B/14, of torchvision, timm, MONAI, torchxrayvision, DINOv2 or
    keras.applications. No code in FILE is executed. docs/imports.md describes what is read and what is changed.

    FILE may also be the name of a public classifier that `cxrscore weights` lists: it is downloaded, and its findings,
    normalization and licence are known.
    """
    from cxrscore.public_models import import_weights

    bar = Bar(quiet)
    result = import_weights(
        say=bar.line,
        progress=bar,
        findings=split_names(findings),
        operating_points=_numbers(operating_points),
        **options,
    )
    for note in result.notes:
        print_line(note, quiet)
    left = f", {result.excluded_outputs} outputs excluded" if result.excluded_outputs else ""
    print_line(
        f"{result.architecture}, {result.checkpoint_type} names: {len(result.findings)} findings{left}, "
        f"{result.thresholds} thresholds{', rescaled to 0.5' * result.rescaled}",
        quiet,
    )
    print_line(f"wrote {result.output}", quiet)
    if as_json:
        print_json(vars(result))


def _numbers(text: str | None) -> tuple[float, ...]:
    """Numbers separated by commas, NaN for an empty one."""
    try:
        return () if text is None else tuple(float(word) if word.strip() else math.nan for word in text.split(","))
    except ValueError as error:
        raise click.BadParameter(
            f"{error}; expected numbers separated by commas", param_hint="--operating-points"
        ) from None
