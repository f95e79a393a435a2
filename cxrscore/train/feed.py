"""What training is fed with: embeddings where the base is frozen, else films, in an order drawn for each epoch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Batch, Embedding, Floats, Model, Trainable, TrainableModel
from cxrscore.errors import InputError
from cxrscore.files import sha256_bytes
from cxrscore.films import Augmentation, FilmStore, Preprocessing, augment
from cxrscore.models.imagenet import cache_folder
from cxrscore.progress import Progress, silent
from cxrscore.train.data import Data
from cxrscore.train.embeddings import cached_embeddings
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
            self._views = [
                self._embed(self.train, self._view(view), progress, f"embedding {view + 1}")
                for view in range(max(options.views, 1))
            ]

    def _film(self, row: int, view: int | None) -> Floats:
        """A film, or a view of it, drawn from the seed, the film itself and the number of the view."""
        film = self._data.store.unit(row)
        if view is None:
            return film
        own = int(self._data.store.films[row].sha256[:16], 16)
        return augment(film, Augmentation(), seed=_seed(self._options.seed, own, view))

    def _view(self, epoch: int) -> int | None:
        """The view of an epoch; None where there are none."""
        return epoch if self._options.views else None

    def _embed(self, rows: NDArray[np.int64], view: int | None, progress: Progress, step: str) -> Floats:
        """Embeddings of these films, from the cache where they are there."""
        assert isinstance(self._model, Embedding)
        embed = self._model.embed

        def compute(places: Sequence[int]) -> Floats:
            films = (self._film(row, view) for row in rows[list(places)])
            return in_batches(embed, films, len(places), _FORWARD, progress, step)

        hashes = [self._data.store.films[row].sha256 for row in rows]
        return cached_embeddings(cache_folder() / "embeddings", self._key(view), hashes, compute)

    def _key(self, view: int | None) -> dict[str, Any]:
        """All that decides an embedding besides the film."""
        spec = self._model.spec
        drawn = None if view is None else [self._options.seed, view, Augmentation().as_dict()]
        return {
            "base": self._base,
            "network": [spec.architecture, spec.size, spec.normalize, spec.head],
            "by": [self._model.framework, self._model.device, self._options.precision, _FORWARD],
            "preprocessing": Preprocessing(size=spec.size).as_dict(),
            "view": drawn,
        }

    @functools.cached_property
    def _base(self) -> str:
        """Digest of the frozen tensors."""
        tensors = self._model.tensors()
        names = sorted(name for name in tensors if not name.startswith("head/"))
        return sha256_bytes(b"".join(name.encode() + sha256_bytes(tensors[name].tobytes()).encode() for name in names))

    def valid_inputs(self, progress: Progress) -> Floats | None:
        """Embeddings of the validation films, or None where the model takes films."""
        return self._embed(self.valid, None, progress, "embedding valid") if self._embedded else None

    def batches(self, epoch: int) -> Iterator[Batch]:
        """The training films in an order drawn from seed and epoch."""
        order = np.random.default_rng([self._options.seed, epoch]).permutation(len(self.train))
        for start in range(0, len(order), self._options.batch_size):
            chosen = order[start : start + self._options.batch_size]
            if self._embedded:
                inputs = self._views[epoch % len(self._views)][chosen]
            else:
                inputs = np.stack([self._film(row, self._view(epoch)) for row in self.train[chosen]])
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
