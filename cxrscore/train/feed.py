"""What training is fed with: what frozen layers made of the films, where there are such layers, else the films."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array, Batch, Divided, Embedding, Floats, Model, Trainable, TrainableModel
from cxrscore.errors import InputError
from cxrscore.files import sha256_bytes
from cxrscore.films import Augmentation, FilmStore, augment
from cxrscore.models.imagenet import cache_folder
from cxrscore.progress import Progress
from cxrscore.train.data import Data
from cxrscore.train.kept import Kept, kept_outputs
from cxrscore.train.options import TrainOptions
from cxrscore.train.processes import Processes
from cxrscore.train.sampling import epoch_order
from cxrscore.train.schedule import Schedule
from cxrscore.train.standard import Standard

FORWARD = 8
"""Films in a batch where nothing is learned: on a CPU larger batches only cost memory."""
_BLOCK = 1 << 26
"""Bytes of embeddings that a head scores at a time."""

Rows = NDArray[np.intp]
Frozen = Callable[[Floats], Floats]


class Feed:
    """Batches for training, and logits of films, of the part of a model that learns."""

    def __init__(
        self,
        model: Model,
        data: Data,
        options: TrainOptions,
        progress: Progress,
        processes: Processes | None = None,
    ) -> None:
        self._data, self._options, self._model, self._progress = data, options, model, progress
        self._processes = processes or Processes()
        self.learner, self._frozen = learner_of(model, options)
        self.train, self.valid = np.array(data.split.train, np.intp), self._whole(data.split.valid)
        self._whole(data.split.train)  # an epoch drops other films each time, so all of them are in use
        self._labels = data.labels[list(data.split.train)]
        count, size = len(data.split.train), options.batch_size
        self.steps = count // size if options.drop_last else -(-count // size)
        self.schedule = Schedule.of(options, self.steps)
        self._sources: dict[int | None, Kept | None] = {}
        self._augmentation = augmentation_of(options)

    def _whole(self, rows: Sequence[int]) -> Rows:
        """Rows of a part; where the last batch is dropped, those that fill whole ones."""
        size = self._options.batch_size
        if self._options.drop_last and len(rows) < size:
            raise InputError(f"{len(rows)} films fill no batch of {size}: lower batch_size, or keep the last batch")
        return np.array(rows[: len(rows) // size * size] if self._options.drop_last else rows, np.intp)

    def kept(self, epoch: int) -> bool:
        """Whether the frozen layers have been run once and for all on the films of an epoch, so that a pass over them
        costs little."""
        return self._frozen is not None and self._source(self.view(epoch)) is not None

    def run_frozen(self, epoch: int) -> None:
        """Runs the frozen layers on all films that an epoch needs, where what comes out can be kept."""
        for view in dict.fromkeys((self.view(epoch), None)):
            if self._frozen is not None:
                self._source(view)

    def view(self, epoch: int) -> int | None:
        """The view of an epoch, counted from 0; None where there are none."""
        return epoch % self._options.views if self._options.views else None

    def batches(self, epoch: int) -> Iterator[Batch]:
        """The training films of an epoch, counted from 0, with the rate of each step; of those that several processes
        share, this one's."""
        order = epoch_order(self._labels, self._options.sampling, seed=self._options.seed, epoch=epoch)
        size, view = self._options.batch_size, self.view(epoch)
        parts = [self._processes.part(order[step * size : (step + 1) * size]) for step in range(self.steps)]
        rows = [self.train[part.places] for part in parts]
        for step, inputs in enumerate(self._inputs(rows, view)):
            factor = self.schedule.factor(epoch * self.steps + step)
            self._progress(f"epoch {epoch + 1}: step {step} of {self.steps}", epoch, self._options.epochs)
            part = parts[step]
            yield Batch(inputs=inputs, labels=part.labels(self._labels), rate=factor, of=part.of)

    def rate(self, epoch: int) -> float:
        """The learning rate of the last step of an epoch."""
        return self._options.learning_rate * self.schedule.factor((epoch + 1) * self.steps - 1)

    def logits(self, rows: Rows, view: int | None) -> Floats:
        """What the learner, as it now is, makes of these films; float32 [n,C]."""
        size = FORWARD
        if self._options.trainable == "head" and (kept := self._frozen and self._source(view)):
            size = max(FORWARD, min(len(rows), _BLOCK // kept.rows[0].nbytes))
        parts = [rows[start : start + size] for start in range(0, len(rows), size)]
        return np.concatenate(list(forward(self.learner.predict, self._inputs(parts, view), size)))

    def tensors(self) -> dict[str, Array]:
        """What has learned, as the whole model takes it."""
        learned = self.learner.tensors()
        return self._standard.folded(learned) if self._standard else learned

    @functools.cached_property
    def _standard(self) -> Standard | None:
        """How embeddings are standardised, by the training films as the first epoch sees them; None: not at all."""
        if self._frozen is None or self._options.trainable != "head" or not self._options.standardize:
            return None
        return Standard.of(self._outputs(list(_parts(self.train)), self.view(0)))

    def _inputs(self, batches: Sequence[Rows], view: int | None) -> Iterator[Floats]:
        """What the learner takes, batch by batch."""
        outputs = self._outputs(batches, view)
        return map(self._standard.apply, outputs) if self._standard else outputs

    def _outputs(self, batches: Sequence[Rows], view: int | None) -> Iterator[Floats]:
        """What frozen layers make of the films, or the films themselves."""
        if self._frozen is None:
            return self._films(batches, view)
        kept = self._source(view)
        if kept is not None:
            place = self._place_of(view)
            return (kept.take(place[rows]) for rows in batches)
        return (self._run(rows, view) for rows in batches)

    def _films(self, batches: Iterable[Rows], view: int | None) -> Iterator[Floats]:
        """The films themselves, read and augmented in threads, one batch ahead of the one that is used."""
        with ThreadPoolExecutor(self._options.workers) as pool:
            ahead: list[Any] = []
            for rows in batches:
                ahead.append([pool.submit(self._film, int(row), view) for row in rows])
                if len(ahead) == 2:
                    yield np.stack([film.result() for film in ahead.pop(0)])
            for films in ahead:
                yield np.stack([film.result() for film in films])

    def _film(self, row: int, view: int | None) -> Floats:
        """A film, or a view of it, drawn from the seed, the film itself and the number of the view."""
        if view is None:
            return self._data.store.unit(row)
        return film_view(self._data.store, row, self._augmentation, seed=self._options.seed, view=view)

    def _run(self, rows: Rows, view: int | None) -> Floats:
        """What the frozen layers make of films, in batches of one size, so that it is the same to the bit each time."""
        assert self._frozen is not None
        films = (np.stack([self._film(int(row), view) for row in part]) for part in _parts(rows))
        return np.concatenate(list(forward(self._frozen, films, FORWARD)))

    def _rows_of(self, view: int | None) -> Rows:
        """The films whose outputs are kept together: those that are not augmented, or a view of the training films."""
        if view is not None:
            return self.train
        rows = self.valid if self._options.views else np.concatenate([self.train, self.valid])
        return np.unique(rows)

    def _place_of(self, view: int | None) -> Rows:
        """By row of the store, the place among the rows kept together."""
        rows = self._rows_of(view)
        place = np.full(len(self._data.paths), -1, np.intp)
        place[rows] = np.arange(len(rows))
        return place

    def _source(self, view: int | None) -> Kept | None:
        """Outputs of the frozen layers, from the disk where they are there; None where there is no room for them."""
        if view not in self._sources:
            rows = self._rows_of(view)
            step = "running the frozen layers" + ("" if view is None else f", view {view + 1}")

            def compute(places: Sequence[int]) -> Iterator[Floats]:
                for start in range(0, len(places), FORWARD):
                    yield self._run(rows[list(places[start : start + FORWARD])], view)
                    self._progress(step, min(start + FORWARD, len(places)), len(places))

            hashes = [self._data.store.films[row].sha256 for row in rows]
            folder, sets = cache_folder() / "outputs", 1 + min(self._options.views, self._options.epochs)
            self._sources[view] = kept_outputs(folder, self._key(view), hashes, compute, sets=sets)
        return self._sources[view]

    def _key(self, view: int | None) -> dict[str, Any]:
        """All that decides an output of the frozen layers besides the film."""
        spec = self._model.spec
        return {
            "frozen": self._digest,
            "network": [spec.architecture, spec.size, spec.normalize, spec.head, self._options.trainable],
            "by": [self._model.framework, self._model.device.partition(":")[0], self._options.precision, FORWARD],
            "preprocessing": self._data.preprocessing.as_dict(),
            "view": None if view is None else [self._options.seed, view, self._augmentation.as_dict()],
        }

    @functools.cached_property
    def _digest(self) -> str:
        """Of the tensors that do not learn."""
        tensors, learning = self._model.tensors(), set(self.learner.tensors())
        names = sorted(set(tensors) - learning)
        return sha256_bytes(b"".join(name.encode() + sha256_bytes(tensors[name].tobytes()).encode() for name in names))


def film_view(store: FilmStore, row: int, augmentation: Augmentation, *, seed: int, view: int) -> Floats:
    """A view float32 [S,S] of a film, the same wherever and whenever it is drawn."""
    own = int(store.films[row].sha256[:16], 16)
    return augment(store.unit(row), augmentation, seed=_seed(seed, own, view))


def augmentation_of(options: TrainOptions) -> Augmentation:
    """The limits of a run's views; InputError for one out of range."""
    names = ("rotation", "shift", "shear", "zoom", "flip")
    return Augmentation(**{name: getattr(options, name) for name in names})


def learner_of(model: Model, options: TrainOptions) -> tuple[TrainableModel, Frozen | None]:
    """The part of a model that learns, and the layers before it that are frozen, where the backend can run these
    alone. InputError for a model that cannot learn."""
    if options.trainable == "head" and isinstance(model, Embedding):
        return model.head, model.embed
    if options.trainable == "last-block" and isinstance(model, Divided):
        return model.tail, model.stem
    if not isinstance(model, Trainable):
        raise InputError(f"backend {options.backend!r} cannot train; use another, or score with it")
    whole: Any = model
    return whole, None


def forward(function: Frozen, batches: Iterable[Floats], size: int) -> Iterator[Floats]:
    """function of batches, all padded to one size, so that shapes never change."""
    for batch in batches:
        padded = np.concatenate([batch, np.zeros((size - len(batch), *batch.shape[1:]), np.float32)])
        yield function(padded)[: len(batch)]


def predict(model: Model, store: FilmStore, rows: Sequence[int]) -> Floats:
    """Logits float32 [n,C] of films of the store."""
    films = (store.batch(part) for part in _parts(np.array(rows, np.intp)))
    return np.concatenate(list(forward(model.predict, films, FORWARD)))


def _parts(rows: Rows) -> Iterator[Rows]:
    return (rows[start : start + FORWARD] for start in range(0, len(rows), FORWARD))


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
