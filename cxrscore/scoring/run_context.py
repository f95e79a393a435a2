"""What a scoring run starts from: films found, labels joined, models built by one backend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

import cxrscore
from cxrscore import labels as lab
from cxrscore import plugins
from cxrscore.contract import Floats, Model, SupportsInt8
from cxrscore.errors import BackendUnavailableError, InputError
from cxrscore.images import FoundFilms, Preprocessing
from cxrscore.models.model_file import ModelFile, int8_model, load_model
from cxrscore.remote import PathOrUrl, RemotePath, as_local_path, remote_exists
from cxrscore.scoring.file_list import FileList, resume_file_list
from cxrscore.scoring.options import ScoreOptions
from cxrscore.scoring.tta import LIMITS

KNOWN_AFTER_LOADING = ("backend", "framework", "device")
"""Inputs of a run that a call may leave to the installation: what a finished file says of them then holds."""


@dataclass(frozen=True, kw_only=True)
class RuntimeInfo:
    """What only who has built the models can say of a run.

    cam_layer          of the heat maps, as Scorer.cam_layer
    golden_difference  as golden_difference returns it
    """

    framework: str
    device: str
    cam_layer: str
    golden_difference: float | None


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """A run that is ready to compute.

    file_list    the films of the run
    found        what the folder holds now
    labels       of all films of the run, whatever partition of it is scored; None, and ``labels_file`` too, if there
                 is no label table
    files        the models, one or more, in the order in which they were named, without their tensors
    models       the same, built; none if other processes compute
    runtime      reported by one of these processes; None if this one computes
    """

    options: ScoreOptions
    file_list: FileList
    found: FoundFilms
    labels: lab.JoinedLabels | None
    labels_file: dict[str, Any] | None
    files: tuple[ModelFile, ...]
    backend: str
    models: tuple[Model, ...]
    runtime: RuntimeInfo | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """The films to score."""
        return self.file_list.paths

    @property
    def findings(self) -> tuple[str, ...]:
        return self.files[0].spec.findings

    @property
    def computed_by(self) -> tuple[str, str]:
        """Framework and device."""
        one = self.runtime or self.models[0]
        return one.framework, one.device

    @property
    def preprocessings(self) -> tuple[Preprocessing, ...]:
        """Of each model."""
        return tuple(Preprocessing.from_dict(file.document["preprocessing"]) for file in self.files)

    @property
    def squares(self) -> tuple[Preprocessing, ...]:
        """The different ones among them, by which each film is made square once; the first model's is the first."""
        return tuple(dict.fromkeys(self.preprocessings))

    @property
    def fingerprint(self) -> dict[str, Any]:
        """All that decides the numbers of a run: two runs that differ in any of it are not mixed."""
        computed = dict(zip(KNOWN_AFTER_LOADING, (self.backend, *self.computed_by), strict=True))
        return {**known_inputs(self.options, self.files), **self.file_list.inputs, **computed}

    def truth(self, rows: Sequence[int]) -> Floats:
        """The labels float32 [n,C] of films to score, by their rows; NaN where unknown."""
        if self.labels is None:
            return np.full((len(rows), len(self.findings)), np.nan, np.float32)
        return self.labels.of(self.findings, np.asarray(rows) + self.file_list.rows.start)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of the run, in words without names of films."""
        return (*filter(None, (self._other_backend, self._other_findings)), *self.changes)

    @property
    def _other_findings(self) -> str:
        if self.labels is None or self.labels_file is None:
            return ""
        return lab.other_findings(self.labels_file["file"], self.labels.findings, self.findings)

    @property
    def _other_backend(self) -> str:
        if self.options.backend is not None:
            return ""
        networks = " and ".join(dict.fromkeys(file.spec.architecture for file in self.files))
        precision = " in int8" if self.options.precision == "int8" else ""
        return plugins.default_note(self.backend, f"score {networks}{precision} on this device")

    @property
    def changes(self) -> tuple[str, ...]:
        """What has changed in the folder since the run began, in words without names."""
        return self.file_list.changes(self.found.paths)


def known_inputs(options: ScoreOptions, files: Sequence[ModelFile]) -> dict[str, Any]:
    """What of a run's fingerprint is known before a framework is loaded: all but KNOWN_AFTER_LOADING."""
    tta = {"copies": options.tta, "seed": options.seed, "limits": asdict(LIMITS)} if options.tta > 1 else None
    return {
        "cxrscore": cxrscore.__version__,
        "models": [file.sha256 for file in files],
        "tta": tta,
        "precision": options.precision,
        "batch_size": options.batch_size,
        "explainer": options.explainer,
        "cam_layer": options.cam_layer,
        "heatmaps": options.heatmaps,
        "any_modality": options.any_modality,
        "anonymize_paths": options.anonymize_paths,
    }


def load_models(options: ScoreOptions) -> tuple[ModelFile, ...]:
    """The model files; InputError unless all give the same findings in the same order."""
    files = tuple(load_model(path) for path in options.models)
    for file in files[1:]:
        if difference := _difference(files[0].spec.findings, file.spec.findings):
            raise InputError(
                f"{files[0].path} and {file.path} do not give the same findings: {difference}. The scores of an "
                "ensemble are means finding by finding: name models of the same findings in the same order."
            )
    return files


def _difference(one: tuple[str, ...], other: tuple[str, ...]) -> str:
    """What tells apart two lists of findings, in words; "" where they are the same."""
    lacks, extra = [f for f in one if f not in other], [f for f in other if f not in one]
    words = [f"the second lacks {', '.join(lacks)}"] * bool(lacks) + [f"the second has {', '.join(extra)}"] * bool(
        extra
    )
    if words or one == other:
        return " and ".join(words)
    place = next(i for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b)
    return f"their order differs, number {place + 1} is {one[place]} and {other[place]}"


def prepare_run(
    options: ScoreOptions, files: tuple[ModelFile, ...], found: FoundFilms, runtime: RuntimeInfo | None = None
) -> RunContext:
    """Reads all that a run needs but the films themselves; raises what is wrong with any of it.

    runtime  reported by the process that computes; None: the models are built here
    """
    listing = resume_file_list(options, found)
    labels, labels_file = _labels(options, listing)
    backend = chosen_backend(options, files)
    return RunContext(
        options=options,
        file_list=listing,
        found=found,
        labels=labels,
        labels_file=labels_file,
        files=tuple(replace(file, tensors={}) for file in files),
        backend=backend,
        models=() if runtime else _built(options, files, backend),
        runtime=runtime,
    )


def prepare_worker(options: ScoreOptions, listing: FileList) -> RunContext:
    """As much of a job as computing its shards takes: the models, built, and the films of the run."""
    files, nothing = load_models(options), FoundFilms(paths=(), others=0, unreadable=())
    backend = chosen_backend(options, files)
    return RunContext(
        options=options,
        file_list=listing,
        found=nothing,
        labels=None,
        labels_file=None,
        files=tuple(replace(file, tensors={}) for file in files),
        backend=backend,
        models=_built(options, files, backend),
    )


def _built(options: ScoreOptions, files: Sequence[ModelFile], name: str) -> tuple[Model, ...]:
    backend, device, precision = plugins.get_backend(name), options.device, options.precision
    if precision == "int8":
        return tuple(int8_model(backend, file, device) for file in files)
    return tuple(backend.build(file.spec, file.tensors, device=device, precision=precision) for file in files)


def _labels(options: ScoreOptions, listing: FileList) -> tuple[lab.JoinedLabels, dict[str, Any]] | tuple[None, None]:
    place = None if options.no_labels else options.labels or _find_labels(options.films)
    if place is None:
        return None, None
    with as_local_path(place, lab.LARGEST_TABLE) as table:
        joined, file = lab.read_joined_labels(table, plugins.datasets(), listing.all_films(), name=place.name)
    return joined, {**file, "labelled_films": sum(joined.matched[listing.rows.start : listing.rows.stop])}


def _find_labels(films: PathOrUrl) -> PathOrUrl | None:
    """The label table in or beside the folder; elsewhere only in it. None where there is none."""
    if not isinstance(films, RemotePath):
        return lab.find_labels(films)
    table = films / "labels.csv"
    return table if remote_exists(table) else None


def chosen_backend(options: ScoreOptions, files: Sequence[ModelFile]) -> str:
    """The backend asked for, else the fastest installed one that can run all models on such a device: one process
    uses one framework."""
    if options.backend is not None:
        return options.backend
    wanted = dict.fromkeys(file.spec.architecture for file in files)
    able = [_capable_backends(architecture, options) for architecture in wanted]
    fitting = [name for name in able[0] if all(name in names for names in able[1:])]
    if fitting:
        return fitting[0]
    if options.precision == "int8":
        raise BackendUnavailableError(
            'no installed backend computes these models in int8; OpenVINO does: pip install "cxrscore[openvino]"'
        )
    # Asked for by name, so that the error says what is missing and how to install it.
    plugins.get_backend(files[0].document.get("training", {}).get("backend") or "torch")
    runs = "; ".join(f"{name!r} by {', '.join(names) or 'none'}" for name, names in zip(wanted, able, strict=True))
    raise InputError(f"no installed backend can run {' and '.join(map(repr, wanted))} ({runs}); see `cxrscore plugins`")


def _capable_backends(architecture: str, options: ScoreOptions) -> list[str]:
    """The backends that run it as the options say, the fastest first."""
    names = plugins.fastest_backends(architecture, options.device)
    there = plugins.available_backends()
    return [name for name in names if options.precision != "int8" or isinstance(there[name], SupportsInt8)]
