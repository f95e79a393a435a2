"""Which library opens an address. Both are of the extra ``remote``, and are imported when first needed."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cxrscore.errors import InputError
from cxrscore.remote.url import RemotePath

if TYPE_CHECKING:
    from cxrscore.remote.bounds import ListingBounds

INSTALL = 'pip install "cxrscore[remote]"'
PIECE = 16 << 20
"""Bytes that are received at a time of what is larger."""
ONE_REQUEST = 30
"""Seconds that one may take, a piece at most."""
OBJECTS = ("s3", "s3a", "gs", "gcs", "az")


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A file below a folder: its POSIX path there, and its bytes where the listing tells them."""

    path: str
    size: int | None = None


class Store(Protocol):
    """What is done with a folder or file elsewhere. The library's own errors pass through: retry.retried tells them."""

    def entries(self, unreadable: list[str], bounds: ListingBounds) -> Iterator[Entry]:
        """The files below a folder, in any order; adds to ``unreadable`` the folders that cannot be listed. What is
        listed is counted by ``bounds``, whose errors pass through."""
        ...

    def pieces(self, first: int | None = None, seconds: float | None = None) -> Iterator[bytes]:
        """The bytes of a file in order, at most a PIECE at a time; with ``first`` at least its first so many.
        CutShortError, or one of the library's, where they end before the length that was announced, or where the
        request has not ended after so many ``seconds``."""
        ...

    def size(self) -> int:
        """Bytes of a file; FileNotFoundError where there is none."""
        ...

    def put(self, source: Path) -> None:
        """Makes the file of one on disk: whole, or not at all."""
        ...


def open_store(where: RemotePath) -> Store:
    """InputError, with the line that installs it, where there is no library for this address."""
    try:
        return _opened(where)
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001 - each file system raises its own, and may quote what is secret
        kind = type(error).__name__
    raise InputError(
        f"{where} cannot be opened ({kind}): look at the credentials and the endpoint in the environment. "
        "docs/remote.md names the variables."
    )


def _opened(where: RemotePath) -> Store:
    if where.scheme in OBJECTS and importlib.util.find_spec("obstore"):
        from cxrscore.remote.obstore_store import ObjectStore

        return ObjectStore(where)
    if not importlib.util.find_spec("fsspec"):
        raise InputError(f"{where} cannot be opened without fsspec: {INSTALL}")
    _check_scheme(where)
    from cxrscore.remote.fsspec_store import FileSystem, WebServer

    return WebServer(where) if where.web else FileSystem(where)


def _check_scheme(where: RemotePath) -> None:
    from fsspec.registry import get_filesystem_class, known_implementations

    try:
        get_filesystem_class(where.scheme)
    except ImportError:
        own = where.web or where.scheme in OBJECTS
        advice = INSTALL if own else str(known_implementations.get(where.scheme, {}).get("err", "install its package"))
        raise InputError(f"{where.scheme}:// cannot be opened: {advice}") from None
    except ValueError:
        raise InputError(
            f"{where.scheme}:// is of no kind that fsspec knows; wanted one such as s3://, gs://, az://, https://"
        ) from None
