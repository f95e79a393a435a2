"""Scores as one JSON document: schemas/export.schema.json."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from cxrscore.contract import Array
from cxrscore.export.codes import finding_code
from cxrscore.io.strict_json import strict_json
from cxrscore.models.calibration import describe_probabilities
from cxrscore.scorefile import Scores
from cxrscore.scorefile.data import Column, film_columns

FORMAT = "cxrscore-export"
VERSION = 1
ROWS = 4096
"""Number of films that are converted to Python objects at a time."""


def json_pieces(scores: Scores) -> Iterator[bytes]:
    """The document as ASCII, one film on each line, so that a hundred thousand films need little memory."""
    head = {
        "format": FORMAT,
        "version": VERSION,
        "probabilities": describe_probabilities(scores.provenance),
        "findings": described_findings(scores),
        "provenance": strict_json(dict(scores.provenance), "the provenance of the scores"),
    }
    yield (json.dumps(head, indent=2)[:-2] + ',\n  "films": [').encode()
    columns, between = film_columns(scores, every=True), "\n    "
    for start in range(0, len(scores.films.path), ROWS):
        values = [plain_values(column.values[start : start + ROWS]) for column in columns]
        for row in zip(*values, strict=True):
            yield (between + json.dumps(_record(columns, row), allow_nan=False)).encode()
            between = ",\n    "
    yield b"\n  ]\n}\n"


def described_findings(scores: Scores) -> list[dict[str, Any]]:
    """Name, code and threshold of each finding, in the order of the columns."""
    return [
        {"name": finding, "code": finding_code(finding).as_dict(), "threshold": threshold}
        for finding, threshold in zip(scores.findings, plain_values(scores.thresholds), strict=True)
    ]


def plain_values(values: Sequence[str] | Array) -> list[Any]:
    """Values [n] for JSON: None for non-finite numbers, float32 with the shortest exact decimal text."""
    if not isinstance(values, np.ndarray):
        return list(values)
    if values.dtype.kind != "f":
        return list(values.tolist())
    words, finite = values.astype(np.str_).tolist(), np.isfinite(values).tolist()
    return [float(word) if known else None for word, known in zip(words, finite, strict=True)]


def _record(columns: Sequence[Column], row: Sequence[Any]) -> dict[str, Any]:
    """One film: its metadata by name, and its values by finding under prob, logit, prob_uncalibrated and truth."""
    record: dict[str, Any] = {}
    for column, value in zip(columns, row, strict=True):
        if column.finding:
            record.setdefault(column.matrix, {})[column.finding] = value
        else:
            record[column.name] = value
    return record
