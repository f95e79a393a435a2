"""What a run begins with: the bias of the head by hand, and what two runs must share."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from training import Store, some_data

from cxrscore.contract import ModelSpec
from cxrscore.errors import InputError, WriteError
from cxrscore.io import file_lock
from cxrscore.models.probabilities import probabilities
from cxrscore.networks.tensors import initial_tensors
from cxrscore.training import TrainOptions, train_model
from cxrscore.training.initialization import head_for_loss, initial_head_tensors, prevalence_bias, run_inputs

NAN = float("nan")
LABELS = np.array([[1, 0, 1, NAN], [0, 0, 1, NAN], [0, 0, NAN, NAN], [0, 0, 1, NAN]], np.float32)


def test_the_bias_of_a_share_by_hand():
    # One of four: log(1/3). None of four counts as half a film: log(1/7). All of three: log(2.5/0.5). Unknown: 0.
    found = prevalence_bias(LABELS, "sigmoid")
    assert found.dtype == np.float32
    assert found == pytest.approx([np.log(1 / 3), np.log(1 / 7), np.log(5), 0])
    assert probabilities(found[None], "sigmoid")[0] == pytest.approx([1 / 4, 1 / 8, 5 / 6, 1 / 2])


def test_with_softmax_probabilities_stand_to_each_other_as_the_shares():
    labels = np.array([[1, 0], [1, 0], [0, 1], [1, 0]], np.float32)
    assert probabilities(prevalence_bias(labels, "softmax")[None], "softmax")[0] == pytest.approx([3 / 4, 1 / 4])


def test_what_may_change_when_a_run_goes_on():
    def inputs(**options):
        return run_inputs(TrainOptions(**options), some_data(), None)

    same = inputs()
    assert inputs(epochs=7, patience=3, checkpoint_policy="last", calibration="platt", threshold_rule="corner") == same
    assert inputs(workers=1, resume=True) == same
    for changed in (
        {"seed": 1},
        {"learning_rate": 1e-3},
        {"sampling": "balanced"},
        {"augmentations": 2},
        {"drop_last": True},
    ):
        assert inputs(**changed) != same
    assert inputs(schedule="cosine", epochs=7) != inputs(schedule="cosine", epochs=8)


def test_files_count_by_what_is_in_them(tmp_path):
    def inputs(data, **options):
        return run_inputs(TrainOptions(**options), data, None)

    data = some_data()
    same = inputs(data, split=tmp_path / "a.csv")
    assert inputs(data, split=tmp_path / "b.csv") == same
    labels = data.labels.copy()
    labels[0, 0] = NAN  # as by another table of films beside the same table of labels
    changed = {
        "values of the labels": replace(data, labels=labels),
        "labels": replace(data, labels_file={"sha256": "cd"}),
        "films": replace(data, store=Store(data.store.pixels)),
        "split": replace(data, split=replace(data.split, train=data.split.train[1:])),
    }
    changed["films"].store.films = tuple(replace(film, sha256="f" * 64) for film in data.store.films)
    for name, other in changed.items():
        found = inputs(other)
        assert {key for key in same if found[key] != same[key]} == {name}


def test_a_head_begins_at_zero_unless_it_is_to_be_drawn():
    spec = ModelSpec(architecture="tinycnn", findings=("A", "B"), size=32)
    labels = np.array([[1, 0], [0, 0], [0, 0], [0, 1]], np.float32)
    tensors = initial_tensors(spec, 0)
    zero = initial_head_tensors(TrainOptions(), spec, labels, tensors)
    assert zero.keys() == {"head/kernel"}
    assert zero["head/kernel"].shape == (64, 2)
    assert not zero["head/kernel"].any()
    drawn = initial_head_tensors(TrainOptions(initial_head="random", initial_bias="prevalence"), spec, labels, tensors)
    assert drawn.keys() == {"head/bias"}
    np.testing.assert_allclose(drawn["head/bias"], np.log([1 / 3, 1 / 3]), rtol=1e-6)


def test_what_cannot_be_done_is_said_before_a_film_is_read_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("cxrscore.training.read_data", lambda *given: pytest.fail("films were read"))
    scores_only = SimpleNamespace(name="quick", trains=False, architectures=("tinycnn",))
    small = SimpleNamespace(name="small", trains=True, architectures=("tinycnn",))
    cannot = "'small' cannot run 'densenet121': it lacks the operations avg_pool, batch_norm, concat"
    for backend, wanted in ((scores_only, "'quick' cannot train"), (small, cannot)):
        monkeypatch.setattr("cxrscore.plugins.get_backend", lambda name, backend=backend: backend)
        with pytest.raises(InputError, match=wanted):
            train_model(TrainOptions(output=tmp_path / "m.safetensors"))
    assert list(tmp_path.iterdir()) == []


def test_two_runs_do_not_share_a_folder(tmp_path):
    (tmp_path / "m.run").mkdir()
    with file_lock(tmp_path / "m.run" / "train.lock"), pytest.raises(InputError, match=r"train\.lock is held by"):
        train_model(TrainOptions(output=tmp_path / "m.safetensors"))


def test_a_folder_that_cannot_be_made_is_a_write_error(tmp_path):
    (tmp_path / "m.run").write_text("not a folder")
    with pytest.raises(WriteError, match=r"cannot make the folder .*m\.run"):
        train_model(TrainOptions(output=tmp_path / "m.safetensors"))


def test_what_a_killed_run_was_writing_goes(tmp_path):
    left = tmp_path / "m.run" / ".checkpoint.safetensors.0123abcd.part"
    left.parent.mkdir()
    left.write_bytes(b"half")
    with pytest.raises(InputError):  # there are no films
        train_model(TrainOptions(output=tmp_path / "m.safetensors", films=tmp_path / "none"))
    assert not left.parent.exists()


def test_a_probe_is_moved_for_a_loss_with_class_weights():
    """A finding of prevalence 0.2: the constant that minimises the plain loss is logit 0.2, and with weights 0.8 and
    0.2 both classes weigh the same, so that it is 0."""
    head = {"head/kernel": np.zeros((3, 1), np.float32), "head/bias": np.log([0.2 / 0.8]).astype(np.float32)}
    weights = np.array([[0.8], [0.2]], np.float32)
    assert head_for_loss(head, "weighted-bce", weights)["head/bias"] == pytest.approx([0.0], abs=1e-6)
    assert head_for_loss(head, "bce", weights)["head/bias"] == pytest.approx(np.log([0.25]))
