"""The errors that leave cxrscore. Each says what was met, what was wanted and what to do.

Every class carries the exit code with which the command line ends, so the two cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any


class CxrscoreError(Exception):
    """Base of all errors raised on purpose; any other exception is a fault of the program."""

    exit_code = 1


class InputError(CxrscoreError):
    """A folder, table, file or value given by the user cannot be used."""


class FileFormatError(InputError):
    """A scores or model file is damaged, of another version, or not what it claims to be."""


class RemoteError(InputError):
    """A remote file, such as in a bucket, cannot be read. Its text has no user, password or query of a URL."""

    def __init__(self, where: object, reason: str, *, passing: bool = False, status: int | None = None) -> None:
        """where, shown as a text, is not part of the reason; passing: it may be otherwise later, as the store did not
        answer, or not to the end; status: of HTTP, where there is one."""
        super().__init__(f"cannot read {where}: {reason}")
        self.where, self.reason, self.passing, self.status = str(where), reason, passing, status

    def __reduce__(self) -> tuple[Any, ...]:
        """So that it comes whole out of another process, too."""
        return partial(type(self), passing=self.passing, status=self.status), (self.where, self.reason)


class RemoteMissingError(RemoteError):
    """There is nothing at an address."""


class RemoteTooLargeError(RemoteError):
    """There are more bytes at an address than are read."""


class LeakError(CxrscoreError):
    """The same patient, or the same film, stands in more than one split, or weights to start from have seen it."""

    exit_code = 4

    def __init__(self, found: str, advice: str = "") -> None:
        """found is for a caller that gives other advice."""
        super().__init__(f"{found} {advice}".strip())
        self.found = found


class CheckError(CxrscoreError):
    """A requested check did not pass."""

    exit_code = 5


class BackendUnavailableError(CxrscoreError):
    """A backend or other plugin is unknown, broken, or lacks a module that it requires."""

    exit_code = 6


class PluginError(CxrscoreError):
    """A function of a plugin raised an error, or returned something other than the contract says."""

    exit_code = 6

    def during(self, names: Sequence[str], count: int, hint: str) -> PluginError:
        """The same error with the films that were being worked on, and what is left of the work.

        Parameters
        ----------
        names
            Of the films; empty where none may be given.
        count
            How many films there are.
        kept
            What is saved, and how to resume.
        """
        shown = ", ".join(names[:_SHOWN]) + (f" and {count - _SHOWN} more" if count > _SHOWN else "")
        films = f"Films: {shown}" if names else f"It was given {count} film{'s' * (count != 1)}"
        return type(self)(f"{self} {films}. {hint}".strip())


_SHOWN = 3
"""Names of films that an error shows."""


class PluginWarning(UserWarning):
    """A plugin was passed over as it is at fault, or was chosen though the user did not name it; the work went on."""


class LabelWarning(UserWarning):
    """A label table cannot serve its purpose."""


class WorkerError(CxrscoreError):
    """A worker process died, again and again on the same work, or failed by a fault of the program."""


class WriteError(CxrscoreError):
    """An output could not be written; nothing was left half-written."""

    exit_code = 74


class OtherProcessError(CxrscoreError):
    """Another of the processes that work together failed. It says why; without a message of its own this one ends in
    silence, with the other's exit code."""

    def __init__(self, message: str = "", exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code
