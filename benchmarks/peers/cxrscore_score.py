"""cxrscore's own scoring: score_films whole, from finding the films to the file that is read back, heat maps included.

Only the network is built before the clock starts, as every contender's is, and the model file read: `score_films` is
given both as they are. All else of a run is in the time: decoders started, manifest, shards, merge, small films.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from turns import job, serve

from cxrscore import open_scores, plugins, scoring
from cxrscore.images import require_films
from cxrscore.scoring import ScoreOptions, score_films

given = job()
output = Path(given["answers"]) / f"{given['name']}.h5"
options: dict[str, Any] = {
    "films": Path(given["films"]),
    "output": output,
    "model": Path(given["model"]),
    "backend": given["backend"],
    "precision": given["precision"],
    "device": "cpu",
    "batch_size": given["batch_size"],
    "overwrite": True,
}


class Kept:
    """A backend that builds its network once, however often it is asked."""

    def __init__(self, backend: Any) -> None:
        self._backend, self._made = backend, {}

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._backend, name)
        return partial(self._once, name, found) if name.startswith("build") else found

    def _once(self, name: str, build: Any, *told: Any, **further: Any) -> Any:
        if name not in self._made:
            self._made[name] = build(*told, **further)
        return self._made[name]


kept = Kept(plugins.get_backend(given["backend"]))
plugins.get_backend = lambda name: kept
files = scoring.load_models(ScoreOptions(**options))
model = scoring.prepare_run(ScoreOptions(**options), files, require_films(options["films"])).models[0]
# The network has its tensors; int8 shifts the bias of the head before it is built.
files = tuple(replace(file, tensors={"head/bias": file.tensors["head/bias"]}) for file in files)
scoring.load_models = lambda options: files
batch = np.random.default_rng(0).random((given["batch_size"], given["size"], given["size"]), np.float32)


def run(**changed: Any) -> Path:
    score_films(ScoreOptions(**{**options, "films": Path(given["films"]), **changed}))
    return output


def forward() -> None:
    """The network alone, on a batch that lies in memory."""
    for _ in range(given["forward_batches"]):
        model.predict(batch)


def probabilities(_: Path) -> np.ndarray:
    return np.asarray(open_scores(output).prob)


works = {"score": run, "forward": forward, "no maps": partial(run, heatmaps=0), "all maps": partial(run, heatmaps=14)}
serve(works, model.framework, answer=probabilities)
shutil.rmtree(f"{output}.parts", ignore_errors=True)
