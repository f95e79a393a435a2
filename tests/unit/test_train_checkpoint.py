"""Checkpoints: what is written comes back, and what is of another run, or damaged, is refused with its reason."""

import numpy as np
import pytest

from cxrscore.errors import FileFormatError, InputError
from cxrscore.training.checkpoint import TrainingState, load_checkpoint, remove_checkpoint, save_checkpoint

NAN = float("nan")
INPUTS = {"seed": 0, "labels": "ab"}


class Learner:
    """A learner whose tensors are its number of epochs."""

    def __init__(self):
        self.epochs = 0

    def tensors(self):
        return {"head/bias": np.full(2, self.epochs, np.float32)}

    def state(self):
        return {"adam/step": np.array(self.epochs, np.int64), "adam/m/head/bias": np.zeros(2, np.float32)}


def row(epoch):
    return {"epoch": epoch, "train_loss": 1 / epoch, "valid_loss": NAN, "valid_macro_auc": NAN, "seconds": 0.1}


def run(folder, epochs, best):
    """A run whose best epoch is ``best``."""
    learner, standing = Learner(), TrainingState(history=[], best_epoch=0, best={}, valid_auc=[], last_auc=[])
    for epoch in range(1, epochs + 1):
        learner.epochs = epoch
        standing.history.append(row(epoch))
        if epoch <= best:
            standing.best_epoch, standing.best, standing.valid_auc = epoch, learner.tensors(), [0.5, NAN]
        standing.last_auc = [0.25]
        save_checkpoint(folder, learner, standing, INPUTS)
    return standing


def test_a_standing_comes_back(tmp_path):
    run(tmp_path / "m.run", epochs=5, best=3)
    found = load_checkpoint(tmp_path / "m.run", INPUTS)
    assert found.training_state.best_epoch == 3
    assert found.training_state.best["head/bias"].tolist() == [3, 3]
    assert found.training_state.valid_auc[0] == 0.5
    assert np.isnan(found.training_state.valid_auc[1])
    assert found.training_state.last_auc == [0.25]
    assert [r["epoch"] for r in found.training_state.history] == [1, 2, 3, 4, 5]
    assert np.isnan(found.training_state.history[0]["valid_loss"])
    assert found.tensors["head/bias"].tolist() == [5, 5]
    assert found.state["adam/step"].shape == ()
    assert int(found.state["adam/step"]) == 5


def test_only_the_best_is_kept_and_then_nothing(tmp_path):
    run(tmp_path, epochs=5, best=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best-000003.safetensors", "checkpoint.safetensors"]
    remove_checkpoint(tmp_path)
    assert not list(tmp_path.iterdir())


def test_there_may_be_none(tmp_path):
    assert load_checkpoint(tmp_path / "nowhere", INPUTS) is None


def test_another_run_is_refused_by_what_differs(tmp_path):
    run(tmp_path, epochs=1, best=1)
    with pytest.raises(InputError, match=r"another run \(seed: 0 -> 1\)"):
        load_checkpoint(tmp_path, {**INPUTS, "seed": 1})


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "best-000001.safetensors"])
@pytest.mark.parametrize("change", [lambda path: path.write_bytes(path.read_bytes()[:50]), lambda path: path.unlink()])
def test_a_damaged_one_says_so(tmp_path, name, change):
    run(tmp_path, epochs=1, best=1)
    change(tmp_path / name)
    if not (tmp_path / "checkpoint.safetensors").exists():
        assert load_checkpoint(tmp_path, INPUTS) is None
        return
    with pytest.raises(FileFormatError, match="without --resume"):
        load_checkpoint(tmp_path, INPUTS)


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "best-000001.safetensors"])
@pytest.mark.parametrize("place", [-1, -8])
def test_changed_numbers_are_noticed(tmp_path, name, place):
    run(tmp_path, epochs=1, best=1)
    data = bytearray((tmp_path / name).read_bytes())
    data[place] ^= 1
    (tmp_path / name).write_bytes(data)
    with pytest.raises(FileFormatError, match=rf"{name} was changed after it was written.*without --resume"):
        load_checkpoint(tmp_path, INPUTS)


def test_a_changed_history_is_noticed(tmp_path):
    run(tmp_path, epochs=2, best=1)
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes().replace(b'\\"best_epoch\\": 1', b'\\"best_epoch\\": 2'))
    with pytest.raises(FileFormatError, match="without --resume"):
        load_checkpoint(tmp_path, INPUTS)


def test_the_best_epoch_of_another_run_is_not_taken(tmp_path):
    run(tmp_path / "one", epochs=2, best=1)
    run(tmp_path / "two", epochs=2, best=2)
    other = (tmp_path / "two" / "best-000002.safetensors").read_bytes()
    (tmp_path / "one" / "best-000001.safetensors").write_bytes(other)
    with pytest.raises(FileFormatError, match=r"best-000001\.safetensors was changed"):
        load_checkpoint(tmp_path / "one", INPUTS)


def test_digests_are_shown_in_short(tmp_path):
    save_checkpoint(
        tmp_path,
        Learner(),
        TrainingState(history=[row(1)], best_epoch=1, best={}, valid_auc=[], last_auc=[]),
        {"films": "a" * 64},
    )
    with pytest.raises(InputError, match=r"another run \(films: aaaaaaaaaaaa\.\.\. -> bbbbbbbbbbbb\.\.\.\)\. Train"):
        load_checkpoint(tmp_path, {"films": "b" * 64})
