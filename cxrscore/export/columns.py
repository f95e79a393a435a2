"""A scores file as a table: one row a film, one column a value, in an order that all formats share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cxrscore.contract import Array
from cxrscore.images import Status
from cxrscore.io.strict_json import unicode_text
from cxrscore.scorefile import SPLITS, Scores


@dataclass(frozen=True, kw_only=True)
class Column:
    """One value of every film.

    values   N texts, or an array [N] of integers or float32 with NaN where there is no value
    finding  whose value it is; "" for what is known of the film itself
    """

    name: str
    values: Sequence[str] | Array
    finding: str = ""


def film_columns(scores: Scores, *, every: bool) -> list[Column]:
    """film, status, message and prob_FINDING; with ``every`` all that the file knows of a film."""
    films = scores.films
    found = [
        Column(name="film", values=_texts(films.path)),
        Column(name="status", values=[Status(code).name for code in films.status.tolist()]),
        Column(name="message", values=_texts(films.message)),
    ]
    if every:
        found += [
            *(Column(name=name, values=_texts(getattr(films, name))) for name in ("sha256", "kind", "modality")),
            Column(name="view", values=_texts(films.view)),
            *(Column(name=name, values=getattr(films, name)) for name in ("width", "height", "patient")),
            Column(name="split", values=[SPLITS[code] for code in films.split.tolist()]),
        ]
    matrices = {"prob": scores.prob, "logit": scores.logit, "truth": scores.truth}
    for name in ("prob", "logit", "truth") if every else ("prob",):
        found += finding_columns(name, matrices[name], scores.findings)
    return found


def finding_columns(name: str, matrix: Array, findings: Sequence[str]) -> list[Column]:
    """name_FINDING of each column of a matrix [N,C]."""
    return [
        Column(name=f"{name}_{unicode_text(finding)}", values=np.ascontiguousarray(matrix[:, place]), finding=finding)
        for place, finding in enumerate(findings)
    ]


def _texts(values: Sequence[str]) -> list[str]:
    return [unicode_text(value) for value in values]
