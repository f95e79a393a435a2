"""model.run/: what a training run leaves beside its model for people to look at."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from cxrscore.files import make_folder, write_whole
from cxrscore.plot_style import default_style


def save_run(model: Path, history: Sequence[Mapping[str, float]], best_epoch: int, split: str, recipe: str) -> Path:
    """Writes recipe.toml, history.csv, split.csv and loss.png into a folder model.run beside the model; returns it."""
    folder = model.with_suffix(".run")
    make_folder(folder)
    write_whole(folder / "recipe.toml", recipe.encode())
    write_whole(folder / "history.csv", _csv(history).encode())
    write_whole(folder / "split.csv", split.encode())
    write_whole(folder / "loss.png", _loss_figure(history, best_epoch))
    return folder


def _csv(history: Sequence[Mapping[str, float]]) -> str:
    lines = [",".join(history[0]), *(",".join(f"{value:.6g}" for value in row.values()) for row in history)]
    return "\n".join(lines) + "\n"


@default_style()
def _loss_figure(history: Sequence[Mapping[str, float]], best_epoch: int) -> bytes:
    """Training and validation loss by epoch, the chosen epoch marked, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="epoch", ylabel="loss")
    epochs = [row["epoch"] for row in history]
    axes.plot(epochs, [row["train_loss"] for row in history], label="training")
    axes.plot(epochs, [row["valid_loss"] for row in history], label="validation")
    axes.axvline(best_epoch, color="0.5", linestyle=":", label=f"chosen epoch {best_epoch}")
    axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
