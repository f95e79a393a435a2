"""Decode films in separate processes: a codec that crashes, hangs or uses too much memory costs one film, not the
run.

Films wait in one queue. One thread for each process sends it orders and receives its answers. While a process decodes a
film, the order for its next one already waits in its pipe, so that it never waits for this process. It handles orders
one after the other: if it ends, the film of the oldest order without an answer is the cause, and the other one returns
to the queue.
"""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

import numpy as np

from cxrscore.images.decode import LoadedFilm, film_digest
from cxrscore.images.decoder_protocol import HEAD, LONGEST_TEXT, Settings
from cxrscore.images.film import Film, Pixels, Status
from cxrscore.images.preprocess import Preprocessing
from cxrscore.remote import PathOrUrl, RemotePath, location_text
from cxrscore.remote.store import READ_TIMEOUT
from cxrscore.subprocesses import start_python, terminate

COMMAND = ("-m", "cxrscore.images.worker")
"""Arguments of the Python process; see subprocesses.start_python."""
TIMEOUT_SECONDS = 60.0
"""Time limit for one film. A remote film has the time limit for receiving it in addition, including the last
attempt."""
LOOKS = 60
"""Interval at which the time limit is checked: a film may take this much longer."""
TRIES = 2
"""Number of crashes after which a film gets a status: the first one may have another cause, such as a full memory."""
AT_ONCE = 2
"""Number of orders that a process has: that of the film that it decodes, and the next one."""
_SHORT = 4096
"""Largest order in bytes that is sent while a process decodes another film: the pipe holds it in any case. Otherwise
this process could wait for that one to read, and that one for this one."""


class _DecoderDiedError(Exception):
    """The process ended, or was ended, before it answered."""

    def __init__(self, status: Status, how: str) -> None:
        super().__init__(how)
        self.status = status


@dataclass(eq=False, kw_only=True)
class _Order:
    """A film that is to be decoded.

    number  of the order, which its answer repeats
    what    further fields of the order: "longest" or "header_only"
    path    of the film
    future  of the answer
    deaths  number of processes that ended while they decoded it
    """

    number: int
    what: dict[str, Any]
    path: PathOrUrl
    future: Future[LoadedFilm] = field(default_factory=Future)
    deaths: int = 0

    def __post_init__(self) -> None:
        text = json.dumps({**self.what, "path": location_text(self.path)})
        self.line = f"{self.number} {text}\n".encode()

    @property
    def seconds(self) -> float:
        """The time limit."""
        return TIMEOUT_SECONDS + (2 * READ_TIMEOUT if isinstance(self.path, RemotePath) else 0)


class _Orders:
    """The orders that wait for a decoder, and the number of decoders that wait for an order."""

    def __init__(self) -> None:
        self._waiting: deque[_Order] = deque()
        self._idle = 0
        self._closed = False
        self._changed = threading.Condition()

    def put(self, order: _Order) -> bool:
        """Add an order; whether more orders wait than decoders. RuntimeError if the pool is closed."""
        with self._changed:
            if self._closed:
                raise RuntimeError("the decoder pool is closed")
            self._waiting.append(order)
            self._changed.notify()
            return len(self._waiting) > self._idle

    def put_back(self, orders: Sequence[_Order]) -> None:
        """Return orders, the oldest one first, to be taken before all others; if the pool is closed, they end."""
        with self._changed:
            if not self._closed:
                self._waiting.extendleft(reversed(orders))
                self._changed.notify(len(orders))
                return
        for order in orders:
            order.future.set_exception(CancelledError())

    def decoder_is_idle(self) -> None:
        """A decoder has started, or has no order any more. It says so before others see its last answer: who then adds
        an order needs no further process."""
        with self._changed:
            self._idle += 1

    def take(self) -> _Order | None:
        """The next order for an idle decoder, when there is one; None if the pool is closed."""
        with self._changed:
            while not self._closed:
                if (order := self._next()) is not None:
                    self._idle -= 1
                    return order
                self._changed.wait()
            return None

    def take_ahead(self) -> _Order | None:
        """The next order for a busy decoder; None if idle ones take all that wait, or if it is long."""
        with self._changed:
            if len(self._waiting) <= self._idle or len(self._waiting[0].line) > _SHORT:
                return None
            return self._next()

    def _next(self) -> _Order | None:
        """The next order that is not cancelled."""
        while self._waiting:
            order = self._waiting.popleft()
            if order.future.running() or order.future.set_running_or_notify_cancel():
                return order
        return None

    def close(self) -> None:
        """Cancel all orders that wait; there are no more."""
        with self._changed:
            self._closed = True
            waiting, self._waiting = self._waiting, deque()
            self._changed.notify_all()
        for order in waiting:
            if not order.future.cancel():  # a process ended while it decoded this film
                order.future.set_exception(CancelledError())


class _Decoder:
    """One process, and the thread that sends it orders. The process starts with the thread, and if it ended again with
    the next order."""

    def __init__(self, settings: Settings, orders: _Orders) -> None:
        self._settings, self._orders = settings, orders
        self._process: subprocess.Popen[bytes] | None = None
        self._sent: deque[_Order] = deque()
        self._due: float | None = None
        self._late = self._closed = False
        self._turn = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="films", daemon=True)

    def start(self) -> None:
        """Start the thread, and so the process."""
        self._orders.decoder_is_idle()
        self._thread.start()

    def _run(self) -> None:
        with suppress(Exception):  # it is raised again with the first order
            self._running()
        while (order := self._orders.take()) is not None:
            self._sent.append(order)
            try:
                self._answer_all()
            except _DecoderDiedError as error:
                self._return_orders(error)
            except Exception as error:  # noqa: BLE001 - whoever waits for the film must learn of it
                self._stop()
                self._return_orders(error)
        self._stop()

    def _answer_all(self) -> None:
        """Send this order and further ones, until all are answered."""
        process = self._running()
        self._limit_time()
        try:
            _write(process, self._sent[0].line)
            while self._sent:
                self._send_ahead(process)
                found = _hashed(_receive(process, self._sent[0], self._settings), self._sent[0].path)
                order = self._sent.popleft()
                in_time = self._limit_time()
                if not self._sent or not in_time:
                    self._end_turn(ended=not in_time)
                order.future.set_result(found)
        except (OSError, EOFError, ValueError, KeyError, TypeError):
            raise self._death() from None

    def _send_ahead(self, process: subprocess.Popen[bytes]) -> None:
        while len(self._sent) < AT_ONCE and (order := self._orders.take_ahead()) is not None:
            self._sent.append(order)
            _write(process, order.line)

    def _limit_time(self) -> bool:
        """Set the time limit of the oldest order, if there is one; whether the process has not been ended by the
        one before."""
        with self._turn:
            in_time, self._late = not self._late, False
            self._due = time.monotonic() + self._sent[0].seconds if self._sent else None
        return in_time

    def _end_turn(self, *, ended: bool) -> None:
        """No order is in progress any more; if the process was ended after its last answer, its orders return."""
        orders = [*self._sent]
        self._sent.clear()
        if ended:
            self._stop()
        self._orders.decoder_is_idle()
        self._orders.put_back(orders)

    def _death(self) -> _DecoderDiedError:
        """Why the process ended."""
        process = self._process
        self._stop()
        with self._turn:
            late, self._late = self._late, False
        if late:
            return _DecoderDiedError(Status.TIMED_OUT, f"took longer than {self._sent[0].seconds:g} s")
        code = process.returncode if process is not None else 0
        return _DecoderDiedError(Status.CRASHED, f"crashed ({_exit_reason(code)})")

    def _return_orders(self, error: Exception) -> None:
        """The process ended. The oldest order is the cause, and is tried again or done. The others return to the
        queue."""
        oldest, *others = self._sent
        self._sent.clear()
        died = isinstance(error, _DecoderDiedError)
        oldest.deaths += died
        again = self._closed or (died and oldest.deaths < TRIES)
        self._orders.put_back([oldest, *others] if again else others)
        self._orders.decoder_is_idle()
        if again:
            return
        if isinstance(error, _DecoderDiedError):
            film = Film(status=error.status, message=f"its decoder {error}, {TRIES} times")
            oldest.future.set_result(_hashed(LoadedFilm(film=film, pixels=None), oldest.path))
        else:
            oldest.future.set_exception(error)

    def _running(self) -> subprocess.Popen[bytes]:
        """The process, which is started if there is none."""
        if self._process is not None:
            return self._process
        process = _start_process(self._settings)
        with self._turn:
            if not self._closed:
                self._process = process
        if self._process is None:
            terminate(process)
            raise OSError("closed")
        _write(process, self._settings.line())
        return process

    def _stop(self) -> None:
        """End the process, if there is one; called by the thread of this decoder."""
        with self._turn:
            process, self._process, self._due = self._process, None, None
        if process is not None:
            terminate(process)

    def terminate_if_overdue(self) -> None:
        """End the process if its film exceeds the time limit; called repeatedly from another thread."""
        with self._turn:
            if self._due is not None and self._process is not None and time.monotonic() > self._due:
                self._late = True
                self._process.kill()

    def close(self) -> None:
        """End the process, and the thread; the orders are closed."""
        with self._turn:
            self._closed = True
            if self._process is not None:
                self._process.kill()
        if self._thread.ident is not None:
            self._thread.join()


def _hashed(found: LoadedFilm, path: PathOrUrl) -> LoadedFilm:
    """The bytes of a film that its process could not decode are hashed here, which needs no codec."""
    if found.film.sha256 or found.film.status not in (Status.CRASHED, Status.TIMED_OUT):
        return found
    return replace(found, film=replace(found.film, sha256=film_digest(path)))


def _start_process(settings: Settings) -> subprocess.Popen[bytes]:
    # The processes provide the parallelism, and each thread of a library takes some of the allowed memory.
    single = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TOKIO_WORKER_THREADS": "1"}
    return start_python(COMMAND, variables=single, stderr=subprocess.DEVNULL, answer_bytes=settings.answer_bytes)


def _write(process: subprocess.Popen[bytes], line: bytes) -> None:
    left = memoryview(line)
    while left:
        left = left[cast(Any, process.stdin).write(left) :]


def _receive(process: subprocess.Popen[bytes], order: _Order, settings: Settings) -> LoadedFilm:
    """The answer to this order, which must be the next one; ValueError if it is another one, or none."""
    number, length = HEAD.unpack(_read(process, bytearray(HEAD.size)))
    if number != order.number or length > LONGEST_TEXT:
        raise ValueError(number)
    head = json.loads(_read(process, bytearray(length)))
    film = Film(**{**head["film"], "status": Status(head["film"]["status"])})
    if not head["bits"]:
        return LoadedFilm(film=film, pixels=None)
    kind = {8: np.uint8, 16: np.uint16}[head["bits"]]
    first, *more = (np.empty(shape, kind) for shape in _shapes(order.what, settings.sides, head["shapes"]))
    for array in (first, *more):
        _read(process, array)
    return LoadedFilm(film=film, pixels=first, more=tuple(more))


def _shapes(what: dict[str, Any], sides: Sequence[int], told: Any) -> list[tuple[int, int]]:
    """The shapes of the arrays that follow; ValueError unless they are those of the order."""
    if "header_only" in what:
        raise ValueError(told)
    if "longest" in what:
        ((height, width),) = told
        if not (0 < height <= what["longest"] and 0 < width <= what["longest"]):
            raise ValueError(told)
        return [(int(height), int(width))]
    return [(side, side) for side in sides]


_Buffer = TypeVar("_Buffer", bytearray, Pixels)


def _read(process: subprocess.Popen[bytes], into: _Buffer) -> _Buffer:
    """Fill a buffer; EOFError if the process ends before."""
    left = memoryview(cast(Any, into)).cast("B")
    while left:
        count = cast(Any, process.stdout).readinto(left)
        if not count:
            raise EOFError
        left = left[count:]
    return into


def _exit_reason(code: int) -> str:
    """How a process ended: the name of a signal, or the exit status."""
    return signal.Signals(-code).name if code < 0 else f"exit {code}"


class _Watchdog:
    """One thread that ends processes whose film exceeds the time limit; it starts with the first film. A timer per film
    would cost the parent process more than all its other work for that film."""

    def __init__(self, decoders: Sequence[_Decoder]) -> None:
        self._decoders = decoders
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._check_overdue, name="films-watch", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def _check_overdue(self) -> None:
        while not self._ended.wait(TIMEOUT_SECONDS / LOOKS):
            for decoder in self._decoders:
                decoder.terminate_if_overdue()

    def stop(self) -> None:
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()


class DecoderPool:
    """At most ``workers`` processes that prepare films; safe to use from several threads. A process starts when there
    is an order for it, or all of them with start(). With ``one_first``, orders start one process only, and each call of
    start_more() as many as have started."""

    def __init__(
        self,
        workers: int,
        preprocessing: Preprocessing,
        *,
        also: Sequence[Preprocessing] = (),
        any_modality: bool = False,
        one_first: bool = False,
    ) -> None:
        settings = Settings(preprocessing=preprocessing, also=tuple(also), any_modality=any_modality)
        self._most_by_orders = 1 if one_first else workers
        self._orders = _Orders()
        self._all = [_Decoder(settings, self._orders) for _ in range(workers)]
        self._watch = _Watchdog(self._all)
        self._numbers = itertools.count()
        self._started = 0
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start now what orders would start, so that it is ready when the first films are to be prepared."""
        self._start(self._most_by_orders, self._most_by_orders)

    def start_more(self) -> None:
        """Start as many further processes as have started, if there are so many."""
        self._start(max(1, self._started), len(self._all))

    def _start(self, number: int, most: int) -> None:
        """Start so many further decoders, as long as not more than ``most`` have started."""
        with self._lock:
            begun, self._started = self._started, max(self._started, min(self._started + number, most))
            if begun == 0 and self._started:
                self._watch.start()
            for decoder in self._all[begun : self._started]:
                decoder.start()

    def submit(self, path: PathOrUrl) -> Future[LoadedFilm]:
        """A future of the film: the same as decode.load_film, but with the statuses CRASHED and TIMED_OUT for films
        that end their process. Films are prepared in the order of the calls. RuntimeError if the pool is closed."""
        return self._submit({}, path)

    def prepare(self, path: PathOrUrl) -> LoadedFilm:
        """The film of submit()."""
        return self._submit({}, path).result()

    def load_whole(self, path: PathOrUrl, longest: int) -> LoadedFilm:
        """Same as decode.load_whole_film, with the same statuses as submit()."""
        return self._submit({"longest": longest}, path).result()

    def read_header(self, path: PathOrUrl) -> Film:
        """Same as decode.read_header, with the same statuses as submit()."""
        return self._submit({"header_only": True}, path).result().film

    def _submit(self, what: dict[str, Any], path: PathOrUrl) -> Future[LoadedFilm]:
        order = _Order(number=next(self._numbers), what=what, path=path)
        if self._orders.put(order):
            self._start(1, self._most_by_orders)
        return order.future

    def close(self) -> None:
        """End all processes, and the threads that serve them. Films that are not prepared yet are cancelled."""
        self._orders.close()
        self._watch.stop()
        for decoder in self._all:
            decoder.close()
