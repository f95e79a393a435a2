"""cxrscore report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cxrscore.cli.common import (
    FILE,
    FILE_OR_URL,
    FOLDER,
    handle_errors,
    json_option,
    overwrite_option,
    print_json,
    print_line,
    quiet_option,
)
from cxrscore.remote.url import PathOrUrl, RemotePath


@click.command(short_help="Make one self-contained HTML page of scores files.")
@click.argument("scores", type=FILE_OR_URL, nargs=-1, required=True)
@click.option(
    "-o", "--output", type=FILE, help="Page to write. [default: the first SCORES with the suffix .html; of a URL, here]"
)
@click.option("--labels", type=FILE, help="Label table that takes the place of the labels in SCORES.")
@click.option("--groups", type=FILE, help="Table that tells of the films, for subgroups: a label table, or any CSV.")
@click.option(
    "--group-by", multiple=True, help="Column of --groups to group by, as often as wanted. [default: sex, age, view]"
)
@click.option("--bounding-boxes", type=FILE, help="Table of boxes of NIH, VinDr or RSNA to compare the heat maps with.")
@click.option(
    "--finding",
    "findings",
    multiple=True,
    help="Finding whose heat maps are drawn, as often as wanted. [default: the four most probable of each film]",
)
@click.option(
    "--resamples",
    type=click.IntRange(0),
    default=1000,
    show_default=True,
    help="How often patients are resampled for intervals: of AUCs where patients have several films, and of plugins' "
    "metrics. 0: those of AUCs by formula, none of plugins' metrics.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of what is drawn at random.")
@click.option("--figures", type=FOLDER, help="Also write every plot, and metrics.csv, into this folder.")
@click.option(
    "--figure-format", type=click.Choice(["png", "svg"]), default="png", show_default=True, help="Of --figures."
)
@overwrite_option
@json_option
@quiet_option
@handle_errors
def report(
    *,
    scores: tuple[PathOrUrl, ...],
    output: Path | None,
    labels: Path | None,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Make one self-contained HTML page of SCORES: how well, for whom, where wrong, from what.

    SCORES are files of `cxrscore score`, or CSV tables of anybody's scores: a column for the film and one of
    probabilities for each finding. The page is about the first; others are compared with it.
    """
    from cxrscore.reporting import open_named_scores, write_report

    if options["group_by"] and options["groups"] is None:
        raise click.UsageError("--group-by names a column of the table --groups, which is missing.")
    first, *others = (open_named_scores(path, labels) for path in scores)
    name = scores[0].name if isinstance(scores[0], RemotePath) else scores[0]
    target = output or Path(name).with_suffix(".html")
    summary = write_report(first.scores, target, source=first.name, others=others, inputs=first.files, **options)
    print_line(f"wrote {target}", quiet)
    if as_json:
        print_json(summary)
