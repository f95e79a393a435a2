"""What training is fed with: embeddings where the base is frozen, else films, in an order drawn for each epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from cxrscore.contract import Batch, Embedding, Floats, Model, Trainable, TrainableModel
from cxrscore.errors import InputError
from cxrscore.films import Augmentation, FilmStore, augment
from cxrscore.progress import Progress, silent
from cxrscore.train.data import Data
from cxrscore.train.options import TrainOptions

_FORWARD = 8
"""Films in a batch where nothing is learned: on a CPU larger batches only cost memory."""


class Feed:
    """Batches for training and inputs for validation: embeddings if the base is frozen, else films."""

    def __init__(self, model: Model, data: Data, options: TrainOptions, progress: Progress) -> None:
        self._data, self._options = data, options
        self._model = model
        self.train, self.valid = (np.array(rows) for rows in (data.split.train, data.split.valid))
        self.learner: TrainableModel = _learner(model, options)
        self._embedded = self.learner is not model
        if self._embedded:
            self._views = [self._embed(view, progress) for view in range(max(options.views, 1))]

    def _film(self, row: int, view: int) -> Floats:
        film = self._data.store.unit(row)
        if not self._options.views:
            return film
        return augment(film, Augmentation(), seed=_seed(self._options.seed, row, view))

    def _embed(self, view: int, progress: Progress) -> Floats:
        films = (self._film(row, view) for row in self.train)
        name = f"embedding view {view + 1}" if self._options.views else "embedding"
        return in_batches(self._embedding, films, len(self.train), _FORWARD, progress, name)

    @property
    def _embedding(self) -> Callable[[Floats], Floats]:
        assert isinstance(self._model, Embedding)
        return self._model.embed

    def valid_inputs(self, progress: Progress) -> Floats | None:
        """Embeddings of the validation films, or None where the model takes films."""
        if not self._embedded:
            return None
        films = (self._data.store.unit(row) for row in self.valid)
        return in_batches(self._embedding, films, len(self.valid), _FORWARD, progress, "embedding valid")

    def batches(self, epoch: int) -> Iterator[Batch]:
        """The training films in an order drawn from seed and epoch."""
        order = np.random.default_rng([self._options.seed, epoch]).permutation(len(self.train))
        for start in range(0, len(order), self._options.batch_size):
            chosen = order[start : start + self._options.batch_size]
            if self._embedded:
                inputs = self._views[epoch % len(self._views)][chosen]
            else:
                inputs = np.stack([self._film(row, epoch) for row in self.train[chosen]])
            yield Batch(inputs=inputs, labels=self._data.labels[self.train[chosen]])


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


def _learner(model: Model, options: TrainOptions) -> Any:
    if options.trainable == "head" and isinstance(model, Embedding):
        return model.head
    if not isinstance(model, Trainable):
        raise InputError(f"backend {options.backend!r} cannot train; use another, or score with it")
    return model


def in_batches(
    function: Callable[[Floats], Floats], films: Iterator[Floats], count: int, size: int, progress: Progress, step: str
) -> Floats:
    """function of films in batches of one constant size, the last one padded, so that shapes never change."""
    parts: list[Floats] = []
    for start in range(0, count, size):
        batch = np.stack([next(films) for _ in range(min(size, count - start))])
        padded = np.concatenate([batch, np.zeros((size - len(batch), *batch.shape[1:]), np.float32)])
        parts.append(function(padded)[: len(batch)])
        progress(step, min(start + size, count), count)
    return np.concatenate(parts)


def predict(model: Model, store: FilmStore, rows: tuple[int, ...]) -> Floats:
    films = (store.unit(row) for row in rows)
    return in_batches(model.predict, films, len(rows), _FORWARD, silent, "")
