"""cxrscore paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cxrscore.cli.common import (
    FILE,
    FOLDER,
    Bar,
    device_option,
    handle_errors,
    json_option,
    print_json,
    print_line,
    quiet_option,
    workers_option,
)
from cxrscore.cli.sections import SectionedCommand, section

_COUNT = click.IntRange(1)

run_options = section(
    "The run",
    click.option("--labels", type=FILE, help="Label table. [default: labels.csv in or beside FILMS]"),
    click.option(
        "-o", "--output", type=FOLDER, default=Path("paper"), show_default=True, help="Folder of all that is written."
    ),
    click.option(
        "--seed",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        help="Seed of the splits, the order, the augmentation and the films shown.",
    ),
    json_option,
    quiet_option,
)
scale_options = section(
    "Its scale, by default the paper's",
    click.option("--train", type=_COUNT, default=402, show_default=True, help="Films to train, as far as there are."),
    click.option("--valid", type=_COUNT, default=40, show_default=True, help="Films to validate."),
    click.option(
        "--test", type=_COUNT, default=100, show_default=True, help="Films to test, which the paper does not tell."
    ),
    click.option("--epochs", type=_COUNT, default=80, show_default=True, help="Most passes over the training films."),
    click.option("--size", type=click.IntRange(32, 4096), default=400, show_default=True, help="Side of films."),
    click.option(
        "--augmentations",
        type=_COUNT,
        default=4,
        show_default=True,
        help="Augmented copies of each film, used in turn, one per epoch.",
    ),
    click.option(
        "--networks",
        nargs=2,
        default=("densenet121", "resnet50"),
        show_default=True,
        help="The two that are compared.",
    ),
    click.option(
        "--weights",
        type=click.Choice(["imagenet", "none"]),
        default="imagenet",
        show_default=True,
        help="What the networks start from; none is for trying the command out.",
    ),
)
map_options = section(
    "Heat maps",
    click.option(
        "--heatmaps",
        default="top_auc",
        show_default=True,
        help="Which four findings figures 7 and 8 show: top_auc, top_prob, or names with commas between.",
    ),
)
machine_options = section(
    "The machine",
    click.option("--backend", help="keras, torch, or another that can train. [default: the first that can]"),
    device_option,
    workers_option,
)


@click.command(cls=SectionedCommand)
@click.argument("films", type=FOLDER)
@run_options
@scale_options
@map_options
@machine_options
@handle_errors
def paper(*, as_json: bool, quiet: bool, backend: str | None, **options: Any) -> None:
    """Reproduce the source paper on FILMS: every table and figure, as printed and corrected, on one page.

    Twelve models are trained, the base frozen and run once for each film and view. The same line goes on where a run
    was stopped. It writes paper.html, paper.json, fig1 to fig8, table1 and table2, and the models in experiments/.
    """
    from cxrscore.paper import PaperOptions, reproduce_paper
    from cxrscore.plugins import default_note, default_training_backend

    bar = Bar(quiet)
    chosen = backend or default_training_backend()
    if backend is None and (note := default_note(chosen, "train")):
        print_line(note, quiet)
    result = reproduce_paper(PaperOptions(backend=chosen, **options), bar)
    bar.close()
    for experiment in result["experiments"]:
        test = experiment["splits"]["test"]
        accuracy, macro = (_with_interval(test[name]) for name in ("label_accuracy", "macro_auc"))
        print_line(
            f"{experiment['name']:<38} accuracy {accuracy} (no: {_three(test['negative_baseline'])}), macro AUC "
            f"{macro}",
            quiet,
        )
    print_line(f"wrote {options['output']}/paper.html", quiet)
    if as_json:
        print_json(result)


def _with_interval(found: dict[str, Any]) -> str:
    return f"{_three(found['value'])} ({_three(found['low'])}-{_three(found['high'])})"


def _three(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
