"""The kit passes the built-in executor, and finds each that is wrong in one thing in just that case."""

import pytest
from bad_executors import BAD

from cxrscore.executors import executors
from cxrscore.testing import ExecutorCases, cases, executor_cases, run_cases

pytestmark = pytest.mark.slow


class TestExecutors(ExecutorCases):
    @pytest.fixture(params=executors, ids=lambda executor: executor.name)
    def executor(self, request):
        return request.param


def test_every_case_has_an_executor_that_it_finds():
    assert set(BAD) == {case.number for case in cases(ExecutorCases)}


@pytest.mark.parametrize("number", BAD)
def test_a_bad_executor_fails_in_its_case(number, monkeypatch):
    monkeypatch.setattr(executor_cases, "TIMEOUT_SECONDS", 0.5)
    beside = "X07" if number == "X02" else "X02"  # to see that it is not wrong in everything
    outcomes = run_cases(ExecutorCases, only={number, beside}, executor=BAD[number])
    for worker in getattr(BAD[number], "left", ()):
        worker.close()
    assert {o.number for o in outcomes if o.status == "failed"} == {number}, outcomes
