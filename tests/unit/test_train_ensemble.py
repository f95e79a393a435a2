"""Several networks of one run: members on the same films, and an ensemble that is their calibrated mean."""

import json
from dataclasses import replace

import numpy as np
import pytest

import cxrscore
from cxrscore.contract import ModelSpec
from cxrscore.errors import InputError
from cxrscore.models.ensemble_file import load_ensemble, load_scorers
from cxrscore.models.model_file import load_model
from cxrscore.reporting import write_report
from cxrscore.scorefile import open_scores
from cxrscore.scoring import ScoreOptions, score_films
from cxrscore.synthetic.phantoms import make_phantoms
from cxrscore.training import TrainOptions, ensemble, train_model
from cxrscore.training.ensemble import Member, held_out_probabilities, mean_held_out, member_options
from cxrscore.training.evaluation import HeldOut
from cxrscore.verify import verify_file


def held_out(logits, truth, folds=None):
    films = len(truth)
    return HeldOut(
        truth=np.array(truth, np.float32),
        logits=np.array(logits, np.float32),
        patients=np.arange(films),
        on="valid" if folds is None else "folds",
        fitted=np.ones(np.shape(truth)[1], np.bool_),
        folds=None if folds is None else np.array(folds),
    )


def test_the_held_out_mean_by_hand():
    """1/2 and 3/4 are 5/8 in the mean, and so is what one of the two says twice as steeply after its calibration."""
    half, more = held_out([[0.0]], [[1]]), held_out([[np.log(3) / 2]], [[1]])
    plain = held_out([[np.log(3)]], [[1]])
    assert held_out_probabilities([half, plain], "sigmoid", "none") == pytest.approx(np.array([[0.625]]))
    spec = ModelSpec(architecture="tinycnn", findings=("Mass",))
    given = {"path": None, "spec": spec, "data": None, "test": None}
    members = [
        Member(held=half, document={"calibration": None}, **given),
        Member(held=more, document={"calibration": {"slope": [2.0], "intercept": [0.0]}}, **given),
    ]
    assert mean_held_out(members).logits == pytest.approx(np.array([[np.log(5 / 3)]]), abs=1e-6)


@pytest.mark.parametrize("method", ["platt", "shrunken-platt", "temperature"])
def test_no_film_is_calibrated_with_its_own_label(method):
    rng = np.random.default_rng(0)
    truth = (rng.random((60, 2)) < 0.4).astype(np.float32)
    logits = [rng.normal(truth, 1.5) for _ in range(2)]
    folds = np.arange(60) % 3
    found = held_out_probabilities([held_out(one, truth, folds) for one in logits], "sigmoid", method)
    changed = truth.copy()
    changed[folds == 1] = 1 - changed[folds == 1]
    other = held_out_probabilities([held_out(one, changed, folds) for one in logits], "sigmoid", method)
    np.testing.assert_array_equal(found[folds == 1], other[folds == 1])
    assert not np.allclose(found[folds == 0], other[folds == 0])


def options(**changed):
    return TrainOptions(**{"architecture": "tinycnn, densenet121,tinycnn", "size": 32, **changed})


def test_each_member_has_its_network_weights_and_file(tmp_path):
    members = member_options(options(weights="none,a.h5,imagenet", output=tmp_path / "m.x.st"))
    found = [(one.architecture, one.weights, one.size, one.output.name) for one in members]
    assert found == [
        ("tinycnn", "none", 32, "m.x.tinycnn.st"),
        ("densenet121", "a.h5", 32, "m.x.densenet121.st"),
        ("tinycnn", "imagenet", 32, "m.x.tinycnn-2.st"),
    ]
    assert {one.output.parent for one in members} == {tmp_path}


def test_one_entry_is_for_all_and_without_a_size_each_has_its_own():
    members = member_options(TrainOptions(architecture="densenet121,vit_b14", weights="none", size=0, output="m"))
    assert [(one.weights, one.size) for one in members] == [("none", 400), ("none", 518)]
    assert [one.output.name for one in members] == ["m.densenet121.safetensors", "m.vit_b14.safetensors"]


def test_one_network_is_as_ever():
    alone = TrainOptions(weights="a,b.h5")
    assert member_options(alone) == (alone,)
    assert member_options(alone)[0] is alone


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"weights": "none,none"}, "2 entries and architecture names 3"),
        ({"architecture": "tinycnn,"}, "between the commas"),
        ({"weights": "none,,none"}, "weights are 'none,,none', expected a name or a file between the commas"),
        ({"architecture": ",".join(["tinycnn"] * 101)}, "101 networks, expected at most 100"),
        ({"architecture": 5}, "several separated by commas"),
    ],
)
def test_lists_that_do_not_fit_are_refused(changed, word):
    with pytest.raises(InputError, match=word):
        options(**changed)


@pytest.mark.parametrize("name", ["a\\b.safetensors", "a\nb.safetensors"])
def test_a_name_that_no_document_can_hold_is_refused_at_once(tmp_path, name):
    with pytest.raises(InputError, match="cannot name"):
        member_options(options(output=tmp_path / name))


WAYS = {
    "probe": {"min_positives": 4, "folds": 3},
    "epochs": {"epochs": 2, "learning_rate": 1e-3, "solver": "adam"},
    "softmax": {"epochs": 2, "activation": "softmax", "trainable": "all", "test": 0.0},
}


def trained(folder, output, **changed):
    given = {"architecture": "tinycnn,tinycnn", "weights": "none", "size": 32, "backend": "torch", "device": "cpu"}
    films = {"films": folder / "films", "output": output}
    return train_model(TrainOptions(**{**given, **films, "workers": 1, **changed}))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("members")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXRSCORE_CACHE", str(folder / "cache"))
        make_phantoms(folder, films=70, patients=60, side=64, seed=1)
        yield folder


@pytest.fixture(scope="module", params=WAYS)
def run(request, home):
    """The result of a run, and its ensemble file."""
    output = home / request.param / "model.safetensors"
    return trained(home, output, **WAYS[request.param]), output


@pytest.mark.slow
def test_members_are_whole_models_that_differ(run):
    result, output = run
    ensemble_file = load_ensemble(output)
    members = [load_model(member.output) for member in result.members]
    assert [member.path.name for member in members] == ["model.tinycnn.safetensors", "model.tinycnn-2.safetensors"]
    named = [(one["file"], one["sha256"]) for one in ensemble_file.document["members"]]
    assert named == [(member.path.name, member.sha256) for member in members]
    first, second = (member.tensors["conv1/kernel"] for member in members)
    assert not np.array_equal(first, second)
    own, others = members[0].document, ensemble_file.document
    assert own["training"]["member"] == {"number": 1, "count": 2}
    assert own["training"]["split"] == members[1].document["training"]["split"] == others["training"]["split"]
    assert own["films"] == others["films"]
    assert others["training"]["recipe"]["architecture"] == "tinycnn,tinycnn"
    assert result.output == output
    assert result.macro_auc == pytest.approx(others["evaluation"]["macro_auc"]["value"], nan_ok=True)
    assert (output.with_suffix(".run") / "split.csv").is_file()
    assert all(one.passed for one in verify_file(output))


@pytest.fixture(scope="module")
def scored(run, home):
    """Scores of the ensemble, and of each member."""
    result, output = run
    models = [output, *(member.output for member in result.members)]
    for model in models:
        given = {"films": home / "films", "output": model.with_suffix(".h5"), "backend": "torch", "device": "cpu"}
        score_films(ScoreOptions(**given, model=model, heatmaps=2, workers=1))
    return [open_scores(model.with_suffix(".h5")) for model in models]


@pytest.mark.slow
def test_the_scores_are_the_calibrated_mean_of_the_members(run, scored):
    document = load_ensemble(run[1]).document
    found, *members = scored
    mean = np.mean([member.prob.astype(np.float64) for member in members], axis=0)
    if document["calibration"]:
        line = document["calibration"]
        z = np.log(mean / (1 - mean)) * line["slope"] + line["intercept"]
        mean = 1 / (1 + np.exp(-z))
    np.testing.assert_allclose(found.prob, mean, atol=2e-6)
    np.testing.assert_allclose(found.logit, np.log(mean / (1 - mean)), atol=2e-4)
    expected = [document["thresholds"].get(name, {}).get("prob", np.nan) for name in found.findings]
    np.testing.assert_allclose(found.thresholds, expected)
    assert np.isfinite(found.thresholds).any()


@pytest.mark.slow
def test_the_scores_file_names_the_ensemble_and_is_verified_with_it(run, scored, tmp_path):
    output, found = run[1], scored[0]
    assert found.provenance["ensemble"]["sha256"] == load_ensemble(output).sha256
    assert "films" not in found.provenance["ensemble"]["document"]
    assert len(found.provenance["models"]) == 2
    passed = {one.check: one.passed for one in verify_file(output.with_suffix(".h5"), model=output)}
    assert passed["model"] is passed["scores"] is passed["provenance"] is True
    members = verify_file(output.with_suffix(".h5"), model=[file.path for file in load_scorers(output)])
    assert {one.check: one.passed for one in members}["model"] is False
    write_report(found, tmp_path / "out.html", source="out.h5", resamples=0)
    page = (tmp_path / "out.html").read_text()
    assert "with the calibration of the ensemble" in page
    assert "means over models; each model file contains" not in page


@pytest.mark.slow
def test_the_classifier_of_an_ensemble_gives_the_same_numbers(run, scored, home):
    found = scored[0]
    with cxrscore.load(run[1], backend="torch", device="cpu", workers=1) as classifier:
        films = [home / "films" / path for path in found.films.path[:3]]
        np.testing.assert_array_equal(classifier.predict_proba(films).values, found.prob[:3])
        assert str(run[1]) in repr(classifier)
        with pytest.raises(InputError, match="ensemble of 2 models"):
            classifier.features(films)


@pytest.mark.slow
def test_augmented_copies_are_averaged_before_the_calibration_and_have_no_thresholds(run, home, tmp_path):
    given = {"films": home / "films", "output": tmp_path / "tta.h5", "backend": "torch", "device": "cpu"}
    score_films(ScoreOptions(**given, model=run[1], heatmaps=0, tta=2, workers=1, anonymize_paths=True))
    found = open_scores(tmp_path / "tta.h5")
    assert np.isnan(found.thresholds).all()
    assert any("There are no thresholds" in text for text in found.provenance["warnings"])
    assert "safetensors" not in json.dumps(dict(found.provenance))


@pytest.mark.slow
def test_a_killed_run_leaves_no_ensemble_without_its_members_and_is_resumed(home, tmp_path, monkeypatch):
    output = tmp_path / "model.safetensors"
    whole = trained(home, output, **WAYS["epochs"])
    before = [load_model(member.output).tensors for member in whole.members]
    real, fitted = ensemble.write_ensemble, []

    class KilledError(BaseException):
        pass

    def killed(*_):
        raise KilledError

    monkeypatch.setattr("cxrscore.training.write_ensemble", killed)
    with pytest.raises(KilledError):
        trained(home, output, **WAYS["epochs"])
    assert not output.exists()
    monkeypatch.setattr("cxrscore.training.write_ensemble", real)
    monkeypatch.setattr("cxrscore.training.loop._epoch", lambda *given: fitted.append(given))
    again = trained(home, output, resume=True, **WAYS["epochs"])
    assert not fitted
    for tensors, member in zip(before, again.members, strict=True):
        for name, values in load_model(member.output).tensors.items():
            np.testing.assert_array_equal(values, tensors[name])
    assert again.macro_auc == whole.macro_auc
    assert len(load_scorers(output)) == 2


@pytest.mark.slow
def test_a_fresh_run_leaves_no_checkpoint_that_a_later_member_would_resume(home, tmp_path, monkeypatch):
    output = tmp_path / "model.safetensors"
    first = trained(home, output, **WAYS["epochs"])
    assert (first.members[1].run_folder / "checkpoint.safetensors").is_file()

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("cxrscore.training._written", killed)
    with pytest.raises(KeyboardInterrupt):
        trained(home, output, seed=1, **WAYS["epochs"])
    assert not (first.members[1].run_folder / "checkpoint.safetensors").exists()


@pytest.mark.slow
def test_films_that_change_between_the_members_end_the_run(home, tmp_path, monkeypatch):
    real = cxrscore.training.read_data
    calls = []

    def changing(*given, **more):
        calls.append(given)
        data = real(*given, **more)
        return data if len(calls) == 1 else replace(data, labels=1 - data.labels)

    monkeypatch.setattr("cxrscore.training.read_data", changing)
    with pytest.raises(InputError, match=r"changed between the training of .*model\.tinycnn\.safetensors"):
        trained(home, tmp_path / "model.safetensors", **WAYS["epochs"])
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.slow
def test_no_member_replaces_an_input(home, tmp_path):
    output = tmp_path / "model.safetensors"
    (tmp_path / "model.tinycnn-2.safetensors").write_bytes(b"notes")
    with pytest.raises(InputError, match=r"model\.tinycnn-2\.safetensors exists and is not"):
        trained(home, output, **WAYS["epochs"])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"weights": "none,rad-dino"}, "rad-dino are weights of vit_b14"),
        ({"weights": "none,nowhere.pt"}, "no weights file at nowhere.pt"),
        ({"architecture": "tinycnn,nope"}, "no network is called 'nope'"),
    ],
)
def test_a_fault_of_the_last_network_shows_before_the_first_one_is_trained(home, tmp_path, changed, words):
    """Files of an earlier run stay as they are."""
    for name in ("model", "model.tinycnn"):
        (tmp_path / f"{name}.safetensors").write_bytes(name.encode())
    with pytest.raises(InputError, match=words):
        trained(home, tmp_path / "model.safetensors", **{**WAYS["probe"], "overwrite": True, **changed})
    found = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert found == {f"{name}.safetensors": name for name in ("model", "model.tinycnn")}
