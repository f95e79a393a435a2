"""Buckets of S3, Google and Azure, through obstore. Credentials and endpoint come from its environment variables."""

from __future__ import annotations

import asyncio
import functools
import importlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

from cxrscore.errors import RemoteError
from cxrscore.remote.bounds import Entry, ListingBounds
from cxrscore.remote.retry import CutShortError
from cxrscore.remote.store import PIECE
from cxrscore.remote.url import RemotePath

_ONE_REQUEST = 30
"""Time limit of one request in seconds, for at most one piece."""
_ONE_PAGE = 600.0
"""Time limit of one page of a listing in seconds: a store may announce further pages endlessly without a name."""
_CLASSES = {"s3": "S3Store", "s3a": "S3Store", "gs": "GCSStore", "gcs": "GCSStore", "az": "AzureStore"}


class ObjectStore:
    """A key of a bucket, or all keys below it. An upload creates the object completely or not at all."""

    def __init__(self, where: RemotePath) -> None:
        bucket, _, self._key = where.bare.partition("://")[2].partition("/")
        self._where, self._bucket = where, _opened(where.scheme, bucket)

    def entries(self, unreadable: list[str], bounds: ListingBounds) -> Iterator[Entry]:
        folder = self._key.strip("/")
        above = f"{folder}/" if folder else ""
        pages = _library().list(self._bucket, prefix=folder or None, chunk_size=1000)
        with ThreadPoolExecutor(1) as own:  # asyncio.run needs a thread without a loop, and notebooks have one
            while (page := own.submit(asyncio.run, self._next(pages, bounds)).result()) is not None:
                bounds.add_names(len(page))
                for found in page:
                    path = found["path"].removeprefix(above)
                    if not path.endswith("/"):  # a key that represents a folder
                        yield Entry(path=path, size=found["size"])

    async def _next(self, pages: Any, bounds: ListingBounds) -> Any:
        """The next page, None after the last one; RemoteError if it does not arrive in time."""
        try:
            return await asyncio.wait_for(anext(pages, None), min(_ONE_PAGE, max(bounds.seconds_left(), 0)))
        except TimeoutError:
            raise RemoteError(self._where, f"no page of its list arrived in {_ONE_PAGE:g} s", passing=True) from None

    def pieces(self, first: int | None = None, seconds: float | None = None) -> Iterator[bytes]:
        if first is not None:
            yield bytes(_library().get(self._bucket, self._key, options={"range": (0, first)}).bytes())
            return
        found = _library().get(self._bucket, self._key)
        size = found.meta["size"]
        if size <= PIECE:
            yield _read_all(bytes(found.bytes()), size)
            return
        same = {"if_match": found.meta["e_tag"]} if found.meta["e_tag"] else {}
        for start in range(0, size, PIECE):
            stop = min(start + PIECE, size)
            piece = _library().get(self._bucket, self._key, options={"range": (start, stop), **same})
            yield _read_all(bytes(piece.bytes()), stop - start)

    def size(self) -> int:
        return int(_library().head(self._bucket, self._key)["size"])

    def put(self, source: Path) -> None:
        _library().put(self._bucket, self._key, source)


def _library() -> Any:
    return importlib.import_module("obstore")


def _read_all(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise CutShortError
    return data


@functools.lru_cache(maxsize=8)
def _opened(scheme: str, bucket: str) -> Any:
    make = getattr(importlib.import_module("obstore.store"), _CLASSES[scheme])
    # These retries resend one request; retry.with_retries, around it, starts again from the beginning.
    again: dict[str, Any] = {"max_retries": 2, "retry_timeout": timedelta(seconds=20)}
    # Among the settings, and not as client_options, which would discard those of the environment.
    config = {"connect_timeout": "10s", "timeout": f"{_ONE_REQUEST}s"}
    if _CLASSES[scheme] == "S3Store" and "AWS_CHECKSUM_ALGORITHM" not in os.environ:
        config["checksum_algorithm"] = "sha256"  # the store rejects damaged uploads
    return make(bucket, config=config, retry_config=again)
