"""The errors that leave cxrscore. Each says what was met, what was wanted and what to do.

Every class carries the exit code with which the command line ends, so the two cannot drift apart.
"""


class CxrscoreError(Exception):
    """Base of all errors raised on purpose; any other exception is a fault of the program."""

    exit_code = 1


class InputError(CxrscoreError):
    """A folder, table, file or value given by the user cannot be used."""


class FileFormatError(InputError):
    """A scores or model file is damaged, of another version, or not what it claims to be."""


class LeakError(CxrscoreError):
    """The same patient, or the same film, stands in more than one split, or weights to start from have seen it."""

    exit_code = 4

    def __init__(self, found: str, advice: str = "") -> None:
        """found is kept for a caller that has other advice."""
        super().__init__(f"{found} {advice}".strip())
        self.found = found


class CheckError(CxrscoreError):
    """A check that was asked for did not pass."""

    exit_code = 5


class BackendUnavailableError(CxrscoreError):
    """A backend or other plugin is unknown, broken, or lacks a module that it requires."""

    exit_code = 6


class WorkerError(CxrscoreError):
    """A worker process died, again and again on the same work, or failed by a fault of the program."""


class WriteError(CxrscoreError):
    """An output could not be written; nothing was left half-written."""

    exit_code = 74
