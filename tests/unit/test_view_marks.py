"""Marks in `cxrscore view`: saved before they are shown as saved, each reader's own, and told plainly if they fail."""

from __future__ import annotations

import re
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from made_view import CANARY, MadeView, made_view

pytest.importorskip("starlette")
pytest.importorskip("httpx2")

from starlette.testclient import TestClient

from cxrscore.errors import InputError
from cxrscore.io.csv_text import csv_lines
from cxrscore.marks import Answer, Kind, MarkedFilm, MarksFile, ReadingSession
from cxrscore.marks import file as marks_file
from cxrscore.reading import MarksOptions, QueueOptions, describe_queue, export_marks, make_queue
from cxrscore.viewer import reading_queues
from cxrscore.viewer.app import create_app
from cxrscore.viewer.security import Access
from cxrscore.viewer.server import ViewOptions, open_viewer
from cxrscore.viewer.viewer import Listed, Viewer

HOST = "127.0.0.1:8123"
ORIGIN = {"Origin": f"http://{HOST}"}
FRAGMENT = {**ORIGIN, "X-Fragment": "1"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeView:
    made = made_view(tmp_path_factory.mktemp("marks"))
    made_view(made.scores.parent, name="other.h5", shift=0.25)
    return made


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    return tmp_path / "out.marks.sqlite"


Opened = Callable[..., TestClient]


@pytest.fixture
def opened(made: MadeView, marks: Path) -> Iterator[Opened]:
    """Starts the application as `cxrscore view` does, and gives a browser that has exchanged the token."""
    with ExitStack() as stack:

        def open_it(**options: Any) -> TestClient:
            given = {"scores": [made.scores], "films": made.films, "marks": marks, **options}
            return browser(stack.enter_context(open_viewer(ViewOptions(**given))))

        yield open_it


def browser(viewer: Viewer, log: Callable[[str], None] | None = None) -> TestClient:
    access = Access(hosts=[HOST])
    client = TestClient(create_app(viewer, access, log), base_url=f"http://{HOST}", follow_redirects=False)
    assert client.get(f"/?token={access.token}").status_code == 200
    client.viewer = viewer  # type: ignore[attr-defined]
    return client


def another(client: TestClient) -> TestClient:
    """A second browser at the same server."""
    return browser(client.viewer)  # type: ignore[attr-defined]


def name(client: TestClient, reader: str) -> None:
    assert client.post("/reader", data={"name": reader}, headers=ORIGIN).status_code == 303


def answer(client: TestClient, row: int, finding: int = 1, word: str = "yes") -> Any:
    data = {"do": "answer", "finding": finding, "answer": word}
    return client.post(f"/film/{row}/mark", data=data, headers=FRAGMENT)


def saved(path: Path) -> dict[tuple[str, str], dict[str, str]]:
    """The answers in the file by reader and film."""
    with MarksFile(path) as file:
        return {(one.reader, one.sha256): {k: v.answer.value for k, v in one.marks.items()} for one in file.marks()}


def digest(client: TestClient, row: int) -> str:
    return client.viewer.scores.sha256(row)  # type: ignore[attr-defined, no-any-return]


def test_a_mark_is_on_the_disk_when_the_page_says_so(opened: Opened, marks: Path, made: MadeView) -> None:
    client = opened(reader="Lee")
    row = made.there[2]
    told = answer(client, row, 3, "unsure")
    assert told.status_code == 200
    assert "Saved." in told.text
    finding = client.viewer.scores.findings[2]  # type: ignore[attr-defined]
    assert saved(marks) == {("Lee", digest(client, row)): {finding: "unsure"}}
    assert 'name="answer-3" value="unsure" checked' in client.get(f"/film/{row}").text
    with MarksFile(marks) as file:
        (event,) = [event for event in file.events() if event.kind is Kind.ANSWER]
        (film,) = [film for film in file.films().values() if film.sha256 == digest(client, row)]
    assert event.session == ReadingSession(reader="Lee", scores=client.viewer.scores.fingerprint)  # type: ignore[attr-defined]
    assert film == MarkedFilm(sha256=film.sha256, path=made.paths[row], width=64, height=48, patient=film.patient)
    assert film.patient == client.viewer.scores.patient[row]  # type: ignore[attr-defined]


def test_marks_made_on_another_scores_file_take_the_patients_of_this_one(
    opened: Opened, marks: Path, made: MadeView
) -> None:
    client = opened(reader="Lee")
    old, new = made.there[:2]
    foreign = MarkedFilm(sha256="e" * 64, path="elsewhere.png", width=9, height=8, patient=78)
    earlier = ReadingSession(reader="Kim", scores="f" * 64)
    with MarksFile(marks, create=True) as file:
        for film in (MarkedFilm(sha256=digest(client, old), path="old.png", patient=77), foreign):
            file.answer(earlier, film, "Mass", Answer.YES)
    assert client.get(f"/film/{new}").status_code == 200  # the first page shows scores, which is recorded
    with MarksFile(marks) as file:
        films = file.films()
        assert {event.session.reader for event in file.events()} == {"Kim", "Lee"}
    scores = client.viewer.scores  # type: ignore[attr-defined]
    assert films[digest(client, old)].path == made.paths[old]
    assert films[digest(client, old)].patient == scores.patient[old] != 77
    assert films[foreign.sha256] == MarkedFilm(sha256=foreign.sha256, path="elsewhere.png", width=9, height=8)

    with MarksFile(marks) as file:  # another server with the other scores file writes in between
        file.answer(earlier, MarkedFilm(sha256=digest(client, new), patient=79), "Mass", Answer.NO)
    assert answer(client, old).status_code == 200
    with MarksFile(marks) as file:
        assert file.films()[digest(client, new)].patient == scores.patient[new]


def test_who_looks_only_writes_nothing(opened: Opened, marks: Path, made: MadeView) -> None:
    client = opened()
    for place in ("/", f"/film/{made.there[0]}", "/marks"):
        assert client.get(place).status_code == 200
    assert not marks.exists()
    assert "Your name" in client.get(f"/film/{made.there[0]}").text
    refused = answer(client, made.there[0])
    assert refused.status_code == 409
    assert refused.text == "Not saved: the name of the reader is not given; give it first.\n"
    assert not marks.exists()


def test_a_plain_form_saves_what_differs_from_what_it_showed(opened: Opened, marks: Path, made: MadeView) -> None:
    client = opened(reader="Lee")
    row, findings = made.there[0], client.viewer.scores.findings  # type: ignore[attr-defined]
    shown = {f"was-{number}": "" for number in range(1, len(findings) + 1)}
    form = {**shown, "answer-1": "yes", "answer-2": "n.a.", "comment": "a\r\nb ", "was-comment": "", "do": "save"}
    told = client.post(f"/film/{row}/mark", data=form, headers=ORIGIN)
    assert (told.status_code, told.headers["location"]) == (303, f"/film/{row}?#marks")
    # Another window of the same reader, opened before, does not take back what it does not show.
    late = {**shown, "answer-3": "no", "answer-1": "", "do": "save"}
    assert client.post(f"/film/{row}/mark", data=late, headers=ORIGIN).status_code == 303
    expected = {findings[0]: "yes", findings[1]: "not assessable", findings[2]: "no"}
    assert saved(marks) == {("Lee", digest(client, row)): expected}
    with MarksFile(marks) as file:
        assert [one.comment for one in file.marks()] == ["a\nb"]
        count = len(file.events())
    same = {**shown, "was-1": "yes", "answer-1": "yes", "comment": "a\r\nb", "was-comment": "a\r\nb"}
    client.post(f"/film/{row}/mark", data=same, headers=ORIGIN)
    taken = {"was-1": "yes", "answer-1": "", "do": "save"}
    client.post(f"/film/{row}/mark", data=taken, headers=ORIGIN)
    with MarksFile(marks) as file:
        assert len(file.events()) == count + 1
    del expected[findings[0]]
    assert saved(marks) == {("Lee", digest(client, row)): expected}


def test_undo_takes_back_the_last_change_of_this_reader(opened: Opened, marks: Path, made: MadeView) -> None:
    client = opened(reader="Lee")
    first, second = made.there[:2]
    other = another(client)
    name(other, "Kim")
    answer(client, first, 1, "yes")
    answer(client, second, 2, "no")
    answer(other, second, 2, "yes")
    client.get(f"/film/{second}")  # what was shown is no change
    findings = client.viewer.scores.findings  # type: ignore[attr-defined]
    told = client.post(f"/film/{second}/mark", data={"do": "undo"}, headers=FRAGMENT)
    assert f"Undone: {findings[1]}: no." in told.text
    told = client.post(f"/film/{second}/mark", data={"do": "undo"}, headers=FRAGMENT)
    assert f"Undone: {findings[0]}: yes. It was on another film." in told.text
    assert f'<a href="/film/{first}?">' in told.text
    told = client.post(f"/film/{second}/mark", data={"do": "undo"}, headers=FRAGMENT)
    assert "There is nothing to undo." in told.text
    assert saved(marks) == {("Kim", digest(client, second)): {findings[1]: "yes"}}
    assert "undone:" in told.text  # in the history


def test_boxes_are_added_listed_and_removed(opened: Opened, marks: Path, made: MadeView) -> None:
    client, row = opened(reader="Lee"), made.there[0]
    box = {"do": "box", "finding": 2, "x": "3", "y": "4.5", "width": "10", "height": "20"}
    told = client.post(f"/film/{row}/mark", data=box, headers=FRAGMENT)
    assert "10 × 20 at 3, 4.5" in told.text
    (number,) = re.findall(r'name="remove" value="(\d+)"', told.text)
    other = another(client)
    name(other, "Kim")
    refused = other.post(f"/film/{row}/mark", data={"remove": number}, headers=FRAGMENT)
    assert refused.status_code == 409
    assert "no box" in refused.text
    assert "Remove" not in other.get(f"/film/{row}").text
    assert "(<bdi>Lee</bdi>)" in other.get(f"/film/{row}").text
    told = client.post(f"/film/{row}/mark", data={"remove": number}, headers=FRAGMENT)
    assert "10 × 20 at 3, 4.5" not in told.text.partition('id="history"')[0]
    with MarksFile(marks) as file:
        assert file.marks() == ()


LIMITS: dict[str, tuple[dict[str, Any], str]] = {
    "comment": ({"do": "save", "comment": "x" * 2001}, "the comment has 2,001 characters, expected at most 2,000"),
    "control": ({"do": "save", "comment": "a\x07"}, "the comment has control characters"),
    "outside": (
        {"do": "box", "finding": 1, "x": 60, "y": 0, "width": 5, "height": 5},
        "is not within the film, expected it within 64 x 48 pixels",
    ),
    "empty box": ({"do": "box", "finding": 1, "x": 6, "y": 0, "width": 0, "height": 5}, "is not within the film"),
    "no box": ({"remove": "99"}, "the film has no box 99 of this reader"),
    "early reveal": ({"do": "reveal"}, "scores are shown when you have marked the film"),
}


@pytest.mark.parametrize("limit", LIMITS)
def test_limits_reach_the_reader_as_one_line(opened: Opened, marks: Path, made: MadeView, limit: str) -> None:
    client = opened(reader="Lee")
    data, words = LIMITS[limit]
    told = client.post(f"/film/{made.there[0]}/mark", data=data, headers=FRAGMENT)
    assert told.status_code == 409
    assert told.text.startswith("Not saved: ")
    assert words in told.text
    assert told.text.count("\n") == 1
    assert not marks.exists() or saved(marks) == {}


ODD: list[dict[str, Any]] = [
    {"do": "answer", "finding": "0", "answer": "yes"},
    {"do": "answer", "finding": "99", "answer": "yes"},
    {"do": "answer", "finding": "1", "answer": "perhaps"},
    {"do": "answer", "finding": "١", "answer": "yes"},
    {"do": "box", "finding": 1, "x": "nan", "y": 0, "width": 5, "height": 5},
    {"do": "box", "finding": 1, "x": "1e9", "y": 0, "width": 5, "height": 5},
    {"answer-1": "maybe", "was-1": ""},
    {"remove": "../1"},
    {"do": "undo", "state": "finding=x"},
]


@pytest.mark.parametrize("data", ODD, ids=range(len(ODD)))
def test_values_that_no_page_sends_are_refused(
    opened: Opened, marks: Path, made: MadeView, data: dict[str, Any]
) -> None:
    client = opened(reader="Lee")
    assert client.post(f"/film/{made.there[0]}/mark", data=data, headers=FRAGMENT).status_code == 400
    assert not marks.exists()


def test_a_film_that_could_not_be_read_cannot_be_marked(opened: Opened, made: MadeView) -> None:
    client = opened(reader="Lee")
    told = answer(client, 7)
    assert told.status_code == 409
    assert "has no SHA-256" in told.text
    assert "Nothing can be marked here." in client.get("/film/7").text


def test_a_name_is_a_line_of_text(opened: Opened, made: MadeView) -> None:
    client = opened()
    for wrong in ("", "   ", "x" * 81, "a\nb", "a\u202eb"):
        told = client.post("/reader", data={"name": wrong}, headers=ORIGIN)
        assert told.status_code == 409
        assert told.text.count("\n") == 1
    hostile = "<script>alert(1)</script>"
    name(client, hostile)
    row = made.there[0]
    client.post(f"/film/{row}/mark", data={"do": "save", "comment": f"{hostile}\n{{{{ 7 * 7 }}}}"}, headers=ORIGIN)
    answer(client, row)
    other = another(client)
    name(other, "Kim\"onmouseover='x'")
    answer(other, row, 1, "no")
    for at in (client, other):
        for place in ("/", f"/film/{row}", "/marks"):
            page = at.get(place).text
            assert "<script>alert" not in page
            assert "&lt;script&gt;alert(1)" in page
            assert "'x'" not in page
            assert " 49" not in page


def test_neither_log_nor_addresses_have_names_or_comments(opened: Opened, made: MadeView) -> None:
    lines: list[str] = []
    client = browser(opened().viewer, lines.append)  # type: ignore[attr-defined]
    row = made.there[0]
    addresses = [client.post("/reader", data={"name": CANARY, "row": str(row)}, headers=ORIGIN).headers["location"]]
    form = {"do": "save", "comment": CANARY, "answer-1": "yes"}
    addresses.append(client.post(f"/film/{row}/mark", data=form, headers=ORIGIN).headers["location"])
    answer(client, row, word=CANARY)
    client.post("/marks/labels.csv", data={"consensus": f"reader={CANARY}"}, headers=ORIGIN)
    assert CANARY in client.get(f"/film/{row}").text
    assert "POST MarksPage.mark 303" in lines
    assert "POST MarksPage.labels 200" in lines
    assert CANARY not in "".join([*lines, *addresses])


@pytest.mark.parametrize(
    "cookie",
    [
        "",
        "x",
        "[]",
        "[1,2,3]",
        '["0123456789abcdef",1,"a\\nb"]',
        "[" * 1400,
        '["../../etc/passwd",1,"Lee"]',
        "\x00",
        "null",
    ],
    ids=range(9),
)
def test_a_cookie_that_no_page_set_is_ignored(opened: Opened, made: MadeView, cookie: str) -> None:
    client = opened()
    key = client.viewer.marking._cookie  # type: ignore[attr-defined]
    client.cookies.set(key, quote(cookie))
    page = client.get(f"/film/{made.there[0]}")
    assert page.status_code == 200
    assert "Your name" in page.text


# --- what may go wrong with the file


def test_a_locked_file_is_told_and_the_mark_is_not_pretended(
    opened: Opened, marks: Path, made: MadeView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks_file, "_WAIT_S", 0.05)
    client, row = opened(reader="Lee"), made.there[0]
    answer(client, row, 1, "yes")
    before = saved(marks)
    with sqlite3.connect(marks, isolation_level=None) as held:
        held.execute("BEGIN EXCLUSIVE")
        told = answer(client, row, 1, "no")
        assert told.status_code == 409
        assert "locked" in told.text
        assert told.text.count("\n") == 1
        held.execute("ROLLBACK")
    held.close()
    assert saved(marks) == before
    assert answer(client, row, 1, "no").status_code == 200


def test_a_full_disk_is_told(opened: Opened, marks: Path, made: MadeView, monkeypatch: pytest.MonkeyPatch) -> None:
    client, row = opened(reader="Lee"), made.there[0]
    answer(client, row, 1, "yes")
    before = saved(marks)
    log = client.viewer.marking.log  # type: ignore[attr-defined]
    pages = log._file._connection.execute("PRAGMA page_count").fetchone()[0]
    log._file._connection.execute(f"PRAGMA max_page_count = {pages}")  # SQLite then says that the disk is full
    told = [client.post(f"/film/{row}/mark", data={"do": "save", "comment": c * 2000}, headers=FRAGMENT) for c in "abc"]
    assert told[-1].status_code == 409
    assert "full" in told[-1].text
    assert "The last mark is not saved; the others are." in told[-1].text
    assert saved(marks) == before


def test_a_file_that_took_its_place_is_not_written_by_mistake(opened: Opened, marks: Path, made: MadeView) -> None:
    client, (first, second) = opened(reader="Lee"), made.there[:2]
    answer(client, first)
    marks.rename(marks.with_name("moved.sqlite"))
    answer(client, second)
    assert {sha256 for _, sha256 in saved(marks)} == {digest(client, second)}
    marks.unlink()
    marks.write_text("something else")
    told = answer(client, first)
    assert told.status_code == 409
    assert "is not a marks file" in told.text
    assert marks.read_text() == "something else"
    page = client.get(f"/film/{first}")
    assert page.status_code == 200
    assert "is not a marks file" in page.text


def test_a_marks_file_of_another_version_is_told_at_the_start(opened: Opened, marks: Path) -> None:
    MarksFile(marks, create=True).close()
    with sqlite3.connect(marks) as file:
        file.execute("PRAGMA user_version = 2")
    file.close()
    with pytest.raises(Exception, match="version 2, this cxrscore reads 1"):
        opened()


def test_marks_may_lie_elsewhere(opened: Opened, made: MadeView, tmp_path: Path) -> None:
    client, row = opened(marks=tmp_path / "x" / ".." / "a.sqlite", reader="Lee"), made.there[0]
    told = answer(client, row)
    assert told.status_code == 409
    assert "cannot write" in told.text
    assert told.text.endswith("/x/../a.sqlite: No such file or directory; name another place with --marks FILE.\n")
    folder = tmp_path / "scores"
    folder.mkdir()
    shutil.copy(made.scores, folder / "out.h5")
    client = opened(scores=[folder / "out.h5"], marks=None, reader="Lee")
    answer(client, row)
    assert set(saved(folder / "out.marks.sqlite")) == {("Lee", digest(client, row))}


def test_several_scores_files_of_the_same_films_have_the_same_marks(
    opened: Opened, made: MadeView, marks: Path
) -> None:
    other = made.scores.parent / "other.h5"
    client, row = opened(scores=[made.scores, other], reader="Lee"), made.there[0]
    answer(client, row)
    again = opened(scores=[other], reader="Lee")
    assert 'name="answer-1" value="yes" checked' in again.get(f"/film/{row}").text


def test_readers_in_two_browsers_and_another_process_lose_no_mark(opened: Opened, marks: Path, made: MadeView) -> None:
    client = opened(reader="Lee")
    other = another(client)
    name(other, "Kim")
    for place, row in enumerate(made.there[:6]):
        assert answer(client, row, 1, "yes").status_code == 200
        assert answer(other, row, 1, "no" if place % 2 else "yes").status_code == 200
    with MarksFile(marks) as file:
        film = MarkedFilm(sha256=digest(client, made.there[6]))
        file.answer(ReadingSession(reader="Ann"), film, client.viewer.scores.findings[0], Answer.NO)  # type: ignore[attr-defined]
    assert len(saved(marks)) == 13
    page = client.get(f"/film/{made.there[6]}").text
    assert "<bdi>Ann</bdi>: no" in page
    assert "<b>6</b> of 60" in page


# --- the list, queues, tables


def listed(client: TestClient, query: str) -> list[int]:
    return [int(row) for row in re.findall(r'<tr id="film-(\d+)">', client.get(f"/?{query}").text)]


def test_the_list_filters_by_marks(opened: Opened, made: MadeView) -> None:
    client = opened(reader="Lee")
    other = another(client)
    name(other, "Kim")
    a, b, c, d = made.there[:4]
    answer(client, a, 1, "yes")
    answer(other, a, 1, "no")
    answer(client, b, 2, "yes")
    answer(other, c, 1, "n.a.")
    answer(client, c, 1, "yes")
    answer(other, d, 1, "unsure")
    assert listed(client, "marks=marked") == [a, b, c, d]
    assert listed(client, "marks=mine") == [a, b, c]
    assert listed(client, "marks=mine&finding=1") == [a, c]
    assert listed(client, "marks=differ") == [a]
    assert listed(client, "marks=differ&finding=2") == []
    assert a not in listed(client, "marks=left")
    assert d in listed(client, "marks=left")
    assert d not in listed(client, "marks=unmarked")
    page = client.get("/?marks=marked").text
    findings = client.viewer.scores.findings  # type: ignore[attr-defined]
    assert f"you<bdi></bdi>: yes {findings[0]}" in page
    assert "<bdi>Kim</bdi>: 1 of other answers" in page
    assert "<b>3</b> of 60</span> marked" in page
    # The film that was just marked keeps its place among those that are left.
    assert f'rel="next" href="/film/{d}?marks=left"' in client.get(f"/film/{b}?marks=left").text


def test_the_next_film_is_the_first_one_after_it_that_is_left() -> None:
    import numpy as np

    rows = np.array([4, 2, 0, 3], np.int32)
    left = np.array([True, False, True, True, True])
    found = Listed(rows=rows)
    assert [found.next_of(row, left) for row in (4, 2, 0, 3, 1)] == [2, 0, 3, 4, 4]
    assert found.next_of(3, np.zeros(5, bool)) is None
    filtered = Listed(rows=rows, chosen=np.array([True, False, True, False]))
    assert filtered.shown.tolist() == [4, 0]
    assert [filtered.around(row) for row in (4, 2, 0, 3, 1)] == [
        *((1, None, 0), (0, 4, 0), (2, 4, None), (0, 0, None), (0, None, None))
    ]


def test_a_queue_is_worked_through_and_outlasts_the_server(opened: Opened, made: MadeView, marks: Path) -> None:
    client = opened(reader="Lee", marks=marks)
    data = {"rule": "highest", "finding": "2", "count": "5", "seed": "0"}
    told = client.post("/queue", data=data, headers=ORIGIN)
    assert (told.status_code, told.headers["location"]) == (303, "/?queue=1")
    expected = make_queue(QueueOptions(scores=made.scores, count=5, rule="highest:Mass"))
    rows = [film.row for film in expected.films]
    assert listed(client, "queue=1") == rows
    answer(client, rows[0])
    answer(client, rows[3])
    again = opened(reader="Lee", marks=marks)
    page = again.get("/?queue=1").text
    assert "<b>2</b> of 5</span> marked" in page
    assert f'id="next-unmarked" href="/film/{rows[1]}?queue=1"' in page
    page = again.get(f"/film/{rows[2]}?queue=1").text
    assert f'id="next-unmarked" href="/film/{rows[4]}?queue=1"' in page
    assert "highest:" in again.get("/marks").text
    (table,) = marks.parent.glob("*.queue-1.csv")
    assert table.name == "out.queue-1.csv"


def test_nobody_waits_for_a_queue_that_takes_long(
    opened: Opened, made: MadeView, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, ended = threading.Event(), threading.Event()

    def slow(options: QueueOptions) -> None:
        go_on.wait(60)
        ended.set()
        raise InputError("no film of the queue can be read")

    monkeypatch.setattr(reading_queues, "make_queue", slow)
    monkeypatch.setattr(reading_queues, "WAIT_S", 0.01)
    client = opened(reader="Lee")
    data = {"rule": "random", "finding": "0", "count": "5", "seed": "0"}
    told = client.post("/queue", data=data, headers=ORIGIN)
    assert (told.status_code, told.headers["location"]) == (303, "/marks")
    assert "is being made" in client.get("/marks").text
    assert client.post("/queue", data=data, headers=ORIGIN).status_code == 503
    go_on.set()
    assert ended.wait(60)
    with client.viewer.queues._drawing:  # type: ignore[attr-defined]
        assert "is not made: no film of the queue can be read" in client.get("/marks").text


def test_marked_films_that_the_scores_file_lacks_are_counted(made: MadeView, marks: Path, opened: Opened) -> None:
    client = opened(reader="Lee")
    with MarksFile(marks, create=True) as file:
        for sha256 in ("e" * 64, digest(client, made.there[0])):
            file.answer(ReadingSession(reader="Kim"), MarkedFilm(sha256=sha256), "Mass", Answer.YES)
    queue = make_queue(QueueOptions(scores=made.scores, count=2, rule="random", marks=marks))
    assert (queue.left_out, queue.elsewhere) == (1, 1)
    assert "1 left out, marked or labelled already; marked films that this scores file lacks: 1" in describe_queue(
        queue
    )


def test_a_queue_of_the_command_is_read(opened: Opened, made: MadeView, tmp_path: Path) -> None:
    path = tmp_path / "queue.csv"
    queue = make_queue(QueueOptions(scores=made.scores, count=7, rule="random", seed=3, output=path))
    client = opened(queue=path)
    assert listed(client, "queue=100") == [film.row for film in queue.films]
    assert client.get("/?queue=7").status_code == 404
    path.unlink()
    gone = client.get("/?queue=100")
    assert gone.status_code == 404
    assert "The queue cannot be shown" in gone.text
    path.write_bytes(csv_lines([["film"], ["a.png"]]))
    with pytest.raises(InputError, match="expected a table of `cxrscore queue`"):
        opened(queue=path)


@pytest.mark.parametrize(
    ("changed", "status"),
    [({"count": "0"}, 409), ({"rule": "useful"}, 409), ({"rule": "disagreement"}, 409), ({"count": "x"}, 400)],
    ids=["none", "useful", "disagreement", "text"],
)
def test_a_queue_that_cannot_be_drawn_is_refused(opened: Opened, changed: dict[str, str], status: int) -> None:
    data = {"rule": "random", "finding": "0", "count": "5", "seed": "0", **changed}
    assert opened(reader="Lee").post("/queue", data=data, headers=ORIGIN).status_code == status


def test_the_tables_are_those_of_the_command(opened: Opened, made: MadeView, marks: Path, tmp_path: Path) -> None:
    client = opened(reader="Lee")
    other = another(client)
    name(other, "Kim")
    assert "There is no table" in client.post("/marks/labels.csv", headers=ORIGIN).text
    for place, row in enumerate(made.there[:8]):
        answer(client, row, 1, "yes" if place % 2 else "no")
        answer(other, row, 1, "yes" if place % 4 else "no")
        box = {"do": "box", "finding": 1, "x": place, "y": 0, "width": 5, "height": 5}
        client.post(f"/film/{row}/mark", data=box, headers=FRAGMENT)
    for consensus in ("majority", "any", "adjudicated=Kim"):
        labels, boxes = tmp_path / f"{consensus}.csv", tmp_path / f"{consensus}-boxes.csv"
        export_marks(MarksOptions(marks=marks, output=labels, boxes=boxes, consensus=consensus))
        for place, path in (("labels", labels), ("boxes", boxes)):
            told = client.post(f"/marks/{place}.csv", data={"consensus": consensus}, headers=ORIGIN)
            assert told.headers["content-disposition"] == f'attachment; filename="{place}.csv"'
            assert told.content == path.read_bytes()
    page = client.get("/marks").text
    # Equal are films 0, 1, 3, 4, 5 and 7 of 8: both say no to 0 and 4, of 2 and 6 only Kim says yes.
    assert re.search(r'<td class="n">8</td><td class="n">6</td><td class="n">0.50</td>', page)
    assert f"cxrscore marks {marks} -o labels.csv" in page
    wrong = client.post("/marks/labels.csv", data={"consensus": "reader=Nobody"}, headers=ORIGIN)
    assert wrong.status_code == 409
    assert wrong.text.count("\n") == 1


POSTS = ["/film/1/mark", "/reader", "/blinded", "/queue", "/marks/labels.csv", "/marks/boxes.csv"]


@pytest.mark.parametrize("address", POSTS)
def test_a_page_of_another_site_changes_nothing(opened: Opened, marks: Path, address: str) -> None:
    client = opened(reader="Lee")
    data = {"do": "answer", "finding": 1, "answer": "yes", "name": "Eve", "on": "1", "rule": "random"}
    for headers in ({}, {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        assert client.post(address, data=data, headers=headers).status_code == 403
    assert client.get(address).status_code in (404, 405)
    assert not marks.exists()
    assert not list(marks.parent.glob("*.csv"))
