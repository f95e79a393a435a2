"""The marks file keeps every event of every reader, and refuses files that it did not make."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cxrscore.errors import FileFormatError, InputError, WriteError
from cxrscore.marks import (
    MAX_BOXES,
    Answer,
    FilmMarks,
    Kind,
    MarkedFilm,
    MarksFile,
    ReadingSession,
    is_marks_file,
    marks_path,
)

FIRST, SECOND = MarkedFilm(sha256="a" * 64, path="ward/1.png", width=100, height=80), MarkedFilm(sha256="b" * 64)
ANNA, BEN = ReadingSession(reader="Anna"), ReadingSession(reader="Ben", blinded=True, scores="c" * 64)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.marks.sqlite"


def answers(found: FilmMarks) -> dict[str, Answer]:
    return {finding: mark.answer for finding, mark in found.marks.items()}


def test_the_name_beside_a_scores_file() -> None:
    assert marks_path(Path("a/out.h5")) == Path("a/out.marks.sqlite")
    assert marks_path(Path("a/scores")) == Path("a/scores.marks.sqlite")


def test_what_was_marked_is_there_when_it_is_opened_again(path: Path) -> None:
    with MarksFile(path, create=True) as marks:
        marks.answer(ANNA, FIRST, "Effusion", Answer.YES)
        marks.answer(ANNA, FIRST, "Edema", Answer.NOT_ASSESSABLE)
        marks.answer(BEN, FIRST, "Effusion", Answer.UNSURE)
        marks.comment(ANNA, FIRST, "left side\nfaint")
        marks.add_box(ANNA, FIRST, "Effusion", (1, 2.5, 30, 40))
        marks.answer(ANNA, SECOND, "Effusion", Answer.NO)
    with MarksFile(path) as marks:
        anna, ben = marks.marks_of(FIRST.sha256)
        assert answers(anna) == {"Effusion": Answer.YES, "Edema": Answer.NOT_ASSESSABLE}
        assert anna.comment == "left side\nfaint"
        assert [(b.finding, b.x, b.y, b.width, b.height) for b in anna.boxes] == [("Effusion", 1, 2.5, 30, 40)]
        assert not anna.marks["Effusion"].blinded
        assert ben.marks["Effusion"].blinded
        assert [one.reader for one in marks.marks()] == ["Anna", "Ben", "Anna"]
        assert marks.readers() == ("Anna", "Ben")
        assert marks.films() == {film.sha256: film for film in (FIRST, SECOND)}
        assert marks.events()[2].session == BEN
        assert marks.events()[0].time.endswith("+00:00")


def test_the_last_answer_counts_and_can_be_taken_back(path: Path) -> None:
    with MarksFile(path, create=True) as marks:
        marks.answer(ANNA, FIRST, "Effusion", Answer.YES)
        marks.answer(ANNA, FIRST, "Effusion", Answer.NO)
        assert answers(marks.marks()[0]) == {"Effusion": Answer.NO}
        marks.answer(ANNA, FIRST, "Effusion", None)
        assert marks.marks() == ()
        assert [event.answer for event in marks.events()] == [Answer.YES, Answer.NO, None]


def test_undo_goes_back_event_by_event_of_one_reader(path: Path) -> None:
    with MarksFile(path, create=True) as marks:
        marks.answer(ANNA, FIRST, "Effusion", Answer.YES)
        box = marks.add_box(ANNA, FIRST, "Effusion", (0, 0, 5, 5))
        marks.answer(BEN, FIRST, "Effusion", Answer.NO)
        marks.remove_box(ANNA, FIRST, box.number)
        assert marks.marks()[0].boxes == ()
        undone = [marks.undo(ANNA) for _ in range(2)]
        assert [one and one.kind for one in undone] == [Kind.REMOVE_BOX, Kind.BOX]
        assert [answers(one) for one in marks.marks()] == [{"Effusion": Answer.YES}, {"Effusion": Answer.NO}]
        marks.answer(ANNA, FIRST, "Effusion", Answer.UNSURE)
        marks.undo(ANNA)
        assert answers(marks.marks()[0]) == {"Effusion": Answer.YES}
        assert marks.undo(ANNA) is not None
        assert marks.undo(ANNA) is None
        assert [one.reader for one in marks.marks()] == ["Ben"]
        assert len(marks.events()) == 9  # nothing is removed


def test_what_a_reader_has_seen_is_saved_once_and_is_no_mark(path: Path) -> None:
    lee, kim = ReadingSession(reader="Lee"), ReadingSession(reader="Kim", blinded=True)
    first, second = (MarkedFilm(sha256=digit * 64) for digit in "12")
    with MarksFile(path, create=True) as marks:
        marks.answer(lee, first, "Edema", Answer.YES)
        marks.record_seen(lee, [first, second])
        marks.record_seen(lee, [second, first])
        marks.record_seen(kim, [second])
        seen = [event for event in marks.events() if event.kind is Kind.SEEN]
        assert [(event.session.reader, event.sha256) for event in seen] == [
            *(("Lee", first.sha256), ("Lee", second.sha256), ("Kim", second.sha256))
        ]
        assert [one.sha256 for one in marks.marks()] == [first.sha256]
        assert [event.number for event in marks.events_after(2)] == [3, 4]
        undone = marks.undo(lee)
        assert undone is not None
        assert undone.kind is Kind.ANSWER
        assert marks.undo(lee) is None


def test_the_log_can_only_grow(path: Path) -> None:
    with MarksFile(path, create=True) as marks:
        marks.answer(ANNA, FIRST, "Effusion", Answer.YES)
    connection = sqlite3.connect(path)
    for statement in ("DELETE FROM event", "UPDATE event SET answer = 'no'"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement)
    connection.close()


def test_films_follow_a_new_scores_file(path: Path) -> None:
    with MarksFile(path, create=True) as marks:
        marks.answer(ANNA, MarkedFilm(sha256="a" * 64, path="old.png", patient=3), "Edema", Answer.YES)
        marks.answer(ANNA, MarkedFilm(sha256="b" * 64, path="b.png", patient=4), "Edema", Answer.YES)
        marks.update_films([MarkedFilm(sha256="a" * 64, path="new.png", patient=0), MarkedFilm(sha256="d" * 64)])
        assert list(marks.films().values()) == [
            MarkedFilm(sha256="a" * 64, path="new.png", patient=0),
            MarkedFilm(sha256="b" * 64, path="b.png", patient=-1),
        ]


def test_a_film_of_a_file_with_anonymized_paths_has_no_path() -> None:
    film = MarkedFilm(sha256="a" * 64, path="a" * 64)
    assert (film.path, film.name) == ("", "a" * 64)


@pytest.mark.parametrize("umask", [0o000, 0o077], ids="{:03o}".format)
def test_the_file_and_its_journal_are_for_their_owner(path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with MarksFile(path, create=True) as marks, marks._writing():
            marks._insert(ANNA, FIRST, Kind.COMMENT, text="x")
            modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert modes == {path.name: 0o600, f"{path.name}-journal": 0o600}
    assert [one.name for one in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda marks: ReadingSession(reader=""), "name of the reader"),
        (lambda marks: ReadingSession(reader="x" * 81), "name of the reader"),
        (lambda marks: ReadingSession(reader="a\u202eb"), "name of the reader"),
        (lambda marks: ReadingSession(reader="a", scores="../x"), "fingerprint"),
        (lambda marks: MarkedFilm(sha256="A" * 64), "SHA-256"),
        (lambda marks: MarkedFilm(sha256="a" * 64, path="x" * 5000), "4,096"),
        (lambda marks: marks.answer(ANNA, FIRST, "x" * 201, Answer.YES), "finding"),
        (lambda marks: marks.answer(ANNA, FIRST, " ", Answer.YES), "finding"),
        (lambda marks: marks.comment(ANNA, FIRST, "x" * 2001), "2,001 characters"),
        (lambda marks: marks.comment(ANNA, FIRST, "\x1b[2J"), "control characters"),
        (lambda marks: marks.add_box(ANNA, FIRST, "Edema", (0, 0, 101, 5)), "within 100 x 80"),
        (lambda marks: marks.add_box(ANNA, FIRST, "Edema", (-1, 0, 5, 5)), "not within the film"),
        (lambda marks: marks.add_box(ANNA, FIRST, "Edema", (0, 0, 0, 5)), "not within the film"),
        (lambda marks: marks.add_box(ANNA, SECOND, "Edema", (0, 0, float("nan"), 5)), "not within the film"),
        (lambda marks: marks.remove_box(ANNA, FIRST, 1), "no box 1"),
    ],
    ids=[
        "empty",
        "long",
        "bidi",
        "scores",
        "digest",
        "path",
        "finding",
        "blank",
        "comment",
        "escape",
        "wide",
        "left",
        "flat",
        "nan",
        "no-box",
    ],
)
def test_values_have_bounds(path: Path, call: object, words: str) -> None:
    with MarksFile(path, create=True) as marks:
        with pytest.raises(InputError, match=words):
            call(marks)  # type: ignore[operator]
        assert marks.events() == ()


def test_boxes_of_a_film_have_a_bound_and_belong_to_their_reader(path: Path) -> None:
    with MarksFile(path, create=True) as marks:
        with marks._writing():
            for _ in range(MAX_BOXES):
                marks._insert(ANNA, FIRST, Kind.BOX, finding="Mass", sides=(0, 0, 1, 1))
        with pytest.raises(InputError, match="100 boxes"):
            marks.add_box(ANNA, FIRST, "Mass", (0, 0, 1, 1))
        with pytest.raises(InputError, match="no box 1 "):
            marks.remove_box(BEN, FIRST, 1)
        marks.add_box(BEN, FIRST, "Mass", (0, 0, 1, 1))


# --- files that are not what they should be


def changed(path: Path, *statements: str) -> None:
    with MarksFile(path, create=True) as marks:
        marks.answer(ANNA, FIRST, "Effusion", Answer.YES)
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("statements", "words"),
    [
        (["PRAGMA application_id = 7"], "not a marks file of cxrscore"),
        (["PRAGMA user_version = 2"], "marks file of version 2, this cxrscore reads 1"),
        (["CREATE VIEW more AS SELECT 1"], "other tables"),
        (["DROP TRIGGER event_stays"], "other tables"),
        (["CREATE TRIGGER t AFTER INSERT ON event BEGIN DELETE FROM session; END"], "other tables"),
    ],
    ids=["foreign", "newer", "view", "trigger-missing", "trigger-added"],
)
def test_other_databases_are_refused(path: Path, statements: list[str], words: str) -> None:
    changed(path, *statements)
    with pytest.raises(FileFormatError, match=words) as error:
        MarksFile(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "values",
    [
        "kind = 'eat'",
        "answer = 'maybe'",
        "text = x'00ff'",
        "time = 'now'",
        "finding = ''",
        "kind = 'box', x = 0, y = 0, width = 9e99, height = 1",
        "kind = 'undo', target = 1",
    ],
    ids=["kind", "answer", "blob", "time", "finding", "box", "target"],
)
def test_values_that_no_reader_can_give_are_damage(path: Path, values: str) -> None:
    trigger = (
        "CREATE TRIGGER event_is_final BEFORE UPDATE ON event BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END"
    )
    changed(path, "DROP TRIGGER event_is_final", f"UPDATE event SET {values}", trigger)
    with MarksFile(path) as marks, pytest.raises(FileFormatError, match=r"damaged marks file \(event 1: "):
        marks.events()


def test_files_that_are_no_database(path: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no marks file"):
        MarksFile(path)
    with pytest.raises(InputError, match="it is a folder"):
        MarksFile(tmp_path)
    for content in (b"", b"film,Edema\n", b"\x89HDF\r\n\x1a\n" + bytes(200)):
        path.write_bytes(content)
        with pytest.raises(FileFormatError, match="not a marks file"):
            MarksFile(path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="it is a pipe"):
        MarksFile(tmp_path / "pipe", create=True)
    with pytest.raises(WriteError, match="No such file or directory"):
        MarksFile(tmp_path / "none" / "x", create=True)


def test_damage_anywhere_is_an_error_and_never_a_crash(path: Path) -> None:
    changed(path)
    assert is_marks_file(path)
    whole = path.read_bytes()
    refused: list[str] = []
    for place in range(100, len(whole), 97):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            with MarksFile(path) as marks:
                marks.marks()
                marks.films()
        except InputError as error:
            refused.append(str(error))
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileFormatError, match="damaged marks file"):
        MarksFile(path)
    assert refused
    assert all(message.isprintable() for message in refused)


def test_a_file_that_cannot_be_written_says_so_and_keeps_what_it_has(path: Path) -> None:
    changed(path)
    with MarksFile(path) as marks:
        marks._connection.execute("PRAGMA query_only = ON")
        with pytest.raises(WriteError, match="The last mark is not saved"):
            marks.answer(ANNA, FIRST, "Edema", Answer.NO)
        assert len(marks.events()) == 1


# --- several at once

_READER = """
import sys
from pathlib import Path
from cxrscore.marks import Answer, MarkedFilm, MarksFile, ReadingSession
with MarksFile(Path(sys.argv[1]), create=True) as marks:
    print("open", flush=True)
    sys.stdin.readline()
    for number in range(int(sys.argv[3])):
        film = MarkedFilm(sha256=f"{number:064x}")
        print(marks.answer(ReadingSession(reader=sys.argv[2]), film, "Edema", Answer.YES).number, flush=True)
"""


def reader(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    line = [sys.executable, "-P", "-c", _READER, str(path), name, str(count)]
    return subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_two_processes_lose_nothing(path: Path) -> None:
    both = [reader(path, name, 40) for name in ("Anna", "Ben")]
    for one in both:
        assert one.stdout is not None
        assert one.stdout.readline() == "open\n"
    for one in both:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    numbers = [int(line) for one in both for line in one.communicate()[0].split()]
    assert sorted(numbers) == list(range(1, 81))
    with MarksFile(path) as marks:
        assert [len([one for one in marks.marks() if one.reader == name]) for name in ("Anna", "Ben")] == [40, 40]


@pytest.mark.slow
def test_a_killed_process_loses_nothing_that_it_has_saved(path: Path) -> None:
    saved = 0
    for round_ in range(3):
        one = reader(path, f"reader {round_}", 10_000)
        assert one.stdout is not None
        assert one.stdin is not None
        one.stdout.readline()
        one.stdin.write("\n")
        one.stdin.flush()
        for _ in range(5):
            saved = int(one.stdout.readline())
        one.send_signal(signal.SIGKILL)
        rest, _ = one.communicate()
        saved = max([saved, *(int(line) for line in rest.split("\n")[:-1])])
        with MarksFile(path) as marks:
            assert len(marks.events()) >= saved
            assert [event.number for event in marks.events()] == list(range(1, len(marks.events()) + 1))


_HALF_WRITTEN = """
import sys
from pathlib import Path
from cxrscore.marks import Kind, MarkedFilm, MarksFile, ReadingSession
with MarksFile(Path(sys.argv[1])) as marks, marks._writing() as connection:
    connection.execute("PRAGMA cache_size = 1")  # pages are written to the file before the transaction ends
    for number in range(500):
        marks._insert(ReadingSession(reader="Anna"), MarkedFilm(sha256=f"{number:064x}"), Kind.COMMENT, text="x" * 500)
    print("written", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.slow
def test_a_write_that_is_cut_short_is_undone(path: Path) -> None:
    with MarksFile(path, create=True) as marks:
        marks.answer(ANNA, FIRST, "Effusion", Answer.YES)
    size = path.stat().st_size
    line = [sys.executable, "-P", "-c", _HALF_WRITTEN, str(path)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as one:
        assert one.stdout is not None
        assert one.stdout.readline() == "written\n"
        one.kill()
    assert path.stat().st_size > size
    assert path.with_name(f"{path.name}-journal").stat().st_size
    with MarksFile(path) as marks:
        assert [event.finding for event in marks.events()] == ["Effusion"]
    assert path.stat().st_size == size
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_threads_share_a_file(path: Path) -> None:
    with MarksFile(path, create=True) as marks:

        def read(name: str) -> None:
            for number in range(10):
                marks.answer(ReadingSession(reader=name), MarkedFilm(sha256=f"{number:064x}"), "Edema", Answer.NO)

        threads = [threading.Thread(target=read, args=[name]) for name in ("a", "b", "c")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(marks.marks()) == 30
