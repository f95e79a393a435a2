"""How far a device's scores are from those of the CPU in fp32, on the films of the kit."""

from __future__ import annotations

import csv
import functools
from typing import Any

import numpy as np

from cxrscore import ScoreOptions, load_model, open_scores
from cxrscore.images import Preprocessing, require_films, stream_films
from cxrscore.metrics.roc import auc_per_finding, macro
from cxrscore.models.probabilities import probabilities
from cxrscore.plugins import get_backend
from cxrscore.scoring import score_films
from gpu_sections.job import Job, NotRunError, Steps, float32_products


def steps(job: Job) -> Steps:
    found = functools.cache(lambda: _Parity(job))
    return {
        "fp32": lambda: found().scores("fp32"),
        "TF32": lambda: found().tf32(),
        "bf16": lambda: found().scores("bf16"),
        "activations of heat maps, fp32": lambda: found().maps(),
        "score: two runs": functools.partial(_same, job),
    }


class _Parity:
    """Films, labels, and the model on the CPU as the reference."""

    def __init__(self, job: Job) -> None:
        self.job, self.file = job, load_model(job.model)
        paths = require_films(job.films).paths
        how = Preprocessing.from_dict(self.file.document["preprocessing"])
        squares = [film.pixels for film in stream_films(job.films, paths, how, workers=2)]
        self.films = np.stack([square for square in squares if square is not None])
        self.truth = _truth(job, list(paths), self.file.spec.findings)
        self.cpu = self._built("cpu", "fp32")
        self.reference = self.cpu.predict(self.films)

    def _built(self, device: str, precision: Any) -> Any:
        return get_backend("torch").build(self.file.spec, self.file.tensors, device=device, precision=precision)

    def scores(self, precision: str) -> dict[str, Any]:
        return self._compared(self._built(self.job.device, precision).predict(self.films))

    def tf32(self) -> dict[str, Any]:
        """cxrscore never computes in TF32; this is what it would do to the scores."""
        if not self.job.on_gpu:
            raise NotRunError("the CPU has no TF32")
        import torch

        network = own_network(self._built(self.job.device, "fp32"))
        with torch.inference_mode(), float32_products("tf32"):
            logits = network(torch.from_numpy(self.films).to(self.job.device)).cpu().numpy()
        return self._compared(logits)

    def _compared(self, logits: np.ndarray) -> dict[str, Any]:
        calibration = self.file.document["calibration"]
        own, other = (probabilities(each, self.file.spec.activation, calibration) for each in (self.reference, logits))
        before, after = (macro(auc_per_finding(self.truth, each)) for each in (self.reference, logits))
        return {
            "films": len(logits),
            "max_dp": float(np.abs(own - other).max()),
            "max_dlogit": float(np.abs(self.reference - logits).max()),
            "macro_auc_cpu": _number(before),
            "macro_auc": _number(after),
        }

    def maps(self) -> dict[str, Any]:
        """Relative to the largest activation."""
        given = self.films[:4]
        own, other = (each.cam_parts(given, [0]) for each in (self.cpu, self._built(self.job.device, "fp32")))
        apart = np.abs(own.activations - other.activations).max() / np.abs(own.activations).max()
        return {"films": len(given), "max_relative_difference": float(apart)}


def own_network(model: Any) -> Any:
    """The torch module of a model of cxrscore, which its plugins may have wrapped."""
    return getattr(model, "_inner", model)._network


def _truth(job: Job, paths: list[str], findings: tuple[str, ...]) -> np.ndarray:
    with (job.films / "labels.csv").open(newline="") as file:
        rows = {row["Image Index"]: row["Finding Labels"].split("|") for row in csv.DictReader(file)}
    return np.array([[float(finding in rows[path]) for finding in findings] for path in paths])


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _same(job: Job) -> dict[str, Any]:
    """Two runs of the same films, in other batches: how far their probabilities are apart."""
    found = []
    for batch in (8, 5):
        output = job.work / f"same{batch}.h5"
        given = {"films": job.films, "output": output, "model": job.model, "device": job.device, "backend": "torch"}
        score_films(ScoreOptions(**given, batch_size=batch))
        found.append(np.asarray(open_scores(output).prob))
    return {"films": len(found[0]), "max_dp": float(np.abs(found[0] - found[1]).max())}
