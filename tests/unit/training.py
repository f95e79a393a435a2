"""A model that only counts, and a few films to train it on: for tests of what training feeds it with."""

from dataclasses import dataclass

import numpy as np

from cxrscore.contract import ModelSpec
from cxrscore.images import Film, Preprocessing, Status, to_unit
from cxrscore.labels import Split
from cxrscore.training.data import Data

SIDE = 32


@dataclass
class Store:
    """Films in memory, as a FilmStore gives them."""

    pixels: np.ndarray

    def __post_init__(self):
        self.films = tuple(Film(status=Status.OK, sha256=f"{row:016x}" * 4) for row in range(len(self.pixels)))
        self.rows = tuple(range(len(self.pixels)))

    def raw(self, row):
        return self.pixels[row]

    def unit(self, row):
        return to_unit(self.pixels[row])

    def batch(self, rows):
        return np.stack([self.unit(row) for row in rows])


def some_data(train=7, valid=3, findings=2, test=0):
    """Training films come first, then those for validation, then those to test on; the labels of a film are its
    number, odd or even."""
    count, seen = train + valid + test, train + valid
    pixels = np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE), np.uint8)
    labels = np.tile((np.arange(count) % 2)[:, None], findings).astype(np.float32)
    return Data(
        store=Store(pixels),
        paths=tuple(f"{row}.png" for row in range(count)),
        labels=labels,
        findings=tuple(f"F{number}" for number in range(findings)),
        patients=(None,) * count,
        split=Split(
            train=tuple(range(train)), valid=tuple(range(train, seen)), test=tuple(range(seen, count)), rule="given"
        ),
        failed={},
        labels_file={"sha256": "ab"},
        leaks=(),
        preprocessing=Preprocessing(size=SIDE),
    )


class Learner:
    """Keeps the batches and optimisers that it was given; its logits are the mean of an input."""

    def __init__(self, spec):
        self.spec, self.framework, self.device = spec, "none", "cpu"
        self.seen, self.optimisers, self.scored = [], [], []
        self.losses = iter(())

    def fit_epoch(self, batches, loss, optimiser):
        self.seen.append(list(batches))
        self.optimisers.append(optimiser)
        return next(self.losses, 1.0)

    def predict(self, inputs):
        self.scored.append(inputs.shape)
        mean = inputs.reshape(len(inputs), -1).mean(axis=1, keepdims=True)
        return np.repeat(mean, len(self.spec.findings), axis=1).astype(np.float32)

    def tensors(self):
        return {"head/bias": np.full(len(self.spec.findings), len(self.seen), np.float32)}

    def state(self):
        return {"adam/step": np.array(len(self.seen), np.int64)}

    def restore(self, state):
        self.seen = [[]] * int(state["adam/step"])


class Model(Learner):
    """All three ways of training: whole, on embeddings [N,4], on inputs [N,2,2,1] of a last block."""

    def __init__(self, spec):
        super().__init__(spec)
        self.head, self.tail = Learner(spec), Learner(spec)
        self.run = 0

    def tensors(self):
        learnt = len(self.seen) + len(self.head.seen) + len(self.tail.seen)
        return {
            "base/kernel": np.ones(3, np.float32),
            "head/bias": np.full(len(self.spec.findings), learnt, np.float32),
        }

    def embed(self, films):
        return self.stem(films).reshape(len(films), 4)

    def stem(self, films):
        self.run += len(films)
        half = SIDE // 2
        return films.reshape(len(films), 2, half, 2, half).mean(axis=(2, 4))[..., None].astype(np.float32)


def some_model(trainable="head", findings=2):
    names = tuple(f"F{number}" for number in range(findings))
    return Model(ModelSpec(architecture="tinycnn", size=SIDE, findings=names, trainable=trainable))
