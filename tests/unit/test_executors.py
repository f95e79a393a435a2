"""What executors share, and the one that is built in."""

import json
import os
from collections import Counter

import pytest

from cxrscore import plugins
from cxrscore.contract import TaskBatch
from cxrscore.errors import BackendUnavailableError, FileFormatError, InputError, WorkerError
from cxrscore.executors import MAX_TRIES, LocalExecutor, TaskRunner, WorkQueue, local


def open_environment(prefix=""):
    """A worker that tells how many cores and threads it has, and which GPU."""

    def compute(item):
        if item == 5:
            raise FileFormatError("five")
        if item == 6:
            raise KeyError("six")
        cores = len(os.sched_getaffinity(0))
        names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "CUDA_VISIBLE_DEVICES")
        return prefix + json.dumps([cores, *(os.environ.get(name) for name in names)])

    return compute


def work(*items, **changed):
    return TaskBatch(items=items, opener="test_executors:open_environment", **changed)


def told_by(**changed):
    found = {}
    LocalExecutor().run(work(0, 1, **changed), found.__setitem__, processes=2)
    return [json.loads(text) for text in found.values()]


def test_a_ledger_gives_out_each_item_and_those_of_the_dead_last():
    told = []
    ledger = WorkQueue(work(4, 2, 4, 9), lambda *done: told.append(done))
    assert [ledger.next_item(), ledger.next_item()] == [4, 2]
    ledger.worker_lost(4, "fell asleep")
    assert [ledger.next_item(), ledger.next_item(), ledger.next_item()] == [9, 4, None]
    ledger.finish(2, {"text": "two"})
    assert told == [(2, "two")]


def test_a_ledger_gives_up_what_kills_and_asks_what_is_done():
    stored, told = set(), []
    ledger = WorkQueue(work(1, 2, is_done=stored.__contains__), lambda *done: told.append(done))
    for _ in range(MAX_TRIES - 1):
        ledger.worker_lost(2, "fell asleep")
    with pytest.raises(
        WorkerError, match=f"item 2 was given up: {MAX_TRIES} workers died while computing it, the last one fell asleep"
    ):
        ledger.worker_lost(2, "fell asleep")
    stored.add(2)
    ledger.worker_lost(2, "fell asleep")
    assert told == [(2, "")]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"error": "FileFormatError", "message": "no"}, FileFormatError),
        ({"error": "OSError", "message": "no"}, WorkerError),
        ({"error": "annotations", "message": "no"}, WorkerError),
    ],
)
def test_an_error_of_a_worker_is_raised_as_what_it_is(answer, error):
    with pytest.raises(error, match=r"^no$"):
        WorkQueue(work(1), lambda *done: None).finish(1, answer)


def test_a_worker_answers_with_text_or_error():
    opened = TaskRunner("test_executors:open_environment", {"prefix": "="})
    assert opened.answer(1)["text"].startswith("=[")
    assert opened.answer(5) == {"error": "FileFormatError", "message": "five"}
    answer = opened.answer(6)
    assert answer["error"] == "WorkerError"
    assert answer["message"].startswith("a worker failed at item 6: test_executors.py, line ")
    assert answer["message"].endswith("KeyError: 'six'")
    assert TaskRunner("no_such_module:x", {}).answer(1)["message"].endswith("No module named 'no_such_module'")


def test_cores_are_divided(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {1, 2, 3, 5, 8})
    assert [local._cores(number, 2) for number in range(2)] == [[1, 2], [3, 5]]
    assert Counter(core for number in range(7) for core in local._cores(number, 7)) == {1: 2, 2: 2, 3: 1, 5: 1, 8: 1}


def test_gpus_take_turns_unless_one_is_named(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert [local._device(number, "auto") for number in range(3)] == [
        {"CUDA_VISIBLE_DEVICES": "2"},
        {"CUDA_VISIBLE_DEVICES": "5"},
        {"CUDA_VISIBLE_DEVICES": "2"},
    ]
    assert local._device(0, "cuda:1") == local._device(0, "cpu") == {}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    assert local._device(1, "cuda") == {}


def test_workers_have_their_share_of_cores_and_threads_and_a_gpu(monkeypatch):
    for name in local.THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    share = max(1, len(os.sched_getaffinity(0)) // 2)
    found = told_by(device="cuda")
    assert [one[:3] for one in found] == [[share, str(share), str(share)]] * 2
    assert {one[3] for one in found} == {"2", "5"}
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert [one[1:3] for one in told_by()] == [["7", str(share)]] * 2


def test_local_knows_no_cluster():
    with pytest.raises(InputError, match=r"remove the address 'head:6379'"):
        LocalExecutor().run(work(1), lambda *done: None, processes=1, address="head:6379")


def test_an_executor_is_found_by_name(monkeypatch):
    assert isinstance(plugins.descriptor("executor", "local"), LocalExecutor)
    assert plugins.get_executor("local").name == "local"
    with pytest.raises(BackendUnavailableError, match="no executor is called 'slurm'"):
        plugins.get_executor("slurm")
    monkeypatch.setattr(LocalExecutor, "requires", ("no_such_engine",))
    with pytest.raises(BackendUnavailableError, match="executor 'local' needs no_such_engine, which is not installed"):
        plugins.get_executor("local")
