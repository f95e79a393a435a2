"""Cases of a backend whose models learn: the loss, its gradients, and what training may change."""

from __future__ import annotations

import unittest
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import get_args

import numpy as np

from cxrscore.contract import (
    Array,
    Backend,
    Batch,
    Floats,
    Loss,
    ModelSpec,
    Tensors,
    Trainable,
    TrainableModel,
    TrainablePart,
)
from cxrscore.errors import InputError
from cxrscore.losses import losses
from cxrscore.networks import reference as numpy_reference
from cxrscore.networks.tensors import trainable_names
from cxrscore.testing.cases import Cases, expect, expect_close, expect_refusal, expect_within, needs
from cxrscore.testing.fixtures import (
    FINDINGS,
    HEADS,
    WEIGHTED_BCE,
    WEIGHTS,
    at_rate,
    build,
    known_architectures,
    random_tensors,
    require_reference,
    require_trainable,
    smallest_spec,
    some_batch,
    spec_of,
    tensors_of,
)

STEP = 1e-6
"""By which a number is moved to see the slope of a loss."""


def _model(backend: Backend, **changes: str) -> TrainableModel:
    """The small model, all of which may learn."""
    spec = smallest_spec(backend, **{"trainable": "all", **changes})
    return require_trainable(build(backend, spec, tensors_of(backend, spec)))


def value_of(loss: Loss, logits: Array, labels: Floats) -> float:
    """The loss by NumPy in float64, with the weights bound to it or ones."""
    weights = np.ones((2, logits.shape[1])) if loss.weights is None else loss.weights
    doubles = (np.asarray(values, np.float64) for values in (logits, labels, weights))
    return float(loss.function(np, *doubles))


def _changed(before: Tensors, after: Tensors) -> set[str]:
    return {name for name in before if not np.array_equal(before[name], after[name])}


class TrainingCases(Cases):
    """fit_epoch()."""

    @needs(Trainable)
    def test_b31_the_loss_equals_that_of_numpy(self, backend: Backend) -> None:
        """fit_epoch() returns, as a float, the mean over films of the loss before each step, within 1e-5 of the loss
        function on NumPy logits of predict(), for every built-in loss and batches of different sizes. With a learning
        rate of 0 no tensor changes."""
        model = _model(backend)
        before, batches = model.tensors(), [some_batch(model.spec, count, seed=count) for count in (4, 3, 2)]
        for loss in (loss.weighted(WEIGHTS) for loss in losses):
            found = model.fit_epoch(batches, loss, at_rate(0.0))
            values = [value_of(loss, model.predict(batch.inputs), batch.labels) for batch in batches]
            expect(isinstance(found, float), f"{loss.name}: returned a {type(found).__name__}, expected a float")
            expect_within(found, float(np.average(values, weights=[4, 3, 2])), 1e-5, f"{loss.name}: the mean loss")
        changed = sorted(_changed(before, model.tensors()))
        expect(not changed, f"a learning rate of 0 changed {', '.join(changed[:5])}")

    @needs(Trainable)
    def test_b32_a_loss_without_weights_is_given_ones(self, backend: Backend) -> None:
        """A loss whose ``weights`` are None is called with ones, float32 [2,C]."""
        model = _model(backend)
        batch, bare = some_batch(model.spec, 3), replace(WEIGHTED_BCE, weights=None)
        wanted = value_of(bare, model.predict(batch.inputs), batch.labels)
        expect_within(model.fit_epoch([batch], bare, at_rate(0.0)), wanted, 1e-5, "the loss without weights")

    @needs(Trainable)
    def test_b33_gradients_equal_finite_differences(self, backend: Backend) -> None:
        """With either head and for every built-in loss, the gradients of a first step (ten times the first moment)
        equal finite differences of the loss on the reference's logits: rel. 1e-3 by tensor in tinycnn; rel. 1e-2 in
        deep networks, where rounding moves some ReLUs across 0."""
        worst = 0.0
        for head in HEADS:
            spec = require_reference(smallest_spec(backend, trainable="all", head=head))
            tensors, batch = random_tensors(spec), some_batch(spec, 3)
            found = {
                loss: gradients_of(require_trainable(build(backend, spec, tensors)), batch, loss)
                for loss in (loss.weighted(WEIGHTS) for loss in losses)
            }
            bound = 1e-3 if spec.architecture == "tinycnn" else 1e-2
            worst = max(worst, expect_slopes(spec, tensors, batch, found, bound))
        self.note(f"largest difference {worst:.1g} of the largest gradient of a tensor")

    @needs(Trainable)
    def test_b34_unknown_labels_change_nothing(self, backend: Backend) -> None:
        """If all labels are NaN, every built-in loss is 0 and no tensor changes."""
        model = _model(backend)
        batch = some_batch(model.spec, 3)
        unknown = replace(batch, labels=np.full_like(batch.labels, np.nan))
        before = model.tensors()
        for loss in (loss.weighted(WEIGHTS) for loss in losses):
            found = model.fit_epoch([unknown], loss, at_rate(1e-2))
            expect(found == 0, f"{loss.name} of unknown labels is {found}, expected 0")
            changed = sorted(_changed(before, model.tensors()))
            expect(not changed, f"{loss.name} of unknown labels changed {', '.join(changed[:5])}")

    @needs(Trainable)
    def test_b35_an_unknown_finding_has_no_influence(self, backend: Backend) -> None:
        """If one finding of three is NaN in all films, its weights have gradients of 0, and all other gradients equal
        those of a model of the other two, rel. 1e-4 by tensor."""
        spec = require_reference(smallest_spec(backend, trainable="all"))
        tensors, batch = random_tensors(spec), some_batch(spec, 3)
        batch.labels[:, 2] = np.nan
        found = gradients_of(require_trainable(build(backend, spec, tensors)), batch, WEIGHTED_BCE)
        for name in ("head/kernel", "head/bias"):
            expect(not found[name][..., 2].any(), f"{name} has a gradient for a finding that is unknown throughout")
        fewer = replace(spec, findings=FINDINGS[:2])
        short = {name: value[..., :2] if name.startswith("head/") else value for name, value in tensors.items()}
        model = require_trainable(build(backend, fewer, short))
        wanted = gradients_of(
            model, replace(batch, labels=batch.labels[:, :2].copy()), WEIGHTED_BCE.weighted(WEIGHTS[:, :2])
        )
        for name, gradient in wanted.items():
            ours = found[name][..., :2] if name.startswith("head/") else found[name]
            expect_within(ours, gradient, 1e-4, f"gradient of {name}")

    @needs(Trainable)
    def test_b36_a_few_steps_lower_the_loss(self, backend: Backend) -> None:
        """Fifteen steps on eight films whose brightness gives the label at least halve the loss."""
        model = _model(backend)
        labels = np.repeat(np.array([[0.0], [1.0]], np.float32), 4, axis=0).repeat(len(FINDINGS), axis=1)
        films = 0.3 * some_batch(model.spec, 8).inputs + 0.6 * labels[:, :1, None]
        batch = Batch(inputs=films.astype(np.float32), labels=labels)
        history = [model.fit_epoch([batch], WEIGHTED_BCE, at_rate(3e-3)) for _ in range(16)]
        self.note(f"from {history[0]:.3f} to {history[-1]:.3f}")
        expect(
            history[-1] <= history[0] / 2, f"the loss went from {history[0]:.3f} to {history[-1]:.3f}, expected half"
        )

    @needs(Trainable)
    def test_b37_only_what_is_trainable_changes(self, backend: Backend) -> None:
        """A step changes all tensors that ``trainable`` selects ("head", "last-block" with the head, or "all") and no
        others."""
        for part in get_args(TrainablePart):
            model = _model(backend, trainable=part)
            before = tensors_of(backend, require_reference(model.spec))
            model.fit_epoch([some_batch(model.spec, 4)], WEIGHTED_BCE, at_rate(1e-3))
            changed, wanted = _changed(before, model.tensors()), trainable_names(model.spec)
            expect(not changed - wanted, f"{part}: {', '.join(sorted(changed - wanted)[:5])} changed and should not")
            expect(not wanted - changed, f"{part}: {', '.join(sorted(wanted - changed)[:5])} did not change")

    @needs(Trainable)
    def test_b38_stored_statistics_do_not_change(self, backend: Backend) -> None:
        """Networks with batch normalisation train with the stored statistics: the loss is that of the logits of
        predict(), within 1e-4, and the statistics do not change."""
        normed = [name for name in ("resnet50", "densenet121") if name in known_architectures(backend)]
        if not normed:
            raise unittest.SkipTest("no architecture of this backend is known to have batch normalisation")
        spec = spec_of(normed[0], trainable="all")
        model = require_trainable(build(backend, spec, random_tensors(spec)))
        before, batch = model.tensors(), some_batch(spec, 3)
        wanted = value_of(WEIGHTED_BCE, model.predict(batch.inputs), batch.labels)
        expect_within(model.fit_epoch([batch], WEIGHTED_BCE, at_rate(0.0)), wanted, 1e-4, "the loss in training")
        changed = sorted(_changed(before, model.tensors()))
        expect(not changed, f"a step with learning rate 0 changed {', '.join(changed[:5])}")

    @needs(Trainable)
    def test_b39_batches_and_given_tensors_are_not_modified(self, backend: Backend) -> None:
        """fit_epoch() accepts read-only batches and does not change them, nor the arrays that build() was given or
        tensors() returned."""
        spec = smallest_spec(backend, trainable="all")
        given, batch = tensors_of(backend, spec), some_batch(spec, 3)
        model = require_trainable(build(backend, spec, given))
        arrays = {"inputs": batch.inputs, "labels": batch.labels, **given}
        arrays |= {f"{name}, as tensors() returned it": value for name, value in model.tensors().items()}
        original = {name: value.copy() for name, value in arrays.items()}
        for writeable in (False, True):
            batch.inputs.flags.writeable = batch.labels.flags.writeable = writeable
            model.fit_epoch([batch], WEIGHTED_BCE, at_rate(1e-2))
        for name, value in arrays.items():
            expect(np.array_equal(value, original[name], equal_nan=True), f"training changed the array given as {name}")

    @needs(Trainable)
    def test_b40_an_invalid_epoch_is_refused(self, backend: Backend) -> None:
        """fit_epoch() without a batch, with films of another size, or with labels for another number of findings raises
        an InputError."""
        model = _model(backend)
        batch = some_batch(model.spec, 3)
        wrong: dict[str, Iterable[Batch]] = {
            "an epoch without a batch": [],
            "films of another size": [replace(batch, inputs=batch.inputs[:, 1:, 1:].copy())],
            "labels of one finding": [replace(batch, labels=batch.labels[:, :1].copy())],
        }
        for what, batches in wrong.items():
            expect_refusal(partial(model.fit_epoch, batches, WEIGHTED_BCE, at_rate(1e-3)), InputError, "", what)


def gradients_of(model: TrainableModel, batch: Batch, loss: Loss) -> dict[str, Array]:
    """The gradient by tensor: a tenth of it is the first moment after the first step of Adam."""
    model.fit_epoch([batch], loss, at_rate(1e-3))
    return {n.removeprefix("adam/m/"): value / 0.1 for n, value in model.state().items() if n.startswith("adam/m/")}


def expect_slopes(
    spec: ModelSpec, tensors: Tensors, batch: Batch, found: Mapping[Loss, Mapping[str, Array]], bound: float
) -> float:
    """Compare gradients with finite differences of the reference, at two numbers of each of some tensors: one at
    random, and where the first loss is steepest. Returns the largest difference, relative to a tensor's largest."""
    rng, first, worst = np.random.default_rng(0), next(iter(found.values())), 0.0
    for name in _some_names(first):
        for index in (int(rng.integers(first[name].size)), int(np.abs(first[name]).argmax())):
            place = tuple(map(int, np.unravel_index(index, first[name].shape)))
            lower, upper = (_moved(spec, tensors, batch, name, place, move) for move in (-STEP, STEP))
            for loss, gradients in found.items():
                slope = (value_of(loss, upper, batch.labels) - value_of(loss, lower, batch.labels)) / (2 * STEP)
                where = f"{loss.name}, {spec.head} head, gradient of {name} at {list(place)}"
                unit = max(float(np.abs(gradients[name]).max()), 1e-6)
                expect_close(gradients[name][place], slope, bound * unit, where)
                worst = max(worst, abs(gradients[name][place] - slope) / unit)
    return worst


def _some_names(names: Iterable[str]) -> list[str]:
    """All of a small network; of a large one the head and six others."""
    every = sorted(names)
    return every if len(every) <= 10 else ["head/bias", "head/kernel", *every[:: len(every) // 6]]


def _moved(spec: ModelSpec, tensors: Tensors, batch: Batch, name: str, place: tuple[int, ...], move: float) -> Array:
    """The reference's logits with one number of one tensor moved."""
    value = tensors[name].astype(np.float64)
    value[place] += move
    return numpy_reference.logits(spec, {**tensors, name: value}, batch.inputs)
