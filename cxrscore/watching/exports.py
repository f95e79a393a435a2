"""The exports and reports of each scores file of a watch.

A marker, a file without content, says that an export of a scores file is done. It is written after the export, so a
crash between the two exports again, into the same files. An export that fails is tried again in each round, and does
not keep films from being scored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cxrscore.errors import CxrscoreError
from cxrscore.escape_control_chars import class_name
from cxrscore.export import export_scores
from cxrscore.io import atomic_write_bytes, make_folder, sha256_bytes
from cxrscore.remote import location_text
from cxrscore.scorefile import Scores, open_scores
from cxrscore.watching.config import ExportTarget, export_options
from cxrscore.watching.events import Event, Tell

MARKERS = ".exports"
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
    """

    def __init__(self, folder: Path, targets: Sequence[ExportTarget], tell: Tell) -> None:
        self._folder, self._tell = folder, tell
        self._targets = {_digest(target): target for target in targets}
        self._failures: Counter[tuple[str, str]] = Counter()
        self._down: set[str] = set()

    def begin_round(self) -> None:
        """Tries again what failed in the last round."""
        self._down.clear()

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
        scores: Scores | None = None
        for key in keys:
            target = self._targets[key]
            try:
                scores = open_scores(file) if scores is None else scores
                self._told(target, file, _export(target, file, scores))
                make_folder(self._folder / MARKERS)
                atomic_write_bytes(self._folder / MARKERS / _marker(file, key), b"")
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
        return [name.rpartition(".")[0] for name in self._done()]

    def _done(self) -> set[str]:
        folder = self._folder / MARKERS
        return {path.name for path in folder.iterdir()} if folder.is_dir() else set()

    def _told(self, target: ExportTarget, file: Path, failed: Sequence[tuple[str, str]]) -> None:
        values = {"file": file.name, "export": target.name, "failed": len(failed)}
        self._tell(Event(kind="exported", text=f"{target.name} of {file.name} is done", values=values))
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
