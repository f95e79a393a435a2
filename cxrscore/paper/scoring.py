"""Scores of a finished experiment for the films of all splits: logits from cached features, and ranking scores."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrscore import plugins
from cxrscore.contract import Floats, Model
from cxrscore.models.probabilities import probabilities
from cxrscore.paper.experiments import Experiment, TrainedExperiment
from cxrscore.progress import Progress
from cxrscore.training.data import Data
from cxrscore.training.features import FeatureSource
from cxrscore.training.final_evaluation import final_logits

Doubles = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ScoredExperiment:
    """A finished experiment with its scores of all films of the cache; rows of films in no split are NaN.

    prob   float32 [N,C], used in equation 1
    score  float64 [N,C], log(p / (1 - p)), which ranks films as prob without rounding to 1
    built  the built model, for heat maps
    """

    trained: TrainedExperiment
    built: Model
    prob: Floats
    score: Doubles

    @property
    def experiment(self) -> Experiment:
        return self.trained.experiment


def score_experiment(trained: TrainedExperiment, data: Data, progress: Progress) -> ScoredExperiment:
    """Scores of the films of all splits with the model of the experiment, without augmentation."""
    spec = trained.model.spec
    backend = plugins.get_backend(trained.options.backend)
    built = backend.build(spec, trained.model.tensors, device=trained.options.device, precision="fp32")
    rows = sorted(row for _, part in data.split.parts() for row in part)
    logits = _logits(built, trained, data, rows, progress)
    shape = (len(data.paths), len(spec.findings))
    prob, score = np.full(shape, np.nan, np.float32), np.full(shape, np.nan)
    prob[rows] = probabilities(logits, spec.activation)
    score[rows] = log_odds(logits, spec.activation)
    return ScoredExperiment(trained=trained, built=built, prob=prob, score=score)


def log_odds(logits: Floats, activation: str) -> Doubles:
    """log(p / (1 - p)) float64 [N,C] of logits [N,C]: the logit itself with sigmoid; with softmax the logit minus the
    log of the sum of the other exponentials."""
    z = logits.astype(np.float64)
    if activation == "sigmoid":
        return z
    others = np.repeat(z[:, None, :], z.shape[1], axis=1)
    others[:, np.arange(z.shape[1]), np.arange(z.shape[1])] = -np.inf
    top = others.max(axis=2)
    found: Doubles = z - top - np.log(np.exp(others - top[:, :, None]).sum(axis=2))
    return found


def _logits(built: Model, trained: TrainedExperiment, data: Data, rows: Sequence[int], progress: Progress) -> Floats:
    """Logits [n,C] of these films without augmentation, from the cached features of training if available."""
    plain = dataclasses.replace(trained.options, augmentations=0, precision="fp32")
    return final_logits(built, FeatureSource(built, data, plain, progress), data, rows)
