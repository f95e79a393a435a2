"""Which errors are retried, how often, and how they are reported: no message contains the secrets of a URL."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from typing import TypeVar

from cxrscore.errors import CxrscoreError, RemoteError, RemoteMissingError
from cxrscore.remote.url import RemotePath

TRIES = 6
"""Number of attempts of a request that fails for a temporary reason."""
FIRST_PAUSE = 0.25
"""Seconds of the first pause; each further one is twice as long, and all vary by half, so that many processes do not
retry at the same time."""

_STATUS = re.compile(r"status code:? (\d{3})")
_DENIED = ("PermissionDeniedError", "UnauthenticatedError")
_LASTING = (NotImplementedError, ValueError, TypeError, IsADirectoryError, NotADirectoryError)

T = TypeVar("T")


class TransferError(Exception):
    """A failed request, with its reason in fixed words. Raised and caught inside this package."""

    def __init__(self, reason: str, *, passing: bool, status: int | None = None) -> None:
        super().__init__(reason)
        self.reason, self.passing, self.status = reason, passing, status


class CutShortError(Exception):
    """A transfer ended early. Raised and caught inside this package."""


def with_retries(where: RemotePath, attempt: Callable[[], T], seconds: float = float("inf")) -> T:
    """Return what the attempt returns, within the allowed number of attempts and seconds; RemoteError if all fail."""
    end = time.monotonic() + seconds
    for number in range(1, TRIES + 1):
        try:
            return attempt()
        except CxrscoreError:
            raise
        except Exception as error:  # noqa: BLE001 - each file system has its own exceptions
            (reason, passing), status = classify_error(error), status_of(error)
            missing = isinstance(error, FileNotFoundError) or (isinstance(error, TransferError) and status == 404)
        pause = FIRST_PAUSE * 2 ** (number - 1) * random.uniform(0.5, 1.5)
        if not passing or number == TRIES or time.monotonic() + pause > end:
            break
        time.sleep(pause)
    # Outside of the handler: the library's own error, which may quote the URL, must not be chained to this one.
    kind = RemoteMissingError if missing else RemoteError
    raise kind(where, f"{reason}, {number} times" if passing else reason, passing=passing, status=status)


def classify_error(error: Exception) -> tuple[str, bool]:
    """The reason of a failure in fixed words, and whether it is temporary."""
    if isinstance(error, TransferError):
        return error.reason, error.passing
    status = status_of(error)
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return "there is nothing at this URL", False
    if isinstance(error, PermissionError) or status in (401, 403) or type(error).__name__ in _DENIED:
        return "access is denied", False
    if type(error).__name__ == "TooManyRedirects":
        return "it redirects endlessly", False
    if status is not None:
        return f"the server answers with status {status}", status >= 500 or status in (408, 429)
    if _of_obstore(error) and "BadScheme" in str(error):
        return "the endpoint is http://, which the environment must allow, for example with AWS_ALLOW_HTTP=true", False
    if type(error).__name__ == "InvalidPathError":
        return "a key there has an empty part or a part that is a dot, and obstore then lists none", False
    if isinstance(error, CutShortError):
        return "the transfer ended early", True
    if isinstance(error, TimeoutError):
        return "no answer in time", True
    return f"the transfer failed ({type(error).__name__})", not isinstance(error, _LASTING)


def status_of(error: Exception) -> int | None:
    """The HTTP status, if there is one: aiohttp has it as a number, obstore in its text."""
    status = getattr(error, "status", None)
    if isinstance(status, int):
        return status
    found = _STATUS.search(str(error)) if _of_obstore(error) else None
    return int(found[1]) if found else None


def _of_obstore(error: Exception) -> bool:
    return type(error).__module__.startswith("obstore")
