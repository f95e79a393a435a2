"""A shard: the rows of some films in a separate file, which is written atomically."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array, Floats
from cxrscore.errors import FileFormatError, InputError
from cxrscore.io.hdf5.reader import HDF5File, open_guarded, read_dataset, read_number, read_text
from cxrscore.scorefile.checks import check_fit, check_ranges
from cxrscore.scorefile.columns import LIBVER, decode_texts, encode_texts, write_column, write_text
from cxrscore.scorefile.data import HeatMaps, Scores
from cxrscore.scorefile.layout import MESSAGE, SHARD_FORMAT, SHARD_LAYOUT, TEXT, VERSION, Column
from cxrscore.scorefile.reading import check_columns, check_format, heat_maps


@dataclass(frozen=True, kw_only=True)
class Shard:
    """The results of n films, in the order of the manifest.

    logit      float32 [n,C], NaN for films that were not scored
    prob       float32 [n,C] in 0..1, NaN likewise; prob_uncalibrated: the same without calibration
    status     uint8 [n], codes of cxrscore.images.Status
    message    n texts: why a film was not scored, or a note; their first 200 characters are stored
    kind       n texts: "png", "jpeg", "dicom", ""
    modality   n DICOM modalities, "" for other films
    view       n DICOM view positions, likewise
    sha256     n hex digests of the films' bytes, "" if unreadable
    width      uint32 [n], pixels of the film as stored, 0 if unknown
    height     uint32 [n]
    heat_maps  of these films, where film is the row within the complete run
    """

    logit: Floats
    prob: Floats
    prob_uncalibrated: Floats
    status: NDArray[np.uint8]
    message: Sequence[str]
    kind: Sequence[str]
    modality: Sequence[str]
    view: Sequence[str]
    sha256: Sequence[str]
    width: NDArray[np.uint32]
    height: NDArray[np.uint32]
    heat_maps: HeatMaps


def shard_of(scores: Scores, rows: range) -> Shard:
    """The shard that corresponds to these rows of a scores file."""
    films, maps, own = scores.films, scores.heat_maps, slice(rows.start, rows.stop)
    chosen = (maps.film >= rows.start) & (maps.film < rows.stop)
    return Shard(
        logit=scores.logit[own],
        prob=scores.prob[own].astype(np.float32, copy=False),
        prob_uncalibrated=scores.prob_uncalibrated[own],
        status=films.status[own],
        message=films.message[own],
        kind=films.kind[own],
        modality=films.modality[own],
        view=films.view[own],
        sha256=films.sha256[own],
        width=films.width[own],
        height=films.height[own],
        heat_maps=HeatMaps(map=maps.map[chosen], film=maps.film[chosen], finding=maps.finding[chosen]),
    )


def shard_bytes(shard: Shard, fingerprint: str, rows: range, findings: int) -> bytes:
    """A shard as an HDF5 file, built in memory. InputError if it does not fit its rows [n] or the C findings."""
    import h5py

    columns = _columns(shard)
    what = f"the shard of films {rows.start} to {rows.stop}"
    check_fit(what, columns, SHARD_LAYOUT, {"film": len(rows), "finding": findings, "map": len(columns["cam/film"])})
    check_ranges(what, columns, rows, findings)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=LIBVER) as file:
        for column in SHARD_LAYOUT:
            write_column(file, column, columns[column.path])
        write_text(file, "format", SHARD_FORMAT)
        write_text(file, "fingerprint", fingerprint)
        file.attrs.update({"version": VERSION, "first_row": rows.start, "complete": True})
    return buffer.getvalue()


@dataclass(frozen=True, kw_only=True)
class ShardHeader:
    """The properties of a shard that do not require reading its values.

    widths     width of each text column in bytes, by path
    map_shape  [m,h,w] of its heat maps
    """

    widths: Mapping[str, int]
    map_shape: tuple[int, int, int]


def read_shard_header(path: Path, fingerprint: str, rows: range) -> ShardHeader | None:
    """The header of a completed shard; None if it is missing, truncated, or of another run."""
    try:
        with open_guarded(path) as file:
            _check(file, fingerprint, rows)
            found = file.datasets
            widths = {column.path: found[column.path].dtype.itemsize for column in SHARD_LAYOUT if column.dtype == TEXT}
            maps, height, width = found["cam/map"].shape
            return ShardHeader(widths=widths, map_shape=(maps, height, width))
    except InputError:
        return None


def read_values(path: Path, fingerprint: str, rows: range, layout: Sequence[Column] = SHARD_LAYOUT) -> dict[str, Array]:
    """The columns of a shard that are in ``layout``, by path; InputError if there is no file, FileFormatError if it is
    damaged or of other rows."""
    with open_guarded(path) as file:
        _check(file, fingerprint, rows)
        values = {column.path: read_dataset(file, column.path) for column in layout}
        findings = file.datasets["scores/logit"].shape[1]
    check_ranges(str(path), values, rows, findings)
    return values


def read_shard(path: Path, fingerprint: str, rows: range) -> Shard:
    """The inverse of shard_bytes; errors as read_values."""
    values = read_values(path, fingerprint, rows)
    return Shard(
        logit=values["scores/logit"],
        prob=values["scores/prob"],
        prob_uncalibrated=values["scores/prob_uncalibrated"],
        status=values["films/status"],
        message=decode_texts(values["films/message"]),
        kind=decode_texts(values["films/kind"]),
        modality=decode_texts(values["films/modality"]),
        view=decode_texts(values["films/view"]),
        sha256=decode_texts(values["films/sha256"]),
        width=values["films/width"],
        height=values["films/height"],
        heat_maps=heat_maps(values),
    )


def _check(file: HDF5File, fingerprint: str, rows: range) -> None:
    """FileFormatError unless the file is the shard of these rows of the run with this fingerprint."""
    check_format(file, SHARD_FORMAT, (VERSION,))
    check_columns(file, SHARD_LAYOUT)
    met = (
        read_text(file, "fingerprint", longest=64),
        read_number(file, "first_row"),
        file.datasets["films/status"].shape,
    )
    if met != (fingerprint, rows.start, (len(rows),)):
        raise FileFormatError(f"{file.name} is not the shard of films {rows.start} to {rows.stop} of this run")


def _columns(shard: Shard) -> dict[str, Array]:
    maps = shard.heat_maps
    return {
        "films/sha256": encode_texts(shard.sha256),
        "films/status": shard.status,
        "films/message": encode_texts([text[:MESSAGE] for text in shard.message]),
        "films/kind": encode_texts(shard.kind),
        "films/modality": encode_texts(shard.modality),
        "films/view": encode_texts(shard.view),
        "films/width": shard.width,
        "films/height": shard.height,
        "scores/logit": shard.logit,
        "scores/prob": shard.prob,
        "scores/prob_uncalibrated": shard.prob_uncalibrated,
        "cam/map": maps.map,
        "cam/film": maps.film,
        "cam/finding": maps.finding,
    }
