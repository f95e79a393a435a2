"""The epoch loop, the same for every backend: train, validate, keep the best, checkpoint, stop early."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array, Loss, Model, Optimiser
from cxrscore.errors import InputError
from cxrscore.metrics import auc_per_finding, macro
from cxrscore.progress import Progress
from cxrscore.train.checkpoint import Checkpoint, Row, Standing, save_checkpoint
from cxrscore.train.data import Data
from cxrscore.train.feed import Feed, predict
from cxrscore.train.options import TrainOptions

MONITORS = {"valid_macro_auc": 1.0, "valid_loss": -1.0, "train_loss": -1.0}
"""Figures that an epoch can be chosen by; 1 where more is better, -1 where less is."""

_Judge = Callable[[], tuple[float, NDArray[np.float64]]]


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What training ended with: a row of history an epoch, the chosen epoch (from 1), its AUC of each finding, and
    all tensors of the model as they were then."""

    history: list[Row]
    best_epoch: int
    valid_auc: list[float]
    tensors: dict[str, Array]

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
    *,
    folder: Path,
    inputs: Mapping[str, Any],
    earlier: Checkpoint | None,
) -> Fitted:
    """Trains until the epochs are over or the monitored figure has not become better for ``patience`` of them.

    folder, inputs  where checkpoints go, and what a run that goes on with them must have in common
    earlier         where to go on; the model holds its tensors
    """
    feed = Feed(model, data, options, progress)
    judge = _judge(model, feed, data, loss, progress)
    standing = Standing(history=[], best_epoch=0, best={}, valid_auc=[])
    if earlier is not None:
        standing = earlier.standing
        feed.learner.restore(earlier.state)
    while not _over(standing, options):
        row = _epoch(feed, judge, loss, options, standing)
        progress(f"epoch {row['epoch']:.0f}: {_figures(row)}", len(standing.history), options.epochs)
        save_checkpoint(folder, feed.learner, standing, inputs)
    return Fitted(
        history=standing.history,
        best_epoch=standing.best_epoch,
        valid_auc=standing.valid_auc,
        tensors={**model.tensors(), **standing.best},
    )


def _over(standing: Standing, options: TrainOptions) -> bool:
    done = len(standing.history)
    return done >= options.epochs or (done > 0 and done - standing.best_epoch >= options.patience)


def _epoch(feed: Feed, judge: _Judge, loss: Loss, options: TrainOptions, standing: Standing) -> Row:
    """One epoch, entered into the standing; returns its row of the history."""
    epoch, started = len(standing.history), time.monotonic()
    train_loss = feed.learner.fit_epoch(feed.batches(epoch), loss, Optimiser(learning_rate=options.learning_rate))
    if not np.isfinite(train_loss):
        raise InputError(f"the loss is {train_loss} in epoch {epoch + 1}; try a smaller --learning-rate")
    valid_loss, aucs = judge()
    row = {"epoch": epoch + 1, "train_loss": train_loss, "valid_loss": valid_loss, "valid_macro_auc": macro(aucs)}
    row["seconds"] = round(time.monotonic() - started, 3)
    if not standing.history or _rank(row, options.monitor) > _rank(
        standing.history[standing.best_epoch - 1], options.monitor
    ):
        standing.best_epoch, standing.best, standing.valid_auc = epoch + 1, feed.learner.tensors(), list(aucs)
    standing.history.append(row)
    return row


def _figures(row: Row) -> str:
    return f"loss {row['train_loss']:.3f}, valid AUC {row['valid_macro_auc']:.3f}"


def _rank(row: Row, monitor: str) -> tuple[float, float]:
    """The monitored figure, more being better; between equal or undefined ones the lower validation loss decides."""
    value = MONITORS[monitor] * row[monitor]
    return (-np.inf if np.isnan(value) else value, -row["valid_loss"])


def _judge(model: Model, feed: Feed, data: Data, loss: Loss, progress: Progress) -> _Judge:
    """A function that gives loss and AUC of each finding on the validation films, as the model then is."""
    inputs, truth = feed.valid_inputs(progress), data.labels[list(data.split.valid)]

    def judged() -> tuple[float, NDArray[np.float64]]:
        logits = predict(model, data.store, data.split.valid) if inputs is None else feed.learner.predict(inputs)
        return float(loss.function(np, logits, truth, loss.weights)), auc_per_finding(truth, logits)

    return judged
