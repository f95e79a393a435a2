"""cxrscore export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cxrscore.cli.common import (
    COMMA_SEPARATED,
    EXIT_SOME_FAILED,
    FOLDER_OR_URL,
    MODEL_OR_URL,
    PATH,
    Bar,
    handle_errors,
    json_option,
    model_file,
    print_failures,
    print_json,
    print_line,
    print_result,
    quiet_option,
)
from cxrscore.cli.streams import results
from cxrscore.errors import FileFormatError, InputError
from cxrscore.io.outputs import RULE
from cxrscore.remote.url import PathOrUrl, RemotePath

FORMATS = ("csv", "json", "parquet", "dicom", "dicom-sr", "fhir", "onnx")


@click.command(short_help="Export scores as CSV, JSON, Parquet, DICOM or FHIR, or a model as ONNX.")
@click.argument("file", type=MODEL_OR_URL)
@click.option(
    "-o",
    "--output",
    type=PATH,
    help="File to write; a folder for dicom, dicom-sr and fhir; - for standard output. Not needed with --stow.",
)
@click.option(
    "--stow",
    metavar="URL",
    help="For dicom and dicom-sr: store the objects in an archive by STOW-RS, such as https://host/dicom-web/. A rerun "
    "stores nothing twice. Credentials come from the environment or ~/.netrc.",
)
@click.option(
    "--to",
    "--format",
    "kind",
    type=click.Choice(FORMATS),
    help="Output format. dicom-sr is dicom with --objects sr. [default: from the suffix; with --stow or --objects "
    "dicom]",
)
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
@click.option("--films", type=FOLDER_OR_URL, help="For dicom, dicom-sr and fhir: the folder or URL that was scored.")
@click.option(
    "--objects",
    metavar="KINDS",
    help="For dicom: the kinds of objects, with commas between them: sr (Structured "
    "Report), pm (Parametric Map), sc (Secondary Capture), pr (Presentation State), ko (Key Object Selection of the "
    "films above a threshold). [default: all]",
)
@click.option(
    "--maps-of",
    type=COMMA_SEPARATED,
    multiple=True,
    metavar="FINDING",
    help="For dicom: the findings whose heat maps become objects. Repeat it for several. above-threshold: those at or "
    "above the threshold of the model; if there is none, the one with the highest probability relative to its "
    "prevalence. all: all with a map in FILE. [default: above-threshold]",
)
@click.option(
    "--contour-level",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.5,
    show_default=True,
    help="For dicom: the level of the contour, as a fraction of the largest value of the map.",
)
@click.option(
    "--with-patient/--without-patient",
    default=None,
    help="Copy name, ID and dates of patient and study from the films, or leave them empty. [default: copied for "
    "dicom, because an archive files by them; empty for dicom-sr and fhir]",
)
@click.option(
    "--feature-map", is_flag=True, help="For onnx: also give the map that the head pools, as output feature_map."
)
@click.option("--overwrite", is_flag=True, help=f"{RULE} For dicom and fhir: write into a folder that is not empty.")
@json_option
@quiet_option
@handle_errors
def export(file: PathOrUrl, *, as_json: bool, quiet: bool, feature_map: bool, **options: Any) -> int:
    """Export FILE: scores and heat maps as CSV, JSON, Parquet, DICOM objects or FHIR; a model as ONNX.

    \b
      cxrscore export out.h5 -o out.csv
      cxrscore export out.h5 -o objects --to dicom --films ./films
      cxrscore export out.h5 --stow https://host/dicom-web/ --films ./films
      cxrscore export out.h5 -o bundles --to fhir --films ./films
      cxrscore export model.safetensors -o model.onnx
    """
    if options["output"] is None and options["stow"] is None:
        raise click.UsageError("Missing option '-o' / '--output'; only --stow needs none.")
    if str(options["output"]) == "-" and as_json:
        raise click.UsageError("--json and -o - both write to standard output; use only one of them")
    file = model_file(file, Bar(quiet))
    if options["kind"] == "onnx" or (
        options["kind"] is None and Path(options["output"] or "").suffix.lower() == ".onnx"
    ):
        return _export_model(file, feature_map, options, as_json=as_json, quiet=quiet)
    if feature_map:
        raise InputError("--feature-map is for the format onnx, which is written from a model file")
    return _export_scores(file, options, as_json=as_json, quiet=quiet)


def _export_scores(file: PathOrUrl, options: dict[str, Any], *, as_json: bool, quiet: bool) -> int:
    from cxrscore.export import ExportOptions, export_pieces, export_scores
    from cxrscore.export.object_kinds import parse_objects

    inputs = () if isinstance(file, RemotePath) else (file,)
    objects = () if options["objects"] is None else parse_objects(options["objects"])
    wanted = ExportOptions(**{**options, "objects": objects}, inputs=inputs)
    if str(wanted.output) == "-":
        output = results()
        for piece in export_pieces(_read(file), wanted):
            output.buffer.write(piece)
        return 0
    wanted.chosen_kind()  # options that conflict are reported before a large file is read
    bar = Bar(quiet)
    result = export_scores(_read(file), wanted, bar)
    print_failures("not exported", result.failed, quiet=quiet)
    print_line(result.probabilities, quiet)
    for reason, count in result.left_out.items():
        print_line(f"left out, {count} findings: {reason}", quiet)
    print_line(_summary(result), quiet)
    if as_json:
        print_result(result)
    return EXIT_SOME_FAILED if result.failed else 0


_OF_SCORES = {
    "--layout": ("layout", "plain"),
    "--all-columns": ("every_column", False),
    "--films": ("films", None),
    "--objects": ("objects", None),
    "--maps-of": ("maps_of", ()),
    "--contour-level": ("contour_level", 0.5),
    "--with-patient": ("with_patient", None),
    "--stow": ("stow", None),
}
"""The options for scores, with their names and defaults."""


def _export_model(file: PathOrUrl, feature_map: bool, options: dict[str, Any], *, as_json: bool, quiet: bool) -> int:
    from cxrscore.export import OnnxOptions, export_onnx, onnx_bytes
    from cxrscore.remote import as_local_path

    for option, (name, default) in _OF_SCORES.items():
        if options[name] != default:
            raise InputError(f"{option} has no meaning for the format onnx")
    with as_local_path(file) as model:
        if str(options["output"]) == "-":
            data, _ = onnx_bytes(model, feature_map=feature_map)
            results().buffer.write(data)
            return 0
        wanted = OnnxOptions(
            model=model, output=options["output"], feature_map=feature_map, overwrite=options["overwrite"]
        )
        result = export_onnx(wanted)
    print_line(
        f"wrote {result.output}: ONNX, opset {result.opset}, {result.bytes / 1e6:.1f} MB, outputs "
        f"{', '.join(result.outputs)}",
        quiet,
    )
    if as_json:
        print_json({**vars(result), "format": "onnx"})
    return 0


def _read(path: PathOrUrl) -> Any:
    """Open the scores; FileFormatError with more specific advice than the HDF5 reader gives for other files."""
    from cxrscore.io.regular import is_hdf5
    from cxrscore.remote import as_local_path
    from cxrscore.scorefile import open_scores

    with as_local_path(path) as file:
        if file.is_file() and not is_hdf5(file):
            raise FileFormatError(
                f"{file} is not a scores file (HDF5). Export needs one, written by `cxrscore score`. `cxrscore "
                f"show {file}` describes a model, and `cxrscore export {file} -o model.onnx` exports it."
            )
        return open_scores(file)


def _summary(result: Any) -> str:
    if result.format in ("dicom", "dicom-sr", "fhir"):
        return _summary_of_films(result)
    left = f", {result.unscored} of them without scores" * bool(result.unscored)
    return f"wrote {result.output}: {result.films} films{left}"


def _summary_of_films(result: Any) -> str:
    """What was made of each film, where it went, and how many films have nothing."""
    left = {"films are not DICOM": result.skipped, "films have no scores": result.unscored}
    ending = "".join(f"; {count} {reason}" for reason, count in left.items() if count)
    if result.format == "fhir":
        return f"wrote {result.files} bundles to {result.output}/{ending}"
    kinds = ", ".join(f"{count} {name}" for name, count in result.objects.items()) or "none"
    places = []
    if result.output is not None:
        places.append(f"wrote {result.files} objects to {result.output}/ ({kinds})")
    if result.stored:
        answers = ", ".join(f"{count} {name}" for name, count in result.stored.items())
        places.append(f"sent {sum(result.stored.values())} objects to the archive ({kinds}): {answers}")
    return "; ".join(places) + ending
