"""The consensus of several readers, and the marks of a file as rows of a label table."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cxrscore.errors import InputError
from cxrscore.marks.file import MarksFile
from cxrscore.marks.log import Answer, FilmMarks, MarkedFilm

MAJORITY = "majority"
RULES = (MAJORITY, "any", "all", "reader=NAME", "adjudicated=NAME")
LABELS: Mapping[Answer | None, str] = {
    Answer.YES: "1",
    Answer.NO: "0",
    Answer.UNSURE: "-1",
    Answer.NOT_ASSESSABLE: "",
    None: "",
}
"""The cell of a label table for each answer."""
_ORDER = (Answer.NO, Answer.UNSURE, Answer.YES)

Answers = Mapping[str, Answer]


@dataclass(frozen=True, kw_only=True)
class Consensus:
    """How the answers of several readers for one finding of a film become one.

    Answers of "not assessable" are no votes. The rules are:

    majority          the answer of more than half of the votes; without one it is unsure
    any               yes if any vote is yes, else unsure if any is unsure, else no
    all               yes if all votes are yes, else no if any is no, else unsure
    reader=NAME       the answer of this reader
    adjudicated=NAME  the answer of this reader where there is one; else that of the others where all votes agree; else
                      unsure

    Attributes
    ----------
    rule : str
        majority, any, all, reader or adjudicated.
    reader : str
        The reader of the last two rules, else "".
    """

    rule: str = MAJORITY
    reader: str = ""

    @classmethod
    def parse(cls, text: str) -> Consensus:
        """The rule of a text such as "any" or "adjudicated=Dr Lee"; InputError for another text."""
        rule, equals, reader = text.partition("=")
        if (rule in ("reader", "adjudicated")) != bool(reader.strip()) or f"{rule}{equals}" not in _STARTS:
            raise InputError(f"the consensus rule is {text[:100]!r}, expected {', '.join(RULES[:-1])} or {RULES[-1]}")
        return cls(rule=rule, reader=reader.strip())

    def __str__(self) -> str:
        return f"{self.rule}={self.reader}" if self.reader else self.rule

    def check(self, readers: Collection[str]) -> None:
        """InputError if the rule names a reader that there is not."""
        if self.reader and self.reader not in readers:
            raise no_such_reader(self.reader, readers)

    def __call__(self, answers: Answers) -> Answer | None:
        """The answer of a finding of a film, from those of its readers by name; None if there is none."""
        if self.reader and self.reader in answers:
            return answers[self.reader]
        if self.rule == "reader":
            return None
        votes = [answer for answer in answers.values() if answer is not Answer.NOT_ASSESSABLE]
        if not votes:
            return Answer.NOT_ASSESSABLE if answers else None
        if self.rule == "any":
            return max(votes, key=_ORDER.index)
        if self.rule == "all":
            return min(votes, key=_ORDER.index)
        answer, count = Counter(votes).most_common(1)[0]
        most = count == len(votes) if self.rule == "adjudicated" else 2 * count > len(votes)
        return answer if most else Answer.UNSURE


_STARTS = {rule.removesuffix("NAME") for rule in RULES}


def no_such_reader(name: str, readers: Collection[str]) -> InputError:
    """The error for a reader who has marked nothing."""
    there = ", ".join(sorted(readers)[:10]) or "none"
    return InputError(f"there are no marks of the reader {name[:80]!r}; the readers are: {there}")


def answers_of(marks: Iterable[FilmMarks]) -> dict[str, dict[str, dict[str, Answer]]]:
    """The answers by film, finding and reader."""
    found: dict[str, dict[str, dict[str, Answer]]] = {}
    for one in marks:
        for finding, mark in one.marks.items():
            found.setdefault(one.sha256, {}).setdefault(finding, {})[one.reader] = mark.answer
    return found


def consensus_rows(
    marks: Iterable[FilmMarks],
    films: Mapping[str, MarkedFilm],
    rule: Consensus,
    columns: Mapping[str, Mapping[str, str]] | None = None,
) -> Iterator[list[str]]:
    """The rows of a label table in the generic layout, the header first: film, patient if any is known, further
    columns, and the findings, without those of which no film has a label.

    Parameters
    ----------
    marks
        Of the readers that count.
    films
        By digest.
    rule
        How they become one.
    columns
        Further columns, by name: the cells by digest of the film.
    """
    labels: dict[str, dict[str, str]] = defaultdict(dict)
    for sha256, by_finding in answers_of(marks).items():
        for finding, answers in by_finding.items():
            labels[sha256][finding] = LABELS[rule(answers)]
    findings = sorted({name for cells in labels.values() for name, cell in cells.items() if cell})
    known = any(films[sha256].patient >= 0 for sha256 in labels)
    more = columns or {}
    yield ["film", *(["patient"] if known else []), *more, *findings]
    for sha256 in sorted(labels, key=lambda one: films[one].name):
        yield [
            films[sha256].name,
            *([_patient(films[sha256])] if known else []),
            *(cells.get(sha256, "") for cells in more.values()),
            *(labels[sha256].get(finding, "") for finding in findings),
        ]


def _patient(film: MarkedFilm) -> str:
    """With a letter, so that it is no patient of a film's name."""
    return f"p{film.patient}" if film.patient >= 0 else ""


def marks_table(path: Path, rule: Consensus | None = None, readers: Sequence[str] = ()) -> list[list[str]]:
    """The marks of a file as rows of a label table; by default of all readers, by majority. Errors as MarksFile, and
    InputError if no finding has a label."""
    with MarksFile(path) as file:
        marks, films = file.marks(), file.films()
    rows = list(
        consensus_rows([one for one in marks if one.reader in readers or not readers], films, rule or Consensus())
    )
    if len(rows) < 2:
        raise InputError(f"{path} has no mark of a finding yet")
    return rows
