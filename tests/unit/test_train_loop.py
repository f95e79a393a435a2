"""The epoch loop: what is told and kept, which epoch is chosen, and how it stops."""

from dataclasses import replace

import numpy as np
import pytest
from training import SIDE, some_data, some_model

from cxrscore.contract import Optimiser
from cxrscore.errors import InputError, PluginError
from cxrscore.losses import losses
from cxrscore.plugin_values import Origin
from cxrscore.plugin_values.models import checked_model
from cxrscore.progress import no_progress
from cxrscore.training import TrainOptions
from cxrscore.training.checkpoint import load_checkpoint
from cxrscore.training.loop import _last_improvement, fit, optimiser_of

BCE = next(loss for loss in losses if loss.name == "bce")
INF = float("inf")


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CXRSCORE_CACHE", str(tmp_path / "cache"))


class Run:
    """A run of the loop on a model that only counts."""

    def __init__(self, folder, model=None, data=None, **options):
        self.options = TrainOptions(
            **{"backend": "none", "size": SIDE, "batch_size": 4, "epochs": 5, "standardize": False, **options}
        )
        self.model = model or some_model(self.options.trainable)
        self.data, self.folder, self.lines = data or some_data(), folder / "m.run", []

    def fit(self, earlier=None):
        kept = {"folder": self.folder, "inputs": {"seed": 0}, "earlier": earlier}
        return fit(self.model, self.data, BCE, self.options, no_progress, self.lines.append, **kept)

    @property
    def checkpoint(self):
        return load_checkpoint(self.folder, {"seed": 0})


def test_a_row_of_the_history_by_hand(tmp_path):
    run = Run(tmp_path, epochs=2, trainable="all")
    fitted = run.fit()
    names = ("epoch", "learning_rate", "train_loss", "valid_loss", "valid_macro_auc")
    assert tuple(fitted.history[0]) == (*names, "train_label_accuracy", "valid_label_accuracy", "seconds")
    # Every logit is the mean of a film, about one half and above 0: probability says yes, right for the odd ones.
    assert fitted.history[0]["valid_label_accuracy"] == pytest.approx(2 / 3)
    mean = run.data.store.batch([7, 8, 9]).mean(axis=(1, 2)).astype(np.float64)
    odd = np.array([1, 0, 1])
    wanted = 2 * np.mean(odd * np.log1p(np.exp(-mean)) + (1 - odd) * np.log1p(np.exp(mean)))
    assert fitted.history[0]["valid_loss"] == pytest.approx(wanted)
    assert np.isnan(fitted.history[0]["train_label_accuracy"])  # it would cost a pass of the whole network


@pytest.mark.parametrize(
    ("options", "known"),
    [({"trainable": "head"}, True), ({"trainable": "last-block"}, False), ({"trainable": "all"}, False)],
)
def test_training_accuracy_where_it_costs_little_or_is_monitored(tmp_path, options, known):
    found = Run(tmp_path, epochs=1, **options).fit().history[0]["train_label_accuracy"]
    assert found == pytest.approx(3 / 7) if known else np.isnan(found)  # three of seven films are odd
    run = Run(tmp_path, epochs=1, monitor="train_label_accuracy", **options)
    assert run.fit().history[0]["train_label_accuracy"] == pytest.approx(3 / 7)
    assert "train label accuracy 0.4286 (best so far)" in run.lines[-1]


def test_an_undefined_auc_is_never_called_the_best(tmp_path):
    run = Run(tmp_path, epochs=1, trainable="head")
    run.data = replace(run.data, labels=np.ones_like(run.data.labels))
    run.fit()
    assert run.lines[-1].endswith("macro AUC undefined (lowest validation loss so far)")


def losing(folder, losses_of_epochs, **options):
    """A run whose training losses are these."""
    run = Run(folder, monitor="train_loss", trainable="all", **options)
    run.model.losses = iter(losses_of_epochs)
    return run


def test_an_equal_epoch_may_be_kept_but_buys_no_time():
    rows = [
        {"valid_macro_auc": auc, "valid_loss": loss}
        for auc, loss in ((0.5, 1.0), (0.7, 0.9), (0.7, 0.8), (0.6, 0.7), (0.7, 0.6))
    ]
    assert _last_improvement(rows, "valid_macro_auc") == 2
    assert _last_improvement(rows, "valid_loss") == 5
    undefined = [{**row, "valid_macro_auc": float("nan")} for row in rows]
    assert _last_improvement(undefined[:3], "valid_macro_auc") == 3
    assert _last_improvement([*undefined[:4], rows[0]], "valid_macro_auc") == 5


def test_the_best_epoch_is_chosen_and_patience_ends_it(tmp_path):
    run = losing(tmp_path, [3.0, 1.0, 2.0, 1.5], patience=2)
    fitted = run.fit()
    assert (len(fitted.history), fitted.best_epoch) == (4, 2)
    assert fitted.tensors["head/bias"].tolist() == [2, 2]
    assert fitted.best["train_loss"] == 1.0
    assert len(run.lines) == 2  # one for each that was the best so far
    assert "epoch   2: loss 1.0000, validation" in run.lines[1]


def test_the_last_epoch_can_be_chosen(tmp_path):
    fitted = losing(tmp_path, [3.0, 1.0, 2.0, 1.5], patience=2, checkpoint_policy="last").fit()
    assert fitted.best_epoch == 4
    assert fitted.tensors["head/bias"].tolist() == [4, 4]
    assert fitted.best["train_loss"] == 1.5


def test_best_and_last_are_kept_and_another_choice_needs_no_training(tmp_path):
    run = losing(tmp_path, [3.0, 1.0, 2.0, 1.5], patience=2)
    run.fit()
    assert sorted(p.name for p in run.folder.iterdir()) == ["best-000002.safetensors", "checkpoint.safetensors"]
    later = losing(tmp_path, [], patience=2, checkpoint_policy="last")
    earlier = run.checkpoint
    later.model.tensors = lambda: {"base/kernel": np.ones(3, np.float32), **earlier.tensors}
    fitted = later.fit(earlier)
    assert fitted.best_epoch == 4
    assert fitted.tensors["head/bias"].tolist() == [4, 4]
    assert later.model.optimisers == []
    assert later.lines == ["resuming after epoch 4"]


def test_a_run_that_starts_anew_forgets_an_earlier_one(tmp_path):
    losing(tmp_path, [3.0, 1.0]).fit()
    run = losing(tmp_path, [INF])
    with pytest.raises(InputError):
        run.fit()
    assert run.checkpoint is None


@pytest.mark.parametrize("bad", [INF, float("nan")])
def test_a_loss_that_runs_away_says_when_and_what_to_try(tmp_path, bad):
    run = losing(tmp_path, [1.0, bad], learning_rate=0.5, precision="bf16")
    with pytest.raises(InputError) as caught:
        run.fit()
    told = str(caught.value)
    assert f"epoch 2 ended with a training loss of {bad}" in told
    assert "the learning rate, 0.5, is too high" in told
    assert "--precision fp32" in told
    assert told.startswith("training diverged: ")
    kept = (
        f"1 epoch is saved in {run.folder}/. Rerun with --resume --epochs 1 for the model of the best of them, epoch 1."
    )
    assert told.endswith(kept)
    assert len(run.checkpoint.training_state.history) == 1


def test_what_was_best_before_training_diverged_becomes_the_model_when_it_is_told_to_end_there(tmp_path):
    run = losing(tmp_path, [3.0, 1.0, 2.0, INF])
    with pytest.raises(InputError, match=r"--resume --epochs 3 for the model of the best of them, epoch 2\.$"):
        run.fit()
    later = losing(tmp_path, [], epochs=3)
    later.model.tensors = lambda: {"base/kernel": np.ones(3, np.float32)}
    fitted = later.fit(run.checkpoint)
    assert (fitted.best_epoch, fitted.tensors["head/bias"].tolist()) == (2, [2, 2])


def test_with_a_schedule_that_ends_with_the_epochs_no_other_number_of_them_is_advised(tmp_path):
    run = losing(tmp_path, [3.0, INF], schedule="cosine")
    with pytest.raises(InputError, match=r"1 epoch is saved in \S+/\.$"):
        run.fit()


def checked(run, **members):
    """The run's model as a backend of a plugin has built it, with these members instead of its own."""
    for name, value in members.items():
        setattr(run.model, name, value)
    origin = Origin(kind="backend", name="mine", distribution="acme")
    run.model = checked_model(run.model, run.model.spec, run.model.tensors(), origin, "build")
    return run


def test_logits_that_are_not_finite_while_it_learns_are_no_fault_of_the_backend(tmp_path):
    run = checked(losing(tmp_path, [1.0]), predict=lambda inputs: np.full((len(inputs), 2), INF, np.float32))
    with pytest.raises(InputError, match=r"training diverged: epoch 1 ended with .* a validation loss of nan"):
        run.fit()


@pytest.mark.parametrize(
    ("done", "kept"), [(1, "1 epoch is saved in {}/: rerun the same command with --resume"), (0, "No epoch")]
)
def test_a_fault_of_the_backend_says_what_is_kept(tmp_path, done, kept):
    run = losing(tmp_path, [1.0] * done)
    own = run.model.fit_epoch

    def fit_epoch(batches, loss, optimiser):
        if len(run.model.seen) == done:
            raise RuntimeError("device lost")
        return own(batches, loss, optimiser)

    words = r"^backend 'mine' \(distribution acme\): fit_epoch raised RuntimeError: device lost\. .*"
    with pytest.raises(PluginError, match=words + kept.format(run.folder)):
        checked(run, fit_epoch=fit_epoch).fit()


def test_a_frozen_layer_that_fails_names_the_films(tmp_path):
    run = Run(tmp_path)
    own, calls = run.model.embed, iter(range(9))
    run.model.head.tensors = lambda: {"head/kernel": np.ones((4, 2), np.float32), "head/bias": np.ones(2, np.float32)}
    run.model.tensors = lambda: {"base/kernel": np.ones(3, np.float32), **run.model.head.tensors()}
    embed = lambda films: own(films) * np.float32(np.nan if next(calls) == 1 else 1)  # noqa: E731
    with pytest.raises(PluginError, match=r"embed returned .* not finite .* Films: 8\.png, 9\.png\. No epoch"):
        checked(run, embed=embed).fit()


def test_a_validation_loss_that_runs_away_is_one_too(tmp_path):
    run = Run(tmp_path, trainable="all")
    run.model.predict = lambda films: np.full((len(films), 2), np.nan, np.float32)
    with pytest.raises(InputError, match=r"epoch 1 ended with a training loss of 1.0 and a validation loss of nan"):
        run.fit()


def test_ctrl_c_keeps_the_last_finished_epoch_and_says_how_to_go_on(tmp_path):
    run = losing(tmp_path, [3.0, 1.0, 2.0])
    usual = run.model.fit_epoch

    def stopped(batches, loss, optimiser):
        if len(run.model.seen) == 3:
            raise KeyboardInterrupt
        return usual(batches, loss, optimiser)

    run.model.fit_epoch = stopped
    with pytest.raises(
        KeyboardInterrupt, match=r"stopped; 3 epochs are saved in .*m.run/\. Rerun the same command with --resume"
    ):
        run.fit()
    assert [row["train_loss"] for row in run.checkpoint.training_state.history] == [3, 1, 2]
    assert run.checkpoint.training_state.best_epoch == 2
    assert not list(run.folder.glob("*.part"))


def test_ctrl_c_in_the_first_epoch_keeps_nothing(tmp_path):
    run = Run(tmp_path)

    def stopped(batches, loss, optimiser):
        raise KeyboardInterrupt

    run.model.head.fit_epoch = stopped
    with pytest.raises(KeyboardInterrupt, match="before the end of the first epoch"):
        run.fit()
    assert run.checkpoint is None


def test_the_optimiser_is_that_of_the_options(tmp_path):
    assert optimiser_of(TrainOptions()) == Optimiser(learning_rate=1e-5)
    chosen = {"learning_rate": 0.1, "layer_decay": 0.5, "weight_decay": 0.02, "batch_norm": "batch"}
    assert optimiser_of(TrainOptions(clip_norm=3.0, **chosen)) == Optimiser(clip_norm=3.0, **chosen)
    run = Run(tmp_path, epochs=2, **chosen)
    run.fit()
    assert run.model.head.optimisers == [Optimiser(**chosen)] * 2
