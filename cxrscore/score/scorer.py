"""Films through the network: logits, and heat maps of the most probable findings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cxrscore import plugins
from cxrscore.contract import Explainable, Floats
from cxrscore.explainers import explain
from cxrscore.score.job import Job
from cxrscore.testing.golden import check_golden, golden_drift


class Scorer:
    """Batches of one constant size through the model, so that no shape is compiled twice."""

    def __init__(self, job: Job) -> None:
        self._model = job.model
        self._size = job.options.batch_size
        self._explainer = plugins.get_explainer(job.options.explainer)
        explained = isinstance(job.model, Explainable) or self._explainer.from_scores is not None
        self._maps = min(job.options.maps, len(job.model.spec.findings)) if explained else 0
        self._wanted_tap = job.options.tap
        self._tap = ""

    def tap(self) -> str:
        """The layer that the maps are taken at, "" without maps. A run that only merges asks it of a blank film."""
        if self._maps and not self._tap:
            side = self._model.spec.size
            self(np.zeros((1, side, side), np.float32))
        return self._tap

    def __call__(self, films: Floats) -> tuple[Floats, Floats | None]:
        """films float32 [n,S,S], n <= batch size -> logits [n,C] and maps [n,C,h,w], or None if none are wanted."""
        padded = np.concatenate([films, np.zeros((self._size - len(films), *films.shape[1:]), np.float32)])
        if not self._maps:
            return self._model.predict(padded)[: len(films)], None
        findings = range(len(self._model.spec.findings))
        logits, maps, self._tap = explain(self._explainer, self._model, padded, findings, self._wanted_tap)
        return logits[: len(films)], maps[: len(films)]

    def top(self, logits: Floats, maps: Floats | None, rows: Sequence[int]) -> list[tuple[int, int, Floats]]:
        """(row of the run, finding, map) of each film's most probable findings, most probable first."""
        if maps is None:
            return []
        chosen = np.argsort(-logits, axis=1, kind="stable")[:, : self._maps]
        return [(row, int(f), maps[i, f]) for i, row in enumerate(rows) for f in chosen[i]]


def golden_difference(job: Job) -> float | None:
    """How far this backend is from the logits that the model file keeps; CheckError where it is too far. bf16 rounds
    more than any file allows, and is not held to it."""
    record = job.file.document.get("golden")
    if not record:
        return None
    check = check_golden if job.options.precision == "fp32" else golden_drift
    return check(job.model, record, job.options.batch_size)
