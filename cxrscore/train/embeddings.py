"""Embeddings on disk: a frozen base is run once for each film and view, whatever is trained on it afterwards.

A file holds the embeddings of one base and one way of making views; its films are told apart by the SHA-256 of their
bytes, so films can be added, and splits and labels changed, at the cost of the new films alone.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from cxrscore.contract import Floats
from cxrscore.errors import WriteError
from cxrscore.files import sha256_bytes, write_whole

LARGEST = 2 << 30
"""Bytes of one file; larger sets of embeddings are worked out anew each time."""
KEPT = 8 << 30
"""Bytes of all files together; those used longest ago go first."""

Compute = Callable[[Sequence[int]], Floats]


def cached_embeddings(folder: Path, key: Mapping[str, Any], films: Sequence[str], compute: Compute) -> Floats:
    """Embeddings float32 [N,K] of films, given by the SHA-256 of their bytes.

    key      JSON-ready, all that decides an embedding besides the film
    compute  the embeddings of the films at these places, float32 [n,K]; it is asked only for those not yet known

    A cache that cannot be read or written is done without.
    """
    path = folder / f"embeddings-{sha256_bytes(json.dumps(key, sort_keys=True).encode())[:32]}.npz"
    known = _read(path)
    missing = [place for place, film in enumerate(films) if film not in known]
    if missing:
        found = compute(missing)
        known |= {films[place]: row for place, row in zip(missing, found, strict=True)}
        _write(path, known)
        _prune(folder)
    return np.stack([known[film] for film in films])


def _read(path: Path) -> dict[str, Floats]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            films, rows = arrays["films"], arrays["embeddings"]
        path.touch()
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return {}
    if rows.ndim != 2 or rows.dtype != np.float32 or films.shape != rows.shape[:1] or films.dtype.kind != "U":
        return {}
    return dict(zip(films.tolist(), rows, strict=True))


def _write(path: Path, known: Mapping[str, Floats]) -> None:
    rows = list(known.values())
    if len(rows) * rows[0].nbytes > LARGEST:
        return
    buffer = io.BytesIO()
    np.savez(buffer, films=np.array(list(known)), embeddings=np.stack(rows))
    with suppress(OSError, WriteError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, buffer.getvalue())


def _prune(folder: Path) -> None:
    with suppress(OSError):
        files = sorted(folder.glob("embeddings-*.npz"), key=lambda file: file.stat().st_mtime, reverse=True)
        total = 0
        for file in files:
            total += file.stat().st_size
            if total > KEPT:
                file.unlink(missing_ok=True)
