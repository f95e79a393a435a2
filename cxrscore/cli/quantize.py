"""cxrscore quantize."""

from __future__ import annotations

from typing import Any

import click

from cxrscore.cli.common import (
    FILE,
    FOLDER,
    MODEL,
    Bar,
    complete_plugins,
    device_option,
    handle_errors,
    json_option,
    model_file,
    overwrite_option,
    print_json,
    print_line,
    quiet_option,
    workers_option,
)


@click.command(short_help="Prepare a model for `score --precision int8`.")
@click.argument("model", type=MODEL)
@click.argument("films", type=FOLDER)
@click.option("-o", "--output", type=FILE, required=True, help="Model file to write.")
@click.option("--labels", type=FILE, help="Label table. [default: labels.csv in FILMS or beside it, if it exists]")
@click.option(
    "--backend",
    shell_complete=complete_plugins,
    help="Backend that computes in int8. [default: the fastest one that can]",
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Random seed of the choice of films, at most 1000."
)
@device_option
@workers_option
@overwrite_option
@json_option
@quiet_option
@handle_errors
def quantize(*, as_json: bool, quiet: bool, **options: Any) -> None:
    """Prepare MODEL for `score --precision int8`: measure activation ranges on FILMS.

    The new file is MODEL with these ranges; scores in fp32 and bf16 do not change. If labels exist and the macro AUC on
    films outside the training set decreases by more than 0.005, no file is written.
    """
    from cxrscore.quantize import QuantizeOptions, quantize_model

    bar = Bar(quiet)
    options["model"] = model_file(options["model"], bar)
    result = quantize_model(QuantizeOptions(**options), bar)
    found = result.quantization["comparison"]
    for note in result.notes:
        print_line(note, quiet)
    unread = f", {result.failed} could not be read" if result.failed else ""
    print_line(f"ranges measured on {result.quantization['films']} films by backend {result.backend}{unread}", quiet)
    rest = result.quantization["precision"] or "the fastest floating point"
    print_line(f"{len(result.quantization['ranges'])} layers in int8, the rest in {rest}", quiet)
    print_line(
        f"{found['films']} other films: max |dp| {found['max_difference']:.2g}, mean {found['mean_difference']:.2g}",
        quiet,
    )
    if found["macro_auc"] is None:
        print_line("the effect on the AUC is unknown: no labelled films outside the training set", quiet)
    else:
        auc = f"macro AUC {found['macro_auc']:.4f}, in int8 {found['macro_auc_int8']:.4f}"
        print_line(f"{found['labelled_films']} labelled films outside the training set: {auc}", quiet)
    print_line(f"wrote {result.output}", quiet)
    if as_json:
        print_json(vars(result))
