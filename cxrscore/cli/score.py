"""cxrscore score."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cxrscore.cli.common import (
    EXIT_SOME_FAILED,
    FILE,
    FILE_OR_URL,
    FOLDER,
    FOLDER_OR_URL,
    MODEL,
    MOST_REASONS,
    Bar,
    address_option,
    allow_unmatched_option,
    blank_option,
    complete_plugins,
    device_option,
    executor_option,
    film_column_option,
    finding_column_option,
    handle_errors,
    json_option,
    model_file,
    patient_column_option,
    print_failures,
    print_json,
    print_line,
    print_result,
    print_text,
    processes_option,
    quiet_option,
    score_precision_option,
    trained_on_option,
    uncertain_option,
    workers_option,
)

if TYPE_CHECKING:
    from cxrscore.scoring import Partition, ScoreResult


@click.command(short_help="Score a folder of films.")
@click.argument("films", type=FOLDER_OR_URL)
@click.option(
    "-o",
    "--output",
    type=FILE_OR_URL,
    help="Scores file to write (HDF5): a path, or a URL to upload it to. Required except with --dry-run.",
)
@click.option(
    "--query",
    multiple=True,
    metavar="KEY=VALUE",
    help="Condition that chooses the films of a PACS: a DICOM keyword or a tag of 8 digits, and a value, such as "
    "StudyDate=20260101-20260131. Repeat for more; all must hold.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Only count the films by kind, modality and view. Reads no model and writes nothing.",
)
@click.option(
    "-m",
    "--model",
    type=MODEL,
    multiple=True,
    default=[Path("model.safetensors")],
    show_default=True,
    help="Model file, ensemble file of several networks, or the name of a public classifier that `cxrscore weights` "
    "lists, which is downloaded once. Repeat for the plain mean over models.",
)
@click.option(
    "--tta",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="Test-time augmentation: number of copies of each film whose scores are averaged. The first is the film "
    "itself, the others have a small random rotation, shift and zoom, never a flip. 1: no augmentation.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of test-time augmentation.")
@click.option(
    "--target-prevalence",
    type=FILE,
    help="CSV file with the header finding,prevalence: the prevalence of findings in the population that is scored. "
    "Probabilities and thresholds of a calibrated model are moved to it by the ratio of the odds. Findings that are "
    "not named keep the prevalence of the training films.",
)
@click.option(
    "--labels", type=FILE_OR_URL, help="Label table to join. [default: labels.csv in FILMS or beside it, if it exists]"
)
@film_column_option
@patient_column_option
@finding_column_option
@uncertain_option
@blank_option
@allow_unmatched_option
@click.option("--no-labels", is_flag=True, help="Do not join a label table, even if labels.csv exists.")
@click.option(
    "--backend",
    shell_complete=complete_plugins,
    help="Backend that computes the scores. [default: the fastest of cxrscore's own that can run the models]",
)
@click.option("-b", "--batch-size", type=click.IntRange(1), default=8, show_default=True, help="Films per batch.")
@click.option(
    "--heatmaps",
    type=click.IntRange(0),
    default=14,
    show_default=True,
    help="Number of heat maps to store per film. If the model has more findings: of those whose probability is highest "
    "relative to the prevalence that the model records, or highest if it records none.",
)
@click.option(
    "--explainer", default="grad-cam", show_default=True, help="Method of the heat maps; see `cxrscore plugins`."
)
@click.option(
    "--cam-layer",
    help="Layer whose activations the heat maps use: the one that the head pools or, if that is a ReLU, the one before "
    "it, such as bn of densenet121. [default: the pooled one; in vit_b14 the patch tokens]",
)
@click.option("--any-modality", is_flag=True, help="Also score DICOM files of modalities other than CR, DX and RG.")
@click.option(
    "--anonymize-paths",
    is_flag=True,
    help="Store no paths and no file names, which often identify patients. Films are identified by the SHA-256 of "
    "their bytes.",
)
@click.option(
    "--shard",
    metavar="i/n",
    help="Score only partition i of n, counted from 1, into a partial scores file. `cxrscore merge` joins the partial "
    "files.",
)
@trained_on_option
@executor_option
@processes_option
@address_option
@click.option(
    "--overwrite",
    is_flag=True,
    help="Replace a scores file or an unfinished run of other films, models or options, or any other file. Never a "
    "model, a label table or a film.",
)
@click.option(
    "--rehash",
    is_flag=True,
    help="Read all films again before scores of an earlier run are used, even if their size, times and inode are "
    "unchanged.",
)
@click.option(
    "--temp-dir",
    type=FOLDER,
    help="Folder for the scores file until it is uploaded. [default: a folder in the cache]",
)
@device_option
@score_precision_option
@workers_option
@click.option("-v", "--verbose", is_flag=True, help="Name each film that was not scored.")
@json_option
@quiet_option
@handle_errors
def score(*, shard: str | None, as_json: bool, quiet: bool, verbose: bool, dry_run: bool, **options: Any) -> int:
    """Score every film in FILMS and its subfolders. Rerun the same command to resume an interrupted run.

    FILMS is a folder, a URL such as s3://bucket/films or https://host/films/, or a PACS such as
    dicomweb+https://host/dicom-web/?Modality=DX. Files are PNG, JPEG or DICOM by their
    first bytes, whatever their names; zip archives are read, too. Files that are no films are counted by kind.

    If the output is finished and films, models and options are identical, nothing is computed again. If only the labels
    changed, they are joined again.
    """
    if dry_run:
        return _count(options, as_json, quiet)
    if options["output"] is None:
        raise click.UsageError("Missing option '-o' / '--output'.")
    from cxrscore.scoring import ScoreOptions, score_films

    bar = Bar(quiet)
    options["model"] = tuple(model_file(one, bar) for one in options["model"])
    result = score_films(ScoreOptions(command=tuple(sys.argv[1:]), partition=_parse_partition(shard), **options), bar)
    _print_summary(result, quiet, verbose)
    if as_json:
        print_result(result)
    return EXIT_SOME_FAILED if result.failed or result.unreadable_paths or result.film_list_changed else 0


def _count(options: dict[str, Any], as_json: bool, quiet: bool) -> int:
    """The dry run."""
    from cxrscore.scoring.dry_run import count_films, other_files_sentence

    names = ("films", "query", "any_modality", "anonymize_paths", "workers")
    counts = count_films(**{name: options[name] for name in names}, progress=Bar(quiet))
    for text in counts.unreadable_paths:
        print_line(f"films may be missing: {text}", quiet)
    if others := other_files_sentence(counts):
        print_line(others, quiet)
    if as_json:
        print_json({**vars(counts), "counts": [vars(one) for one in counts.counts]})
    else:
        print_text("\n".join(counts.lines()))
    return EXIT_SOME_FAILED if counts.unreadable_paths else 0


def _parse_partition(text: str | None) -> Partition | None:
    from cxrscore.errors import InputError
    from cxrscore.scoring import Partition

    try:
        return None if text is None else Partition.parse(text)
    except InputError as error:
        raise click.BadParameter(str(error), param_hint="--shard") from None


def _print_summary(result: ScoreResult, quiet: bool, verbose: bool) -> None:
    from cxrscore.images import OtherFiles

    print_failures("not scored", result.failed, result.failed_statuses, verbose=verbose, quiet=quiet)
    for note in result.notes:
        print_line(note, quiet)
    unread = result.unreadable_paths if verbose else result.unreadable_paths[:MOST_REASONS]
    for text in unread:
        print_line(f"films may be missing: {text}", quiet)
    if more := len(result.unreadable_paths) - len(unread):
        print_line(f"films may be missing: {more:,} more could not be read; -v names them", quiet)
    if others := OtherFiles.from_record(result.other_files).sentence():
        print_line(others, quiet)
    of = f" of partition {result.partition}" if result.partition else ""
    precision = "" if result.precision == "fp32" else f" in {result.precision}"
    done = f"{result.scored} of {result.n_films} films{of} scored by backend {result.backend}{precision}"
    print_line(f"{done} in {result.seconds:.0f} s", quiet)
    if result.has_leakage:
        print_line(
            "LEAKED: the training and test data of the model overlap (films or patients); the scores file records this",
            quiet,
        )
    for text in result.not_held_out:
        print_line(text, quiet)
    _print_film_notes(result, quiet)
    print_line(f"wrote {result.output}", quiet)


def _print_film_notes(result: ScoreResult, quiet: bool) -> None:
    from cxrscore.images import describe_notes

    if read := describe_notes(result.noted_films, result.film_notes):
        print_line(f"{read}; cxrscore report says what to do", quiet)
