"""Export of scores as CSV, JSON, Parquet, DICOM objects and FHIR, and of models as ONNX."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cxrscore.errors import InputError
from cxrscore.export.codes import FindingCode, finding_code
from cxrscore.export.csv_file import csv_pieces, is_plain_csv
from cxrscore.export.dicom.writer import write_objects
from cxrscore.export.fhir.writer import write_bundles
from cxrscore.export.json_file import FORMAT, json_pieces
from cxrscore.export.onnx_model import OnnxOptions, OnnxResult, export_onnx, onnx_bytes
from cxrscore.export.options import DICOM, KINDS, ExportOptions, ExportResult
from cxrscore.export.parquet import is_own_parquet, parquet_bytes
from cxrscore.images import Status
from cxrscore.io import atomic_write
from cxrscore.io.atomic import cannot_write, write_all
from cxrscore.io.outputs import OutputKind, check_output, output_kind_with_marks
from cxrscore.models.calibration import describe_probabilities
from cxrscore.progress import Progress, no_progress
from cxrscore.scorefile import Scores

EXPORTS = {
    "csv": OutputKind(name="a table of `cxrscore export`", recognises=is_plain_csv),
    "json": output_kind_with_marks("a document of `cxrscore export`", f'"format": "{FORMAT}"'.encode()),
    "parquet": OutputKind(name="a table of `cxrscore export`", recognises=is_own_parquet),
}

__all__ = [
    "KINDS",
    "ExportOptions",
    "ExportResult",
    "FindingCode",
    "OnnxOptions",
    "OnnxResult",
    "export_onnx",
    "export_pieces",
    "export_scores",
    "finding_code",
    "onnx_bytes",
]


def export_scores(scores: Scores, options: ExportOptions, progress: Progress = no_progress) -> ExportResult:
    """Exports scores to a file (CSV, JSON or Parquet), a folder (DICOM, FHIR) or an archive (DICOM).

    Each file is written atomically.

    Parameters
    ----------
    scores : Scores
        The scores to export.
    options : ExportOptions
        Format, output and settings of the export.
    progress : callable, optional
        Called with a text, the number of films that are done and their total.

    Returns
    -------
    ExportResult
        The output, its format and the number of exported films.

    Raises
    ------
    InputError
        If options contradict each other or do not fit the scores, the output must not be replaced, or a package is
        missing.
    WriteError
        If a file cannot be written, or the archive cannot be reached.

    Examples
    --------
    >>> scores = cxrscore.open_scores("out.h5")  # doctest: +SKIP
    >>> cxrscore.export_scores(scores, cxrscore.ExportOptions(output="out.csv")).films  # doctest: +SKIP
    440
    """
    kind = options.chosen_kind()
    if kind in DICOM:
        return write_objects(scores, options, progress)
    if kind == "fhir":
        return write_bundles(scores, options, progress)
    output = options.place()
    check_output(output, EXPORTS[kind], inputs=options.inputs, overwrite=options.overwrite)
    _write(output, export_pieces(scores, options))
    return ExportResult(
        output=output,
        format=kind,
        films=len(scores.films.path),
        unscored=int(np.count_nonzero(scores.films.status != Status.OK)),
        probabilities=describe_probabilities(scores.provenance),
    )


def export_pieces(scores: Scores, options: ExportOptions) -> Iterator[bytes]:
    """The bytes of an export that is one file. InputError as export_scores, and for DICOM objects."""
    kind = options.chosen_kind()
    if kind == "csv":
        return csv_pieces(scores, layout=options.layout, every=options.every_column)
    if kind == "json":
        return json_pieces(scores)
    if kind == "parquet":
        return iter([parquet_bytes(scores)])
    raise InputError(f"the format {kind} is many files: name a folder with --output")


def _write(path: Path, pieces: Iterator[bytes]) -> None:
    first = next(pieces)  # raises errors of the export before a file is created
    with atomic_write(path) as part:
        try:
            descriptor = os.open(part, os.O_WRONLY)
            try:
                for piece in itertools.chain([first], pieces):
                    write_all(descriptor, piece)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise cannot_write(path, error) from error
