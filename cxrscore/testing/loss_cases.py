"""Cases of a loss."""

from __future__ import annotations

import contextlib
import unittest
from itertools import product

import numpy as np

from cxrscore.contract import Array, Backend, Batch, Loss, Trainable
from cxrscore.errors import BackendUnavailableError
from cxrscore.plugins import available_backends, fastest_backends
from cxrscore.testing.cases import Cases, expect, expect_close, needs
from cxrscore.testing.fixtures import (
    FINDINGS,
    WEIGHTS,
    at_rate,
    build,
    random_tensors,
    require_trainable,
    some_films,
    some_labels,
    spec_of,
)
from cxrscore.testing.namespace import SHARED, Namespace, Values

FAR = 80.0
"""A logit whose probability is 0 or 1 in float32, and whose exponential is not yet infinite."""
STEP = 1e-5


def _some_logits(count: int) -> Array:
    return np.random.default_rng(0).normal(0, 2, (count, len(FINDINGS)))


def _value(loss: Loss, logits: Array, labels: Array, weights: Array = WEIGHTS) -> float:
    """By NumPy in float64."""
    found = loss.function(np, *(np.asarray(values, np.float64) for values in (logits, labels, weights)))
    expect(np.shape(found) == (), f"the loss has shape {list(np.shape(found))}, expected one number")
    return float(found)


def _slopes(loss: Loss, logits: Array, labels: Array) -> Array:
    """d loss / d logits [N,C] by finite differences."""
    found = np.zeros(logits.shape)
    for place in np.ndindex(logits.shape):
        move = np.zeros(logits.shape)
        move[place] = STEP
        found[place] = (_value(loss, logits + move, labels) - _value(loss, logits - move, labels)) / (2 * STEP)
    return found


class LossCases(Cases):
    """Cases of a loss, L01 to L09. Fixture: ``loss``, an object that cxrscore_losses returns."""

    def learners(self) -> list[Backend]:
        """Backends through whose automatic differentiation the loss is put: the first that can learn is used."""
        there = available_backends()
        return [there[name] for name in fastest_backends(spec_of("tinycnn"), "cpu")]

    def test_l01_the_descriptor_is_well_formed(self, loss: Loss) -> None:
        """It is a ``Loss`` whose ``name`` is one word, with a function and a summary. Its ``weights`` are None, as
        training binds them."""
        expect(isinstance(loss, Loss), f"it is a {type(loss).__name__}, expected a Loss")
        expect(isinstance(loss.name, str) and len(loss.name.split()) == 1, f"name is {loss.name!r}, expected one word")
        expect(callable(loss.function), f"function is {loss.function!r}, expected a function")
        expect(isinstance(loss.summary, str) and loss.summary, "summary is empty, expected a few words")
        expect(loss.weights is None, "weights are bound already, expected None")

    def test_l02_the_value_is_one_finite_number(self, loss: Loss) -> None:
        """It is a finite number of shape [] for logits of a few units and of 80 and -80, right or wrong."""
        for labels in (some_labels(6), some_labels(6, unknown=False)):
            value = _value(loss, _some_logits(6), labels)
            expect(np.isfinite(value), f"the loss is {value}, expected a finite number")
        for logit, label in product((FAR, -FAR), (0.0, 1.0)):
            labels = np.array([[label, 1 - label, 1.0]])
            value = _value(loss, np.full((1, 3), logit), labels)
            expect(np.isfinite(value), f"the loss of logits {logit:g} and labels {labels.tolist()} is {value}")

    def test_l03_it_uses_only_what_all_frameworks_share(self, loss: Loss) -> None:
        """It uses only the functions of cxrscore.testing.SHARED, from ``xp``, with axis and keepdims as the only
        keyword arguments; and of arrays only operators, indexing, shape, ndim and dtype."""
        logits, labels = _some_logits(4), some_labels(4)
        try:
            found = loss.function(
                Namespace(), *(Values(values.astype(np.float64)) for values in (logits, labels, WEIGHTS))
            )
        except (AttributeError, TypeError) as error:
            raise AssertionError(f"{error}; functions of xp may be: {', '.join(SHARED)}") from error
        expect(isinstance(found, Values), f"it returned a {type(found).__name__}, expected an array of xp")
        expect_close(found.array, _value(loss, logits, labels), 1e-12, "the value with no more than SHARED")

    def test_l04_it_is_the_mean_over_films(self, loss: Loss) -> None:
        """The loss of a batch is the mean of the losses of its films."""
        logits, labels = _some_logits(5), some_labels(5)
        alone = [_value(loss, logits[film : film + 1], labels[film : film + 1]) for film in range(5)]
        expect_close(_value(loss, logits, labels), float(np.mean(alone)), 1e-9, "the loss of five films")

    def test_l05_unknown_labels_add_nothing_to_the_value(self, loss: Loss) -> None:
        """If all labels are NaN the loss is 0; if those of a finding are, it is the loss without that finding, whatever
        its logits."""
        logits, labels = _some_logits(4), some_labels(4, unknown=False)
        expect_close(_value(loss, logits, np.full_like(labels, np.nan)), 0.0, 0.0, "the loss of unknown labels")
        for finding, far in product(range(3), (0.0, FAR)):
            rest = [other for other in range(3) if other != finding]
            masked, moved = labels.copy(), logits.copy()
            masked[:, finding], moved[:, finding] = np.nan, far
            wanted = _value(loss, logits[:, rest], labels[:, rest], WEIGHTS[:, rest])
            words = f"finding {finding} unknown, its logits {far:g}"
            expect_close(_value(loss, moved, masked), wanted, 1e-9, words)

    def test_l06_unknown_labels_add_nothing_to_the_gradient(self, loss: Loss) -> None:
        """The gradient with respect to a logit whose label is NaN is 0."""
        logits, labels = _some_logits(6), some_labels(6)
        labels[2] = np.nan
        slopes = np.where(np.isnan(labels), _slopes(loss, logits, labels), 0)
        film, finding = np.unravel_index(np.abs(slopes).argmax(), slopes.shape)
        expect(not slopes.any(), f"film {film}, finding {finding}: unknown, and the slope is {slopes[film, finding]:g}")

    def test_l07_right_answers_cost_less(self, loss: Loss) -> None:
        """Logits on the side of their labels give a smaller loss than the same logits with the opposite sign."""
        labels = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        logits = 6 * labels - 3
        right, wrong = _value(loss, logits, labels), _value(loss, -logits, labels)
        expect(right < wrong, f"right answers cost {right:g}, wrong ones {wrong:g}")

    def test_l08_arguments_are_not_modified(self, loss: Loss) -> None:
        """It accepts read-only arrays and does not write to them."""
        arguments = [_some_logits(4), some_labels(4).astype(np.float64), WEIGHTS.astype(np.float64)]
        original = [values.copy() for values in arguments]
        for writeable in (False, True):
            for values in arguments:
                values.flags.writeable = writeable
            loss.function(np, *arguments)
        for name, values, wanted in zip(("logits", "labels", "weights"), arguments, original, strict=True):
            expect(np.array_equal(values, wanted, equal_nan=True), f"the {name} were changed")

    @needs(Trainable)
    def test_l09_a_framework_can_differentiate_it(self, loss: Loss) -> None:
        """In an installed backend that trains, its gradient is finite and equals NumPy's finite differences within
        1e-4, film by film, also for logits of 80 or -80 and unknown labels."""
        backend, spec = self._learner(), spec_of("tinycnn")
        tensors = random_tensors(spec)
        self.note(f"by {backend.name}")
        for bias, labels in product(([0, 0, 0], [FAR, -FAR, 0]), ([1, 0, 1], [0, 1, np.nan])):
            batch = Batch(inputs=some_films(1, spec.size), labels=np.array([labels], np.float32))
            model = require_trainable(build(backend, spec, tensors | {"head/bias": np.array(bias, np.float32)}))
            logits = model.predict(batch.inputs).astype(np.float64)
            model.fit_epoch([batch], loss.weighted(WEIGHTS), at_rate(0.0))
            found, wanted = model.state()["adam/m/head/bias"] / 0.1, _slopes(loss, logits, batch.labels)[0]
            words = f"d loss / d logit at {_rounded(logits)} with labels {labels}"
            expect(np.isfinite(found).all(), f"{words} is {_rounded(found)}")
            expect_close(found, wanted, 1e-4, words)

    def _learner(self) -> Backend:
        for backend in self.learners():
            with contextlib.suppress(BackendUnavailableError):
                if isinstance(build(backend, spec_of("tinycnn"), None), Trainable):
                    return backend
        raise unittest.SkipTest("no backend is installed that can train tinycnn")


def _rounded(values: Array) -> list[float]:
    return [round(float(value), 4) for value in np.ravel(values)]
