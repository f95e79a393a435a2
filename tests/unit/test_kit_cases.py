"""How cases are numbered, listed, run without pytest, and run by it in somebody else's test suite."""

import json
import os
import subprocess
import sys
import unittest
from types import SimpleNamespace

import numpy as np
import pytest
from numpy_backend import NumpyBackend, NumpyModel

from cxrscore import testing
from cxrscore.contract import SupportsFeatureTraining, Trainable
from cxrscore.errors import BackendUnavailableError, InputError
from cxrscore.networks.tensors import check_inputs
from cxrscore.testing import BackendCases, DatasetCases, ExplainerCases, LossCases, MetricCases, cases, run_cases
from cxrscore.testing.backend_operations import OperationCases
from cxrscore.testing.cases import Cases, expect, expect_close, expect_refusal, expect_within, needs
from cxrscore.testing.fixtures import smallest_spec

pytestmark = pytest.mark.slow

KITS = {"B": BackendCases, "L": LossCases, "E": ExplainerCases, "M": MetricCases, "D": DatasetCases}


@pytest.mark.parametrize("letter", KITS)
def test_numbers_are_in_order_and_every_case_says_what_it_demands(letter):
    found = cases(KITS[letter])
    assert [case.number for case in found] == [f"{letter}{number:02}" for number in range(1, len(found) + 1)]
    assert f"{found[0].number} to {found[-1].number}" in KITS[letter].__doc__
    for case in found:
        assert case.text.endswith(".")
        assert len(case.text) > 40
        assert 2 < len(case.title.split()) < 14


def test_the_kit_names_what_it_offers():
    assert all(hasattr(testing, name) for name in testing.__all__)


def test_importing_the_kit_imports_neither_pytest_nor_a_framework():
    code = "import sys, cxrscore.testing; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True).stdout.split()
    assert not {"pytest", "torch", "keras", "tensorflow", "jax", "openvino", "matplotlib", "sklearn"} & set(found)


# --- the runner


class SomeCases(Cases):
    def test_x02_it_passes(self, thing):
        """It does."""
        self.note(f"it was {thing}")

    def test_x01_it_fails(self):
        """It does not."""
        expect(False, "met this, expected that")

    @needs(Trainable)
    def test_x03_it_is_skipped(self, thing):
        raise unittest.SkipTest("no ability")

    def test_x04_it_raises(self):
        raise KeyError("lost")

    def test_x05_it_leaves(self):
        sys.exit("bye")

    def test_x06_it_raises_what_pytest_raises(self):
        pytest.fail("outside Exception")

    def test_without_a_number(self):
        raise AssertionError


def test_every_case_has_an_outcome_whatever_the_others_do():
    steps = []
    found = run_cases(SomeCases, thing=7, progress=lambda *step: steps.append(step))
    assert [(o.number, o.status, o.reason) for o in found] == [
        ("X01", "failed", "met this, expected that"),
        ("X02", "passed", ""),
        ("X03", "skipped", "no ability"),
        ("X04", "failed", "KeyError: 'lost'"),
        ("X05", "failed", "SystemExit: bye"),
        ("X06", "failed", "Failed: outside Exception"),
    ]
    assert found[1].measured == "it was 7"
    assert found[0].measured == ""
    assert found[1].title == "it passes"
    assert [case.ability for case in cases(SomeCases)] == ["", "", "Trainable", "", "", ""]
    assert steps[0] == ("X01 it fails", 0, 6)
    assert steps[-1] == ("cases", 6, 6)
    json.dumps([outcome.as_dict() for outcome in found])


def test_some_cases_can_be_chosen():
    assert [outcome.number for outcome in run_cases(SomeCases, only=["X02", "X99"], thing=7)] == ["X02"]


def test_an_interrupt_ends_the_run():
    class Interrupted(Cases):
        def test_x01_it_is_stopped(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_cases(Interrupted)


# --- what cases say


def test_differences_are_told_with_their_bound():
    wanted = np.array([1.0, -4.0])
    assert expect_within(wanted + 0.4, wanted, 0.11, "it") == pytest.approx(0.1)
    with pytest.raises(AssertionError, match=r"it: differs by 0\.1 of the largest value, expected at most 0\.01"):
        expect_within(wanted + 0.4, wanted, 0.01, "it")
    with pytest.raises(AssertionError, match=r"it: shape \[1\], expected \[2\]"):
        expect_within(wanted[:1], wanted, 1, "it")
    with pytest.raises(AssertionError, match=r"it: met 2, expected 1 within 0\.5"):
        expect_close(2.0, 1.0, 0.5, "it")


@pytest.mark.parametrize("check", [expect_within, expect_close])
def test_nan_is_never_near(check):
    with pytest.raises(AssertionError):
        check(np.array([np.nan]), np.array([1.0]), 1e9, "it")


def raise_(error):
    raise error


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: None, "it: was accepted, expected InputError"),
        (lambda: raise_(InputError("no")), "it: refused with 'no', expected a message that says 'name'"),
        (
            lambda: raise_(BackendUnavailableError("name")),
            "it: raised BackendUnavailableError: name, expected InputError",
        ),
    ],
)
def test_a_refusal_that_is_none_is_told(call, message):
    with pytest.raises(AssertionError) as failure:
        expect_refusal(call, InputError, "name", "it")
    assert str(failure.value) == message
    expect_refusal(lambda: raise_(InputError("a name")), InputError, "name", "it")


# --- backends that can do less, or have networks of their own


class Scorer:
    """No more than a Model."""

    framework, device = "numpy", "cpu"

    def __init__(self, model):
        self.spec, self.tensors, self._model = model.spec, model.tensors, model

    def predict(self, films):
        return self._model.predict(check_inputs(films, (self.spec.size, self.spec.size)))


class ScoringBackend(NumpyBackend):
    """Has no ability, knows only tinycnn, and no bf16."""

    trains = False
    architectures = ("tinycnn",)
    join = native_precisions = None

    def build(self, spec, tensors, *, precision="fp32", **options):
        if precision != "fp32":
            raise InputError("no bf16 here")
        return Scorer(super().build(spec, tensors, **options))


def test_cases_of_abilities_that_a_backend_lacks_are_skipped_with_the_reason():
    found = {outcome.number: outcome for outcome in run_cases(BackendCases, backend=ScoringBackend())}
    assert {o.number: o.reason for o in found.values() if o.status == "failed"} == {}
    abilities = {case.number: case.ability for case in cases(BackendCases) if case.ability}
    skipped = {number: outcome.reason for number, outcome in found.items() if outcome.status == "skipped"}
    assert skipped.pop("B21") == "no bf16: no bf16 here"
    of_graphs = {skipped.pop(case.number).partition(" list ")[0] for case in cases(OperationCases)}
    assert of_graphs == {"the backend does not", "the backend runs no graphs"}
    for number in ("B38", "B49"):
        assert skipped.pop(number) == "no architecture of this backend is known to have batch normalisation"
        del abilities[number]
    who = dict.fromkeys(("SupportsDistributed", "SupportsNativePrecisions"), "ScoringBackend")
    assert skipped == {number: f"{who.get(able, 'Scorer')} is not {able}" for number, able in abilities.items()}


class LinearModel:
    """A network that only its author knows: mean grey of each quarter, then a dense layer."""

    framework, device = "numpy", "cpu"

    def __init__(self, spec, weights):
        self.spec, self.weights = spec, weights

    def tensors(self):
        return {"mine/weights": self.weights.copy()}

    def predict(self, films):
        side = self.spec.size
        if films.dtype != np.float32 or films.shape[1:] != (side, side):
            raise InputError(f"got {films.dtype} {list(films.shape)}, expected float32 [N, {side}, {side}]")
        half = side // 2
        quarters = films.reshape(len(films), 2, half, 2, half).mean(axis=(2, 4)).reshape(len(films), 4)
        return quarters @ self.weights


class LinearBackend(NumpyBackend):
    architectures = ("quarters",)
    native_precisions = None
    trains = False

    def build(self, spec, tensors, *, device="auto", precision="fp32", seed=0):
        shape = (4, len(spec.findings))
        if device not in ("auto", "cpu"):
            raise BackendUnavailableError(f"no {device}")
        if precision != "fp32" or spec.architecture != "quarters":
            raise InputError(f"no {precision} {spec.architecture}")
        drawn = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
        given = {"mine/weights": drawn} if tensors is None else tensors
        for name in {"mine/weights"} ^ set(given):
            raise InputError(f"{name} is missing or extra")
        if given["mine/weights"].shape != shape:
            raise InputError("mine/weights is misshapen")
        return LinearModel(spec, given["mine/weights"].copy())


def test_a_network_without_reference_is_held_to_all_else():
    found = run_cases(BackendCases, backend=LinearBackend())
    assert {o.number: o.reason for o in found if o.status == "failed"} == {}
    reasons = {outcome.number: outcome.reason for outcome in found if outcome.status == "skipped"}
    assert "no reference for 'quarters'" in reasons["B19"]
    assert "no reference for 'quarters'" in reasons["B20"]
    assert {"B05", "B06", "B14", "B16", "B22"} <= {outcome.number for outcome in found if outcome.status == "passed"}


def test_the_smallest_network_that_the_kit_knows_is_taken():
    def named(*architectures):
        return smallest_spec(SimpleNamespace(name="some", architectures=architectures)).architecture

    assert named("resnet50", "tinycnn") == "tinycnn"
    assert named("mine", "resnet50", "densenet121") == "densenet121"
    assert named("mine", "yours") == "mine"


def test_the_numpy_backend_has_every_ability():
    model = NumpyBackend().build(smallest_spec(NumpyBackend()), None)
    assert isinstance(model, NumpyModel)
    assert isinstance(model, Trainable)
    assert isinstance(model, SupportsFeatureTraining)


# --- in somebody else's test suite

THEIRS = """
import pytest
from cxrscore.testing import BackendCases, MetricCases
from cxrscore.contract import Metric
from test_kit_cases import ScoringBackend

class TestMine(BackendCases):
    @pytest.fixture
    def backend(self):
        return ScoringBackend()

class TestFigure(MetricCases):
    @pytest.fixture
    def metric(self):
        return Metric(name="bad", summary="wrong", function=lambda truth, score: 1.0)
"""


def environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def test_pytest_collects_a_class_that_inherits(tmp_path):
    """With every warning an error, as careful authors have it."""
    (tmp_path / "test_theirs.py").write_text(THEIRS)
    words = ["-W", "error", "-q", "-rs", "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path]
    words += ["-o", "markers=slow", "--deselect", "test_theirs.py::TestMine::test_b22_memory_is_flat_over_200_films"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Scorer is not Trainable" in done.stdout
    assert "without films it is 1.0, expected NaN" in done.stdout
    number = len(cases(BackendCases)) + len(cases(MetricCases)) - 1
    skipped = 2 + sum(case.ability != "" for case in cases(BackendCases))  # bf16, and the threshold of the metric
    skipped += len(cases(OperationCases))
    assert f"1 failed, {number - skipped - 1} passed, {skipped} skipped, 1 deselected" in done.stdout
