"""The orders of a decoder pool: several in a process at once, ended processes, answers that are not believed."""

import io
import json
import os
import threading
from concurrent.futures import CancelledError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from cxrscore.images import Preprocessing, Status, decoder_pool, worker
from cxrscore.images.decode import load_film
from cxrscore.images.decoder_pool import DecoderPool
from cxrscore.images.decoder_protocol import HEAD, LONGEST_TEXT, Settings

SIZE = Preprocessing(size=8)
SETTINGS = Settings(preprocessing=SIZE, also=(Preprocessing(size=4, fit="pad"),))
DIES_ONCE = (str(Path(__file__).parents[1] / "faults" / "decoder_that_dies_once.py"),)
SILENT = ("-c", "import sys; sys.stdin.read()")
"""A process that reads its orders and answers none."""
GUARD = 300
"""Seconds after which a wait fails, so that a fault is no hang."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in "abc":
        cv2.imwrite(str(tmp_path / f"{name}.png"), rng.integers(0, 256, (40, 50), dtype=np.uint8))
    return tmp_path


@pytest.fixture
def waiting(folder: Path, monkeypatch: pytest.MonkeyPatch) -> DecoderPool:
    """A pool of one process that has not started, and two films that wait for it."""
    pool = DecoderPool(1, SIZE)
    with monkeypatch.context() as context:
        context.setattr(decoder_pool._Decoder, "start", lambda self: None)
        pool.films = [pool.submit(folder / "a.png"), pool.submit(folder / "b.png")]
    return pool


def many(folder: Path, number: int = 12) -> list[Path]:
    """Further films, which are all different."""
    rng = np.random.default_rng(1)
    paths = [folder / f"{index}.png" for index in range(number)]
    for path in paths:
        cv2.imwrite(str(path), rng.integers(0, 256, (40, 50), dtype=np.uint8))
    return paths


@pytest.mark.parametrize("workers", [1, 2])
def test_each_future_has_its_own_film_and_one_process_answers_in_the_order_of_the_calls(
    folder: Path, workers: int
) -> None:
    pool, paths, answered = DecoderPool(workers, SIZE), many(folder), []
    futures = [pool.submit(path) for path in paths]
    for path, future in zip(paths, futures, strict=True):
        future.add_done_callback(lambda _, path=path: answered.append(path))
    for path, future in zip(paths, futures, strict=True):
        np.testing.assert_array_equal(future.result(GUARD).pixels, load_film(path, SIZE).pixels)
    pool.close()
    assert (answered if workers == 1 else sorted(answered)) == (paths if workers == 1 else sorted(paths))


def test_a_process_that_is_killed_among_others_costs_one_try_of_one_film(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_receive, real_return, killed, deaths = decoder_pool._receive, decoder_pool._Decoder._return_orders, [], []

    def receive(process: Any, order: Any, settings: Settings) -> Any:
        if order.path.name == "5.png" and not killed:
            killed.append(process)
            process.kill()
            process.wait()
            while process.stdout.read(1 << 16):  # what it answered before
                pass
        return real_receive(process, order, settings)

    def return_orders(self: Any, error: Exception) -> None:
        deaths.append(self._sent[0].path.name)
        real_return(self, error)

    monkeypatch.setattr(decoder_pool, "_receive", receive)
    monkeypatch.setattr(decoder_pool._Decoder, "_return_orders", return_orders)
    pool, paths = DecoderPool(2, SIZE), many(folder)
    for path, future in [(path, pool.submit(path)) for path in paths]:
        found = future.result(GUARD)
        assert found.film.status == Status.OK
        np.testing.assert_array_equal(found.pixels, load_film(path, SIZE).pixels)
    pool.close()
    assert deaths == ["5.png"]


@pytest.mark.parametrize("answered", [0, 0.3, 0.99])
def test_a_process_that_ends_with_two_orders_costs_a_try_of_the_first_film_only(
    waiting: DecoderPool, folder: Path, monkeypatch: pytest.MonkeyPatch, answered: float
) -> None:
    """Also where it has sent part of an answer."""
    monkeypatch.setattr(decoder_pool, "COMMAND", DIES_ONCE)
    monkeypatch.setenv("TEST_ANSWERED", str(answered))
    monkeypatch.setenv("TEST_MARK", str(folder / "mark"))
    returned: list[list[tuple[str, int]]] = []
    real = decoder_pool._Orders.put_back

    def put_back(self: Any, orders: Any) -> None:
        returned.extend([[(order.path.name, order.deaths) for order in orders]] if orders else [])
        real(self, orders)

    monkeypatch.setattr(decoder_pool._Orders, "put_back", put_back)
    waiting._all[0].start()
    for name, future in zip("ab", waiting.films, strict=True):
        np.testing.assert_array_equal(future.result().pixels, load_film(folder / f"{name}.png", SIZE).pixels)
    waiting.close()
    assert (folder / "mark").exists()
    assert returned == [[("a.png", 1), ("b.png", 0)]]


def test_a_process_ended_for_lateness_after_its_answer_costs_no_film_a_try(
    waiting: DecoderPool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time limit passes between an answer and the moment at which it is read."""
    decoder, real, started = waiting._all[0], decoder_pool._receive, []

    def receive(process: Any, order: Any, settings: Settings) -> Any:
        found = real(process, order, settings)
        if not started:
            decoder._due = -1.0
            decoder.terminate_if_overdue()
        started.append(order.path.name)
        assert order.deaths == 0
        return found

    monkeypatch.setattr(decoder_pool, "_receive", receive)
    decoder.start()
    assert [future.result().film.status for future in waiting.films] == [Status.OK, Status.OK]
    waiting.close()
    assert started == ["a.png", "b.png"]


def test_films_that_wait_when_the_pool_closes_are_cancelled(waiting: DecoderPool, folder: Path) -> None:
    waiting.close()
    for future in waiting.films:
        with pytest.raises(CancelledError):
            future.result()
    with pytest.raises(RuntimeError, match="closed"):
        waiting.submit(folder / "a.png")


def test_films_in_progress_when_the_pool_closes_are_cancelled(
    waiting: DecoderPool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both orders of the process and the film that waits; the process ends, and closing again does nothing."""
    both, real = threading.Event(), decoder_pool._write

    def write(process: Any, line: bytes) -> None:
        real(process, line)
        if b"b.png" in line:
            both.set()

    monkeypatch.setattr(decoder_pool, "COMMAND", SILENT)
    monkeypatch.setattr(decoder_pool, "_write", write)
    waiting._all[0].start()
    assert both.wait(GUARD)
    decoder, third = waiting._all[0], waiting.submit(folder / "c.png")
    process = decoder._process
    assert [order.path.name for order in decoder._sent] == ["a.png", "b.png"]
    for _ in range(2):
        waiting.close()
        for future in (*waiting.films, third):
            with pytest.raises(CancelledError):
                future.result(0)
        assert not decoder._thread.is_alive()
        assert (decoder._process, bool(process.returncode)) == (None, True)


def test_a_pool_that_was_not_used_is_closed_twice() -> None:
    pool = DecoderPool(2, SIZE)
    for _ in range(2):
        pool.close()
    assert [decoder._thread.ident for decoder in pool._all] == [None, None]


def test_start_twice_starts_each_process_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    processes, real = [], decoder_pool._start_process
    monkeypatch.setattr(
        decoder_pool, "_start_process", lambda settings: processes.append(real(settings)) or processes[-1]
    )
    pool = DecoderPool(2, SIZE)
    first = pool.submit(folder / "a.png")  # starts one
    for _ in range(2):
        pool.start()
    futures = [first, *(pool.submit(folder / f"{name}.png") for name in "bc")]
    assert [future.result(GUARD).film.status for future in futures] == [Status.OK] * 3
    pool.close()
    assert len(processes) == 2
    assert all(process.returncode is not None for process in processes)


def test_a_cancelled_film_is_passed_over(waiting: DecoderPool) -> None:
    first, second = waiting.films
    assert first.cancel()
    waiting._all[0].start()
    assert second.result().film.status == Status.OK
    waiting.close()


def test_one_film_at_a_time_needs_one_process_and_start_starts_all(folder: Path) -> None:
    pool = DecoderPool(3, SIZE)
    for name in "abc":
        assert pool.prepare(folder / f"{name}.png").film.status == Status.OK
    assert [decoder._process is not None for decoder in pool._all] == [True, False, False]
    pool.start()
    assert all(decoder._thread.is_alive() for decoder in pool._all)
    pool.close()
    assert not any(decoder._thread.is_alive() or decoder._process for decoder in pool._all)


def test_with_one_first_orders_start_one_process_and_more_start_when_asked(folder: Path) -> None:
    pool = DecoderPool(3, SIZE, one_first=True)
    pool.start()
    films = [pool.submit(folder / f"{name}.png") for name in "abcabc"]
    started = [sum(decoder._thread.ident is not None for decoder in pool._all)]
    assert {film.result(GUARD).film.status for film in films} == {Status.OK}
    for _ in range(3):  # at last there are no more
        pool.start_more()
        started.append(sum(decoder._thread.is_alive() for decoder in pool._all))
    assert started == [1, 2, 3, 3]
    pool.close()


def test_an_order_ahead_leaves_the_films_of_idle_processes_and_long_lines() -> None:
    orders = decoder_pool._Orders()
    short, long = (decoder_pool._Order(number=1, what={}, path=Path(name)) for name in ("a", "a" * 5000))
    assert orders.put(short)  # more orders than idle processes: start one
    orders.decoder_is_idle()
    assert orders.take_ahead() is None
    assert orders.put(long)
    assert orders.take() is short
    assert orders.take_ahead() is None  # the only one that waits is long
    orders.decoder_is_idle()
    assert orders.take() is long


def answer(number: int = 5, length: int | None = None, shapes: Any = ((8, 8), (4, 4)), size: int = 80) -> bytes:
    film = {"status": 1, "sha256": "ab", "kind": "png"}
    text = json.dumps({"film": film, "bits": 8, "shapes": shapes}).encode()
    return HEAD.pack(number, len(text) if length is None else length) + text + bytes(range(size))


def received(data: bytes, **what: Any) -> Any:
    order = decoder_pool._Order(number=5, what=what, path=Path("a.png"))
    return decoder_pool._receive(SimpleNamespace(stdout=io.BytesIO(data)), order, SETTINGS)


def test_an_answer_by_hand() -> None:
    found = received(answer())
    assert (found.film.status, found.film.sha256, found.film.kind) == (Status.OK, "ab", "png")
    assert found.pixels.tolist()[1] == [8, 9, 10, 11, 12, 13, 14, 15]
    assert found.more[0].tolist()[3] == [76, 77, 78, 79]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (answer(number=4), ValueError),
        (answer(length=LONGEST_TEXT + 1), ValueError),
        (answer(size=79), EOFError),
        (answer(length=3), ValueError),
        (b"", EOFError),
    ],
    ids=["other film", "long text", "short squares", "no JSON", "nothing"],
)
def test_an_answer_that_is_not_believed(data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        received(data)
    with pytest.raises(ValueError, match="8"):
        received(answer(), header_only=True)


def test_a_worker_writes_all_parts_however_few_bytes_the_pipe_takes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = b'5 {"path": ' + json.dumps(str(folder / "a.png")).encode() + b"}\n"
    parts = worker.handle_order(Settings.read(SETTINGS.line()), line)
    written = bytearray()

    def writev(out: int, buffers: Any) -> int:
        some = b"".join(buffers)[:7]
        written.extend(some)
        return len(some)

    monkeypatch.setattr(os, "writev", writev)
    worker._write(1, parts)
    found = received(bytes(written))
    for square, wanted in zip((found.pixels, *found.more), (SIZE, *SETTINGS.also), strict=True):
        np.testing.assert_array_equal(square, load_film(folder / "a.png", wanted).pixels)
