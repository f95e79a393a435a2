"""One backend for each case of the kit that asks how models learn, right in all but what that case demands."""

import functools
from dataclasses import replace

import numpy as np
from bad_backends import BAD, Both, fails
from numpy_backend import NumpyModel, NumpyTail

__all__ = ["BAD"]


@fails("B31")
class MeanOfBatches(NumpyModel):
    def fit_epoch(self, batches, loss, optimiser):
        each = [super(MeanOfBatches, self).fit_epoch([batch], loss, optimiser) for batch in batches]
        return float(np.mean(each)) if each else super().fit_epoch([], loss, optimiser)


@fails("B32")
class NoWeightsAreNone(NumpyModel):
    def fit_epoch(self, batches, loss, optimiser):
        halves = np.full((2, len(self.spec.findings)), 0.5, np.float32)
        return super().fit_epoch(batches, loss if loss.weights is not None else loss.weighted(halves), optimiser)


@fails("B33")
class SteepSecondLayer(NumpyModel):
    def gradients(self, films, slope):
        found = super().gradients(films, slope)
        return {name: value * np.float32(1.1 if name == "conv2/kernel" else 1) for name, value in found.items()}


@fails("B34")
class Decays(NumpyModel):
    def step(self, name, gradient, rate):
        super().step(name, gradient, rate)
        self.own[name] *= np.float32(1 - 1e-4 * rate)


@fails("B35")
class UnknownIsNegative(NumpyModel):
    def learn(self, batch, loss, optimiser):
        unknown = np.isnan(batch.labels).all(axis=0)
        if unknown.any() and not unknown.all():
            batch = replace(batch, labels=np.where(unknown, np.float32(0), batch.labels))
        return super().learn(batch, loss, optimiser)


@fails("B36")
class ClimbsInTheEnd(NumpyModel):
    def stride(self, m, v, rate):
        return super().stride(m, v, rate) * (1 if self.steps <= 9 else -3)


@fails("B37")
class FrozenAndYetItMoves(NumpyModel):
    def fit_epoch(self, batches, loss, optimiser):
        found = super().fit_epoch(batches, loss, optimiser)
        if self.spec.trainable == "head" and "tail" not in vars(self):
            self.own["conv4/bias"] += np.float32(1e-3)
        return found


@fails("B38", Both)
class LearnsStatistics(NumpyModel):
    def fit_epoch(self, batches, loss, optimiser):
        for name in self.own:
            if name.endswith("moving_mean"):
                self.own[name] *= np.float32(0.99)
        return super().fit_epoch(batches, loss, optimiser)


@fails("B39")
class WritesToBatches(NumpyModel):
    def learn(self, batch, loss, optimiser):
        found = super().learn(batch, loss, optimiser)
        batch.labels[...] *= 1
        return found


@fails("B40")
class TakesNoFilm(NumpyModel):
    def fit_epoch(self, batches, loss, optimiser):
        batches = list(batches)
        return super().fit_epoch(batches, loss, optimiser) if batches else float("nan")


# --- the optimiser


@fails("B41")
class EpsilonAfterTheCorrection(NumpyModel):
    def learn(self, batch, loss, optimiser):
        self.plain = optimiser.layer_decay == 1
        return super().learn(batch, loss, optimiser)

    def stride(self, m, v, rate):
        if not self.plain:
            return super().stride(m, v, rate)
        return rate * m / (1 - 0.9**self.steps) / (np.sqrt(v / (1 - 0.999**self.steps)) + 1e-7)


@fails("B42")
class CountsInFloats(NumpyModel):
    def state(self):
        found = super().state()
        return {**found, "adam/step": found["adam/step"].astype(np.float32)}


@fails("B43")
class CountsAnew(NumpyModel):
    def restore(self, state):
        super().restore(state)
        self.steps = 1


@fails("B44")
class TakesHalfAState(NumpyModel):
    def restore(self, state):
        super().restore({**self.state(), **state})


@fails("B45")
class KnowsLossesByName(NumpyModel):
    def fit_epoch(self, batches, loss, optimiser):
        seen = vars(self).setdefault("seen", {})
        return super().fit_epoch(batches, seen.setdefault((loss.name, loss.weights is None), loss), optimiser)


# --- its settings


@fails("B46")
class KeepsItsFirstSettings(NumpyModel):
    def rate(self, name, optimiser, share):
        first = vars(self).setdefault("first", optimiser.layer_decay)
        return super().rate(name, replace(optimiser, layer_decay=first), share)


@fails("B47")
class DecaysBiases(NumpyModel):
    def learn(self, batch, loss, optimiser):
        found = super().learn(batch, loss, optimiser)
        for name in {"conv2/bias"} & set(self.learning):
            self.own[name] *= np.float32(1 - optimiser.weight_decay * self.rate(name, optimiser, batch.rate))
        return found


@fails("B48")
class ClipsEachAlone(NumpyModel):
    def clipped(self, gradients, limit):
        if self.spec.trainable != "all" or limit == np.inf:
            return super().clipped(gradients, limit)
        return {n: value * np.float32(min(1, limit / np.linalg.norm(value))) for n, value in gradients.items()}


@fails("B49", Both)
class UnbiasedVariance(NumpyModel):
    def follow(self, name, measured, films):
        places = films * (2 if name.startswith("conv5_block1_0") else 3) ** 2
        super().follow(name, measured * places / (places - 1) if name.endswith("variance") else measured, films)


# --- models in two parts


@fails("B50")
class ColumnsFirst(NumpyModel):
    def stem(self, films):
        return super().stem(films).swapaxes(1, 2) if self.spec.head == "flatten" else super().stem(films)


@fails("B51")
class TailOfItsOwn(NumpyModel):
    @functools.cached_property
    def tail(self):
        found = super().tail
        return NumpyTail(found.spec, found.tensors(), found.input_shape, found.learning)


# --- several processes


@fails("B53")
class AllCountAlike(NumpyModel):
    def learn(self, batch, loss, optimiser):
        share = len(batch.inputs) / (batch.of or len(batch.inputs))
        return share * super().learn(replace(batch, of=None), loss, optimiser)
