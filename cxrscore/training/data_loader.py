"""The training data of each epoch: which films, in which augmentation and order, and the learning rate of each step."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array, Batch, Floats, Model
from cxrscore.errors import InputError
from cxrscore.progress import Progress
from cxrscore.training.data import Data
from cxrscore.training.distributed import DistributedContext
from cxrscore.training.features import FeatureSource, Rows, batches_of
from cxrscore.training.options import TrainOptions
from cxrscore.training.standardizer import Standardizer

Places = NDArray[np.intp]


def epoch_order(
    labels: Floats, sampling: str, *, seed: int, epoch: int, weights: NDArray[np.float64] | None = None
) -> Places:
    """Indexes of N films in the order of an epoch, intp [N], drawn from seed and epoch; labels float32 [N,C].

    "natural"   every film once; with weights [N], in proportion to them
    "balanced"  in proportion to film_weights, times the weights if there are any

    In proportion: N in total, and a film with an expected count of 1.7 occurs once or twice.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(labels))
    if sampling == "natural" and weights is None:
        return order
    shares = np.ones(len(labels)) if sampling == "natural" else film_weights(labels)
    shares = (shares if weights is None else shares * weights)[order]
    ends = np.cumsum(shares * (len(shares) / shares.sum()))
    # Systematic sampling: equidistant points on the cumulative weights; counts differ from their expectation by < 1.
    drawn = np.searchsorted(ends, rng.random() + np.arange(len(ends)), side="right")
    return rng.permutation(order[np.minimum(drawn, np.flatnonzero(shares)[-1])])


def film_weights(labels: Floats) -> NDArray[np.float64]:
    """Sampling weight of each film relative to a film of the most common class, float64 [N] of labels [N,C].

    The classes are the findings and "no finding". A film belongs to the classes of its positive findings (a soft label
    is positive above 0.5); unknown labels count as negative. A class that is f times rarer than the most common one has
    weight sqrt(f); a film has the weight of its rarest class: the repeat factors of Gupta, Dollar and Girshick (LVIS,
    CVPR 2019, section 4.2) with the prevalence of the most common class as threshold.
    """
    positive = labels > 0.5
    kinds = np.column_stack([positive, ~positive.any(axis=1)])
    films = kinds.sum(axis=0)
    weights = np.sqrt(films.max() / np.maximum(films, 1))
    return np.asarray(np.where(kinds, weights, 0).max(axis=1))


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Learning-rate factors. ``steps``: steps of an epoch; ``warmup``: in epochs; ``shape``: constant or cosine."""

    steps: int
    epochs: int
    warmup: float = 0.0
    shape: str = "constant"

    @classmethod
    def of(cls, options: TrainOptions, steps: int) -> Schedule:
        return cls(steps=steps, epochs=options.epochs, warmup=options.warmup, shape=options.schedule)

    def factor(self, step: int) -> float:
        """Factor of a step, 0..1; steps count from 0 through all epochs.

        It rises linearly during the warm-up, to 1 in its last step (Goyal et al., Accurate, Large Minibatch SGD, 2017).
        Then "cosine" falls as (1 + cos(pi t)) / 2 with t from 0 to 1 at the end of the last epoch: one period of
        Loshchilov and Hutter, SGDR, ICLR 2017, equation 5.
        """
        rising = self.warmup * self.steps
        if step + 1 < rising:
            return (step + 1) / rising
        if self.shape == "constant":
            return 1.0
        left = max(self.steps * self.epochs - rising, 1)
        return (1 + math.cos(math.pi * min(max(step - rising, 0) / left, 1))) / 2


class TrainingData:
    """Batches for training, and logits of films, of the trainable layers of a model."""

    def __init__(
        self,
        model: Model,
        data: Data,
        options: TrainOptions,
        progress: Progress,
        processes: DistributedContext | None = None,
    ) -> None:
        self._options, self._progress = options, progress
        self._processes = processes or DistributedContext()
        self.outputs = FeatureSource(model, data, options, progress)
        self.learner = self.outputs.learner
        self.train, self.valid = np.array(data.split.train, np.intp), self._complete_batches(data.split.valid)
        self._complete_batches(data.split.train)  # each epoch drops other films, so every film is used
        self._labels = data.labels[list(data.split.train)]
        self._weights = data.weights_of(data.split.train)
        count, size = len(data.split.train), options.batch_size
        self.steps = count // size if options.drop_last else -(-count // size)
        self.schedule = Schedule.of(options, self.steps)

    def _complete_batches(self, rows: Sequence[int]) -> Rows:
        """Rows of a split; if the last batch is dropped, only the rows of complete batches."""
        size = self._options.batch_size
        if self._options.drop_last and len(rows) < size:
            raise InputError(f"{len(rows)} films fill no batch of {size}: lower batch_size, or use --no-drop-last")
        return np.array(rows[: len(rows) // size * size] if self._options.drop_last else rows, np.intp)

    def is_cached(self, epoch: int) -> bool:
        """Whether the features of the frozen layers are cached for the films of an epoch, so that a pass is cheap."""
        return self.outputs.is_cached(self.copy(epoch))

    def run_frozen(self, epoch: int) -> None:
        """Runs the frozen layers on all films of an epoch, if their features can be cached."""
        for copy in dict.fromkeys((self.copy(epoch), None)):
            self.outputs.is_cached(copy)

    def copy(self, epoch: int) -> int | None:
        """Index of the augmented copy that an epoch uses, from 0; None without augmentation."""
        return epoch % self._options.augmentations if self._options.augmentations else None

    def batches(self, epoch: int) -> Iterator[Batch]:
        """The training batches of an epoch, counted from 0, with the learning rate of each step; with several
        processes, the batches of this rank."""
        drawing: dict[str, Any] = {"seed": self._options.seed, "epoch": epoch, "weights": self._weights}
        order = epoch_order(self._labels, self._options.sampling, **drawing)
        size, copy = self._options.batch_size, self.copy(epoch)
        parts = [self._processes.local_batch(order[step * size : (step + 1) * size]) for step in range(self.steps)]
        rows = [self.train[part.places] for part in parts]
        for step, inputs in enumerate(self._inputs(rows, copy)):
            factor = self.schedule.factor(epoch * self.steps + step)
            self._progress(f"epoch {epoch + 1}: step {step} of {self.steps}", epoch, self._options.epochs)
            part = parts[step]
            yield Batch(inputs=inputs, labels=part.labels(self._labels), rate=factor, of=part.of)

    def rate(self, epoch: int) -> float:
        """The learning rate of the last step of an epoch."""
        return self._options.learning_rate * self.schedule.factor((epoch + 1) * self.steps - 1)

    def logits(self, rows: Rows, copy: int | None) -> Floats:
        """Logits of these films with the current tensors, float32 [n,C]; not finite if training diverges."""
        return self.outputs.logits(rows, copy, self._standard.transform if self._standard else None, learning=True)

    def tensors(self) -> dict[str, Array]:
        """The trained tensors, by their names in the complete model."""
        learned = self.learner.tensors()
        return self._standard.fold_into_head(learned) if self._standard else learned

    @functools.cached_property
    def _standard(self) -> Standardizer | None:
        """The standardizer of the features, fitted on the training films of the first epoch, or None."""
        if not self.outputs.frozen or self._options.trainable != "head" or not self._options.standardize:
            return None
        return Standardizer.fit(self.outputs.of(batches_of(self.train), self.copy(0)))

    def _inputs(self, batches: Sequence[Rows], copy: int | None) -> Iterator[Floats]:
        """Inputs of the learner, batch by batch."""
        outputs = self.outputs.of(batches, copy)
        return map(self._standard.transform, outputs) if self._standard else outputs
