"""The decoder process: ``python -m cxrscore.images.worker``, started by images.decoder_pool. It reads orders from its
standard input, one line of JSON per film.

It writes to its standard output the length of a JSON text, the text, and the bytes of the squares, or of the film.
Output of codecs is discarded. It ends when its input ends, so it never outlives its parent process.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from contextlib import suppress
from dataclasses import asdict
from typing import Any, BinaryIO

from cxrscore.images.codecs import cv2
from cxrscore.images.decode import LoadedFilm, load_film, load_whole_film, read_header
from cxrscore.images.film import Film, Status
from cxrscore.images.preprocess import Preprocessing
from cxrscore.remote import parse_location

MEMORY = 6 << 30
"""Limit of the address space in bytes: enough for the largest allowed film, too little to exhaust a machine."""
LENGTH = struct.Struct("<I")


def handle_order(line: bytes) -> bytes:
    """The response to one order."""
    order = json.loads(line)
    try:
        found = _load(order)
    except MemoryError:
        found = LoadedFilm(film=Film(status=Status.CRASHED, message="decoding needs too much memory"), pixels=None)
    known = {name: value for name, value in asdict(found.film).items() if name != "pixels"}
    bits = 0 if found.pixels is None else found.pixels.itemsize * 8
    arrays = () if found.pixels is None else (found.pixels, *found.more)
    head = json.dumps({"film": known, "bits": bits, "shapes": [one.shape for one in arrays]}).encode()
    return b"".join([LENGTH.pack(len(head)), head, *(one.tobytes() for one in arrays)])


def _load(order: dict[str, Any]) -> LoadedFilm:
    """The squares of a film, or, of an order with "longest", the film itself, or, with "header_only", what its header
    says."""
    path = parse_location(order["path"])
    if "header_only" in order:
        return LoadedFilm(film=read_header(path), pixels=None)
    if "longest" in order:
        return load_whole_film(path, order["longest"], any_modality=order["any_modality"])
    return load_film(
        path,
        Preprocessing.from_dict(order["preprocessing"]),
        also=[Preprocessing.from_dict(one) for one in order["also"]],
        any_modality=order["any_modality"],
    )


def _limit_memory() -> None:
    with suppress(ImportError, ValueError, OSError):  # not available on this system, or a stricter limit applies
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _take_stdout() -> BinaryIO:
    """The standard output for the protocol; output of other code, and standard error, is discarded."""
    own = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    return own


def main() -> None:
    """Answer orders until there are no more."""
    _limit_memory()
    cv2.setNumThreads(1)  # one film per process at a time is sufficient parallelism
    out = _take_stdout()
    for line in sys.stdin.buffer:
        out.write(handle_order(line))
        out.flush()


if __name__ == "__main__":
    with suppress(BrokenPipeError, KeyboardInterrupt):
        main()
