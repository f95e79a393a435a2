"""Order and filters of the list of films."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from made_view import MadeView, made_view

from cxrscore.scorefile.by_row import ScoresByRow, TextColumn, open_by_row
from cxrscore.viewer.film_index import FilmIndex, Recent
from cxrscore.viewer.list_state import ListState, StateError

NAN = float("nan")


def stub(prob: list[list[float]], findings: tuple[str, ...] = ("A", "B"), **changed: object) -> ScoresByRow:
    """Rows without a file."""
    n = len(prob)
    paths = [f"{row}.png".encode() for row in range(n)]
    own = {
        "findings": findings,
        "prob": np.array(prob, np.float32),
        "truth": np.full((n, len(findings)), NAN, np.float32),
        "thresholds": np.full(len(findings), NAN, np.float32),
        "status": np.ones(n, np.uint8),
        "split": np.zeros(n, np.uint8),
        "width": np.full(n, 100, np.uint32),
        "height": np.full(n, 100, np.uint32),
        "codes": {name: np.zeros(n, np.int32) for name in ("kind", "modality", "view")},
        "digests": lambda: np.array([b"%064d" % row for row in range(n)]),
        **changed,
    }
    paths = own.pop("paths", paths)
    found = SimpleNamespace(**own, path=TextColumn(iter([np.array(paths)])))
    return LengthOf(found, n)  # type: ignore[return-value]


class LengthOf:
    """A namespace that has a length."""

    def __init__(self, found: SimpleNamespace, length: int) -> None:
        self.__dict__.update(found.__dict__)
        self._length = length

    def __len__(self) -> int:
        return self._length


def rows(scores: ScoresByRow, *others: ScoresByRow, **state: object) -> list[int]:
    return FilmIndex([scores, *others]).rows(ListState(**state)).tolist()  # type: ignore[arg-type]


PROB = [[0.1, 0.8], [0.6, 0.2], [NAN, NAN], [0.4, 0.5]]


def test_probability_sorts_by_a_finding_or_the_highest_and_leaves_films_without_scores_last() -> None:
    scores = stub(PROB)
    assert rows(scores) == [0, 1, 2, 3]
    assert rows(scores, ascending=True) == [3, 2, 1, 0]
    assert rows(scores, sort="probability", finding=1) == [1, 3, 0, 2]
    assert rows(scores, sort="probability", finding=1, ascending=True) == [0, 3, 1, 2]
    assert rows(scores, sort="probability") == [0, 1, 3, 2]


def test_uncertainty_is_near_the_threshold_or_one_half_without_one() -> None:
    # Of A, with a threshold of 0.15, the distances are 0.05, 0.45 and 0.25; of B, without one, 0.3, 0.3 and 0.
    scores = stub(PROB, thresholds=np.array([0.15, NAN], np.float32))
    assert rows(scores, sort="uncertainty", finding=1) == [0, 3, 1, 2]
    assert rows(scores, sort="uncertainty", finding=2) == [3, 0, 1, 2]
    values = FilmIndex([scores]).values(ListState(sort="uncertainty"))
    np.testing.assert_allclose(values, [0.95, 0.7, NAN, 1.0], atol=1e-6)


def test_error_is_the_distance_to_the_label() -> None:
    truth = np.array([[1, 1], [0, NAN], [1, 1], [NAN, 0]], np.float32)
    values = FilmIndex([stub(PROB, truth=truth)]).values(ListState(sort="error"))
    np.testing.assert_allclose(values, [0.9, 0.6, NAN, 0.5], atol=1e-6)


def test_disagreement_is_the_range_over_files_that_have_the_film_and_the_finding() -> None:
    # The second file has films 0 and 1 by their digests, in other rows, and findings B and C; the third film 3 by path.
    second = stub([[0.9, 0.0], [0.3, 0.0]], ("B", "C"), digests=lambda: np.array([b"%064d" % 1, b"%064d" % 0]))
    third = stub([[0.0, 0.4]], digests=lambda: np.array([b""]), paths=[b"3.png"])
    index = FilmIndex([stub(PROB), second, third])
    np.testing.assert_allclose(index.disagreement(2), [0.5, 0.7, NAN, 0.1], atol=1e-6)
    np.testing.assert_allclose(index.disagreement(1), [NAN, NAN, NAN, 0.4], atol=1e-6)
    np.testing.assert_allclose(index.disagreement(0), [0.5, 0.7, NAN, 0.4], atol=1e-6)
    assert index.rows(ListState(sort="disagreement")).tolist() == [1, 0, 3, 2]
    assert np.isnan(FilmIndex([stub(PROB)]).disagreement(0)).all()


def test_filters_leave_out_films() -> None:
    truth = np.array([[1, 0], [0, 0], [NAN, NAN], [NAN, 1]], np.float32)
    scores = stub(
        PROB,
        truth=truth,
        thresholds=np.array([0.4, 0.3], np.float32),
        status=np.array([1, 1, 4, 1], np.uint8),
        split=np.array([0, 1, 0, 3], np.uint8),
        width=np.array([100, 1024, 3000, 2047], np.uint32),
    )
    assert rows(scores, status=1) == [0, 1, 3]
    assert rows(scores, status=-2) == [2]
    assert rows(scores, split=3) == [3]
    assert rows(scores, size="small") == [0]
    assert rows(scores, size="medium") == [1, 3]
    assert rows(scores, size="large") == [2]
    assert rows(scores, finding=1, side="above") == [1, 3]  # 0.4 is at the threshold
    assert rows(scores, finding=1, side="below") == [0]
    assert rows(scores, side="above") == [0, 1, 3]
    assert rows(scores, label="positive") == [0, 3]
    assert rows(scores, label="negative") == [1]
    assert rows(scores, label="unknown") == [2]
    assert rows(scores, finding=2, label="negative") == [0, 1]
    assert rows(scores, finding=1, label="unknown", status=1) == [3]


def test_a_search_is_kept_under_a_handle_that_tells_nothing() -> None:
    index = FilmIndex([stub(PROB)])
    handle = index.remember_search(" 3.PNG ")
    assert index.rows(ListState(search=handle)).tolist() == [3]
    assert re.fullmatch("[0-9a-f]{16}", handle)
    assert index.remember_search("3.png") != handle
    assert len(index.search_text(ListState(search=index.remember_search("x" * 1000)))) == 200
    assert index.remember_search("   ") == ""
    with pytest.raises(StateError, match="search again"):
        index.rows(ListState(search="0" * 16))


def test_the_state_goes_into_the_address_and_back() -> None:
    state = ListState(finding=2, sort="error", ascending=True, status=-2, label="positive", search="ab" * 8, page=3)
    text = state.query()
    assert text == "finding=2&sort=error&ascending=1&status=-2&label=positive&search=abababababababab&page=3"
    assert ListState.parse(dict(pair.split("=") for pair in text.split("&")), 2) == state
    assert ListState().query() == ""
    assert state.query(page=1, search="") == "finding=2&sort=error&ascending=1&status=-2&label=positive"


WRONG = [
    ("finding", "3"),
    ("finding", "-1"),
    ("finding", "1e3"),
    ("finding", "9" * 500),
    ("page", "0"),
    ("sort", "path"),
    ("label", "<script>"),
    ("search", "../../etc/passwd"),
    ("status", "-3"),
    ("kind", "\N{ARABIC-INDIC DIGIT ONE}"),
]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=[f"{name}{place}" for place, (name, _) in enumerate(WRONG)])
def test_what_no_page_makes_is_refused_without_quoting_it(name: str, value: str) -> None:
    with pytest.raises(StateError) as refused:
        ListState.parse({name: value}, 2)
    assert "script" not in str(refused.value)
    assert "passwd" not in str(refused.value)


def test_the_last_used_values_are_kept() -> None:
    recent: Recent[int, str] = Recent(2)
    recent.keep(1, "a")
    recent.keep(2, "b")
    assert recent.recall(1) == "a"
    recent.keep(3, "c")
    assert (recent.recall(1), recent.recall(2), recent.recall(3)) == ("a", None, "c")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeView:
    return made_view(tmp_path_factory.mktemp("made"))


def test_of_a_file_the_list_is_that_of_numpy(made: MadeView) -> None:
    with open_by_row(made.scores) as scores:
        index = FilmIndex([scores])
        found = index.rows(ListState(finding=1, sort="probability", status=1))
        ok = np.flatnonzero(scores.status == 1)
        assert found.tolist() == ok[np.argsort(-scores.prob[ok, 0], kind="stable")].tolist()
        assert index.rows(ListState(finding=1, sort="probability", status=1, page=9)) is found
        with open_by_row(made.scores) as again:
            same = FilmIndex([scores, again])
            assert same.others[0][0].tolist() == list(range(len(scores)))
            assert np.nanmax(same.disagreement(0)) == 0


def test_paths_with_hostile_names_can_be_searched(made: MadeView) -> None:
    with open_by_row(made.scores) as scores:
        index = FilmIndex([scores])
        found = index.rows(ListState(search=index.remember_search("<SCRIPT>")))
        assert [scores.path[row] for row in found] == ["ward 1/<script>alert(1)</script>.png"]


def test_the_made_films_are_where_the_test_needs_them(made: MadeView) -> None:
    assert len(made.there) == 20
    assert all(Path(made.films / made.paths[row]).is_file() for row in made.there)
