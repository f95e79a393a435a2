"""Match rows of a label table to films. Tables name films by file name, by a path below some root folder, by an
identifier without a suffix, or they name a folder of films."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from cxrscore.errors import InputError
from cxrscore.labels.columns import FILM_SUFFIXES, film_key, film_stem

Rows = list[int | None]
_SUFFIX = max(map(len, FILM_SUFFIXES))


def match_rows(names: Sequence[str], paths: Sequence[str]) -> Rows:
    """For each film path, the index of the name that matches it, or None.

    A name matches, in this order: the film at exactly this path; the film whose path ends with the name; the film whose
    path is the end of the name; the only film with this file name, if no other name has it. A name without .png, .jpg,
    ... matches a film with any of these suffixes. A name that ends with / matches every film in that folder that has no
    row of its own. InputError if two names match one film, or one name matches two films.
    """
    keys = [film_key(name) for name in names]
    rows = _longer_paths(keys, paths)
    _one_film_each(keys, paths, rows)
    for more in (_shorter_paths(keys, paths, rows), _same_file_name(keys, paths, rows)):
        for place, row in more.items():
            rows[place] = row
    return rows


def _longer_paths(keys: Sequence[str], paths: Sequence[str]) -> Rows:
    """For each path, the longest name that the path, or else its folder, ends with."""
    index: defaultdict[str, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        index[key].append(row)
    longest = max(map(len, keys), default=0) + _SUFFIX
    found: Rows = []
    for path in paths:
        folder = path.rpartition("/")[0]
        tried = [key for end in _endings(path, longest) for key in (end, film_stem(end))]
        tried += [f"{end}/" for end in _endings(folder, longest)]
        found.append(next((_only(index[key], path) for key in tried if key in index), None))
    return found


def _one_film_each(keys: Sequence[str], paths: Sequence[str], rows: Rows) -> None:
    """Remove rows that name a folder that holds a matched film; InputError if one row matches two films."""
    films: defaultdict[int, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        if row is not None and not keys[row].endswith("/"):
            films[row].append(place)
    for row, places in films.items():
        exact = [place for place in places if "/" in keys[row] and paths[place] == keys[row]]
        for place in set(places) - set(exact) if exact else ():
            rows[place] = None
        if not exact and len(places) > 1:
            raise _ambiguous(keys[row], paths[places[0]], paths[places[1]])


def _shorter_paths(keys: Sequence[str], paths: Sequence[str], rows: Rows) -> Mapping[int, int]:
    """For paths without a row, the name that ends with the path: the films folder is below the root of the table."""
    wanted: defaultdict[str, set[int]] = defaultdict(set)
    for place, path in enumerate(paths):
        for key in (path, film_stem(path)) if rows[place] is None else ():
            wanted[key].add(place)
    taken = set(rows)
    longest = max(map(len, wanted), default=0)
    found: defaultdict[int, list[int]] = defaultdict(list)
    for row, key in enumerate(keys if wanted else ()):
        if row in taken:
            continue
        places = sorted({place for end in _endings(key, longest) for place in wanted.get(end, ())})
        if len(places) > 1:
            raise _ambiguous(key, paths[places[0]], paths[places[1]])
        for place in places:
            found[place].append(row)
    return {place: _only(meant, paths[place]) for place, meant in found.items()}


def _same_file_name(keys: Sequence[str], paths: Sequence[str], rows: Rows) -> Mapping[int, int]:
    """For paths still without a row, the only name with the same file name in another folder."""
    taken = set(rows)
    index: defaultdict[str, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        index[_base(key)].append(row)
    found: dict[int, int] = {}
    first: dict[int, str] = {}
    for place, path in enumerate(paths):
        meant = [] if rows[place] is not None else index.get(_base(path)) or index.get(film_stem(_base(path)), [])
        # A file name of several rows, such as view1_frontal.jpg, identifies nothing without its folders.
        if len(meant) != 1 or meant[0] in taken or "/" not in keys[meant[0]]:
            continue
        if first.setdefault(meant[0], path) != path:
            raise _ambiguous(keys[meant[0]], first[meant[0]], path)
        found[place] = meant[0]
    return found


def _endings(path: str, longest: int) -> Iterator[str]:
    """The path, and the rest of it below each of its folders, if this has at most the given number of characters: a
    path in a table may have many thousand folders, and as many endings."""
    start = 0 if len(path) <= longest else path.find("/", len(path) - longest - 1) + 1 or len(path)
    while start < len(path):
        yield path[start:]
        start = path.find("/", start) + 1 or len(path)


def _base(path: str) -> str:
    return path.rpartition("/")[2]


def _only(rows: Sequence[int], path: str) -> int:
    if len(rows) > 1:
        raise InputError(f"the table has {len(rows)} rows for the film {path!r}, expected one: join them, or keep one")
    return rows[0]


def _ambiguous(key: str, path: str, other: str) -> InputError:
    return InputError(
        f"the label row {key!r} could mean {path!r} or {other!r}; write paths below the films folder in the table"
    )
