"""`cxrscore view` in Chromium: open, sort, filter, look at a film, drag its window, slide its heat map.

Skipped where Chromium or playwright is missing; axe-core is that of `make browser`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from made_view import SIDE, MadeView, film_pixels, made_view
from view_tab import Tab, axe_faults, browsing, needs_axe, needs_chromium, new_context, serving, wait_for

from cxrscore.viewer import server

pytestmark = [pytest.mark.slow, needs_chromium]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeView:
    made = made_view(tmp_path_factory.mktemp("browse"), 120)
    made_view(made.scores.parent, 120, name="other.h5", shift=0.1)
    return made


@pytest.fixture(scope="module")
def address(made: MadeView) -> Iterator[str]:
    options = server.ViewOptions(scores=[made.scores, made.scores.parent / "other.h5"], films=made.films)
    with serving(options) as found:
        yield found


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browsing() as browser:
        yield browser


@pytest.fixture
def tab(chromium: Any, address: str) -> Iterator[Tab]:
    found = Tab(chromium, address, viewport={"width": 1280, "height": 900})
    yield found
    found.context.close()
    assert found.faults == []


def grey(page: Any, x: float = 0.5, y: float = 0.5) -> list[int]:
    """Red, green and blue of the canvas at these parts of its sides."""
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    script = """([x, y]) => { const c = document.getElementById('canvas');
        return [...c.getContext('2d').getImageData(x * c.width, y * c.height, 1, 1).data].slice(0, 3); }"""
    return list(page.evaluate(script, [x, y]))


def open_film(tab: Tab, address: str, row: int, query: str = "") -> None:
    tab.page.goto(f"{address.partition('/?')[0]}/film/{row}{query}")
    tab.page.wait_for_selector("#canvas:not([hidden])")


def test_sort_filter_open_and_go_on_by_keys(tab: Tab, made: MadeView) -> None:
    page = tab.page
    assert "token" not in page.url
    page.keyboard.press("3")
    page.wait_for_url("**finding=3&sort=probability")
    page.select_option("select[name=status]", "1")
    page.wait_for_url("**status=1")
    assert "sort=probability" in page.url
    values = [float(text) for text in page.locator("#films tbody tr td:nth-of-type(1) span").all_inner_texts()]
    assert values == sorted(values, reverse=True)
    page.keyboard.press("j")
    page.keyboard.press("j")
    second = page.locator("#films a.film").nth(1)
    assert page.evaluate("document.activeElement.getAttribute('href')") == second.get_attribute("href")
    name = second.locator(".path").inner_text()
    page.keyboard.press("Enter")
    wait_for(page, "h1 .path")
    assert page.inner_text("h1") == name
    page.keyboard.press("k")
    page.wait_for_function("() => document.querySelector('.pages span').textContent.startsWith('1 of')")
    page.wait_for_load_state("domcontentloaded")
    page.keyboard.press("u")
    page.wait_for_selector("#films")
    assert "finding=3" in page.url


def test_a_search_shows_its_films(tab: Tab) -> None:
    tab.page.fill("input[name=text]", "<script>")
    tab.page.click(".search button")
    tab.page.wait_for_url("**search=*")
    assert "script" not in tab.page.url
    assert tab.page.locator("#films tbody tr").count() == 1


def test_the_window_follows_a_drag_and_reset_undoes_it(tab: Tab, address: str, made: MadeView) -> None:
    row = made.there[0]
    open_film(tab, address, row)
    middle = film_pixels(row)[SIDE[0] // 2, SIDE[1] // 2] / (65535 if row % 2 == 0 else 255)
    before = grey(tab.page)
    assert abs(before[0] - 255 * middle) < 8
    assert before[0] == before[1] == before[2]
    box = tab.page.locator("#canvas").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.page.mouse.move(x, y)
    tab.page.mouse.down()
    tab.page.mouse.move(x, y + box["height"] / 4, steps=3)  # the level rises by a quarter
    tab.page.mouse.up()
    assert tab.page.inner_text("#window") == "level 75 %, width 100 %"
    assert abs(grey(tab.page)[0] - max(255 * (middle - 0.25), 0)) < 8
    tab.page.keyboard.press("i")
    assert abs(grey(tab.page)[0] - (255 - max(255 * (middle - 0.25), 0))) < 8
    tab.page.keyboard.press("r")
    assert grey(tab.page) == before
    tab.page.mouse.wheel(0, -500)
    assert tab.page.inner_text("#window") == "level 50 %, width 100 %"


def test_the_heat_map_slides_from_nothing_to_full_colour(tab: Tab, address: str, made: MadeView) -> None:
    row = made.there[1]
    open_film(tab, address, row)
    script = """() => { const c = document.getElementById('canvas');
        const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let sum = 0;
        for (let i = 0; i < d.length; i += 4) sum += Math.abs(d[i] - d[i + 2]); return sum; }"""

    def colour() -> int:
        grey(tab.page)
        return int(tab.page.evaluate(script))

    assert colour() == 0
    tab.page.keyboard.press("3")
    tab.page.wait_for_selector("#scale:not([hidden])")
    assert "of the strongest map of Hernia in the file" in tab.page.inner_text("#map-words")
    found = []
    for value in ("0", "50", "100"):
        tab.page.locator("#opacity").fill(value)
        found.append(colour())
    assert found[0] == 0
    assert 0 < found[1] < found[2]
    assert "map=3" in tab.page.url
    assert "opacity=100" in tab.page.url
    assert "map=3" in tab.page.locator("a[rel=next]").get_attribute("href")
    tab.page.keyboard.press("2")
    assert "no map of finding 2" in tab.page.inner_text("#map-words")
    tab.page.keyboard.press("0")
    assert colour() == 0


@needs_axe
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_axe_finds_no_fault_and_nothing_is_wider_than_the_page(
    chromium: Any, address: str, made: MadeView, width: int, scheme: str
) -> None:
    options = {"viewport": {"width": width, "height": 844}, "color_scheme": scheme, "bypass_csp": True}
    tab = Tab(chromium, address, **options)
    base = address.partition("/?")[0]
    for place in ("/", f"/film/{made.there[1]}?map=3", "/film/7", "/?sort=disagreement&finding=1"):
        tab.page.goto(base + place)
        tab.page.wait_for_load_state("networkidle")
        assert axe_faults(tab.page) == []
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
    tab.context.close()


def test_the_basics_work_without_javascript(chromium: Any, address: str, made: MadeView) -> None:
    context = new_context(chromium, java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector("#films")
    page.select_option("select[name=sort]", "probability")
    page.click("#filters button")
    page.wait_for_url("**sort=probability**")
    page.goto(f"{address.partition('/?')[0]}/film/{made.there[0]}")
    picture = page.wait_for_selector("noscript img, .stage img")
    assert picture.get_attribute("src") == f"/film/{made.there[0]}/picture"
    context.close()


def test_wheel_and_fingers_keep_the_place_below_them(chromium: Any, address: str, made: MadeView) -> None:
    tab = Tab(chromium, address, has_touch=True)
    page = tab.page
    page.add_init_script("document.addEventListener('film', (event) => { window.shown = event.detail; });")
    page.goto(f"{address.partition('/?')[0]}/film/{made.there[0]}")
    page.wait_for_selector("#canvas:not([hidden])")
    box = page.locator("#canvas").bounding_box()
    x, y = box["width"] * 0.3, box["height"] * 0.6
    below = f"() => {{ shown.drawNow(); return [shown.placeOn({x}, {y}), shown.zoom]; }}"
    before, _ = page.evaluate(below)
    page.mouse.move(box["x"] + x, box["y"] + y)
    page.mouse.wheel(0, -300)
    page.wait_for_function("() => shown.zoom > 1.5")
    after, zoom = page.evaluate(below)
    assert after == pytest.approx(before, abs=0.01)
    touch = page.context.new_cdp_session(page)
    for kind, apart in (("touchStart", 40), ("touchMove", 60), ("touchMove", 80), ("touchEnd", None)):
        at = [box["x"] + x, box["y"] + y]
        fingers = [{"x": at[0] + side * apart, "y": at[1], "id": side + 1} for side in (-1, 1)] if apart else []
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})
    page.wait_for_function(f"() => shown.zoom > {zoom} * 1.5")
    after, _ = page.evaluate(below)
    assert after == pytest.approx(before, abs=0.1)
    page.mouse.down(button="right")
    page.mouse.move(box["x"] + x + 50, box["y"] + y + 50)
    assert page.inner_text("#window") == "level 50 %, width 100 %"
    tab.context.close()
    assert tab.faults == []


def test_the_film_stays_in_sight_beside_a_long_table(chromium: Any, address: str, made: MadeView) -> None:
    tab = Tab(chromium, address, viewport={"width": 1280, "height": 900})
    open_film(tab, address, made.there[0])
    tab.page.evaluate("() => { document.querySelector('.facts').style.minHeight = '300vh'; scrollTo(0, 700); }")
    tab.page.wait_for_function("() => scrollY === 700")
    assert 0 <= tab.page.locator("#canvas").bounding_box()["y"] <= 20
    tab.context.close()
