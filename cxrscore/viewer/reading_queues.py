"""The queues of films to read: files beside the marks file that the page draws, and one that is given."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cxrscore.errors import CxrscoreError, InputError
from cxrscore.marks.file import SUFFIX
from cxrscore.reading import QueueOptions, make_queue, read_queue
from cxrscore.remote import PathOrUrl
from cxrscore.viewer.film_files import BusyError
from cxrscore.viewer.film_index import Rows
from cxrscore.viewer.marking import Marking, Reading

MOST_QUEUES = 99
GIVEN = 100
"""Number of the queue that the command names."""
WAIT_S = 5.0
"""How long a page waits for a queue. The rule useful runs the model on all candidates, which may take minutes."""
BLINDED_RULES = ("random",)
"""Rules that a blinded reader may draw by: which films they draw tells nothing of the scores."""


@dataclass(frozen=True, kw_only=True)
class SavedQueue:
    """A queue: its file, its rows in order, how it was drawn, and how many of its films the scores file lacks."""

    number: int
    path: Path
    rule: str
    rows: Rows
    missing: int

    def name(self, reading: Reading) -> str:
        """Its name on pages; a blinded reader does not get that of the file, which may tell the rule."""
        return f"queue {self.number}" if reading.blinded else self.path.name


@dataclass(frozen=True, kw_only=True)
class QueueSources:
    """What queues are drawn from: the scores files, and for the rule useful the films and the model."""

    scores: Sequence[Path]
    films: PathOrUrl | None = None
    model: Sequence[Path] = ()
    backend: str | None = None


class ReadingQueues:
    """The queues; safe to use from several threads.

    Parameters
    ----------
    marking : Marking
        The films, and the marks file beside which queues are kept.
    sources : QueueSources
    given : Path or None
        A table of ``cxrscore queue``. InputError if it is something else.

    Attributes
    ----------
    told : str
        That a queue is being drawn, or why the last one could not be drawn while nobody waited; "" otherwise.
    """

    def __init__(self, marking: Marking, sources: QueueSources, given: Path | None = None) -> None:
        self._marking, self._sources, self._given = marking, sources, given
        self._kept: dict[Path, tuple[tuple[int, int, int], SavedQueue]] = {}
        self._turn, self._drawing = threading.Lock(), threading.Lock()
        self.told = ""
        if given is not None:
            self._read(GIVEN, given)

    def all(self) -> list[SavedQueue]:
        """All queues that can be read, by number."""
        found = []
        for number, path in self._paths().items():
            try:
                found.append(self._read(number, path))
            except (CxrscoreError, OSError):
                continue
        return found

    def queue(self, number: int) -> SavedQueue:
        """A queue. InputError if there is none of this number, or it cannot be read."""
        path = self._paths().get(number)
        if path is None:
            raise InputError("there is no such queue: its file was removed, or belongs to another marks file")
        return self._read(number, path)

    def rows(self, number: int, reading: Reading) -> Rows:
        """The rows of a queue: in its order, or for a blinded reader in that of the digests, which tells nothing of the
        scores. Errors as queue."""
        rows = self.queue(number).rows
        if not reading.blinded:
            return rows
        digests = self._marking.digests
        return rows[digests[rows].argsort(kind="stable")]

    def rules(self, reading: Reading) -> list[str]:
        """The rules by which a page can draw."""
        sources = self._sources
        if reading.blinded:
            return list(BLINDED_RULES)
        rules = ["highest", "uncertainty", "random", "enriched"]
        if len(sources.scores) > 1:
            rules.append("disagreement")
        if len(sources.model) == 1 and isinstance(sources.films, Path) and sources.films.is_dir():
            rules.append("useful")
        return rules

    def draw(self, rule: str, count: int, seed: int) -> SavedQueue | None:
        """Draw a queue from all films, marked or not, and keep it.

        Returns
        -------
        SavedQueue or None
            None if it takes longer than a browser should wait: it is drawn meanwhile, and ``told`` says how it stands.

        Raises
        ------
        InputError, WriteError, FileFormatError
            As make_queue.
        BusyError
            While another queue is drawn.
        """
        if not self._drawing.acquire(blocking=False):
            raise BusyError
        self.told = f"A queue by the rule {rule} is being made. Load this page again to see whether it is there."
        found: list[SavedQueue | CxrscoreError] = []
        thread = threading.Thread(
            target=self._draw_and_tell, args=(rule, count, seed, found), name="cxrscore-queue", daemon=True
        )
        thread.start()
        thread.join(WAIT_S)
        if not found:
            return None
        self.told = ""
        if isinstance(found[0], CxrscoreError):
            raise found[0]
        return found[0]

    def _draw_and_tell(self, rule: str, count: int, seed: int, found: list[SavedQueue | CxrscoreError]) -> None:
        words = ""
        try:
            found.append(self._draw(rule, count, seed))
        except CxrscoreError as error:
            found.append(error)
            words = f"The queue by the rule {rule} is not made: {error}"
        except Exception as error:  # noqa: BLE001 - of a backend; its text may name a film
            found.append(InputError(f"internal error {type(error).__name__}"))
            words = f"The queue by the rule {rule} is not made: internal error {type(error).__name__}"
        finally:
            self.told = words
            self._drawing.release()

    def _draw(self, rule: str, count: int, seed: int) -> SavedQueue:
        marks = self._marking.log.path
        if marks is None:
            raise InputError("there is no place for marks and queues: name one with --marks FILE")
        number = next((n for n in range(1, MOST_QUEUES + 1) if not _path(marks, n).exists()), 0)
        if not number:
            raise InputError(f"there are {MOST_QUEUES} queues beside {marks}; remove one first")
        path = _path(marks, number)
        sources, name = self._sources, rule.partition(":")[0]
        useful = name == "useful"
        make_queue(
            QueueOptions(
                scores=sources.scores[0],
                count=count,
                rule=rule,
                output=path,
                seed=seed,
                other=sources.scores[1] if name == "disagreement" and len(sources.scores) > 1 else None,
                films=sources.films if useful and isinstance(sources.films, Path) else None,
                model=sources.model[0] if useful and sources.model else None,
                backend=sources.backend if useful else None,
            )
        )
        return self._read(number, path)

    def _paths(self) -> dict[int, Path]:
        marks = self._marking.log.path
        found = (
            {} if marks is None else {n: path for n in range(1, MOST_QUEUES + 1) if (path := _path(marks, n)).exists()}
        )
        return found if self._given is None else {**found, GIVEN: self._given}

    def _read(self, number: int, path: Path) -> SavedQueue:
        about = os.stat(path) if path.exists() else None
        state = (about.st_ino, about.st_size, about.st_mtime_ns) if about else (0, 0, 0)
        with self._turn:
            kept = self._kept.get(path)
            if kept is not None and kept[0] == state:
                return kept[1]
            table = read_queue(path)
            # A film in two folders is read once, in its first row.
            rows = [int(same[0]) for sha256 in table if len(same := self._marking.rows_of([sha256]))]
            first = next(iter(table.values()), None)
            found = SavedQueue(
                number=number,
                path=path,
                rule=first.rule if first else "",
                rows=np.array(rows, np.int32),
                missing=len(table) - len(rows),
            )
            self._kept[path] = (state, found)
            return found


def _path(marks: Path, number: int) -> Path:
    return marks.with_name(f"{marks.name.removesuffix(SUFFIX)}.queue-{number}.csv")
