"""A scores file that stays open: the columns that lists sort and filter by are in memory, all else is read by row."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array, Floats
from cxrscore.errors import FileFormatError
from cxrscore.io.hdf5.reader import HDF5File, open_guarded, read_dataset, read_rows, read_text
from cxrscore.scorefile.checks import check_ranges
from cxrscore.scorefile.columns import decode_texts
from cxrscore.scorefile.reading import check_scores_file, read_json

BLOCK = 4096
"""Rows that are read at a time: those of a chunk of a scores file."""
MAX_IN_MEMORY = 2 << 30
"""Bytes that the columns in memory may declare together: those of some million films."""
_KEPT = (
    *("labels", "thresholds", "scores/prob", "truth", "films/status", "films/split", "films/patient"),
    *("films/width", "films/height", "cam/film", "cam/finding", "thumbnails/film"),
)
_CODED = ("films/kind", "films/modality", "films/view")


class TextColumn:
    """N texts as one block of bytes: a text column of HDF5 gives each row the length of the longest."""

    def __init__(self, blocks: Iterator[Array]) -> None:
        pieces: list[bytes] = []
        lengths = [np.zeros(1, np.int64)]
        for block in blocks:
            texts = block.tolist()
            pieces.append(b"".join(texts))
            lengths.append(np.fromiter(map(len, texts), np.int64, len(texts)))
        self._bytes = b"".join(pieces)
        self._ends = np.cumsum(np.concatenate(lengths))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, row: int) -> str:
        return self._bytes[self._ends[row] : self._ends[row + 1]].decode("utf-8", "surrogateescape")

    def __iter__(self) -> Iterator[str]:
        return (self[row] for row in range(len(self)))

    def containing(self, text: str) -> NDArray[np.bool_]:
        """Which texts contain this one, bool [N]; upper and lower case of ASCII letters are the same."""
        wanted, found = text.encode("utf-8", "surrogateescape").lower(), np.zeros(len(self), np.bool_)
        if not wanted:
            return ~found
        lower, at = self._bytes.lower(), 0
        while (at := lower.find(wanted, at)) >= 0:
            row = int(np.searchsorted(self._ends, at, side="right")) - 1
            end = int(self._ends[row + 1])
            if at + len(wanted) <= end:  # else it begins in one text and ends in the next
                found[row] = True
                at = end
            else:
                at += 1
        return found


class ScoresByRow:
    """The rows of an open scores file of N films and C findings; safe to use from several threads.

    Attributes
    ----------
    findings : tuple of str
        The C findings.
    provenance : dict
        As Scores.provenance.
    fingerprint : str
        Digest of the inputs of the run, hex.
    prob, truth : float32 [N,C]
        As in Scores.
    thresholds : float32 [C]
        NaN where the model has none.
    status, split : uint8 [N]
        Codes of Status, and indexes into SPLITS.
    patient : int32 [N]
        -1 if unknown.
    width, height : uint32 [N]
        Of the stored film, pixels; 0 if unknown.
    path : TextColumn
        Paths of the films.
    words : dict of str to tuple of str
        The different values of "kind", "modality" and "view", sorted.
    codes : dict of str to int32 [N]
        Indexes into ``words``.
    """

    def __init__(self, file: HDF5File) -> None:
        check_scores_file(file)
        self._file = file
        films, findings = file.datasets["scores/logit"].shape
        _check_memory(file)
        values = {name: read_dataset(file, name) for name in _KEPT}
        check_ranges(file.name, values, range(films), findings)
        self.provenance: dict[str, Any] = read_json(file, "provenance")
        self.fingerprint = read_text(file, "fingerprint", longest=64)
        self.findings = decode_texts(values["labels"])
        self.prob: Floats = values["scores/prob"]
        self.truth: Floats = values["truth"]
        self.thresholds: Floats = values["thresholds"]
        self.status, self.split, self.patient = (values[f"films/{name}"] for name in ("status", "split", "patient"))
        self.width, self.height = values["films/width"], values["films/height"]
        self.path = TextColumn(self._blocks("films/path"))
        self.words: dict[str, tuple[str, ...]] = {}
        self.codes: dict[str, NDArray[np.int32]] = {}
        for name in _CODED:
            self._encode(name)
        self._map_order = _stable_order(values["cam/film"])
        self._map_film, self._map_finding = values["cam/film"][self._map_order], values["cam/finding"]
        self._thumbnail_order = _stable_order(values["thumbnails/film"])
        self._thumbnail_film = values["thumbnails/film"][self._thumbnail_order]
        self._scale: Floats | None = None
        self._scaling = threading.Lock()
        self._stopped = False

    def __len__(self) -> int:
        return len(self.status)

    def message(self, row: int) -> str:
        """Why a film was not scored, or a note on how it was read."""
        return self._text("films/message", row)

    def sha256(self, row: int) -> str:
        """Digest of the film's bytes in hex; "" if it could not be read."""
        return self._text("films/sha256", row)

    def logits(self) -> Floats:
        """The outputs of the network for all films, float32 [N,C]; NaN for films without scores."""
        logits: Floats = read_dataset(self._file, "scores/logit")
        return logits

    def digests(self) -> Array:
        """The digests of all films, S64 [N]."""
        return read_dataset(self._file, "films/sha256")

    def mapped_findings(self, row: int) -> tuple[int, ...]:
        """Columns of the findings that have a heat map of this film."""
        return tuple(sorted(int(self._map_finding[place]) for place in self._maps_of(row)))

    def heat_map(self, row: int, finding: int) -> Floats | None:
        """The heat map float32 [h,w] of a film and a finding; None if the file has none."""
        for place in self._maps_of(row):
            if self._map_finding[place] == finding:
                return np.asarray(read_rows(self._file, "cam/map", range(place, place + 1))[0], np.float32)
        return None

    def has_thumbnail(self, row: int) -> bool:
        """Whether the file has a thumbnail of this film."""
        return self._thumbnail_of(row) is not None

    def thumbnail(self, row: int) -> NDArray[np.uint8] | None:
        """The thumbnail uint8 [side,side] of a film; None if the file has none."""
        place = self._thumbnail_of(row)
        if place is None:
            return None
        pixels: NDArray[np.uint8] = read_rows(self._file, "thumbnails/pixels", range(place, place + 1))[0]
        return pixels

    def map_scale(self) -> Floats:
        """The largest value of the maps of each finding, float32 [C]; 0 where no map has a positive one.

        All maps are read when it is first called, some at a time. A map with a value that is not finite counts as 0.
        """
        with self._scaling:
            if self._scale is None:
                self._scale = self._largest_values()
            return self._scale

    def stop(self) -> None:
        """End map_scale if another thread runs it, before the file is closed."""
        self._stopped = True
        with self._scaling:
            pass

    def _largest_values(self) -> Floats:
        found = np.zeros(len(self.findings), np.float32)
        for rows, block in self._numbered_blocks("cam/map"):
            if self._stopped:
                raise FileFormatError(f"{self._file.name} was closed while it was read")
            flat = block.reshape(len(block), -1).astype(np.float32)
            peaks = np.where(np.isfinite(flat).all(axis=1), flat.max(axis=1), 0) if flat.size else np.zeros(len(flat))
            np.maximum.at(found, self._map_finding[rows.start : rows.stop], peaks.astype(np.float32))
        return found

    def _maps_of(self, row: int) -> list[int]:
        start, stop = np.searchsorted(self._map_film, [row, row + 1])
        return [int(place) for place in self._map_order[start:stop]]

    def _thumbnail_of(self, row: int) -> int | None:
        at = int(np.searchsorted(self._thumbnail_film, row))
        there = at < len(self._thumbnail_film) and self._thumbnail_film[at] == row
        return int(self._thumbnail_order[at]) if there else None

    def _text(self, name: str, row: int) -> str:
        block = read_rows(self._file, name, range(row, row + 1))
        check_ranges(self._file.name, {name: block}, range(len(self)), len(self.findings))
        return decode_texts(block)[0]

    def _encode(self, name: str) -> None:
        """Replaces a column of few different words by indexes."""
        word_of: dict[bytes, int] = {}
        found = [np.zeros(0, np.int32)]
        for block in self._blocks(name):
            codes = (word_of.setdefault(text, len(word_of)) for text in block.tolist())
            found.append(np.fromiter(codes, np.int32, len(block)))
        order = sorted(word_of)
        new = np.zeros(max(len(order), 1), np.int32)
        for place, word in enumerate(order):
            new[word_of[word]] = place
        short = name.rpartition("/")[2]
        self.words[short] = decode_texts(np.array(order, "S") if order else np.array([], "S1"))
        self.codes[short] = new[np.concatenate(found)]

    def _blocks(self, name: str) -> Iterator[Array]:
        return (block for _, block in self._numbered_blocks(name))

    def _numbered_blocks(self, name: str) -> Iterator[tuple[range, Array]]:
        length = self._file.datasets[name].shape[0]
        for start in range(0, length, BLOCK):
            rows = range(start, min(start + BLOCK, length))
            yield rows, read_rows(self._file, name, rows)


@contextmanager
def open_by_row(path: Path) -> Iterator[ScoresByRow]:
    """Opens a scores file to read its films one by one. It is opened for reading only, and stays open within the block.

    Parameters
    ----------
    path : Path
        The scores file.

    Yields
    ------
    ScoresByRow

    Raises
    ------
    InputError
        If there is no file.
    FileFormatError
        As open_scores; also while the block runs, for rows that are damaged.
    """
    with open_guarded(path) as file:
        rows = ScoresByRow(file)
        try:
            yield rows
        finally:
            rows.stop()


def _check_memory(file: HDF5File) -> None:
    """FileFormatError for a file whose columns do not fit into memory."""
    declared = sum(file.datasets[name].declared for name in (*_KEPT, *_CODED))
    if declared > MAX_IN_MEMORY:
        raise FileFormatError(f"{file.name} has too many films to look at: {declared} bytes, at most {MAX_IN_MEMORY}")


def _stable_order(values: Array) -> NDArray[np.intp]:
    """Indexes that sort; of a column that is sorted, as scores files have it, all in their order."""
    return np.argsort(values, kind="stable")
