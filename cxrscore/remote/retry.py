"""What is retried, how often, and what is reported: no message holds an address with its secrets."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from typing import TypeVar

from cxrscore.errors import CxrscoreError, RemoteError, RemoteMissingError
from cxrscore.remote.url import RemotePath

TRIES = 6
"""Of a request that fails for a reason that may pass."""
FIRST_PAUSE = 0.25
"""Seconds; each further one is twice as long, and all are varied by half, so that many processes do not ask at once."""

_STATUS = re.compile(r"status code:? (\d{3})")
_DENIED = ("PermissionDeniedError", "UnauthenticatedError")
_LASTING = (NotImplementedError, ValueError, TypeError, IsADirectoryError, NotADirectoryError)

T = TypeVar("T")


class CutShortError(Exception):
    """A transfer ended before its end. Raised and caught inside this package."""


def with_retries(where: RemotePath, attempt: Callable[[], T], seconds: float = float("inf")) -> T:
    """What the attempt returns, after so many tries, and not after so many seconds; RemoteError where it is in vain."""
    end = time.monotonic() + seconds
    for number in range(1, TRIES + 1):
        try:
            return attempt()
        except CxrscoreError:
            raise
        except Exception as error:  # noqa: BLE001 - each file system raises its own
            (reason, passing), status = classify_error(error), status_of(error)
            missing = isinstance(error, FileNotFoundError)
        pause = FIRST_PAUSE * 2 ** (number - 1) * random.uniform(0.5, 1.5)
        if not passing or number == TRIES or time.monotonic() + pause > end:
            break
        time.sleep(pause)
    # Outside of the handler: the library's own error, which may quote the URL, is no part of this one.
    kind = RemoteMissingError if missing else RemoteError
    raise kind(where, f"{reason}, {number} times" if passing else reason, passing=passing, status=status)


def classify_error(error: Exception) -> tuple[str, bool]:
    """What went wrong, in words of ours, and whether it may pass."""
    status = status_of(error)
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return "there is nothing at this address", False
    if isinstance(error, PermissionError) or status in (401, 403) or type(error).__name__ in _DENIED:
        return "access is denied", False
    if type(error).__name__ == "TooManyRedirects":
        return "it leads from one address to the next without end", False
    if status is not None:
        return f"the server answers with status {status}", status >= 500 or status in (408, 429)
    if _of_obstore(error) and "BadScheme" in str(error):
        return "the endpoint is http://, which the environment must allow, such as with AWS_ALLOW_HTTP=true", False
    if type(error).__name__ == "InvalidPathError":
        return "a key there has an empty part or a dot for one, and obstore lists none then", False
    if isinstance(error, TimeoutError):
        return "no answer in time", True
    return f"the transfer failed ({type(error).__name__})", not isinstance(error, _LASTING)


def status_of(error: Exception) -> int | None:
    """Of HTTP, where there is one: aiohttp has it as a number, obstore in its text."""
    status = getattr(error, "status", None)
    if isinstance(status, int):
        return status
    found = _STATUS.search(str(error)) if _of_obstore(error) else None
    return int(found[1]) if found else None


def _of_obstore(error: Exception) -> bool:
    return type(error).__module__.startswith("obstore")
