"""The marks of readers as a label table and a table of boxes, with their agreement."""

import math
from pathlib import Path

import numpy as np
import pytest
from few_scores import few_scores
from made_run import made_file

from cxrscore import plugins
from cxrscore.errors import InputError
from cxrscore.io import sha256_file
from cxrscore.labels import LabelRules, read_boxes, read_joined_labels
from cxrscore.marks import Answer, MarkedFilm, MarksFile, ReadingSession
from cxrscore.metrics import cohen_kappa
from cxrscore.reading import MarksOptions, Rule, describe_agreement, draw_queue, export_marks, queue_csv
from cxrscore.synthetic.phantoms import make_phantoms

YES, NO, UNSURE, NOT = Answer.YES, Answer.NO, Answer.UNSURE, Answer.NOT_ASSESSABLE
FILMS = [MarkedFilm(sha256=f"{row:064x}", path=f"{row}.png", width=90, height=90, patient=row // 2) for row in range(8)]
FIRST = [YES, YES, NO, NO, NO, UNSURE, NOT, YES]
SECOND = [YES, NO, NO, NO, NO, UNSURE, YES, None]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "out.marks.sqlite"
    anna, ben = ReadingSession(reader="Anna"), ReadingSession(reader="Ben, MD", blinded=True)
    with MarksFile(path, create=True) as marks:
        for film, first, second in zip(FILMS, FIRST, SECOND, strict=True):
            marks.answer(anna, film, "Mass", first)
            if second:
                marks.answer(ben, film, "Mass", second)
        marks.answer(anna, FILMS[0], "Edema", NOT)
        marks.add_box(anna, FILMS[0], "Mass", (1, 2.25, 30, 40))
        marks.comment(anna, FILMS[0], "left")
    return path


def table(path: Path, *, uncertain: str = "unknown") -> dict[str, float]:
    names = [film.path for film in FILMS]
    joined, record = read_joined_labels(path, plugins.datasets(), names, LabelRules(uncertain=uncertain))
    assert joined.findings == ("Mass",)
    assert record["dataset"] == "plain"
    return dict(zip(names, joined.labels[:, 0].tolist(), strict=True))


def test_the_label_table(path: Path, tmp_path: Path) -> None:
    result = export_marks(MarksOptions(marks=path, output=tmp_path / "labels.csv"))
    assert (tmp_path / "labels.csv").read_text().splitlines()[:3] == ["film,patient,Mass", "0.png,p0,1", "1.png,p0,-1"]
    np.testing.assert_array_equal(
        list(table(tmp_path / "labels.csv", uncertain="negative").values()), [1, 0, 0, 0, 0, 0, 1, 1]
    )
    assert result.readers == {"Anna": 8, "Ben, MD": 7}
    assert (result.films, result.marks, result.blinded, result.comments, result.box_count) == (8, 16, 7, 1, 1)
    assert result.findings == {"Mass": {"positive": 3, "negative": 3, "uncertain": 2, "blank": 0}}
    assert result.without == ("Edema",)  # not assessable on its only film
    assert result.prevalence == {}


def test_it_says_what_the_marks_file_says(path: Path, tmp_path: Path) -> None:
    export_marks(MarksOptions(marks=path, output=tmp_path / "labels.csv"))
    assert np.array_equal(list(table(path).values()), list(table(tmp_path / "labels.csv").values()), equal_nan=True)


def test_agreement_by_finding_and_pair(path: Path) -> None:
    """Six films that both call yes, no or unsure, of three patients; a seventh is not assessable to one of them."""
    (found,) = export_marks(MarksOptions(marks=path)).agreement
    expected = cohen_kappa(np.array([2, 2, 0, 0, 0, 1]), np.array([2, 0, 0, 0, 0, 1]), np.array([0, 0, 1, 1, 2, 2]))
    assert (found["finding"], found["readers"]) == ("Mass", ["Anna", "Ben, MD"])
    assert (found["films"], found["equal"], found["not_assessable"], found["blinded"]) == (6, 5, 1, 0)
    assert found["kappa"]["value"] == pytest.approx(expected.kappa)
    assert found["kappa"]["standard_error"] == pytest.approx(expected.error)
    low, high = expected.interval
    assert describe_agreement(found) == (
        f"Mass: Anna and Ben, MD: 5 of 6 answers equal, kappa {expected.kappa:.2f} ({low:.2f} to {high:.2f}); 1 not "
        "assessable"
    )


def test_one_reader_by_option_or_rule(path: Path, tmp_path: Path) -> None:
    for options in ({"readers": ("Ben, MD",)}, {"consensus": "reader=Ben, MD"}):
        output = tmp_path / "labels.csv"
        export_marks(MarksOptions(marks=path, output=output, **options))  # type: ignore[arg-type]
        assert table(output)["1.png"] == 0
    for options in ({"readers": ("Carl",)}, {"consensus": "adjudicated=Carl"}):
        with pytest.raises(InputError, match="no marks of the reader 'Carl'; the readers are: Anna, Ben, MD"):
            export_marks(MarksOptions(marks=path, **options))  # type: ignore[arg-type]


def test_boxes_are_those_that_the_report_reads(path: Path, tmp_path: Path) -> None:
    export_marks(MarksOptions(marks=path, boxes=tmp_path / "boxes.csv"))
    (box,) = read_boxes(tmp_path / "boxes.csv")
    assert (box.film, box.finding, box.rater) == ("0.png", "Mass", "Anna")
    assert (box.x, box.y, box.width, box.height) == (1, 2.25, 30, 40)


def test_a_queue_gives_weights_and_a_prevalence(path: Path, tmp_path: Path) -> None:
    scores = few_scores(
        [film.path for film in FILMS], ("Mass",), np.linspace(0.1, 0.8, 8), truth=np.full((8, 1), math.nan, "f4")
    )
    queue = tmp_path / "queue.csv"
    queue.write_bytes(queue_csv(draw_queue(scores, Rule.parse("random"), 4, seed=1)))
    result = export_marks(MarksOptions(marks=path, output=tmp_path / "labels.csv", queue=queue))
    lines = (tmp_path / "labels.csv").read_text().splitlines()
    assert lines[0] == "film,patient,weight,Mass"
    assert {line.split(",")[2] for line in lines[1:]} == {"2.0"}
    assert result.films == 4
    assert result.prevalence["Mass"]["queue"] == 4
    queue.write_bytes(queue_csv(draw_queue(scores, Rule.parse("highest"), 4)))
    result = export_marks(MarksOptions(marks=path, output=tmp_path / "labels.csv", queue=queue))
    assert (tmp_path / "labels.csv").read_text().startswith("film,patient,Mass\n")
    assert result.prevalence == {}


def test_findings_of_the_scores_file_that_nobody_marked(path: Path, tmp_path: Path) -> None:
    made_file(tmp_path / "out.h5", 10)
    assert export_marks(MarksOptions(marks=path)).without == ("Effusion", "Hernia", "Edema")


def test_other_files_are_not_replaced(path: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_text("filmed,by\n")
    for options in ({"output": tmp_path / "notes.csv"}, {"boxes": tmp_path / "notes.csv"}):
        with pytest.raises(InputError, match="is not replaced"):
            export_marks(MarksOptions(marks=path, **options))
    with pytest.raises(InputError, match="is an input of this command"):
        export_marks(MarksOptions(marks=path, output=path, overwrite=True))
    with pytest.raises(InputError, match="two outputs"):
        export_marks(MarksOptions(marks=path, output=tmp_path / "x.csv", boxes=tmp_path / "x.csv"))


def test_films_are_found_by_their_bytes(tmp_path: Path) -> None:
    make_phantoms(tmp_path, films=3, patients=3, side=32, seed=1)
    names = sorted(path.name for path in (tmp_path / "films").glob("*.png"))
    digests = [sha256_file(tmp_path / "films" / name) for name in names]
    path = tmp_path / "out.marks.sqlite"
    with MarksFile(path, create=True) as marks:
        for sha256, old in zip((*digests[:2], "f" * 64), ("old.png", "", "gone.png"), strict=True):
            marks.answer(ReadingSession(reader="Anna"), MarkedFilm(sha256=sha256, path=old), "Mass", YES)
    (tmp_path / "films" / "x").mkdir()
    (tmp_path / "films" / names[0]).rename(tmp_path / "films" / "x" / "new.png")
    result = export_marks(MarksOptions(marks=path, output=tmp_path / "labels.csv", films=tmp_path / "films"))
    assert sorted((tmp_path / "labels.csv").read_text().splitlines()) == sorted(
        ["film,Mass", "x/new.png,1", f"{names[1]},1", "gone.png,1"]
    )
    assert result.elsewhere == 1


def test_names_are_no_formulas(tmp_path: Path) -> None:
    path = tmp_path / "out.marks.sqlite"
    with MarksFile(path, create=True) as marks:
        film = MarkedFilm(sha256="a" * 64, path="=1+1.png")
        marks.answer(ReadingSession(reader="@me"), film, "Mass", YES)
        marks.add_box(ReadingSession(reader="@me"), film, "Mass", (0, 0, 1, 1))
    export_marks(MarksOptions(marks=path, output=tmp_path / "labels.csv", boxes=tmp_path / "boxes.csv"))
    assert (tmp_path / "labels.csv").read_text() == "film,Mass\n./=1+1.png,1\n"
    assert (tmp_path / "boxes.csv").read_text().splitlines()[1] == "./=1+1.png,'@me,Mass,0,0,1,1"
    joined, _ = read_joined_labels(tmp_path / "labels.csv", plugins.datasets(), ["=1+1.png"])
    assert joined.labels.tolist() == [[1]]
