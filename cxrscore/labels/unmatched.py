"""Films without a row and rows without a film: how many, whether that is too many, and how the names differ.

Nothing here matches a row to a film. A likely cause is found by comparing the names that are left over on both sides
in a simpler form, in time linear in their number, and is told to the user, who mends the names.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Floats, LabelTable
from cxrscore.errors import InputError
from cxrscore.io.strict_json import get_nested, get_texts
from cxrscore.labels.columns import FILM_SUFFIXES, film_key

WARN_ABOVE = 0.1
"""Share of names without a counterpart, on the side that has the smaller share, above which there is a warning."""
FAIL_ABOVE = 0.5
"""The same, above which the table is refused unless the user allows it."""
_SHOWN = 6
"""Findings that a message names."""
_LONGEST = 100
"""Characters of a name in a message."""
_SAMPLE = 2000
"""Pairs of names that are compared in detail; the others are only counted."""
_MOST_PARTS = 8
"""Parts of a name, between separators, that are looked at."""
_DEEPEST = 64
"""Folders of a path that are compared."""

_SUFFIXES = frozenset(
    (
        *FILM_SUFFIXES,
        *(".bmp", ".gif", ".gz", ".h5", ".img", ".j2k", ".jp2", ".json", ".mha", ".nii", ".npy", ".npz", ".raw"),
        *(".tif", ".tiff", ".txt", ".webp", ".xml", ".zip"),
    )
)
"""Suffixes that may have been added to or taken from the name of a film."""
_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")
_SEPARATORS = re.compile(r"[\s_\-‐-―−]+")
_SPACES = re.compile(r"\s+(?=[./])|(?<=/)\s+")
_WORD = re.compile(r"\S*")
_PARTS = re.compile(r"[^\s_\-‐-―−.]+")
_ROUNDED = re.compile(r"\d(?:[.,]\d+)?E\+\d+", re.IGNORECASE)
_NUMBER = re.compile(r"\d+")
_AROUND = " \t\r\n\v\f'\"`´‘’‚“”„«»\xa0\u200b\u2060\ufeff"

Names = Sequence[str]
Pair = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Cause:
    """How the names of a table differ from those of the films.

    what     the difference and what to do, for a message
    films    number of films that would match without it
    row      a name in the table, and ``film`` one among the films, that show it; "" if there is no pair
    """

    what: str
    films: int
    row: str = ""
    film: str = ""

    def __str__(self) -> str:
        return self.what + (f" ({_count(self.films, 'more film')} would match)" if self.films else "")


@dataclass(frozen=True, kw_only=True)
class MatchSummary:
    """What of a label table and of the films has no counterpart.

    films, rows            how many there are
    unmatched_films        films without a row
    unmatched_rows         rows without a film
    film, row              an example of each, "" if there is none
    cause                  the likely cause; None if none is found, or if one side matches completely
    lost                   findings that have positive rows, but none of a film, with the number of these rows
    """

    films: int
    rows: int
    unmatched_films: int
    unmatched_rows: int
    film: str = ""
    row: str = ""
    cause: Cause | None = None
    lost: tuple[tuple[str, int], ...] = ()

    @property
    def share(self) -> float:
        """Share of the films or of the rows without a counterpart, whichever is smaller. It is 0 if the table is only
        larger or smaller than the folder, as the table of a whole data set is for some of its films."""
        return _share(self.films, self.rows, self.unmatched_films, self.unmatched_rows)

    @property
    def record(self) -> dict[str, Any]:
        """The counts, without a name of a film, for the record of the table; ``lost_findings`` only if there are any
        and names did not match."""
        lost = [name for name, _ in self.lost] if self.share else []
        counts = {
            "films": self.films,
            "unmatched_films": self.unmatched_films,
            "rows": self.rows,
            "unmatched_rows": self.unmatched_rows,
        }
        return {**counts, **({"lost_findings": lost} if lost else {})}

    def lines(self, table: str, *, film_names: bool = True) -> tuple[str, ...]:
        """Lines for the user: the counts unless all match, and findings without positive films; film_names: whether
        they may have names of films."""
        warning = "warning: " if self.share > WARN_ABOVE else ""
        told = (
            (f"{warning}{table}: {self.text(film_names=film_names)}",)
            if self.unmatched_films or self.unmatched_rows
            else ()
        )
        lost = f"{table}: {_lost_words(self.lost)}" if self.lost else ""
        return (*told, *filter(None, (lost,)))

    def text(self, *, film_names: bool = True) -> str:
        """The counts, with an example of each and the likely cause if names of films may be told."""
        found = match_counts(self.record)
        if not film_names:
            return found
        film, row = (f", such as {_quoted(name)}" if name else "" for name in (self.film, self.row))
        first, second = found.split("; ")
        likely = f". Likely cause: {self.cause}" if self.cause else ""
        return f"{first}{film}; {second}{row}{likely}"

    def check(self, table: Path | str, *, film_names: bool = True) -> None:
        """InputError if more than FAIL_ABOVE of the films and of the rows have no counterpart."""
        if self.share > FAIL_ABOVE:
            told = self.text(film_names=film_names)
            advice = "Mend that" if self.cause and film_names else "Name the films in the table as the files are named"
            raise InputError(
                f"{table}: {told}. Expected half or more of the films or of the rows to match. {advice}, name another "
                "table, or go on with what matches: --allow-unmatched"
            )


def summarise_match(table: LabelTable, films: Names, matches: Sequence[int | None]) -> MatchSummary:
    """The summary of a table and films; matches: for each film its row, or None."""
    rows = table.films
    unmatched = np.ones(len(rows), bool)
    unmatched[[row for row in matches if row is not None]] = False
    films_left = [film for film, row in zip(films, matches, strict=True) if row is None]
    rows_left = [rows[row] for row in np.flatnonzero(unmatched).tolist()]
    cause = likely_cause(rows_left, films_left) if rows_left and films_left else None
    return MatchSummary(
        films=len(films),
        rows=len(rows),
        unmatched_films=len(films_left),
        unmatched_rows=len(rows_left),
        film=cause.film if cause and cause.film else next(iter(films_left), ""),
        row=cause.row if cause and cause.row else next(iter(rows_left), ""),
        cause=cause,
        lost=_lost(unmatched, table.labels, table.findings),
    )


def _lost(unmatched: NDArray[np.bool_], labels: Floats, findings: Names) -> tuple[tuple[str, int], ...]:
    """Findings with positive rows of which none matches a film, with their number."""
    if not unmatched.any() or unmatched.all():
        return ()
    found = []
    for place, name in enumerate(findings):  # one finding at a time: a table may need most of the memory
        positive = labels[:, place] > 0.5
        count = int(np.count_nonzero(positive))
        if count and not (positive & ~unmatched).any():
            found.append((name, count))
    return tuple(found)


def match_counts(record: Any) -> str:
    """The counts in the record of a table's match, in words; "" without one.

    Examples
    --------
    >>> match_counts({"films": 60, "unmatched_films": 24, "rows": 1, "unmatched_rows": 1})
    '36 of 60 films have a row, 24 have none; 1 of 1 row matches no film'
    """
    counts = _counts(record)
    if counts is None:
        return ""
    films, rows, no_row, no_film = counts
    matched = films - no_row
    return (
        f"{matched:,} of {_count(films, 'film')} {'has' if films == 1 else 'have'} a row, "
        f"{no_row:,} {'has' if no_row == 1 else 'have'} none; "
        f"{no_film:,} of {_count(rows, 'row')} {'matches' if no_film == 1 else 'match'} no film"
    )


def match_warnings(record: Any) -> tuple[str, ...]:
    """Sentences on labels that were lost because names did not match, from the record of a table's match; none
    without such a record, as in files of earlier versions."""
    counts = _counts(record)
    if counts is None or not (share := _share(*counts)):
        return ()
    texts = []
    if share > WARN_ABOVE:
        texts.append(
            f"the names of films and label table match in part: {match_counts(record)}, so labels are missing, and "
            "the films that have any may not be typical: mend the names in the table"
        )
    if lost := get_texts(record, "lost_findings"):
        texts.append(
            f"no film with {_some(lost)} is left, because the positive rows match no film: mend their names in the "
            "table"
        )
    return tuple(texts)


def _counts(record: Any) -> tuple[int, int, int, int] | None:
    """Films, rows, films without a row, rows without a film; None if the record lacks one."""
    values = [get_nested(record, key) for key in ("films", "rows", "unmatched_films", "unmatched_rows")]
    if not all(isinstance(value, int) and value >= 0 for value in values):
        return None
    return values[0], values[1], values[2], values[3]


def _share(films: int, rows: int, unmatched_films: int, unmatched_rows: int) -> float:
    return min(unmatched_films / films, unmatched_rows / rows) if films and rows else 0.0


def _lost_words(lost: Sequence[tuple[str, int]]) -> str:
    """
    >>> _lost_words([("Hernia", 3)])
    'no film with Hernia is left: its 3 positive rows match no film'
    """
    if len(lost) == 1:
        name, count = lost[0]
        rows = f"{count:,} positive row{'s match' if count > 1 else ' matches'}"
        return f"no film with {name} is left: its {rows} no film"
    names = _some([f"{name} ({count:,})" for name, count in lost])
    return f"no film with {names} is left: the positive rows match no film"


def _some(names: Names) -> str:
    more = [f"{len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    shown = [*names[:_SHOWN], *more]
    return " or ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _quoted(name: str) -> str:
    return repr(name if len(name) <= _LONGEST else f"{name[: _LONGEST // 2]}...{name[-_LONGEST // 2 :]}")


# The likely cause.


def _composed(name: str) -> str:
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _decoded(name: str) -> str:
    """Without the query of a URL, and without its escapes."""
    if "://" in name:
        name = name.partition("?")[0]
    return film_key(unquote(name)) if "%" in name else name


def _unquoted(name: str) -> str:
    name = name.strip(_AROUND)
    return name if _WORD.fullmatch(name) else _SPACES.sub("", name)


def split_suffix(name: str) -> Pair:
    """The name without the suffixes of files that it ends with, and these."""
    stem = name
    while True:
        rest, dot, last = stem.rpartition(".")
        if not rest or f"{dot}{last}".lower() not in _SUFFIXES:
            return stem, name[len(stem) :]
        stem = rest


def _without_suffix(name: str) -> str:
    return split_suffix(name)[0]


def _without_zeros(name: str) -> str:
    return _ZEROS.sub("", name.removesuffix(".0")) if "0" in name else name


def _one_separator(name: str) -> str:
    return _SEPARATORS.sub("_", name).strip("_")


_SIMPLER: Mapping[str, Callable[[str], str]] = {
    "unicode": _composed,
    "url": _decoded,
    "around": _unquoted,
    "suffix": _without_suffix,
    "case": str.casefold,
    "zeros": _without_zeros,
    "separators": _one_separator,
}
"""What may differ between the name of a film and that in a table, in the order in which it is taken out."""
_ALL = tuple(_SIMPLER)
_WORDS = {
    "unicode": "letters with accents are written in two Unicode forms (NFC, and NFD as on macOS)",
    "url": "names are written as in a URL (%20)",
    "around": "there are spaces or quotes around names",
    "case": "capital and small letters differ",
    "zeros": "leading zeros differ, which a spreadsheet removes",
    "folders": "folders differ",
    "separators": "hyphens, underscores or spaces differ",
}


def _simple(name: str, of: Sequence[str] = _ALL) -> str:
    """The name without these differences."""
    for kind in of:
        if kind in _SIMPLER:
            name = _SIMPLER[kind](name)
    return name


class _Name(NamedTuple):
    """A name left over, and the file name and the folders of its simple form, from the last one up."""

    name: str
    parts: tuple[str, ...]

    @classmethod
    def of(cls, name: str) -> _Name:
        path = _simple(film_key(name))
        return cls(name, tuple(part for part in path.split("/")[::-1][:_DEEPEST] if part) if "/" in path else (path,))

    @property
    def base(self) -> str:
        return self.parts[0] if self.parts else ""


def likely_cause(rows: Names, films: Names) -> Cause | None:
    """How the names of rows that match no film differ from those of films without a row; None if that is unknown."""
    of_rows = [_Name.of(name) for name in dict.fromkeys(rows)]
    of_films = [_Name.of(name) for name in films]
    pairs = _same_simple_names(of_rows, of_films)
    found = _most_common_difference(pairs) if pairs else None
    if len(pairs) * 2 < min(len(of_rows), len(of_films)):
        paired_rows, paired_films = {row.name for row, _ in pairs}, {film.name for _, film in pairs}
        rest = [one for one in of_rows if one.name not in paired_rows]
        others = [one for one in of_films if one.name not in paired_films]
        tried = (_rounded(rest), _identifiers(rest, others), _added(rest, others), _same_numbers(rest, others))
        found = max((found, *tried), key=lambda one: 0 if one is None else max(one.films, 1))
    return found


def _unique(keys: Sequence[Any], among: Container[Any] | None = None) -> dict[Any, int]:
    """The place of each key that is there once; among: only of these keys."""
    there = [(place, key) for place, key in enumerate(keys) if key and (among is None or key in among)]
    times = Counter(key for _, key in there)
    return {key: place for place, key in there if times[key] == 1}


def _same_simple_names(rows: Sequence[_Name], films: Sequence[_Name]) -> list[tuple[_Name, _Name]]:
    """Rows and films that have the same simple name, which no other has: by file name, then with more folders."""
    pairs: list[tuple[_Name, _Name]] = []
    for depth in (1, 2, 3, 4, _DEEPEST):
        there = _unique([one.parts[:depth] for one in films])
        keys = _unique([one.parts[:depth] for one in rows], there)
        found = [(place, there[key]) for key, place in keys.items()]
        pairs += [(rows[one], films[other]) for one, other in found]
        taken_rows, taken_films = {one for one, _ in found}, {other for _, other in found}
        rows = [one for place, one in enumerate(rows) if place not in taken_rows]
        films = [one for place, one in enumerate(films) if place not in taken_films]
    return pairs


def _most_common_difference(pairs: Sequence[tuple[_Name, _Name]]) -> Cause:
    """The differences that most of the pairs of a row and a film have."""
    step = -(-len(pairs) // _SAMPLE)
    kinds = [(_differences(*pair), pair) for pair in pairs[::step]]
    most = Counter(kind for kind, _ in kinds).most_common(1)[0][0]
    alike = [(row.name, film.name) for kind, (row, film) in kinds if kind == most]
    same = sum(_equal(row.name, film.name, most) for row, film in pairs)
    return Cause(what=_words_of(most, alike), films=same, row=alike[0][0], film=alike[0][1])


def _differences(row: _Name, film: _Name) -> tuple[str, ...]:
    """What must be taken out of both names so that they match, the simplest explanation."""
    needed = _ALL
    for kind in reversed(_ALL):
        fewer = tuple(one for one in needed if one != kind)
        if _equal(row.name, film.name, fewer):
            needed = fewer
    depth = min(len(row.parts), len(film.parts))
    return needed if row.parts[:depth] == film.parts[:depth] and needed else (*needed, "folders")


def _without_film_suffix(film: str) -> str:
    stem, dot, suffix = film.rpartition(".")
    return stem if stem and f"{dot}{suffix.lower()}" in FILM_SUFFIXES else film


def _equal(row: str, film: str, without: Sequence[str]) -> bool:
    """Whether the file names match without these differences; the table may leave out the suffix of a film."""
    one, other = (_simple(film_key(name), without).rstrip("/").rpartition("/")[2] for name in (row, film))
    return one == other or one == _without_film_suffix(other)


def _words_of(kinds: Sequence[str], pairs: Sequence[Pair]) -> str:
    """The differences, and what to do."""
    if tuple(kinds) == ("folders",):
        return (
            "the file names are the same, but the folders differ: write the paths below the films folder in the table"
        )
    if tuple(kinds) == ("suffix",):
        return _suffix_words(pairs)
    words = [_suffix_words(pairs).partition(":")[0] if kind == "suffix" else _WORDS[kind] for kind in kinds]
    return f"{' and '.join(words)}: write the names in the table as the films are named"


def _suffix_words(pairs: Sequence[Pair]) -> str:
    """The difference that most pairs of names have in their suffixes."""
    found = Counter((split_suffix(_simple(row, ("around",)))[1], split_suffix(film)[1]) for row, film in pairs)
    (of_row, of_film), _ = found.most_common(1)[0]
    one = f"the table names {of_row} files" if of_row else "the names in the table have no suffix"
    other = f"the films are {of_film}" if of_film else "the films have no suffix"
    if of_row and (not of_film or of_film.lower() in FILM_SUFFIXES):
        return f"{one}, {other}: remove the suffix in the table, a name without one matches any"
    return f"{one}, {other}: write the suffix of the films in the table"


def _rounded(rows: Sequence[_Name]) -> Cause | None:
    """Numbers that a spreadsheet has rounded."""
    found = [one.name for one in rows if _ROUNDED.search(one.name)]
    if len(found) * 2 < max(len(rows), 1):
        return None
    return Cause(
        what=f"a spreadsheet has rounded the names in the table, such as {_quoted(found[0])}: make the table anew with "
        "this column as text",
        films=0,
    )


def _identifiers(rows: Sequence[_Name], films: Sequence[_Name]) -> Cause | None:
    """Rows that have the name of a folder of films instead, or whose folder has the name of a film."""
    above = {part: place for place, one in reversed(list(enumerate(rows))) for part in one.parts[1:]}
    of_base = {one.base: place for place, one in reversed(list(enumerate(rows))) if one.base}
    in_folder, in_table = [], []
    for film in films:
        if (part := next((part for part in film.parts[1:] if part in of_base), None)) is not None:
            in_folder.append((rows[of_base[part]].name, film.name, part == film.parts[1]))
        elif film.base in above:
            in_table.append((rows[above[film.base]].name, film.name))
    if not in_folder and not in_table:
        return None
    if len(in_folder) < len(in_table):
        what = "the films are named as folders in the table are: write the names of the films in the table"
        return Cause(what=what, films=len(in_table), row=in_table[0][0], film=in_table[0][1])
    row, film_name, parent = in_folder[0]
    what = "the table names folders of the films, such as identifiers of patients or studies, and no films: " + (
        "write / after each name for all films in the folder, or the names of the films"
        if parent
        else "write the names of the films, or the paths of their folders, each with / at the end"
    )
    return Cause(what=what, films=len(in_folder), row=row, film=film_name)


def _added(rows: Sequence[_Name], films: Sequence[_Name]) -> Cause | None:
    """Names to which something was added in front or behind, in the table or on disk."""
    row_of, film_of = _unique([one.base for one in rows]), _unique([one.base for one in films])
    in_films = _longer(films, row_of)
    in_rows = _longer(rows, film_of)
    if not in_films and not in_rows:
        return None
    if len(in_films) >= len(in_rows):
        place, key, text = _most_common_text(in_films)
        row, film = rows[row_of[key]].name, films[place].name
        what = "the names of the films are longer than those in the table"
    else:
        place, key, text = _most_common_text(in_rows)
        row, film = rows[place].name, films[film_of[key]].name
        what = "the names in the table are longer than those of the films"
    added = f", mostly by {_quoted(text)}" if text else ""
    found = max(len(in_films), len(in_rows))
    return Cause(
        what=f"{what}{added}: write the names in the table as the films are named", films=found, row=row, film=film
    )


def _longer(names: Sequence[_Name], index: Mapping[str, int]) -> list[tuple[int, str, str]]:
    """For names that begin or end with one of the index: their place, that one, and what was added. One of the index
    that several names begin or end with is left out."""
    found = []
    for place, one in enumerate(names):
        key = next((key for key in _pieces(one.base) if key in index), None)
        if key is not None:
            found.append((place, key, one.base.replace(key, "", 1)))
    times = Counter(key for _, key, _ in found)
    return [one for one in found if times[one[1]] == 1]


def _pieces(name: str) -> Iterator[str]:
    """What a name begins and ends with up to a separator, the longest first, and its single parts."""
    parts = list(_PARTS.finditer(name))
    if len(parts) < 2:
        return
    ends, starts = [one.end() for one in parts[:-1]], [one.start() for one in parts[1:]]
    near = _MOST_PARTS // 2
    ends, starts = [*ends[:near], *ends[near:][-near:]], [*starts[:near], *starts[near:][-near:]]
    pieces = [*(name[:end] for end in ends), *(name[start:] for start in starts)]
    yield from sorted(dict.fromkeys(piece for piece in pieces if piece), key=len, reverse=True)
    yield from (one[0] for one in parts[1:-1][:_MOST_PARTS])


def _most_common_text(found: Sequence[tuple[int, str, str]]) -> tuple[int, str, str]:
    """The first place and name with the text that was added most often; the text "" unless most have it."""
    text, times = Counter(text for _, _, text in found).most_common(1)[0]
    place, key, _ = next(one for one in found if one[2] == text)
    return place, key, text if times * 2 > len(found) else ""


def _same_numbers(rows: Sequence[_Name], films: Sequence[_Name]) -> Cause | None:
    """Names of which only the numbers are the same, for half of them at least."""
    for depth in (1, 3):
        of_film = _unique([_numbers(one, depth) for one in films])
        of_row = _unique([_numbers(one, depth) for one in rows], of_film)
        pairs = [(rows[place].name, films[of_film[key]].name) for key, place in of_row.items()]
        if pairs and len(pairs) * 2 >= min(len(rows), len(films)):
            what = (
                "the numbers in the names are the same, the text around them is not: write the names in the table as "
            )
            return Cause(what=f"{what}the films are named", films=len(pairs), row=pairs[0][0], film=pairs[0][1])
    return None


def _numbers(name: _Name, depth: int) -> tuple[str, ...]:
    """The numbers in the last parts of a path."""
    return tuple(_NUMBER.findall("/".join(name.parts[:depth])))
