"""Films through the networks: scores, and heat maps of the most probable findings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cxrscore import plugins
from cxrscore.contract import Explainable, Explainer, Floats, Model
from cxrscore.errors import CheckError
from cxrscore.explainers import explain
from cxrscore.films import PreparedFilm, resize_maps, to_unit
from cxrscore.models.bundle import ModelFile
from cxrscore.models.output import Output, mean_logits, mean_probabilities
from cxrscore.score.job import Job, Told
from cxrscore.score.views import view_of
from cxrscore.testing.golden import check_golden, golden_drift


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What a batch of n films gave.

    logit  float32 [n,C]: what the model returned; where scores are means, that of the mean probability
    prob   float32 [n,C] in 0..1
    order  int [n,C]: the findings of each film, most probable first
    maps   float32 [n,C,h,w], None if none are wanted
    """

    logit: Floats
    prob: Floats
    order: np.ndarray[tuple[int, ...], np.dtype[np.intp]]
    maps: Floats | None


class _Member:
    """One model, in batches of one constant size, so that no shape is compiled twice.

    square  which of a film's squares it takes
    """

    def __init__(self, file: ModelFile, model: Model, square: int, batch_size: int) -> None:
        self.model, self.square, self.tap = model, square, ""
        self._file, self._size = file, batch_size

    def films(self, batch: Sequence[PreparedFilm]) -> Floats:
        return np.stack([to_unit((film.pixels, *film.more)[self.square]) for film in batch])  # type: ignore[arg-type]

    def output(self, films: Floats) -> Output:
        """Of films float32 [n,S,S], n <= batch size."""
        return self._output(self.model.predict(self._padded(films))[: len(films)])

    def explained(self, films: Floats, explainer: Explainer, tap: str | None) -> tuple[Output, Floats]:
        """The same, with maps float32 [n,C,h,w]."""
        findings = range(len(self.model.spec.findings))
        logits, maps, self.tap = explain(explainer, self.model, self._padded(films), findings, tap)
        return self._output(logits[: len(films)]), maps[: len(films)]

    def _output(self, logits: Floats) -> Output:
        calibration = self._file.document.get("calibration")
        return Output(logits=logits, activation=self._file.spec.activation, calibration=calibration)

    def _padded(self, films: Floats) -> Floats:
        return np.concatenate([films, np.zeros((self._size - len(films), *films.shape[1:]), np.float32)])


class Scorer:
    """Batches of films through all models and views of a run.

    The heat maps are of the film itself, and means over the models; of models that see another part of the film than
    the first does, as they stretch, pad or crop it otherwise, no maps are taken.
    """

    def __init__(self, job: Job) -> None:
        self._views, self._seed = max(1, job.options.views), job.options.seed
        given = zip(job.files, job.models, job.preprocessings, strict=True)
        size = job.options.batch_size
        self._members = [_Member(file, model, job.squares.index(own), size) for file, model, own in given]
        self._explainer = plugins.get_explainer(job.options.explainer)
        self._wanted_tap = job.options.tap
        fits = [own.fit for own in job.preprocessings]
        self._shown = [member for member, fit in zip(self._members, fits, strict=True) if fit == fits[0]]
        explained = all(isinstance(member.model, Explainable) for member in self._shown)
        able = explained or self._explainer.from_scores is not None
        self._maps = min(job.options.maps, len(job.findings)) if able else 0

    def tap(self) -> str:
        """The layer that the maps are taken at, "" without maps; where models differ in it, that of each of them. A
        run that only merges asks it of a blank film."""
        for member in self._shown if self._maps else ():
            if not member.tap:
                side = member.model.spec.size
                member.explained(np.zeros((1, side, side), np.float32), self._explainer, self._wanted_tap)
        taps = [member.tap for member in self._shown]
        return taps[0] if len(set(taps)) == 1 else ", ".join(taps)

    def __call__(self, batch: Sequence[PreparedFilm]) -> Scored:
        """The scores of films that have pixels, as many as a batch holds or fewer."""
        outputs: list[Output] = []
        maps: list[Floats] = []
        for member in self._members:
            films = member.films(batch)
            if self._maps and member in self._shown:
                output, own = member.explained(films, self._explainer, self._wanted_tap)
                maps.append(own)
            else:
                output = member.output(films)
            outputs += [output, *(member.output(view) for view in self._further_views(films, batch))]
        odds = mean_logits(outputs)
        single = len(outputs) == 1
        return Scored(
            logit=outputs[0].logits if single else odds,
            prob=mean_probabilities(outputs),
            order=np.argsort(-odds, axis=1, kind="stable"),
            maps=mean_map(maps) if maps else None,
        )

    def _further_views(self, films: Floats, batch: Sequence[PreparedFilm]) -> list[Floats]:
        """The films again, once for each view that is not the film itself."""
        return [
            np.stack(
                [view_of(film, one.film.sha256, self._seed, number) for film, one in zip(films, batch, strict=True)]
            )
            for number in range(1, self._views)
        ]

    def top(self, scored: Scored, rows: Sequence[int]) -> list[tuple[int, int, Floats]]:
        """(row of the run, finding, map) of each film's most probable findings, most probable first."""
        if scored.maps is None:
            return []
        chosen = scored.order[:, : self._maps]
        return [(row, int(f), scored.maps[i, f]) for i, row in enumerate(rows) for f in chosen[i]]


def mean_map(maps: Sequence[Floats]) -> Floats:
    """The plain mean of the models' maps, each [n,C,h,w], unscaled and signed as they are, at the first one's size."""
    if len(maps) == 1:
        return maps[0]
    height, width = maps[0].shape[2:]
    mean: Floats = np.mean([resize_maps(one, height, width) for one in maps], axis=0, dtype=np.float64)
    return mean.astype(np.float32)


def golden_difference(job: Job) -> float | None:
    """How far this backend is from the logits that the model files keep, at most; CheckError where it is too far.
    bf16 rounds more than any file allows, and is not held to it."""
    found = [_golden_difference(job, file, model) for file, model in zip(job.files, job.models, strict=True)]
    return max((one for one in found if one is not None), default=None)


def told_of(job: Job, scorer: Scorer, golden_difference: float | None) -> Told:
    """What there is to tell by who has built the models."""
    framework, device = job.computed_by
    return Told(framework=framework, device=device, tap=scorer.tap(), golden_difference=golden_difference)


def _golden_difference(job: Job, file: ModelFile, model: Model) -> float | None:
    record = file.document.get("golden")
    if not record:
        return None
    check = check_golden if job.options.precision == "fp32" else golden_drift
    try:
        return check(model, record, job.options.batch_size)
    except CheckError as error:
        raise CheckError(f"{file.path}: {error}") from error
