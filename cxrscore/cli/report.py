"""cxrscore report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cxrscore.cli.common import (
    FILE,
    FILE_OR_URL,
    FOLDER,
    allow_unmatched_option,
    blank_option,
    film_column_option,
    handle_errors,
    json_option,
    overwrite_option,
    patient_column_option,
    print_json,
    print_line,
    quiet_option,
    uncertain_option,
)
from cxrscore.remote.url import PathOrUrl


def _pdf_file(context: click.Context, option: click.Parameter, value: str | None) -> Path | bool | None:
    """The PDF to write; True if --pdf is given without a name."""
    return FILE.convert(value, option, context) if value else value is not None or None


@click.command(short_help="Write a self-contained HTML report of scores files.")
@click.argument("scores", type=FILE_OR_URL, nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    type=FILE,
    help="HTML page to write. [default: the name of the first SCORES with the suffix .html; for a URL, in this folder]",
)
@click.option("--labels", type=FILE, help="Label table that replaces the labels in SCORES.")
@film_column_option
@patient_column_option
@uncertain_option
@blank_option
@allow_unmatched_option
@click.option("--groups", type=FILE, help="Table with the subgroup of each film: a label table or any CSV.")
@click.option(
    "--group-by",
    multiple=True,
    help="Column of --groups that defines the subgroups; repeat for several. [default: sex, age, view]",
)
@click.option(
    "--bounding-boxes",
    type=FILE,
    help="Table of bounding boxes (NIH, VinDr-CXR or RSNA) to compare the heat maps with.",
)
@click.option(
    "--finding",
    "findings",
    multiple=True,
    metavar="NAME[=COLUMN]",
    help="Finding whose heat maps are shown, up to four films of each kind; repeat for several. NAME=COLUMN: the "
    "column of --labels with the labels of this finding. [default: of each finding a true positive, a false positive "
    "and a false negative]",
)
@click.option(
    "--resamples",
    type=click.IntRange(0),
    default=1000,
    show_default=True,
    help="Number of bootstrap resamples of patients for the intervals of plugin metrics, and of AUCs if patients have "
    "several films. 0: analytic intervals of AUCs, none for plugin metrics.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Random seed.",
)
@click.option("--figures", type=FOLDER, help="Also write every figure, and metrics.csv, into this folder.")
@click.option(
    "--figure-format",
    type=click.Choice(["png", "svg"]),
    default="png",
    show_default=True,
    help="File format of --figures.",
)
@click.option(
    "--pdf",
    type=click.UNPROCESSED,
    callback=_pdf_file,
    is_flag=False,
    flag_value="",
    metavar="[FILE]",
    help="Also print the page to a PDF, with Chromium, Chrome or Edge (on PATH, or CXRSCORE_BROWSER). Give it after "
    "SCORES, or as --pdf=FILE. [default: the name of the page with the suffix .pdf]",
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
    """Write a self-contained HTML report of SCORES: metrics, subgroups, heat maps and provenance.

    SCORES are files of `cxrscore score`, or CSV tables with one column of film names and one column of probabilities
    per finding. The report is about the first file and compares the others with it.
    """
    from cxrscore.reporting import (
        LABEL_RULES,
        default_page,
        described_labels,
        open_named_scores,
        split_by_columns,
        write_report,
    )

    if options["group_by"] and options["groups"] is None:
        raise click.UsageError("--group-by needs --groups, the table with that column.")
    named, options["findings"] = split_by_columns(options["findings"])
    rules = {name: options.pop(name) for name in LABEL_RULES if name != "findings"}
    first, *others = opened = [open_named_scores(path, labels, findings=named, **rules) for path in scores]
    described = [] if labels is None else [described_labels(first.scores.provenance)]
    for note in dict.fromkeys((*described, *(note for one in opened for note in one.notes))):
        print_line(note, quiet)
    target = output or default_page(scores[0])
    summary = write_report(first.scores, target, source=first.name, others=others, inputs=first.files, **options)
    for path in filter(None, (summary["output"], summary["pdf"])):
        print_line(f"wrote {path}", quiet)
    if as_json:
        print_json(summary)
