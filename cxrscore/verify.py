"""Is a file what it claims to be? Everything that a scores file or a model says of itself is worked out again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cxrscore.contract import Activation
from cxrscore.errors import FileFormatError, InputError
from cxrscore.files import sha256_bytes, sha256_of
from cxrscore.films import Status, find_films, read_bytes
from cxrscore.models.architectures import ARCHITECTURES, check_tensors
from cxrscore.models.bundle import ModelFile, load_model
from cxrscore.models.output import probabilities
from cxrscore.scores import Scores, open_scores, read_claim
from cxrscore.scores.manifest import canonical
from cxrscore.testing.phantoms import golden_films
from cxrscore.testing.reference import logits as exact_logits

_GOLDEN_ERROR = 1e-6
"""Of a float64 logit worked out elsewhere, in units of the largest."""
_ROUNDING = 1e-6
"""Of a probability, float32, worked out elsewhere."""
_HDF5 = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One claim, and whether it holds. ``ok`` is None where it could not be looked at."""

    claim: str
    ok: bool | None
    found: str


def verify_file(path: Path, *, films: Path | None = None, model: Path | Sequence[Path] | None = None) -> list[Verdict]:
    """Looks at all that a scores file or a model file claims.

    films  the folder that was scored: every film's bytes are hashed again
    model  the model that scored, or the models: they are hashed, too

    InputError where there is no file. A file that cannot be read as either is a verdict, not an error.
    """
    if not path.is_file():
        raise InputError(f"there is no file at {path}. Name a scores file (.h5) or a model (.safetensors).")
    models = (model,) if isinstance(model, Path) else tuple(model or ())
    with path.open("rb") as file:
        is_scores = file.read(len(_HDF5)) == _HDF5
    try:
        return list(_of_scores(path, films, models) if is_scores else _of_model(path))
    except FileFormatError as error:
        return [Verdict(claim="format, schema and checksums", ok=False, found=str(error))]


def as_dicts(verdicts: list[Verdict]) -> list[dict[str, Any]]:
    """JSON-ready, as ``cxrscore verify --json`` prints it."""
    return [asdict(verdict) for verdict in verdicts]


def _of_scores(path: Path, films: Path | None, models: Sequence[Path]) -> Iterator[Verdict]:
    scores, claim = open_scores(path), read_claim(path)
    held = f"{len(scores.films.path)} films, {len(scores.findings)} findings"
    yield Verdict(claim="format, schema and checksums", ok=True, found=held)
    digest = sha256_bytes(canonical(claim.inputs).encode())
    yield Verdict(claim="fingerprint", ok=digest == claim.fingerprint, found=f"of its inputs: {digest[:16]}")
    private = claim.inputs.get("no_paths") is True
    yield _unseen("list of films", "the file holds no paths") if private else _paths(scores, claim.inputs)
    yield _complete(scores)
    yield _numbers(scores)
    yield _model_hashes(claim.inputs, scores, models)
    if films is None:
        yield _unseen("bytes of the films", "name the folder with --films")
    else:
        yield _bytes(scores, films, private)


def _unseen(claim: str, why: str) -> Verdict:
    return Verdict(claim=claim, ok=None, found=f"not looked at: {why}")


def _paths(scores: Scores, inputs: dict[str, Any]) -> Verdict:
    digest = sha256_bytes("\0".join(scores.films.path).encode("utf-8", "surrogateescape"))
    ordered = list(scores.films.path) == sorted(set(scores.films.path))
    ok = digest == inputs.get("paths") and ordered
    return Verdict(claim="list of films", ok=ok, found="as it was frozen" if ok else "not the one that was frozen")


def _complete(scores: Scores) -> Verdict:
    missing = int((scores.films.status == Status.NOT_WRITTEN).sum())
    return Verdict(claim="every film has a row", ok=not missing, found=f"{missing} rows were never written")


def _numbers(scores: Scores) -> Verdict:
    """Scored films have finite logits and the probabilities that follow from them; the others have neither."""
    scored = scores.films.status == Status.OK
    logits, probs = scores.logit[scored], scores.prob[scored]
    if not np.isnan(scores.logit[~scored]).all() or not np.isnan(scores.prob[~scored]).all():
        return Verdict(claim="scores", ok=False, found="a film that was not scored has a score")
    if not np.isfinite(logits).all():
        return Verdict(claim="scores", ok=False, found="a film that was scored lacks a logit")
    activation, calibration = _link(scores.provenance)
    difference = float(np.abs(probs - probabilities(logits, activation, calibration)).max(initial=0.0))
    found = f"probabilities within {difference:.1g} of what follows from their logits"
    return Verdict(claim="scores", ok=difference <= _ROUNDING, found=found)


def _link(provenance: Mapping[str, Any]) -> tuple[Activation, Any]:
    """Activation and calibration that lead from logits to probabilities. The logits of means are those of the means."""
    models = _models(provenance)
    if len(models) != 1 or provenance.get("views"):
        return "sigmoid", None
    return _told(models[0], "document", "spec", "activation") or "sigmoid", _told(models[0], "document", "calibration")


def _models(provenance: Mapping[str, Any]) -> list[Any]:
    models = provenance.get("models")
    return models if isinstance(models, list) else []


def _model_hashes(inputs: dict[str, Any], scores: Scores, models: Sequence[Path]) -> Verdict:
    """Whether the models named, in any order, are those of the file, all of them and no other."""
    claimed = inputs.get("models")
    told = [_told(one, "sha256") for one in _models(scores.provenance)]
    if not claimed or claimed != told or not all(isinstance(digest, str) for digest in told):
        return Verdict(claim="model", ok=False, found="its inputs and its provenance name different models")
    if not models:
        return _unseen(
            "model", "name it with --model" if len(claimed) == 1 else f"name all {len(claimed)} with --model"
        )
    digests = {path: sha256_of(path) for path in models}
    foreign = [path for path, digest in digests.items() if digest not in claimed]
    missing = [digest[:16] for digest in dict.fromkeys(claimed) if digest not in digests.values()]
    faults = [f"{path} (SHA-256 {digests[path][:16]}) is not among those that scored" for path in foreign]
    faults += [f"the one of SHA-256 {digest} is not among those named" for digest in missing]
    found = "; ".join(faults) or f"SHA-256 {', '.join(digest[:16] for digest in digests.values())}"
    return Verdict(claim="model", ok=not faults, found=found)


def _told(values: Any, *keys: str) -> Any:
    for key in keys:
        values = values.get(key) if isinstance(values, dict) else None
    return values


def _bytes(scores: Scores, folder: Path, private: bool) -> Verdict:
    there = find_films(folder).paths
    claimed = [digest for digest in scores.films.sha256 if digest]
    found = {path: _digest(folder / path) for path in there}
    if private:
        missing = sorted(set(claimed) - set(found.values()))
        return _bytes_verdict(len(claimed), missing, [], [p for p, d in found.items() if d not in set(claimed)])
    own = dict(zip(scores.films.path, scores.films.sha256, strict=True))
    changed = [path for path, digest in own.items() if path in found and digest and found[path] != digest]
    return _bytes_verdict(len(own), sorted(set(own) - set(found)), changed, sorted(set(found) - set(own)))


def _digest(path: Path) -> str:
    """Of a film's bytes, "" where it cannot be read."""
    data = read_bytes(path)
    return "" if data is None else sha256_bytes(data)


def _bytes_verdict(count: int, missing: list[str], changed: list[str], unknown: list[str]) -> Verdict:
    faults = [
        f"{len(names)} {word}, such as {names[0]}"
        for word, names in (("are gone", missing), ("have changed", changed), ("were not scored", unknown))
        if names
    ]
    return Verdict(claim="bytes of the films", ok=not faults, found="; ".join(faults) or f"{count} as they were scored")


def _of_model(path: Path) -> Iterator[Verdict]:
    model = load_model(path)
    yield Verdict(
        claim="format, schema and checksum", ok=True, found=f"{model.spec.architecture}, SHA-256 {model.sha256[:16]}"
    )
    if model.spec.architecture not in ARCHITECTURES:
        yield _unseen("tensors", f"cxrscore does not know {model.spec.architecture!r}")
        return
    try:
        check_tensors(model.spec, model.tensors)
    except InputError as error:
        yield Verdict(claim="tensors", ok=False, found=str(error))
        return
    yield Verdict(claim="tensors", ok=True, found=f"{len(model.tensors)}, all finite")
    yield _golden(model)


def _golden(model: ModelFile) -> Verdict:
    """The logits of the synthetic films, worked out once more in float64."""
    record = model.document["golden"]
    kept = np.array(record["logits"], np.float64)
    exact = exact_logits(model.spec, model.tensors, golden_films(model.spec.size, len(kept)))
    difference = float(np.abs(exact - kept).max()) if kept.shape == exact.shape else np.inf
    bound = _GOLDEN_ERROR * max(1.0, float(np.abs(exact).max()))
    return Verdict(
        claim="logits of the synthetic films", ok=difference <= bound, found=f"largest difference {difference:.2g}"
    )
