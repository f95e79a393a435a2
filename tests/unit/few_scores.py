"""Scores of a few films in memory, for the tests of what is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cxrscore.scorefile import FilmRows, HeatMaps, Scores, Thumbnails

NAN = float("nan")


def few_scores(
    paths: Sequence[str] = ("a.png", "b/c.png", "d.dcm"),
    findings: Sequence[str] = ("Mass", "Edema"),
    prob: Any = ((0.25, 0.5), (0.1, 0.9), (NAN, NAN)),
    **changed: Any,
) -> Scores:
    """Films of which those without a probability are damaged; ``changed`` replaces fields of Scores or of its rows."""
    values = np.array(prob, np.float32).reshape(len(paths), len(findings))
    scored = ~np.isnan(values).any(axis=1)
    with np.errstate(divide="ignore"):
        logit = np.log(values / (1 - values))
    rows: dict[str, Any] = {
        "path": tuple(paths),
        "sha256": tuple(f"{row:064x}" for row in range(len(paths))),
        "status": np.where(scored, 1, 4).astype(np.uint8),
        "message": tuple("" if ok else "cut short" for ok in scored),
        "kind": tuple("dicom" if path.endswith(".dcm") else "png" for path in paths),
        "modality": ("",) * len(paths),
        "view": ("",) * len(paths),
        "width": np.full(len(paths), 64, np.uint32),
        "height": np.full(len(paths), 48, np.uint32),
        "split": np.arange(len(paths)).astype(np.uint8) % 4,
        "patient": np.arange(len(paths)).astype(np.int32) - 1,
    }
    own: dict[str, Any] = {
        "findings": tuple(findings),
        "logit": logit,
        "prob": values,
        "prob_uncalibrated": values,
        "truth": np.where(np.arange(values.size).reshape(values.shape) % 3 == 2, NAN, 1).astype(np.float32),
        "thresholds": np.array([0.2, *[NAN] * (len(findings) - 1)], np.float32),
        "heat_maps": HeatMaps(
            map=np.zeros((0, 2, 2), np.float16), film=np.zeros(0, np.int32), finding=np.zeros(0, np.int16)
        ),
        "thumbnails": Thumbnails(film=np.zeros(0, np.int32), pixels=np.zeros((0, 8, 8), np.uint8)),
        "provenance": {"created": "2026-01-02T03:04:05+00:00", "models": [{"sha256": "ab" * 32}]},
    }
    films = FilmRows(**{name: changed.pop(name, value) for name, value in rows.items()})
    return Scores(**{**own, "films": films, **changed})
