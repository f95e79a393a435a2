"""Small films that are kept while films go by."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrscore.images import Film, LoadedFilm, Status, thumbnail
from cxrscore.scorefile import SPLITS, scored_films, select_thumbnails, thumbnail_candidates
from cxrscore.scoring import thumbnails
from cxrscore.scoring.thumbnails import THUMBNAIL, ThumbnailCollector

FINDINGS = ("Mass", "Nodule", "Edema")


def square(row):
    return np.full((THUMBNAIL, THUMBNAIL), row % 256, np.uint8)


def digest(row):
    return f"{row:016x}" * 4


def job_of(truth, split, most, partition=None):
    seen = {digest(row)[:16]: SPLITS[code] for row, code in enumerate(split) if code}
    return SimpleNamespace(
        files=[SimpleNamespace(seen=seen)],
        paths=[str(row) for row in range(len(truth))],
        findings=FINDINGS,
        truth=lambda rows: truth[list(rows)],
        file_list=SimpleNamespace(partition=partition),
        options=SimpleNamespace(films="films", thumbnails=most, workers=1, any_modality=False),
        squares=("stretch",),
    )


@pytest.fixture
def decoded(monkeypatch):
    """The paths that are decoded anew; that of a film ending in 3 fails."""
    asked = []

    def stream(folder, paths, preprocessing, **_):
        asked.extend(paths)
        for path in paths:
            gone = path.endswith("3")
            film = Film(status=Status.DAMAGED if gone else Status.OK)
            yield LoadedFilm(film=film, pixels=None if gone else square(int(path)))

    monkeypatch.setattr(thumbnails, "stream_films", stream)
    return asked


def some_scores(films, seed):
    """Of few different values, so that many are equal; a tenth of the films was not scored."""
    rng = np.random.default_rng(seed)
    prob = rng.integers(0, 4, (films, len(FINDINGS))).astype(np.float32) / 4
    prob[rng.random(films) < 0.1] = np.nan
    truth = rng.choice(np.array([0, 1, np.nan], np.float32), (films, len(FINDINGS)))
    return prob, truth, rng.integers(0, 4, films).astype(np.uint8)


def passed_by(job, prob, batch, rows):
    kept = ThumbnailCollector(job, None)
    there = [row for row in rows if not np.isnan(prob[row]).any()]
    for at in range(0, len(there), batch):
        some = there[at : at + batch]
        kept.add(some, [digest(row) for row in some], prob[some], [square(row) for row in some])
    return kept


@pytest.mark.parametrize("part", [False, True])
def test_what_is_chosen_in_the_end_was_kept_all_along(decoded, part):
    @given(films=st.integers(1, 70), most=st.integers(0, 20), batch=st.integers(1, 9), seed=st.integers(0, 2**32 - 1))
    def law(films, most, batch, seed):
        prob, truth, split = some_scores(films, seed)
        partition = {"first_row": 30, "total_films": films + 50, "thumbnails": most} if part else None
        found = passed_by(job_of(truth, split, most, partition), prob, batch, range(films)).select(prob, truth, split)
        if part:
            wanted = (thumbnail_candidates(scored_films(prob, truth, split, 30), films + 50, most).rows - 30).tolist()
        else:
            wanted = select_thumbnails(scored_films(prob, truth, split), films, most)
        assert found.film.tolist() == wanted
        for row, pixels in zip(wanted, found.pixels, strict=True):
            np.testing.assert_array_equal(pixels, thumbnail(square(row), THUMBNAIL))

    law()
    assert decoded == []


def test_few_are_kept_of_many(decoded):
    prob, truth, split = some_scores(2000, 1)
    kept = passed_by(job_of(truth, split, 10), prob, 8, range(2000))
    assert len(kept._kept) <= 10 + 7 * len(FINDINGS)


def test_films_of_an_earlier_run_are_decoded_anew_and_may_fail_by_now(decoded):
    prob, truth, split = np.zeros((60, 3), np.float32), np.zeros((60, 3), np.float32), np.zeros(60, np.uint8)
    found = passed_by(job_of(truth, split, 60), prob, 8, range(40, 60)).select(prob, truth, split)
    assert decoded == [str(row) for row in range(40)]
    assert found.film.tolist() == [row for row in range(60) if row >= 40 or row % 10 != 3]
    assert [pixels[0, 0] for pixels in found.pixels] == found.film.tolist()
