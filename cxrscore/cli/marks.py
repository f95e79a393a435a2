"""cxrscore marks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cxrscore.cli.common import (
    COMMA_SEPARATED,
    FILE,
    FOLDER,
    Bar,
    handle_errors,
    json_option,
    overwrite_option,
    print_json,
    print_line,
    quiet_option,
    workers_option,
)


@click.command(short_help="Write the marks of readers as a label table, with their agreement.")
@click.argument("marks_file", type=FILE)
@click.option("-o", "--output", type=FILE, help="Label table to write (CSV), for train, score and report --labels.")
@click.option("--boxes", type=FILE, help="Table of boxes to write (CSV), for report --bounding-boxes.")
@click.option(
    "--reader",
    "readers",
    type=COMMA_SEPARATED,
    multiple=True,
    metavar="NAME",
    help="Reader whose marks count; repeat for several. [default: all]",
)
@click.option(
    "--consensus",
    metavar="RULE",
    default="majority",
    show_default=True,
    help="How the answers of several readers become one: majority (without one: unsure), any (yes if one says yes), "
    "all (yes if all say yes), reader=NAME (that reader), adjudicated=NAME (that reader where there is an answer, else "
    "what all others agree on, else unsure).",
)
@click.option(
    "--queue",
    type=FILE,
    help="Table of `cxrscore queue`: only its films count, and of a random or enriched queue the label table has their "
    "weights, for train --weight-column weight.",
)
@click.option(
    "--films",
    type=FOLDER,
    help="Name the films by where they lie in this folder, found by their bytes: after they were moved or renamed, and "
    "for marks on a scores file with anonymized paths. [default: the path below the folder that was scored]",
)
@workers_option
@overwrite_option
@json_option
@quiet_option
@handle_errors
def marks(marks_file: Path, *, as_json: bool, quiet: bool, **options: Any) -> None:
    """Write the marks in MARKS_FILE as a label table: yes 1, no 0, unsure -1, not assessable blank. Prints the counts,
    and of several readers the agreement on each finding, with Cohen's kappa and its 95 % interval.

    \b
      cxrscore marks out.marks.sqlite -o labels.csv
      cxrscore marks out.marks.sqlite -o labels.csv --consensus "adjudicated=Dr Lee"
    """
    from cxrscore.reading import MarksOptions, describe_agreement, describe_prevalence, export_marks

    bar = Bar(quiet)
    result = export_marks(MarksOptions(marks=marks_file, **options), bar)
    bar.close()
    readers = ", ".join(f"{name} {count:,}" for name, count in result.readers.items())
    print_line(f"{result.films:,} films with marks, by reader: {readers}; consensus: {result.consensus}", quiet)
    print_line(
        f"{result.marks:,} marks, {result.blinded:,} of them blinded; {result.box_count:,} boxes, {result.comments:,} "
        "films with a comment",
        quiet,
    )
    for finding, counts in result.findings.items():
        print_line(f"{finding}: {', '.join(f'{word} {count:,}' for word, count in counts.items() if count)}", quiet)
    if result.elsewhere:
        print_line(f"{result.elsewhere:,} marked films are not in {options['films']}", quiet)
    if result.without:
        print_line(f"left out, because no film has a label: {', '.join(result.without)}", quiet)
    for record in result.agreement:
        print_line(describe_agreement(record), quiet)
    for line in describe_prevalence(result.prevalence):
        print_line(line, quiet)
    for path in filter(None, (result.output, result.boxes)):
        print_line(f"wrote {path}", quiet)
    if as_json:
        print_json(vars(result))
