"""Queues: the order of films, samples with known probabilities, and their table."""

import math
from pathlib import Path

import numpy as np
import pytest
from few_scores import few_scores

from cxrscore.errors import InputError
from cxrscore.metrics import Proportion
from cxrscore.reading import Rule, badge, draw_queue, queue_csv, read_queue
from cxrscore.reading.prevalence import queue_prevalence, stratified
from cxrscore.reading.queue_csv import QueuedRow
from cxrscore.reading.queues import entropy

NAN = float("nan")
PROB = ((0.1, 0.6), (0.5, 0.1), (0.8, 0.2), (0.5, 0.1), (NAN, NAN))
SCORES = few_scores([f"{letter}.png" for letter in "abcde"], ("Mass", "Edema"), PROB, truth=np.full((5, 2), NAN, "f4"))
MANY = few_scores(
    [f"{row:03}.png" for row in range(200)],
    ("Mass",),
    np.linspace(0.001, 0.9, 200)[np.random.default_rng(0).permutation(200)],
    truth=np.full((200, 1), NAN, "f4"),
)


def order(rule: str, count: int = 4, **options: object) -> str:
    return "".join(film.path[0] for film in draw_queue(SCORES, Rule.parse(rule), count, **options).films)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "films"),
    [
        ("highest:Mass", "cbda"),  # ties in the order of the paths
        ("highest", "acbd"),  # a: 0.6 of a mean of 0.25
        ("uncertainty:Mass", "bdca"),
        ("uncertainty:Pulmonary edema", "acbd"),
        ("uncertainty", "bdca"),
    ],
)
def test_the_order(rule: str, films: str) -> None:
    assert order(rule) == films
    assert order(rule, 2) == films[:2]


def test_entropy_by_hand() -> None:
    """-(1/4 log2 1/4 + 3/4 log2 3/4) = 0.5 + 0.75 * 0.4150375."""
    np.testing.assert_allclose(entropy(np.array([0.5, 0.25, 0.0, 1.0])), [1, 0.811278, 0, 0], atol=1e-6)


def test_figures_and_reasons() -> None:
    first = draw_queue(SCORES, Rule.parse("highest"), 1).films[0]
    assert (first.path, first.reason) == ("a.png", "Edema: 2.4 times its mean")
    assert first.figure == pytest.approx(0.6 / 0.25)
    assert math.isnan(first.weight)
    assert draw_queue(SCORES, Rule.parse("uncertainty:Mass"), 1).films[0].reason == "entropy 1 bits of Mass"


def test_films_that_are_left_out() -> None:
    queue = draw_queue(SCORES, Rule.parse("highest:Mass"), 9, marked={f"{2:064x}"})
    assert [film.path for film in queue.films] == ["b.png", "d.png", "a.png"]  # e has no scores
    assert (queue.candidates, queue.left_out) == (3, 1)
    labelled = few_scores(SCORES.films.path, SCORES.findings, PROB)
    with pytest.raises(InputError, match="no film is left for the queue: 4 films are marked or labelled already"):
        draw_queue(labelled, Rule.parse("random"), 1, unlabelled=True)


def test_the_same_film_twice_is_one_candidate() -> None:
    twice = few_scores(SCORES.films.path, SCORES.findings, PROB, sha256=("a" * 64,) * 5)
    assert draw_queue(twice, Rule.parse("random"), 5).candidates == 1


def test_disagreement_of_two_files() -> None:
    other = few_scores(
        ["z.png", "y.png", "x.png"],
        ("Edema", "Mass", "Hernia"),
        ((0.2, 0.8, 0), (0.1, 0.1, 0), (0.9, 0.1, 0)),
        sha256=tuple(f"{row:064x}" for row in (2, 1, 0)),
    )
    assert order("disagreement", other=other) == "bac"  # 0.4 of Mass, 0.3 of Edema, 0
    assert order("disagreement:Edema", other=other) == "abc"
    assert draw_queue(SCORES, Rule.parse("disagreement"), 1, other=other).films[0].reason == (
        "Mass: probabilities 0.4 apart"
    )
    with pytest.raises(InputError, match="no finding in common"):
        draw_queue(
            SCORES, Rule.parse("disagreement"), 1, other=MANY.__class__(**{**vars(other), "findings": ("A", "B", "C")})
        )


def test_a_random_sample_depends_on_the_seed_alone() -> None:
    one, same, another = (draw_queue(MANY, Rule.parse("random"), 20, seed=seed) for seed in (1, 1, 2))
    assert one == same or [film.path for film in one.films] == [film.path for film in same.films]
    assert [film.path for film in one.films] != [film.path for film in another.films]
    assert {film.weight for film in one.films} == {10.0}
    assert one.films[0].reason == "random: one of 20 of 200 films"


def test_every_film_is_drawn_as_often() -> None:
    times = np.zeros(200)
    for seed in range(300):
        times[[film.row for film in draw_queue(MANY, Rule.parse("random"), 20, seed=seed).films]] += 1
    assert abs(times - 30).max() < 6 * math.sqrt(30 * 0.9)


def test_strata_of_an_enriched_sample() -> None:
    """200 films: 100 below the median, 80, 18 and 2 above; of 22 films, 2 of the last, and 6 or 7 of the others."""
    queue = draw_queue(MANY, Rule.parse("enriched:Mass"), 22, seed=3)
    strata = {film.stratum: film.weight for film in queue.films}
    counts = {stratum: sum(film.stratum == stratum for film in queue.films) for stratum in strata}
    assert counts == {1: 6, 2: 7, 3: 7, 4: 2}
    assert strata == {1: 100 / 6, 2: 80 / 7, 3: 18 / 7, 4: 1.0}
    assert sum(film.weight for film in queue.films) == pytest.approx(200)
    lowest = min(MANY.prob[film.row, 0] for film in queue.films if film.stratum == 3)
    assert lowest > max(MANY.prob[film.row, 0] for film in queue.films if film.stratum == 2)
    with pytest.raises(InputError, match="at least 4, one of each stratum"):
        draw_queue(MANY, Rule.parse("enriched:Mass"), 3)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("best", "expected highest, uncertainty,"),
        ("highest:", "expected highest"),
        ("enriched", "needs a finding"),
        ("random:Mass", "takes no finding"),
        ("useful:Mass", "takes no finding"),
        ("highest:Hernia", "which the file lacks; it has Mass, Edema"),
        ("useful", "needs features"),
        ("disagreement", "needs another scores file"),
    ],
)
def test_rules_that_cannot_be(rule: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        draw_queue(SCORES, Rule.parse(rule), 2)
    with pytest.raises(InputError, match="expected 1 to 100,000"):
        draw_queue(SCORES, Rule.parse("random"), 0)
    with pytest.raises(InputError, match="at most 2,000"):
        draw_queue(SCORES, Rule.parse("useful"), 2001)


# --- useful


def gradients(prob: np.ndarray, features: np.ndarray) -> np.ndarray:
    """The gradients [N, C (K+1)], written out."""
    x = (features - features.mean(axis=0)) / features.std(axis=0) / math.sqrt(features.shape[1])
    x = np.column_stack([x, np.ones(len(x))])
    return np.stack([np.outer(p - (p > 0.5), row).ravel() for p, row in zip(prob, x, strict=True)])


def test_badge_is_k_means_plus_plus_on_the_gradients() -> None:
    rng = np.random.default_rng(5)
    prob, features = rng.random((30, 3)), rng.normal(size=(30, 4)).astype(np.float32)
    each, draw, chosen = gradients(prob, features), np.random.default_rng(7), []
    for _ in range(10):
        near = [np.inf if not chosen else ((each[chosen] - g) ** 2).sum(axis=1).min() for g in each]
        mass = (each**2).sum(axis=1) if not chosen else np.array(near)
        left = np.setdiff1d(np.arange(30), chosen)
        chosen.append(int(draw.choice(left, p=mass[left] / mass[left].sum())))
    assert badge(prob, features, 10, seed=7).tolist() == chosen
    assert sorted(badge(prob, features, 30, seed=0).tolist()) == list(range(30))


def test_useful_films_differ() -> None:
    """Ten equal uncertain films and one of another kind: two films are one of each, whatever the seed."""
    scores = few_scores([f"{row:02}.png" for row in range(12)], ("Mass",), [0.4] * 11 + [0.001])
    features = np.zeros((12, 2), np.float32)
    features[10] = 5
    for seed in range(5):
        queue = draw_queue(scores, Rule.parse("useful"), 2, seed=seed, features=lambda rows: features[rows])
        assert 10 in {film.row for film in queue.films}
        assert len({film.row for film in queue.films}) == 2


def test_films_that_cannot_be_read_are_not_useful() -> None:
    features = np.ones((5, 2), np.float32)
    features[[0, 1]] = NAN
    queue = draw_queue(SCORES, Rule.parse("useful"), 9, features=lambda rows: features[rows])
    assert sorted(film.path for film in queue.films) == ["c.png", "d.png"]
    features[:] = NAN
    with pytest.raises(InputError, match="no film of the queue can be read"):
        draw_queue(SCORES, Rule.parse("useful"), 9, features=lambda rows: features[rows])


# --- the table, and the prevalence


def test_the_table_can_be_read_again(tmp_path: Path) -> None:
    path = tmp_path / "queue.csv"
    queue = draw_queue(MANY, Rule.parse("enriched:Mass"), 20)
    path.write_bytes(queue_csv(queue))
    found = read_queue(path)
    assert list(found) == [film.sha256 for film in queue.films]
    assert [row.weight for row in found.values()] == [repr(film.weight) for film in queue.films]
    path.write_bytes(queue_csv(draw_queue(SCORES, Rule.parse("highest"), 2)))
    assert {row.weight for row in read_queue(path).values()} == {""}
    for old, new, words in [
        ("weight", "w", "has no column weight"),
        (f"{0:064x}", "x", "column sha256 has 'x'"),
        (",,\n", ",,-1\n", "column weight has '-1'"),
    ]:
        path.write_bytes(queue_csv(draw_queue(SCORES, Rule.parse("highest"), 2)).replace(old.encode(), new.encode()))
        with pytest.raises(InputError, match=words):
            read_queue(path)


def test_names_of_films_are_no_formulas() -> None:
    scores = few_scores(["=1+1.png"], ("Mass",), [0.5])
    assert b"\n1,./=1+1.png," in queue_csv(draw_queue(scores, Rule.parse("random"), 1))


def test_prevalence_of_a_random_queue_is_that_of_its_labels() -> None:
    queue = {f"{row}": QueuedRow(drawn="random", stratum="", weight="10.0") for row in range(10)}
    labels = {f"{row}": {"Mass": "1" if row < 3 else "0" if row < 8 else "-1"} for row in range(10)}
    found = queue_prevalence(labels, queue, ["Mass"])["Mass"]
    low, high = Proportion(hits=3, total=8).interval
    assert found == {"films": 8, "queue": 10, "value": 3 / 8, "low": low, "high": high}
    chosen = {sha256: QueuedRow(drawn="chosen", stratum="", weight="") for sha256 in queue}
    assert queue_prevalence(labels, chosen, ["Mass"]) == {}


def test_prevalence_of_strata_by_hand() -> None:
    """90 films of which 1 of 10 is positive, and 10 films of which 4 of 5 are: (90 * 0.1 + 10 * 0.8) / 100."""
    value, low, high = stratified([(90.0, 9, 1), (10.0, 1, 4)])
    assert value == pytest.approx(0.17)
    assert 0.05 < low < 0.17 < high < 0.45
    assert stratified([(10.0, 9, 1), (5.0, 1, 4)]) == (5 / 15, 5 / 15, 5 / 15)  # every film was drawn
    assert math.isnan(stratified([(90.0, 0, 0), (10.0, 1, 4)])[0])


def test_the_interval_of_strata_covers() -> None:
    rng, sizes = np.random.default_rng(0), np.array([500, 400, 90, 10])
    covered = 0
    for _ in range(400):
        positive = rng.binomial(sizes, [0.02, 0.1, 0.3, 0.6])
        drawn = [rng.hypergeometric(p, s - p, min(20, s)) for p, s in zip(positive, sizes, strict=True)]
        _, low, high = stratified([(s, min(20, s) - x, x) for s, x in zip(sizes, drawn, strict=True)])
        covered += low <= positive.sum() / 1000 <= high
    assert 0.92 < covered / 400 <= 1
