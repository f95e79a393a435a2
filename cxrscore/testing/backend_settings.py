"""Cases of a backend whose models learn: what the settings of the optimiser do."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from cxrscore.contract import Array, Backend, Optimiser, Trainable, TrainableModel
from cxrscore.networks import reference as numpy_reference
from cxrscore.networks.tensors import depth_of, trainable_names
from cxrscore.testing.backend_optimiser import RATE, expect_step, small_model
from cxrscore.testing.backend_training import value_of
from cxrscore.testing.cases import Cases, expect, expect_within, needs
from cxrscore.testing.fixtures import (
    WEIGHTED_BCE,
    at_rate,
    build,
    known_architectures,
    random_tensors,
    require_reference,
    require_trainable,
    some_batch,
    spec_of,
)

SHARES = (1.0, 0.25, 0.0, 0.5)
"""Of the learning rate, in four steps."""


class SettingsCases(Cases):
    """Batch.rate and Optimiser."""

    @needs(Trainable)
    def test_b46_each_tensor_has_its_own_learning_rate(self, backend: Backend) -> None:
        """Four steps, each an epoch with another ``rate`` of its batch and the last two with another ``layer_decay``,
        are those of B41 at learning_rate * rate * layer_decay ** depth, with the depth of
        networks.tensors.depth_of()."""
        _expect_steps(small_model(backend), lambda step: at_rate(RATE, layer_decay=0.5 if step < 3 else 0.8))

    @needs(Trainable)
    def test_b47_kernels_decay_by_their_own_learning_rate(self, backend: Backend) -> None:
        """With ``weight_decay``, each kernel, also the head's, is first multiplied by 1 - weight_decay * its rate as in
        B46. Other tensors are not, and the decay is not part of the moments."""
        _expect_steps(small_model(backend), lambda step: at_rate(RATE, layer_decay=0.5, weight_decay=2.0 * step))

    @needs(Trainable)
    def test_b48_gradients_are_clipped_together(self, backend: Backend) -> None:
        """With ``clip_norm`` a third of the Euclidean norm of all gradients together, the first moment after one step
        is a third of that without it, rel. 1e-5. With twice the norm it is the same as without."""
        free = _first_moments(backend, at_rate(1e-3))
        norm = float(np.sqrt(sum(((10 * value.astype(np.float64)) ** 2).sum() for value in free.values())))
        for share, wanted in ((1 / 3, 1 / 3), (2.0, 1.0)):
            found = _first_moments(backend, at_rate(1e-3, clip_norm=share * norm))
            for name, value in free.items():
                what = f"{name} with clip_norm {share:.2g} of the norm {norm:.3g}"
                expect_within(found[name], wanted * value, 1e-5, what)

    @needs(Trainable)
    def test_b49_batch_normalisation_can_use_batch_statistics(self, backend: Backend) -> None:
        """With ``batch_norm`` "batch" and trainable "last-block", layers of the last block normalise by mean and biased
        variance of the batch: the loss is that of the reference, within 1e-4. Their stored statistics become 0.99 of
        the old plus 0.01 of the batch's, rel. 1e-4; at a learning rate of 0 no other tensor changes; predict() still
        uses the stored statistics."""
        normed = [name for name in known_architectures(backend) if name != "tinycnn"]
        if not normed:
            raise unittest.SkipTest("no architecture of this backend is known to have batch normalisation")
        spec = spec_of(normed[-1], trainable="last-block")
        model, batch = require_trainable(build(backend, spec, random_tensors(spec))), some_batch(spec, 3)
        before = model.tensors()
        norms = {name.removesuffix("/gamma") for name in trainable_names(spec) if name.endswith("/gamma")}
        logits, measured = numpy_reference.by_batch(spec, before, batch.inputs, norms)
        loss = model.fit_epoch([batch], WEIGHTED_BCE, at_rate(0.0, batch_norm="batch"))
        expect_within(loss, value_of(WEIGHTED_BCE, logits, batch.labels), 1e-4, "the loss by the batch's statistics")
        after = model.tensors()
        for name, old in before.items():
            if name.split("/")[0] in norms and name.endswith(("/moving_mean", "/moving_variance")):
                expect_within(after[name], 0.99 * old + 0.01 * measured[name], 1e-4, name)
            else:
                expect(np.array_equal(after[name], old), f"{name} changed at a learning rate of 0")
        stored = numpy_reference.logits(spec, after, batch.inputs)
        expect_within(model.predict(batch.inputs), stored, 1e-4, "scores after the step")


def _expect_steps(model: TrainableModel, settings: Callable[[int], Optimiser]) -> None:
    """Four steps from 1 on, with these settings."""
    spec = require_reference(model.spec)
    before, was = model.tensors(), {name: np.zeros(value.shape) for name, value in model.state().items()}
    for step, share in enumerate(SHARES, start=1):
        optimiser = settings(step)
        model.fit_epoch([replace(some_batch(spec, 3, seed=step), rate=share)], WEIGHTED_BCE, optimiser)
        now, after = {name: value.astype(np.float64) for name, value in model.state().items()}, model.tensors()
        for name in trainable_names(spec):
            rate = optimiser.learning_rate * share * optimiser.layer_decay ** depth_of(spec, name)
            decay = optimiser.weight_decay if name.endswith("/kernel") else 0.0
            expect_step(name, step, (before, was), (after, now), rate=rate, decay=decay)
        before, was = after, now


def _first_moments(backend: Backend, optimiser: Optimiser) -> dict[str, Array]:
    """Of a small model after its first step: a tenth of the gradients."""
    model = small_model(backend)
    model.fit_epoch([some_batch(model.spec, 3)], WEIGHTED_BCE, optimiser)
    return {name: value for name, value in model.state().items() if name.startswith("adam/m/")}
