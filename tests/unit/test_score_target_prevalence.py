"""score --target-prevalence: tables that are read or refused, and what comes out."""

import json
import math

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from made_ensemble import made_document
from made_models import FINDINGS, made_films, made_model

import cxrscore
from cxrscore.cli import main
from cxrscore.errors import InputError
from cxrscore.images import Status
from cxrscore.models.ensemble_file import save_ensemble
from cxrscore.scorefile import open_scores
from cxrscore.scoring import ScoreOptions, score_films
from cxrscore.scoring.target_prevalence import target_prevalence
from cxrscore.verify import verify_file

LINE = {
    "method": "shrunken-platt",
    "slope": [2.0, 0.5],
    "intercept": [0.5, -1.0],
    "fitted_on": "folds",
    "prevalence": [0.25, 0.5],
}
POINTS = {finding: {"prob": 0.55, "rule": "youden", "chosen_on": "folds"} for finding in FINDINGS}


def table(folder, text, name="target.csv"):
    (folder / name).write_text(text)
    return folder / name


def test_a_table_by_hand(tmp_path):
    path = table(tmp_path, "prevalence,finding\n0.02,Mass\n 1e-3 ,Edema\n")
    found = target_prevalence(path)
    assert (dict(found.values), found.file) == ({"Mass": 0.02, "Edema": 0.001}, path)
    assert target_prevalence(found) is found
    assert target_prevalence({"Mass": 0.5}).values == {"Mass": 0.5}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("finding,share\nMass,0.1\n", "has the columns finding, share; expected finding, prevalence"),
        ("finding,prevalence,site\nMass,0.1,x\n", "expected finding, prevalence"),
        ("finding,prevalence\n", "has no row"),
        ("finding,prevalence\n,0.1\n", "line 2: the finding is missing"),
        ("finding,prevalence\nMass,0.1\nMass,0.2\n", "line 3: Mass stands in the table more than once"),
        ("finding,prevalence\nMass,\n", "line 2: prevalence is '', expected a number between 0 and 1"),
        ("finding,prevalence\nMass,0\n", "prevalence is '0'"),
        ("finding,prevalence\nMass,1\n", "prevalence is '1'"),
        ("finding,prevalence\nMass,2%\n", "prevalence is '2%'"),
        ("finding,prevalence\nMass,nan\n", "prevalence is 'nan'"),
        ("finding,prevalence\nMass,1e-320\n", "prevalence is '1e-320', .*not closer to either than 0.000001"),
        ("finding,prevalence\nMass,0.9999999\n", "prevalence is '0.9999999'"),
    ],
)
def test_other_tables_are_refused(tmp_path, text, words):
    with pytest.raises(InputError, match=words):
        target_prevalence(table(tmp_path, text))


@pytest.mark.parametrize(
    "value", [{}, {"Mass": 1}, {"Mass": True}, {"Mass": math.nan}, {"Mass": 1e-320}, {1: 0.5}, 0.5, ["Mass"]]
)
def test_other_values_are_refused(value):
    with pytest.raises(InputError, match="target_prevalence"):
        ScoreOptions(films="films", output="out.h5", target_prevalence=value)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """films/, and models: calibrated, another calibrated, uncalibrated, one of before."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("target")
    made_films(folder / "films")
    made_model(folder / "own", 1, calibration=LINE, thresholds=POINTS)
    made_model(folder / "other", 2, calibration={**LINE, "prevalence": [0.5, 0.1]})
    made_model(folder / "bare", 3)
    made_model(folder / "before", 4, calibration={name: LINE[name] for name in LINE if name != "prevalence"})
    made_model(folder / "none", 5, calibration={**LINE, "prevalence": [0.25, 0.0]})
    return folder


def score(home, output, *models, **options):
    given = {"backend": "torch", "device": "cpu", "heatmaps": 0, "workers": 1, **options}
    names = tuple(home / name for name in models)
    return score_films(ScoreOptions(films=home / "films", output=output, model=names, **given))


def odds(prob):
    return prob.astype(np.float64) / (1 - prob.astype(np.float64))


@pytest.mark.slow
def test_the_three_scores_of_a_calibrated_model(home, tmp_path):
    score(home, tmp_path / "out.h5", "own")
    found = open_scores(tmp_path / "out.h5")
    scored = found.films.status == Status.OK
    z = found.logit[scored].astype(np.float64)
    np.testing.assert_allclose(found.prob_uncalibrated[scored], 1 / (1 + np.exp(-z)), atol=1e-7)
    line = z * LINE["slope"] + LINE["intercept"]
    np.testing.assert_allclose(found.prob[scored], 1 / (1 + np.exp(-line)), atol=1e-7)
    assert np.isnan(found.prob_uncalibrated[~scored]).all()
    score(home, tmp_path / "bare.h5", "bare")
    bare = open_scores(tmp_path / "bare.h5")
    np.testing.assert_array_equal(bare.prob, bare.prob_uncalibrated)
    score(home, tmp_path / "both.h5", "own", "bare")
    both = open_scores(tmp_path / "both.h5")
    mean = (found.prob_uncalibrated.astype(np.float64) + bare.prob_uncalibrated) / 2
    np.testing.assert_array_equal(both.prob_uncalibrated, mean.astype(np.float32))
    for name in ("out", "bare", "both"):
        assert all(check.passed is not False for check in verify_file(tmp_path / f"{name}.h5"))


@pytest.mark.slow
def test_odds_and_thresholds_are_moved_and_it_is_recorded(home, tmp_path):
    score(home, tmp_path / "out.h5", "own")
    result = score(home, tmp_path / "moved.h5", "own", target_prevalence={"Mass": 0.1})
    before, after = open_scores(tmp_path / "out.h5"), open_scores(tmp_path / "moved.h5")
    # From 1/4 to 1/10: odds 1/3 become 1/9, so all are divided by 3.
    np.testing.assert_allclose(odds(after.prob[:, 0]), odds(before.prob[:, 0]) / 3, rtol=1e-5)
    np.testing.assert_array_equal(after.prob[:, 1], before.prob[:, 1])
    np.testing.assert_array_equal(after.prob_uncalibrated, before.prob_uncalibrated)
    np.testing.assert_array_equal(after.logit, before.logit)
    assert odds(after.thresholds)[0] == pytest.approx(0.55 / 0.45 / 3, rel=1e-5)
    assert after.thresholds[1] == before.thresholds[1]
    np.testing.assert_array_equal(after.prob >= after.thresholds, before.prob >= before.thresholds)
    assert after.provenance["target_prevalence"] == {"Mass": 0.1}
    assert before.provenance["target_prevalence"] is None
    note = "Findings without a target prevalence, which keep that of the training films: Edema."
    assert note in result.notes
    assert note in after.provenance["warnings"]
    assert all(check.passed is not False for check in verify_file(tmp_path / "moved.h5"))


@pytest.mark.slow
def test_maps_are_those_of_the_highest_findings_relative_to_the_prevalence(home, tmp_path):
    """Whatever the target; by probability where a model records no prevalence."""
    made_model(tmp_path / "common", 1, calibration={**LINE, "prevalence": [0.95, 0.05]})

    def first(model, share, target=None):
        score(home, tmp_path / "out.h5", model, target_prevalence=target, heatmaps=1, overwrite=True)
        found = open_scores(tmp_path / "out.h5")
        prob, prior = found.prob[found.heat_maps.film], np.array(share)
        np.testing.assert_array_equal(found.heat_maps.finding, (odds(prob) * (1 - prior) / prior).argmax(axis=1))
        return found.heat_maps.finding.tolist(), prob.argmax(axis=1).tolist()

    chosen, most_probable = first(tmp_path / "common", [0.95, 0.05])
    assert chosen != most_probable
    assert first(tmp_path / "common", [0.1, 0.5], {"Mass": 0.1, "Edema": 0.5})[0] == chosen
    for name in ("before", "bare"):
        chosen, most_probable = first(name, [0.5, 0.5])
        assert chosen == most_probable


@pytest.mark.slow
def test_each_model_is_moved_from_its_own_prevalence(home, tmp_path):
    target = {"Mass": 0.2, "Edema": 0.2}
    for name in ("own", "other"):
        score(home, tmp_path / name, name, target_prevalence=target)
    score(home, tmp_path / "both", "own", "other", target_prevalence=target)
    one, other, both = (open_scores(tmp_path / name).prob.astype(np.float64) for name in ("own", "other", "both"))
    np.testing.assert_array_equal(both.astype(np.float32), ((one + other) / 2).astype(np.float32))
    assert all(check.passed is not False for check in verify_file(tmp_path / "both"))


@pytest.mark.slow
def test_values_decide_what_is_resumed_not_the_file(home, tmp_path):
    one = table(tmp_path, "finding,prevalence\nMass,0.1\n")
    same = table(tmp_path, "finding,prevalence\nMass, 1e-1\n", "same.csv")
    other = table(tmp_path, "finding,prevalence\nMass,0.2\n", "other.csv")
    assert score(home, tmp_path / "out.h5", "own", target_prevalence=one).computed == 7
    assert score(home, tmp_path / "out.h5", "own", target_prevalence=same).computed == 0
    for changed in ({"target_prevalence": other}, {}):
        with pytest.raises(InputError, match="target_prevalence"):
            score(home, tmp_path / "out.h5", "own", **changed)
    with pytest.raises(InputError, match="input"):
        score(home, one, "own", target_prevalence=one, overwrite=True)
    assert one.read_text().startswith("finding")


@pytest.mark.parametrize(
    ("model", "target", "words"),
    [
        ("bare", {"Mass": 0.1}, "is not calibrated, so its probabilities cannot be moved.*Train it again"),
        ("before", {"Mass": 0.1}, "records no prevalence of its training films"),
        ("none", {"Edema": 0.1}, "a share of 0 has Edema"),
        ("own", {"Hernia": 0.1}, "names 'Hernia', which is no finding of the model: Mass, Edema"),
        ("own", {"Mass": 0.1, "mass": 0.2}, "names Mass more than once"),
    ],
)
def test_models_that_cannot_be_moved_are_refused(home, tmp_path, model, target, words):
    with pytest.raises(InputError, match=words):
        score(home, tmp_path / "out.h5", model, target_prevalence=target)
    assert not (tmp_path / "out.h5").exists()


@pytest.mark.parametrize(
    ("calibration", "words"),
    [
        (None, "ens.* is not calibrated"),
        ({name: LINE[name] for name in LINE if name != "prevalence"}, "ens.* records no prevalence"),
        ({**LINE, "prevalence": [0.0, 0.5]}, "ens.* a share of 0 has Mass"),
    ],
)
def test_of_an_ensemble_its_own_calibration_is_asked(home, tmp_path, calibration, words):
    """Whatever its members record."""
    save_ensemble(home / "ens", made_document(home / "own", home / "other", calibration=calibration))
    with pytest.raises(InputError, match=words):
        score(home, tmp_path / "out.h5", "ens", target_prevalence={"Mass": 0.1})
    assert [*tmp_path.iterdir()] == []


@pytest.mark.slow
def test_an_ensemble_of_members_without_calibration_is_moved(home, tmp_path):
    ensemble = made_document(home / "bare", home / "before", calibration=LINE, thresholds=POINTS)
    save_ensemble(home / "ens", ensemble)
    for name, target in (("out.h5", None), ("moved.h5", {"Mass": 0.1})):
        score(home, tmp_path / name, "ens", target_prevalence=target)
        assert all(check.passed is not False for check in verify_file(tmp_path / name))
    before, after = open_scores(tmp_path / "out.h5"), open_scores(tmp_path / "moved.h5")
    np.testing.assert_allclose(odds(after.prob[:, 0]), odds(before.prob[:, 0]) / 3, rtol=1e-5)
    np.testing.assert_array_equal(after.prob_uncalibrated, before.prob_uncalibrated)
    assert odds(after.thresholds)[0] == pytest.approx(0.55 / 0.45 / 3, rel=1e-5)


@pytest.mark.slow
def test_verify_holds_a_target_to_the_prevalence_of_the_ensemble(home, tmp_path):
    save_ensemble(home / "ens", made_document(home / "own", home / "other", calibration=LINE))
    score(home, tmp_path / "out.h5", "ens", target_prevalence={"Mass": 0.1})
    with h5py.File(tmp_path / "out.h5", "r+") as file:
        told = json.loads(file.attrs["provenance"])
        del told["ensemble"]["document"]["calibration"]["prevalence"]
        file.attrs["provenance"] = np.bytes_(json.dumps(told))
    (failed,) = (check for check in verify_file(tmp_path / "out.h5") if check.passed is False)
    assert (failed.check, "records no prevalence" in failed.message) == ("provenance", True)


@pytest.mark.slow
def test_command_and_classifier_give_the_same(home, tmp_path):
    path = table(tmp_path, "finding,prevalence\nMass,0.1\n")
    out = tmp_path / "out.h5"
    line = ["score", str(home / "films"), "-m", str(home / "own"), "-o", str(out), "--backend", "torch", "--json"]
    ran = CliRunner().invoke(main, [*line, "-j", "1", "--target-prevalence", str(path)])
    assert json.loads(ran.stdout)["scored"] == 6, ran.output
    scores = open_scores(out)
    films = [home / "films" / name for name in scores.films.path]
    with cxrscore.load(home / "own", backend="torch", workers=1, target_prevalence={"Mass": 0.1}) as clf:
        np.testing.assert_allclose(clf.predict_proba(films).values, scores.prob, atol=1e-6)


@pytest.mark.slow
def test_worker_processes_compute_the_same(home, tmp_path):
    path = table(tmp_path, "finding,prevalence\nMass,0.1\n")
    for processes in (1, 2):
        score(home, tmp_path / f"{processes}.h5", "own", target_prevalence=path, processes=processes)
    one, two = (open_scores(tmp_path / f"{processes}.h5") for processes in (1, 2))
    for name in ("prob", "prob_uncalibrated", "thresholds"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert two.provenance["target_prevalence"] == {"Mass": 0.1}
