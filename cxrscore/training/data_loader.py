"""What training is fed with, epoch by epoch: which films, in which augmented copy and order, at which rate."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import numpy as np

from cxrscore.contract import Array, Batch, Floats, Model
from cxrscore.errors import InputError
from cxrscore.progress import Progress
from cxrscore.training.data import Data
from cxrscore.training.distributed import DistributedContext
from cxrscore.training.features import FeatureSource, Rows, batches_of
from cxrscore.training.options import TrainOptions
from cxrscore.training.sampling import epoch_order
from cxrscore.training.schedule import Schedule
from cxrscore.training.standardizer import Standardizer


class TrainingData:
    """Batches for training, and logits of films, of the part of a model that learns."""

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
        self.train, self.valid = np.array(data.split.train, np.intp), self._whole_batches(data.split.valid)
        self._whole_batches(data.split.train)  # an epoch drops other films each time, so all of them are in use
        self._labels = data.labels[list(data.split.train)]
        count, size = len(data.split.train), options.batch_size
        self.steps = count // size if options.drop_last else -(-count // size)
        self.schedule = Schedule.of(options, self.steps)

    def _whole_batches(self, rows: Sequence[int]) -> Rows:
        """Rows of a part; where the last batch is dropped, those that fill whole ones."""
        size = self._options.batch_size
        if self._options.drop_last and len(rows) < size:
            raise InputError(f"{len(rows)} films fill no batch of {size}: lower batch_size, or keep the last batch")
        return np.array(rows[: len(rows) // size * size] if self._options.drop_last else rows, np.intp)

    def is_cached(self, epoch: int) -> bool:
        """Whether the frozen layers have been run once and for all on the films of an epoch, so that a pass over them
        costs little."""
        return self.outputs.is_cached(self.copy(epoch))

    def run_frozen(self, epoch: int) -> None:
        """Runs the frozen layers on all films that an epoch needs, where what comes out can be kept."""
        for copy in dict.fromkeys((self.copy(epoch), None)):
            self.outputs.is_cached(copy)

    def copy(self, epoch: int) -> int | None:
        """The number of the augmented copy that an epoch uses, from 0; None without augmentation."""
        return epoch % self._options.augmentations if self._options.augmentations else None

    def batches(self, epoch: int) -> Iterator[Batch]:
        """The training films of an epoch, counted from 0, with the rate of each step; of those that several processes
        share, this one's."""
        order = epoch_order(self._labels, self._options.sampling, seed=self._options.seed, epoch=epoch)
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
        """What the learner, as it now is, makes of these films; float32 [n,C], not finite where training diverges."""
        return self.outputs.logits(rows, copy, self._standard.transform if self._standard else None, learning=True)

    def tensors(self) -> dict[str, Array]:
        """What has learned, as the whole model takes it."""
        learned = self.learner.tensors()
        return self._standard.fold_into_head(learned) if self._standard else learned

    @functools.cached_property
    def _standard(self) -> Standardizer | None:
        """How embeddings are standardised, by the training films as the first epoch sees them; None: not at all."""
        if not self.outputs.frozen or self._options.trainable != "head" or not self._options.standardize:
            return None
        return Standardizer.fit(self.outputs.of(batches_of(self.train), self.copy(0)))

    def _inputs(self, batches: Sequence[Rows], copy: int | None) -> Iterator[Floats]:
        """What the learner takes, batch by batch."""
        outputs = self.outputs.of(batches, copy)
        return map(self._standard.transform, outputs) if self._standard else outputs
