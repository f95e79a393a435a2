"""Blinded reading in `cxrscore view`: nothing of scores, labels and other readers before a film is marked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from made_view import MadeView, made_view

pytest.importorskip("starlette")
pytest.importorskip("httpx2")

from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from cxrscore.errors import InputError
from cxrscore.marks import Answer, Kind, MarkedFilm, MarksFile, ReadingSession
from cxrscore.reading import QueueOptions, make_queue
from cxrscore.viewer import app
from cxrscore.viewer.security import Access
from cxrscore.viewer.server import ViewOptions, open_viewer
from cxrscore.viewer.viewer import Viewer

HOST = "127.0.0.1:8123"
ORIGIN = {"Origin": f"http://{HOST}"}
FRAGMENT = {**ORIGIN, "X-Fragment": "1"}
TELLING = re.compile(
    r"\d\.\d\d|positive|negative|at or above|Probability|Threshold|Prevalence|KIM|secret remark|data:image"
)
"""What stands on a page only if it shows scores, labels, thresholds, maps or what another reader did."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeView:
    folder = tmp_path_factory.mktemp("blinded")
    made = made_view(folder)
    made_view(folder, name="other.h5", shift=0.25)
    (folder / "boxes.csv").write_text(
        f"Image Index,Finding Label,Bbox [x,y,w,h]\n{made.paths[made.there[0]]},Mass,10,20,30,10,,,\n"
    )
    return made


@pytest.fixture
def marks(tmp_path: Path, made: MadeView) -> Path:
    """A marks file in which another reader has marked all films."""
    path = tmp_path / "out.marks.sqlite"
    with open_viewer(ViewOptions(scores=[made.scores])) as viewer, MarksFile(path, create=True) as file:
        for row in made.there[:10]:
            film, session = MarkedFilm(sha256=viewer.scores.sha256(row)), ReadingSession(reader="KIM")
            file.answer(session, film, "Mass", Answer.YES)
            file.add_box(session, film, "Mass", (1, 1, 5, 5))
            file.comment(session, film, "secret remark")
    return path


Opened = Callable[..., TestClient]


@pytest.fixture
def opened(made: MadeView, marks: Path) -> Iterator[Opened]:
    folder = made.scores.parent
    with ExitStack() as stack:

        def open_it(**options: Any) -> TestClient:
            own = {"scores": [made.scores, folder / "other.h5"], "films": made.films, "marks": marks}
            given = {**own, "bounding_boxes": folder / "boxes.csv", **options}
            return browser(stack.enter_context(open_viewer(ViewOptions(**given))))

        yield open_it


def browser(viewer: Viewer) -> TestClient:
    access = Access(hosts=[HOST])
    client = TestClient(app.create_app(viewer, access), base_url=f"http://{HOST}", follow_redirects=False)
    assert client.get(f"/?token={access.token}").status_code == 200
    client.viewer = viewer  # type: ignore[attr-defined]
    return client


def answer(client: TestClient, row: int, finding: int = 1, word: str = "yes") -> Any:
    data = {"do": "answer", "finding": finding, "answer": word}
    told = client.post(f"/film/{row}/mark", data=data, headers=FRAGMENT)
    assert told.status_code == 200, told.text
    return told


def blinded_answers(path: Path, reader: str = "Lee") -> list[bool]:
    """Whether each answer of a reader was blinded, in the order of time."""
    with MarksFile(path) as file:
        return [
            event.session.blinded
            for event in file.events()
            if event.session.reader == reader and event.kind is Kind.ANSWER
        ]


def places(row: int) -> list[str]:
    """Addresses of all pages, with all orders and filters that there are."""
    found = [f"/?{query}" for query in ("", "page=2", "queue=1", "marks=differ", "marks=marked", "label=positive")]
    found += [f"/?finding={n}&sort={sort}" for n in (0, 1) for sort in ("probability", "uncertainty", "error")]
    found += ["/?sort=disagreement", "/?finding=2&side=above", "/marks", f"/film/{row}?sort=probability&finding=1"]
    return [*found, f"/film/{row}", f"/film/{row}/map/1", f"/film/{row}/map/2", "/film/7"]


@pytest.mark.parametrize("forced", [True, False], ids=["command", "switch"])
def test_no_answer_tells_of_scores_before_the_mark(opened: Opened, made: MadeView, forced: bool) -> None:
    client = opened(blinded=forced)
    assert client.post("/reader", data={"name": "Lee"}, headers=ORIGIN).status_code == 303
    if not forced:
        assert client.post("/blinded", data={"on": "1", "row": "marks"}, headers=ORIGIN).status_code == 303
    make_queue(
        QueueOptions(
            scores=made.scores,
            count=9,
            rule="highest:Mass",
            output=client.viewer.marking.log.path.with_name("out.queue-1.csv"),  # type: ignore[attr-defined]
        )
    )
    for row in made.there[:2]:
        for place in places(row):
            told = client.get(place)
            assert told.status_code == (403 if "/map/" in place else 200)
            assert TELLING.search(told.text) is None, (place, TELLING.search(told.text))
            assert "highest" not in told.text
    # All lists have one order.
    shown = [
        re.findall(r'id="film-(\d+)"', client.get(place).text)
        for place in places(1)
        if place.startswith("/?") and "sort" in place
    ]
    assert len({tuple(rows) for rows in shown}) == 1
    for table in ("labels", "boxes"):
        told = client.post(f"/marks/{table}.csv", data={"consensus": "any"}, headers=ORIGIN)
        assert (told.status_code, TELLING.search(told.text)) == (409, None)
    # A mark does not show them yet: the other findings are still to be marked.
    assert TELLING.search(answer(client, made.there[0]).text) is None
    assert TELLING.search(client.get(f"/film/{made.there[0]}").text) is None


def test_without_a_name_nothing_is_shown_either(opened: Opened, made: MadeView) -> None:
    client = opened(blinded=True)
    for place in places(made.there[0]):
        if "queue" not in place:
            assert TELLING.search(client.get(place).text) is None, place
    assert "Open a film and give your name" in client.get("/").text
    told = client.post("/marks/labels.csv", headers=ORIGIN)
    assert (told.status_code, TELLING.search(told.text)) == (409, None)


def test_what_unblinded_readers_see_is_what_the_scan_looks_for(opened: Opened, made: MadeView) -> None:
    client = opened(reader="Lee")
    for place in ("/", f"/film/{made.there[0]}", f"/film/{made.there[0]}/map/1", "/marks"):
        assert TELLING.search(client.get(place).text), place


def test_scores_are_shown_when_the_film_is_marked_and_later_marks_are_not_blinded(
    opened: Opened, made: MadeView, marks: Path
) -> None:
    client, (first, second) = opened(reader="Lee", blinded=True), made.there[:2]
    refused = client.post(f"/film/{first}/mark", data={"do": "reveal"}, headers=ORIGIN)
    assert refused.status_code == 409
    answer(client, first, 1)
    answer(client, first, 2)
    assert client.post(f"/film/{first}/mark", data={"do": "reveal"}, headers=ORIGIN).status_code == 303
    page = client.get(f"/film/{first}").text
    assert "Probability" in page
    assert "secret remark" in page
    assert "further marks on it do not count as blinded" in page
    assert client.get(f"/film/{first}/map/1").status_code == 200
    assert TELLING.search(client.get(f"/film/{second}").text) is None
    answer(client, first, 3)
    answer(client, second, 1)
    assert blinded_answers(marks) == [True, True, False, True]
    # Nor does an undo make the reader forget.
    for _ in range(4):
        client.post(f"/film/{first}/mark", data={"do": "undo"}, headers=ORIGIN)
    answer(client, first, 1)
    assert blinded_answers(marks) == [True, True, False, True, False]
    again = opened(reader="Lee", blinded=True)
    answer(again, first, 2)
    answer(again, second, 2)
    assert blinded_answers(marks)[-2:] == [False, True]
    tables = again.post("/marks/labels.csv", data={"consensus": "any"}, headers=ORIGIN).text
    assert len(tables.splitlines()) == 3  # of the own marks only


@pytest.mark.parametrize("seen_at", ["/film/{row}", "/"], ids=["film", "list"])
@pytest.mark.parametrize("named", [True, False], ids=["named", "unnamed"])
def test_a_film_once_seen_with_scores_is_never_marked_as_blinded(
    opened: Opened, made: MadeView, marks: Path, seen_at: str, named: bool
) -> None:
    client, row, later = opened(), made.there[0], made.there[19]
    if named:
        client.post("/reader", data={"name": "Lee"}, headers=ORIGIN)
    client.get(seen_at.format(row=row))
    client.post("/reader", data={"name": "Lee"}, headers=ORIGIN)
    client.post("/blinded", data={"on": "1"}, headers=ORIGIN)
    page = client.get(f"/film/{row}").text
    assert TELLING.search(page) is None
    assert "You saw scores of this film before" in page
    answer(client, row)
    again = opened(reader="Lee", blinded=True)
    answer(again, row, 2)
    assert blinded_answers(marks) == [False, False]
    if seen_at != "/":
        answer(again, later)
        assert blinded_answers(marks)[-1]
    # What one reader has seen is not held against another.
    other = opened(reader="Ann", blinded=True)
    answer(other, row)
    assert blinded_answers(marks, "Ann") == [True]


def test_the_switch_is_remembered_and_belongs_to_a_browser(opened: Opened, made: MadeView) -> None:
    client = opened()
    assert client.post("/blinded", data={"on": "1"}, headers=ORIGIN).status_code == 409  # without a name
    client.post("/reader", data={"name": "Lee"}, headers=ORIGIN)
    client.post("/blinded", data={"on": "1"}, headers=ORIGIN)
    again = opened()
    again.cookies.update({key: value for key, value in client.cookies.items() if "reader" in key})
    assert "Reader <b><bdi>Lee</bdi></b>, blinded" in again.get("/").text
    assert "blinded" not in opened(reader="Ann").get("/").text
    again.post("/blinded", data={"on": "0"}, headers=ORIGIN)
    assert "Probability" in again.get(f"/film/{made.there[0]}").text
    forced = opened(reader="Lee", blinded=True)
    assert forced.post("/blinded", data={"on": "0"}, headers=ORIGIN).status_code == 409


def test_a_blinded_queue_has_an_order_that_tells_nothing(opened: Opened, made: MadeView, tmp_path: Path) -> None:
    path = tmp_path / "highest-queue.csv"
    queue = make_queue(QueueOptions(scores=made.scores, count=9, rule="highest:Mass", output=path))
    client = opened(reader="Lee", blinded=True, queue=path)
    shown = [int(row) for row in re.findall(r'id="film-(\d+)"', client.get("/?queue=100").text)]
    ordered = sorted(queue.films, key=lambda film: film.sha256)
    assert shown == [film.row for film in ordered]
    assert shown != [film.row for film in queue.films]
    for place in ("/", "/marks"):
        assert "highest" not in client.get(place).text
    for rule in ("highest", "uncertainty", "enriched", "disagreement", "useful"):
        data = {"rule": rule, "finding": "2", "count": "5", "seed": "0"}
        assert client.post("/queue", data=data, headers=ORIGIN).status_code == 409
    data = {"rule": "random", "finding": "0", "count": "5", "seed": "0"}
    assert client.post("/queue", data=data, headers=ORIGIN).status_code == 303


def test_pages_that_do_not_say_that_they_hide_scores_are_hidden(
    opened: Opened, made: MadeView, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Telling:
        @staticmethod
        def routes(viewer: Viewer) -> list[Route]:
            def tell(request: Request) -> PlainTextResponse:
                return PlainTextResponse(f"Mass {viewer.scores.prob[1, 1]:.3f}")

            return [Route("/telling", tell)]

    monkeypatch.setattr(app, "MODULES", (*app.MODULES, Telling()))
    assert opened().get("/telling").status_code == 200
    told = opened(blinded=True).get("/telling")
    assert told.status_code == 403
    assert TELLING.search(told.text) is None


def test_blinded_reading_needs_films(made: MadeView) -> None:
    with (
        pytest.raises(InputError, match="name the folder of the films with --films"),
        open_viewer(ViewOptions(scores=[made.scores], blinded=True)),
    ):
        pass
