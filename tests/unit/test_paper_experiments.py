"""Cells of `cxrscore paper`: what decides one, and what is said where one cannot be gone on with."""

from types import SimpleNamespace

import numpy as np
import pytest
from made_models import made_model
from training import some_data, some_model

from cxrscore.errors import FileFormatError, InputError, LeakError
from cxrscore.paper import PaperOptions, experiments
from cxrscore.paper.experiments import add_advice, add_delete_advice, all_experiments, train_experiment, train_options
from cxrscore.paper.scoring import _logits
from cxrscore.progress import no_progress
from cxrscore.training import TrainOptions


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """An experiment that is begun, and its options."""
    monkeypatch.setenv("CXRSCORE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "densenet121_imagenet_notop.safetensors").write_bytes(b"weights")
    options = PaperOptions(films=tmp_path, output=tmp_path / "out")
    experiment = all_experiments(options)[0]
    return experiment, train_options(experiment, options, tmp_path / "split.csv")


def test_a_cell_is_another_one_with_other_weights_or_another_way_of_training(begun, tmp_path, monkeypatch):
    _, options = begun
    first = experiments._digest(options, "films")
    assert experiments._digest(options, "films") == first
    assert experiments._digest(options, "other films") != first
    (tmp_path / "cache" / "densenet121_imagenet_notop.safetensors").write_bytes(b"other weights")
    second = experiments._digest(options, "films")
    monkeypatch.setattr(experiments, "_TRAINING", experiments._TRAINING + 1)
    assert len({first, second, experiments._digest(options, "films")}) == 3


@pytest.mark.parametrize("spoilt", ["experiment.json", "checkpoint.safetensors"])
def test_a_damaged_cell_says_which_folder_to_delete(begun, tmp_path, monkeypatch, spoilt):
    def train_model(wanted, progress):
        assert spoilt != "experiment.json", "a finished experiment is trained again"
        raise FileFormatError(f"{wanted.output.parent}/checkpoint.safetensors cannot be read. Train without --resume.")

    monkeypatch.setattr(experiments, "train_model", train_model)
    monkeypatch.setattr(experiments, "load_model", lambda path: None)
    place = tmp_path / "experiments" / f"paper-densenet121-plain-{experiments._digest(begun[1], 'films')[:8]}"
    place.mkdir(parents=True)
    if spoilt == "experiment.json":
        (place / spoilt).write_text("{}")
    with pytest.raises(FileFormatError) as caught:
        train_experiment(*begun, "films", tmp_path / "experiments", no_progress)
    assert f"in {place} is damaged. Delete that folder" in str(caught.value)
    assert "--resume" not in str(caught.value)


def test_another_model_in_the_place_of_a_finished_one_is_refused(begun, tmp_path, monkeypatch):
    def train_model(wanted, progress):
        made_model(wanted.output, 0)

    monkeypatch.setattr(experiments, "train_model", train_model)
    trained = train_experiment(*begun, "films", tmp_path / "experiments", no_progress)
    assert train_experiment(*begun, "films", tmp_path / "experiments", no_progress).model.sha256 == trained.model.sha256
    made_model(trained.options.output, 1)
    with pytest.raises(FileFormatError, match=r"is damaged\. Delete that folder"):
        train_experiment(*begun, "films", tmp_path / "experiments", no_progress)


def test_an_error_of_something_else_stays_as_it_is(tmp_path):
    with pytest.raises(FileFormatError, match=r"^damaged weights in the cache$"), add_delete_advice(tmp_path):
        raise FileFormatError("damaged weights in the cache")
    with pytest.raises(InputError, match=r"held by process 7\. Wait for it$"), add_delete_advice(tmp_path):
        raise InputError(f"{tmp_path}/model.run/train.lock is held by process 7. Wait for it")


def test_advice_is_of_what_this_command_has(tmp_path):
    with pytest.raises(LeakError, match=r"^a and b are one film\. Remove one of the two") as leak, add_advice(tmp_path):
        raise LeakError("a and b are one film.", "Use --split or --allow-leakage.")
    assert "--" not in str(leak.value)
    with (
        pytest.raises(KeyboardInterrupt, match=r"finished results are in .*/\. Rerun the same command to resume$"),
        add_advice(tmp_path),
    ):
        raise KeyboardInterrupt("stopped; Rerun the same command with --resume to continue")


def test_a_finished_model_scores_as_it_is_however_it_was_trained(tmp_path, monkeypatch):
    monkeypatch.setenv("CXRSCORE_CACHE", str(tmp_path))
    data, model = some_data(), some_model()
    rows = list(range(len(data.paths)))
    trained = SimpleNamespace(options=TrainOptions(standardize=True, augmentations=2, drop_last=True))
    # The head of this model gives the mean of the embeddings, as the whole model gives that of the film.
    wanted = model.predict(data.store.batch(rows))
    np.testing.assert_allclose(_logits(model, trained, data, rows, no_progress), wanted, rtol=1e-5)
