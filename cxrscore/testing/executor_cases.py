"""Cases of an executor. Its workers are real ones; what they compute is an empty file for each item."""

from __future__ import annotations

import os
import secrets
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cxrscore.contract import Executor, TaskBatch
from cxrscore.errors import CxrscoreError, FileFormatError, WorkerError
from cxrscore.testing.cases import Cases, expect, expect_refusal

DEATHS = 10
"""As many workers may die of one item, at most."""
TIMEOUT_SECONDS = 20.0
"""Seconds until workers must be gone."""


def open_notes(folder: str, faults: dict[str, str]) -> Callable[[int], str]:
    """What the workers of the cases open: each writes down that it was opened, what it is given, and what it stores.

    faults  by item, as JSON has it: "raise" and "refuse", an error; "die", always; "die once"; "die late", once, when
            the item is stored
    """
    notes, me = Path(folder), f"{os.getpid()} {secrets.token_hex(4)}"
    (notes / f"opened {me}").touch(mode=0o600)

    def compute(item: int) -> str:
        (notes / f"given {item} {secrets.token_hex(4)}").touch(mode=0o600)
        fault = faults.get(str(item), "")
        if fault == "raise":
            raise ValueError(f"item {item} is odd")
        if fault == "refuse":
            raise FileFormatError(f"item {item} is damaged")
        first = len(list(notes.glob(f"given {item} *"))) == 1
        if fault == "die late":
            (notes / f"stored {item}").touch(mode=0o600)
        if fault == "die" or (fault and first):
            os.kill(os.getpid(), signal.SIGKILL)
        (notes / f"stored {item}").touch(mode=0o600)
        return f"text of {item}"

    return compute


class _Folder:
    """Records of the workers, and the reports to the caller."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reported: list[tuple[int, str]] = []
        self.threads: set[int] = set()

    def run(self, executor: Executor, items: Sequence[int], **faults: str) -> None:
        """Has two workers do these items; a fault is named as i7="die"."""
        by_item = {name.removeprefix("i"): fault for name, fault in faults.items()}
        work = TaskBatch(
            items=tuple(items),
            opener=f"{__name__}:open_notes",
            arguments={"folder": str(self.folder), "faults": by_item},
            device="cpu",
            is_done=lambda item: (self.folder / f"stored {item}").exists(),
        )
        executor.run(work, self.done, processes=2)

    def done(self, item: int, text: str) -> None:
        self.reported.append((item, text))
        self.threads.add(threading.get_ident())

    def given(self) -> Counter[int]:
        """How often each item was given to a worker."""
        return Counter(int(path.name.split()[1]) for path in self.folder.glob("given *"))

    def workers(self) -> list[int]:
        """The process of each worker that was opened."""
        return [int(path.name.split()[1]) for path in self.folder.glob("opened *")]


@contextmanager
def _folder() -> Iterator[_Folder]:
    with tempfile.TemporaryDirectory(prefix="cxrscore-") as folder:
        yield _Folder(Path(folder))


class ExecutorCases(Cases):
    """Cases of an executor, X01 to X09. Fixture: ``executor``, an object that cxrscore_executors returns. They run on
    this machine, without an address."""

    def test_x01_the_descriptor_is_well_formed(self, executor: Executor) -> None:
        """``name`` is one word, with a summary, ``requires``, ``install`` and ``run``."""
        expect(isinstance(executor.name, str) and len(executor.name.split()) == 1, f"name is {executor.name!r}")
        expect(isinstance(executor.summary, str) and executor.summary, "summary is empty, expected a few words")
        expect(isinstance(executor.requires, tuple), f"requires is {executor.requires!r}, expected a tuple of modules")
        expect(isinstance(executor.install, str) and executor.install, "install is empty, expected a line for a shell")
        expect(callable(executor.run), f"run is {executor.run!r}, expected a function")

    def test_x02_every_item_is_computed_once(self, executor: Executor) -> None:
        """Each item, whatever its number, is computed, and done() is called for it once, in the calling thread, with
        the text of compute()."""
        items = (3, 4, 5, 70, 71, 999)
        with _folder() as folder:
            folder.run(executor, items)
            wanted = [(item, f"text of {item}") for item in items]
            expect(sorted(folder.reported) == wanted, f"reported {sorted(folder.reported)}, expected {wanted}")
            expect(set(folder.given()) == set(items), f"computed {sorted(folder.given())}, expected {list(items)}")
            expect(folder.threads == {threading.get_ident()}, "done() was called in another thread")

    def test_x03_each_worker_opens_the_task_once(self, executor: Executor) -> None:
        """The opener is called once in each worker, never in the calling process, and in no more workers than
        ``processes``."""
        with _folder() as folder:
            folder.run(executor, range(12))
            workers = folder.workers()
            expect(os.getpid() not in workers, "the work was opened in the process that called run()")
            expect(1 <= len(workers) <= 2, f"two workers opened the work {len(workers)} times")

    def test_x04_an_error_of_a_worker_reaches_the_caller(self, executor: Executor) -> None:
        """An exception of compute() ends the run: run() raises a CxrscoreError as it is, and anything else as a
        WorkerError with its message."""
        for fault, error, words in (
            ("refuse", FileFormatError, "item 2 is damaged"),
            ("raise", WorkerError, "item 2 is odd"),
        ):
            with _folder() as folder:
                expect_refusal(lambda: folder.run(executor, range(4), i2=fault), error, words, fault)  # noqa: B023

    def test_x05_the_item_of_a_dead_worker_is_computed_again(self, executor: Executor) -> None:
        """If a worker is killed, another computes its item; all others are computed once; done() is called for each."""
        with _folder() as folder:
            folder.run(executor, range(6), i1="die once", i4="die once")
            reported, given = sorted(item for item, _ in folder.reported), folder.given()
            expect(reported == list(range(6)), f"reported items {reported}, expected each of 0 to 5 once")
            wanted = Counter({0: 1, 1: 2, 2: 1, 3: 1, 4: 2, 5: 1})
            expect(given == wanted, f"items were computed {dict(given)} times, expected {dict(wanted)}")

    def test_x06_an_item_that_kills_every_worker_is_given_up(self, executor: Executor) -> None:
        """An item whose workers die several times ends the run with a WorkerError that names it."""
        with _folder() as folder:
            expect_refusal(
                lambda: folder.run(executor, range(4), i2="die"), WorkerError, "item 2", "an item that kills"
            )
            deaths = folder.given()[2]
            expect(2 <= deaths <= DEATHS, f"{deaths} workers were given it, expected 2 to {DEATHS}")

    def test_x07_without_items_no_worker_starts(self, executor: Executor) -> None:
        """Without items, nothing is opened and done() is not called."""
        with _folder() as folder:
            folder.run(executor, ())
            expect(not folder.reported and not folder.workers(), "something was opened or reported")

    def test_x08_a_stored_item_is_not_computed_again(self, executor: Executor) -> None:
        """If a worker died after storing its item, is_done() says so; done() is called and the item is not computed
        again."""
        with _folder() as folder:
            folder.run(executor, range(4), i2="die late")
            reported, given = sorted(item for item, _ in folder.reported), folder.given()
            expect(reported == [0, 1, 2, 3], f"reported items {reported}, expected each of 0 to 3 once")
            expect(given[2] == 1, f"the stored item was computed {given[2]} times, expected once")

    def test_x09_no_worker_outlives_the_run(self, executor: Executor) -> None:
        """After run() has ended, normally, by an error of a worker, or by one of done(), its workers end."""
        with _folder() as folder:
            folder.run(executor, range(3))
            expect_refusal(lambda: folder.run(executor, range(3), i1="raise"), WorkerError, "item 1", "an error")
            folder.done = _stopped  # type: ignore[method-assign]
            expect_refusal(lambda: folder.run(executor, range(3)), CxrscoreError, "enough", "an error of done()")
            left = _still_running(folder.workers())
            expect(not left, f"{TIMEOUT_SECONDS:g} s after the end, workers still run: {left}")


def _stopped(item: int, text: str) -> None:
    raise CxrscoreError("enough")


def _still_running(processes: Sequence[int]) -> list[int]:
    """Those that still run when PATIENCE is at its end."""
    end = time.monotonic() + TIMEOUT_SECONDS
    while (left := [process for process in processes if _runs(process)]) and time.monotonic() < end:
        time.sleep(0.05)
    return left


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
