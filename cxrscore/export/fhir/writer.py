"""A folder of FHIR bundles, one file for each scored film."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from cxrscore.errors import InputError
from cxrscore.export.dicom.algorithm import algorithm_of
from cxrscore.export.dicom.source import SourceError, read_source
from cxrscore.export.dicom.writer import film_locations, film_scores, open_folder, read_film
from cxrscore.export.fhir.bundle import ScoredFilm, bundle_bytes, bundle_id
from cxrscore.export.options import ExportOptions, ExportResult
from cxrscore.images import Status
from cxrscore.io import atomic_write_bytes
from cxrscore.io.outputs import check_output, output_kind_with_marks
from cxrscore.io.strict_json import unicode_text
from cxrscore.models.calibration import describe_probabilities
from cxrscore.progress import Progress
from cxrscore.remote import PathOrUrl
from cxrscore.scorefile import Scores

INSTALL = 'pip install "cxrscore[fhir]"'
FILE = output_kind_with_marks("a bundle of `cxrscore export`", b'"resourceType": "Bundle"', b"cxrscore")


def write_bundles(scores: Scores, options: ExportOptions, progress: Progress) -> ExportResult:
    """Writes one file for each scored film, named by the id of its report, atomically.

    Films with the same bytes and the same name or UID are one film. InputError if DICOM films are scored and ``films``
    does not say where they are, or a package is missing.
    """
    model = _bundle_model()
    rows = [row for row, code in enumerate(scores.films.status) if code == Status.OK]
    dicom = [row for row in rows if scores.films.kind[row] == "dicom"]
    locations = _locations(scores, dicom, options)
    folder = open_folder(options)
    algorithm = algorithm_of(scores.provenance)
    written: set[str] = set()
    failed: list[tuple[str, str]] = []
    for done, row in enumerate(rows, start=1):
        try:
            film = _film(scores, row, next(locations) if scores.films.kind[row] == "dicom" else None, options)
            data = bundle_bytes(film, algorithm)
            _check(model, data)
        except SourceError as error:
            failed.append((unicode_text(scores.films.path[row]), str(error)))
        else:
            name = bundle_id(film, algorithm)
            path = folder / f"{name}.json"
            check_output(path, FILE, inputs=options.inputs, overwrite=options.overwrite)
            atomic_write_bytes(path, data)
            written.add(name)
        progress("films", done, len(rows))
    return ExportResult(
        output=folder,
        format="fhir",
        films=len(rows) - len(failed),
        unscored=len(scores.films.path) - len(rows),
        files=len(written),
        skipped=0,
        probabilities=describe_probabilities(scores.provenance),
        failed=tuple(failed),
    )


def _locations(scores: Scores, rows: list[int], options: ExportOptions) -> Iterator[PathOrUrl | None]:
    if not rows:
        return iter(())
    if options.films is None:
        raise InputError(
            f"{len(rows)} of the scored films are DICOM, and a FHIR report names their studies by UIDs that only the "
            "films contain: name the folder or URL with --films"
        )
    return film_locations(scores, rows, options.films)


def _film(scores: Scores, row: int, place: PathOrUrl | None, options: ExportOptions) -> ScoredFilm:
    source = None
    if scores.films.kind[row] == "dicom":
        source = read_source(read_film(scores, row, place), with_patient=options.copies_patient())
    return ScoredFilm(
        name=unicode_text(scores.films.path[row]),
        modality=scores.films.modality[row],
        source=source,
        scored=film_scores(scores, row),
    )


def _bundle_model() -> Any:
    try:
        return importlib.import_module("fhir.resources.R4B.bundle").Bundle
    except ImportError:
        raise InputError(f"FHIR needs fhir.resources, which is not installed. Install it with: {INSTALL}") from None


def _check(model: Any, data: bytes) -> None:
    """SourceError for a bundle that fhir.resources does not take: its message would quote the patient."""
    try:
        model.model_validate_json(data)
    except ValueError as error:
        raise SourceError(f"its values do not fit FHIR ({type(error).__name__})") from None
