"""Prepare a model file for lower precision: measure the activation ranges for 8-bit integers on films, and what int8
and bf16 do to the scores.

The ranges belong to the model and not to a run, so that the score of a film does not depend on its folder.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from cxrscore import labels as lab
from cxrscore import plugins
from cxrscore.contract import (
    Array,
    Backend,
    Floats,
    Model,
    Precision,
    Ranges,
    ScorePrecision,
    SupportsActivationRanges,
    SupportsInt8,
)
from cxrscore.errors import BackendUnavailableError, CheckError, InputError, PluginError
from cxrscore.images import LoadedFilm, Preprocessing, find_same_file, require_films, stream_films, to_unit
from cxrscore.int8_choice import Trial, choose_int8
from cxrscore.io import sha256_bytes
from cxrscore.io.outputs import check_output
from cxrscore.metrics import auc_per_finding, macro
from cxrscore.models.model_file import ModelFile, int8_model, load_model, model_output, save_model
from cxrscore.models.precision_effects import Machine, PrecisionBound, measured_effect, record_effects
from cxrscore.progress import Progress, no_progress
from cxrscore.remote import convert_paths
from cxrscore.system_resources import default_workers

CALIBRATION_FILMS = 300
"""Largest number of films on which ranges are measured, at most two thirds of the films that are drawn."""
COMPARISON_FILMS = 1000
"""Number of films that are scored in both ways; of a larger folder this many are drawn."""
MAX_AUC_LOSS = 0.005
"""Largest allowed decrease of the macro AUC; no model is written if it is exceeded."""
_BATCH = 8
_Batch: TypeAlias = Sequence[tuple[int, LoadedFilm]]
"""Films with pixels, each with its index in the list."""


@dataclass(frozen=True, kw_only=True)
class QuantizeOptions:
    """Options of ``quantize_model``, named as those of ``cxrscore quantize``.

    Parameters
    ----------
    model
        Model file to prepare.
    films
        Folder of films.
    output
        Model file to write.
    labels
        Label table; None: labels.csv in the films folder or its parent folder, if it exists.
    backend
        Backend that computes in int8; None: the fastest installed one. One without int8 measures the effect of bf16
        alone, as the fastest does if no backend has int8.
    max_difference, max_auc_loss
        The bound of the effect that ``score --precision auto`` accepts, as in PrecisionBound.
    device
        "auto", "cpu", "cuda" or "cuda:N".
    workers
        Number of processes that decode films.
    seed
        Random seed of the choice of films, and of their order.
    overwrite
        Replace any regular file, not only an earlier output of this command.
    """

    model: Path
    films: Path
    output: Path
    labels: Path | None = None
    backend: str | None = None
    max_difference: float = PrecisionBound.max_difference
    max_auc_loss: float = PrecisionBound.max_auc_loss
    device: str = "auto"
    workers: int = field(default_factory=default_workers)
    seed: int = 0
    overwrite: bool = False

    def __post_init__(self) -> None:
        convert_paths(self, local=["model", "films", "output", "labels"])
        _ = self.bound  # InputError for a value that is no bound

    @property
    def bound(self) -> PrecisionBound:
        """The bound that is stored in the model file."""
        return PrecisionBound(max_difference=self.max_difference, max_auc_loss=self.max_auc_loss)


@dataclass(frozen=True, kw_only=True)
class QuantizeResult:
    """What was written: entries of its document (schemas/model.schema.json).

    failed             films among those drawn that could not be read
    quantization       None if the backend does not compute in int8
    precision_effects  what was measured, by precision
    precision_bound    the bound
    notes              messages for the user
    """

    output: Path
    backend: str
    failed: int
    quantization: dict[str, Any] | None
    precision_effects: dict[str, Any]
    precision_bound: dict[str, float]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Pass:
    """The n films that could be read, of those drawn.

    rows       index of each in the list
    hashes     of their bytes, hex
    logits     float32 [n,C]
    ranges     float32 [m,2] by layer, of the first m films; empty if they are not measured
    squares    of these films
    framework  of the model in float32
    """

    rows: list[int]
    hashes: list[str]
    logits: Floats
    ranges: dict[str, Floats]
    squares: list[Array] = field(default_factory=list)
    framework: str = ""

    @property
    def calibrated(self) -> int:
        """m, the number of films that the ranges come from; 0 without ranges."""
        return len(next(iter(self.ranges.values()), ()))


def quantize_model(options: QuantizeOptions, progress: Progress = no_progress) -> QuantizeResult:
    """Measure activation ranges on films, compare int8 and native bf16 with fp32 scores, and write the model file.

    Parameters
    ----------
    options
        The model, the films, the output, and their settings.
    progress
        Called as progress(step, done, total).

    Returns
    -------
    QuantizeResult
        The model file, and the differences from fp32.

    Raises
    ------
    CheckError
        If the macro AUC on films outside the training set decreases in int8 by more than MAX_AUC_LOSS; no file is
        written.
    InputError
        If no film can be read, or the network cannot be quantized.
    BackendUnavailableError
        If no installed backend computes in int8 or, natively, in bf16.
    WriteError
        If the model file cannot be written.
    """
    labels = options.labels or lab.find_labels(options.films)
    inputs = [options.model, labels, find_same_file(options.output, options.films)]
    check_output(options.output, model_output("quantize"), inputs=inputs, overwrite=options.overwrite)
    file, found = load_model(options.model), require_films(options.films)
    backend = _backend(options, file)
    native = plugins.native_precisions(backend, options.device)
    order = np.random.default_rng(options.seed).permutation(len(found.paths))[:COMPARISON_FILMS]
    paths = [found.paths[row] for row in order]
    truth, told = _truth(options, file, paths)
    exact = _exact(options, file, backend, paths, progress)
    document, read = dict(file.document), [paths[row] for row in exact.rows]
    if exact.ranges:
        document["quantization"] = _quantization(options, file, backend, exact, read, "bf16" in native, progress)
    rounded = _rounded(options, replace(file, document=document), backend, native)
    logits = _rounded_logits(rounded, _batches(options, file, read, "comparing", progress), read)
    effects = {name: _effect(file, exact, own, truth[exact.rows]) for name, own in logits.items()}
    if "int8" in effects:
        _check_loss(effects["int8"])
    machine = Machine(backend=backend.name, device=plugins.device_kind_of(backend, options.device), native=native)
    document |= record_effects(file.document, effects, machine, exact.framework, options.bound)
    save_model(options.output, file.tensors, document)
    note = "" if options.backend else plugins.default_note(backend.name, "measure this model on this device")
    return QuantizeResult(
        output=options.output,
        backend=backend.name,
        failed=len(paths) - len(read),
        quantization=document["quantization"] if exact.ranges else None,
        precision_effects={name: document["precision_effects"][name] for name in effects},
        precision_bound=document["precision_bound"],
        notes=tuple(filter(None, (note, *_not_measured(backend, effects), *told))),
    )


def _backend(options: QuantizeOptions, file: ModelFile) -> Backend:
    """The named backend, or the fastest with int8, or else the fastest with native bf16."""
    able = [options.backend] if options.backend else plugins.fastest_backends(file.spec, options.device)
    backends = [plugins.get_backend(name) for name in able]
    for backend in backends:
        if isinstance(backend, SupportsInt8):
            return backend
    for backend in backends:
        if "bf16" in plugins.native_precisions(backend, options.device):
            return backend
    raise BackendUnavailableError(
        f"nothing can be measured: no backend of {', '.join(able) or 'none'} computes in int8, or in bf16 natively on "
        'this device; OpenVINO has int8: pip install "cxrscore[openvino]"'
    )


def _rounded(
    options: QuantizeOptions, file: ModelFile, backend: Backend, native: Sequence[ScorePrecision]
) -> dict[str, Model]:
    """The model in each lower precision that is compared with fp32."""
    models: dict[str, Model] = {}
    if isinstance(backend, SupportsInt8):
        models["int8"] = int8_model(backend, file, options.device)
    if "bf16" in native:
        models["bf16"] = backend.build(file.spec, file.tensors, device=options.device, precision="bf16")
    return models


def _rounded_logits(
    models: Mapping[str, Model], batches: Iterator[list[tuple[int, LoadedFilm]]], paths: Sequence[str]
) -> dict[str, Floats]:
    """The logits of all films by precision, in one pass over them."""
    found: dict[str, list[Floats]] = {name: [] for name in models}
    for batch in batches:
        for name, model in models.items():
            found[name].append(_logits(model, batch, paths))
    return {name: np.concatenate(logits) for name, logits in found.items()}


def _not_measured(backend: Backend, effects: Mapping[str, Any]) -> list[str]:
    """Notes on the precisions whose effect was not measured."""
    notes = {
        "int8": f"backend {backend.name} does not compute in int8: only the effect of bf16 was measured",
        "bf16": f"the effect of bf16 was not measured: backend {backend.name} does not compute it natively on this "
        "device",
    }
    return [note for precision, note in notes.items() if precision not in effects]


def _truth(options: QuantizeOptions, file: ModelFile, paths: Sequence[str]) -> tuple[Floats, tuple[str, ...]]:
    """float32 [N,C] in the order of the model's findings, NaN if unknown; and notes on the table."""
    path = options.labels or lab.find_labels(options.films)
    if path is None:
        return np.full((len(paths), len(file.spec.findings)), np.nan, np.float32), ()
    # Labels only show what is lost in int8, so that a table that fits in part is told, and no error.
    rules = lab.LabelRules(model=file.spec.findings, allow_unmatched=True)
    table, labels_record = lab.read_joined_labels(path, plugins.datasets(), paths, rules)
    other = lab.other_findings(labels_record["file"], table.findings, file.spec.findings)
    return table.of(file.spec.findings), tuple(filter(None, (*table.match.lines(path.name), other)))


def _exact(
    options: QuantizeOptions, file: ModelFile, backend: Backend, paths: Sequence[str], progress: Progress
) -> _Pass:
    """Scores in float32, and ranges of the first films."""
    count = min(CALIBRATION_FILMS, max(1, len(paths) * 2 // 3))
    model = backend.build(file.spec, file.tensors, device=options.device)
    rows: list[int] = []
    hashes: list[str] = []
    logits, ranges, squares = [], [], list[Array]()
    for batch in _batches(options, file, paths, "measuring", progress):
        if isinstance(backend, SupportsInt8) and len(rows) < count:
            ranges.append(_ranges(model, batch[: count - len(rows)], paths))
            squares += [film.pixels for _, film in batch[: count - len(rows)] if film.pixels is not None]
        logits.append(_logits(model, batch, paths))
        rows += [row for row, _ in batch]
        hashes += [prepared.film.sha256 for _, prepared in batch]
    if not rows:
        raise InputError(f"none of {len(paths)} films below {options.films} can be read: nothing was measured")
    return _Pass(
        rows=rows,
        hashes=hashes,
        logits=np.concatenate(logits),
        ranges={layer: np.concatenate([found[layer] for found in ranges]) for layer in (ranges[0] if ranges else ())},
        squares=squares,
        framework=model.framework,
    )


def _ranges(model: Model, batch: _Batch, paths: Sequence[str]) -> Mapping[str, Floats]:
    if not isinstance(model, SupportsActivationRanges):
        raise BackendUnavailableError(f"{model.framework} computes in int8, but does not measure activation ranges")
    with _naming([paths[row] for row, _ in batch]):
        found = model.ranges(_squares(film.pixels for _, film in batch))
    if len(found) < 2:
        raise InputError(
            f"{model.framework} has one convolution or dense layer, which is not rounded: there is nothing to quantize"
        )
    return found


def _logits(model: Model, batch: _Batch, paths: Sequence[str]) -> Floats:
    with _naming([paths[row] for row, _ in batch]):
        return model.predict(_squares(film.pixels for _, film in batch))


@contextmanager
def _naming(films: Sequence[str]) -> Iterator[None]:
    """Add the films to the error of a plugin."""
    try:
        yield
    except PluginError as error:
        raise error.during(films, len(films), "No model was written.") from error


def _batches(
    options: QuantizeOptions, file: ModelFile, paths: Sequence[str], step: str, progress: Progress
) -> Iterator[list[tuple[int, LoadedFilm]]]:
    """The films that have pixels, in batches, each with its index in the list."""
    preprocessing = Preprocessing.from_dict(file.document["preprocessing"])
    stream = enumerate(stream_films(options.films, paths, preprocessing, workers=options.workers))
    while films := list(islice(stream, _BATCH)):
        if batch := [(row, film) for row, film in films if film.pixels is not None]:
            yield batch
        progress(step, films[-1][0] + 1, len(paths))


def _squares(pixels: Iterable[Array | None]) -> Floats:
    return np.stack([to_unit(square) for square in pixels if square is not None])


def _quantization(
    options: QuantizeOptions,
    file: ModelFile,
    backend: Backend,
    exact: _Pass,
    read: Sequence[str],
    native: bool,
    progress: Progress,
) -> dict[str, Any]:
    """The document's ``quantization``: where the ranges come from, and what was chosen for the bound."""
    choice = choose_int8(_trial(options, file, backend, exact, read, native), options.bound.max_difference, progress)
    hashes = sorted(exact.hashes[: exact.calibrated])
    return {
        "model": file.sha256,
        "backend": backend.name,
        "films": exact.calibrated,
        "fingerprint": sha256_bytes("\n".join(hashes).encode()),
        **choice.as_dict(),
    }


def _trial(
    options: QuantizeOptions, file: ModelFile, backend: Backend, exact: _Pass, read: Sequence[str], native: bool
) -> Trial:
    """The films of the calibration, for the choice of layers.

    The first layer, whose input is the film, is excluded: rounding there changes the scores most and saves the least
    time (docs/backends.md has the figures).
    """
    _, *layers = exact.ranges

    def build(ranges: Ranges, precision: Precision | None) -> Model:
        quantization = {"ranges": ranges, "precision": precision}
        return int8_model(
            backend, replace(file, document={**file.document, "quantization": quantization}), options.device
        )

    def score(model: Model, count: int) -> Floats:
        logits = []
        for start in range(0, count, _BATCH):
            films = slice(start, min(start + _BATCH, count))
            with _naming(read[films]):
                logits.append(model.predict(_squares(exact.squares[films])))
        return np.concatenate(logits)

    return Trial(
        file=file,
        extremes={layer: exact.ranges[layer] for layer in layers},
        native=native,
        build=build,
        exact=exact.logits[: exact.calibrated],
        score=score,
    )


def _effect(file: ModelFile, exact: _Pass, logits: Floats, truth: Floats) -> dict[str, Any]:
    """The effect of a precision on the films."""
    return measured_effect(file, exact.hashes, exact.logits, logits, truth, _macro_auc, calibrated=exact.calibrated)


def _macro_auc(truth: Array, logits: Floats) -> float | None:
    found = macro(auc_per_finding(truth, logits))
    return None if math.isnan(found) else round(found, 6)


def _check_loss(compared: Mapping[str, Any]) -> None:
    before, after = compared["macro_auc_before"], compared["macro_auc_after"]
    if before is not None and before - after > MAX_AUC_LOSS:
        raise CheckError(
            f"in int8 the macro AUC of {compared['labelled_films']} films is {after:.4f} instead of {before:.4f}: the "
            f"decrease exceeds {MAX_AUC_LOSS}, so no model was written. Use --precision bf16 or fp32, or calibrate "
            "with films that resemble those to be scored."
        )
