"""Marking films in Chromium: by keys, by drag, by two readers at once, blinded, and after the server was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import forked
import pytest
from made_view import MadeView, made_view
from view_tab import Tab, axe_faults, browsing, needs_axe, needs_chromium, new_context, serving

from cxrscore.marks import MarksFile
from cxrscore.viewer.server import ViewOptions

pytestmark = [pytest.mark.slow, needs_chromium]

SAVED = "() => document.querySelector('#marks-told').textContent.startsWith('Saved.')"
TRAIN = ["train", "films", "--backend", "torch", "--architecture", "tinycnn", "--weights", "none", "--size", "32"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeView:
    return made_view(tmp_path_factory.mktemp("mark"))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browsing() as browser:
        yield browser


@contextmanager
def running(made: MadeView, marks: Path, *more: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command in a process of its own, and the address that it prints."""
    command = [sys.executable, "-P", "-m", "cxrscore", "view", str(made.scores), "--films", str(made.films)]
    process = subprocess.Popen(
        [*command, "--marks", str(marks), "--no-browser", *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def open_film(tab: Tab, address: str, place: str) -> None:
    tab.page.goto(f"{address.partition('/?')[0]}{place}")
    tab.page.wait_for_selector("#canvas:not([hidden])")


def sign(tab: Tab, reader: str) -> None:
    tab.page.fill("#marks form.name input[name=name]", reader)
    tab.page.click("#marks form.name button")
    tab.page.wait_for_selector("#marks-form")
    tab.page.wait_for_selector("#canvas:not([hidden])")


def count(marks: Path) -> dict[str, int]:
    """Number of answers by reader."""
    found: dict[str, int] = {}
    with MarksFile(marks) as file:
        for one in file.marks():
            found[one.reader] = found.get(one.reader, 0) + len(one.marks)
    return found


def test_twenty_films_by_keys_a_kill_a_restart_and_a_model(chromium: Any, made: MadeView, tmp_path: Path) -> None:
    marks = tmp_path / "out.marks.sqlite"
    with running(made, marks, "--reader", "Lee") as (process, address):
        tab = Tab(chromium, address, viewport={"width": 1280, "height": 900})
        page = tab.page
        open_film(tab, address, f"/film/{made.there[0]}?status=1")
        for place, row in enumerate(made.there):
            page.wait_for_url(f"**/film/{row}?**")
            page.wait_for_selector(".finding.chosen")
            for key in ("1", "y" if place % 2 else "n", "ArrowDown", "n" if place % 3 else "y", "g"):
                page.keyboard.press(key)
        page.wait_for_url("**/film/24?**")
        assert "20 of 51" in page.inner_text(".who")
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        page.keyboard.press("y")
        page.wait_for_selector("#marks-fault:not([hidden])")
        assert page.inner_text("#marks-fault").startswith("Not saved: the server does not answer.")
        assert page.locator("#answer-1-1").is_checked() is False
        tab.context.close()
        assert [fault for fault in tab.faults if "ERR_CONNECTION_REFUSED" not in fault] == []
    assert count(marks) == {"Lee": 40}
    with running(made, marks, "--reader", "Lee") as (_, address):
        tab = Tab(chromium, address, accept_downloads=True)
        assert "20 of 60" in tab.page.inner_text(".who")
        open_film(tab, address, f"/film/{made.there[1]}")
        assert tab.page.locator("#answer-1-1").is_checked()
        tab.page.goto(f"{address.partition('/?')[0]}/marks")
        with tab.page.expect_download() as download:
            tab.page.click("text=Labels (CSV)")
        download.value.save_as(tmp_path / "labels.csv")
        tab.context.close()
        assert tab.faults == []
    (tmp_path / "films").symlink_to(made.films)
    own = {"CXRSCORE_OFFLINE": "1", "CXRSCORE_CACHE": str(tmp_path / "cache")}
    words = [*TRAIN, "--labels", "labels.csv", "--trainable", "all", "--epochs", "1", "--json"]
    done = forked.cxrscore(*words, cwd=tmp_path, env={**os.environ, **own})
    assert done.returncode == 0, done.stderr
    assert sum(json.loads(done.stdout)["films"].values()) == 20


def test_two_readers_at_once_lose_no_mark(chromium: Any, made: MadeView, tmp_path: Path) -> None:
    marks = tmp_path / "out.marks.sqlite"
    with serving(ViewOptions(scores=[made.scores], films=made.films, marks=marks)) as address:
        tabs = [Tab(chromium, address) for _ in "ab"]
        for tab, reader in zip(tabs, ("Lee", "Kim"), strict=True):
            open_film(tab, address, f"/film/{made.there[0]}")
            sign(tab, reader)
        for row in made.there[:4]:
            for tab in tabs:
                open_film(tab, address, f"/film/{row}")
            for _ in range(2):  # all keys before any answer of the server is waited for
                for tab in tabs:
                    for key in ("y", "ArrowDown", "n", "ArrowUp", "m", "ArrowDown", "x", "ArrowUp"):
                        tab.page.keyboard.press(key)
            for tab in tabs:
                tab.page.wait_for_function(SAVED)
                assert tab.page.locator("#answer-1-3").is_checked()
                assert tab.page.locator("#answer-2-4").is_checked()
        for tab in tabs:
            tab.context.close()
            assert tab.faults == []
    assert count(marks) == {"Lee": 8, "Kim": 8}
    with MarksFile(marks) as file:
        assert len([event for event in file.events() if event.kind.value == "answer"]) == 2 * 4 * 2 * 4


def test_a_box_is_in_pixels_of_the_film_however_it_is_shown(chromium: Any, made: MadeView, tmp_path: Path) -> None:
    marks = tmp_path / "out.marks.sqlite"
    with serving(ViewOptions(scores=[made.scores], films=made.films, marks=marks, reader="Lee")) as address:
        tab = Tab(chromium, address, viewport={"width": 1280, "height": 900})
        page = tab.page
        open_film(tab, address, f"/film/{made.there[0]}?mark=2")
        page.keyboard.press("b")
        canvas = page.locator("#canvas").bounding_box()
        middle = [canvas["x"] + canvas["width"] / 2, canvas["y"] + canvas["height"] / 2]
        # The film of 64 x 48 pixels fits the canvas; its pixel (32, 24) is in the middle.
        fit = min(canvas["width"] / 64, canvas["height"] / 48)

        def drag(*places: tuple[float, float]) -> None:
            page.mouse.move(*places[0])
            page.mouse.down()
            page.mouse.move(*places[1], steps=3)
            page.mouse.up()

        def told(number: int) -> str:
            page.wait_for_selector(f".boxes li:nth-child({number})")
            return str(page.inner_text(f".boxes li:nth-child({number}) .number"))

        # 8 pixels left of the middle and 4 above, to 12 right and 16 below.
        drag((middle[0] - 8 * fit, middle[1] - 4 * fit), (middle[0] + 12 * fit, middle[1] + 16 * fit))
        assert told(1) == "20 × 20 at 24, 20"
        # Twice as large around the middle, and moved by 4 film pixels to the left: the middle shows pixel (36, 24).
        for _ in range(4):
            page.keyboard.press("+")
        scale = 1.25**4 * fit
        page.keyboard.down("Shift")
        drag((middle[0], middle[1]), (middle[0] - 4 * scale, middle[1]))
        page.keyboard.up("Shift")
        drag((middle[0] + 4 * scale, middle[1] + 6 * scale), (middle[0] - 2 * scale, middle[1] - 1 * scale))
        assert told(2) == "6 × 7 at 34, 23"
        # Beyond the edges of the film.
        page.keyboard.press("r")
        drag((middle[0] - 31 * fit, middle[1]), (canvas["x"] + 1, canvas["y"] + canvas["height"] - 1))
        assert told(3) == "1 × 24 at 0, 24"
        drag((middle[0], middle[1]), (middle[0] + 1, middle[1] + 1))  # a click is no box
        page.click(".boxes li:nth-child(2) button")
        page.wait_for_selector(".boxes li:nth-child(3)", state="detached")
        page.keyboard.press("z")
        page.wait_for_selector(".boxes li:nth-child(3)")
        tab.context.close()
        assert tab.faults == []
    with MarksFile(marks) as file:
        (own,) = file.marks()
    assert [(box.finding, box.x, box.y, box.width, box.height) for box in own.boxes] == [
        ("Mass", 24, 20, 20, 20),
        ("Mass", 34, 23, 6, 7),
        ("Mass", 0, 24, 1, 24),
    ]


def test_a_blinded_browser_gets_no_scores_before_the_mark(chromium: Any, made: MadeView, tmp_path: Path) -> None:
    options = ViewOptions(
        scores=[made.scores], films=made.films, marks=tmp_path / "a.marks.sqlite", reader="Lee", blinded=True
    )
    with serving(options) as address:
        tab = Tab(chromium, address)
        bodies: list[str] = []
        tab.page.on("response", lambda answer: _keep(answer, bodies))
        open_film(tab, address, f"/film/{made.there[1]}?sort=probability&finding=1&map=1")
        for key in ("1", "y", "2", "n", "c"):
            tab.page.keyboard.press(key)
        tab.page.keyboard.type("v y n <b>")  # keys in a comment are text
        tab.page.keyboard.press("Escape")
        tab.page.wait_for_function(SAVED)
        tab.page.wait_for_function("() => document.querySelector('#comment').defaultValue === 'v y n <b>'")
        text = "\n".join(bodies)
        assert "Marks" in text
        for word in ("Probability", "Threshold", "positive", "negative", "map-words", "data:image"):
            assert word not in text
        tab.page.keyboard.press("v")
        tab.page.wait_for_selector("#findings-title")
        tab.page.wait_for_selector("#maps:not([hidden])")
        tab.context.close()
        assert tab.faults == []


def _keep(answer: Any, bodies: list[str]) -> None:
    if answer.request.resource_type in ("document", "fetch") and answer.ok:
        bodies.append(answer.body().decode("latin-1"))


@needs_axe
@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (390, "light")])
def test_axe_finds_no_fault_on_pages_with_marks(
    chromium: Any, made: MadeView, tmp_path: Path, width: int, scheme: str
) -> None:
    first, second = made.there[:2]
    with serving(ViewOptions(scores=[made.scores], films=made.films, marks=tmp_path / "a.marks.sqlite")) as address:
        tabs = [
            Tab(chromium, address, viewport={"width": width, "height": 844}, color_scheme=scheme, bypass_csp=True)
            for _ in "ab"
        ]
        for tab, reader in zip(tabs, ("Dr Lee", "W" * 80), strict=True):
            open_film(tab, address, f"/film/{first}")
            sign(tab, reader)
            for key in ("y", "ArrowDown", "m"):
                tab.page.keyboard.press(key)
            tab.page.fill("#comment", "long" * 60)
            tab.page.click("#marks-form button:not(.first)")
            tab.page.wait_for_function("() => document.querySelector('#comment').defaultValue.length === 240")
        page = tabs[0].page
        base = address.partition("/?")[0]
        tabs[0].page.request.post(f"{base}/queue", form={"rule": "random", "finding": "0", "count": "9", "seed": "0"})

        def check() -> None:
            page.wait_for_load_state("networkidle")
            assert axe_faults(page) == []
            assert page.evaluate("document.documentElement.scrollWidth") <= width

        for place in ("/?marks=marked", "/marks", "/film/7"):
            page.goto(base + place)
            check()
        page.goto(f"{base}/film/{first}")
        page.wait_for_selector("#canvas:not([hidden])")
        for details in page.locator("#marks summary").all():
            details.click()
        page.keyboard.press("?")
        page.wait_for_selector("dialog[open]")
        check()
        page.click("#keys-close")
        page.click("text=Read blinded")
        page.wait_for_selector("text=End blinded reading", state="attached")
        for place in ("/", f"/film/{second}", "/marks"):
            page.goto(base + place)
            check()
        for tab in tabs:
            tab.context.close()


def test_films_are_marked_without_javascript(chromium: Any, made: MadeView, tmp_path: Path) -> None:
    marks = tmp_path / "out.marks.sqlite"
    with serving(ViewOptions(scores=[made.scores], films=made.films, marks=marks)) as address:
        context = new_context(chromium, java_script_enabled=False)
        page = context.new_page()
        page.goto(address)
        page.wait_for_selector("#films")
        page.goto(f"{address.partition('/?')[0]}/film/{made.there[0]}")
        page.fill("#marks form.name input[name=name]", "Lee")
        page.click("#marks form.name button")
        page.wait_for_selector("#marks-form")
        page.check("#answer-1-1")
        page.check("#answer-3-2")
        page.fill("#comment", "two\nlines")
        page.click("#marks-form button:not(.first)")
        page.wait_for_selector(".who >> text=1 of 60")
        assert page.locator("#answer-3-2").is_checked()
        assert page.input_value("#comment") == "two\nlines"
        page.click("text=Undo")
        page.wait_for_selector("#marks-form")
        assert page.input_value("#comment") == ""
        page.click("#next-unmarked")
        page.wait_for_url(f"**/film/{made.there[1]}?**")
        context.close()
    assert count(marks) == {"Lee": 2}


def test_a_key_between_two_films_marks_neither(chromium: Any, made: MadeView, tmp_path: Path) -> None:
    marks = tmp_path / "out.marks.sqlite"
    first, second = made.there[:2]
    with serving(ViewOptions(scores=[made.scores], films=made.films, marks=marks, reader="Lee")) as address:
        tab = Tab(chromium, address)
        page = tab.page
        open_film(tab, address, f"/film/{first}?map=2&opacity=40")
        held: list[Any] = []
        page.route(f"**/film/{second}?*", lambda route: held.append(route))
        with page.expect_request(f"**/film/{second}?*"):
            page.keyboard.press("j")
        page.keyboard.press("y")  # the first film is still there
        page.keyboard.press("2")
        page.keyboard.press("n")
        held[0].continue_()
        page.wait_for_url(f"**/film/{second}?map=2&opacity=40")
        page.wait_for_selector(".finding.chosen")
        page.keyboard.press("m")
        page.wait_for_function(SAVED)
        tab.context.close()
        assert tab.faults == []
    with MarksFile(marks) as file:
        ((path, answer),) = [(file.films()[one.sha256].path, one.marks) for one in file.marks()]
    assert path == made.paths[second]
    assert [mark.answer.value for mark in answer.values()] == ["unsure"]


def test_a_film_that_is_passed_before_it_is_there_keeps_the_map(chromium: Any, made: MadeView) -> None:
    with serving(ViewOptions(scores=[made.scores], films=made.films)) as address:
        tab = Tab(chromium, address)
        page = tab.page
        page.route("**/pixels", lambda route: None)  # a film that is not decoded yet
        page.goto(f"{address.partition('/?')[0]}/film/{made.there[0]}?map=2&opacity=40")
        page.wait_for_load_state("domcontentloaded")
        page.keyboard.press("j")
        page.wait_for_url(f"**/film/{made.there[1]}?map=2&opacity=40")
        tab.context.close()
