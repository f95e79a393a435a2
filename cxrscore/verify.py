"""Check the integrity of a scores file, a model file or an ensemble file: all of its claims are recomputed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Activation, Floats
from cxrscore.errors import FileFormatError, InputError
from cxrscore.images import Status, film_digest, find_films
from cxrscore.io import sha256_bytes, sha256_file
from cxrscore.io.regular import is_hdf5
from cxrscore.io.strict_json import check_document, get_nested, provenance_models
from cxrscore.models.calibration import calibrated_models, moved_calibration
from cxrscore.models.ensemble_file import is_ensemble, load_ensemble, load_member, with_members
from cxrscore.models.model_file import ModelFile, load_model
from cxrscore.models.probabilities import probabilities
from cxrscore.networks.reference import logits as exact_logits
from cxrscore.networks.tensors import check_tensors
from cxrscore.remote import Location, PathOrUrl, StrPath, as_local_path, local_paths, parse_location
from cxrscore.scorefile import Scores, open_scores, read_file_provenance
from cxrscore.scorefile.manifest import canonical_json, paths_digest
from cxrscore.scorefile.merge import check_parts_match
from cxrscore.scorefile.partial_file import read_part
from cxrscore.scorefile.virtual import VirtualFile, find_mismatch, read_virtual
from cxrscore.synthetic.phantoms import golden_films

_GOLDEN_ERROR = 1e-6
"""Tolerance of a recomputed float64 logit, relative to the largest."""
_ROUNDING = 1e-6
"""Tolerance of a recomputed probability, float32."""
_LARGEST = float(np.finfo(np.float32).max)
"""Largest absolute number of a calibration: a float32 logit times such a number is finite in float64."""


_UNCHANGED, _OTHER = "as it was frozen", "not the one that was frozen"


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """One claim, and whether it holds. ``passed`` is None if it could not be checked."""

    check: str
    passed: bool | None
    message: str


def verify_file(
    path: Location, *, films: Location | None = None, model: StrPath | Sequence[StrPath] | None = None
) -> list[CheckResult]:
    """Check all claims of a scores file, a model file or an ensemble file with its members.

    films  the folder that was scored: every film's bytes are hashed again
    model  the model that scored, or the models, or the ensemble: they are hashed, too

    InputError if one of the named files does not exist or cannot be opened. A FILE that is neither fails the check;
    this is not an error.
    """
    models = () if model is None else local_paths(model, "model")
    folder = None if films is None else parse_location(films)
    with as_local_path(path) as file:
        is_scores = is_hdf5(file)
        try:
            if is_scores and (virtual := read_virtual(file)):
                return list(_of_virtual(file, virtual))
            if is_scores:
                return list(_of_scores(file, folder, models))
            return list(_of_ensemble(file) if is_ensemble(file) else _of_model(load_model(file)))
        except FileFormatError as error:
            return [CheckResult(check="format, schema and checksums", passed=False, message=str(error))]


def as_dicts(verdicts: list[CheckResult]) -> list[dict[str, Any]]:
    """JSON-ready, for ``cxrscore verify --json``."""
    return [asdict(verdict) for verdict in verdicts]


def _of_scores(path: Path, films: PathOrUrl | None, models: Sequence[Path]) -> Iterator[CheckResult]:
    scores, claim = open_scores(path), read_file_provenance(path)
    held = f"{len(scores.films.path)} films, {len(scores.findings)} findings"
    yield CheckResult(check="format, schema and checksums", passed=True, message=held)
    digest = sha256_bytes(canonical_json(claim.inputs).encode())
    yield CheckResult(check="fingerprint", passed=digest == claim.fingerprint, message=f"of its inputs: {digest[:16]}")
    private = claim.inputs.get("anonymize_paths") is True
    yield _finding_list(scores, claim.inputs)
    yield _film_list(scores, claim.inputs, private)
    yield _complete(scores)
    provenance = _provenance(scores)
    yield provenance
    yield (
        _numbers(scores)
        if provenance.passed
        else _unseen("scores", "they follow from the provenance, which is invalid")
    )
    yield _model_hashes(claim.inputs, scores, models)
    if films is None:
        yield _unseen("bytes of the films", "name the folder with --films")
    else:
        yield _bytes(scores, films, private, part="partition" in claim.inputs)


def _of_virtual(path: Path, virtual: VirtualFile) -> Iterator[CheckResult]:
    """Whether the parts are the ones that the file was merged from. Their own claims are checked separately."""
    yield CheckResult(
        check="format", passed=True, message=f"a virtual file of {len(virtual.parts)} parts, without rows of its own"
    )
    digest = sha256_bytes(canonical_json(virtual.inputs).encode())
    yield CheckResult(
        check="fingerprint", passed=digest == virtual.fingerprint, message=f"of its inputs: {digest[:16]}"
    )
    faults = [fault for part in virtual.parts if (fault := find_mismatch(path, part))]
    found = "; ".join(faults) or "all exist, with the bytes that they had when they were merged"
    yield CheckResult(check="files of the parts", passed=not faults, message=found)
    if faults:
        yield _unseen("run of the parts", "not all of them are unchanged")
        return
    try:
        run = check_parts_match([read_part(path.parent / part.file) for part in virtual.parts])[0].run
    except InputError as error:
        yield CheckResult(check="run of the parts", passed=False, message=str(error))
        return
    message = "they are all partitions of this run" if run == virtual.fingerprint else "they belong to another run"
    yield CheckResult(check="run of the parts", passed=run == virtual.fingerprint, message=message)


def _unseen(claim: str, why: str) -> CheckResult:
    return CheckResult(check=claim, passed=None, message=f"not looked at: {why}")


def _finding_list(scores: Scores, inputs: Mapping[str, Any]) -> CheckResult:
    ok = list(scores.findings) == inputs.get("findings")
    return CheckResult(check="list of findings", passed=ok, message=_UNCHANGED if ok else _OTHER)


def _film_list(scores: Scores, inputs: Mapping[str, Any], private: bool) -> CheckResult:
    """The number of films, and their paths if the file has them."""
    paths = scores.films.path
    if len(paths) != inputs.get("films"):
        return CheckResult(
            check="list of films", passed=False, message=f"{_OTHER}, which had {inputs.get('films')!s:.40} films"
        )
    if private:
        return _unseen("list of films", "the file holds no paths; there are as many as there were")
    ok = paths_digest(paths) == inputs.get("paths") and list(paths) == sorted(set(paths))
    return CheckResult(check="list of films", passed=ok, message=_UNCHANGED if ok else _OTHER)


def _complete(scores: Scores) -> CheckResult:
    missing = int((scores.films.status == Status.NOT_WRITTEN).sum())
    return CheckResult(check="every film has a row", passed=not missing, message=f"{missing} rows were never written")


def _provenance(scores: Scores) -> CheckResult:
    """Whether the provenance matches its schema, and whether it defines how logits become probabilities."""
    try:
        check_document(scores.provenance, "scores", "provenance", "attributes", "provenance")
        for one in provenance_models(scores.provenance):
            _check_link(one, len(scores.findings))
        for one in calibrated_models(scores.provenance):
            _check_link(one, len(scores.findings))
            _check_target(one, scores.provenance.get("target_prevalence"), scores.findings)
    except FileFormatError as error:
        return CheckResult(check="provenance", passed=False, message=str(error))
    return CheckResult(check="provenance", passed=True, message="as its schema says")


def _check_link(model: Any, findings: int) -> None:
    """FileFormatError unless the activation is a known one, and the calibration, if there is one, has one row per
    finding."""
    activation = get_nested(model, "document", "spec", "activation")
    if activation not in (None, *get_args(Activation)):
        raise FileFormatError(
            f"provenance: activation is {activation!r:.100}, expected {' or '.join(get_args(Activation))}"
        )
    calibration = get_nested(model, "document", "calibration")
    check_document(calibration, "model", "provenance: calibration", "calibration")
    for name in (name for name in ("slope", "intercept", "half_at") if name in (calibration or {})):
        line = calibration[name]
        if len(line) != findings or not all(abs(value) <= _LARGEST for value in line):
            raise FileFormatError(
                f"provenance: calibration: {name} is not one number of at most {_LARGEST:.1g} a finding"
            )


def _check_target(model: Any, target: Any, findings: Sequence[str]) -> None:
    """FileFormatError unless the model records the prevalence from which each finding was moved to its target."""
    if not target:
        return
    document = get_nested(model, "document")
    own = list(get_nested(document, "spec", "findings") or get_nested(document, "findings") or [])
    trained = get_nested(model, "document", "calibration", "prevalence") or []
    known = dict(zip(findings, trained, strict=False)) if own == list(findings) else {}
    unknown = [finding for finding in target if not 0 < known.get(finding, 0) < 1]
    if unknown:
        raise FileFormatError(
            f"provenance: target_prevalence names {unknown[0]!r:.100}, for which the model records no prevalence"
        )


def _numbers(scores: Scores) -> CheckResult:
    """Scored films have finite logits and the probabilities that follow from them; other films have neither."""
    scored = scores.films.status == Status.OK
    logits, probs = scores.logit[scored], scores.prob[scored]
    others = (scores.logit, scores.prob, scores.prob_uncalibrated)
    if not all(np.isnan(values[~scored]).all() for values in others):
        return CheckResult(check="scores", passed=False, message="a film that was not scored has a score")
    if not np.isfinite(logits).all():
        return CheckResult(check="scores", passed=False, message="a film that was scored lacks a logit")
    activation, calibration = _link(scores.provenance)
    difference = float(np.abs(probs - probabilities(logits, activation, calibration)).max(initial=0.0))
    compared = scored & ~_without_uncalibrated(scores)
    before = float(np.abs(_uncalibrated(scores)[compared] - scores.prob_uncalibrated[compared]).max(initial=0.0))
    if before <= _ROUNDING:
        found = f"probabilities within {difference:.1g} of what follows from their logits"
        return CheckResult(check="scores", passed=difference <= _ROUNDING, message=found)
    found = f"uncalibrated probabilities differ by {before:.1g} from what follows from their logits"
    return CheckResult(check="scores", passed=False, message=found)


def _without_uncalibrated(scores: Scores) -> NDArray[np.bool_]:
    """bool [N]: films of a file of version 1, which has no uncalibrated probabilities, or of such a file among those
    that were merged. Other NaN are a fault."""
    lacking: NDArray[np.bool_] = np.asarray(np.isnan(scores.prob_uncalibrated).all(axis=1))
    whole_parts = bool(get_nested(scores.provenance, "partial_files"))
    return lacking if whole_parts or lacking.all() else np.zeros_like(lacking)


def _uncalibrated(scores: Scores) -> Floats:
    """The probabilities without calibration float32 [N,C]. Of a mean over calibrated models they cannot be computed
    from the file: then they are those in it, NaN if any is not a number from 0 to 1."""
    used = provenance_models(scores.provenance)
    if len(used) == 1 and not scores.provenance.get("tta"):
        activation, _ = _link(scores.provenance)
        return probabilities(scores.logit, activation)
    steps = (*used, *calibrated_models(scores.provenance))
    calibrated = any(get_nested(one, "document", "calibration") for one in steps)
    return scores.prob_uncalibrated if calibrated else np.asarray(scores.prob, np.float32)


def _link(provenance: Mapping[str, Any]) -> tuple[Activation, Any]:
    """Activation and calibration that convert logits to probabilities. The logits of an ensemble are those of the
    means."""
    used = provenance_models(provenance)
    if len(used) != 1 or provenance.get("tta"):
        return "sigmoid", None
    document = get_nested(used[0], "document") or {}
    calibration = moved_calibration(document, provenance.get("target_prevalence"))
    return get_nested(document, "spec", "activation") or "sigmoid", calibration


def _model_hashes(inputs: dict[str, Any], scores: Scores, named: Sequence[Path]) -> CheckResult:
    """Whether the given models, in any order, are exactly those of the file."""
    claimed, own = inputs.get("models"), [get_nested(one, "sha256") for one in provenance_models(scores.provenance)]
    ensemble = inputs.get("ensemble")
    if isinstance(claimed, list) and ensemble is not None:
        claimed, own = [*claimed, ensemble], [*own, get_nested(scores.provenance, "ensemble", "sha256")]
    if not claimed or claimed != own or not all(isinstance(digest, str) for digest in own):
        return CheckResult(check="model", passed=False, message="its inputs and its provenance name different models")
    if not named:
        it = "it" if len(claimed) == 1 else f"all {len(claimed)}" if ensemble is None else "the ensemble file"
        return _unseen("model", f"name {it} with --model")
    digests = {path: _model_digest(path) for one in named for path in with_members(one)}
    foreign = [path for path, digest in digests.items() if digest not in claimed]
    missing = [digest[:16] for digest in dict.fromkeys(claimed) if digest not in digests.values()]
    faults = [f"{path} (SHA-256 {digests[path][:16]}) is not among those that scored" for path in foreign]
    faults += [f"the one of SHA-256 {digest} is not among those named" for digest in missing]
    found = "; ".join(faults) or f"SHA-256 {', '.join(digest[:16] for digest in digests.values())}"
    return CheckResult(check="model", passed=not faults, message=found)


def _model_digest(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError as error:
        raise InputError(f"cannot read the model {path}: {error.strerror}. Name the models that scored.") from error


def _bytes(scores: Scores, folder: PathOrUrl, private: bool, part: bool) -> CheckResult:
    """Whether the films of the folder are those of the file, or include them for a partial file. Films without a digest
    are not compared."""
    there = {path: film_digest(folder / path) for path in find_films(folder).paths}
    own = dict(zip(scores.films.path, scores.films.sha256, strict=True))
    faults = _without_names(scores.films.sha256, there) if private else _by_name(own, there)
    if part:
        del faults["were not scored"]
    left = sum(not digest for digest in scores.films.sha256)
    parts = [f"{len(names)} {word}, such as {names[0]}" for word, names in faults.items() if names]
    ok = not parts
    if ok and left < len(own):
        parts.append(f"{len(own) - left} as they were scored")
    parts += [f"{left} not compared: their bytes could not be read when they were to be scored"] * bool(left)
    return CheckResult(
        check="bytes of the films", passed=None if ok and left == len(own) else ok, message="; ".join(parts)
    )


def _by_name(own: Mapping[str, str], there: Mapping[str, str]) -> dict[str, list[str]]:
    """What is wrong with which films; both arguments map paths to digests."""
    compared = [path for path, digest in own.items() if digest and path in there]
    return {
        "are gone": sorted(own.keys() - there.keys()),
        "cannot be read": [path for path in compared if not there[path]],
        "have changed": [path for path in compared if there[path] not in ("", own[path])],
        "were not scored": sorted(there.keys() - own.keys()),
    }


def _without_names(own: Sequence[str], there: Mapping[str, str]) -> dict[str, list[str]]:
    """The same for films identified by digests: those of the file, and those that the folder's paths map to."""
    missing, surplus = Counter(own), []
    missing.subtract(there.values())
    for path, digest in there.items():
        if digest and missing[digest] < 0:
            missing[digest] += 1
            surplus.append(path)
    missing.pop("", None)
    return {"are gone": sorted(missing.elements()), "were not scored": surplus}


def _of_ensemble(path: Path) -> Iterator[CheckResult]:
    ensemble = load_ensemble(path)
    count = len(ensemble.document["members"])
    message = f"ensemble of {count} networks, SHA-256 {ensemble.sha256[:16]}"
    yield CheckResult(check="format, schema and checksum", passed=True, message=message)
    for named in ensemble.document["members"]:
        try:
            member = load_member(ensemble, named)
        except InputError as error:
            yield CheckResult(check=f"member {named['file']}", passed=False, message=str(error))
            continue
        for result in _of_model(member):
            yield replace(result, check=f"member {named['file']}: {result.check}")


def _of_model(model: ModelFile) -> Iterator[CheckResult]:
    yield CheckResult(
        check="format, schema and checksum",
        passed=True,
        message=f"{model.spec.architecture}, SHA-256 {model.sha256[:16]}",
    )
    if model.spec.network is None:
        yield _unseen("tensors", f"cxrscore does not know {model.spec.architecture!r}")
        return
    try:
        check_tensors(model.spec, model.tensors)
    except InputError as error:
        yield CheckResult(check="tensors", passed=False, message=str(error))
        return
    yield CheckResult(check="tensors", passed=True, message=f"{len(model.tensors)}, all finite")
    yield _golden(model)


def _golden(model: ModelFile) -> CheckResult:
    """Recompute the logits of the synthetic films in float64."""
    record = model.document["golden"]
    reference = np.array(record["logits"], np.float64)
    exact = exact_logits(model.spec, model.tensors, golden_films(model.spec.size, len(reference)))
    difference = float(np.abs(exact - reference).max()) if reference.shape == exact.shape else np.inf
    bound = _GOLDEN_ERROR * max(1.0, float(np.abs(exact).max()))
    return CheckResult(
        check="logits of the synthetic films",
        passed=difference <= bound,
        message=f"largest difference {difference:.2g}",
    )
