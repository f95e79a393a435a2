"""Scores as Parquet, for pandas, Polars, DuckDB, R and Spark."""

from __future__ import annotations

import importlib
import io
import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np

from cxrscore.errors import InputError
from cxrscore.export.codes import finding_code
from cxrscore.export.json_file import described_findings
from cxrscore.io.strict_json import strict_json
from cxrscore.models.calibration import describe_probabilities
from cxrscore.scorefile import Scores
from cxrscore.scorefile.data import Column, film_columns

INSTALL = 'pip install "cxrscore[parquet]"'
KEY = b"cxrscore"
"""Metadata key of findings and provenance, as JSON."""


def parquet_bytes(scores: Scores) -> bytes:
    """The table with every column; a film that was not scored has nulls. InputError where pyarrow is missing."""
    pyarrow, parquet = _module("pyarrow"), _module("pyarrow.parquet")
    columns = film_columns(scores, every=True)
    metadata = {
        "probabilities": describe_probabilities(scores.provenance),
        "findings": described_findings(scores),
        "provenance": strict_json(dict(scores.provenance), "the provenance of the scores"),
    }
    table = pyarrow.table(
        [_array(pyarrow, column) for column in columns],
        schema=pyarrow.schema(
            [_field(pyarrow, column) for column in columns], metadata={KEY: json.dumps(metadata).encode()}
        ),
    )
    file = io.BytesIO()
    parquet.write_table(table, file, compression="zstd")
    return file.getvalue()


def is_own_parquet(path: Path) -> bool:
    """Whether a file is a table of ours: its metadata, at its end, has our key."""
    with path.open("rb") as file:
        if file.read(4) != b"PAR1":
            return False
        file.seek(-8, os.SEEK_END)
        (length,) = struct.unpack("<I", file.read(4))
        file.seek(-8 - min(length, file.seek(0, os.SEEK_END) - 8), os.SEEK_END)
        return b"cxrscore" in file.read(length)


def _array(pyarrow: Any, column: Column) -> Any:
    if isinstance(column.values, np.ndarray):
        return pyarrow.array(column.values, from_pandas=True)  # which makes NaN null
    return pyarrow.array(list(column.values), type=pyarrow.string())


def _field(pyarrow: Any, column: Column) -> Any:
    texts = not isinstance(column.values, np.ndarray)
    kind = pyarrow.string() if texts else pyarrow.from_numpy_dtype(column.values.dtype)  # type: ignore[union-attr]
    code = finding_code(column.finding).as_dict() if column.finding else None
    return pyarrow.field(column.name, kind, metadata=code)


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise InputError(f"Parquet needs pyarrow, which is not installed. Install it with: {INSTALL}") from None
