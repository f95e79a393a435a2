"""The exceptions that cxrscore raises. Each message says what was found, what was expected and what to do.

``exit_code`` of a class is the exit code of the command line.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any


class CxrscoreError(Exception):
    """Base class of the expected errors. Any other exception is a bug."""

    exit_code = 1


class InputError(CxrscoreError):
    """A folder, table, file or value from the user cannot be used."""


class FileFormatError(InputError):
    """A scores or model file is damaged, has another version, or does not match its metadata."""


class OtherRunError(InputError):
    """An output, finished or not, belongs to a run of other films, models or options."""


class NothingToExportError(InputError):
    """A scores file has no film that can be in an export of this format: another attempt changes nothing."""


class RemoteError(InputError):
    """A URL cannot be read. The message contains no user, password or query of the URL."""

    def __init__(self, where: object, reason: str, *, passing: bool = False, status: int | None = None) -> None:
        """where: its text is not part of the reason; passing: whether the failure is temporary, as if the store did not
        answer or the transfer was incomplete; status: of HTTP, if there is one."""
        super().__init__(f"cannot read {where}: {reason}")
        self.where, self.reason, self.passing, self.status = str(where), reason, passing, status

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle all fields, so that the error can be passed between processes."""
        return partial(type(self), passing=self.passing, status=self.status), (self.where, self.reason)


class RemoteMissingError(RemoteError):
    """There is nothing at the URL."""


class RemoteTooLargeError(RemoteError):
    """The object at the URL is larger than the limit."""


class LeakError(CxrscoreError):
    """A patient or film is in more than one split, or the initial weights were trained on it."""

    exit_code = 4

    def __init__(self, found: str, advice: str = "") -> None:
        """found: for a caller that gives other advice."""
        super().__init__(f"{found} {advice}".strip())
        self.found = found


class CheckError(CxrscoreError):
    """A requested check failed."""

    exit_code = 5


class BackendUnavailableError(CxrscoreError):
    """A backend or other plugin is unknown, broken, or lacks a module that it requires."""

    exit_code = 6


class PluginError(CxrscoreError):
    """A function of a plugin raised an exception or returned a value that violates the contract."""

    exit_code = 6

    def during(self, names: Sequence[str], count: int, hint: str) -> PluginError:
        """The same error with the films of the failed call and the saved work.

        Parameters
        ----------
        names
            Names of the films; empty if they must not be shown.
        count
            Number of films.
        hint
            What is saved, and how to resume.
        """
        shown = ", ".join(names[:_SHOWN]) + (f" and {count - _SHOWN} more" if count > _SHOWN else "")
        films = f"Films: {shown}" if names else f"It was given {count} film{'s' * (count != 1)}"
        return type(self)(f"{self} {films}. {hint}".strip())


_SHOWN = 3
"""Number of film names that an error shows."""


class PluginWarning(UserWarning):
    """A faulty plugin was skipped, or a plugin was used that the user did not name; the command continued."""


class LabelWarning(UserWarning):
    """A label table cannot be used by this command, or its rows match the films in part only."""


class FilmWarning(UserWarning):
    """Films were scored with a note on how they were read that a user must know, such as a guessed grey range."""


class TrackingWarning(UserWarning):
    """A model was trained and written, but its run could not be logged to MLflow."""


class WorkerError(CxrscoreError):
    """Worker processes died repeatedly on the same item, or one failed because of a bug."""


class WriteError(CxrscoreError):
    """An output could not be written. No incomplete file is left."""

    exit_code = 74


class LockLostError(WriteError):
    """The lock of a watch is not in its output folder any more, so another watch could use the folder, too."""


class OtherProcessError(CxrscoreError):
    """Another process of the group failed and reports the error; this one ends with the same exit code."""

    def __init__(self, message: str = "", exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code
