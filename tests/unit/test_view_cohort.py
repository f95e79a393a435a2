"""The cohort page of `cxrscore view`: its numbers are those of the report, of scikit-learn, and counted by hand, and
each cell of its tables leads to as many films as it says."""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from made_run import FINDINGS, GIVEN, made_shard, merge
from made_view import MadeView, made_view
from sklearn.metrics import average_precision_score, brier_score_loss, confusion_matrix, roc_auc_score

pytest.importorskip("starlette")
pytest.importorskip("httpx2")

from starlette.testclient import TestClient

from cxrscore.metrics import Decisions
from cxrscore.reporting.compare import compare
from cxrscore.reporting.load_scores import NamedScores
from cxrscore.reporting.summary import summarise
from cxrscore.scorefile import Shard, open_run, open_scores
from cxrscore.scorefile.by_row import open_by_row
from cxrscore.viewer import cohort_plots
from cxrscore.viewer.app import create_app
from cxrscore.viewer.cohort_numbers import CohortNumbers
from cxrscore.viewer.film_index import FilmIndex
from cxrscore.viewer.list_state import ListState, StateError, threshold_text
from cxrscore.viewer.security import Access
from cxrscore.viewer.server import ViewOptions, open_viewer

HOST = "127.0.0.1:8123"
FILMS = 210
SEEN = (1, 2)
NAN = math.nan


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeView:
    """Two files of the same films; the models have seen half of them."""
    folder = tmp_path_factory.mktemp("cohort")
    made_noisy(folder / "other.h5")
    return made_view(folder, FILMS)


def made_noisy(path: Path) -> Path:
    """The same films with other scores."""
    paths = made_view(path.parent / "same", FILMS).paths
    run = open_run(path, list(paths), FINDINGS, GIVEN)
    for shard, rows in enumerate(run.shards):
        shown = made_shard(rows)
        noise = np.random.default_rng(5).normal(size=(FILMS, len(FINDINGS)))[rows.start : rows.stop]
        logit = (shown.logit + noise).astype(np.float32)
        run.write(shard, replace(shown, logit=logit, prob=(1 / (1 + np.exp(-logit))).astype(np.float32)))
    return merge(run)


@contextmanager
def opened(paths: Sequence[Path]) -> Iterator[TestClient]:
    """A browser that has exchanged the token."""
    with open_viewer(ViewOptions(scores=paths)) as viewer:
        access = Access(hosts=[HOST])
        found = TestClient(create_app(viewer, access), base_url=f"http://{HOST}", follow_redirects=False)
        assert found.get(f"/?token={access.token}").status_code == 200
        yield found


@pytest.fixture(scope="module")
def client(made: MadeView) -> Iterator[TestClient]:
    with opened([made.scores, made.scores.parent / "other.h5"]) as found:
        yield found


@pytest.fixture(scope="module")
def numbers(made: MadeView) -> Iterator[CohortNumbers]:
    with open_by_row(made.scores) as first, open_by_row(made.scores.parent / "other.h5") as second:
        yield CohortNumbers([first, second], ["out.h5", "other.h5"], FilmIndex([first, second]))


def cells(page: str, table: str) -> list[tuple[int, str]]:
    """Number and address of each cell of a table that leads to films."""
    found = re.search(rf'<table[^>]* id="{table}">(.*?)</table>', page, re.DOTALL)
    assert found
    links = re.findall(r'<td class="n"><a href="([^"]+)">([\d,]+)</a>', found[1])
    return [(int(count.replace(",", "")), html.unescape(address)) for address, count in links]


# --- Counted by hand


def small(**changed: object) -> CohortNumbers:
    """Eight films of one finding: four probabilities are the threshold itself, one film has no score, one no label."""
    own = {
        "findings": ("Mass",),
        "prob": np.array([0.1, 0.3, 0.3, 0.3, 0.7, 0.9, NAN, 0.3], np.float32)[:, None],
        "truth": np.array([0, 0, 1, 1, 1, 0, 1, NAN], np.float32)[:, None],
        "thresholds": np.array([0.3], np.float32),
        "status": np.array([1, 1, 1, 1, 1, 1, 4, 1], np.uint8),
        "split": np.array([0, 0, 0, 0, 3, 1, 0, 0], np.uint8),
        "patient": np.arange(8, dtype=np.int32),
        "provenance": {},
        "logits": lambda: np.zeros((8, 1), np.float32),
        **changed,
    }
    scores = SimpleNamespace(**own)
    index = SimpleNamespace(others=[], unseen=lambda other=0: ~np.isin(scores.split, SEEN))
    return CohortNumbers([scores], ["a.h5"], index)  # type: ignore[list-item, arg-type]


def test_a_probability_that_is_the_threshold_counts_as_at_or_above() -> None:
    at = np.float32(threshold_text(0.3))
    # Of the labelled films 0 to 5 the positive ones have 0.3, 0.3 and 0.7, the negative ones 0.1, 0.3 and 0.9.
    assert small().decisions(0, at, everything=True) == Decisions(tp=3, fp=2, fn=0, tn=1)
    # The model has seen film 5, with 0.9.
    assert small().decisions(0, at, everything=False) == Decisions(tp=3, fp=1, fn=0, tn=1)
    above = np.nextafter(at, np.float32(1))
    assert small().decisions(0, above, everything=True) == Decisions(tp=1, fp=1, fn=2, tn=2)
    sides = small().sides(0, at, everything=True)
    assert dict(sides.above) == {"positive": 3, "negative": 2, "unknown": 1, "": 6}
    assert dict(sides.below) == {"positive": 0, "negative": 1, "unknown": 0, "": 1}
    made = small().decisions(0, at, everything=True)
    assert (made.sensitivity.value, made.specificity.value) == (1, 1 / 3)
    assert (made.ppv.value, made.npv.value) == (3 / 5, 1)


def test_the_rows_of_the_list_are_those_of_the_count() -> None:
    scores = small().scores
    scores.path, scores.codes = ["x"] * 8, {}  # type: ignore[assignment]

    class Rows(SimpleNamespace):
        def __len__(self) -> int:
            return 8

    index = FilmIndex([Rows(**vars(scores))])  # type: ignore[list-item]
    state = ListState(finding=1, side="above", label="positive", at="0.3", status=1)
    assert index.rows(state).tolist() == [2, 3, 4]
    assert index.rows(replace(state, label="negative")).tolist() == [1, 5]
    assert index.rows(replace(state, label="negative", split=-2)).tolist() == [1]
    assert index.rows(replace(state, label="", side="below")).tolist() == [0]
    assert index.rows(replace(state, at="0.30000004")).tolist() == [4]


@pytest.mark.parametrize(
    ("text", "kept"), [("", ""), (".5", "0.5"), ("1", "1"), ("0.50", "0.5"), ("1e-3", "0.001"), ("0.3", "0.3")]
)
def test_thresholds_in_addresses_are_kept_in_one_form(text: str, kept: str) -> None:
    assert ListState.parse({"at": text}, 3).at == kept


@pytest.mark.parametrize("text", ["1.1", "-0.1", "nan", "inf", ".", "e", "1e99", "0x1", "٠.٥", "0." + "1" * 99, "0 "])
def test_other_thresholds_are_refused(text: str) -> None:
    with pytest.raises(StateError, match="at, expected a number from 0 to 1"):
        ListState.parse({"at": text}, 3)


def test_a_threshold_as_text_is_the_same_number() -> None:
    values = np.random.default_rng(2).random(2000).astype(np.float32) ** 6
    assert all(np.float32(threshold_text(float(value))) == value for value in values)


# --- Against the report and scikit-learn


def same(found: object, expected: object) -> bool:
    """Whether two results are equal, undefined values too."""
    with np.printoptions(threshold=10**9, floatmode="unique"):
        return repr(found) == repr(expected)


def test_the_numbers_are_those_of_the_report(numbers: CohortNumbers, made: MadeView) -> None:
    summary = summarise(open_scores(made.scores))
    assert len(summary.assessed.rows) == len(numbers.films(everything=False).rows)
    for column, expected in enumerate(summary.findings):
        assert same(numbers.result(column, everything=False), expected)


@pytest.mark.parametrize("everything", [False, True])
def test_areas_and_counts_are_those_of_scikit_learn(numbers: CohortNumbers, made: MadeView, everything: bool) -> None:
    whole = open_scores(made.scores)
    for column in range(len(FINDINGS)):
        used = np.isfinite(whole.truth[:, column]) & np.isfinite(whole.prob[:, column])
        if not everything:
            used &= ~np.isin(whole.films.split, SEEN)
        truth, prob = whole.truth[used, column], whole.prob[used, column].astype(np.float64)
        found = numbers.result(column, everything=everything)
        assert found.auc == pytest.approx(roc_auc_score(truth, prob))
        assert found.average_precision == pytest.approx(average_precision_score(truth, prob))
        assert found.brier == pytest.approx(brier_score_loss(truth, prob))
        for at in (0.2, 0.5, float(np.sort(prob)[len(prob) // 2])):  # the last is the probability of a film
            counted = numbers.decisions(column, np.float32(at), everything=everything)
            expected = confusion_matrix(truth, prob >= at).ravel().tolist()
            assert [counted.tn, counted.fp, counted.fn, counted.tp] == expected


@pytest.mark.parametrize("everything", [False, True])
def test_differences_are_those_of_the_report(numbers: CohortNumbers, made: MadeView, everything: bool) -> None:
    paths = (made.scores, made.scores.parent / "other.h5")
    whole = [open_scores(path) for path in paths]
    if everything:
        whole = [replace(one, films=replace(one.films, split=np.zeros(FILMS, np.uint8))) for one in whole]
    expected = compare([NamedScores(name=path.name, scores=one) for path, one in zip(paths, whole, strict=True)])
    assert expected
    found = numbers.comparison(1, everything=everything)
    assert same(found, expected.others[0])


# --- Pages


@pytest.mark.parametrize("query", ["", "?at=0.41&films=all", "?at=0&other_at=1", "?at=1"])
@pytest.mark.parametrize("table", ["confusion", "paired"])
def test_each_cell_leads_to_as_many_films_as_it_says(client: TestClient, query: str, table: str) -> None:
    for number in (1, 3):
        page = client.get(f"/cohort/{number}{query}").text
        found = cells(page, table)
        assert len(found) == {"confusion": 6, "paired": 12}[table]
        assert sum(count for count, _ in found) > 50
        for count, address in found:
            listed = client.get(address)
            assert listed.status_code == 200
            assert f"<b>{count:,}</b> of {FILMS} films" in listed.text, address


def test_the_part_that_follows_the_threshold_is_that_of_the_page(client: TestClient) -> None:
    page, part = (client.get(f"/cohort/1{place}?at=0.37&films=all").text for place in ("", "/decisions"))
    assert part.count("<div id=") == 2
    for name in ("confusion", "paired"):
        assert cells(page, name) == cells(part, name)
    marks = json.loads(html.unescape(re.search(r'data-marks="([^"]+)"', part)[1]))  # type: ignore[index]
    for name, values in marks.items():
        drawn = re.search(rf'<(?:circle|line) id="{name}" class="now" ([^/]*)/>', page)
        assert drawn
        assert {
            key: float(value) for key, value in re.findall(r'(\w+)="([-\d.]+)"', drawn[1])
        }.items() >= values.items()
    assert {"roc-now", "precision-recall-now", "reliability-now", "distribution-now"} < marks.keys()


def test_the_mark_on_the_roc_curve_is_at_the_rates_of_the_table(client: TestClient, numbers: CohortNumbers) -> None:
    found = numbers.decisions(0, np.float32(0.37), everything=False)
    part = client.get("/cohort/1/decisions?at=0.37").text
    mark = json.loads(html.unescape(re.search(r'data-marks="([^"]+)"', part)[1]))["roc-now"]  # type: ignore[index]
    width = cohort_plots.WIDTH - cohort_plots.LEFT - cohort_plots.RIGHT
    assert mark["cx"] == pytest.approx(cohort_plots.LEFT + width * (1 - found.specificity.value), abs=0.06)
    high = cohort_plots.HEIGHT - cohort_plots.BOTTOM
    assert mark["cy"] == pytest.approx(high - (high - cohort_plots.TOP) * found.sensitivity.value, abs=0.06)


def test_a_form_without_script_moves_the_threshold(client: TestClient) -> None:
    page = client.get("/cohort/1?at=0.9&other_at=0.5&at=0.2").text  # the button of the stored threshold comes last
    assert 'id="at" min="0" max="1" step="any" value="0.2"' in page
    assert "at or above 0.2<" in page


def test_all_findings_have_a_line(client: TestClient, numbers: CohortNumbers) -> None:
    page = client.get("/cohort").text
    for column, finding in enumerate(FINDINGS):
        result = numbers.result(column, everything=False)
        line = re.search(rf'<a href="/cohort/{column + 1}">{finding}</a></th>(.*?)</tr>', page, re.DOTALL)
        assert line
        assert f"{result.auc:.3f}<small>{result.interval[0]:.2f}–{result.interval[1]:.2f}" in line[1]
        assert f'<td class="n">{result.positives}</td><td class="n">{result.negatives}</td>' in line[1]
    assert "labelled films that the model has not seen" in page
    assert "also" in client.get("/cohort?films=all").text


@pytest.mark.parametrize("query", ["at=2", "films=some", "other=2", "other=x", "other_at=-1"])
def test_addresses_that_no_page_makes_are_refused(client: TestClient, query: str) -> None:
    for place in ("/cohort/1", "/cohort/1/decisions", "/cohort"):
        assert client.get(f"{place}?{query}").status_code == 400
    assert client.get("/?other=2").status_code == 400


def test_there_are_only_pages_of_findings(client: TestClient) -> None:
    assert [client.get(f"/cohort/{number}").status_code for number in (0, 1, 3, 4)] == [404, 200, 200, 404]


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A file with labels of four positive patients of the first finding, and none of the others."""
    run = open_run(tmp_path_factory.mktemp("few") / "few.h5", [f"{row:03}.png" for row in range(100)], FINDINGS, GIVEN)
    for shard, rows in enumerate(run.shards):
        run.write(shard, made_shard(rows))
    truth = np.full((100, 3), np.nan, np.float32)
    truth[:, 0] = [row in (1, 2, 3, 4) for row in range(100)]
    path = merge(run, truth=truth, split=np.zeros(100, np.uint8), patient=np.arange(100, dtype=np.int32))
    with opened([path]) as found:
        yield found


def test_with_four_patients_of_a_class_there_is_no_curve_and_no_interval(few: TestClient) -> None:
    page = few.get("/cohort/1").text
    assert (
        "No curves and no interval of the AUC, because a class has fewer than 5 patients: 4 with positive films" in page
    )
    assert "no interval" in page
    assert page.count("<svg") == 1
    assert 'id="distribution"' in page
    assert len(cells(page, "confusion")) == 6


def test_a_finding_without_labels_has_no_curve(few: TestClient) -> None:
    page = few.get("/cohort/2").text
    assert page.count("<svg") == 1
    assert [count for count, _ in cells(page, "confusion")][2] + [count for count, _ in cells(page, "confusion")][
        5
    ] == 85


def test_without_labels_the_page_says_so_and_counts_films(tmp_path: Path) -> None:
    run = open_run(tmp_path / "none.h5", [f"{row:03}.png" for row in range(40)], FINDINGS, GIVEN)
    for shard, rows in enumerate(run.shards):
        run.write(shard, made_shard(rows))
    path = merge(run, truth=np.full((40, 3), np.nan, np.float32))
    whole = open_scores(path)
    with opened([path]) as client:
        page = client.get("/cohort/1?at=0.4").text
        assert "The scores file has no labels" in page
        counted = [int(np.nansum(whole.prob[:, 0] >= 0.4)), int(np.nansum(whole.prob[:, 0] < 0.4))]
        assert [count for count, _ in cells(page, "confusion")] == counted
        for count, address in cells(page, "confusion"):
            assert f"<b>{count}</b> of 40 films" in client.get(address).text
        overview = client.get("/cohort").text
        assert "AUC" not in overview
        assert "Effusion" in overview


def failed(shard: Shard) -> Shard:
    """No film could be scored."""
    nothing = np.full_like(shard.prob, np.nan)
    return replace(shard, prob=nothing, logit=nothing, status=np.full_like(shard.status, 4))


def moved(shard: Shard) -> Shard:
    """Other films."""
    return replace(shard, sha256=["f" * 64 if digest else "" for digest in shard.sha256])


def written(path: Path, change: Callable[[Shard], Shard] = lambda shard: shard, name: str = "", **own: Any) -> Path:
    run = open_run(path, [f"{name}{row:03}.png" for row in range(60)], FINDINGS, GIVEN)
    for shard, rows in enumerate(run.shards):
        run.write(shard, change(made_shard(rows)))
    return merge(run, **own)


SECOND: dict[str, tuple[dict[str, Any], str]] = {
    "other films": ({"change": moved, "name": "x"}, "No labelled film was scored in both files and is new to both"),
    "other labels": ({"truth": np.ones((60, 3), np.float32)}, "The files differ in 31 labels of the same films"),
    "seen by the other": ({"split": np.ones(60, np.uint8)}, "No labelled film was scored in both files and is new"),
    "failed": ({"change": failed}, "No labelled film was scored in both files"),
}


@pytest.mark.parametrize("case", SECOND)
def test_files_that_cannot_be_compared_say_why(tmp_path: Path, case: str) -> None:
    given, why = SECOND[case]
    paths = [written(tmp_path / "a.h5"), written(tmp_path / "b.h5", **given)]
    with opened(paths) as client:
        for place in ("/cohort", "/cohort/1"):
            page = client.get(place).text
            assert why in page
            assert "Difference" not in page or "–" in page
        assert all(count == 0 for count, _ in cells(client.get("/cohort/1").text, "paired")) is (case != "other labels")


def test_a_file_without_scored_films_says_so(tmp_path: Path) -> None:
    with opened([written(tmp_path / "a.h5", failed)]) as client:
        for place in ("/cohort", "/cohort/1"):
            assert "No film could be scored" in client.get(place).text


# --- Plots


def test_many_films_are_drawn_as_cells() -> None:
    random = np.random.default_rng(0)
    first, other = (random.random(100_000).astype(np.float32) for _ in range(2))
    truth = np.full(100_000, np.nan, np.float32)
    plot = cohort_plots.scatter_plot("Mass", ("a.h5", "b.h5"), truth, first, other)
    assert plot.body.count('class="cell"') <= cohort_plots.CELLS**2
    assert "circle" not in plot.body
    films = cohort_plots.scatter_plot("Mass", ("a.h5", "b.h5"), truth[:500], first[:500], other[:500])
    assert films.body.count("<circle") == 500


def test_names_in_plots_are_text() -> None:
    films = cohort_plots.scatter_plot("</svg><script>", ('"><b>', "b.h5"), *(np.full(3, 0.5, np.float32),) * 3)
    drawn = films.svg({"scatter-first": films.upright(0.0)})
    assert "<script>" not in drawn
    assert "<b>" not in drawn


# --- Blinded reading


def test_blinded_readers_get_neither_the_page_nor_its_filters(made: MadeView) -> None:
    with open_viewer(ViewOptions(scores=[made.scores], films=made.films, blinded=True)) as viewer:
        access = Access(hosts=[HOST])
        client = TestClient(create_app(viewer, access), base_url=f"http://{HOST}", follow_redirects=False)
        client.get(f"/?token={access.token}")
        for place in ("/cohort", "/cohort/1", "/cohort/1/decisions?at=0.3"):
            answer = client.get(place)
            assert answer.status_code == 403
            assert "Blinded reading" in answer.text
        listed = client.get("/?finding=1&side=above&label=positive&at=0.9&sort=probability").text
        assert f"<b>{FILMS}</b> of {FILMS} films" in listed
        assert "/cohort/1" not in listed
        assert 'name="at" min' not in listed
