"""The kit passes a backend that is right, and fails each of those that are wrong in one thing in just that case."""

import numpy as np
import pytest
from bad_graphs import BAD, MORE, NUMBERS_OF
from graph_backend import GraphBackend, LearningGraphs
from numpy_backend import NumpyBackend
from threadpoolctl import threadpool_limits

from cxrscore.testing import BackendCases, cases, run_cases

pytestmark = pytest.mark.slow

NUMBERS = [case.number for case in cases(BackendCases)]
ALONE = {"B02", "B05", "B19", "B22", "B26", "B38", "B49", "B53"}
"""A process of its own, 200 films, large networks, or a case that clips, which B48 is about: run for the right backend,
and for the one bad in this, only."""


@pytest.fixture(autouse=True)
def one_thread():
    """Matrices are small here: threads that wait for each other cost more than they give."""
    with threadpool_limits(1):
        yield


class TestNumpyBackend(BackendCases):
    """A backend that is right passes every case."""

    @pytest.fixture
    def backend(self):
        return NumpyBackend()


class TestGraphBackend(BackendCases):
    """So does one that runs any graph."""

    @pytest.fixture
    def backend(self):
        return GraphBackend()


@pytest.mark.parametrize("number", [*NUMBERS_OF.values(), "B79", "B80"])
def test_gradients_of_a_right_backend_pass(number):
    (outcome,) = run_cases(BackendCases, only=[number], backend=LearningGraphs())
    assert (outcome.status, outcome.reason) == ("passed", "")


@pytest.mark.parametrize("number", NUMBERS_OF.values())
def test_wrong_gradients_of_any_operation_fail(number):
    class Model(LearningGraphs.model):
        def gradients(self, films, slope):
            found = super().gradients(films, slope)
            return found | {"patches/bias": found["patches/bias"] * np.float32(1.01)}

    backend = type("Steep", (LearningGraphs,), {"model": Model})()
    (outcome,) = run_cases(BackendCases, only=[number], backend=backend)
    assert (outcome.status, "gradient of patches/bias" in outcome.reason) == ("failed", True)


@pytest.mark.parametrize(("number", "backend"), MORE, ids=lambda given: getattr(given, "__name__", given))
def test_other_faults_of_an_operation_fail_in_its_case(number, backend):
    (outcome,) = run_cases(BackendCases, only=[number], backend=backend())
    assert outcome.status == "failed"


def test_every_case_has_a_backend_that_it_fails():
    assert sorted(BAD) == NUMBERS


@pytest.mark.parametrize("number", NUMBERS)
def test_a_bad_backend_fails_in_its_case_and_in_no_other(number):
    held_to = (set(NUMBERS) - ALONE) | {number}
    outcomes = run_cases(BackendCases, only=held_to, backend=BAD[number]())
    failed = {outcome.number: outcome.reason for outcome in outcomes if outcome.status == "failed"}
    assert set(failed) == {number}, failed
    assert failed[number]
