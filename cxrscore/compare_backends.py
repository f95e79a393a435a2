"""Compare the scores of backends. Each backend scores the same films in a separate process.

Without a folder the films are the synthetic ones that every installation can create, and each backend is also compared
with the reference logits in the model file.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from cxrscore import plugins
from cxrscore.contract import Floats, SupportsHeatmaps
from cxrscore.errors import CxrscoreError, InputError
from cxrscore.explainers import grad_cam
from cxrscore.images import Preprocessing, require_films, stream_films, to_unit
from cxrscore.io import atomic_write_bytes
from cxrscore.models.ensemble_file import load_scorers
from cxrscore.models.model_file import ModelFile, load_model
from cxrscore.models.probabilities import probabilities
from cxrscore.subprocesses import run_python
from cxrscore.synthetic.phantoms import golden_films

_BATCH = 8
MIN_CORRELATION = 0.999
"""Minimum correlation of the heat maps of two backends that agree."""


@dataclass(frozen=True, kw_only=True)
class BackendRun:
    """Results of one backend. ``max_logit_difference`` is the largest

    logit - reference logit

    , None if there are no reference logits.
    """

    backend: str
    framework: str
    device: str
    films: int
    max_logit_difference: float | None


@dataclass(frozen=True, kw_only=True)
class BackendPair:
    """Differences between two backends: largest differences, and the smallest correlation of two heat maps.

    min_heatmap_correlation is None if one of them has no maps, or no map varies.
    """

    backends: tuple[str, str]
    max_prob_difference: float
    max_logit_difference: float
    min_heatmap_correlation: float | None


@dataclass(frozen=True, kw_only=True)
class Parity:
    """The result. ``tolerance`` is the largest difference of a logit that the model file allows, None in bf16."""

    tolerance: float | None
    runs: list[BackendRun] = field(default_factory=list)
    pairs: list[BackendPair] = field(default_factory=list)

    @property
    def failures(self) -> list[str]:
        """Exceeded limits, in words; empty if the backends agree."""
        found = []
        if self.tolerance is not None:
            found += [
                f"{r.backend} is {r.max_logit_difference:.2g} from the logits in the model file, allowed "
                f"{self.tolerance:.2g}"
                for r in self.runs
                if r.max_logit_difference is not None and not r.max_logit_difference <= self.tolerance
            ]
            # Each may differ by the tolerance, in either direction.
            found += [
                f"{' and '.join(p.backends)} differ by {p.max_logit_difference:.2g} in a logit, allowed "
                f"{2 * self.tolerance:.2g}"
                for p in self.pairs
                if not p.max_logit_difference <= 2 * self.tolerance
            ]
        found += [
            f"heat maps of {' and '.join(p.backends)} correlate by {p.min_heatmap_correlation:.4f}, expected "
            f"{MIN_CORRELATION}"
            for p in self.pairs
            if p.min_heatmap_correlation is not None and not p.min_heatmap_correlation >= MIN_CORRELATION
        ]
        return found

    def text(self) -> str:
        """The text that ``cxrscore check --parity`` prints."""
        lines = [f"{r.backend:<12} {r.framework}, {r.device}, {r.films} films{_drift(r)}" for r in self.runs]
        for pair in self.pairs:
            maps = (
                "no heat maps"
                if pair.min_heatmap_correlation is None
                else f"heat maps correlate by >= {pair.min_heatmap_correlation:.6f}"
            )
            names = " and ".join(pair.backends)
            lines.append(
                f"{names}: max |dp| {pair.max_prob_difference:.2g}, max |dlogit| {pair.max_logit_difference:.2g}, "
                f"{maps}"
            )
        return "\n".join([*lines, *(f"FAILED: {fault}" for fault in self.failures)])

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, for ``cxrscore check --parity --json``."""
        return {**asdict(self), "failures": self.failures}


def _drift(ran: BackendRun) -> str:
    return (
        "" if ran.max_logit_difference is None else f", max |dlogit| {ran.max_logit_difference:.2g} from the model file"
    )


def installed_backends_for(model: Path) -> list[str]:
    """The installed backends that can run this model, or all members of this ensemble, the fastest first."""
    first, *others = (plugins.fastest_backends(file.spec) for file in load_scorers(model))
    return [name for name in first if all(name in able for able in others)]


def compare_backends(
    model: Path,
    backends: Sequence[str],
    *,
    films: Path | None = None,
    device: str = "auto",
    precision: str = "fp32",
) -> Parity:
    """Score the same films with each backend and compare each backend with the first one.

    films  a folder; None: the synthetic films of the model file. Of an ensemble each figure is that of its worst
    member. InputError for fewer than one backend or one
    named twice; the error of a backend that cannot run.
    """
    if not backends or len(set(backends)) != len(backends):
        raise InputError(f"backends {', '.join(backends) or 'none'}: expected one or more different names")
    files = load_scorers(model)
    for name in backends:
        plugins.get_backend(name)
    return _worst([_compare(file, backends, films, device, precision) for file in files])


def _worst(found: Sequence[Parity]) -> Parity:
    """The largest differences and smallest correlations of several models."""
    tolerances = [one.tolerance for one in found]
    return Parity(
        tolerance=None if None in tolerances else _extreme(np.min, tolerances),
        runs=[
            replace(runs[0], max_logit_difference=_extreme(np.max, [run.max_logit_difference for run in runs]))
            for runs in zip(*(one.runs for one in found), strict=True)
        ],
        pairs=[
            BackendPair(
                backends=pairs[0].backends,
                max_prob_difference=float(np.max([pair.max_prob_difference for pair in pairs])),
                max_logit_difference=float(np.max([pair.max_logit_difference for pair in pairs])),
                min_heatmap_correlation=_extreme(np.min, [pair.min_heatmap_correlation for pair in pairs]),
            )
            for pairs in zip(*(one.pairs for one in found), strict=True)
        ],
    )


def _extreme(choose: Callable[[list[float]], Any], values: Sequence[float | None]) -> float | None:
    """The least or largest, by NumPy, so that NaN wins, of those that are known; None without any."""
    known = [value for value in values if value is not None]
    return float(choose(known)) if known else None


def _compare(file: ModelFile, backends: Sequence[str], films: Path | None, device: str, precision: str) -> Parity:
    """The comparison of one model."""
    with tempfile.TemporaryDirectory(prefix="cxrscore-parity-") as folder:
        given = {
            "model": str(file.path.resolve()),
            "films": None if films is None else str(films.resolve()),
            "device": device,
            "precision": precision,
        }
        found = [_run_in_subprocess(name, given, Path(folder)) for name in backends]
    golden = file.document.get("golden", {}) if films is None else {}
    reference = np.array(golden["logits"]) if golden else None
    return Parity(
        tolerance=file.document.get("golden", {}).get("tolerance") if precision == "fp32" else None,
        runs=[_backend_run(name, one, reference) for name, one in zip(backends, found, strict=True)],
        pairs=[
            _pair((backends[0], name), found[0], one, file) for name, one in zip(backends[1:], found[1:], strict=True)
        ],
    )


def _run_in_subprocess(backend: str, given: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Logits [N,C], maps [N,C,h,w] and the software that computed them: one process uses one framework."""
    out = folder / f"{len(list(folder.iterdir()))}.npz"
    job = json.dumps({**given, "backend": backend, "out": str(out)})
    done = run_python(["-m", "cxrscore.compare_backends", job])
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
        raise CxrscoreError(f"backend {backend!r} could not score the films: {reason}")
    with np.load(out) as arrays:
        return dict(arrays)


def _backend_run(name: str, found: dict[str, Any], reference: Floats | None) -> BackendRun:
    logits = found["logits"]
    drift = None if reference is None else float(np.abs(logits - reference).max())
    framework, device = str(found["framework"]), str(found["device"])
    return BackendRun(backend=name, framework=framework, device=device, films=len(logits), max_logit_difference=drift)


def _pair(names: tuple[str, str], a: dict[str, Any], b: dict[str, Any], file: ModelFile) -> BackendPair:
    probs = [probabilities(found["logits"], file.spec.activation, file.document.get("calibration")) for found in (a, b)]
    return BackendPair(
        backends=names,
        max_prob_difference=float(np.abs(probs[0] - probs[1]).max()),
        max_logit_difference=float(np.abs(a["logits"] - b["logits"]).max()),
        min_heatmap_correlation=min_correlation(a["maps"], b["maps"]),
    )


def min_correlation(a: Floats, b: Floats) -> float | None:
    """The smallest Pearson correlation of two maps of one film and finding, of [N,F,h,w]; maps that are constant in
    both are skipped. None if there is no map."""
    if a.shape != b.shape or not a.size:
        return None
    flat = [maps.reshape(-1, maps.shape[2] * maps.shape[3]).astype(np.float64) for maps in (a, b)]
    centred = [maps - maps.mean(axis=1, keepdims=True) for maps in flat]
    norms = [np.linalg.norm(maps, axis=1) for maps in centred]
    varies = (norms[0] > 0) | (norms[1] > 0)
    if not varies.any():
        return None
    products = np.einsum("mp,mp->m", centred[0], centred[1])[varies]
    with np.errstate(invalid="ignore"):
        found = products / (norms[0] * norms[1])[varies]
    return float(np.nan_to_num(found, nan=0.0).min())


def _squares(file: ModelFile, folder: str | None) -> Iterator[Floats]:
    """Batches of films float32 [n,S,S]."""
    if folder is None:
        yield golden_films(file.spec.size, file.document.get("golden", {}).get("films", 4))
        return
    preprocessing = Preprocessing.from_dict(file.document["preprocessing"])
    paths = require_films(Path(folder)).paths
    batch: list[Floats] = []
    for film in stream_films(Path(folder), paths, preprocessing, workers=2):
        if film.pixels is not None:
            batch.append(to_unit(film.pixels))
        if len(batch) == _BATCH:
            yield np.stack(batch)
            batch.clear()
    if batch:
        yield np.stack(batch)


def _score(job: dict[str, Any]) -> None:
    """Child process: run films through one backend, and write the results to an .npz file."""
    file = load_model(Path(job["model"]))
    backend = plugins.get_backend(job["backend"])
    model = backend.build(file.spec, file.tensors, device=job["device"], precision=job["precision"])
    logits, maps = [], []
    for films in _squares(file, job["films"]):
        if isinstance(model, SupportsHeatmaps):
            parts = model.cam_parts(films, range(len(file.spec.findings)))
            logits.append(parts.logits)
            maps.append(grad_cam(parts))
        else:
            logits.append(model.predict(films))
    if not logits:
        raise InputError(f"no film below {job['films']} could be read")
    arrays = io.BytesIO()
    np.savez(
        arrays,
        logits=np.concatenate(logits),
        maps=np.concatenate(maps) if maps else np.zeros((0, 0, 0, 0), np.float32),
        framework=model.framework,
        device=model.device,
    )
    atomic_write_bytes(Path(job["out"]), arrays.getvalue())


def _main() -> None:
    try:
        _score(json.loads(sys.argv[1]))
    except CxrscoreError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    _main()
