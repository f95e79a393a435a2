"""How torch's processes meet, in threads: torchrun may hand them the store of those whose place they take."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest


@pytest.fixture
def processes(backend):
    """The plugin's module, and the framework's package for several processes."""
    if backend.name != "torch":
        pytest.skip(f"{backend.name} trains in one process")
    from cxrscore_torch import distributed

    return distributed


def meet(processes, store, of):
    """The part of the store that each of so many gets."""
    with ThreadPoolExecutor(of) as pool:
        return list(pool.map(lambda rank: processes._prefix_store(store, rank, of), range(of)))


def test_they_meet_apart_from_those_who_were_there_before(processes):
    store = processes.dist.HashStore()
    store.set("cxrscore/asks/2", "dead")  # asked, and died before it was answered
    first = meet(processes, store, 3)
    first[0].set("address", "of the dead")
    second = meet(processes, store, 3)
    assert first[2].get("address") == b"of the dead"
    assert not second[0].check(["address"])
    second[1].set("address", "new")
    assert [part.get("address") for part in second] == [b"new"] * 3
    assert first[0].get("address") == b"of the dead"


def test_one_that_does_not_come_is_not_waited_for_without_end(processes, monkeypatch):
    monkeypatch.setattr(processes, "_RENDEZVOUS_TIMEOUT", timedelta(seconds=0.1))
    with pytest.raises(RuntimeError, match="1 of 2 processes did not connect within"):
        processes._prefix_store(processes.dist.HashStore(), 0, 2)


def test_what_stops_a_wait_is_told_in_a_sentence(processes):
    def wait():
        raise RuntimeError("Connection closed by peer. This is typically caused by something else.")

    with pytest.raises(
        processes.OtherProcessError, match=r"and this one with it \(Connection closed by peer\)$"
    ) as caught:
        processes._collective(wait)
    assert caught.value.__cause__.__traceback__ is None  # whose frames would hold the group


def test_processes_that_nobody_introduced_cannot_meet(processes, monkeypatch):
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.setenv("MASTER_PORT", "1")
    with pytest.raises(processes.InputError, match="2 processes cannot connect without MASTER_ADDR: start"):
        processes.join(rank=0, of=2, device="cpu")
