"""A folder of DICOM reports, one for each scored DICOM film."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cxrscore.errors import InputError, WriteError
from cxrscore.export.dicom_sr import Algorithm, FilmScores, report_bytes, report_uid
from cxrscore.export.json_file import plain_values
from cxrscore.export.options import ExportOptions, ExportResult
from cxrscore.export.source import SourceError, module, read_source
from cxrscore.images import Status, film_digest, find_films, read_bytes
from cxrscore.io import atomic_write_bytes, make_folder, sha256_bytes
from cxrscore.io.outputs import check_output, output_kind_with_marks
from cxrscore.io.strict_json import get_nested, get_text, provenance_models, unicode_text
from cxrscore.models.calibration import describe_probabilities
from cxrscore.progress import Progress
from cxrscore.scorefile import Scores

REPORT = output_kind_with_marks("a report of `cxrscore export`", b"DICM", b"cxrscore")
MAX_EXAMPLES = 16
"""Maximum number of models that a report names."""


def write_reports(scores: Scores, options: ExportOptions, progress: Progress) -> ExportResult:
    """Writes one file per report, named by its UID, atomically. InputError if no film can have a report."""
    if options.films is None:
        raise InputError(
            "a DICOM report names its film by UIDs that only the film contains: name the folder with --films"
        )
    rows = [row for row, code in enumerate(scores.films.status) if code == Status.OK]
    dicom = [row for row in rows if scores.films.kind[row] == "dicom"]
    if not dicom:
        raise InputError(
            f"none of the {len(rows)} scored films is DICOM, and only a DICOM film has the UIDs that a report refers "
            "to. Export as csv, json or parquet."
        )
    module("highdicom")  # if it is missing, this is reported before anything is written
    films = _films(scores, dicom, options.films)
    _make_folder(options, options.films)
    algorithm = _algorithm(scores.provenance)
    failed: list[tuple[str, str]] = []
    written = 0
    for done, (row, film) in enumerate(zip(dicom, films, strict=True), start=1):
        try:
            _write_report(scores, row, film, algorithm, options)
            written += 1
        except SourceError as error:
            failed.append((unicode_text(scores.films.path[row]), str(error)))
        progress("reports", done, len(dicom))
    return ExportResult(
        output=options.output,
        format="dicom-sr",
        films=written,
        unscored=len(scores.films.path) - len(rows),
        files=written,
        skipped=len(rows) - len(dicom),
        probabilities=describe_probabilities(scores.provenance),
        failed=tuple(failed),
    )


def _films(scores: Scores, rows: list[int], folder: Path) -> Iterator[Path | None]:
    """The path of each film; for anonymized paths, the hash of each film in the folder finds it."""
    found = find_films(folder).paths
    if any(scores.films.path[row] == scores.films.sha256[row] for row in rows):
        places = {film_digest(folder / path): path for path in found}
        names = [places.get(scores.films.sha256[row]) for row in rows]
    else:
        there = set(found)
        names = [scores.films.path[row] if scores.films.path[row] in there else None for row in rows]
    return (None if name is None else folder / name for name in names)


def _make_folder(options: ExportOptions, films: Path) -> None:
    folder = options.output
    if folder.resolve().is_relative_to(films.resolve()):
        raise InputError(
            f"{folder} is inside {films}: the reports would be read as films. Name a folder outside of it."
        )
    make_folder(folder)
    try:
        if any(folder.iterdir()) and not options.overwrite:
            raise InputError(f"{folder} is not empty. Name a new folder, or add --overwrite.")
    except OSError as error:
        raise WriteError(f"cannot list the folder {folder}: {error.strerror}") from error


def _write_report(scores: Scores, row: int, film: Path | None, algorithm: Algorithm, options: ExportOptions) -> None:
    data = None if film is None else read_bytes(film)
    if data is None:
        raise SourceError("it is not in the folder, or cannot be read")
    digest = sha256_bytes(data)
    if digest != scores.films.sha256[row]:
        raise SourceError("it has changed since it was scored")
    source = read_source(data, with_patient=options.with_patient)
    scored = FilmScores(
        sha256=digest,
        probs=dict(zip(scores.findings, plain_values(scores.prob[row]), strict=True)),
        thresholds=dict(zip(scores.findings, plain_values(scores.thresholds), strict=True)),
    )
    uid = report_uid(source, scored, algorithm, number=row + 1)
    path = options.output / f"{uid}.dcm"
    check_output(path, REPORT, inputs=options.inputs, overwrite=options.overwrite)
    atomic_write_bytes(path, report_bytes(source, scored, algorithm, uid=uid, number=row + 1))


def _algorithm(provenance: Mapping[str, Any]) -> Algorithm:
    """The algorithm from a provenance, in which any value may be missing or invalid."""
    several = provenance_models(provenance)[:MAX_EXAMPLES]
    networks = dict.fromkeys(_text(one, "document", "spec", "architecture") for one in several)
    digests = [_text(one, "sha256") for one in several]
    number = get_nested(provenance, "tta", "copies")
    parameters = {
        "backend": _text(provenance, "backend", "name"),
        "framework": _text(provenance, "backend", "framework"),
        "precision": _text(provenance, "backend", "precision"),
        "mean over models": " ".join(digests) if len(digests) > 1 else "",
        "mean over augmented copies": str(number) if isinstance(number, int) and number > 1 else "",
    }
    return Algorithm(
        network=" + ".join(name for name in networks if name),
        model=digests[0] if len(digests) == 1 else sha256_bytes(" ".join(digests).encode()) if digests else "",
        parameters=(
            *(f"{name}: {text}" for name, text in parameters.items() if text),
            _printable(describe_probabilities(provenance), 1000),
        ),
        created=_time(_text(provenance, "created")),
    )


def _time(text: str) -> datetime.datetime | None:
    """A time from text; None if it is not a time with an offset to UTC."""
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else None


def _text(tree: Any, *keys: str) -> str:
    """The text below these keys, without characters that DICOM uses as control or delimiter; "" if there is none."""
    return _printable(get_text(tree, *keys), 200)


def _printable(text: str, longest: int) -> str:
    """The text, at most so many characters, without those that DICOM uses as control or delimiter."""
    return "".join(letter if letter.isprintable() and letter != "\\" else "_" for letter in text)[:longest]
