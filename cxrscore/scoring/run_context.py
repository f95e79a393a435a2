"""The context of a scoring run: films, labels, and the models built by one backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

import cxrscore
from cxrscore import labels as lab
from cxrscore import plugins
from cxrscore.contract import Floats, Model, Precision, ScorePrecision
from cxrscore.errors import InputError
from cxrscore.images import FoundFilms, Preprocessing
from cxrscore.models.calibration import moved_calibration, prevalences
from cxrscore.models.ensemble_file import load_scorers
from cxrscore.models.model_file import EnsembleFile, ModelFile, int8_model
from cxrscore.remote import PathOrUrl, RemotePath, as_local_path, remote_exists
from cxrscore.scoring.backend_choice import choose_precision, chosen_backend
from cxrscore.scoring.file_list import FileList, resume_file_list
from cxrscore.scoring.options import AUTO, ScoreOptions
from cxrscore.scoring.target_prevalence import checked_target, kept_note
from cxrscore.scoring.tta import LIMITS

KNOWN_AFTER_LOADING = ("backend", "framework", "device")
"""Inputs that a call may leave to the installation: then the values in a finished file apply."""


@dataclass(frozen=True, kw_only=True)
class RuntimeInfo:
    """Information about a run that requires built models.

    cam_layer          of the heat maps, as Scorer.cam_layer
    golden_difference  result of golden_difference
    backend, precision what computed
    precision_note     as RunContext.precision_note
    """

    framework: str
    device: str
    cam_layer: str
    golden_difference: float | None
    backend: str
    precision: str
    precision_note: str = ""


@dataclass(frozen=True, kw_only=True)
class LoadedModels:
    """Models that one backend has built, for any number of runs with the same models and the same options.

    files              the model files in the given order, without their tensors
    backend            name of the backend
    precision          in which the models compute
    precision_note     as RunContext.precision_note
    models             the built models, in the same order
    golden_difference  result of golden_difference, which is computed once
    """

    files: tuple[ModelFile, ...]
    backend: str
    precision: ScorePrecision
    precision_note: str
    models: tuple[Model, ...]
    golden_difference: float | None


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """A run that is ready to compute.

    options      of the caller, but with the chosen backend and precision where it says auto
    precision_note  for the user: the precision that auto takes and why, or that the device emulates the named one; ""
                 if there is nothing to say
    file_list    the films of the run
    found        what the folder holds now
    labels       of all films of the run, for any partition; None, as ``labels_file``, if there is no label table
    files        the model files in the given order, without their tensors
    models       the built models; empty if other processes compute
    runtime      reported by one of these processes; None if this process computes
    loaded       the models of the caller; None if they were built for this run. A run with them does not record the
                 digests of its films in the cache
    """

    options: ScoreOptions
    file_list: FileList
    found: FoundFilms
    labels: lab.JoinedLabels | None
    labels_file: dict[str, Any] | None
    files: tuple[ModelFile, ...]
    backend: str
    models: tuple[Model, ...]
    precision_note: str = ""
    runtime: RuntimeInfo | None = None
    loaded: LoadedModels | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """The films to score."""
        return self.file_list.paths

    @property
    def findings(self) -> tuple[str, ...]:
        return self.files[0].spec.findings

    @property
    def ensemble(self) -> EnsembleFile | None:
        """The ensemble file that was named; None if model files were named."""
        return self.files[0].member_of

    @property
    def means(self) -> bool:
        """Whether scores are means, over models or augmented copies."""
        return len(self.files) > 1 or self.options.tta > 1

    @property
    def thresholds(self) -> Mapping[str, Any]:
        """The thresholds by finding of the model or ensemble; empty for other means, because thresholds were
        chosen on other probabilities."""
        if self.options.tta > 1 or (self.ensemble is None and self.means):
            return {}
        points: Mapping[str, Any] = self.calibrated_document.get("thresholds", {})
        return points

    @property
    def precision(self) -> ScorePrecision:
        """In which the models compute."""
        return cast(ScorePrecision, self.options.precision)

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
        """The distinct preprocessings, the first model's first: each film is resized once for each of them."""
        return tuple(dict.fromkeys(self.preprocessings))

    @property
    def target(self) -> dict[str, float]:
        """The target prevalence by finding; empty without one."""
        return checked_target(self.options.target_prevalence, self.files)

    @property
    def calibrations(self) -> tuple[Mapping[str, Any] | None, ...]:
        """Of each model, for the target prevalence; of the members of an ensemble as they are, because the calibration
        of the ensemble is moved."""
        target = {} if self.ensemble is not None else self.target
        return tuple(moved_calibration(file.document, target) for file in self.files)

    @property
    def ensemble_calibration(self) -> Mapping[str, Any] | None:
        """Of the mean of the members of an ensemble file, for the target prevalence; None without one."""
        return None if self.ensemble is None else moved_calibration(self.calibrated_document, self.target)

    @property
    def prior_log_odds(self) -> NDArray[np.float64]:
        """float64 [C]: log odds of the prevalence for which the probabilities hold; 0 for all findings unless it is
        known for each of them. The heat maps of a film are those of the findings furthest above it: by probability
        alone, they would be those of the common findings on most films."""
        documents = [{"document": file.document} for file in self.files]
        ensemble = {} if self.ensemble is None else {"ensemble": {"document": self.ensemble.document}}
        known = prevalences({"models": documents, "target_prevalence": self.target, **ensemble}, self.findings)
        if len(known) < len(self.findings):
            return np.zeros(len(self.findings))
        share = np.array([known[finding] for finding in self.findings])
        return np.asarray(np.log(share) - np.log1p(-share), np.float64)

    @property
    def calibrated_document(self) -> Mapping[str, Any]:
        """The document with the calibration of the scores: of the ensemble, or of the first model."""
        return self.files[0].document if self.ensemble is None else self.ensemble.document

    @property
    def fingerprint(self) -> dict[str, Any]:
        """All inputs that determine the scores: results of runs with different fingerprints are never mixed."""
        computed = dict(zip(KNOWN_AFTER_LOADING, (self.backend, *self.computed_by), strict=True))
        return {**known_inputs(self.options, self.files), **self.file_list.inputs, **computed}

    def truth(self, rows: Sequence[int]) -> Floats:
        """The labels float32 [n,C] of films to score, by row; NaN if unknown."""
        if self.labels is None:
            return np.full((len(rows), len(self.findings)), np.nan, np.float32)
        return self.labels.of(self.findings, np.asarray(rows, np.intp) + self.file_list.rows.start)

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user on the run, without names of films."""
        kept = kept_note(self.target, self.findings)
        return (*filter(None, (self._other_backend, self.other_findings, kept)), *self.changes)

    @property
    def label_notes(self) -> tuple[str, ...]:
        """Lines for the screen on the label table: what its columns were read as, and films without a row and rows
        without a film, of the whole run; a warning if it shares no finding with the models. They have names of
        films unless these are hidden, so that no file stores them: it has the counts."""
        if self.labels is None or self.labels_file is None:
            return ()
        named = not self.options.anonymize_paths
        name = self.labels_file["file"] if named else "label table"
        table = lab.describe_table({**self.labels_file, "file": name})
        return (*filter(None, (table, *self.labels.match.lines(name, film_names=named), self.other_findings)),)

    @property
    def other_findings(self) -> str:
        """Warning if the label table shares no finding with the models; "" otherwise."""
        if self.labels is None or self.labels_file is None:
            return ""
        name = "" if self.options.anonymize_paths else self.labels_file["file"]
        return lab.other_findings(name, self.labels.findings, self.findings)

    @property
    def _other_backend(self) -> str:
        if self.options.backend is not None:
            return ""
        networks = " and ".join(dict.fromkeys(file.spec.architecture for file in self.files))
        precision = " in int8" if self.options.precision == "int8" else ""
        return plugins.default_note(self.backend, f"score {networks}{precision} on this device")

    @property
    def changes(self) -> tuple[str, ...]:
        """Notes, without names, on what changed in the folder since the run started."""
        return self.file_list.changes(self.found.paths)


def known_inputs(options: ScoreOptions, files: Sequence[ModelFile]) -> dict[str, Any]:
    """Fingerprint before a framework is loaded: without KNOWN_AFTER_LOADING."""
    tta = {"copies": options.tta, "seed": options.seed, "limits": asdict(LIMITS)} if options.tta > 1 else None
    target = checked_target(options.target_prevalence, files)
    ensemble = files[0].member_of
    return {
        **({"target_prevalence": target} if target else {}),
        "cxrscore": cxrscore.__version__,
        "models": [file.sha256 for file in files],
        **({} if ensemble is None else {"ensemble": ensemble.sha256}),
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
    """The model files, or the members of an ensemble file; InputError unless all have the same findings in the same
    order and fit the target prevalence, or for an ensemble file among several."""
    files = tuple(file for path in options.models for file in load_scorers(path))
    named = next((file.member_of for file in files if file.member_of is not None), None)
    if named is not None and len(options.models) > 1:
        raise InputError(
            f"{named.path} is an ensemble, whose calibration is that of its members, so it cannot be averaged with "
            "other models: name it alone, or name its members instead."
        )
    for file in files[1:]:
        if difference := _difference(files[0].spec.findings, file.spec.findings):
            raise InputError(
                f"{files[0].path} and {file.path} do not have the same findings: {difference}. An ensemble averages "
                "each finding: name models with the same findings in the same order."
            )
    checked_target(options.target_prevalence, files)
    return files


def _difference(one: tuple[str, ...], other: tuple[str, ...]) -> str:
    """The difference between two lists of findings as text; "" if they are equal."""
    lacks, extra = [f for f in one if f not in other], [f for f in other if f not in one]
    words = [f"the second lacks {', '.join(lacks)}"] * bool(lacks) + [f"the second has {', '.join(extra)}"] * bool(
        extra
    )
    if words or one == other:
        return " and ".join(words)
    place = next(i for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b)
    return f"their order differs, number {place + 1} is {one[place]} and {other[place]}"


def prepare_run(
    options: ScoreOptions,
    files: tuple[ModelFile, ...],
    found: FoundFilms,
    runtime: RuntimeInfo | None = None,
    loaded: LoadedModels | None = None,
) -> RunContext:
    """Reads all inputs of a run except the films; raises an error for any invalid one.

    runtime  reported by the process that computes; None: this process builds the models
    loaded   the models, if they are built already
    """
    options, note = with_precision(options, files, runtime or loaded)
    listing = resume_file_list(options, found)
    labels, labels_file = _labels(options, listing, files[0].spec.findings)
    backend = chosen_backend(options, files) if loaded is None else loaded.backend
    models = () if runtime else _built(options, files, backend) if loaded is None else loaded.models
    return RunContext(
        options=options,
        file_list=listing,
        found=found,
        labels=labels,
        labels_file=labels_file,
        files=tuple(replace(file, tensors={}) for file in files),
        backend=backend,
        models=models,
        precision_note=note,
        runtime=runtime,
        loaded=loaded,
    )


def prepare_worker(options: ScoreOptions, listing: FileList) -> RunContext:
    """The part of a run context that a worker needs: the built models and the films of the run."""
    files, nothing = load_models(options), FoundFilms(paths=())
    options, note = with_precision(options, files)
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
        precision_note=note,
    )


def with_precision(
    options: ScoreOptions, files: Sequence[ModelFile], known: RuntimeInfo | LoadedModels | None = None
) -> tuple[ScoreOptions, str]:
    """The options with a backend and a precision in place of auto, and the note on the precision.

    known  what has computed already, or is ready to: then that is the choice
    """
    if known is not None:
        own: Any = {"backend": known.backend, "precision": known.precision} if options.precision == AUTO else {}
        return replace(options, **own), known.precision_note
    if options.precision == AUTO:
        choice = choose_precision(options, files)
        return replace(options, backend=choice.backend, precision=choice.precision), choice.note
    if options.precision == "fp32":
        return options, ""
    backend = plugins.get_backend(chosen_backend(options, files))
    return options, plugins.emulation_note(backend, options.precision, options.device)


def _built(options: ScoreOptions, files: Sequence[ModelFile], name: str) -> tuple[Model, ...]:
    backend, device = plugins.get_backend(name), options.device
    if options.precision == "int8":
        return tuple(int8_model(backend, file, device) for file in files)
    precision = cast(Precision, options.precision)  # auto is replaced by now
    return tuple(backend.build(file.spec, file.tensors, device=device, precision=precision) for file in files)


def _labels(
    options: ScoreOptions, listing: FileList, findings: tuple[str, ...]
) -> tuple[lab.JoinedLabels, dict[str, Any]] | tuple[None, None]:
    place = None if options.no_labels else options.labels or _find_labels(options.films)
    if place is None:
        return None, None
    with as_local_path(place, lab.LARGEST_TABLE) as table:
        rules = replace(options.label_rules, model=findings)
        films, named = listing.all_films(), not options.anonymize_paths
        joined, file = lab.read_joined_labels(
            table, plugins.datasets(), films, rules, name=place.name, film_names=named
        )
    return joined, {**file, "labelled_films": sum(joined.matched[listing.rows.start : listing.rows.stop])}


def _find_labels(films: PathOrUrl) -> PathOrUrl | None:
    """The label table in or beside a local folder; in a remote folder only in it. None if there is none, as in
    a PACS."""
    if not isinstance(films, RemotePath):
        return lab.find_labels(films)
    if films.dicomweb:
        return None
    table = films / "labels.csv"
    return table if remote_exists(table) else None
