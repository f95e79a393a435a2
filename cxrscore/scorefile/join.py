"""Joins finished scores files of different films, made with the same models and options, into one.

The films of the joined file are sorted by path, as in any scores file. Rows are gathered block by block: of each file,
the rows of a block are read together, so memory does not grow with the heat maps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array
from cxrscore.errors import FileFormatError, InputError
from cxrscore.io.hdf5.reader import HDF5File, open_guarded, read_dataset, read_rows, read_text
from cxrscore.io.strict_json import check_document
from cxrscore.scorefile.checks import check_ranges
from cxrscore.scorefile.columns import decode_texts
from cxrscore.scorefile.layout import SCORED, TEXT
from cxrscore.scorefile.manifest import differences, fingerprint_of, paths_digest, precision_hint
from cxrscore.scorefile.partial_file import FILM_COLUMNS, MAP_COLUMNS
from cxrscore.scorefile.reading import check_scores_file, read_json, with_missing_columns
from cxrscore.scorefile.thumbnail_selection import ScoredFilms, concatenate, scored_films, select_thumbnails
from cxrscore.scorefile.writing import FileHeader, RowBlock

Keep = Literal["error", "last"]
KEEPS: tuple[Keep, ...] = ("error", "last")
BLOCK = 1 << 15
"""Films of the joined file that are gathered at a time."""
MOST_THUMBNAILS = 64
"""Thumbnails of the joined file, which are among those of its files."""
_NAME_BYTES = 16
"""Least width of the names of anonymized films, for those that could not be read."""
_FILMS = ("films", "paths", "joined_files")
"""Inputs that differ between the files: which films they have."""


@dataclass(frozen=True, kw_only=True)
class FinishedFile:
    """What joining needs to know of a scores file, without its scores.

    inputs, fingerprint, provenance  its attributes
    paths                            of its films, bytes [N]
    scored                           bool [N]
    patients                         whether it has numbers of patients
    findings, thresholds             bytes [C], float32 [C]
    map_film                         int32 [M], the film of each heat map; map_shape: their height and width
    widths                           bytes of its text columns
    thumbnails                       the films with a thumbnail that have scores, by row
    """

    path: Path
    inputs: Mapping[str, Any]
    fingerprint: str
    provenance: Mapping[str, Any]
    paths: Array
    scored: NDArray[np.bool_]
    patients: bool
    findings: Array
    thresholds: Array
    map_film: NDArray[np.int32]
    map_shape: tuple[int, int]
    widths: Mapping[str, int]
    thumbnails: ScoredFilms

    @cached_property
    def _has_sorted_maps(self) -> bool:
        return bool((self.map_film[1:] >= self.map_film[:-1]).all())

    def maps_within(self, first: int, last: int) -> slice:
        """Heat maps among which are all those of the films from row ``first`` to ``last``: few, as every cxrscore
        writes them in the order of the films."""
        if not self._has_sorted_maps:
            return slice(0, len(self.map_film))
        start, stop = np.searchsorted(self.map_film, [first, last + 1]).tolist()
        return slice(start, stop)

    @property
    def private(self) -> bool:
        """Whether its paths are left out."""
        return self.inputs.get("anonymize_paths") is True


@dataclass(frozen=True, kw_only=True)
class Join:
    """Which row of which file each film of the joined file is.

    files    in the order in which they were finished
    source   int32 [N], index in ``files``
    row      int64 [N], row in that file
    dropped  films that a later file has, too
    """

    files: Sequence[FinishedFile]
    source: NDArray[np.int32]
    row: NDArray[np.int64]
    dropped: int

    @property
    def hides_patients(self) -> bool:
        """Whether the numbers of patients are left out: those of two files do not tell which patients are the same."""
        return sum(file.patients for file in self.files) > 1

    @property
    def inputs(self) -> dict[str, Any]:
        """The inputs of the joined file: those of its files, with the list of all films."""
        rest = {key: value for key, value in self.files[0].inputs.items() if key not in _FILMS}
        return {**rest, "films": len(self.row), "paths": paths_digest(self.paths()), "joined_files": len(self.files)}

    def paths(self) -> Iterator[str]:
        """The paths of the films, in order."""
        for start in range(0, len(self.row), BLOCK):
            block = slice(start, start + BLOCK)
            pairs = zip(self.source[block].tolist(), self.row[block].tolist(), strict=True)
            yield from decode_texts(np.array([self.files[number].paths[row] for number, row in pairs]))

    @cached_property
    def _rows_by_file(self) -> list[NDArray[np.intp]]:
        """For each file the rows of the joined file that are its."""
        order = np.argsort(self.source, kind="stable")
        return np.split(order, np.searchsorted(self.source[order], np.arange(1, len(self.files))))

    def rows_of(self, number: int) -> NDArray[np.int64]:
        """For each row of a file its row in the joined file, -1 if it is dropped."""
        found = np.full(len(self.files[number].paths), -1, np.int64)
        there = self._rows_by_file[number]
        found[self.row[there]] = there
        return found

    def failed(self, number: int) -> int:
        """Films of a file that are in the joined file without scores."""
        return int(np.count_nonzero(~self.files[number].scored[self.row[self._rows_by_file[number]]]))


def read_finished(path: Path) -> FinishedFile:
    """Reads a finished scores file. InputError if there is none, FileFormatError if it is damaged."""
    with open_guarded(path) as file:
        check_scores_file(file)
        inputs, provenance = read_json(file, "inputs"), read_json(file, "provenance")
        check_document(provenance, "scores", f"{path}: provenance", "attributes", "provenance")
        fingerprint = read_text(file, "fingerprint", longest=64)
        if fingerprint != fingerprint_of(inputs):
            raise FileFormatError(f"{path}: its fingerprint does not match its inputs")
        names = ("films/path", "films/status", "films/patient", "labels", "thresholds", "cam/film", "thumbnails/film")
        values = {name: read_dataset(file, name) for name in names}
        check_ranges(str(path), values, range(len(values["films/path"])), len(values["labels"]))
        return FinishedFile(
            path=path,
            inputs=inputs,
            fingerprint=fingerprint,
            provenance=provenance,
            paths=values["films/path"],
            scored=values["films/status"] == SCORED,
            patients=bool((values["films/patient"] >= 0).any()),
            findings=values["labels"],
            thresholds=values["thresholds"],
            map_film=values["cam/film"],
            map_shape=(file.datasets["cam/map"].shape[1], file.datasets["cam/map"].shape[2]),
            widths={one.path: file.datasets[one.path].dtype.itemsize for one in FILM_COLUMNS if one.dtype == TEXT},
            thumbnails=_with_thumbnail(file, values["thumbnails/film"]),
        )


def _with_thumbnail(file: HDF5File, rows: Array) -> ScoredFilms:
    """The scored films with a thumbnail."""
    films = np.unique(rows).astype(np.int64)
    span = range(int(films[0]), int(films[-1]) + 1) if len(films) else range(0)
    prob, truth, split = (read_rows(file, name, span) for name in ("scores/prob", "truth", "films/split"))
    found = scored_films(prob, truth, split, span.start)
    return found.take(np.flatnonzero(np.isin(found.rows, films)))


def plan_join(files: Sequence[FinishedFile], keep: Keep) -> Join:
    """The order of all films. InputError unless the files have the same inputs but for the films, and, with keep
    "error", no film in common.

    keep  what becomes of a path that is in several files: "error", or "last": the row of the file finished last stays
    """
    for one in files[1:]:
        _check_same_inputs(files[0], one)
    ordered = sorted(files, key=lambda one: (str(one.provenance.get("created", "")), one.path.name))
    names = np.concatenate([file.paths for file in ordered])
    source = np.repeat(np.arange(len(ordered), dtype=np.int32), [len(file.paths) for file in ordered])
    row = np.concatenate([np.arange(len(file.paths), dtype=np.int64) for file in ordered])
    unnamed = np.char.startswith(names, b"row ") if files[0].private else np.zeros(len(names), np.bool_)
    order = np.flatnonzero(~unnamed)
    # Now the rows of a path follow each other, in the order of the files.
    order = order[np.argsort(names[order], kind="stable")]
    again = np.flatnonzero(names[order[1:]] == names[order[:-1]])
    if keep == "error":
        _check_in_one_file(ordered, source, names, order[again], order[again + 1])
    last, first = np.ones(len(order), np.bool_), np.ones(len(order), np.bool_)
    last[again], first[again + 1] = False, False
    kept = order[last]
    if files[0].private:  # names that are digests stay in the order of the files
        kept = kept[np.argsort(order[first], kind="stable")]
    kept = np.concatenate([kept, np.flatnonzero(unnamed)])
    return Join(files=ordered, source=source[kept], row=row[kept], dropped=len(names) - len(kept))


def _check_in_one_file(
    files: Sequence[FinishedFile],
    source: NDArray[np.int32],
    names: Array,
    earlier: NDArray[np.intp],
    later: NDArray[np.intp],
) -> None:
    """InputError if films have the same name in different files; earlier, later: pairs of rows with the same name."""
    twice = np.flatnonzero(source[earlier] != source[later])
    if not len(twice):
        return
    one = twice[np.argmin(later[twice])]
    (path,) = decode_texts(names[later[one] : later[one] + 1])
    raise InputError(
        f"{files[source[earlier[one]]].path} and {files[source[later[one]]].path} both have the film {path}. Use "
        "--keep last to take the row of the file that was finished last."
    )


def _check_same_inputs(first: FinishedFile, other: FinishedFile) -> None:
    one, two = ({k: v for k, v in file.inputs.items() if k not in _FILMS} for file in (first, other))
    if changed := differences(one, two):
        raise InputError(
            f"{first.path} and {other.path} were scored with different models or options: {'; '.join(changed)}. Only "
            f"files of the same ones can be joined.{precision_hint(one, two)}"
        )
    same = np.array_equal(first.findings, other.findings)
    if not same or not np.array_equal(first.thresholds, other.thresholds, equal_nan=True):
        raise InputError(f"{first.path} and {other.path} have different findings or thresholds, so they are not joined")
    if _table(first) != _table(other):
        raise InputError(
            f"{first.path} and {other.path} have different label tables. Score without labels, and name the table with "
            "`cxrscore report --labels`."
        )


def _table(file: FinishedFile) -> Any:
    labels = file.provenance.get("labels")
    return labels.get("sha256") if isinstance(labels, Mapping) else None


def joined_header(join: Join, provenance: Mapping[str, Any]) -> FileHeader:
    """The header of the joined file."""
    inputs, first = join.inputs, join.files[0]
    maps = sum(int((join.rows_of(k)[file.map_film] >= 0).sum()) for k, file in enumerate(join.files))
    sides = {file.map_shape for file in join.files if len(file.map_film)}
    if len(sides) > 1:
        raise InputError(f"the heat maps have different sizes: {sorted(sides)}, so the files cannot be joined")
    height, width = sides.pop() if sides else (1, 1)
    widths = {path: max(file.widths[path] for file in join.files) for path in first.widths}
    if first.private:
        widths["films/path"] = max(widths["films/path"], _NAME_BYTES)
    return FileHeader(
        fingerprint=fingerprint_of(inputs),
        inputs=inputs,
        provenance=provenance,
        own={"labels": first.findings, "thresholds": first.thresholds, **_thumbnails(join)},
        lengths={
            "film": len(join.row),
            "finding": len(first.findings),
            "map": maps,
            "map_row": height,
            "map_column": width,
        },
        widths=widths,
    )


def _thumbnails(join: Join) -> dict[str, Array]:
    candidates = []
    for number, file in enumerate(join.files):
        rows = join.rows_of(number)[file.thumbnails.rows]
        found = file.thumbnails
        moved = ScoredFilms(rows=rows, prob=found.prob, truth=found.truth, seen=found.seen)
        candidates.append(moved.take(np.flatnonzero(rows >= 0)))
    every = concatenate(candidates)
    every = every.take(np.argsort(every.rows, kind="stable"))
    chosen = select_thumbnails(every, len(join.row), MOST_THUMBNAILS)
    pixels: dict[int, Array] = {}
    for number, file in enumerate(join.files):
        with _opened(file) as opened:
            own = join.rows_of(number)[read_dataset(opened, "thumbnails/film")]
            wanted = np.flatnonzero(np.isin(own, chosen))
            shape = opened.datasets["thumbnails/pixels"].shape[1:]
            small = read_dataset(opened, "thumbnails/pixels")
        pixels |= {int(own[k]): small[k] for k in wanted}
    if len({one.shape for one in pixels.values()}) > 1:
        raise InputError("the thumbnails of the files have different sizes, so the files cannot be joined")
    there = [row for row in chosen if row in pixels]
    stacked = np.stack([pixels[row] for row in there]) if there else np.zeros((0, *shape), np.uint8)
    return {"thumbnails/film": np.array(there, np.int32), "thumbnails/pixels": stacked}


def joined_blocks(join: Join) -> Iterator[RowBlock]:
    """All rows of the joined file. FileFormatError for a file that is damaged, or was replaced in between."""
    maps = 0
    for start in range(0, len(join.row), BLOCK):
        block = slice(start, min(start + BLOCK, len(join.row)))
        films, found = _gathered(join, block)
        if join.hides_patients:
            films["films/patient"][:] = -1
        if join.files[0].private:
            films["films/path"] = _renamed(films["films/path"], start)
        yield RowBlock(values=films, places=dict.fromkeys(films, block))
        if len(found["cam/film"]):
            after = maps + len(found["cam/film"])
            yield RowBlock(values=found, places=dict.fromkeys(found, slice(maps, after)))
            maps = after


def _renamed(names: Array, first: int) -> Array:
    """The names of anonymized films, with the rows of the joined file for those that have no other name."""
    return np.array(
        [b"row %d" % row if one.startswith(b"row ") else one for row, one in enumerate(names.tolist(), first)]
    )


def _gathered(join: Join, block: slice) -> tuple[dict[str, Array], dict[str, Array]]:
    """The columns of the films of a block, and those of their heat maps, in the order of the films."""
    source, row = join.source[block], join.row[block]
    parts: list[tuple[Array, dict[str, Array]]] = []
    maps: list[dict[str, Array]] = []
    for number in np.unique(source).tolist():
        places = np.flatnonzero(source == number)
        with _opened(join.files[number]) as file:
            parts.append((places, _film_rows(file, row[places])))
            maps.append(_map_rows(file, join.files[number], row[places], places + block.start))
    order = np.argsort(np.concatenate([places for places, _ in parts]), kind="stable")
    films = {path: np.concatenate([own[path] for _, own in parts])[order] for path in parts[0][1]}
    found = {
        path: np.concatenate([own[path] for own in maps if len(own["cam/film"])] or [maps[0][path]]) for path in maps[0]
    }
    order = np.argsort(found["cam/film"], kind="stable")
    return films, {path: values[order] for path, values in found.items()}


def _film_rows(file: HDF5File, rows: Array) -> dict[str, Array]:
    span = range(int(rows.min()), int(rows.max()) + 1)
    there = [column.path for column in FILM_COLUMNS if column.path in file.datasets]
    values = with_missing_columns({path: read_rows(file, path, span) for path in there})
    check_ranges(file.name, values, span, 0)
    return {path: own[rows - span.start] for path, own in values.items()}


def _map_rows(file: HDF5File, known: FinishedFile, rows: Array, targets: Array) -> dict[str, Array]:
    """The heat maps of these rows, whose rows in the joined file are ``targets``."""
    near = known.maps_within(int(rows.min()), int(rows.max()))
    there = np.flatnonzero(np.isin(known.map_film[near], rows)) + near.start
    span = range(int(there[0]), int(there[-1]) + 1) if len(there) else range(0)
    values = {column.path: read_rows(file, column.path, span) for column in MAP_COLUMNS}
    check_ranges(file.name, values, range(len(known.paths)), len(known.findings))
    own = {path: column[there - span.start] for path, column in values.items()}
    order = np.argsort(rows)
    own["cam/film"] = targets[order][np.searchsorted(rows[order], own["cam/film"])].astype(np.int32)
    return own


@contextmanager
def _opened(known: FinishedFile) -> Iterator[HDF5File]:
    """The open file, which must still be the one that was read before."""
    with open_guarded(known.path) as file:
        check_scores_file(file)
        if read_text(file, "fingerprint", longest=64) != known.fingerprint:
            raise FileFormatError(f"{known.path} was replaced while it was joined: merge again")
        yield file
