"""model.run/: the files of a training run beside its model, for users."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from cxrscore.errors import InputError
from cxrscore.io import atomic_write_bytes, make_folder
from cxrscore.io.outputs import OutputKind, check_output, output_kind_with_marks
from cxrscore.plot_style import default_style

RECIPE, HISTORY, SPLIT, LOSS = "recipe.toml", "history.csv", "split.csv", "loss.png"
_MARK = "# Written by cxrscore train.\n"
"""First line of the recipe, which identifies a run folder of cxrscore."""


def run_folder(model: Path) -> Path:
    """The run folder of a model file; InputError if both would have the same name."""
    folder = model.with_suffix(".run")
    if folder == model:
        raise InputError(f"{model} has the suffix of the folder beside a model: name the model file otherwise")
    return folder


def check_run_folder(model: Path, *, inputs: Iterable[Path | None], overwrite: bool) -> None:
    """Refuses a run folder with files that must not be replaced; errors as check_output."""
    folder, files = run_folder(model), list(inputs)
    ours = output_kind_with_marks("a recipe of cxrscore train", _MARK.encode())
    kind = OutputKind(name="of an earlier run of cxrscore train", recognises=lambda _: ours.recognises(folder / RECIPE))
    for name in (RECIPE, HISTORY, SPLIT, LOSS):
        check_output(folder / name, kind, inputs=files, overwrite=overwrite)


def save_run(model: Path, history: Sequence[Mapping[str, float]], best_epoch: int, split: str, recipe: str) -> Path:
    """Writes recipe.toml and split.csv, and for a run with epochs history.csv and loss.png, into a folder model.run
    beside the model; returns it."""
    folder = run_folder(model)
    make_folder(folder)
    atomic_write_bytes(folder / RECIPE, f"{_MARK}{recipe}".encode())
    atomic_write_bytes(folder / SPLIT, split.encode())
    if history:
        atomic_write_bytes(folder / HISTORY, _csv(history).encode())
        atomic_write_bytes(folder / LOSS, _loss_figure(history, best_epoch))
    else:  # those of an earlier run are not of this model
        for name in (HISTORY, LOSS):
            (folder / name).unlink(missing_ok=True)
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
