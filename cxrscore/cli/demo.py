"""cxrscore demo."""

from __future__ import annotations

from pathlib import Path

import click

from cxrscore.cli.common import (
    FOLDER,
    Bar,
    complete_plugins,
    handle_errors,
    json_option,
    print_json,
    print_line,
    quiet_option,
)


@click.command(short_help="A first look: synthetic films, trained on, scored and reported.")
@click.argument("folder", type=FOLDER)
@click.option(
    "--backend",
    shell_complete=complete_plugins,
    help="keras, torch, or another that can train. [default: the first that can]",
)
@click.option(
    "--films", type=click.IntRange(60), default=240, show_default=True, help="How many synthetic films to draw."
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the films drawn and of the training."
)
@json_option
@quiet_option
@handle_errors
def demo(folder: Path, backend: str | None, films: int, seed: int, as_json: bool, quiet: bool) -> None:
    """Draw synthetic films with labels in FOLDER, then train, score and report on them. No network needed."""
    from cxrscore.demo import run_demo

    result = run_demo(
        folder, backend=backend, films=films, seed=seed, say=lambda text: print_line(text, quiet), progress=Bar(quiet)
    )
    if as_json:
        print_json(result)
