"""Checks of the values of columns, for a run that writes and for a file that is read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from cxrscore.contract import Array
from cxrscore.errors import FileFormatError, InputError
from cxrscore.scorefile.data import SPLITS
from cxrscore.scorefile.layout import STATUS_CODES, TEXT, Column

_SHA256 = re.compile(rb"[0-9a-f]{64}|")


def check_fit(what: str, values: Mapping[str, Array], layout: Sequence[Column], lengths: Mapping[str, int]) -> None:
    """InputError unless every column of a layout has its dtype, and its axes have the given lengths.

    what  name of the data in the error
    """
    for column in layout:
        array = values[column.path]
        wanted = [lengths.get(axis, "any") for axis in column.axes]
        fits = array.ndim == len(wanted) and all(b in ("any", a) for a, b in zip(array.shape, wanted, strict=True))
        if not fits:
            raise InputError(f"{what} has {column.path} of shape {list(array.shape)}, expected {wanted}")
        if column.dtype != TEXT and array.dtype != np.dtype(column.dtype):
            raise InputError(f"{what} has {column.path} of {array.dtype}, expected {np.dtype(column.dtype)}")


def check_ranges(what: str, values: Mapping[str, Array], films: range, findings: int) -> None:
    """FileFormatError unless the existing columns hold valid values.

    films     the rows that heat maps and thumbnails may refer to
    findings  C
    """
    limits = {
        "films/status": (0, STATUS_CODES - 1),
        "films/split": (0, len(SPLITS) - 1),
        "films/patient": (-1, np.iinfo(np.int32).max),
        "scores/prob": (0, 1),
        "scores/prob_uncalibrated": (0, 1),
        "truth": (0, 1),
        "thresholds": (0, 1),
        "cam/film": (films.start, films.stop - 1),
        "cam/finding": (0, findings - 1),
        "thumbnails/film": (films.start, films.stop - 1),
    }
    for name in limits.keys() & values.keys():
        low, high = limits[name]
        # NaN compares false, so it passes every range check.
        if np.any((values[name] < low) | (values[name] > high)):
            raise FileFormatError(f"{what}: {name} has values outside {low}..{high}")
    _check_texts(what, values)


def _check_texts(what: str, values: Mapping[str, Array]) -> None:
    if "labels" in values:
        labels = values["labels"].tolist()
        if not labels or b"" in labels or len(set(labels)) != len(labels):
            raise FileFormatError(f"{what}: labels must be at least one, none empty, all different")
        if not all(map(_is_text, labels)):
            raise FileFormatError(f"{what}: labels has names that are not UTF-8")
    if "films/sha256" in values and not all(map(_SHA256.fullmatch, values["films/sha256"].tolist())):
        raise FileFormatError(f"{what}: films/sha256 has values that are not SHA-256 digests")


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
