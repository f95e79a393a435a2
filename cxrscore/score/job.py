"""What a scoring run starts from: films found, labels joined, a model built by a backend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cxrscore
from cxrscore import labels as lab
from cxrscore import plugins
from cxrscore.contract import Model
from cxrscore.errors import InputError
from cxrscore.films import FoundFilms, Preprocessing, require_films
from cxrscore.models.bundle import ModelFile, load_model
from cxrscore.score.options import ScoreOptions


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run that is ready to compute. ``labels`` is None, and ``labels_file`` too, where there is no label table."""

    options: ScoreOptions
    found: FoundFilms
    labels: lab.JoinedLabels | None
    labels_file: dict[str, Any] | None
    file: ModelFile
    backend: str
    model: Model

    @property
    def preprocessing(self) -> Preprocessing:
        return Preprocessing.from_dict(self.file.document["preprocessing"])

    @property
    def fingerprint(self) -> dict[str, Any]:
        """All that decides the numbers of a run: two runs that differ in any of it are not mixed."""
        return {
            "cxrscore": cxrscore.__version__,
            "model": self.file.sha256,
            "preprocessing": self.file.document["preprocessing"],
            "backend": self.backend,
            "framework": self.model.framework,
            "device": self.model.device,
            "precision": self.options.precision,
            "batch_size": self.options.batch_size,
            "explainer": self.options.explainer,
            "tap": self.options.tap,
            "maps": self.options.maps,
            "any_modality": self.options.any_modality,
            "no_paths": self.options.no_paths,
        }


def prepare_job(options: ScoreOptions) -> Job:
    """Reads all that a run needs but the films themselves; raises what is wrong with any of it."""
    file = load_model(options.model)
    found = require_films(options.films)
    labels, labels_file = _labels(options, found.paths)
    backend = _backend(options, file)
    return Job(
        options=options,
        found=found,
        labels=labels,
        labels_file=labels_file,
        file=file,
        backend=backend,
        model=plugins.get_backend(backend).build(
            file.spec, file.tensors, device=options.device, precision=options.precision
        ),
    )


def _labels(
    options: ScoreOptions, paths: tuple[str, ...]
) -> tuple[lab.JoinedLabels, dict[str, Any]] | tuple[None, None]:
    path = options.labels or lab.find_labels(options.films)
    if path is None or options.no_labels:
        return None, None
    joined, file = lab.joined_labels(path, plugins.datasets(), paths)
    return joined, {**file, "matched": len(paths) - joined.unmatched_films}


def _backend(options: ScoreOptions, file: ModelFile) -> str:
    """The backend asked for, else the fastest installed one that can run the model on such a device."""
    if options.backend is not None:
        return options.backend
    fitting = plugins.fastest_backends(file.spec.architecture, options.device)
    if fitting:
        return fitting[0]
    # Asked for by name, so that the error says what is missing and how to install it.
    plugins.get_backend(file.document.get("training", {}).get("backend") or "torch")
    raise InputError(f"no installed backend can run {file.spec.architecture!r}; see `cxrscore plugins`")
