"""However a run is divided: every film is in one partition, and the parts join to the file of one process."""

import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_parts import made_parts, made_whole, merged
from made_run import contents

from cxrscore.scorefile import (
    Partition,
    open_scores,
    scored_films,
    select_thumbnails,
    shard_size,
    thumbnail_candidates,
)
from cxrscore.scorefile.manifest import whole_batch
from cxrscore.scorefile.thumbnail_selection import ScoredFilms, concatenate

UNIT = st.one_of(st.sampled_from([np.float32(0.25), np.float32(0.5)]), st.floats(0, 1, width=32), st.just(np.nan))
LABELS = st.sampled_from([np.float32(0), np.float32(1), np.float32(np.nan)])


@given(st.one_of(st.integers(0, 1000), st.integers(0, 10**8)), st.integers(1, 40), st.integers(1, 300))
def test_every_film_is_in_one_partition_and_they_are_as_long_as_each_other(films: int, of: int, batch: int) -> None:
    partitions = [Partition(number=number, count=of).rows(films, batch) for number in range(1, of + 1)]
    assert [rows.start for rows in partitions] == [0, *(rows.stop for rows in partitions[:-1])]
    assert partitions[-1].stop == films
    lengths = [len(rows) for rows in partitions]
    unit = whole_batch(films, batch) if films >= of * whole_batch(films, batch) else 1
    assert max(lengths) - min(lengths) <= unit
    assert all(rows.start % unit == 0 for rows in partitions if rows)


@given(st.one_of(st.integers(1, 1000), st.integers(1, 10**8)), st.integers(1, 5000))
def test_a_shard_has_complete_batches(films: int, batch: int) -> None:
    size = shard_size(films, batch)
    assert size % whole_batch(films, batch) == 0
    assert 0 < size <= 4096
    assert whole_batch(films, batch) <= batch


@settings(deadline=None, max_examples=8)
@given(st.integers(1, 420), st.integers(1, 9), st.randoms(use_true_random=False))
def test_the_parts_of_any_division_join_to_the_file_of_one_process(films: int, of: int, order: object) -> None:
    with tempfile.TemporaryDirectory() as folder:
        whole = contents(made_whole(Path(folder) / "whole.h5", films))
        parts = made_parts(Path(folder), films, of)
        order.shuffle(parts)
        result = merged(parts, Path(folder) / "out.h5")
        joined = contents(result.output)
        assert open_scores(result.output).films.path == open_scores(Path(folder) / "whole.h5").films.path
    assert {name for name in whole.keys() | joined.keys() if whole.get(name) != joined.get(name)} == {"@provenance"}
    assert (result.films, result.merged_files) == (films, len(parts))


@st.composite
def divided_runs(draw: st.DrawFn) -> tuple[ScoredFilms, int, list[ScoredFilms]]:
    """All scored films of a run, how many films it has, and the same films by part."""
    films, findings = draw(st.integers(1, 40)), draw(st.integers(1, 3))
    prob = draw(arrays(np.float32, (films, findings), elements=UNIT))
    truth = draw(arrays(np.float32, (films, findings), elements=LABELS))
    split = draw(arrays(np.uint8, films, elements=st.integers(0, 3)))
    cuts = [0, *sorted(draw(st.lists(st.integers(0, films), max_size=5))), films]
    parts = [scored_films(prob[a:b], truth[a:b], split[a:b], a) for a, b in pairwise(cuts)]
    return scored_films(prob, truth, split), films, parts


@settings(max_examples=300)
@given(divided_runs(), st.integers(0, 20))
def test_what_parts_keep_holds_the_choice_among_all_films(
    run: tuple[ScoredFilms, int, list[ScoredFilms]], most: int
) -> None:
    whole, films, parts = run
    kept = concatenate([thumbnail_candidates(part, films, most) for part in parts])
    assert select_thumbnails(kept, films, most) == select_thumbnails(whole, films, most)
    again = thumbnail_candidates(kept, films, most)  # of candidates of candidates, as of a part read block by block
    assert select_thumbnails(again, films, most) == select_thumbnails(whole, films, most)


def test_a_part_without_what_it_should_keep_would_be_noticed() -> None:
    """The law above can fail: without the films that are last in their parts, another film is chosen."""
    prob = np.array([[0.5], [0.1], [np.nan], [np.nan]], np.float32)
    truth = np.full((4, 1), np.nan, np.float32)
    first = scored_films(prob[:2], truth[:2], np.zeros(2))
    assert thumbnail_candidates(first, 4, 2).rows.tolist() == [0, 1]
    assert select_thumbnails(scored_films(prob, truth, np.zeros(4)), 4, 2) == [0, 1]
    assert select_thumbnails(first.take(np.array([0])), 4, 2) != [0, 1]


@pytest.mark.parametrize("most", [0, 1, 7])
def test_parts_keep_little(most: int) -> None:
    rng = np.random.default_rng(0)
    prob, truth = rng.random((5000, 3), np.float32), rng.integers(0, 2, (5000, 3)).astype(np.float32)
    found = scored_films(prob, truth, rng.integers(0, 4, 5000), 20_000)
    assert len(thumbnail_candidates(found, 100_000, most).rows) <= (7 * 3 + most if most else 0)
