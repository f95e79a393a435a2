"""The rounds of a watch: list the films, score the new ones into new scores files, export these.

What is in the output folder says what is done, so a watch that is stopped anywhere goes on from there:

scores-20260131-0001.h5         a finished scores file, one of many
scores-20260131-0002.h5.parts   the run of one that is not finished, which resumes
.watch.lock                     held while a watch runs
.watch-index.sqlite3            the index of the films in the scores files (known_films)
.exports/                       a marker for each export that is done (exports)
"""

from __future__ import annotations

import datetime
import json
import os
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cxrscore.errors import CxrscoreError, FileFormatError, InputError, LockLostError, OtherRunError
from cxrscore.images import FoundFilms, find_films
from cxrscore.io import file_lock, make_folder
from cxrscore.remote import PathOrUrl, RemotePath
from cxrscore.scorefile import discard_run, manifest_films, unfinished_outputs
from cxrscore.scorefile.manifest import canonical_json
from cxrscore.scoring import LoadedModels, ScoreOptions, ScoreResult, build_models, known_inputs, score_listed
from cxrscore.status import Status, group_failures
from cxrscore.watching.config import WatchConfig
from cxrscore.watching.events import Event, Tell
from cxrscore.watching.exports import Exports
from cxrscore.watching.known_films import KnownFilms, Refreshed
from cxrscore.watching.selection import Counts, Selection

LOCK = ".watch.lock"
_NAME = re.compile(r"scores-(\d{8})-(\d{4,})(?:\..*)?")
_REASONS = 5
"""Reasons for films without scores that the log of a file names."""


@dataclass(kw_only=True)
class WatchResult:
    """What a watch has done.

    rounds           rounds that ended without an error
    files            scores files written
    scored, failed   films in them with and without scores
    duplicates       films with the bytes of another one
    waiting          films that were still too young in the last round
    given_up         films that could not be read and are not tried again, in the last round
    pending_exports  scores files with exports that are not done
    """

    rounds: int = 0
    files: int = 0
    scored: int = 0
    failed: int = 0
    duplicates: int = 0
    waiting: int = 0
    given_up: int = 0
    pending_exports: int = 0


def watch(
    config: WatchConfig,
    tell: Tell,
    *,
    once: bool = False,
    command: Sequence[str] = (),
    wait: Callable[[float], None] = time.sleep,
) -> WatchResult:
    """Scores the films of a folder or a URL as they come, round after round.

    Parameters
    ----------
    config : WatchConfig
        What to watch.
    tell : callable
        Called with each Event.
    once : bool
        One round, then return. Otherwise the function returns when ``wait`` raises an exception.
    command : sequence of str
        Command line, for the provenance in the scores files.
    wait : callable
        Called with the seconds until the next round.

    Returns
    -------
    WatchResult
        Of the one round.

    Raises
    ------
    InputError
        If another watch uses the output folder, or a model cannot be used; with ``once`` also if the films cannot be
        listed.
    FileFormatError
        If a scores file in the output folder is damaged.
    WriteError
        If the output folder cannot be written at the start, with ``once`` also later; if its lock is lost.
    """
    make_folder(config.output)
    with file_lock(config.output / LOCK):
        watcher = Watcher(config, tell, command)
        try:
            watcher.start()
            while True:
                try:
                    watcher.round()
                except LockLostError:
                    raise
                except CxrscoreError as error:
                    if once:
                        raise
                    watcher.failed(error)
                except OSError as error:  # such as a disk of another machine that is gone
                    if once:
                        raise
                    reason = error.strerror or type(error).__name__  # its file may be named after a patient
                    watcher.failed(InputError(f"a file or folder cannot be used: {reason}"))
                if once:
                    return watcher.result
                wait(config.interval)
        finally:
            watcher.close()


class Watcher:
    """A watch that holds the lock of its output folder. ``start`` once, then any number of rounds."""

    def __init__(self, config: WatchConfig, tell: Tell, command: Sequence[str] = ()) -> None:
        self._config, self._tell, self._command = config, tell, tuple(command)
        self.result = WatchResult()
        self._known = KnownFilms(config.output)
        self._selection = Selection(self._known, config.min_age, config.interval, config.retries)
        targets = [*config.exports, *([config.report] if config.report else [])]
        self._exports = Exports(config.output, targets, tell, retries=config.retries, interval=config.interval)
        self._lock = os.stat(config.output / LOCK)
        self._unreadable: tuple[str, ...] = ()
        self._stale = self._had_films = False
        self._loaded: LoadedModels | None = None

    @property
    def _hidden(self) -> bool:
        return self._config.score.get("anonymize_paths") is True

    def _options(self, output: Path) -> ScoreOptions:
        """The options of a run that begins now and writes this scores file."""
        return replace(self._config.score_options(output, datetime.date.today()), command=self._command)

    def start(self) -> None:
        """Removes what a killed watch has left, brings the index up to date, and loads the models."""
        self._clean_up()
        options = self._options(self._config.output / "scores.h5")
        self._loaded = build_models(options)
        found = self._refresh(options.films)
        self._had_films = found.films > 0
        text = f"watching {options.films}: {found.films:,} films are in {found.files:,} "
        text += f"scores files of {self._config.output}; {self._loaded.backend} scores the new ones"
        text += f"; {self._loaded.precision_note}" if self._loaded.precision_note else ""
        values = {"files": found.files, "films": found.films, "backend": self._loaded.backend}
        self._tell(Event(kind="started", text=text, values=values))
        if found.rebuilt:
            text = f"the index was made anew from the scores files: {found.rebuilt}"
            self._tell(Event(kind="index_rebuilt", text=text))
        own = replace(options, precision=self._loaded.precision)
        now = json.loads(canonical_json(known_inputs(own, self._loaded.files)))
        if names := sorted({name for one in found.inputs for name in now if one.get(name) != now[name]}):
            text = (
                f"some scores files were made with other inputs ({', '.join(names)}): their films are not scored again"
            )
            self._tell(Event(kind="other_inputs", text=text, values={"inputs": names}))

    def _refresh(self, films: PathOrUrl) -> Refreshed:
        """Brings the index up to date with the scores files."""
        found = self._known.refresh()
        if self._hidden and isinstance(films, RemotePath):
            self._selection.compares = self._known.has_unlinked()
        return found

    def _clean_up(self) -> None:
        """Removes the locks of scores files whose process has ended, and the remains of markers."""
        for lock in self._config.output.glob("scores-*.h5.lock"):
            with suppress(InputError), file_lock(lock):
                pass
        self._exports.clean_up()

    def close(self) -> None:
        self._known.close()

    def failed(self, error: CxrscoreError) -> None:
        """Tells why a round has ended early; the next one begins with what it left."""
        self._stale = True
        reason = str(error) if str(error).endswith((".", "?")) else f"{error}."
        text = f"{reason} Trying again in {self._config.interval:g} s."
        self._tell(Event(kind="error", text=text, values={"reason": str(error), "error": type(error).__name__}))

    def round(self) -> None:
        """One round. CxrscoreError if the films cannot be listed, or a scores file cannot be written: what was finished
        until then stays."""
        self._check_output()
        options = self._options(self._config.output / "scores.h5")
        folder = options.films
        if self._stale:
            self._refresh(folder)
            self._stale = False
        self._exports.begin_round()
        self._resume()
        counts = Counts()
        paths = self._listed(folder, any_modality=options.any_modality)
        candidates = self._selection.candidates(folder, paths, counts)
        for films in self._selection.new_films(folder, candidates, self._config.films_per_file, counts):
            self._check_output()
            self._score(self._next_name(), films)
        for file in self._exports.pending():
            self._exports.run(file)
        self._count(counts)

    def _count(self, counts: Counts) -> None:
        result = self.result
        result.rounds += 1
        result.duplicates += counts.duplicates
        result.waiting, result.given_up = counts.waiting, counts.given_up
        result.pending_exports = len(self._exports.pending())
        texts = [
            f"{counts.waiting:,} films are too young" if counts.waiting else "",
            f"{counts.duplicates:,} films are copies of scored ones" if counts.duplicates else "",
            f"{counts.gone:,} films went away" if counts.gone else "",
        ]
        text = "; ".join(filter(None, texts))
        values = {**asdict(counts), "pending_exports": result.pending_exports}
        self._tell(Event(kind="round", text=text, values=values))

    def _check_output(self) -> None:
        """InputError if the output folder is gone, as if unmounted; LockLostError if the lock in it is not the own."""
        place = self._config.output
        try:
            same = os.path.samestat(os.stat(place / LOCK), self._lock)
        except OSError:
            if not place.is_dir() or not any(place.iterdir()):
                raise InputError(f"the output folder {place} is gone or empty: is its disk mounted?") from None
            same = False
        if not same:
            raise LockLostError(f"the lock {place / LOCK} was removed or replaced. Start the watch again.")

    def _listed(self, folder: PathOrUrl, *, any_modality: bool) -> tuple[str, ...]:
        """The films now. That there are none though there were is told: a disk may not be mounted."""
        found = find_films(folder, any_modality=any_modality)
        if not found.paths and self._had_films and not isinstance(folder, RemotePath):
            text = f"no film is listed any more in {folder}: is its disk mounted? What is scored stays as it is"
            self._tell(Event(kind="no_films", text=text))
        self._had_films = bool(found.paths)
        if found.unreadable != self._unreadable and found.unreadable:
            shown = "" if self._hidden else f", such as {found.unreadable[0]}"
            text = f"{len(found.unreadable)} files or folders cannot be read{shown}: films may be missing"
            self._tell(Event(kind="unreadable", text=text, values={"count": len(found.unreadable)}))
        self._unreadable = found.unreadable
        return found.paths

    def _resume(self) -> None:
        """Finishes the scores file that an earlier watch, or an earlier round, has begun."""
        for output in unfinished_outputs(self._config.output):
            try:
                frozen = None if output.exists() else manifest_films(output)
            except FileFormatError:
                frozen = None
            if frozen is None:  # finished but for the removal of the folder, or not begun
                discard_run(output)
                continue
            self._tell(Event(kind="resumed", text=f"resuming {output.name}, of {len(frozen)} films"))
            try:
                self._score(output, frozen)
            except OtherRunError as error:
                discard_run(output)
                text = f"{output.name} was begun with other models or options; its films are scored anew: {error}"
                self._tell(Event(kind="discarded", text=text))

    def _score(self, output: Path, films: Sequence[str]) -> None:
        assert self._loaded is not None
        options = self._options(output)
        result = score_listed(options, FoundFilms(paths=tuple(sorted(films))), self._loaded)
        self._known.add(output, sorted(films))
        self.result.files += 1
        self.result.scored += result.scored
        self.result.failed += len(result.failed)
        self._tell_scored(output, result)
        self._exports.run(output)

    def _tell_scored(self, output: Path, result: ScoreResult) -> None:
        text = f"{result.scored} of {result.n_films} films scored into {output.name} in {result.seconds:.1f} s"
        values = {"file": output.name, "films": result.n_films, "scored": result.scored, "failed": len(result.failed)}
        values["seconds"] = round(result.seconds, 3)
        self._tell(Event(kind="scored", text=text, values=values))
        statuses = zip(result.failed, result.failed_statuses, strict=True)
        groups = group_failures((film, status, message) for (film, message), status in statuses)
        for group in groups[:_REASONS]:
            film, message = group.films[0]
            number = f"{len(group.films)} films, such as {film}" if len(group.films) > 1 else film
            again = " (tried again)" if group.status == Status.UNREADABLE.name and self._config.retries else ""
            shown = {"status": group.status, "count": len(group.films), "film": film, "reason": message}
            self._tell(Event(kind="not_scored", text=f"not scored: {number}: {message}{again}", values=shown))

    def _next_name(self) -> Path:
        """The output for the next scores file, which no file, run or marker has had."""
        today = f"{datetime.datetime.now(datetime.UTC):%Y%m%d}"
        names = [*(path.name for path in self._config.output.glob(f"scores-{today}-*")), *self._exports.names()]
        taken = [int(found[2]) for name in names if (found := _NAME.fullmatch(name)) and found[1] == today]
        return self._config.output / f"scores-{today}-{max(taken, default=0) + 1:04d}.h5"
