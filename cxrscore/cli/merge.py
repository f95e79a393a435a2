"""cxrscore merge."""

from __future__ import annotations

import sys
from typing import Any

import click

from cxrscore.cli.common import FILE_OR_URL, Bar, handle_errors, json_option, print_json, print_line, quiet_option


@click.command(short_help="Merge the files of score --shard, or those of watch.")
@click.argument("partial_files", type=FILE_OR_URL, nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    type=FILE_OR_URL,
    required=True,
    help="Scores file to write (HDF5): a path, or a URL to upload it to.",
)
@click.option(
    "--virtual",
    is_flag=True,
    help="Write a virtual HDF5 file that refers to the partial files, which must stay in place. Other HDF5 programs "
    "can read it; cxrscore can only verify it.",
)
@click.option(
    "--keep",
    type=click.Choice(["error", "last"]),
    default="error",
    show_default=True,
    help="For finished scores files: a film that is in several of them is an error, or the row of the file that was "
    "finished last is kept.",
)
@click.option(
    "--overwrite",
    is_flag=True,
    help="Replace a scores file of another run or any other file. Never one of PARTIAL_FILES.",
)
@json_option
@quiet_option
@handle_errors
def merge(*, as_json: bool, quiet: bool, **options: Any) -> None:
    """Merge PARTIAL_FILES, one for each partition of a run, in any order, into one scores file.

    PARTIAL_FILES may also be finished scores files of different films, made with the same models and options, such as
    those of `cxrscore watch`.
    """
    from cxrscore.merge import MergeOptions, merge_scores

    result = merge_scores(MergeOptions(command=tuple(sys.argv[1:]), **options), Bar(quiet))
    scored = result.films - result.failed
    print_line(
        f"{scored} of {result.films} films have scores; {result.merged_files} files merged in {result.seconds:.0f} s",
        quiet,
    )
    if result.dropped:
        print_line(f"{result.dropped} rows are left out: a file that was finished later has the same film", quiet)
    print_line(f"wrote {result.output}", quiet)
    if as_json:
        print_json(vars(result))
