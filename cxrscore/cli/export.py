"""cxrscore export."""

from __future__ import annotations

from typing import Any

import click

from cxrscore.cli.common import (
    EXIT_SOME_FAILED,
    FILE_OR_URL,
    FOLDER,
    PATH,
    Bar,
    handle_errors,
    json_option,
    print_line,
    print_result,
    quiet_option,
)
from cxrscore.cli.streams import results
from cxrscore.errors import FileFormatError
from cxrscore.io.outputs import RULE
from cxrscore.remote.url import PathOrUrl, RemotePath

FORMATS = ("csv", "json", "parquet", "dicom-sr")


@click.command(short_help="Export scores as CSV, JSON, Parquet or DICOM SR.")
@click.argument("scores", type=FILE_OR_URL)
@click.option(
    "-o",
    "--output",
    type=PATH,
    required=True,
    help="File to write; a folder for dicom-sr; - for standard output.",
)
@click.option("--format", "kind", type=click.Choice(FORMATS), help="Output format. [default: from the suffix]")
@click.option(
    "--layout",
    type=click.Choice(["plain", "peer"]),
    default="plain",
    show_default=True,
    help="For CSV. plain: film, status, message, prob_FINDING; peer: Image Index, prob_FINDING, as in published "
    "predictions on NIH ChestX-ray14.",
)
@click.option(
    "--all-columns",
    "every_column",
    is_flag=True,
    help="For CSV: also write logits, labels, split and the other columns. The other formats always have them.",
)
@click.option("--films", type=FOLDER, help="For dicom-sr: the folder that was scored.")
@click.option(
    "--with-patient",
    is_flag=True,
    help="For dicom-sr: copy name, ID and dates of patient and study from the films. By default these are empty.",
)
@click.option("--overwrite", is_flag=True, help=f"{RULE} For dicom-sr: write into a folder that is not empty.")
@json_option
@quiet_option
@handle_errors
def export(scores: PathOrUrl, *, as_json: bool, quiet: bool, **options: Any) -> int:
    """Export a scores file as CSV, JSON, Parquet, or DICOM structured reports (TID 1500).

    \b
      cxrscore export out.h5 -o out.csv
      cxrscore export out.h5 -o reports --format dicom-sr --films ./films
    """
    from cxrscore.export import ExportOptions, export_pieces, export_scores

    inputs = () if isinstance(scores, RemotePath) else (scores,)
    wanted = ExportOptions(**options, inputs=inputs)
    if str(wanted.output) == "-":
        if as_json:
            raise click.UsageError("--json and -o - both write to standard output; use only one of them")
        output = results()
        for piece in export_pieces(_read(scores), wanted):
            output.buffer.write(piece)
        return 0
    wanted.chosen_kind()  # options that conflict are reported before a large file is read
    bar = Bar(quiet)
    result = export_scores(_read(scores), wanted, bar)
    for path, message in result.failed:
        print_line(f"no report: {path}: {message}", quiet)
    print_line(_summary(result), quiet)
    if as_json:
        print_result(result)
    return EXIT_SOME_FAILED if result.failed else 0


def _read(path: PathOrUrl) -> Any:
    """Open the scores; FileFormatError with more specific advice than the HDF5 reader gives for other files."""
    from cxrscore.io.regular import is_hdf5
    from cxrscore.remote import as_local_path
    from cxrscore.scorefile import open_scores

    with as_local_path(path) as file:
        if file.is_file() and not is_hdf5(file):
            raise FileFormatError(
                f"{file} is not a scores file (HDF5). Export needs one, written by `cxrscore score`. `cxrscore "
                f"show {file}` describes a model."
            )
        return open_scores(file)


def _summary(result: Any) -> str:
    if result.format == "dicom-sr":
        left = f"; {result.skipped} films are not DICOM, {result.unscored} have no scores" * bool(
            result.skipped or result.unscored
        )
        return f"wrote {result.files} reports to {result.output}/{left}"
    left = f", {result.unscored} of them without scores" * bool(result.unscored)
    return f"wrote {result.output}: {result.films} films{left}"
