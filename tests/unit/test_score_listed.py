"""Listed films are scored with models that are loaded once, and leave no record outside of their scores file."""

import os

import numpy as np
import pytest
from made_models import made_films, made_model
from made_run import contents

from cxrscore.images import FoundFilms, film_digest
from cxrscore.io import entries
from cxrscore.scorefile import open_scores
from cxrscore.scoring import ScoreOptions, build_models, run_context, score_films, score_listed

pytestmark = pytest.mark.slow


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("CXRSCORE_CACHE", str(tmp_path / "cache"))
    made_films(tmp_path / "films", films=6)
    made_model(tmp_path / "model", 1)
    for path in (tmp_path / "films").iterdir():
        os.utime(path, (1e9, 1e9))
    return tmp_path


def options(home, output):
    given = {"backend": "torch", "device": "cpu", "heatmaps": 1, "workers": 1}
    return ScoreOptions(films=home / "films", output=home / output, model=home / "model", **given)


def test_they_are_scored_as_in_a_run_of_their_own(home, monkeypatch):
    loaded = build_models(options(home, "a.h5"))
    monkeypatch.setattr(run_context, "_built", lambda *given: 1 / 0)  # the models are there already
    monkeypatch.setattr("cxrscore.scoring.golden_difference", lambda *given: 1 / 0)  # and have been compared
    first = score_listed(options(home, "a.h5"), FoundFilms(paths=("000.png", "001.png", "broken.png")), loaded)
    second = score_listed(options(home, "b.h5"), FoundFilms(paths=("002.png", "003.png", "004.png", "005.png")), loaded)
    assert (first.scored, first.n_films, second.scored) == (2, 3, 4)
    assert not (entries.cache_folder() / "digests").exists()
    monkeypatch.undo()
    monkeypatch.setenv("CXRSCORE_CACHE", str(home / "cache"))
    score_films(options(home, "whole.h5"))
    whole = open_scores(home / "whole.h5")
    parts = [open_scores(home / name) for name in ("a.h5", "b.h5")]
    rows = {path: row for part in parts for path, row in zip(part.films.path, part.logit, strict=True)}
    np.testing.assert_array_equal([rows[path] for path in whole.films.path], whole.logit)
    again = score_listed(options(home, "b.h5"), FoundFilms(paths=("002.png", "003.png", "004.png", "005.png")), loaded)
    assert again.computed == 0


def test_a_film_that_changes_meanwhile_is_scored_again(home):
    loaded, films = build_models(options(home, "a.h5")), home / "films"
    paths = ("000.png", "001.png", "002.png")

    def change(step, done, total):
        if done == total and (films / "003.png").exists():
            (films / "003.png").replace(films / "001.png")

    result = score_listed(options(home, "a.h5"), FoundFilms(paths=paths), loaded, change)
    assert "1 film has changed since it was scored" in result.notes[0]
    assert open_scores(home / "a.h5").films.sha256[1] == film_digest(films / "001.png")
    score_listed(options(home, "b.h5"), FoundFilms(paths=paths), loaded)
    one, other = contents(home / "a.h5"), contents(home / "b.h5")
    assert [name for name in one if one[name] != other[name]] == ["@provenance"]
