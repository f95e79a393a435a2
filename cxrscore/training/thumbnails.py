"""Small copies of all films, by which one picture in two parts of the split is found."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrscore.errors import InputError
from cxrscore.images import ImageCache, Preprocessing, Status, thumbnail
from cxrscore.io.atomic import cannot_write, write_all
from cxrscore.labels import THUMBNAIL

_BLOCK = 256


def thumbnails(store: ImageCache, side: int, folder: Path, paths: Sequence[str], cache: Path) -> NDArray[np.uint8]:
    """uint8 [N,T,T] of the N films at `paths` below a folder, blank for films without pixels: a memory map of a file
    without a name, as there may be a hundred thousand.

    They are made from the films as they lie in the store, of this side; where these are smaller than a thumbnail,
    anew from the films themselves. WriteError where the cache has no room, InputError where a film has changed since
    the store was made.
    """
    if side < THUMBNAIL:
        given, store = store, ImageCache.build(folder, paths, Preprocessing(size=THUMBNAIL), cache, workers=1)
        for path, before, now in zip(paths, given.films, store.films, strict=True):
            if before.sha256 != now.sha256:
                raise InputError(f"the film {folder / path} changed while the run read it. Start the run again.")
    try:
        with tempfile.TemporaryFile(dir=cache, buffering=0) as file:
            for start in range(0, len(store.films), _BLOCK):
                block = [_thumbnail(store, row) for row in range(start, min(start + _BLOCK, len(store.films)))]
                write_all(file.fileno(), np.stack(block).tobytes())
            return np.memmap(file, np.uint8, mode="r", shape=(len(store.films), THUMBNAIL, THUMBNAIL))
    except OSError as error:
        raise cannot_write(cache, error) from error


def _thumbnail(store: ImageCache, row: int) -> NDArray[np.uint8]:
    if store.films[row].status != Status.OK:
        return np.zeros((THUMBNAIL, THUMBNAIL), np.uint8)
    return thumbnail(store.raw(row), THUMBNAIL)
