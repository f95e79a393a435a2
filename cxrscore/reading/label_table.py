"""`cxrscore marks`: the marks of readers as a label table and a table of boxes, with the agreement of the readers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cxrscore.errors import InputError
from cxrscore.images import digest_column, require_films
from cxrscore.io import atomic_write_bytes
from cxrscore.io.csv_text import csv_lines, escape_formula
from cxrscore.io.outputs import OutputKind, check_distinct, check_output
from cxrscore.labels import film_cell
from cxrscore.marks import (
    LABELS,
    Answer,
    Consensus,
    FilmMarks,
    MarkedFilm,
    MarksFile,
    answers_of,
    consensus_rows,
    no_such_reader,
    scores_path,
)
from cxrscore.progress import Progress, no_progress
from cxrscore.reading.agreement import ReaderAgreement, reader_agreements
from cxrscore.reading.prevalence import queue_prevalence
from cxrscore.reading.queue_csv import QueuedRow, read_queue
from cxrscore.scorefile import read_findings

_BOX_COLUMNS = ("image_id", "rad_id", "class_name", "x_min", "y_min", "x_max", "y_max")
"""The columns of VinDr-CXR's table of boxes, which names the readers."""
_TABLE = OutputKind(name="a label table", recognises=lambda path: _begins(path, "film"))
_BOXES = OutputKind(name="a table of boxes", recognises=lambda path: _begins(path, ",".join(_BOX_COLUMNS)))


@dataclass(frozen=True, kw_only=True)
class MarksOptions:
    """Options of ``cxrscore marks``, under the same names.

    Attributes
    ----------
    marks : path
        The marks file.
    output : path, optional
        The label table to write; None: nothing is written.
    boxes : path, optional
        The table of boxes to write.
    readers : tuple of str
        Readers whose marks count; (): all.
    consensus : str
        How the answers of several readers become one: see marks.Consensus.
    queue : path, optional
        A table of ``cxrscore queue``: only its films count, and the label table has their weights.
    films : path, optional
        A folder of films: they are named by where they lie there, found by their bytes, and not by their path when they
        were marked.
    workers : int
        Threads that read these films.
    overwrite : bool
        Replace other files.
    """

    marks: Path
    output: Path | None = None
    boxes: Path | None = None
    readers: tuple[str, ...] = ()
    consensus: str = "majority"
    queue: Path | None = None
    films: Path | None = None
    workers: int = 1
    overwrite: bool = False


@dataclass(frozen=True, kw_only=True)
class MarksResult:
    """What the readers say.

    Attributes
    ----------
    output, boxes : path, optional
        The files that were written.
    consensus : str
        The rule.
    readers : mapping
        Number of marked films by reader.
    films : int
        Films with a mark, which are the rows of the label table.
    elsewhere : int
        Films of the marks file that are not in the folder of the option ``films``.
    blinded : int
        Marks that were made without scores and labels; ``marks`` is the number of all.
    comments : int
        Films with a comment.
    findings : mapping
        By finding of the label table: films that are positive, negative, uncertain and blank (not assessable, or not
        marked).
    without : tuple of str
        Findings of the marks, and of the scores file beside the marks file, that the table lacks because no film has a
        label of them.
    agreement : tuple of dict
        Of each finding and pair of readers.
    prevalence : mapping
        By finding, in the films that the queue was drawn from: see queue_prevalence. Empty without a queue, and for one
        whose films were chosen.
    """

    output: Path | None
    boxes: Path | None
    consensus: str
    readers: Mapping[str, int]
    films: int
    elsewhere: int
    marks: int
    blinded: int
    comments: int
    box_count: int
    findings: Mapping[str, Mapping[str, int]]
    without: tuple[str, ...]
    agreement: tuple[Mapping[str, Any], ...]
    prevalence: Mapping[str, Mapping[str, Any]]


def export_marks(options: MarksOptions, progress: Progress = no_progress) -> MarksResult:
    """Write the consensus of the readers as a label table, and their boxes.

    Raises
    ------
    InputError
        If there is no marks file, no mark, or no such reader.
    FileFormatError
        If the marks file is damaged, of a newer version, or something else.
    WriteError
        If an output cannot be written.
    """
    outputs = [(options.output, _TABLE), (options.boxes, _BOXES)]
    check_distinct(path for path, _ in outputs if path is not None)
    for path, kind in outputs:
        if path is not None:
            inputs = (options.marks, options.queue)
            check_output(path, kind, inputs=inputs, overwrite=options.overwrite)
    tables = make_tables(options, progress)
    if options.output is not None:
        atomic_write_bytes(options.output, tables.labels)
    if options.boxes is not None:
        atomic_write_bytes(options.boxes, tables.boxes)
    return tables.result


@dataclass(frozen=True, kw_only=True)
class MarksTables:
    """The label table and the table of boxes as CSV, and what they hold."""

    labels: bytes
    boxes: bytes
    result: MarksResult


def make_tables(options: MarksOptions, progress: Progress = no_progress) -> MarksTables:
    """The tables of export_marks, without writing them.

    Raises
    ------
    InputError
        If there is no marks file, no mark, or no such reader.
    FileFormatError
        If the marks file is damaged, of a newer version, or something else.
    """
    rule = Consensus.parse(options.consensus)
    with MarksFile(options.marks) as file:
        every, known = file.marks(), file.films()
    stored = {one.sha256: known[one.sha256] for one in every}  # others were only seen
    films, elsewhere = _named(options, stored, progress)
    queue = None if options.queue is None else read_queue(options.queue)
    marks = _chosen(options, rule, every, queue)
    rows = list(consensus_rows(marks, films, rule, _weights(queue)))
    if len(rows) < 2:
        raise InputError(f"{options.marks} has no mark of a finding that counts: nothing can be written")
    findings = rows[0][-_findings_in(rows[0]) :]
    result = MarksResult(
        output=options.output,
        boxes=options.boxes,
        consensus=str(rule),
        readers=dict(sorted(Counter(one.reader for one in marks).items())),
        films=len(rows) - 1,
        elsewhere=elsewhere,
        marks=sum(len(one.marks) for one in marks),
        blinded=sum(mark.blinded for one in marks for mark in one.marks.values()),
        comments=len({one.sha256 for one in marks if one.comment}),
        box_count=sum(len(one.boxes) for one in marks),
        findings=_counts(rows, findings),
        without=_without(marks, findings, _findings_beside(options.marks)),
        agreement=tuple(_record(one) for one in reader_agreements(marks, films, findings)),
        prevalence=_prevalence(marks, rule, queue, findings),
    )
    return MarksTables(labels=csv_lines(_safe_rows(rows)), boxes=csv_lines(_box_rows(marks, films)), result=result)


def _findings_beside(marks: Path) -> tuple[str, ...]:
    """The findings of the scores file that the marks file belongs to; none if it is not there or cannot be read."""
    try:
        return read_findings(scores_path(marks))
    except InputError:
        return ()


def _prevalence(
    marks: Sequence[FilmMarks], rule: Consensus, queue: Mapping[str, QueuedRow] | None, findings: Sequence[str]
) -> dict[str, dict[str, Any]]:
    labels = {
        sha256: {finding: LABELS[rule(answers)] for finding, answers in by_finding.items()}
        for sha256, by_finding in answers_of(marks).items()
    }
    return {} if queue is None else queue_prevalence(labels, queue, findings)


def _named(
    options: MarksOptions, films: Mapping[str, MarkedFilm], progress: Progress
) -> tuple[Mapping[str, MarkedFilm], int]:
    """The films, named by where they lie in a folder, and the number of those that are not there."""
    if options.films is None:
        return films, 0
    paths = require_films(options.films).paths
    digests = digest_column(
        options.films,
        paths,
        workers=options.workers,
        progress=lambda done: progress("reading films", done, len(paths)),
    )
    of_film = zip(digests.tolist()[::-1], paths[::-1], strict=True)
    place = {digest.decode(): path for digest, path in of_film}  # the first one of several copies
    named = {sha256: replace(film, path=place.get(sha256, film.path)) for sha256, film in films.items()}
    return named, sum(sha256 not in place for sha256 in films)


def _chosen(
    options: MarksOptions, rule: Consensus, every: Sequence[FilmMarks], queue: Mapping[str, QueuedRow] | None
) -> list[FilmMarks]:
    """The marks that count; InputError for a reader who has none."""
    readers = {one.reader for one in every}
    for name in options.readers:
        if name not in readers:
            raise no_such_reader(name, readers)
    chosen = readers & set(options.readers) if options.readers else readers
    rule.check(chosen)
    return [one for one in every if one.reader in chosen and (queue is None or one.sha256 in queue)]


def _weights(queue: Mapping[str, QueuedRow] | None) -> dict[str, dict[str, str]]:
    """The column of weights of films of a queue that was drawn with known probabilities."""
    if not queue or not all(row.weight for row in queue.values()):
        return {}
    return {"weight": {sha256: row.weight for sha256, row in queue.items()}}


def _findings_in(header: Sequence[str]) -> int:
    return len(header) - sum(name in header[:3] for name in ("film", "patient", "weight"))


def _safe_rows(rows: Sequence[Sequence[str]]) -> Iterator[list[str]]:
    """The rows, of which no cell is a formula of a spreadsheet."""
    yield [escape_formula(name) for name in rows[0]]
    for film, *cells in rows[1:]:
        yield [film_cell(film), *cells]


def _box_rows(marks: Sequence[FilmMarks], films: Mapping[str, MarkedFilm]) -> Iterator[list[str]]:
    yield list(_BOX_COLUMNS)
    for one in marks:
        for box in one.boxes:
            sides = (box.x, box.y, box.x + box.width, box.y + box.height)
            names = (film_cell(films[one.sha256].name), escape_formula(one.reader), escape_formula(box.finding))
            yield [*names, *(f"{side:.10g}" for side in sides)]


_WORDS = {LABELS[Answer.YES]: "positive", LABELS[Answer.NO]: "negative", LABELS[Answer.UNSURE]: "uncertain"}


def _counts(rows: Sequence[Sequence[str]], findings: Sequence[str]) -> dict[str, dict[str, int]]:
    found = {}
    for place, finding in enumerate(findings, len(rows[0]) - len(findings)):
        cells = Counter(_WORDS.get(row[place], "blank") for row in rows[1:])
        found[finding] = {word: cells[word] for word in (*_WORDS.values(), "blank")}
    return found


def _without(marks: Sequence[FilmMarks], findings: Sequence[str], expected: Sequence[str]) -> tuple[str, ...]:
    there = {finding for of_film in answers_of(marks).values() for finding in of_film}
    return tuple(name for name in dict.fromkeys((*expected, *sorted(there))) if name not in findings)


def _record(one: ReaderAgreement) -> dict[str, Any]:
    kappa = one.agreement
    low, high = kappa.interval
    return {
        "finding": one.finding,
        "readers": [one.first, one.second],
        "films": kappa.films,
        "equal": kappa.equal,
        "agreement": kappa.observed,
        "expected": kappa.expected,
        "kappa": {"value": kappa.kappa, "low": low, "high": high, "standard_error": kappa.error},
        "not_assessable": one.not_assessable,
        "blinded": one.blinded,
    }


def describe_agreement(record: Mapping[str, Any]) -> str:
    """The agreement of two readers on a finding, in one line."""
    first, second = record["readers"]
    kappa = record["kappa"]
    words = f"{record['equal']} of {record['films']} answers equal"
    if not math.isnan(kappa["value"]):
        words += f", kappa {kappa['value']:.2f}"
    if not math.isnan(kappa["low"]):
        words += f" ({kappa['low']:.2f} to {kappa['high']:.2f})"
    if record["not_assessable"]:
        words += f"; {record['not_assessable']} not assessable"
    return f"{record['finding']}: {first} and {second}: {words}"


def _begins(path: Path, text: str) -> bool:
    with path.open("rb") as file:
        return file.read(len(text) + 1) in (f"{text},".encode(), f"{text}\n".encode())
