"""The folders that Python imports from, without the current one. This module imports only the built-in os and sys.

Python puts the current folder, or an empty entry for it, first on the search path of a process that is started with
``-m`` or ``-c``, or whose PYTHONPATH has an empty entry. A ``json.py`` next to the films would then replace Python's
own.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_PROGRAM = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
"""The folder that holds this package."""


def import_path(entries: "Iterable[str] | None" = None) -> list[str]:
    """The folders from which a child process imports: those of this process, without the current folder.

    Parameters
    ----------
    entries : iterable of str, optional
        A search path; by default ``sys.path``.

    Returns
    -------
    list of str
        Absolute folders and archives, in order. An entry that is empty, relative, or another name of the current
        folder is left out. The folder of this package stays, wherever the process was started.
    """
    here = _current_folder()
    return [
        entry
        for entry in (sys.path if entries is None else entries)
        if os.path.isabs(entry)
        and os.pathsep not in entry  # in an environment variable it would become two entries
        and (os.path.realpath(entry) != here or here == _PROGRAM)
    ]


def _current_folder() -> str:
    try:
        return os.path.realpath(os.getcwd())
    except OSError:  # it was removed
        return ""


def drop_current_folder() -> None:
    """Remove the current folder from ``sys.path`` if Python, or an entry of PYTHONPATH, has put it before the standard
    library. Later entries come from installed packages and are not removed."""
    library = os.path.dirname(os.__file__)
    end = sys.path.index(library) if library in sys.path else len(sys.path)
    sys.path[:end] = import_path(sys.path[:end])
