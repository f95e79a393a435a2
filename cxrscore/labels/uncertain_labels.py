"""Columns of findings in which a cell says yes, no, uncertain or nothing, and what uncertain and blank count as."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cxrscore.contract import Floats, LabelTable
from cxrscore.errors import InputError
from cxrscore.labels.cells import NUMBERS, UNCERTAIN_CELL, column_meaning
from cxrscore.labels.findings import FINDINGS, canonical
from cxrscore.labels.roles import ColumnRoles, LayoutDataset
from cxrscore.labels.table import Table

UNCERTAIN: Mapping[str, float] = {"unknown": np.nan, "positive": 1.0, "negative": 0.0}
"""How to count an uncertain label, and the label that it then gets."""
BLANK: Mapping[str, float] = {"unknown": np.nan, "negative": 0.0}
"""How to count a blank cell, and the label that it then gets."""

ZERO_ONE = (NUMBERS,)
"""Columns of 0 and 1, in any spelling of these numbers (1, 1.0, 1.)."""
YES_NO = ("yes and no",)
"""Columns of YES and NO, in any case."""
_LISTED = 20
"""Number of findings that an error lists."""


@dataclass(frozen=True, kw_only=True)
class UncertainDataset(LayoutDataset):
    """A layout with uncertain findings; ``read`` makes them unknown, ``read_as`` gives them this label."""

    read_as: Callable[[Path, float], LabelTable]


def uncertain_dataset(
    name: str,
    summary: str,
    recognises: Callable[[Sequence[str]], bool],
    read_as: Callable[[Path, float], LabelTable],
    roles: Callable[[Sequence[str]], ColumnRoles],
    *,
    one_row_per_film: bool = True,
) -> UncertainDataset:
    """The descriptor of a layout with uncertain findings."""

    def read(path: Path) -> LabelTable:
        return read_as(path, np.nan)

    return UncertainDataset(
        name=name,
        summary=summary,
        recognises=recognises,
        read=read,
        read_as=read_as,
        roles=roles,
        one_row_per_film=one_row_per_film,
    )


@dataclass(frozen=True, kw_only=True)
class FindingRule:
    """A word for each finding, such as "positive" for uncertain labels.

    option    name of the option, for messages
    default   the word of the findings that are not listed
    listed    the word of each listed finding, by its canonical name
    """

    option: str
    default: str
    listed: Mapping[str, str]

    def word(self, finding: str) -> str:
        """The word of a finding."""
        return self.listed.get(finding, self.default)

    def check(self, path: Path, findings: Sequence[str]) -> None:
        """InputError that names the findings of the table if it lacks a listed one."""
        if missing := [name for name in self.listed if name not in findings]:
            raise InputError(f"{self.option} names {no_such_finding(missing[0], path, findings)}")


def finding_rule(text: str, option: str, words: Collection[str]) -> FindingRule:
    """The rule of a text: one word for all findings ("positive"), a word for each listed finding
    ("Atelectasis=positive,Edema=negative"), or both ("negative,Atelectasis=positive").

    Findings that are not listed get the first word, which is "unknown" if it is left out. InputError for anything else.

    Examples
    --------
    >>> rule = finding_rule("negative,Pleural Effusion=positive", "uncertain", UNCERTAIN)
    >>> rule.word("Effusion"), rule.word("Mass")
    ('positive', 'negative')
    """
    if not isinstance(text, str):
        raise _not_a_rule(text, option, words)
    parts = [part.strip() for part in text.split(",")]
    default = parts.pop(0) if "=" not in parts[0] else "unknown"
    listed: dict[str, str] = {}
    for part in parts:
        name, _, word = (piece.strip() for piece in part.rpartition("="))
        if not name or word not in words or canonical(name) in listed:
            raise _not_a_rule(text, option, words)
        listed[canonical(name)] = word
    if default not in words:
        raise _not_a_rule(text, option, words)
    return FindingRule(option=option, default=default, listed=listed)


def _not_a_rule(text: object, option: str, words: Collection[str]) -> InputError:
    first = next(word for word in words if word != "unknown")
    return InputError(
        f"{option} is {text!r}, expected {', '.join(words)}, or a word for each of some findings, as in "
        f"'unknown,{FINDINGS[0]}={first}'"
    )


def no_such_finding(name: str, path: Path, findings: Sequence[str], advice: str = "") -> str:
    """Words for a finding that a table lacks: the most similar one that it has or else the advice, and the first of all
    it has."""
    close = difflib.get_close_matches(name, findings, 1)
    meant = f" (did you mean {close[0]!r}?)" if close else advice and f" ({advice})"
    more = f" and {len(findings) - _LISTED} more" if len(findings) > _LISTED else ""
    return f"the finding {name!r}, which {path} lacks{meant}; it has {', '.join(findings[:_LISTED])}{more}"


def parse_uncertain_labels(
    table: Table, columns: Sequence[str], answers: Collection[str], uncertain: float | None = None
) -> Floats:
    """The labels in the cells of the columns, float32 [N,C], NaN for empty cells and for NA; InputError with row and
    column for an invalid cell. answers: ZERO_ONE or YES_NO. -1 is valid if `uncertain` defines its label."""
    labels = np.empty((len(table.rows), len(columns)), np.float32)
    for place, column in enumerate(columns):
        cells = table.column(column)
        found = column_meaning(cells, ways=answers, soft=False, uncertain=uncertain is not None)
        if found.odd is not None:
            expected = "0, 1" if answers == ZERO_ONE else "YES, NO"
            minus = "" if uncertain is None else ", -1"
            why = f" ({found.why})" if found.why else ""
            what = f"column {column} has {found.odd!r}, expected {expected}{minus} or nothing{why}"
            raise table.row_error(cells.index(found.odd), what)
        values = {**found.values}
        if uncertain is not None:
            values = {cell: uncertain if value == UNCERTAIN_CELL else value for cell, value in values.items()}
        labels[:, place] = [values[cell] for cell in cells]
    return labels
