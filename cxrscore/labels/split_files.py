"""Splits from files: a CSV file, or the official ones of NIH (two lists) and MIMIC-CXR-JPG (a table)."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from cxrscore.errors import InputError
from cxrscore.labels.columns import film_stem
from cxrscore.labels.match import match_rows
from cxrscore.labels.splits import SPLIT_NAMES, Split
from cxrscore.labels.table import read_header, read_lines, read_table

_OWN: Mapping[str, str] = {name: name for name in SPLIT_NAMES}
_MIMIC: Mapping[str, str] = {"train": "train", "validate": "valid", "test": "test"}
_LISTS: Mapping[str, str] = {"train_val": "train", "train": "train", "valid": "valid", "val": "valid", "test": "test"}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_LIST_NAME = re.compile(rf"(?:(?<=[_-])|^)({'|'.join(_LISTS)})(?=_list\b)")


def read_split(path: Path, paths: Sequence[str]) -> Split:
    """Read the split of the films at `paths` from a file. The file is one of

    a CSV with the columns film,split (train, valid or test);
    MIMIC-CXR-JPG's table with the columns dicom_id,split (train, validate or test);
    a list of film names, one per line, named like train_val_list.txt or test_list.txt: the other list in the
    same folder is read, too.

    Films that it does not name are in no split. NIH's lists have no validation split: see draw_valid. InputError for
    other files and words, for a list without the other one, and if the file names none of the films.
    """
    columns = read_header(path)
    if len(columns) == 1 and film_stem(columns[0]) != columns[0]:
        names, parts, source = _from_lists(path)
    else:
        names, parts, source = _from_table(path, columns)
    rows = match_rows(names, paths)
    train, valid, test = (
        tuple(i for i, row in enumerate(rows) if row is not None and parts[row] == name) for name in SPLIT_NAMES
    )
    if not train + valid + test:
        raise InputError(f"{path} names none of the {len(paths)} films; expected paths below the films folder")
    return Split(train=train, valid=valid, test=test, rule=f"as in {source}")


def _from_table(path: Path, columns: Sequence[str]) -> tuple[list[str], list[str], str]:
    """Film names, the split of each, and the name of the file."""
    film, meant = ("dicom_id", _MIMIC) if "dicom_id" in columns and "film" not in columns else ("film", _OWN)
    if missing := [name for name in (film, "split") if name not in columns]:
        raise InputError(f"{path} lacks the column {' and '.join(missing)}; expected {film},split")
    table = read_table(path, (film, "split"))
    words = table.column("split")
    for row, word in enumerate(words):
        if word not in meant:
            raise table.row_error(row, f"split is {word!r}, expected {', '.join(meant)}")
    return table.column(film), [meant[word] for word in words], path.name


def _from_lists(path: Path) -> tuple[list[str], list[str], str]:
    """Film names in a list and in the other lists of its folder, the split of each, and the names of the lists."""
    files = _lists_beside(path)
    names: list[str] = []
    parts: list[str] = []
    for file, part in files.items():
        lines = [line for line in read_lines(file) if line]
        names += lines
        parts += [part] * len(lines)
    twice, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise InputError(f"{' and '.join(map(str, files))} name {twice!r} more than once; list each film once")
    return names, parts, ", ".join(file.name for file in files)


def _lists_beside(path: Path) -> dict[Path, str]:
    """The lists that belong together, and the split of each; InputError unless they are for training and test."""
    found = _LIST_NAME.search(path.name)
    if not found:
        raise InputError(
            f"{path} lists films, but its name gives no split; call it train_val_list.txt or test_list.txt"
        )
    names = {path.with_name(f"{path.name[: found.start()]}{word}{path.name[found.end() :]}"): word for word in _LISTS}
    files = {file: _LISTS[word] for file, word in names.items() if file.is_file()}
    for part, word in (("train", "train_val"), ("test", "test")):
        if part not in files.values():
            wanted = next(file for file, name in names.items() if name == word)
            raise InputError(f"{path} is one of several lists: {wanted.name} is missing in the same folder")
    return files


def split_csv(split: Split, paths: Sequence[str]) -> str:
    """The split as CSV text that read_split reads, in the order of the films."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("film", "split"))
    writer.writerows(
        (film_cell(paths[row]), name) for row, name in sorted((row, n) for n, rows in split.parts() for row in rows)
    )
    return text.getvalue()


def film_cell(path: str) -> str:
    """The path, written so that no spreadsheet reads it as a formula; it matches the same film."""
    return f"./{path}" if path.startswith(_FORMULA) else path
