"""The DICOM objects of a scores file: film by film, each passed to a sink."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, TypeAlias

from cxrscore.errors import InputError, NothingToExportError, WriteError
from cxrscore.export.dicom.algorithm import algorithm_of, explainer_of, preprocessing_of
from cxrscore.export.dicom.archive_sink import ArchiveSink
from cxrscore.export.dicom.key_object import key_objects
from cxrscore.export.dicom.map_choice import MapChoice
from cxrscore.export.dicom.objects import Algorithm, DicomFilm, DicomObject, FilmScores, LeftOut, StudyFilm
from cxrscore.export.dicom.parametric_map import parametric_maps
from cxrscore.export.dicom.presentation_state import presentation_states
from cxrscore.export.dicom.secondary_capture import secondary_captures
from cxrscore.export.dicom.source import SourceError, module, read_source
from cxrscore.export.dicom.structured_report import structured_reports
from cxrscore.export.json_file import plain_values
from cxrscore.export.object_kinds import KO, OBJECT_KINDS, PM, PR, SC, SR, ObjectKind
from cxrscore.export.options import ExportOptions, ExportResult
from cxrscore.images import Status, film_digest, find_films, read_bytes
from cxrscore.io import atomic_write_bytes, make_folder, sha256_bytes
from cxrscore.io.outputs import check_output, output_kind_with_marks
from cxrscore.io.strict_json import unicode_text
from cxrscore.io.untrusted_names import is_plain_relative_path
from cxrscore.models.calibration import describe_probabilities
from cxrscore.progress import Progress
from cxrscore.remote import PathOrUrl, RemotePath
from cxrscore.scorefile import Scores

FILE = output_kind_with_marks("an object of `cxrscore export`", b"DICM", b"cxrscore")

OfFilm: TypeAlias = Callable[[DicomFilm, ExportOptions], Iterator[DicomObject | LeftOut]]
OfStudy: TypeAlias = Callable[[Sequence[StudyFilm], Algorithm, ExportOptions], Iterator[DicomObject | LeftOut]]

FILM_KINDS: Mapping[str, OfFilm] = {
    SR.name: structured_reports,
    PM.name: parametric_maps,
    SC.name: secondary_captures,
    PR.name: presentation_states,
}
"""What makes the objects of one film, by kind; SourceError for a film that cannot have them. With every other kind
goes on."""
STUDY_KINDS: Mapping[str, OfStudy] = {KO.name: key_objects}
"""What makes the objects of one study from its films, after the last film of the scores file, by kind."""


class Sink(Protocol):
    """Where objects go: one by one, so that memory holds one film or one batch."""

    def put(self, made: DicomObject, film: str) -> None:
        """Stores an object; ``film`` is for messages. CxrscoreError if that fails for good."""

    def close(self) -> None:
        """Stores what has not been stored; errors as put."""

    @property
    def stored(self) -> Mapping[str, int]:
        """Number of objects by what an archive did with them; empty for a folder."""

    @property
    def failed(self) -> Sequence[tuple[str, str]]:
        """The films of objects that were refused, with the reasons."""


def open_sink(options: ExportOptions) -> Sink:
    """The folder or the archive of the options, or both."""
    places: list[Sink] = []
    if options.stow is not None:
        rerun = "a rerun of the command" if options.output is None else "a rerun with --overwrite"
        places.append(ArchiveSink(options.stow, rerun))
    if options.output is not None or not places:
        places.append(FolderSink(options))
    return places[0] if len(places) == 1 else _BothSinks(places)


def open_folder(options: ExportOptions) -> Path:
    """The output folder, new or empty or with ``overwrite``, and outside of the films folder."""
    folder, films = options.place(), options.films
    if isinstance(films, Path) and folder.resolve().is_relative_to(films.resolve()):
        raise InputError(f"{folder} is inside {films}: its files would be read as films. Name a folder outside of it.")
    make_folder(folder)
    try:
        if any(folder.iterdir()) and not options.overwrite:
            raise InputError(f"{folder} is not empty. Name a new folder, or add --overwrite.")
    except OSError as error:
        raise WriteError(f"cannot list the folder {folder}: {error.strerror}") from error
    return folder


class FolderSink:
    """A folder with a file for each object, named by its UID, written atomically."""

    def __init__(self, options: ExportOptions) -> None:
        self._options, self._folder = options, open_folder(options)

    stored: Mapping[str, int] = MappingProxyType({})
    failed: Sequence[tuple[str, str]] = ()

    def put(self, made: DicomObject, film: str) -> None:
        path = self._folder / f"{made.uid}.dcm"
        check_output(path, FILE, inputs=self._options.inputs, overwrite=self._options.overwrite)
        atomic_write_bytes(path, made.data)

    def close(self) -> None:
        """Nothing remains to be written."""


class _BothSinks:
    """A folder and an archive."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = sinks

    def put(self, made: DicomObject, film: str) -> None:
        for sink in self._sinks:
            sink.put(made, film)

    def close(self) -> None:
        for sink in self._sinks:
            sink.close()

    @property
    def stored(self) -> Mapping[str, int]:
        return {text: count for sink in self._sinks for text, count in sink.stored.items()}

    @property
    def failed(self) -> Sequence[tuple[str, str]]:
        return [one for sink in self._sinks for one in sink.failed]


@dataclass(kw_only=True)
class _Tally:
    """What happened so far: films with objects, objects by kind, failures of films, and what was left out and why."""

    films: int = 0
    objects: Counter[str] = field(default_factory=Counter)
    failed: list[tuple[str, str]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def write_objects(scores: Scores, options: ExportOptions, progress: Progress) -> ExportResult:
    """Makes the objects of all films and passes them to a sink, which is opened when nothing more can be wrong with the
    options. NothingToExportError if no film can have objects."""
    if options.films is None:
        raise InputError(
            "a DICOM object names its film by UIDs that only the film contains: name the folder or URL with --films"
        )
    rows = [row for row, code in enumerate(scores.films.status) if code == Status.OK]
    dicom = [row for row in rows if scores.films.kind[row] == "dicom"]
    if not dicom:
        raise NothingToExportError(
            f"none of the {len(rows)} scored films is DICOM, and only a DICOM film has the UIDs that an object refers "
            "to. Export as csv, json or parquet."
        )
    kinds = [OBJECT_KINDS[name] for name in options.chosen_objects()]
    if all(kind.with_maps for kind in kinds) and not len(scores.heat_maps.film):
        raise InputError("the scores file has no heat maps. Score with --heatmaps, or export --objects sr.")
    module("highdicom")  # if it is missing, this is reported before anything is written
    writer = _Writer(scores, options)
    films = film_locations(scores, dicom, options.films)
    sink = open_sink(options)
    for done, (row, film) in enumerate(zip(dicom, films, strict=True), start=1):
        writer.write_film(row, film, sink)
        progress("films", done, len(dicom))
    writer.write_studies(sink)
    sink.close()
    tally = writer.tally
    return ExportResult(
        output=options.output,
        format=options.chosen_kind(),
        films=tally.films,
        unscored=len(scores.films.path) - len(rows),
        files=sum(tally.objects.values()) if options.output is not None else 0,
        skipped=len(rows) - len(dicom),
        probabilities=describe_probabilities(scores.provenance),
        failed=(*tally.failed, *sink.failed),
        objects=dict(tally.objects),
        left_out=dict(tally.left_out),
        stored=sink.stored,
    )


def film_locations(scores: Scores, rows: list[int], folder: PathOrUrl) -> Iterator[PathOrUrl | None]:
    """The location of each film; for anonymized paths, the hash of each film in the folder finds it."""
    if any(scores.films.path[row] == scores.films.sha256[row] for row in rows):
        places = {film_digest(folder / path): path for path in find_films(folder).paths}
        names = [places.get(scores.films.sha256[row]) for row in rows]
    elif isinstance(folder, RemotePath):  # listing an archive of studies takes long, and says no more than reading
        names = [path if is_plain_relative_path(path) else None for path in (scores.films.path[row] for row in rows)]
    else:
        there = set(find_films(folder).paths)
        names = [scores.films.path[row] if scores.films.path[row] in there else None for row in rows]
    return (None if name is None else folder / name for name in names)


def read_film(scores: Scores, row: int, place: PathOrUrl | None) -> bytes:
    """The file of a film, the same as when it was scored; SourceError if there is none."""
    data = None if place is None else read_bytes(place)
    if data is None:
        raise SourceError("it is not in the folder, or cannot be read")
    if sha256_bytes(data) != scores.films.sha256[row]:
        raise SourceError("it has changed since it was scored")
    return data


def film_scores(scores: Scores, row: int) -> FilmScores:
    """The scores of a film: all findings with a probability, as NaN has no place in an object."""
    probs = dict(zip(scores.findings, plain_values(scores.prob[row]), strict=True))
    return FilmScores(
        sha256=scores.films.sha256[row],
        probs={finding: prob for finding, prob in probs.items() if prob is not None},
        thresholds=dict(zip(scores.findings, plain_values(scores.thresholds), strict=True)),
    )


class _Writer:
    """Makes the objects of films, and remembers of each film what the kinds of its study need, and of each study the
    name of a film for messages."""

    def __init__(self, scores: Scores, options: ExportOptions) -> None:
        self._scores, self._options = scores, options
        self._kinds = [OBJECT_KINDS[name] for name in options.chosen_objects()]
        self._algorithm = algorithm_of(scores.provenance)
        self._explainer = explainer_of(scores.provenance)
        self._preprocessing = preprocessing_of(scores.provenance)
        self._choice = MapChoice(scores, options.maps_of) if any(kind.with_maps for kind in self._kinds) else None
        self._studies: defaultdict[str, list[StudyFilm]] = defaultdict(list)
        self._names: dict[str, str] = {}
        self.tally = _Tally()

    def write_film(self, row: int, place: PathOrUrl | None, sink: Sink) -> None:
        name, before = unicode_text(self._scores.films.path[row]), sum(self.tally.objects.values())
        try:
            film = self._film(row, place)
        except SourceError as error:
            self.tally.failed.append((name, str(error)))
            return
        for kind in self._kinds:
            if kind.name in FILM_KINDS:
                try:
                    self._put(kind, FILM_KINDS[kind.name](film, self._options), sink, name)
                except SourceError as error:
                    reason = f"no {kind.title}: {error}" if len(self._kinds) > 1 else str(error)
                    self.tally.failed.append((name, reason))
        if any(kind.name in STUDY_KINDS for kind in self._kinds):
            self._names.setdefault(film.source.study, name)
            self._studies[film.source.study].append(StudyFilm(source=film.source, scores=film.scores))
        self.tally.films += sum(self.tally.objects.values()) > before

    def write_studies(self, sink: Sink) -> None:
        for study, films in self._studies.items():
            for kind in self._kinds:
                if kind.name in STUDY_KINDS:
                    name = f"the study of {self._names[study]}"
                    try:
                        self._put(kind, STUDY_KINDS[kind.name](films, self._algorithm, self._options), sink, name)
                    except SourceError as error:
                        self.tally.failed.append((name, f"no {kind.title}: {error}"))

    def _put(self, kind: ObjectKind, made: Iterator[DicomObject | LeftOut], sink: Sink, film: str) -> None:
        for one in made:
            if isinstance(one, LeftOut):
                self.tally.left_out[f"no {kind.title}: {one.reason}"] += 1
            else:
                sink.put(one, film)
                self.tally.objects[kind.name] += 1

    def _film(self, row: int, place: PathOrUrl | None) -> DicomFilm:
        data = read_film(self._scores, row, place)
        scored = film_scores(self._scores, row)
        maps, without = ({}, ()) if self._choice is None else self._choice.chosen(row, scored)
        if without:
            self.tally.left_out["no map in the scores file: score with a larger --heatmaps"] += len(without)
        return DicomFilm(
            data=data,
            source=read_source(data, with_patient=self._options.copies_patient()),
            scores=scored,
            maps=maps,
            algorithm=self._algorithm,
            explainer=self._explainer,
            preprocessing=self._preprocessing,
        )
