"""The exports and reports of each scores file of a watch.

A marker, a file without content, says that an export of a scores file is done. It is written after the export, so a
crash between the two exports again, into the same files. An export that fails is tried again in each round, and does
not keep films from being scored. One that leaves films out that it should have is tried again as often as a film that
cannot be read, after longer and longer pauses: their source may be down, or they may be unfit for good.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from cxrscore.errors import CxrscoreError, NothingToExportError
from cxrscore.escape_control_chars import class_name
from cxrscore.export import export_scores
from cxrscore.io import atomic_write_bytes, make_folder, sha256_bytes
from cxrscore.io.regular import open_regular
from cxrscore.remote import location_text
from cxrscore.scorefile import Scores, open_scores
from cxrscore.watching.config import ExportTarget, export_options
from cxrscore.watching.events import Event, Tell

MARKERS = ".exports"
_TRIED = ".tried"
_MOST_TRIES = 31
_NAMED = 3
"""Films without an export that an event names."""


class Exports:
    """The exports of the scores files in a folder.

    Parameters
    ----------
    folder
        The folder of the scores files.
    targets
        The exports of each of them.
    tell
        Called with what was exported, and what failed.
    retries, interval
        How often an export that leaves films out is tried again, and the shortest pause in seconds.
    """

    def __init__(
        self, folder: Path, targets: Sequence[ExportTarget], tell: Tell, *, retries: int, interval: float
    ) -> None:
        self._folder, self._tell = folder, tell
        self._retries, self._interval = retries, interval
        self._targets = {_digest(target): target for target in targets}
        self._failures: Counter[tuple[str, str]] = Counter()
        self._down: set[str] = set()

    def begin_round(self) -> None:
        """Tries again what failed in the last round."""
        self._down.clear()

    def clean_up(self) -> None:
        """Removes the remains of markers that a killed watch was writing."""
        for part in (self._folder / MARKERS).glob(".*.part"):
            with suppress(OSError):
                part.unlink()

    def pending(self) -> list[Path]:
        """The scores files with exports to do, those that failed least often first."""
        if not self._targets:
            return []
        done = self._done()
        files = sorted(path for path in self._folder.glob("*.h5") if path.is_file())
        waiting = [path for path in files if any(_marker(path, key) not in done for key in self._targets)]
        return sorted(waiting, key=lambda path: max(self._failures[path.name, key] for key in self._targets))

    def run(self, file: Path) -> None:
        """Makes the exports of a scores file that are not done. A target that has failed in this round is left out: the
        server that it needs is probably down."""
        done = self._done()
        keys = [key for key in self._targets if _marker(file, key) not in done and key not in self._down]
        keys = [key for key in keys if self._may_try(_marker(file, key))]
        scores: Scores | None = None
        for key in keys:
            target = self._targets[key]
            try:
                scores = open_scores(file) if scores is None else scores
                left_out = _export(target, file, scores)
                again = self._mark(_marker(file, key), complete=not left_out)
                self._told(target, file, left_out, again=again)
                continue
            except NothingToExportError:
                self._mark(_marker(file, key), complete=True)
                self._told(target, file, (), again=False)
                continue
            except CxrscoreError as error:
                why = str(error)
            except Exception as error:  # noqa: BLE001 - a fault of an export must not keep films from being scored
                why = f"unexpected error {class_name(error)}"
            self._down.add(key)
            self._failures[file.name, key] += 1
            values = {"file": file.name, "export": target.name, "reason": why}
            text = f"{target.name} of {file.name} failed, and is tried again in the next round: {why}"
            self._tell(Event(kind="export_failed", text=text, values=values))

    def names(self) -> list[str]:
        """Names of the scores files that markers are of, for the number of the next file."""
        return [name.removesuffix(_TRIED).rpartition(".")[0] for name in self._done()]

    def _may_try(self, marker: str) -> bool:
        """Whether the pause after the last try is over."""
        tries, last = self._tries(marker)
        return not tries or time.time() >= last + self._interval * float(2**tries)

    def _tries(self, marker: str) -> tuple[int, float]:
        """How often an export has left films out, and when it last did, Unix seconds."""
        try:
            with open_regular(self._folder / MARKERS / f"{marker}{_TRIED}") as file:
                text, last = file.read(10).decode("ascii", "replace"), os.fstat(file.fileno()).st_mtime
        except OSError:
            return 0, 0.0
        return (min(int(text), _MOST_TRIES) if text.isdecimal() else 1), last

    def _mark(self, marker: str, *, complete: bool) -> bool:
        """Marks an export as done, or as tried if it is not complete; returns whether it is to be tried again."""
        make_folder(self._folder / MARKERS)
        tries = 0 if complete else self._tries(marker)[0] + 1
        again = 0 < tries <= self._retries
        if again:
            atomic_write_bytes(self._folder / MARKERS / f"{marker}{_TRIED}", str(tries).encode())
        else:
            atomic_write_bytes(self._folder / MARKERS / marker, b"")
            (self._folder / MARKERS / f"{marker}{_TRIED}").unlink(missing_ok=True)
        return again

    def _done(self) -> set[str]:
        folder = self._folder / MARKERS
        return {path.name for path in folder.iterdir()} if folder.is_dir() else set()

    def _told(self, target: ExportTarget, file: Path, failed: Sequence[tuple[str, str]], *, again: bool) -> None:
        values = {"file": file.name, "export": target.name, "failed": len(failed), "tried_again": again}
        text = f"{target.name} of {file.name} lacks films, and is tried again later"
        text = text if again else f"{target.name} of {file.name} is done"
        self._tell(Event(kind="exported", text=text, values=values))
        for film, why in failed[:_NAMED]:
            self._tell(Event(kind="not_exported", text=f"not in {target.name}: {film}: {why}"))
        if (more := len(failed) - _NAMED) > 0:
            self._tell(Event(kind="not_exported", text=f"not in {target.name}: {more} more films of {file.name}"))


def _export(target: ExportTarget, file: Path, scores: Scores) -> Sequence[tuple[str, str]]:
    """Makes one export; returns the films that are not in it though they should be, each with the reason."""
    if target.folder is not None:
        make_folder(target.folder)
    if target.name != "report":
        return tuple(export_scores(scores, export_options(target, file)).failed)
    from cxrscore.reporting import write_report

    assert target.folder is not None  # read_config demands it
    page = target.folder / f"{file.stem}{target.suffix}"
    write_report(scores, page, source=file.name, inputs=(file,), overwrite=True, **target.options)
    return ()


def _digest(target: ExportTarget) -> str:
    """Identifies an export: another folder, format or option is another export."""
    folder = "" if target.folder is None else str(target.folder.absolute())
    options = sorted((name, _text(value)) for name, value in target.options.items())
    return sha256_bytes(repr((folder, target.suffix, options)).encode("utf-8", "surrogateescape"))[:16]


def _text(value: Any) -> str:
    try:
        return location_text(value)
    except (AttributeError, TypeError):
        return repr(value)


def _marker(file: Path, key: str) -> str:
    return f"{file.stem}.{key}"
