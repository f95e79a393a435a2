"""The decoder process: ``python -m cxrscore.images.worker``, started by images.decoder_pool. It reads lines from its
standard input: first the settings of the pool, then orders, one film each: a number and JSON. Several orders may wait
in the pipe, so that it begins the next film without waiting for its parent process.

It answers the orders one after the other. An answer on its standard output is the number of the order and the length
of a JSON text, the text, and the bytes of the squares, or of the film. Output of codecs is discarded. It ends when its
input ends, so it never outlives its parent process.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from typing import Any

import numpy as np

from cxrscore.images.codecs import cv2
from cxrscore.images.decode import LoadedFilm, load_film, load_whole_film, read_header
from cxrscore.images.decoder_protocol import HEAD, Settings
from cxrscore.images.film import Film, Pixels, Status
from cxrscore.remote import parse_location
from cxrscore.system_resources import reuse_freed_memory

MEMORY = 6 << 30
"""Limit of the address space in bytes: enough for the largest allowed film, too little to exhaust a machine."""
_KNOWN = tuple(field.name for field in fields(Film) if field.name != "pixels")


def handle_order(settings: Settings, line: bytes) -> list[bytes | memoryview]:
    """The answer to one order, in parts."""
    number, _, text = line.partition(b" ")
    order = json.loads(text)
    try:
        found = _load(settings, order)
    except MemoryError:
        found = LoadedFilm(film=Film(status=Status.CRASHED, message="decoding needs too much memory"), pixels=None)
    known = {name: getattr(found.film, name) for name in _KNOWN}
    arrays: tuple[Pixels, ...] = () if found.pixels is None else (found.pixels, *found.more)
    bits = arrays[0].itemsize * 8 if arrays else 0
    head = json.dumps({"film": known, "bits": bits, "shapes": [one.shape for one in arrays]}).encode()
    start = HEAD.pack(int(number), len(head)) + head
    return [start, *(np.ascontiguousarray(one).data.cast("B") for one in arrays)]


def _load(settings: Settings, order: dict[str, Any]) -> LoadedFilm:
    """The squares of a film, or, of an order with "longest", the film itself, or, with "header_only", what its header
    says."""
    path = parse_location(order["path"])
    if "header_only" in order:
        return LoadedFilm(film=read_header(path), pixels=None)
    if "longest" in order:
        return load_whole_film(path, order["longest"], any_modality=settings.any_modality)
    return load_film(path, settings.preprocessing, also=settings.also, any_modality=settings.any_modality)


def _limit_memory() -> None:
    with suppress(ImportError, ValueError, OSError):  # not available on this system, or a stricter limit applies
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _take_stdout() -> int:
    """A descriptor of the standard output for the protocol; output of other code, and standard error, is discarded."""
    own = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    return own


def _write(out: int, parts: Sequence[bytes | memoryview]) -> None:
    """Write all parts without joining them."""
    left = [memoryview(part) for part in parts]
    while left:
        count = os.writev(out, left)
        while left and count >= len(left[0]):
            count -= len(left.pop(0))
        if count:
            left[0] = left[0][count:]


def main() -> None:
    """Answer orders until there are no more."""
    _limit_memory()
    reuse_freed_memory()
    cv2.setNumThreads(1)  # one film per process at a time is sufficient parallelism
    out = _take_stdout()
    orders = sys.stdin.buffer
    if first := orders.readline():
        settings = Settings.read(first)
        for line in orders:
            _write(out, handle_order(settings, line))


if __name__ == "__main__":
    with suppress(BrokenPipeError, KeyboardInterrupt):
        main()
