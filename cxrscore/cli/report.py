"""cxrscore report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cxrscore.cli.common import (
    FILE,
    FOLDER,
    ends_with_exit_code,
    json_option,
    print_json,
    quiet_option,
    say,
)


@click.command(short_help="Make one self-contained HTML page of a scores file.")
@click.argument("scores", type=FILE)
@click.option("-o", "--output", type=FILE, help="Page to write. [default: SCORES with the suffix .html]")
@click.option("--figures", type=FOLDER, help="Also write every figure into this folder.")
@click.option(
    "--figure-format", type=click.Choice(["png", "svg"]), default="png", show_default=True, help="Of --figures."
)
@json_option
@quiet_option
@ends_with_exit_code
def report(
    scores: Path, output: Path | None, figures: Path | None, figure_format: Any, as_json: bool, quiet: bool
) -> None:
    """Make one self-contained HTML page of a scores file: ROC, Grad-CAM, failures, provenance."""
    from cxrscore.report import write_report
    from cxrscore.scores import open_scores

    target = output or scores.with_suffix(".html")
    summary = write_report(
        open_scores(scores), target, figures=figures, figure_format=figure_format, source=scores.name
    )
    say(f"wrote {target}", quiet)
    if as_json:
        print_json(summary)
