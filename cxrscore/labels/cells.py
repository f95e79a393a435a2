"""What one cell of a column of labels says: positive, negative, a share of both, uncertain or nothing."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

UNCERTAIN_CELL = -1.0
"""The value of an uncertain cell, until a rule says what it counts as."""

NUMBERS = "numbers"
PAIRS: Mapping[str, tuple[str, str]] = {
    "yes and no": ("yes", "no"),
    "y and n": ("y", "n"),
    "true and false": ("true", "false"),
    "t and f": ("t", "f"),
    "positive and negative": ("positive", "negative"),
    "pos and neg": ("pos", "neg"),
    "present and absent": ("present", "absent"),
}
"""The words for 1 and 0, in any case. A column has one pair of words, or numbers."""

_BLANK = frozenset(("", "na", "n/a", "nan", "null", "#n/a", "<na>"))
"""What programs write for an empty cell, in lower case."""
_BLANK_BESIDE_NUMBERS = frozenset(("none", "-", "--", "?", "unknown"))
"""Words for an unknown label beside numbers. Beside words they may mean that there is none."""
_UNKNOWN_WORDS = frozenset(("?", "unknown"))
_UNCERTAIN_WORDS = frozenset(("uncertain",))
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+")
_FOREIGN: Mapping[str, str] = {
    **dict.fromkeys(("ja", "nein"), "German"),
    **dict.fromkeys(("oui", "non"), "French"),
    **dict.fromkeys(("si", "sí"), "Spanish or Italian"),
    **dict.fromkeys(("sim", "não", "nao"), "Portuguese"),
    **dict.fromkeys(("nee",), "Dutch"),
    **dict.fromkeys(("evet", "hayır"), "Turkish"),
    **dict.fromkeys(("да", "нет"), "Russian"),
    **dict.fromkeys(("是", "否", "有", "无", "阳性", "阴性"), "Chinese"),
}
"""Words for yes and no of other languages, in lower case. They are named, and not read: some, such as no, mean the
opposite of what they seem to beside words of a third language."""
_WORDS = {word: (pair, value) for pair, words in PAIRS.items() for word, value in zip(words, (1.0, 0.0), strict=True)}


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What the cells of a column say.

    values  of each distinct cell: 0 to 1, UNCERTAIN_CELL, or NaN for nothing; without those that are no label
    odd     the first distinct cell that is no label; None if all are
    why     why it is none, and what to do, for a message; "" without further words
    """

    values: Mapping[str, float]
    odd: str | None = None
    why: str = ""

    @property
    def informative(self) -> bool:
        """Whether any cell says more than nothing."""
        return any(not math.isnan(value) for value in self.values.values())


def column_meaning(
    cells: Iterable[str], *, ways: Collection[str] = (NUMBERS, *PAIRS), soft: bool = True, uncertain: bool = True
) -> Meaning:
    """What the cells of a column of labels say.

    Parameters
    ----------
    cells
        The cells, without surrounding blanks.
    ways
        The ways in which the column may be written, of which it has one: NUMBERS, and names of PAIRS.
    soft
        Whether numbers between 0 and 1 are labels. They never stand beside -1.
    uncertain
        Whether -1, and the word uncertain, are labels.

    Returns
    -------
    Meaning
        Of the distinct cells, in order of appearance.

    Examples
    --------
    >>> column_meaning(["1", "0.", "-1.0", "NA"]).values
    {'1': 1.0, '0.': 0.0, '-1.0': -1.0, 'NA': nan}
    >>> column_meaning(["yes", "No", "1"]).odd
    '1'
    """
    distinct = list(dict.fromkeys(cells))
    way = next((found for cell in distinct if (found := _way(cell)) in ways), None)
    values: dict[str, float] = {}
    odd, why = None, ""
    for cell in distinct:
        value = _value(cell, way)
        if value is None or not _is_allowed(value, soft, uncertain):
            if odd is None:
                odd, why = cell, _why(cell, way, value)
        else:
            values[cell] = value
    if odd is None and way == NUMBERS and UNCERTAIN_CELL in values.values():
        odd = next((cell for cell, value in values.items() if 0 < value < 1), None)
        why = "-1 is an uncertain label, and stands only beside 0 and 1" if odd is not None else ""
    return Meaning(values=values, odd=odd, why=why)


def _is_allowed(value: float, soft: bool, uncertain: bool) -> bool:
    if value == UNCERTAIN_CELL:
        return uncertain
    return math.isnan(value) or value in (0, 1) or (soft and 0 < value < 1)


def _way(cell: str) -> str | None:
    """NUMBERS or the name of a pair; None for a cell that says nothing, or is no label."""
    found = _WORDS.get(cell.lower())
    return found[0] if found else NUMBERS if _NUMBER.fullmatch(cell) else None


def _value(cell: str, way: str | None) -> float | None:
    """The number of a cell in a column that is written in this way; None if it is no number or word of it."""
    word = cell.lower()
    if word in _BLANK or word in (_BLANK_BESIDE_NUMBERS if way in (NUMBERS, None) else _UNKNOWN_WORDS):
        return math.nan
    if word in _UNCERTAIN_WORDS:
        return UNCERTAIN_CELL
    if _way(cell) != way or way is None:
        return None
    return float(cell) if way == NUMBERS else _WORDS[word][1]


def _why(cell: str, way: str | None, value: float | None) -> str:
    word, own = cell.lower(), _way(cell)
    if word in _FOREIGN:
        return f"the {_FOREIGN[word]} word for yes or no: write 1 and 0, or yes and no"
    if own is not None and way is not None and own != way:
        return f"the column has {way}, and one column is written in one way"
    if word in ("none", "-", "--") and way is not None:
        return f"beside {way} it may mean unknown or absent: leave it empty if it is unknown"
    if _DECIMAL_COMMA.fullmatch(cell):
        return "a decimal comma, beside commas between cells or other numbers with points: write 0.5"
    if value is not None and 1 < value <= 10 and value.is_integer():
        return "for grades write 1 from the grade that counts as positive, and 0 below"
    return ""


def is_number(cell: str) -> bool:
    """Whether a cell is a number in digits, of any size."""
    return _NUMBER.fullmatch(cell) is not None
