"""Several readers become one label, and a marks file is a label table."""

from pathlib import Path

import numpy as np
import pytest

from cxrscore import plugins
from cxrscore.errors import InputError
from cxrscore.labels import LabelRules, read_joined_labels
from cxrscore.marks import Answer, Consensus, MarkedFilm, MarksFile, ReadingSession, marks_table

YES, NO, UNSURE, NOT = Answer.YES, Answer.NO, Answer.UNSURE, Answer.NOT_ASSESSABLE
FILMS = [
    MarkedFilm(sha256=letter * 64, path=f"ward/{letter}.png", patient=patient)
    for letter, patient in zip("abcd", [0, 0, 1, -1], strict=True)
]


@pytest.mark.parametrize(
    ("rule", "answers", "expected"),
    [
        ("majority", [YES, YES, NO], YES),
        ("majority", [YES, NO], UNSURE),
        ("majority", [YES, NO, UNSURE], UNSURE),
        ("majority", [NO, NOT, NOT], NO),
        ("majority", [NOT, NOT], NOT),
        ("majority", [], None),
        ("any", [NO, UNSURE, YES], YES),
        ("any", [NO, UNSURE], UNSURE),
        ("any", [NO, NOT], NO),
        ("all", [YES, YES, NOT], YES),
        ("all", [YES, UNSURE], UNSURE),
        ("all", [YES, UNSURE, NO], NO),
        ("reader=r1", [YES, NO], NO),
        ("reader=r1", [YES], None),
        ("adjudicated=r2", [YES, YES, NO], NO),
        ("adjudicated=r2", [YES, YES], YES),
        ("adjudicated=r2", [YES, NO], UNSURE),
        ("adjudicated=r2", [YES, NOT], YES),
    ],
)
def test_rules(rule: str, answers: list[Answer], expected: Answer | None) -> None:
    given = {f"r{number}": answer for number, answer in enumerate(answers)}
    assert Consensus.parse(rule)(given) is expected
    assert str(Consensus.parse(rule)) == rule


@pytest.mark.parametrize("text", ["", "most", "majority=", "majority=r1", "reader", "reader=", "adjudicated= "])
def test_other_rules_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="expected majority, any, all, reader=NAME or adjudicated=NAME"):
        Consensus.parse(text)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "out.marks.sqlite"
    with MarksFile(path, create=True) as marks:
        for reader, film, finding, answer in [
            ("Anna", 0, "Effusion", YES),
            ("Anna", 1, "Effusion", NO),
            ("Anna", 2, "Effusion", UNSURE),
            ("Anna", 3, "Effusion", NO),
            ("Ben", 0, "Effusion", YES),
            ("Ben", 1, "Effusion", YES),
            ("Ben", 1, "Edema", YES),
            ("Ben", 2, "Edema", NO),
            ("Ben", 2, "Mass", NOT),
        ]:
            marks.answer(ReadingSession(reader=reader), FILMS[film], finding, answer)
    return path


def test_the_table_of_a_marks_file(path: Path) -> None:
    assert marks_table(path) == [
        ["film", "patient", "Edema", "Effusion"],
        ["ward/a.png", "p0", "", "1"],
        ["ward/b.png", "p0", "1", "-1"],
        ["ward/c.png", "p1", "0", "-1"],
        ["ward/d.png", "", "", "0"],
    ]
    assert [row[-1] for row in marks_table(path, Consensus.parse("any"))[1:]] == ["1", "1", "-1", "0"]
    assert marks_table(path, readers=["Ben"])[0] == ["film", "patient", "Edema", "Effusion"]


def test_it_is_read_where_a_label_table_is(path: Path) -> None:
    names = [f"x/ward/{letter}.png" for letter in "dcba"]
    joined, record = read_joined_labels(path, plugins.datasets(), names, LabelRules(uncertain="positive"))
    assert joined.findings == ("Edema", "Effusion")
    np.testing.assert_array_equal(joined.labels, [[np.nan, 0], [0, 1], [1, 1], [np.nan, 1]])
    assert joined.patients == (None, "p1", "p0", "p0")
    assert record["dialect"] == "marks of readers, majority"
    assert record["dataset"] == "plain"


def test_a_file_without_answers_is_no_table(tmp_path: Path) -> None:
    path = tmp_path / "out.marks.sqlite"
    with MarksFile(path, create=True) as marks:
        marks.comment(ReadingSession(reader="Anna"), FILMS[0], "rotated")
    with pytest.raises(InputError, match="has no mark of a finding yet"):
        read_joined_labels(path, plugins.datasets(), ["a.png"])
