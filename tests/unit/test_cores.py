"""One decoding process for each core that this process may use."""

import os

import pytest

from cxrscore import system_resources as cores


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system ties no process to cores")
def test_a_process_tied_to_one_core_counts_one():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert (cores.usable_cores(), cores.default_workers()) == (1, 1)
    finally:
        os.sched_setaffinity(0, before)
    assert cores.usable_cores() == len(before)


def test_elsewhere_those_of_the_machine_count_and_at_least_one(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    for there, wanted in ((None, 1), (6, 6)):
        monkeypatch.setattr(os, "cpu_count", lambda there=there: there)
        assert cores.usable_cores() == wanted


def test_large_machines_start_no_more_than_32(monkeypatch):
    monkeypatch.setattr(cores, "usable_cores", lambda: 96)
    assert cores.default_workers() == 32
