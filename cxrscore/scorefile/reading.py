"""Reads scores files and shards as untrusted input: only the declared datasets, lengths and ranges are accepted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array
from cxrscore.errors import FileFormatError
from cxrscore.io.hdf5.reader import (
    MAX_DECLARED_BYTES,
    Dataset,
    HDF5File,
    open_guarded,
    read_attribute,
    read_dataset,
    read_number,
    read_rows,
    read_text,
)
from cxrscore.io.strict_json import parse_json
from cxrscore.remote import Location, as_local_path
from cxrscore.scorefile.checks import check_ranges
from cxrscore.scorefile.columns import decode_texts
from cxrscore.scorefile.data import FilmRows, HeatMaps, Scores, Thumbnails
from cxrscore.scorefile.layout import FORMAT, LAYOUT, LAYOUTS, SCORED, TEXT, VERSIONS, Column

BLOCK = 1 << 15
"""Rows that are read at a time where not all are needed together."""


def open_scores(path: Location, *, cap: int = MAX_DECLARED_BYTES) -> Scores:
    """Reads a scores file into memory.

    Parameters
    ----------
    path : path or URL
        The scores file.
    cap : int
        Maximum number of bytes that its datasets may declare in total.

    Returns
    -------
    Scores

    Raises
    ------
    InputError
        If there is no file.
    FileFormatError
        If the file is damaged, unfinished, unsafe, of another version, or contains what a scores file does not. The
        error names the file and the fault.

    Examples
    --------
    >>> scores = cxrscore.open_scores("out.h5")  # doctest: +SKIP
    >>> scores.prob.shape, scores.findings  # doctest: +SKIP
    ((440, 14), ('Atelectasis', 'Cardiomegaly', ...))
    """
    with as_local_path(path) as own, open_guarded(own, cap=cap) as file:
        layout = check_scores_file(file)
        provenance = read_json(file, "provenance")
        values = with_missing_columns({column.path: read_dataset(file, column.path) for column in layout})
    films, findings = values["scores/logit"].shape
    check_ranges(str(path), values, range(films), findings)
    return _scores(values, provenance)


def read_without_images(path: Path) -> Scores:
    """Reads a scores file without its heat maps and thumbnails, which are most of its bytes; errors as open_scores."""
    with open_guarded(path) as file:
        layout = check_scores_file(file)
        provenance = read_json(file, "provenance")
        values = {column.path: read_dataset(file, column.path) for column in layout if not _is_image(column.path)}
    films, findings = values["scores/logit"].shape
    check_ranges(str(path), values, range(films), findings)
    images = {
        column.path: np.empty((0,) * len(column.axes), column.dtype) for column in LAYOUT if _is_image(column.path)
    }
    return _scores(with_missing_columns({**images, **values}), provenance)


def _is_image(path: str) -> bool:
    return path.startswith(("cam/", "thumbnails/"))


def read_findings(path: Path) -> tuple[str, ...]:
    """The findings of a scores file; errors as open_scores."""
    with open_guarded(path) as file:
        check_scores_file(file)
        return decode_texts(read_dataset(file, "labels"))


def read_films(path: Path) -> FilmRows:
    """The films of a scores file, without their scores and heat maps; errors as open_scores."""
    with open_guarded(path) as file:
        check_scores_file(file)
        own = [column.path for column in LAYOUT if column.path.startswith("films/")]
        values = {name: read_dataset(file, name) for name in own}
    check_ranges(str(path), values, range(len(values["films/path"])), 0)
    return _films(values)


def read_digests(path: Path) -> Array:
    """The SHA-256 of the films of a scores file, hex, as bytes [N]; b"" for a film that could not be read. Errors as
    open_scores."""
    with open_guarded(path) as file:
        check_scores_file(file)
        digests = read_dataset(file, "films/sha256")
    check_ranges(str(path), {"films/sha256": digests}, range(len(digests)), 0)
    return digests


def read_notes(path: Path) -> tuple[NDArray[np.uint8], list[tuple[int, str, str]]]:
    """The status of each film of a scores file, [N], and row, path and message of those without scores or with a
    message, which are few; errors as open_scores."""
    with open_guarded(path) as file:
        check_scores_file(file)
        status = read_dataset(file, "films/status")
        check_ranges(str(path), {"films/status": status}, range(len(status)), 0)
        noted: list[tuple[int, str, str]] = []
        for start in range(0, len(status), BLOCK):
            rows = range(start, min(start + BLOCK, len(status)))
            messages = read_rows(file, "films/message", rows)
            chosen = np.flatnonzero((status[rows.start : rows.stop] != SCORED) | (messages != b""))
            if not len(chosen):
                continue
            values = {"films/path": read_rows(file, "films/path", rows), "films/message": messages}
            check_ranges(str(path), values, rows, 0)
            texts = (decode_texts(values[name][chosen]) for name in ("films/path", "films/message"))
            noted += zip((chosen + start).tolist(), *texts, strict=True)
    return status, noted


def read_label_columns(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """The datasets truth and films/patient of a scores file, by path, and its provenance; errors as open_scores."""
    with open_guarded(path) as file:
        check_scores_file(file)
        provenance = read_json(file, "provenance")
        values = {name: read_dataset(file, name) for name in ("truth", "films/patient")}
    check_ranges(str(path), values, range(len(values["truth"])), 0)
    return values, provenance


def read_provenance(path: Path) -> dict[str, Any]:
    """The provenance of a scores file; errors as open_scores."""
    with open_guarded(path) as file:
        check_format(file, FORMAT)
        return read_json(file, "provenance")


def check_content(path: Path, *, rows: int = BLOCK) -> None:
    """Reads every value of a scores file, some rows at a time, and compares checksums and ranges; errors as
    open_scores."""
    with open_guarded(path) as file:
        layout = check_scores_file(file)
        films, findings = file.datasets["scores/logit"].shape
        for column in layout:
            length = file.datasets[column.path].shape[0]
            for start in range(0, length, rows):
                values = {column.path: read_rows(file, column.path, range(start, min(start + rows, length)))}
                check_ranges(str(path), values, range(films), findings)


@dataclass(frozen=True, kw_only=True)
class FileProvenance:
    """The inputs that a scores file declares, and their digest."""

    fingerprint: str
    inputs: dict[str, Any]


def read_file_provenance(path: Path) -> FileProvenance:
    """The provenance of a finished scores file; errors as open_scores."""
    with open_guarded(path) as file:
        check_format(file, FORMAT)
        return FileProvenance(fingerprint=read_text(file, "fingerprint", longest=64), inputs=read_json(file, "inputs"))


def check_scores_file(file: HDF5File) -> tuple[Column, ...]:
    """The datasets of a scores file, which depend on its version; FileFormatError unless it is a finished scores file
    with exactly these."""
    layout = LAYOUTS[check_format(file, FORMAT)]
    check_columns(file, layout)
    return layout


def with_missing_columns(values: Mapping[str, Array]) -> dict[str, Array]:
    """The columns that are given, with NaN [N,C] for those of films and findings that an older version lacks."""
    shape = values["scores/logit"].shape
    newer = [column for column in LAYOUT if column.since > 1 and column.path not in values]
    return {**values, **{column.path: np.full(shape, np.nan, column.dtype) for column in newer}}


def check_format(file: HDF5File, wanted: str, versions: Sequence[int] = VERSIONS) -> int:
    """The version of the file; FileFormatError unless the root says that it is finished, of the wanted format and of
    one of these versions."""
    name, known = file.name, file.groups[""].attributes
    if "format" not in known or read_text(file, "format", longest=100) != wanted:
        raise FileFormatError(f"{name} is not of format {wanted}. Scores files are written by `cxrscore score`.")
    version = read_number(file, "version")
    if version not in versions:
        raise FileFormatError(
            f"{name} is of version {version}, this cxrscore reads {' and '.join(map(str, versions))}. Use the one that "
            "wrote it, or score again."
        )
    complete = "complete" in known and read_attribute(file, "complete", longest=1)
    if not (isinstance(complete, np.bool_) and complete):
        raise FileFormatError(
            f"{name} is incomplete: writing was interrupted. Remove it and run `cxrscore score` again."
        )
    return version


def read_json(file: HDF5File, name: str) -> dict[str, Any]:
    """A JSON object in a text attribute of the root."""
    try:
        value = parse_json(read_text(file, name))
    except ValueError as error:
        raise FileFormatError(f"{file.name}: attribute {name} is not JSON that can be used: {error}") from error
    if not isinstance(value, dict):
        raise FileFormatError(f"{file.name}: attribute {name} is not a JSON object")
    return value


def check_columns(file: HDF5File, layout: Sequence[Column]) -> None:
    """FileFormatError unless the file has exactly the datasets of a layout, with its types and consistent lengths."""
    found, wanted = {*file.groups, *file.datasets}, _paths(layout)
    if found != wanted:
        words = {"holds unknown": sorted(found - wanted), "lacks": sorted(wanted - found)}
        message = " and ".join(f"{word} {', '.join(paths)}" for word, paths in words.items() if paths)
        raise FileFormatError(f"{file.name} {message}")
    lengths: dict[str, tuple[int, str]] = {}
    for column in layout:
        dataset = _of_type(file, column)
        for axis, length in zip(column.axes, dataset.shape, strict=True):
            known, where = lengths.setdefault(axis, (length, column.path))
            if length != known:
                raise FileFormatError(
                    f"{file.name}: {column.path} has length {length} along {axis}, but {where} has {known}"
                )
    films, _ = lengths["film"]
    if films > file.source.size:  # each film has a path or a digest, and takes far more memory than one byte
        raise FileFormatError(f"{file.name} declares {films} films in {file.source.size} bytes")
    _check_sides(file)


def _check_sides(file: HDF5File) -> None:
    """FileFormatError for heat maps without pixels, and thumbnails that are not square or have no pixels. Without heat
    maps or thumbnails their sides are not checked."""
    for path, square in (("cam/map", False), ("thumbnails/pixels", True)):
        if path not in file.datasets:
            continue
        number, height, width = file.datasets[path].shape
        if number and (not height or not width or (square and height != width)):
            raise FileFormatError(
                f"{file.name}: {path} is {height} x {width}, expected {'equal ' if square else ''}sides of at least 1"
            )


def _paths(layout: Sequence[Column]) -> set[str]:
    """Names of the datasets and of the groups above them, including the root."""
    datasets = {column.path for column in layout}
    return datasets | {path.rpartition("/")[0] for path in datasets} | {""}


def _of_type(file: HDF5File, column: Column) -> Dataset:
    """A dataset of a file that has all paths of the layout; FileFormatError unless it matches its column."""
    if column.path not in file.datasets:
        raise FileFormatError(f"{file.name}: {column.path} is not a dataset")
    dataset = file.datasets[column.path]
    same = dataset.dtype.kind == "S" if column.dtype == TEXT else dataset.dtype == np.dtype(column.dtype)
    if not same or len(dataset.shape) != len(column.axes):
        raise FileFormatError(
            f"{file.name}: {column.path} is {dataset.dtype} of {len(dataset.shape)} dimensions, expected "
            f"{'text' if column.dtype == TEXT else np.dtype(column.dtype)} of {len(column.axes)}"
        )
    return dataset


def _scores(values: Mapping[str, Array], provenance: Mapping[str, Any]) -> Scores:
    return Scores(
        findings=decode_texts(values["labels"]),
        films=_films(values),
        logit=values["scores/logit"],
        prob=values["scores/prob"],
        prob_uncalibrated=values["scores/prob_uncalibrated"],
        truth=values["truth"],
        thresholds=values["thresholds"],
        heat_maps=heat_maps(values),
        thumbnails=Thumbnails(film=values["thumbnails/film"], pixels=values["thumbnails/pixels"]),
        provenance=provenance,
    )


def heat_maps(values: Mapping[str, Array]) -> HeatMaps:
    """The columns below cam/."""
    return HeatMaps(map=values["cam/map"], film=values["cam/film"], finding=values["cam/finding"])


def _films(values: Mapping[str, Array]) -> FilmRows:
    return FilmRows(
        path=decode_texts(values["films/path"]),
        sha256=decode_texts(values["films/sha256"]),
        status=values["films/status"],
        message=decode_texts(values["films/message"]),
        kind=decode_texts(values["films/kind"]),
        modality=decode_texts(values["films/modality"]),
        view=decode_texts(values["films/view"]),
        width=values["films/width"],
        height=values["films/height"],
        split=values["films/split"],
        patient=values["films/patient"],
    )
