"""Cases of a backend that trains: the optimiser, and saving and restoring its state."""

from __future__ import annotations

from functools import partial

import numpy as np

from cxrscore.contract import Backend, Tensors, Trainable, TrainableModel
from cxrscore.errors import InputError
from cxrscore.networks.tensors import trainable_names
from cxrscore.testing.backend_training import value_of
from cxrscore.testing.cases import Cases, expect, expect_close, expect_refusal, expect_within, needs
from cxrscore.testing.fixtures import (
    WEIGHTED_BCE,
    WEIGHTS,
    at_rate,
    build,
    require_trainable,
    smallest_spec,
    some_batch,
    tensors_of,
)

RATE = 1e-2
FADING = WEIGHTED_BCE.weighted((WEIGHTS * [1, 1e-3, 1e-6]).astype(np.float32))
"""Gradients from large to so small that it shows where Adam adds its epsilon."""


def small_model(backend: Backend, part: str = "all") -> TrainableModel:
    """The smallest network, of which this part may learn."""
    spec = smallest_spec(backend, trainable=part)
    return require_trainable(build(backend, spec, tensors_of(backend, spec)))


class OptimiserCases(Cases):
    """Adam, state() and restore()."""

    @needs(Trainable)
    def test_b41_steps_follow_adam(self, backend: Backend) -> None:
        """Four steps follow Kingma and Ba, ICLR 2015, in the order of the end of their section 2, with betas 0.9 and
        0.999 and epsilon 1e-7. The second moment follows from the first, rel. 1e-3, and every value is within a
        thousandth of the learning rate of where both lead it, however small its gradient."""
        model = small_model(backend)
        zeros = {name: np.zeros(value.shape) for name, value in model.state().items()}
        before, was = model.tensors(), zeros
        for step in range(1, 5):
            model.fit_epoch([some_batch(model.spec, 3, seed=step)], FADING, at_rate(RATE))
            now, after = {name: value.astype(np.float64) for name, value in model.state().items()}, model.tensors()
            expect(now["adam/step"] == step, f"adam/step is {now['adam/step']:g} after {step} steps")
            for name in (name.removeprefix("adam/m/") for name in now if name.startswith("adam/m/")):
                expect_step(name, step, (before, was), (after, now))
            before, was = after, now

    @needs(Trainable)
    def test_b42_the_state_has_neutral_names(self, backend: Backend) -> None:
        """state() has "adam/step", int64 [], and, float32 in the shape of the tensor, "adam/m/NAME" and "adam/v/NAME"
        for each trainable tensor and no other. All are 0 before the first step."""
        for part in ("last-block", "all"):
            model = small_model(backend, part)
            state, tensors = model.state(), model.tensors()
            known = model.spec.network is not None
            names = trainable_names(model.spec) if known else {n.split("/", 2)[2] for n in state if n != "adam/step"}
            wanted = {f"adam/{moment}/{name}": tensors[name].shape for moment in "mv" for name in names}
            other = sorted(set(state) ^ {"adam/step", *wanted})
            expect(not other, f"{part}: the state lacks, or has too many: {', '.join(other[:5])}")
            for name, value in state.items():
                met, step = f"{name} is {value.dtype} {list(value.shape)}", name == "adam/step"
                fits = "int64 []" if step else f"float32 {list(wanted[name])}"
                expect(met == f"{name} is {fits}", f"{met}, expected {fits}")
                expect(not value.any(), f"{name} is not 0 before the first step")

    @needs(Trainable)
    def test_b43_state_and_tensors_suffice_to_resume(self, backend: Backend) -> None:
        """A model built with the tensors() and given the state() after three steps makes the next three as the first
        model does, within 1e-6, also with another learning rate. state() returns copies."""
        straight = small_model(backend)
        batches = [some_batch(straight.spec, count, seed=count) for count in (4, 3, 2)]
        straight.fit_epoch(batches, WEIGHTED_BCE, at_rate(1e-3))
        state, tensors = straight.state(), straight.tensors()
        for _ in range(2):
            straight.fit_epoch(batches, WEIGHTED_BCE, at_rate(2e-3))
        resumed = require_trainable(build(backend, straight.spec, tensors))
        resumed.restore(state)
        for _ in range(2):
            resumed.fit_epoch(batches, WEIGHTED_BCE, at_rate(2e-3))
        worst = 0.0
        for name, wanted in (straight.tensors() | straight.state()).items():
            found = (resumed.tensors() | resumed.state())[name]
            worst = max(worst, float(np.abs(found.astype(np.float64) - wanted).max()))
            expect_close(found, wanted, 1e-6, f"{name}, after going on")
        self.note(f"largest difference {worst:.1g}")

    @needs(Trainable)
    def test_b44_a_state_that_does_not_fit_is_refused(self, backend: Backend) -> None:
        """restore() of a state with a missing, extra or misshapen array raises an InputError and leaves the optimiser
        unchanged."""
        model = small_model(backend)
        model.fit_epoch([some_batch(model.spec, 3)], WEIGHTED_BCE, at_rate(1e-3))
        state = model.state()
        name = sorted(state)[0]
        wrong: dict[str, Tensors] = {
            f"a state without {name}": {key: value for key, value in state.items() if key != name},
            "a state with adam/m/no_such_layer/bias": {**state, "adam/m/no_such_layer/bias": np.zeros(4, np.float32)},
            f"a state whose {name} is misshapen": {**state, name: np.zeros((2, *state[name].shape), np.float32)},
        }
        for what, values in wrong.items():
            zeros = {key: np.zeros_like(value) for key, value in values.items()}
            expect_refusal(partial(model.restore, zeros), InputError, "", what)
        for key, value in model.state().items():
            expect(np.array_equal(value, state[key]), f"a state that was refused changed {key}")

    @needs(Trainable)
    def test_b45_the_loss_can_change_between_epochs(self, backend: Backend) -> None:
        """A loss of the same name with other weights is used as given, and the step count continues."""
        model = small_model(backend)
        batch = some_batch(model.spec, 3)
        model.fit_epoch([batch], WEIGHTED_BCE, at_rate(1e-3))
        doubled = WEIGHTED_BCE.weighted(2 * WEIGHTS)
        wanted = value_of(doubled, model.predict(batch.inputs), batch.labels)
        expect_within(model.fit_epoch([batch], doubled, at_rate(1e-3)), wanted, 1e-5, "the loss with doubled weights")
        expect(model.state()["adam/step"] == 2, f"adam/step is {model.state()['adam/step']} after two steps")


def expect_step(
    name: str,
    step: int,
    before: tuple[Tensors, Tensors],
    after: tuple[Tensors, Tensors],
    *,
    rate: float = RATE,
    decay: float = 0.0,
) -> None:
    """(tensors, state) before and after a step: one follows from the other, the gradient read off the first moment.

    rate, decay  of this tensor
    """
    (old, was), (new, now) = before, after
    m, v = now[f"adam/m/{name}"], now[f"adam/v/{name}"]
    gradient = (m - 0.9 * was[f"adam/m/{name}"]) / 0.1
    words = f"step {step}, {name}"
    expect_within(v, 0.999 * was[f"adam/v/{name}"] + 0.001 * gradient**2, 1e-3, f"{words}: second moment")
    pace = rate * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
    shrunk = old[name].astype(np.float64) * (1 - decay * rate)
    expect_close(new[name], shrunk - pace * m / (np.sqrt(v) + 1e-7), 1e-3 * RATE, f"{words}: value")
