"""Decode films in separate processes: a codec that crashes, hangs or uses too much memory costs one film, not the
run."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np

from cxrscore.images.decode import LoadedFilm, film_digest
from cxrscore.images.film import Film, Pixels, Status
from cxrscore.images.preprocess import Preprocessing
from cxrscore.images.worker import LENGTH
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


class _DecoderDiedError(Exception):
    """The process ended, or was ended, before it answered."""

    def __init__(self, status: Status, how: str) -> None:
        super().__init__(how)
        self.status = status


class _Decoder:
    """One process. It starts when first needed, and again after it ended."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._due: float | None = None
        self._late = False
        self._turn = threading.Lock()

    def prepare(self, order: dict[str, Any], seconds: float) -> LoadedFilm:
        """The film of this order; _DecoderDiedError if the process ended before it answered, or exceeded this many
        seconds."""
        process = self._process = self._process or _start_process()
        self._late, self._due = False, time.monotonic() + seconds
        try:
            return _request(process, order)
        except (OSError, EOFError, ValueError, KeyError, TypeError):
            process.kill()
            code = process.wait()
            self.close()
            if self._late:
                raise _DecoderDiedError(Status.TIMED_OUT, f"took longer than {seconds:g} s") from None
            raise _DecoderDiedError(Status.CRASHED, f"crashed ({_exit_reason(code)})") from None
        finally:
            with self._turn:
                self._due = None

    def start(self) -> None:
        """Start the process, if there is none; before the first film."""
        self._process = self._process or _start_process()

    def terminate_if_overdue(self) -> None:
        """End the process if its film exceeds the time limit; called repeatedly from another thread."""
        with self._turn:
            if self._due is not None and self._process is not None and time.monotonic() > self._due:
                self._late = True
                self._process.kill()

    def close(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            terminate(process)


def _start_process() -> subprocess.Popen[bytes]:
    # The processes provide the parallelism, and each thread of a library takes some of the allowed memory.
    single = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TOKIO_WORKER_THREADS": "1"}
    return start_python(COMMAND, variables=single, stderr=subprocess.DEVNULL)


def _request(process: subprocess.Popen[bytes], order: dict[str, Any]) -> LoadedFilm:
    assert process.stdin is not None
    process.stdin.write(json.dumps(order).encode() + b"\n")
    (length,) = LENGTH.unpack(_read(process, LENGTH.size))
    head = json.loads(_read(process, length))
    film = Film(**{**head["film"], "status": Status(head["film"]["status"])})
    if not head["bits"]:
        return LoadedFilm(film=film, pixels=None)
    first, *more = (_pixels(process, shape, head["bits"]) for shape in _shapes(order, head["shapes"]))
    return LoadedFilm(film=film, pixels=first, more=tuple(more))


def _shapes(order: dict[str, Any], told: Any) -> list[tuple[int, int]]:
    """The shapes of the arrays that follow; ValueError unless they are those of the order."""
    if "longest" in order:
        ((height, width),) = told
        if not (0 < height <= order["longest"] and 0 < width <= order["longest"]):
            raise ValueError(told)
        return [(int(height), int(width))]
    sides = [int(one["size"]) for one in (order["preprocessing"], *order["also"])]
    return [(side, side) for side in sides]


def _pixels(process: subprocess.Popen[bytes], shape: tuple[int, int], bits: int) -> Pixels:
    data = _read(process, shape[0] * shape[1] * bits // 8)
    return cast(Pixels, np.frombuffer(data, {8: np.uint8, 16: np.uint16}[bits]).reshape(shape))


def _read(process: subprocess.Popen[bytes], size: int) -> bytearray:
    assert process.stdout is not None
    data = bytearray(size)
    view, at = memoryview(data), 0
    while at < size:
        count = cast(Any, process.stdout).readinto(view[at:])
        if not count:
            raise EOFError
        at += count
    return data


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
        self._start = threading.Lock()

    def start(self) -> None:
        """Start the thread unless it is running."""
        with self._start:
            if self._thread.ident is None:
                self._thread.start()

    def _check_overdue(self) -> None:
        while not self._ended.wait(TIMEOUT_SECONDS / LOOKS):
            for decoder in self._decoders:
                decoder.terminate_if_overdue()

    def stop(self) -> None:
        self._ended.set()
        with self._start:
            if self._thread.ident is not None:
                self._thread.join()


class DecoderPool:
    """A fixed number of processes that prepare films; safe to use from the same number of threads."""

    def __init__(
        self,
        workers: int,
        preprocessing: Preprocessing,
        *,
        also: Sequence[Preprocessing] = (),
        any_modality: bool = False,
    ) -> None:
        self._all = [_Decoder() for _ in range(workers)]
        self._watch = _Watchdog(self._all)
        self._idle: queue.LifoQueue[_Decoder] = queue.LifoQueue()  # started processes come first
        for decoder in self._all:
            self._idle.put(decoder)
        self._order = {
            "preprocessing": preprocessing.as_dict(),
            "also": [one.as_dict() for one in also],
            "any_modality": any_modality,
        }

    def start(self) -> None:
        """Start all processes now, so that they are ready when the first films are to be prepared."""
        for decoder in self._all:
            decoder.start()

    def prepare(self, path: PathOrUrl) -> LoadedFilm:
        """Same as decode.load_film, but with the statuses CRASHED and TIMED_OUT for films that end their process. The
        bytes of these films are hashed here, which needs no codec."""
        return self._answer(self._order, path)

    def load_whole(self, path: PathOrUrl, longest: int) -> LoadedFilm:
        """Same as decode.load_whole_film, with the same statuses as prepare."""
        return self._answer({"longest": longest, "any_modality": self._order["any_modality"]}, path)

    def read_header(self, path: PathOrUrl) -> Film:
        """Same as decode.read_header, with the same statuses as prepare."""
        return self._answer({"header_only": True}, path).film

    def _answer(self, order: dict[str, Any], path: PathOrUrl) -> LoadedFilm:
        self._watch.start()
        decoder = self._idle.get()
        try:
            seconds = TIMEOUT_SECONDS + (2 * READ_TIMEOUT if isinstance(path, RemotePath) else 0)
            found = _decode_with_retries(decoder, {**order, "path": location_text(path)}, seconds)
        finally:
            self._idle.put(decoder)
        if found.film.sha256 or found.film.status not in (Status.CRASHED, Status.TIMED_OUT):
            return found
        return replace(found, film=replace(found.film, sha256=film_digest(path)))

    def close(self) -> None:
        """End all processes, and the thread that watches them."""
        self._watch.stop()
        for decoder in self._all:
            decoder.close()


def _decode_with_retries(decoder: _Decoder, order: dict[str, Any], seconds: float) -> LoadedFilm:
    status, how = Status.CRASHED, ""
    for _ in range(TRIES):
        try:
            return decoder.prepare(order, seconds)
        except _DecoderDiedError as error:
            status, how = error.status, str(error)
    return LoadedFilm(film=Film(status=status, message=f"its decoder {how}, {TRIES} times"), pixels=None)
