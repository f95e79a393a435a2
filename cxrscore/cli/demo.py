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


@click.command(short_help="Train, score and report on synthetic films.")
@click.argument("folder", type=FOLDER)
@click.option(
    "--backend",
    shell_complete=complete_plugins,
    help="Training backend: keras, torch or another. [default: the first one that can train]",
)
@click.option("--films", type=click.IntRange(60), default=240, show_default=True, help="Number of synthetic films.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Random seed of the films and of the training."
)
@json_option
@quiet_option
@handle_errors
def demo(folder: Path, backend: str | None, films: int, seed: int, as_json: bool, quiet: bool) -> None:
    """Create synthetic films with labels in FOLDER, then train, score and report. Works offline."""
    from cxrscore.demo import run_demo

    result = run_demo(
        folder, backend=backend, films=films, seed=seed, say=lambda text: print_line(text, quiet), progress=Bar(quiet)
    )
    if as_json:
        print_json(result)
