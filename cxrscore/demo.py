"""Train, score and report on synthetic films: a first try without data, weights or network access."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cxrscore import plugins
from cxrscore.io.outputs import mark_folder
from cxrscore.progress import Progress, no_progress
from cxrscore.reporting import write_report
from cxrscore.scorefile import open_scores
from cxrscore.scoring import ScoreOptions, score_films
from cxrscore.synthetic.phantoms import make_phantoms
from cxrscore.training import TrainOptions, train_model

SIZE = 128
"""Side of the network input, in pixels."""


def run_demo(
    folder: Path,
    *,
    backend: str | None = None,
    films: int = 240,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Create films in ``folder``, train a small network from scratch on them, score and report.

    Returns JSON-ready figures. InputError if the folder contains anything except an earlier demo.
    """
    mark_folder(folder, "demo")
    say(f"drawing {films} synthetic films in {folder / 'films'}")
    make_phantoms(folder, films=films, patients=None, side=256, seed=seed)
    name = plugins.training_backend(backend, say, architecture="tinycnn")
    options = TrainOptions(
        films=folder / "films",
        output=folder / "model.safetensors",
        backend=name,
        architecture="tinycnn",
        weights="none",
        size=SIZE,
        trainable="all",
        epochs=80,
        batch_size=8,
        patience=40,
        learning_rate=2e-3,
        initial_head="random",  # with a head of zeros, the layers below would get no gradient at first
        monitor="valid_macro_auc",  # from scratch, ranks and heat maps still improve when the loss rises again
        seed=seed,
    )
    say(f"cxrscore train --backend {name} --architecture tinycnn --weights none --size {SIZE} --trainable all ...")
    trained = train_model(options, progress)
    say(f"cxrscore score {folder / 'films'} -o {folder / 'out.h5'}")
    scored = score_films(
        ScoreOptions(
            films=folder / "films",
            output=folder / "out.h5",
            model=options.output,
            backend=name,
            batch_size=16,
            overwrite=True,
        ),
        progress,
    )
    say(f"cxrscore report {folder / 'out.h5'}")
    page = folder / "out.html"
    summary = write_report(open_scores(scored.output), page, source="out.h5")
    say(f"macro AUC on the test films: {trained.test_auc:.3f}. Open {page}")
    return {"test_auc": trained.test_auc, "page": str(page), "report": summary}
