"""Inference: scores, and heat maps of the findings that stand out on each film."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrscore import plugins
from cxrscore.contract import (
    AcceptsIntegerImages,
    Array,
    Explainer,
    Floats,
    Model,
    SupportsHeatmaps,
    takes_any_batch_size,
)
from cxrscore.errors import CheckError
from cxrscore.explainers import explain
from cxrscore.images import LoadedFilm, Pixels, resize_maps, to_unit
from cxrscore.models.model_file import ModelFile
from cxrscore.models.probabilities import MeanScores, ModelOutput
from cxrscore.plugin_values import lenient
from cxrscore.scoring.run_context import RunContext, RuntimeInfo
from cxrscore.scoring.tta import augmented_copy
from cxrscore.synthetic.reference_logits import check_golden, max_logit_difference
from cxrscore.types import finite_rows


@dataclass(frozen=True, kw_only=True)
class ModelInputs:
    """A batch of n films as network inputs, padded to the batch size B with black films where a model needs it.

    films   n
    inputs  for each model [B,S,S]: float32 0..1, or uint8 or uint16 levels if the model accepts these; [n,S,S] if it is
            AnyBatchSize
    copies  for each model, the augmented copies for TTA, float32 of the same shape each
    """

    films: int
    inputs: Sequence[Array]
    copies: Sequence[Sequence[Floats]]


@dataclass(frozen=True, kw_only=True)
class BatchScores:
    """The results of a batch of n films.

    logit     float32 [n,C]: logits of the model; for averaged scores, the logit of the mean probability, with the
              calibration of an ensemble file
    prob      float32 [n,C] in 0..1; prob_uncalibrated: the same without any calibration
    findings  int16 [n,M]: the M findings with a heat map, the highest relative to its prevalence first
    maps      float16 [n,M,h,w] of these; M may be 0
    failed    n texts: why a film has no score, "" if it has one. The values of a failed film are undefined.
    """

    logit: Floats
    prob: Floats
    prob_uncalibrated: Floats
    findings: NDArray[np.int16]
    maps: NDArray[np.float16]
    failed: tuple[str, ...]

    @property
    def scored(self) -> NDArray[np.bool_]:
        """bool [n]: whether a film has a score."""
        return np.array([not why for why in self.failed], bool)


class _EnsembleMember:
    """One model of an ensemble, run with a constant batch size, so that each network is compiled once. A model that is
    AnyBatchSize gets the films alone.

    square       index of the square image of a film that it uses
    levels       whether it accepts integer pixels
    calibration  of its logits, for the target prevalence of the run
    """

    def __init__(
        self,
        file: ModelFile,
        model: Model,
        square: int,
        batch_size: int,
        *,
        levels: bool,
        calibration: Mapping[str, Any] | None,
    ) -> None:
        self.model, self.square, self.cam_layer = lenient(model), square, ""
        self.lanes = model.lanes if levels and isinstance(model, AcceptsIntegerImages) else 1
        self._size = 0 if takes_any_batch_size(model) else batch_size
        self._levels = levels and isinstance(model, AcceptsIntegerImages)
        self._activation, self._calibration = file.spec.activation, calibration

    def inputs(self, batch: Sequence[LoadedFilm]) -> Array:
        squares = [_square(film, self.square) for film in batch]
        size = self._size or len(batch)
        return integer_batch(squares, size) if self._levels else float_batch(squares, size)

    def blank(self) -> Floats:
        """A batch of black films."""
        side = self.model.spec.size
        return np.zeros((self._size or 1, side, side), np.float32)

    def copies(self, batch: Sequence[LoadedFilm], seed: int, number: int) -> Floats:
        """Augmented copy ``number`` of each film."""
        side = self.model.spec.size
        copies = np.zeros((self._size or len(batch), side, side), np.float32)
        for place, film in enumerate(batch):
            copies[place] = augmented_copy(to_unit(_square(film, self.square)), film.film.sha256, seed, number)
        return copies

    def output(self, films: Array, count: int) -> ModelOutput:
        """Scores of the first ``count`` films of [B,S,S]."""
        return self._output(self.model.predict(films)[:count])

    def explained(
        self, films: Array, count: int, explainer: Explainer, cam_layer: str | None
    ) -> tuple[ModelOutput, Floats]:
        """The same, with maps float32 [n,C,h,w]."""
        findings = range(len(self.model.spec.findings))
        logits, maps, self.cam_layer = explain(explainer, self.model, films, findings, cam_layer)
        return self._output(logits[:count]), maps[:count]

    def _output(self, logits: Floats) -> ModelOutput:
        """The logits, with NaN for all logits of a film if one of them is not finite."""
        logits = np.where(finite_rows(logits)[:, None], logits, np.float32(np.nan))
        return ModelOutput(logits=logits, activation=self._activation, calibration=self._calibration)


def _square(film: LoadedFilm, number: int) -> Pixels:
    square = (film.pixels, *film.more)[number]
    assert square is not None  # only readable films are scored
    return square


def float_batch(squares: Sequence[Pixels], size: int) -> Floats:
    """Squares [S,S] as float32 [size,S,S] in 0..1, padded with black squares."""
    films = np.zeros((size, *squares[0].shape), np.float32)
    for film, square in zip(films, squares, strict=False):
        to_unit(square, out=film)
    return films


def integer_batch(squares: Sequence[Pixels], size: int) -> Pixels:
    """Squares as uint8 [size,S,S]; as uint16 if one square is: uint8 level v then becomes 257 v, the same
    grey."""
    deep = any(square.dtype == np.uint16 for square in squares)
    films = np.zeros((size, *squares[0].shape), np.uint16 if deep else np.uint8)
    for film, square in zip(films, squares, strict=False):
        film[...] = square
        if film.dtype != square.dtype:
            film *= 257
    return films


class Scorer:
    """Runs batches of films through all models and augmented copies of a run.

    Heat maps are computed for the film without augmentation and averaged over the models. Models that stretch, pad or
    crop films differently from the first model are left out of the average.
    """

    def __init__(self, job: RunContext) -> None:
        self._backend = job.backend
        self._calibration = job.ensemble_calibration
        self._tta, self._seed = max(1, job.options.tta), job.options.seed
        self._explainer = plugins.get_explainer(job.options.explainer)
        levels = self._explainer.from_parts is not None  # explainers that use the film itself expect 0..1
        given = zip(job.files, job.models, job.preprocessings, job.calibrations, strict=True)
        size = job.options.batch_size
        self._members = [
            _EnsembleMember(file, model, job.squares.index(own), size, levels=levels, calibration=calibration)
            for file, model, own, calibration in given
        ]
        self._wanted_cam_layer = job.options.cam_layer
        fits = [own.fit for own in job.preprocessings]
        self._shown = [member for member, fit in zip(self._members, fits, strict=True) if fit == fits[0]]
        explained = all(isinstance(member.model, SupportsHeatmaps) for member in self._shown)
        able = explained or self._explainer.from_scores is not None
        self._maps = min(job.options.heatmaps, len(job.findings)) if able else 0
        self._prior = job.prior_log_odds

    @property
    def lanes(self) -> int:
        """Number of batches that may be computed at the same time."""
        return min(member.lanes for member in self._members)

    def cam_layer(self) -> str:
        """The layer of the heat maps, "" without heat maps; if models differ, the layer of each of them. A run that
        only merges computes it with a blank film."""
        for member in self._shown if self._maps else ():
            if not member.cam_layer:
                member.explained(member.blank(), 1, self._explainer, self._wanted_cam_layer)
        cam_layers = [member.cam_layer for member in self._shown]
        return cam_layers[0] if len(set(cam_layers)) == 1 else ", ".join(cam_layers)

    def prepare(self, batch: Sequence[LoadedFilm]) -> ModelInputs:
        """Arrays of readable films, at least one and at most a batch."""
        numbers = range(1, self._tta)
        return ModelInputs(
            films=len(batch),
            inputs=[member.inputs(batch) for member in self._members],
            copies=[[member.copies(batch, self._seed, number) for number in numbers] for member in self._members],
        )

    def __call__(self, batch: ModelInputs) -> BatchScores:
        """Scores of a batch. As many threads as there are lanes may call it at the same time."""
        outputs: list[ModelOutput] = []
        maps: list[Floats] = []
        for member, films, copies in zip(self._members, batch.inputs, batch.copies, strict=True):
            if self._maps and member in self._shown:
                output, own = member.explained(films, batch.films, self._explainer, self._wanted_cam_layer)
                maps.append(own)
            else:
                output = member.output(films, batch.films)
            outputs += [output, *(member.output(copy, batch.films) for copy in copies)]
        failed = self._failed(outputs)
        if any(failed):
            outputs = [replace(output, logits=np.nan_to_num(output.logits)) for output in outputs]
        scores = MeanScores(outputs=outputs, calibration=self._calibration)
        odds = scores.logit
        order = np.argsort(self._prior - odds, axis=1, kind="stable")[:, : self._maps]
        return BatchScores(
            logit=outputs[0].logits if len(outputs) == 1 else odds,
            prob=scores.prob,
            prob_uncalibrated=scores.prob_uncalibrated,
            findings=order.astype(np.int16),
            maps=_select_maps(mean_map(maps), order) if maps else np.zeros((batch.films, 0, 1, 1), np.float16),
            failed=failed,
        )

    def _failed(self, outputs: Sequence[ModelOutput]) -> tuple[str, ...]:
        """For each film, why it has no score: the first model and augmented copy with logits that are not finite."""
        finite = np.stack([finite_rows(output.logits) for output in outputs])
        return tuple("" if own.all() else self._why(int(np.argmin(own))) for own in finite.T)

    def _why(self, place: int) -> str:
        model, copy = divmod(place, self._tta)
        of = f" by model {model + 1} of {len(self._members)}" if len(self._members) > 1 else ""
        seen = f" for TTA copy {copy + 1} of {self._tta}" if self._tta > 1 else ""
        return f"backend {self._backend!r} returned logits that are not finite{of}{seen}"


_LARGEST = float(np.finfo(np.float16).max)


def _select_maps(maps: Floats, findings: NDArray[np.intp]) -> NDArray[np.float16]:
    """Selects from maps [n,C,h,w] the findings [n,M] of each film; values beyond float16 are clipped to its range."""
    selected = maps[np.arange(len(maps))[:, None], findings]
    return selected.clip(-_LARGEST, _LARGEST).astype(np.float16)


def mean_map(maps: Sequence[Floats]) -> Floats:
    """The unweighted mean of the models' signed, unscaled maps, each [n,C,h,w], at the size of the first."""
    if len(maps) == 1:
        return maps[0]
    height, width = maps[0].shape[2:]
    mean: Floats = np.mean([resize_maps(one, height, width) for one in maps], axis=0, dtype=np.float64)
    return mean.astype(np.float32)


def golden_difference(job: RunContext) -> float | None:
    """Maximum difference between this backend and the golden logits of the model files; CheckError if it exceeds the
    tolerance. bf16 is exempt, because it rounds more than the tolerance allows."""
    found = [_golden_difference(job, file, model) for file, model in zip(job.files, job.models, strict=True)]
    return max((one for one in found if one is not None), default=None)


def runtime_info(job: RunContext, scorer: Scorer, golden_difference: float | None) -> RuntimeInfo:
    """The runtime information of a process that has built the models."""
    framework, device = job.computed_by
    return RuntimeInfo(
        framework=framework,
        device=device,
        cam_layer=scorer.cam_layer(),
        golden_difference=golden_difference,
        backend=job.backend,
        precision=job.options.precision,
        precision_note=job.precision_note,
    )


def _golden_difference(job: RunContext, file: ModelFile, model: Model) -> float | None:
    record = file.document["golden"]
    check = check_golden if job.options.precision == "fp32" else max_logit_difference
    try:
        return check(model, record, job.options.batch_size)
    except CheckError as error:
        raise CheckError(f"{file.path}: {error}") from error
