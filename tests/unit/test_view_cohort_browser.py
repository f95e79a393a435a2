"""The cohort page in Chromium: the threshold moves, the tables follow, and a cell opens its films.

Skipped where Chromium or playwright is missing; axe-core is that of `make browser`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from made_view import MadeView, made_view
from view_tab import Tab, axe_faults, browsing, needs_axe, needs_chromium, new_context, serving

from cxrscore.metrics import Decisions, decisions
from cxrscore.scorefile import open_scores
from cxrscore.viewer.server import ViewOptions

pytestmark = [pytest.mark.slow, needs_chromium]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeView:
    made = made_view(tmp_path_factory.mktemp("cohort"), 210)
    made_view(made.scores.parent, 210, name="other.h5", shift=0.1)
    return made


@pytest.fixture(scope="module")
def address(made: MadeView) -> Iterator[str]:
    with serving(ViewOptions(scores=[made.scores, made.scores.parent / "other.h5"])) as found:
        yield found


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browsing() as browser:
        yield browser


def counted(made: MadeView, at: str) -> Decisions:
    """The films of the first finding that the model has not seen."""
    whole = open_scores(made.scores)
    unseen = ~np.isin(whole.films.split, (1, 2))
    return decisions(whole.truth[unseen, 0], whole.prob[unseen, 0], float(at))


def shown(page: Any) -> list[int]:
    """Positive, negative and unlabelled films above, then below the threshold of the table."""
    return [int(text) for text in page.locator("#confusion td a").all_inner_texts()]


def wait_for_counts(page: Any, at: str) -> None:
    page.wait_for_selector(f'#decisions[data-threshold="{at}"]')


def test_the_table_follows_the_threshold_and_a_cell_opens_its_films(
    chromium: Any, address: str, made: MadeView
) -> None:
    tab = Tab(chromium, address, viewport={"width": 1280, "height": 900})
    page = tab.page
    page.click("text=Cohort")
    page.click("#findings a >> nth=0")
    page.wait_for_selector("#slider:visible")
    assert page.locator("svg.plot").count() == 5
    before = shown(page)
    page.fill("#at", "0.62")
    wait_for_counts(page, "0.62")
    expected = counted(made, "0.62")
    assert shown(page)[:2] == [expected.tp, expected.fp]
    assert shown(page)[3:5] == [expected.fn, expected.tn]
    assert shown(page) != before
    assert "at=0.62" in page.url
    assert f"{expected.sensitivity.value:.3f}" in page.inner_text("#rates")

    place = float(page.get_attribute("#roc-now", "cx"))
    page.focus("#slider")
    for _ in range(40):
        page.keyboard.press("ArrowLeft")
    at = page.input_value("#at")
    assert 0.59 < float(at) < 0.62
    wait_for_counts(page, at)
    page.keyboard.press("Home")
    at = page.input_value("#at")
    wait_for_counts(page, at)
    assert shown(page)[3:] == [0, 0, 0]  # all films are at or above the smallest threshold
    assert float(page.get_attribute("#roc-now", "cx")) > place
    page.click("#stored")
    wait_for_counts(page, "0.5")
    expected = counted(made, "0.5")
    assert shown(page)[:2] == [expected.tp, expected.fp]

    page.reload()
    assert page.input_value("#at") == "0.5"
    page.click("#confusion td a >> nth=1")
    page.wait_for_selector("#films")
    assert page.inner_text(".found b") == str(expected.fp)
    assert page.locator("#films tbody tr").count() == expected.fp
    page.go_back()
    wait_for_counts(page, "0.5")
    differ = page.locator("#paired td a").nth(1)
    count = differ.inner_text()
    differ.click()
    page.wait_for_selector("#films")
    assert page.inner_text(".found b") == count
    tab.context.close()
    assert tab.faults == []


@needs_axe
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_axe_finds_no_fault_and_nothing_is_wider_than_the_page(
    chromium: Any, address: str, width: int, scheme: str
) -> None:
    options = {"viewport": {"width": width, "height": 844}, "color_scheme": scheme, "bypass_csp": True}
    tab = Tab(chromium, address, **options)
    base = address.partition("/?")[0]
    for place in ("/cohort", "/cohort/1", "/cohort/2?films=all&at=0.3"):
        tab.page.goto(base + place)
        tab.page.wait_for_load_state("networkidle")
        assert axe_faults(tab.page) == []
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
    tab.context.close()
    assert tab.faults == []


def test_the_threshold_moves_without_javascript(chromium: Any, address: str, made: MadeView) -> None:
    context = new_context(chromium, java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    page.goto(f"{address.partition('/?')[0]}/cohort/1")
    assert not page.is_visible("#slider")
    page.fill("#at", "0.62")
    page.click("#threshold button")
    page.wait_for_url(re.compile("at=0.62"))
    expected = counted(made, "0.62")
    assert shown(page)[:2] == [expected.tp, expected.fp]
    context.close()
