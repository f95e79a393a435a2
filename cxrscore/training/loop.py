"""The epoch loop of every backend: train, validate, save the best epoch, write checkpoints, stop early."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array, BatchNorm, Floats, Loss, Model, Optimiser
from cxrscore.errors import InputError, PluginError
from cxrscore.metrics import auc_per_finding, label_accuracy, macro
from cxrscore.models.probabilities import probabilities
from cxrscore.progress import Log, Progress
from cxrscore.training.checkpoint import Checkpoint, Row, TrainingState, remove_checkpoint, save_checkpoint
from cxrscore.training.data import Data
from cxrscore.training.data_loader import TrainingData
from cxrscore.training.distributed import DistributedContext
from cxrscore.training.features import FeatureSource, Rows
from cxrscore.training.options import MONITORS, TrainOptions
from cxrscore.training.probe import ProbeFit


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """Result of training: all tensors of the model, the features of the films, and how it came to be: the history and
    the chosen epoch, from 1, of the epoch loop, or the linear probe, without a history and with epoch 0."""

    tensors: dict[str, Array]
    outputs: FeatureSource
    history: list[Row] = field(default_factory=list)
    best_epoch: int = 0
    probe: ProbeFit | None = None

    @property
    def best(self) -> Row:
        """The row of the chosen epoch."""
        return self.history[self.best_epoch - 1]


def fit(
    model: Model,
    data: Data,
    loss: Loss,
    options: TrainOptions,
    progress: Progress,
    say: Log,
    *,
    folder: Path,
    inputs: Mapping[str, Any],
    earlier: Checkpoint | None,
    processes: DistributedContext | None = None,
) -> FitResult:
    """Trains for all epochs, or until the monitored measure has not improved for ``patience`` epochs.

    folder, inputs  the folder of the checkpoints, and the inputs that a resumed run must have in common
    earlier         the state to resume from; the model holds its tensors
    processes       the processes that train together, all with the same result; None: this process only
    A KeyboardInterrupt passes through; its message names what is saved.
    """
    processes = processes or DistributedContext()
    with processes.collective():
        feed = TrainingData(model, data, options, progress, processes)
        state = TrainingState(history=[], best_epoch=0, best={}, valid_auc=[], last_auc=[])
        if earlier is not None:
            state = earlier.training_state
            feed.learner.restore(earlier.state)
            say(f"resuming after epoch {len(state.history)}")
        elif processes.is_rank_zero:
            remove_checkpoint(folder)
    finished_epochs = len(state.history)
    try:
        while not _is_finished(state, options):
            row = _epoch(feed, data, loss, options, state, processes, folder)
            _log_epoch(row, state, options, progress, say)
            processes.on_rank_zero_broadcast(lambda: save_checkpoint(folder, feed.learner, state, inputs))
            finished_epochs = len(state.history)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_stopped(finished_epochs, folder)) from None
    except PluginError as error:
        raise PluginError(f"{error} {_resume_hint_after_fault(finished_epochs, folder)}") from error
    return _chosen(model, feed, state, options)


def optimiser_of(options: TrainOptions) -> Optimiser:
    """The settings of the optimiser; clip_norm 0: no clipping."""
    batch_norm: BatchNorm = "batch" if options.batch_norm == "batch" else "frozen"
    return Optimiser(
        learning_rate=options.learning_rate,
        layer_decay=options.layer_decay,
        weight_decay=options.weight_decay,
        clip_norm=options.clip_norm or float("inf"),
        batch_norm=batch_norm,
    )


def _is_finished(state: TrainingState, options: TrainOptions) -> bool:
    done = len(state.history)
    return done >= options.epochs or (
        done > 0 and done - _last_improvement(state.history, options.monitor) >= options.patience
    )


def _last_improvement(history: Sequence[Row], monitor: str) -> int:
    """The last epoch, from 1, in which the monitored measure (if undefined: the validation loss) improved on all
    earlier epochs. An epoch that only equals the best one may replace it, but does not extend the patience."""
    name = monitor if any(not np.isnan(row[monitor]) for row in history) else "valid_loss"
    best, risen = -np.inf, 1
    for epoch, row in enumerate(history, start=1):
        if (value := MONITORS[name] * row[name]) > best:
            best, risen = value, epoch
    return risen


def _epoch(
    feed: TrainingData,
    data: Data,
    loss: Loss,
    options: TrainOptions,
    state: TrainingState,
    processes: DistributedContext,
    folder: Path,
) -> Row:
    """Trains one epoch and updates the state; returns its row of the history. InputError if training diverged."""
    epoch, started = len(state.history), time.monotonic()
    processes.once_per_node(lambda: feed.run_frozen(epoch))
    train_loss = feed.learner.fit_epoch(feed.batches(epoch), loss, optimiser_of(options))
    logits, truth = _logits(feed, feed.valid, None, processes), data.labels[feed.valid]
    valid_loss = float("nan")
    if np.isfinite(logits).all():
        valid_loss = float(loss.function(np, logits, truth, loss.weights))
    with processes.collective():
        _check_finite(state, train_loss, valid_loss, options, folder)
    aucs = auc_per_finding(truth, logits)
    row = {
        "epoch": epoch + 1,
        "learning_rate": feed.rate(epoch),
        "train_loss": train_loss,
        "valid_loss": valid_loss,
        "valid_macro_auc": macro(aucs),
        "train_label_accuracy": _train_accuracy(feed, data, options, epoch, processes),
        "valid_label_accuracy": _accuracy(truth, logits, options),
        "seconds": round(time.monotonic() - started, 3),
    }
    _enter(row, aucs, feed, state, options.monitor)
    return row


def _logits(feed: TrainingData, rows: Rows, copy: int | None, processes: DistributedContext) -> Floats:
    """Logits float32 [n,C] of films; each process computes its slice, and all processes get all rows."""
    return processes.all_gather(len(rows), lambda own: feed.logits(rows[own], copy), len(feed.learner.spec.findings))


def _enter(row: Row, aucs: NDArray[np.float64], feed: TrainingData, state: TrainingState, monitor: str) -> None:
    first = not state.history
    state.history.append(row)
    state.last_auc = list(aucs)
    if first or _rank(row, monitor) > _rank(state.history[state.best_epoch - 1], monitor):
        state.best_epoch, state.best, state.valid_auc = (
            len(state.history),
            feed.tensors(),
            list(aucs),
        )


def _check_finite(
    state: TrainingState, train_loss: float, valid_loss: float, options: TrainOptions, folder: Path
) -> None:
    """InputError if a loss or a validation logit is not finite."""
    if np.isfinite(train_loss) and np.isfinite(valid_loss):
        return
    epoch = len(state.history)
    hint = f" {_resume_hint(epoch, folder)}." if epoch else ""
    if epoch and options.schedule == "constant":  # else the number of epochs is part of the run
        hint += f" Rerun with --resume --epochs {epoch} for the model of the best of them, epoch {state.best_epoch}."
    rounding = ", --precision fp32" if options.precision != "fp32" else ""
    raise InputError(
        f"training diverged: epoch {epoch + 1} ended with a training loss of {train_loss} and a validation loss of "
        f"{valid_loss}. Likely the learning rate, {options.learning_rate:g}, is too high: try a tenth of it, "
        f"--warmup 1 or --clip-norm 1{rounding}. If the loss {options.loss!r} is a plugin's, `cxrscore check "
        f"loss:{options.loss}` tests it with extreme logits.{hint}"
    )


def _train_accuracy(
    feed: TrainingData, data: Data, options: TrainOptions, epoch: int, processes: DistributedContext
) -> float:
    """Accuracy on all training films in the augmented copy of this epoch, with the tensors at its end; NaN if it needs
    a pass through more than the head and is not monitored."""
    cheap = options.trainable == "head" and processes.all_reduce_and(feed.is_cached(epoch))
    if not cheap and options.monitor != "train_label_accuracy":
        return float("nan")
    logits = _logits(feed, feed.train, feed.copy(epoch), processes)
    return _accuracy(data.labels[feed.train], logits, options)


def _accuracy(truth: Floats, logits: Floats, options: TrainOptions) -> float:
    """Equation 1 of the paper: the fraction of known labels that are predicted correctly at a probability of 0.5."""
    activation: Any = options.activation
    return label_accuracy(truth, probabilities(logits, activation))


def _rank(row: Row, monitor: str) -> tuple[float, float]:
    """Sort key of an epoch: the monitored measure, higher is better; the lower validation loss breaks ties."""
    value = MONITORS[monitor] * row[monitor]
    return (-np.inf if np.isnan(value) else value, -row["valid_loss"])


def _log_epoch(row: Row, state: TrainingState, options: TrainOptions, progress: Progress, say: Log) -> None:
    """Updates the progress bar after each epoch; prints a line for each new best epoch."""
    epoch = len(state.history)
    value = row["valid_macro_auc"]
    auc = "macro AUC undefined" if np.isnan(value) else f"macro AUC {value:.3f}"
    progress(f"epoch {epoch}: loss {row['train_loss']:.3f}, {auc}", epoch, options.epochs)
    if epoch == state.best_epoch:
        losses = f"loss {row['train_loss']:.4f}, validation {row['valid_loss']:.4f}"
        also = "" if options.monitor in ("valid_macro_auc", "valid_loss", "train_loss") else _monitored(row, options)
        best = "lowest validation loss so far" if np.isnan(row[options.monitor]) else "best so far"
        say(f"epoch {epoch:>3}: {losses}, {auc}{also} ({best})")


def _monitored(row: Row, options: TrainOptions) -> str:
    value = row[options.monitor]
    return f", {options.monitor.replace('_', ' ')} {'undefined' if np.isnan(value) else f'{value:.4f}'}"


def _stopped(finished_epochs: int, folder: Path) -> str:
    if not finished_epochs:
        return "stopped before the end of the first epoch; nothing is saved"
    return f"stopped; {_resume_hint(finished_epochs, folder)}. Rerun the same command with --resume to continue"


def _resume_hint(epochs: int, folder: Path) -> str:
    return f"{'1 epoch is' if epochs == 1 else f'{epochs} epochs are'} saved in {folder}/"


def _resume_hint_after_fault(epochs: int, folder: Path) -> str:
    """The saved state of a run that failed in a plugin, for the error message."""
    if not epochs:
        return "No epoch was finished."
    return f"{_resume_hint(epochs, folder)}: rerun the same command with --resume to continue."


def _chosen(model: Model, feed: TrainingData, state: TrainingState, options: TrainOptions) -> FitResult:
    """The best epoch, or the last."""
    last = options.checkpoint_policy == "last"
    return FitResult(
        history=state.history,
        best_epoch=len(state.history) if last else state.best_epoch,
        tensors={**model.tensors(), **(feed.tensors() if last else state.best)},
        outputs=feed.outputs,
    )
