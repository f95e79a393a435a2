"""Backends and explainers that return what they must not, or raise, while films are scored."""

import dataclasses
import json

import numpy as np
import pytest
from click.testing import CliRunner
from foreign_plugins import registry
from made_models import made_films, made_model
from numpy_backend import NumpyBackend, NumpyModel

from cxrscore.cli import main
from cxrscore.contract import Explainer
from cxrscore.errors import PluginError
from cxrscore.explainers import grad_cam, occlusion
from cxrscore.images import Preprocessing, Status, stream_films
from cxrscore.reporting import write_report
from cxrscore.scorefile import open_scores
from cxrscore.scoring import ScoreOptions, score_films
from cxrscore.verify import verify_file

FILMS = 70  # and one that is none: two shards
ODD = ("005.png", "066.png")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    made_films(folder / "films", films=FILMS)
    for seed in (1, 2):
        made_model(folder / f"model{seed}", seed)
    return folder


@pytest.fixture
def installed(monkeypatch):
    """Installs a backend "mine" of such a model, and explainers."""

    def install(model=NumpyModel, explainers=(), **members):
        kind = type("Mine", (model,), members)
        backend = type("Backend", (NumpyBackend,), {"name": "mine", "model": kind})()
        registry(monkeypatch, backends=[backend], explainers=list(explainers))

    return install


def options(home, output, **changed):
    given = {"backend": "mine", "device": "cpu", "heatmaps": 2, "thumbnails": 3, "workers": 1, **changed}
    return ScoreOptions(films=home / "films", output=output, model=home / "model1", **given)


def prints(home):
    """The first pixels of the odd films, as networks are given them."""
    stream = stream_films(home / "films", ODD, Preprocessing(size=32), workers=1)
    return [film.pixels[0].tolist() for film in stream]


def overflowing(home, value=np.nan, number=0):
    """Methods of a model whose logits, at one finding, are not finite for the odd films."""
    odd = prints(home)

    def spoil(films, logits):
        logits = np.array(logits)
        unit = films.astype(np.float64) * (255 if films.dtype == np.float32 else 1)
        logits[[np.round(film[0]).tolist() in odd for film in unit], number] = value
        return logits

    def predict(self, films):
        return spoil(films, NumpyModel.predict(self, films))

    def cam_parts(self, films, findings, *, cam_layer=None):
        parts = NumpyModel.cam_parts(self, films, findings, cam_layer=cam_layer)
        logits = spoil(films, parts.logits)
        activations = np.where(np.isfinite(logits).all(axis=1)[:, None, None, None], parts.activations, np.nan)
        return type(parts)(**{**vars(parts), "logits": logits, "activations": activations.astype(np.float32)})

    return {"predict": predict, "cam_parts": cam_parts}


@pytest.mark.parametrize(
    ("value", "explainer"),
    [(np.nan, "grad-cam"), (np.inf, "grad-cam"), (-np.inf, "grad-cam"), (np.nan, "occlusion")],
)
def test_a_film_whose_logits_are_not_finite_has_no_score_and_spoils_no_other(
    home, installed, tmp_path, value, explainer
):
    installed()
    score_films(options(home, tmp_path / "good.h5", explainer=explainer))
    installed(**overflowing(home, value))
    result = score_films(options(home, tmp_path / "out.h5", explainer=explainer))
    why = "backend 'mine' returned logits that are not finite"
    assert [film for film in result.failed if film[0] in ODD] == [(name, why) for name in ODD]
    assert (result.n_films, result.scored) == (FILMS + 1, FILMS - 2)
    good, found = open_scores(tmp_path / "good.h5"), open_scores(tmp_path / "out.h5")
    rows = [found.films.path.index(name) for name in ODD]
    assert found.films.status[rows].tolist() == [Status.MODEL_FAILED] * 2
    assert [found.films.sha256[row] for row in rows] == [good.films.sha256[row] for row in rows]
    others = np.setdiff1d(np.arange(FILMS + 1), rows)
    for name in ("logit", "prob"):
        assert np.isnan(getattr(found, name)[rows]).all()
        np.testing.assert_array_equal(getattr(found, name)[others], getattr(good, name)[others])
    kept = ~np.isin(good.heat_maps.film, rows)
    np.testing.assert_array_equal(found.heat_maps.film, good.heat_maps.film[kept])
    np.testing.assert_array_equal(found.heat_maps.map, good.heat_maps.map[kept])
    assert not set(rows) & set(found.thumbnails.film)
    assert all(verdict.passed is not False for verdict in verify_file(tmp_path / "out.h5"))


def test_a_mean_needs_every_view(home, installed, tmp_path):
    installed(predict=overflowing(home)["predict"])
    result = score_films(options(home, tmp_path / "tta.h5", tta=2, heatmaps=0))
    why = "backend 'mine' returned logits that are not finite for TTA copy 1 of 2"
    assert [film for film in result.failed if film[0] in ODD] == [(name, why) for name in ODD]


def test_a_mean_needs_every_model(home, installed, tmp_path, monkeypatch):
    monkeypatch.setattr("cxrscore.scoring.golden_difference", lambda job: None)
    turns = iter(range(1000))

    def predict(self, films):
        return np.full((len(films), 2), np.nan if next(turns) % 3 == 2 else 1, np.float32)

    installed(predict=predict)
    models = (home / "model1", home / "model2", home / "model1")
    given = options(home, tmp_path / "out.h5", heatmaps=0)
    result = score_films(dataclasses.replace(given, model=models))
    assert result.scored == 0
    reasons = {why for name, why in result.failed if name != "broken.png"}
    assert reasons == {"backend 'mine' returned logits that are not finite by model 3 of 3"}


def test_the_command_says_so_and_every_reader_of_the_file_knows_it(home, installed, tmp_path):
    installed(**overflowing(home))
    words = [
        "score",
        home / "films",
        "-m",
        home / "model1",
        "-o",
        tmp_path / "out.h5",
        "--backend",
        "mine",
        "-j",
        1,
        "--json",
    ]
    done = CliRunner().invoke(main, list(map(str, words)))
    assert done.exit_code == 3
    assert "not scored: 005.png: backend 'mine' returned logits that are not finite" in done.stderr
    assert json.loads(done.stdout)["scored"] == FILMS - 2
    scores = open_scores(tmp_path / "out.h5")
    write_report(scores, tmp_path / "out.html", source="out.h5")
    assert "model failed" in (tmp_path / "out.html").read_text()
    for words in (["show", tmp_path / "out.h5"], ["export", tmp_path / "out.h5", "-o", tmp_path / "out.csv"]):
        done = CliRunner().invoke(main, list(map(str, words)))
        assert (done.exit_code, done.exception) == (0, None)
    assert "MODEL_FAILED" in CliRunner().invoke(main, ["show", str(tmp_path / "out.h5"), "--json"]).stdout


def failing(error, after=8):
    """A method that raises from its ``after``-th call on."""
    calls = iter(range(1000))

    def cam_parts(self, films, findings, *, cam_layer=None):
        if next(calls) >= after:
            raise error
        return NumpyModel.cam_parts(self, films, findings, cam_layer=cam_layer)

    return {"cam_parts": cam_parts, "lanes": 1}


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("device lost"), "cam_parts raised RuntimeError: device lost"),
        (MemoryError(), "cam_parts ran out of memory"),
    ],
)
def test_an_error_in_mid_run_names_the_films_and_how_to_resume(home, installed, tmp_path, error, words):
    installed(**failing(error))
    with pytest.raises(PluginError) as caught:
        score_films(options(home, tmp_path / "out.h5"))
    said = str(caught.value)
    assert said.startswith(f"backend 'mine' (distribution acme): {words}")
    assert said.endswith(
        "Films: 064.png, 065.png, 066.png and 3 more. Finished shards are saved: rerun the same command to resume."
    )
    installed()
    assert score_films(options(home, tmp_path / "out.h5")).computed == 7


def test_no_name_is_told_where_none_may_be(home, installed, tmp_path):
    installed(**failing(RuntimeError("lost")))
    with pytest.raises(PluginError, match=r"It was given 6 films\. Finished shards are saved") as caught:
        score_films(options(home, tmp_path / "out.h5", anonymize_paths=True))
    assert ".png" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"from_parts": lambda parts: parts.activations}, "from_parts returned float32"),
        ({"from_parts": lambda parts: grad_cam(parts) * np.float32(np.nan)}, "values that are not finite"),
        (
            {"from_scores": lambda predict, films, findings: occlusion(predict, films, findings)[:1]},
            "from_scores returned",
        ),
    ],
)
def test_maps_of_a_wrong_kind_are_the_fault_of_the_explainer_and_nothing_is_stored(
    home, installed, tmp_path, changes, words
):
    installed(explainers=[Explainer(name="odd", summary="x", **changes)])
    with pytest.raises(PluginError, match=r"^explainer 'odd' \(distribution acme\): .*" + words):
        score_films(options(home, tmp_path / "out.h5", explainer="odd"))
    assert not (tmp_path / "out.h5").exists()


def test_maps_too_large_for_the_file_keep_its_largest_value(home, installed, tmp_path):
    installed(
        explainers=[Explainer(name="big", summary="x", from_parts=lambda parts: grad_cam(parts) * np.float32(1e9))]
    )
    score_films(options(home, tmp_path / "out.h5", explainer="big"))
    maps = open_scores(tmp_path / "out.h5").heat_maps.map
    assert np.isfinite(maps).all()
    assert np.abs(maps).max() == np.finfo(np.float16).max


def test_a_note_says_that_another_distribution_computed(home, installed, tmp_path):
    installed()
    result = score_films(options(home, tmp_path / "out.h5", backend=None))
    wanted = (
        "No backend of cxrscore itself can score tinycnn on this device: backend 'mine' (distribution acme) was chosen."
    )
    assert result.notes[0].startswith(wanted)
    assert open_scores(tmp_path / "out.h5").provenance["warnings"][0].startswith(wanted)
    assert score_films(options(home, tmp_path / "named.h5")).notes == ()
