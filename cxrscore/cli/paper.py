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
    "Run",
    click.option("--labels", type=FILE, help="Label table. [default: labels.csv in FILMS or beside it]"),
    click.option(
        "-o", "--output", type=FOLDER, default=Path("paper"), show_default=True, help="Folder for all output."
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
    "Scale (defaults: as in the paper)",
    click.option(
        "--train",
        type=_COUNT,
        default=402,
        show_default=True,
        help="Number of training films, or fewer if there are not enough.",
    ),
    click.option("--valid", type=_COUNT, default=40, show_default=True, help="Number of validation films."),
    click.option(
        "--test", type=_COUNT, default=100, show_default=True, help="Number of test films. The paper does not state it."
    ),
    click.option("--epochs", type=_COUNT, default=80, show_default=True, help="Maximum number of epochs."),
    click.option(
        "--size",
        type=click.IntRange(32, 4096),
        default=400,
        show_default=True,
        help="Side of the square network input, in pixels.",
    ),
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
        help="The two networks to compare.",
    ),
    click.option(
        "--weights",
        type=click.Choice(["imagenet", "none"]),
        default="imagenet",
        show_default=True,
        help="Initial weights of the networks. Use none only to try the command.",
    ),
)
map_options = section(
    "Heat maps",
    click.option(
        "--heatmaps",
        default="top_auc",
        show_default=True,
        help="The four findings of figures 7 and 8: top_auc, top_prob, or finding names separated by commas.",
    ),
)
machine_options = section(
    "Hardware",
    click.option(
        "--backend", help="Training backend: keras, torch or another. [default: the first one that can train]"
    ),
    device_option,
    workers_option,
)


@click.command(cls=SectionedCommand, short_help="Repeat the experiments of the source paper.")
@click.argument("films", type=FOLDER)
@run_options
@scale_options
@map_options
@machine_options
@handle_errors
def paper(*, as_json: bool, quiet: bool, backend: str | None, **options: Any) -> None:
    """Reproduce the source paper on FILMS: every table and figure, as printed and corrected, on one page.

    Twelve models are trained. The backbone is frozen and runs once per film and augmented copy. Rerun the same command
    to resume. Output: paper.html, paper.json, fig1 to fig8, table1 and table2, and the models in experiments/.
    """
    from cxrscore.paper import PaperOptions, reproduce_paper
    from cxrscore.plugins import training_backend

    bar = Bar(quiet)
    chosen = training_backend(backend, bar.line)
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
