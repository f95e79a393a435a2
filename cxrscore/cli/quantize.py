"""cxrscore quantize."""

from __future__ import annotations

from collections.abc import Mapping
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
from cxrscore.option_values import MAX_AUC_LOSS, MAX_DIFFERENCE


@click.command(short_help="Prepare a model for `score --precision int8` or `auto`.")
@click.argument("model", type=MODEL)
@click.argument("films", type=FOLDER)
@click.option("-o", "--output", type=FILE, required=True, help="Model file to write.")
@click.option("--labels", type=FILE, help="Label table. [default: labels.csv in FILMS or beside it, if it exists]")
@click.option(
    "--backend",
    shell_complete=complete_plugins,
    help="Backend that measures. [default: the fastest one with int8, or else with native bf16]",
)
@click.option(
    "--max-difference",
    type=click.FloatRange(0, 1),
    default=MAX_DIFFERENCE,
    show_default=True,
    help="Bound for `score --precision auto`: the largest change of a probability that it accepts.",
)
@click.option(
    "--max-auc-loss",
    type=click.FloatRange(0, 1),
    default=MAX_AUC_LOSS,
    show_default=True,
    help="Bound for `score --precision auto`: the largest decrease of the macro AUC that it accepts.",
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
    """Prepare MODEL for `score --precision int8` and `--precision auto`: measure on FILMS.

    The new file is MODEL with activation ranges for int8, with the changes of the scores in int8 and in bf16 if this
    machine has it, and with the bound that `auto` applies to them. Scores in fp32 and bf16 do not change. If labels
    exist and the macro AUC in int8 on films outside the training set decreases by more than 0.005, no file is written.
    """
    from cxrscore.quantize import QuantizeOptions, quantize_model

    bar = Bar(quiet)
    options["model"] = model_file(options["model"], bar)
    result = quantize_model(QuantizeOptions(**options), bar)
    for note in result.notes:
        print_line(note, quiet)
    unread = f", {result.failed} could not be read" if result.failed else ""
    if made := result.quantization:
        rest = made["precision"] or "the fastest floating point"
        kept = f", {len(made['kept_layers'])} kept and" if made["kept_layers"] else ""
        text = f"{len(made['ranges'])} layers in int8{kept}, the rest in {rest}, calibrated on {made['films']} films"
        print_line(text, quiet)
    print_line(f"measured by backend {result.backend}{unread}", quiet)
    for precision, effect in result.precision_effects.items():
        _print_effect(precision, effect, result.precision_bound, quiet)
    print_line(f"wrote {result.output}", quiet)
    if as_json:
        print_json(vars(result))


def _print_effect(precision: str, effect: Mapping[str, Any], bound: Mapping[str, Any], quiet: bool) -> None:
    """What a precision does to the scores, and whether `score --precision auto` may use it."""
    from cxrscore.models.precision_effects import exceeds_bound

    moved = f"max |dp| {effect['max_difference']:.2g}, mean {effect['mean_difference']:.2g}"
    if effect["macro_auc_before"] is None:
        auc = "the effect on the AUC is unknown: no labelled films outside the training set"
    else:
        auc = (
            f"macro AUC of {effect['labelled_films']} labelled films outside the training set "
            f"{effect['macro_auc_before']:.4f}, in {precision} {effect['macro_auc_after']:.4f}"
        )
    print_line(f"{precision}, {effect['films']} films: {moved}; {auc}", quiet)
    emulated = "" if precision in effect["native"] else "this device does not compute it natively"
    reason = exceeds_bound(effect, bound) or emulated
    verdict = f"does not use {precision}: {reason}" if reason else f"may use {precision}"
    print_line(f"`score --precision auto` {verdict}", quiet)
