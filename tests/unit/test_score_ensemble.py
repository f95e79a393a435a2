"""Scores that are means over models and augmented copies equal the mean of the single runs."""

import hashlib
import json
import shutil

import h5py
import jsonschema
import numpy as np
import pytest
from made_models import FINDINGS, made_films, made_model
from made_run import contents

from cxrscore.contract import CamParts, ModelSpec
from cxrscore.errors import CheckError, InputError
from cxrscore.images import Film, LoadedFilm, Status, resize_maps
from cxrscore.models.model_file import load_model
from cxrscore.reporting import write_report
from cxrscore.reporting.summary import summarise
from cxrscore.scorefile import SPLITS, open_scores, read_file_provenance
from cxrscore.scorefile.schema import PROVENANCE
from cxrscore.scoring import ScoreOptions, score_films
from cxrscore.scoring.file_list import FileList
from cxrscore.scoring.inference import Scorer
from cxrscore.scoring.run_context import RunContext
from cxrscore.verify import verify_file

pytestmark = pytest.mark.slow

POINTS = {finding: {"prob": 0.4, "rule": "youden", "chosen_on": "valid"} for finding in FINDINGS}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """films/, and models a, b (larger) and c (calibrated)."""
    folder = tmp_path_factory.mktemp("ensemble")
    made_films(folder / "films")
    made_model(folder / "a", 1)
    made_model(folder / "b", 2, size=48)
    line = {"method": "platt", "slope": [2.0, 0.5], "intercept": [0.5, -1.0], "fitted_on": "valid"}
    made_model(folder / "c", 3, calibration=line)
    return folder


def score(home, output, *models, films=None, **options):
    given = {"backend": "torch", "device": "cpu", "batch_size": 4, "heatmaps": len(FINDINGS), **options}
    names = tuple(home / name for name in models)
    score_films(ScoreOptions(films=films or home / "films", output=output, model=names, **given))
    return open_scores(output)


@pytest.fixture(scope="module")
def single(home):
    return {name: score(home, home / f"{name}.h5", name) for name in "abc"}


@pytest.fixture(scope="module")
def ensemble(home, single):
    return score(home, home / "abc.h5", "a", "b", "c")


def by_film(scores):
    """Maps by film and finding."""
    maps = scores.heat_maps
    return {(f, c): one.astype(np.float32) for f, c, one in zip(maps.film, maps.finding, maps.map, strict=True)}


def assert_same_maps(one, other):
    found, wanted = by_film(one), by_film(other)
    assert found.keys() == wanted.keys()
    for key, values in found.items():
        np.testing.assert_array_equal(values, wanted[key])


def test_the_mean_over_models_is_that_of_their_single_runs(single, ensemble):
    probs = [single[name].prob.astype(np.float64) for name in "abc"]
    assert not np.allclose(probs[0], probs[1], equal_nan=True)
    np.testing.assert_array_equal(ensemble.prob, ((probs[0] + probs[1] + probs[2]) / 3).astype(np.float32))
    scored = ensemble.films.status == Status.OK
    assert scored.sum() == 6
    mean = ensemble.prob[scored].astype(np.float64)
    np.testing.assert_allclose(ensemble.logit[scored], np.log(mean / (1 - mean)), atol=1e-5)
    assert np.isnan(ensemble.logit[~scored]).all()


def test_the_map_of_models_is_the_mean_at_the_size_of_the_first(single, ensemble):
    maps, found = [by_film(single[name]) for name in "abc"], by_film(ensemble)
    assert maps[0].keys() == maps[1].keys() == found.keys()
    for key, one in found.items():
        same_size = resize_maps(maps[1][key][None, None], *maps[0][key].shape)[0, 0]
        assert same_size.shape == one.shape != maps[1][key].shape
        np.testing.assert_allclose(one, (maps[0][key] + same_size + maps[2][key]) / 3, rtol=4e-3, atol=1e-4)
    assert min(one.min() for one in found.values()) < 0


def test_a_model_with_itself_is_the_model(home, single, tmp_path):
    score(home, tmp_path / "aa.h5", "a", "a")
    own, twice = contents(home / "a.h5"), contents(tmp_path / "aa.h5")
    assert {name for name in own if own[name] != twice[name]} == {"@fingerprint", "@inputs", "@provenance"}


def test_the_order_of_models_is_nothing_but_rounding(home, ensemble, tmp_path):
    turned = score(home, tmp_path / "cab.h5", "c", "a", "b")
    np.testing.assert_allclose(turned.prob, ensemble.prob, rtol=2e-7)
    turned_maps = by_film(turned)  # at the size of its first model, which has the size of the other's first
    for key, one in by_film(ensemble).items():
        np.testing.assert_allclose(turned_maps[key], one, rtol=2e-3, atol=1e-4)


def test_no_view_and_one_view_are_the_film_alone(home, single, tmp_path):
    for tta in (0, 1):
        score(home, tmp_path / f"{tta}.h5", "a", tta=tta, seed=tta)
        assert (
            read_file_provenance(tmp_path / f"{tta}.h5").fingerprint == read_file_provenance(home / "a.h5").fingerprint
        )
        np.testing.assert_array_equal(open_scores(tmp_path / f"{tta}.h5").logit, single["a"].logit)


def test_a_film_has_its_views_wherever_it_lies_and_whatever_lies_beside_it(home, single, tmp_path):
    many = score(home, tmp_path / "many.h5", "a", tta=4)
    assert np.nanmax(np.abs(many.prob - single["a"].prob)) > 1e-4
    assert_same_maps(many, single["a"])
    (tmp_path / "films").mkdir()
    shutil.copy(home / "films" / "003.png", tmp_path / "films" / "moved.png")
    alone = score(home, tmp_path / "alone.h5", "a", tta=4, films=tmp_path / "films")
    np.testing.assert_allclose(alone.prob[0], many.prob[3], rtol=1e-6)
    other = score(home, tmp_path / "other.h5", "a", tta=4, seed=1)
    assert np.nanmax(np.abs(other.prob - many.prob)) > 1e-5


def test_views_and_models_together_are_the_mean_of_the_models_means(home, tmp_path):
    both = score(home, tmp_path / "both.h5", "a", "b", tta=3)
    parts = [score(home, tmp_path / f"{name}.h5", name, tta=3).prob for name in "ab"]
    np.testing.assert_allclose(both.prob, (parts[0] + parts[1]) / 2, rtol=3e-7)
    np.testing.assert_allclose(
        both.prob[both.films.status == Status.OK],
        1 / (1 + np.exp(-both.logit[both.films.status == Status.OK].astype(np.float64))),
        rtol=3e-7,
    )


def test_what_was_averaged_stands_in_the_file_and_on_the_page(home, single, tmp_path):
    scores = score(home, tmp_path / "out.h5", "a", "b", tta=3, seed=5)
    told = json.loads(json.dumps(scores.provenance))
    jsonschema.validate(told, PROVENANCE)
    assert [one["file"] for one in told["models"]] == ["a", "b"]
    assert [one["sha256"] for one in told["models"]] == read_file_provenance(tmp_path / "out.h5").inputs["models"]
    assert (told["tta"]["copies"], told["tta"]["seed"], told["tta"]["limits"]["flip"]) == (3, 5, False)
    assert told["explainer"]["cam_layer"] == "relu"
    assert single["a"].provenance["tta"] is None
    write_report(scores, tmp_path / "out.html", source="out.h5")
    page = (tmp_path / "out.html").read_text()
    assert "mean over 2 models and 3 augmented copies of each film" in page
    assert "Model 1 of 2" in page
    assert told["models"][1]["sha256"] in page


def test_operating_points_of_single_models_are_not_those_of_a_mean(home, tmp_path):
    made_model(tmp_path / "p", 4, thresholds=POINTS)
    alone = score(tmp_path, tmp_path / "p.h5", "p", films=home / "films")
    assert alone.thresholds.tolist() == pytest.approx([0.4, 0.4])
    assert not alone.provenance["warnings"]
    for name, models, tta in (("two", ("p", "p"), 1), ("tta", ("p",), 2)):
        means = score(tmp_path, tmp_path / f"{name}.h5", *models, tta=tta, films=home / "films")
        assert np.isnan(means.thresholds).all()
        assert any("no thresholds" in warning for warning in summarise(means).warnings)
        assert means.provenance["models"][0]["document"]["thresholds"] == POINTS


def test_films_that_any_model_has_seen_are_marked(home, tmp_path):
    digests = [hashlib.sha256((home / "films" / f"{n:03}.png").read_bytes()).hexdigest()[:16] for n in range(4)]
    made_model(tmp_path / "p", 4, films={"train": digests[:1], "valid": digests[1:3]})
    made_model(tmp_path / "q", 5, films={"train": digests[1:2], "valid": [digests[0], digests[3]]})
    wanted = ["train", "train", "valid", "valid", "", ""]
    for names in (("p", "q"), ("q", "p")):
        scores = score(tmp_path, tmp_path / f"{''.join(names)}.h5", *names, films=home / "films", heatmaps=0)
        assert [SPLITS[code] for code in scores.films.split[:6]] == wanted


def test_a_leak_of_any_model_marks_the_page(home, tmp_path):
    made_model(tmp_path / "p", 4)
    training = load_model(home / "a").document["training"]
    made_model(tmp_path / "q", 5, training={**training, "has_leakage": True})
    scores = score(tmp_path, tmp_path / "out.h5", "p", "q", films=home / "films", heatmaps=0)
    assert summarise(scores).warnings[0].startswith("LEAKED")


def test_models_that_see_another_part_of_the_film_give_no_maps(home, single, tmp_path):
    made_model(tmp_path / "crop", 4, fit="crop")
    made_model(tmp_path / "a", 1)
    both = score(tmp_path, tmp_path / "out.h5", "a", "crop", films=home / "films")
    assert_same_maps(both, single["a"])
    assert any("crop" in warning for warning in both.provenance["warnings"])


class Fake:
    """A model whose heat maps are one number everywhere, taken at a layer of any name."""

    framework, device = "fake", "cpu"

    def __init__(self, cam_layer, value):
        self.spec, self._cam_layer, self._value = (
            ModelSpec(architecture="fake", findings=FINDINGS, size=32),
            cam_layer,
            value,
        )

    def predict(self, films):
        return np.full((len(films), 2), self._value, np.float32)

    def cam_parts(self, films, findings, *, cam_layer=None):
        ones = np.ones((len(films), 4, 4, 1), np.float32)
        gradients = np.full((len(films), 2, 1, 1, 1), self._value, np.float32)
        return CamParts(logits=self.predict(films), activations=ones, gradients=gradients, cam_layer=self._cam_layer)


class Mute(Fake):
    """One that shows nothing of what its scores were computed from."""

    cam_parts = None

    def __getattribute__(self, name):
        if name == "cam_parts":
            raise AttributeError(name)
        return super().__getattribute__(name)


def faked_job(home, *models):
    files = tuple(load_model(home / name) for name in "ac")
    options = ScoreOptions(films=home, output=home / "none.h5", model=(home / "a", home / "c"), batch_size=2)
    return RunContext(
        options=options,
        file_list=FileList(paths=(), run_paths=(), partition=None),
        found=None,
        labels=None,
        labels_file=None,
        files=files,
        backend="",
        models=models,
    )


def test_the_taps_of_all_models_are_named(home):
    film = LoadedFilm(film=Film(status=Status.OK), pixels=np.zeros((32, 32), np.uint8))
    for cam_layers, told in ((("relu", "relu"), "relu"), (("relu", "block3_out"), "relu, block3_out")):
        scorer = Scorer(faked_job(home, Fake(cam_layers[0], 3.0), Fake(cam_layers[1], -1.0)))
        assert scorer.cam_layer() == told
        np.testing.assert_array_equal(scorer(scorer.prepare([film])).maps, np.ones((1, 2, 4, 4)))
        assert scorer.cam_layer() == told


def test_there_are_no_maps_unless_every_model_gives_them(home):
    film = LoadedFilm(film=Film(status=Status.OK), pixels=np.zeros((32, 32), np.uint8))
    scorer = Scorer(faked_job(home, Fake("relu", 3.0), Mute("", -1.0)))
    assert scorer.cam_layer() == ""
    assert scorer(scorer.prepare([film])).maps.shape[:2] == (1, 0)


def test_models_of_other_findings_are_refused_and_the_difference_named(home, tmp_path):
    for findings, words in (
        (("Edema", "Mass"), "their order differs, number 1 is Mass and Edema"),
        (("Mass", "Hernia"), "the second lacks Edema and the second has Hernia"),
        (("Mass",), "the second lacks Edema"),
    ):
        made_model(tmp_path / "other", 4, findings=findings)
        with pytest.raises(InputError, match=words):
            score(home, tmp_path / "out.h5", "a", str(tmp_path / "other"))
    assert not (tmp_path / "out.h5.parts").exists()


def test_what_a_newcomer_gets_wrong(home, tmp_path):
    with pytest.raises(InputError, match="no model file is given"):
        score(home, tmp_path / "out.h5")
    with pytest.raises(InputError, match=r"there is no model at .*nowhere"):
        score(home, tmp_path / "out.h5", "a", "nowhere")
    with pytest.raises(InputError, match="tta is -1"):
        score(home, tmp_path / "out.h5", "a", tta=-1)
    unknown = ModelSpec(architecture="vgg", findings=FINDINGS, size=32).as_dict()
    made_model(tmp_path / "vgg", 4, told=unknown)
    with pytest.raises(InputError, match=r"can run 'tinycnn' and 'vgg' \('tinycnn' by .*torch.*; 'vgg' by none\)"):
        score(home, tmp_path / "out.h5", "a", str(tmp_path / "vgg"), backend=None)


def test_every_model_is_held_to_its_golden_logits(home, tmp_path):
    made_model(tmp_path / "off", 4, drift=0.01)
    with pytest.raises(CheckError, match=r"off: .*differ by 0\.01"):
        score(home, tmp_path / "out.h5", "a", str(tmp_path / "off"))
    sound = score(home, tmp_path / "sound.h5", "a", "b", heatmaps=0)
    assert 0 < sound.provenance["backend"]["golden_difference"] < 1e-4


def test_verify_looks_at_every_model(home, ensemble):
    def of_models(*names):
        verdicts = verify_file(home / "abc.h5", films=home / "films", model=[home / name for name in names])
        assert all(verdict.passed for verdict in verdicts if verdict.check != "model")
        return next(verdict for verdict in verdicts if verdict.check == "model")

    assert of_models("c", "a", "b").passed
    assert of_models().passed is None
    assert "is not among those named" in of_models("a", "b").message
    assert of_models("a", "b").passed is False
    assert "is not among those that scored" in of_models("a", "b", "c", "abc.h5").message


@pytest.mark.parametrize("models", [None, [], [["a"]], [None], "a", [{"sha256": 1}]])
def test_verify_of_inputs_that_name_no_models(home, ensemble, tmp_path, models):
    shutil.copy(home / "abc.h5", tmp_path / "abc.h5")
    with h5py.File(tmp_path / "abc.h5", "r+") as file:
        inputs, told = (json.loads(file.attrs[name]) for name in ("inputs", "provenance"))
        listed = models if isinstance(models, list) else []
        told["models"] = [{"sha256": one} for one in listed]
        file.attrs["inputs"] = np.bytes_(json.dumps({**inputs, "models": models}))
        file.attrs["provenance"] = np.bytes_(json.dumps(told))
    found = {verdict.check: verdict.passed for verdict in verify_file(tmp_path / "abc.h5", model=home / "a")}
    assert (found["fingerprint"], found["model"]) == (False, False)


def test_verify_recomputes_means(home, ensemble, tmp_path):
    shutil.copy(home / "abc.h5", tmp_path / "abc.h5")
    with h5py.File(tmp_path / "abc.h5", "r+") as file:
        file["scores/logit"][0, 0] += 0.01
    assert {v.check for v in verify_file(tmp_path / "abc.h5") if v.passed is False} == {"scores"}
