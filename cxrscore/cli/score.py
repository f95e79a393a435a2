"""cxrscore score."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from cxrscore.cli.common import (
    EXIT_SOME_FAILED,
    FILE,
    FOLDER,
    Bar,
    address_option,
    complete_plugins,
    device_option,
    ends_with_exit_code,
    executor_option,
    json_option,
    precision_option,
    print_result,
    processes_option,
    quiet_option,
    say,
    workers_option,
)


@click.command()
@click.argument("films", type=FOLDER)
@click.option("-o", "--output", type=FILE, required=True, help="Scores file to write, HDF5.")
@click.option(
    "-m",
    "--model",
    type=FILE,
    multiple=True,
    default=[Path("model.safetensors")],
    show_default=True,
    help="Model file to score with. Given more than once, the scores are means over the models.",
)
@click.option(
    "--views",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="Views of each film to score and average: the film itself, then small random turns, shifts and zooms of it, "
    "never flips. 1: the film alone.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Decides the random views.")
@click.option(
    "--labels", type=FILE, help="Label table to join. [default: labels.csv in or beside FILMS, if there is one]"
)
@click.option("--no-labels", is_flag=True, help="Join no label table, even if one lies there.")
@click.option(
    "--backend",
    shell_complete=complete_plugins,
    help="What computes. [default: the fastest installed one that can run the models]",
)
@click.option(
    "-b", "--batch-size", type=click.IntRange(1), default=8, show_default=True, help="Films computed together."
)
@click.option("--maps", type=click.IntRange(0), default=4, show_default=True, help="Heat maps kept of each film.")
@click.option("--explainer", default="grad-cam", show_default=True, help="One that `cxrscore plugins` lists.")
@click.option(
    "--tap", help="Layer that heat maps are taken at, e.g. bn of densenet121. [default: the last ReLU, which is pooled]"
)
@click.option("--any-modality", is_flag=True, help="Score DICOM films of other modalities than CR, DX and RG, too.")
@click.option(
    "--no-paths",
    is_flag=True,
    help="Write no path or file name, as they often name patients: films go by the SHA-256 of their bytes.",
)
@executor_option
@processes_option
@address_option
@click.option("--overwrite", is_flag=True, help="Replace a scores file, or parts, of another run.")
@device_option
@precision_option
@workers_option
@json_option
@quiet_option
@ends_with_exit_code
def score(*, as_json: bool, quiet: bool, **options: Any) -> int:
    """Score every film below FILMS. Started again after a stop, the same line goes on where it was."""
    from cxrscore.score import ScoreOptions, score_films

    bar = Bar(quiet)
    result = score_films(ScoreOptions(command=tuple(sys.argv[1:]), **options), bar)
    for path, message in result.failed:
        say(f"not scored: {path}: {message}", quiet)
    for note in result.notes:
        say(note, quiet)
    for text in result.unread:
        say(f"films may be missing: {text}", quiet)
    say(f"{result.scored} of {result.found} films scored by backend {result.backend} in {result.seconds:.0f} s", quiet)
    if result.leaked:
        say("LEAKED: the model was trained with films or patients in two parts of its split; the file says so", quiet)
    say(f"wrote {result.output}", quiet)
    if as_json:
        print_result(result)
    return EXIT_SOME_FAILED if result.failed or result.unread else 0
