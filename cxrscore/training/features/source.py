"""The input of the trainable part of a model: features from the frozen layers, computed once for each film of a run, or
the films themselves where no layer is frozen."""

from __future__ import annotations

import dataclasses
import functools
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import (
    Array,
    Floats,
    Model,
    ModelSpec,
    SplitBackbone,
    SupportsFeatureTraining,
    Trainable,
    TrainableModel,
)
from cxrscore.errors import InputError, PluginError, WriteError
from cxrscore.images import Augmentation, ImageCache, Preprocessing, augment, decoder_versions
from cxrscore.io import sha256_bytes
from cxrscore.plugin_values import lenient
from cxrscore.progress import Progress
from cxrscore.training.data import Data
from cxrscore.training.features.backbone import ExternalBackbone
from cxrscore.training.features.cache import FeatureCache, cached_features, feature_cache_folder
from cxrscore.training.features.distributed import DistributedFeatureExtractor
from cxrscore.training.options import TrainOptions

FORWARD = 8
"""Batch size for inference: on a CPU larger batches only need more memory."""
_BLOCK = 1 << 26
"""Bytes of features that a head processes at a time."""

Rows = NDArray[np.intp]
Change = Callable[[Floats], Floats]


class FeatureSource:
    """The inputs of the trainable layers of a model, for films given by their rows in the store.

    learner  the trainable layers; the layers before them, if any, are frozen
    """

    def __init__(self, model: Model, data: Data, options: TrainOptions, progress: Progress) -> None:
        self._model, self._data, self._options, self._progress = model, data, options, progress
        self.learner, self._frozen = split_trainable(model, options)
        if self._frozen is None and not options.alone:
            raise InputError(f"backend {options.backend!r} cannot run the frozen layers apart: leave --processes out")
        self._by: Model | ExternalBackbone = model
        if options.feature_backend not in (None, options.backend):
            self._by = ExternalBackbone(model, options)
            self._frozen = self._by.embed
        self._augmentation = augmentation_from_options(options)
        self._sources: dict[int | None, FeatureCache | None] = {}

    def for_model(self, model: Model) -> FeatureSource:
        """The same films, as they are, for a finished model in float32. What its frozen layers would make of them is
        taken from here, where they are the same layers and computed in the same way."""
        options = dataclasses.replace(self._options, precision="fp32")
        other = FeatureSource(model, self._data, options, self._progress)
        if self._frozen and self._sources.get(None) and other._key(None) == self._key(None):
            other._sources[None] = self._sources[None]
        return other

    @property
    def framework(self) -> str:
        """The framework that runs the frozen layers, with its version."""
        return self._by.framework

    @property
    def computed_by(self) -> tuple[str, str]:
        """The framework, and the kind of device, such as cuda."""
        return self._by.framework, self._by.device.partition(":")[0]

    @property
    def frozen(self) -> bool:
        """Whether there are frozen layers."""
        return self._frozen is not None

    @property
    def damaged(self) -> int:
        """Number of damaged cache entries that were computed again."""
        return sum(cached.damaged for cached in self._sources.values() if cached is not None)

    def is_cached(self, copy: int | None) -> bool:
        """Whether the frozen layers have been run once and for all on an augmented copy, so that a pass over it costs
        little."""
        return self.frozen and self._source(copy) is not None

    def of(self, batches: Sequence[Rows], copy: int | None) -> Iterator[Floats]:
        """The inputs of the learner, batch by batch; copy None: without augmentation."""
        if self._frozen is None:
            return self._films(batches, copy)
        cached = self._source(copy)
        if cached is None:
            return self.run(batches, copy)
        place = self._place_of(copy)
        return (cached.take(place[rows]) for rows in batches)

    def logits(
        self, rows: Rows, copy: int | None = None, change: Change | None = None, *, learning: bool = False
    ) -> Floats:
        """What the learner, as it now is, makes of these films, float32 [n,C]; it is given ``change`` of what it
        takes. While it is ``learning`` they may be anything; else they are finite, or its backend is at fault."""
        predict = lenient(self.learner).predict if learning else self.learner.predict
        size = FORWARD
        if self._options.trainable == "head" and (cached := self._frozen and self._source(copy)):
            size = max(FORWARD, min(len(rows), _BLOCK // cached.bytes))
        inputs = self.of(batches_of(rows, size), copy)
        return np.concatenate(list(forward(predict, map(change, inputs) if change else inputs, size)))

    def run(self, batches: Sequence[Rows], copy: int | None) -> Iterator[Floats]:
        """Features of films, in batches of constant size, so that they are bit-identical each time."""
        parts = [batches_of(rows) for rows in batches]
        each = [part for batch in parts for part in batch]
        outputs = forward(self._naming(each), self._films(each, copy), FORWARD)
        return (np.concatenate(list(islice(outputs, len(each)))) for each in parts)

    def _naming(self, batches: Iterable[Rows]) -> Change:
        """The frozen layers, to be run on these batches in turn; an error of their plugin says which films it was."""
        frozen, order = self._frozen, iter(batches)
        assert frozen is not None

        def run(films: Floats) -> Floats:
            rows = next(order)
            try:
                return frozen(films)
            except PluginError as error:
                names = [path for row in rows if (path := self._data.paths[row])]
                raise error.during(names, len(rows), "") from error

        return run

    def _films(self, batches: Iterable[Rows], copy: int | None) -> Iterator[Floats]:
        """The films themselves, read and augmented in threads while what was given before is used: so many batches
        ahead that no thread waits for another one's film."""
        with ThreadPoolExecutor(self._options.workers) as pool:
            ahead: deque[list[Future[Floats]]] = deque()
            try:
                for rows in batches:
                    ahead.append([pool.submit(self._film, int(row), copy) for row in rows])
                    if len(ahead) > -(-2 * self._options.workers // len(rows)):
                        yield _stacked(ahead.popleft())
                while ahead:
                    yield _stacked(ahead.popleft())
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _film(self, row: int, copy: int | None) -> Floats:
        """A film, or an augmented copy of it, drawn from the seed, the film itself and the number of the copy."""
        if copy is None:
            return self._data.store.unit(row)
        return augmented_film(self._data.store, row, self._augmentation, seed=self._options.seed, copy=copy)

    def _rows_of(self, copy: int | None) -> Rows:
        """The films whose features are stored together: all that are not augmented, those to be tested too, which are
        only scored at the end; or an augmented copy of each training film."""
        split = self._data.split
        if copy is not None:
            return np.array(split.train, np.intp)
        return np.unique(
            np.array([*(() if self._options.augmentations else split.train), *split.valid, *split.test], np.intp)
        )

    def _place_of(self, copy: int | None) -> Rows:
        """By row of the store, the position among the rows stored together."""
        rows = self._rows_of(copy)
        place = np.full(len(self._data.paths), -1, np.intp)
        place[rows] = np.arange(len(rows))
        return place

    def _source(self, copy: int | None) -> FeatureCache | None:
        """Outputs of the frozen layers, from the disk if they are there; None if there is no space for them."""
        if copy not in self._sources:
            rows = self._rows_of(copy)
            step = "running the frozen layers" + ("" if copy is None else f", augmented copy {copy + 1}")

            def compute(places: Sequence[int]) -> Iterator[Floats]:
                report_done = functools.partial(self._progress, step)
                return self._computed(batches_of(rows[list(places)]), copy, report_done)

            hashes = [self._data.store.films[row].sha256 for row in rows]
            sets = 1 + min(self._options.augmentations, self._options.epochs)
            self._sources[copy] = cached_features(feature_cache_folder(), self._key(copy), hashes, compute, sets=sets)
        return self._sources[copy]

    def _computed(
        self, parts: list[Rows], copy: int | None, report_done: Callable[[int, int], None]
    ) -> Iterator[Floats]:
        """What the frozen layers make of films, by this process; or by others, but for the first batch, which shows the
        caller how much room the rest needs. report_done is called with the number of films done, and of all."""
        others, films = not self._options.alone and len(parts) > 1, sum(map(len, parts))
        done = 0
        for outputs in self.run(parts[:1] if others else parts, copy):
            yield outputs
            done += len(outputs)
            report_done(done, films)
        if not others:
            return
        rest = parts[1:]
        extraction = DistributedFeatureExtractor(
            model=self._model, options=self._options, store=self._data.store.reference(), copy=copy, by=self.computed_by
        )
        try:
            yield from extraction.outputs(
                feature_cache_folder(), rest, outputs, lambda own: report_done(done + own, films)
            )
        except WriteError:  # no room for blocks: none was given yet
            yield from self.run(rest, copy)

    def _key(self, copy: int | None) -> dict[str, Any]:
        """All inputs of the features except the film."""
        return feature_key(
            self._model.spec,
            self._digest,
            (*self.computed_by, self._options.precision),
            self._data.preprocessing,
            trainable=self._options.trainable,
            copy=None if copy is None else [self._options.seed, copy, self._augmentation.as_dict()],
        )

    @functools.cached_property
    def _digest(self) -> str:
        """Digest of the frozen tensors."""
        return frozen_digest(self._model.tensors(), self.learner.tensors())


def frozen_digest(tensors: Mapping[str, Array], learning: Collection[str]) -> str:
    """Digest of the tensors of a model, without those of the layers that learn."""
    names = sorted(set(tensors) - set(learning))
    return sha256_bytes(b"".join(name.encode() + sha256_bytes(tensors[name].tobytes()).encode() for name in names))


def feature_key(
    spec: ModelSpec,
    frozen: str,
    by: Sequence[str],
    preprocessing: Preprocessing,
    *,
    trainable: str = "head",
    copy: list[Any] | None = None,
) -> dict[str, Any]:
    """All inputs of features except the film, ready for JSON.

    Parameters
    ----------
    spec
        Of the model.
    frozen
        The digest of its frozen tensors.
    by
        The framework, the kind of device and the precision.
    preprocessing
        Of the films.
    trainable
        Layers that are trained on the features.
    copy
        Seed, number and limits of an augmented copy; None: the films as they are.
    """
    return {
        "frozen": frozen,
        "network": [
            spec.network and spec.network.digest,
            spec.architecture,
            spec.size,
            spec.normalize,
            spec.head,
            trainable,
        ],
        "by": [*by, FORWARD],
        "preprocessing": [preprocessing.as_dict(), decoder_versions()],
        "copy": copy,
    }


def augmented_film(store: ImageCache, row: int, augmentation: Augmentation, *, seed: int, copy: int) -> Floats:
    """An augmented copy float32 [S,S] of a film, reproducible on every machine."""
    own = int(store.films[row].sha256[:16], 16)
    return augment(store.unit(row), augmentation, seed=_seed(seed, own, copy))


def augmentation_from_options(options: TrainOptions) -> Augmentation:
    """The augmentation limits of a run; InputError for one out of range."""
    names = ("rotation", "shift", "shear", "zoom", "flip")
    return Augmentation(**{name: getattr(options, name) for name in names})


def split_trainable(model: Model, options: TrainOptions) -> tuple[TrainableModel, Change | None]:
    """The part of a model that learns, and the layers before it that are frozen, where the backend can run these
    alone. InputError for a model that cannot learn."""
    if options.trainable == "head" and isinstance(model, SupportsFeatureTraining):
        return model.head, model.embed
    if options.trainable == "last-block" and isinstance(model, SplitBackbone):
        return model.tail, model.stem
    if not isinstance(model, Trainable):
        raise InputError(f"backend {options.backend!r} cannot train; use another, or score with it")
    complete_model: Any = model
    return complete_model, None


def forward(function: Change, batches: Iterable[Floats], size: int) -> Iterator[Floats]:
    """function of batches, all padded to one size, so that shapes never change."""
    for batch in batches:
        padded = np.concatenate([batch, np.zeros((size - len(batch), *batch.shape[1:]), np.float32)])
        yield function(padded)[: len(batch)]


def batches_of(rows: Rows, size: int = FORWARD) -> list[Rows]:
    """Rows in parts of this size, the last one with what is left."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _stacked(films: Sequence[Future[Floats]]) -> Floats:
    return np.stack([film.result() for film in films])


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
