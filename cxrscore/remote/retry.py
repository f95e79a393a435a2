"""Which errors are retried, how often, and how they are reported: no message contains the secrets of a URL."""

from __future__ import annotations

import datetime
import email.utils
import random
import re
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from cxrscore.errors import CxrscoreError, RemoteError, RemoteMissingError
from cxrscore.remote.url import RemotePath

TRIES = 6
"""Number of attempts of a request that fails for a temporary reason."""
FIRST_PAUSE = 0.25
"""Seconds of the first pause; each further one is twice as long, and all vary by half, so that many processes do not
retry at the same time."""
LONGEST_PAUSE = 60.0
"""Most seconds of a pause that a server asks for (HTTP header Retry-After)."""

_STATUS = re.compile(r"status code:? (\d{3})")
_DENIED = ("PermissionDeniedError", "UnauthenticatedError")
_LASTING = (NotImplementedError, ValueError, TypeError, IsADirectoryError, NotADirectoryError)

T = TypeVar("T")


class TransferError(Exception):
    """A failed request, with its reason in fixed words, and the headers of the answer, if any. Raised and caught inside
    this package."""

    def __init__(
        self, reason: str, *, passing: bool, status: int | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(reason)
        self.reason, self.passing, self.status, self.headers = reason, passing, status, headers


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
            asked = _asked_pause(error)
        pause = max(FIRST_PAUSE * 2 ** (number - 1) * random.uniform(0.5, 1.5), asked)
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


def _asked_pause(error: Exception) -> float:
    """Seconds of a pause that the server asks for (Retry-After: seconds, or a date), at most LONGEST_PAUSE; else 0."""
    headers = getattr(error, "headers", None)
    text = str(headers.get("Retry-After") or "").strip() if isinstance(headers, Mapping) else ""
    if text.isdecimal() and len(text) < 10:
        seconds = float(text)
    else:
        try:
            when = email.utils.parsedate_to_datetime(text[:40])
            when = when.replace(tzinfo=when.tzinfo or datetime.UTC)
            seconds = (when - datetime.datetime.now(datetime.UTC)).total_seconds()
        except (ValueError, TypeError, OverflowError):
            return 0.0
    return min(max(seconds, 0.0), LONGEST_PAUSE)


def status_of(error: Exception) -> int | None:
    """The HTTP status, if there is one: aiohttp has it as a number, obstore in its text."""
    status = getattr(error, "status", None)
    if isinstance(status, int):
        return status
    found = _STATUS.search(str(error)) if _of_obstore(error) else None
    return int(found[1]) if found else None


def _of_obstore(error: Exception) -> bool:
    return type(error).__module__.startswith("obstore")
