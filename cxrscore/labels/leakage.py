"""Leakage between splits: the same film, patient, file or picture in two splits, and test films that the initial
weights were trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrscore.errors import LeakError
from cxrscore.labels.duplicates import near_duplicates
from cxrscore.labels.splits import Split

_MAX_EXAMPLES = 5
"""Number of leaks of each kind that an error lists."""

SAME_FILM = "the same film"
SAME_PATIENT = "films of one patient"
SAME_BYTES = "files of the same bytes"
SAME_PICTURE = "films of nearly the same pixels"
SEEN = "films that the initial weights were trained on"


@dataclass(frozen=True, kw_only=True)
class Leak:
    """Two films that must be in the same split, and why; paths as given, splits train, valid or test. For a film that
    the initial weights were trained on, other is "" and other_part is the split that it had then."""

    why: str
    film: str
    part: str
    other: str
    other_part: str

    def __str__(self) -> str:
        if not self.other:
            return f"{self.film} ({self.part}, there {self.other_part})"
        return f"{self.film} ({self.part}) and {self.other} ({self.other_part})"


def check_leakage(
    split: Split,
    patients: Sequence[str | None],
    sha256: Sequence[str],
    paths: Sequence[str],
    *,
    thumbnails: NDArray[np.uint8] | None = None,
    seen: Mapping[str, str] | None = None,
    allow: bool = False,
) -> list[Leak]:
    """Find the leaks of a split: for each film, one of each kind with a film of an earlier split. LeakError that lists
    them, unless leakage is allowed.

    patients, sha256 and thumbnails, uint8 [N,T,T] (see duplicates), are of all rows; None, "" and a blank thumbnail are
    unknown and never equal. Two films are reported once, by the first kind that applies.

    seen: film (first 16 hex digits of its SHA-256) -> "train" or "valid", for films that the initial weights were
    trained on. Such a film must not be in the test split, nor in the validation split unless it was used for validation
    before.
    """
    kinds: tuple[tuple[str, Sequence[str | None]], ...] = (
        (SAME_FILM, paths),
        (SAME_PATIENT, patients),
        (SAME_BYTES, sha256),
    )
    found = [(why, *leak) for why, keys in kinds for leak in _crossing(split, keys)]
    if thumbnails is not None:
        found += [(SAME_PICTURE, *leak) for leak in _near_duplicate_leaks(split, thumbnails)]
    leaks: dict[tuple[int, int], Leak] = {}
    for why, row, part, other, other_part in found:
        leak = Leak(why=why, film=paths[row], part=part, other=paths[other], other_part=other_part)
        leaks.setdefault((row, other), leak)
    all_leaks = [*leaks.values(), *_seen(split, sha256, paths, seen or {})]
    if all_leaks and not allow:
        raise _error(all_leaks)
    return all_leaks


def _seen(split: Split, sha256: Sequence[str], paths: Sequence[str], seen: Mapping[str, str]) -> Iterator[Leak]:
    for part, rows in split.parts():
        for row in rows:
            then = seen.get(sha256[row][:16])
            if then and part != "train" and (part, then) != ("valid", "valid"):
                yield Leak(why=SEEN, film=paths[row], part=part, other="", other_part=then)


def _error(leaks: Sequence[Leak]) -> LeakError:
    lines = []
    for why in dict.fromkeys(leak.why for leak in leaks):
        same = [leak for leak in leaks if leak.why == why]
        more = f" and {len(same) - _MAX_EXAMPLES} more" if len(same) > _MAX_EXAMPLES else ""
        where = "are in the validation or test split" if why == SEEN else "in two splits"
        lines.append(f"{why} {where}: {'; '.join(map(str, same[:_MAX_EXAMPLES]))}{more}.")
    keep = "the split that they had before" if all(leak.why == SEEN for leak in leaks) else "one split"
    return LeakError(
        " ".join(lines),
        f"Put such films into {keep} (--split), or use --allow-leakage to mark the model and its scores as LEAKED.",
    )


def _crossing(split: Split, keys: Sequence[str | None]) -> Iterator[tuple[int, str, int, str]]:
    """First row and split of each key, with each row of another split that has the same key."""
    first: dict[str, tuple[int, str]] = {}
    for name, rows in split.parts():
        for row in rows:
            key = keys[row]
            if key and first.setdefault(key, (row, name))[1] != name:
                yield (*first[key], row, name)


def _near_duplicate_leaks(split: Split, thumbnails: NDArray[np.uint8]) -> Iterator[tuple[int, str, int, str]]:
    names = [name for name, _ in split.parts()]
    part = np.full(len(thumbnails), -1)
    for number, (_, rows) in enumerate(split.parts()):
        part[list(rows)] = number
    for pair in near_duplicates(thumbnails, part):
        yield pair.first, names[part[pair.first]], pair.second, names[part[pair.second]]
