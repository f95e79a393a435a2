"""What ways of learning from a few hundred films give on films that they have not seen, with paired differences.

    python benchmarks/bench_learning.py FILMS --labels CSV --weights FOLDER [--peer CSV] [--repeats 5] [METHOD ...]

Weights are files FOLDER/NETWORK_imagenet_notop.safetensors. The films are divided into five folds by patient, with
findings balanced, once for each repeat. Each fold is scored by models of the other four, and nothing is chosen on it:
strengths, epochs, calibration and thresholds come from folds or validation films within the other four. Films that are
scored by different models are never compared: an AUC is the share of pairs of a positive and a negative film of the
same fold in which the positive film has the higher score, ties 1/2. Macro figures are means over findings, and all are
means over repeats.

Intervals are over patients: a bootstrap draws patients, each with all its films in all repeats, and weighs their
predictions; figures that are compared share the draws. Models are not trained again, so an interval says what other
films would change, and not what other training films would; the repeats average a part of that.

Methods: epochs (the default up to version 0.1: Adam at 1e-5, the epoch with the highest validation AUC), epochs-split
(the same, with a fifth of the films left out as that version did for its test), epochs-now
(`--solver adam`), densenet121 and resnet50 (the linear probe, the default), both (the mean of their calibrated
probabilities, calibrated again), sklearn and sklearn-own (scikit-learn alone on the features of densenet121, one
strength for all findings or one for each), peer (the probabilities of another network, with --peer), and, if named,
probe-224, fine-tune-224 and last-block-224 (recipes at 224 pixels, from the probe; hours on a CPU: see --outer).

Writes the section "learning" of docs/benchmarks.json and the page, unless there is --output; prints progress.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from record import RECORD, about_run, rounded, write_section

from cxrscore import plugins
from cxrscore.contract import Floats
from cxrscore.labels import Split, draw_valid, folds_by_patient, split_by_patient
from cxrscore.losses import class_weights
from cxrscore.metrics import auc_per_finding, calibration_error, macro
from cxrscore.metrics.bootstrap import patient_resample_counts
from cxrscore.models.imagenet import base_weights
from cxrscore.models.model_file import load_model
from cxrscore.models.probabilities import ModelOutput, mean_logits, probabilities
from cxrscore.recipes import find_recipe, read_recipe
from cxrscore.training import TrainOptions, train_model
from cxrscore.training.data import Data, read_data
from cxrscore.training.evaluation import HeldOut, patient_numbers, spread
from cxrscore.training.features import FeatureSource, batches_of
from cxrscore.training.final_evaluation import calibration_lines
from cxrscore.training.initialization import initial_model, initial_spec
from cxrscore.training.linear_probe import Probe, cross_validate, fit_probe
from cxrscore.training.loop import fit
from cxrscore.training.probe import enough_films, prevalence, training_folds

OUTER = 5
RESAMPLES = 1000
STANDARD = ("epochs", "epochs-split", "epochs-now", "densenet121", "resnet50", "both", "sklearn", "sklearn-own")
PAIRS = (
    *(("densenet121", "epochs"), ("resnet50", "epochs"), ("both", "epochs"), ("densenet121", "epochs-split")),
    ("densenet121", "epochs-now"),
    *(("densenet121", "sklearn"), ("densenet121", "sklearn-own"), ("both", "densenet121"), ("both", "resnet50")),
    *(("both", "peer"), ("fine-tune-224", "probe-224"), ("last-block-224", "probe-224")),
)
STRENGTHS = np.logspace(-5, -1, 9)
"""Of scikit-learn alone."""
Doubles = NDArray[np.float64]
Rows = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class Films:
    """The films, and what the networks make of them."""

    data: Data
    options: TrainOptions
    weights: Path
    peer: Path | None

    @cached_property
    def patients(self) -> Rows:
        return patient_numbers(self.data.patients)

    @property
    def truth(self) -> Floats:
        return self.data.labels

    def of(self, architecture: str, **changes: Any) -> TrainOptions:
        """The options for a network."""
        file = self.weights / f"{architecture}_imagenet_notop.safetensors"
        return replace(self.options, architecture=architecture, weights=str(file), **changes)

    def features(self, architecture: str, size: int = 400) -> Floats:
        """float32 [N,K], from the cache where they are there."""
        found: Floats = self._features.setdefault((architecture, size), None)  # type: ignore[call-overload]
        if found is None:
            options = self.of(architecture, size=size, solver="adam")
            data = self.data if size == self.options.size else read_data(options, lambda *_: None)
            model = initial_model(*self.start(options), options, labels=data.labels, seed=options.seed)
            source = FeatureSource(model, data, options, lambda *_: None)
            found = np.concatenate(list(source.of(batches_of(np.arange(len(data.paths))), None)))
            self._features[architecture, size] = found
        return found

    @cached_property
    def _features(self) -> dict[tuple[str, int], Floats]:
        return {}

    def start(self, options: TrainOptions) -> tuple[Any, Any, Any]:
        """Backend, spec and base weights of a run."""
        base = base_weights(options.weights, options.architecture, plugins.get_network(options.architecture))
        return plugins.get_backend(options.backend), initial_spec(options, self.data.findings, base), base


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One outer fold: the films to learn from and those to score, and the seed of the repeat."""

    train: Rows
    test: Rows
    seed: int


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Logits (of any scale) and probabilities [n,C] of a fold; own: the macro AUC that the model states of itself."""

    logits: Floats
    prob: Floats
    own: float = float("nan")


Method = Callable[[Films, Turn], Scored]


@dataclass(frozen=True, kw_only=True)
class Member:
    """A linear probe, its out-of-fold logits of the training films, their folds, and its calibration."""

    probe: Probe
    held: HeldOut
    slope: Doubles
    intercept: Doubles

    def logits(self, features: Floats) -> Floats:
        return np.asarray(features @ self.probe.kernel + self.probe.bias, np.float32)

    def output(self, logits: Floats) -> ModelOutput:
        """With the calibration."""
        return ModelOutput(
            logits=logits, activation="sigmoid", calibration={"slope": self.slope, "intercept": self.intercept}
        )


def member(films: Films, turn: Turn, architecture: str, size: int = 400) -> Member:
    """What `train` does with the features of its training films; kept, since several methods use it."""
    key = (architecture, size, turn.train.tobytes(), turn.seed)
    if key not in _members:
        _members[key] = _solved(films, turn, films.features(architecture, size))
    return _members[key]


_members: dict[tuple[str, int, bytes, int], Member] = {}


def _solved(films: Films, turn: Turn, features: Floats) -> Member:
    options = replace(films.options, seed=turn.seed)
    x, y = features[turn.train], films.truth[turn.train]
    fitted = enough_films(y, options.min_positives)
    folds = training_folds([films.data.patients[row] for row in turn.train], y, options)
    found = cross_validate(x, y, folds, fitted=fitted)
    probe = fit_probe(x, y, found.strengths, prevalence=prevalence(y))
    logits = (found.margins + probe.intercept).astype(np.float32)
    slope, intercept = calibration_lines(y, logits, "shrunken-platt")
    patients = films.patients[turn.train]
    held = HeldOut(truth=y, logits=logits, patients=patients, on="folds", fitted=fitted, folds=folds)
    return Member(probe=probe, held=held, slope=slope, intercept=intercept)


def probe(architecture: str, size: int = 400) -> Method:
    def scored(films: Films, turn: Turn) -> Scored:
        one = member(films, turn, architecture, size)
        logits = one.logits(films.features(architecture, size)[turn.test])
        return Scored(logits=logits, prob=one.output(logits).prob, own=_stated(one.held))

    return scored


def both(films: Films, turn: Turn) -> Scored:
    """What `train` makes of two networks: the logit of the mean of their calibrated probabilities, calibrated again."""
    names = ("densenet121", "resnet50")
    members = [member(films, turn, name) for name in names]
    truth = members[0].held.truth
    held = mean_logits([one.output(one.held.logits) for one in members])
    slope, intercept = calibration_lines(truth, held, "shrunken-platt")
    new = [films.features(name)[turn.test] for name in names]
    logits = mean_logits([one.output(one.logits(x)) for one, x in zip(members, new, strict=True)])
    prob = probabilities(logits, "sigmoid", {"slope": slope, "intercept": intercept})
    return Scored(logits=logits, prob=prob, own=_stated(replace(members[0].held, logits=held)))


def _logit(prob: Floats) -> Floats:
    """Logits float32 of probabilities."""
    p = np.clip(prob.astype(np.float64), 1e-7, 1 - 1e-7)
    return np.asarray(np.log(p / (1 - p)), np.float32)


def epochs(recipe: str = "", *, unused: float = 0.0, **changes: Any) -> Method:
    """The epoch loop; an eighth of the training films is for validation. unused: the share of them that is left out, as
    the test films of a run are."""

    def scored(films: Films, turn: Turn) -> Scored:
        known = {field.name for field in fields(TrainOptions)}
        values = {k: v for k, v in read_recipe(find_recipe(recipe)).items() if k in known} if recipe else {}
        feature_backend = films.options.feature_backend if not recipe else None
        options = films.of(
            "densenet121", **{**values, "seed": turn.seed, "feature_backend": feature_backend, **changes}
        )
        data = films.data if options.size == films.options.size else read_data(options, lambda *_: None)
        data = replace(data, split=_validated(films, _without(films, turn, unused)))
        backend, spec, base = films.start(options)
        labels, head = data.labels[list(data.split.train)], None
        if options.first_head == "probe":
            rows = replace(turn, train=np.array(data.split.train))
            start = member(films, rows, "densenet121", options.size).probe
            head = {"head/kernel": start.kernel.astype(np.float32), "head/bias": start.bias.astype(np.float32)}
        model = initial_model(backend, spec, base, options, labels=labels, seed=options.seed, head=head)
        loss = plugins.get_loss(options.loss).weighted(class_weights(labels))
        with tempfile.TemporaryDirectory() as folder:
            kept: dict[str, Any] = {"folder": Path(folder), "inputs": {}, "earlier": None}
            found = fit(model, data, loss, options, lambda *_: None, _say, **kept)
        final = backend.build(spec, found.tensors, device=options.device)
        outputs = found.outputs.for_model(final)
        valid, test = (outputs.logits(np.array(rows)) for rows in (data.split.valid, data.split.test))
        calibration = None
        if options.calibration_method != "none":
            lines = calibration_lines(data.labels[list(data.split.valid)], valid, options.calibration_method)
            calibration = dict(zip(("slope", "intercept"), lines, strict=True))
        own = _macro(data.labels[list(data.split.valid)], valid)
        return Scored(logits=test, prob=probabilities(test, "sigmoid", calibration), own=own)

    return scored


def _without(films: Films, turn: Turn, share: float) -> Turn:
    """The turn without a share of its training films, by patient."""
    patients = [films.data.patients[row] for row in turn.train]
    fractions = (1 - share, 0.0, share)
    kept = split_by_patient(patients, films.truth[turn.train], fractions=fractions, seed=turn.seed).train
    return replace(turn, train=turn.train[list(kept)])


def _validated(films: Films, turn: Turn) -> Split:
    split = Split(train=tuple(turn.train.tolist()), valid=(), test=tuple(turn.test.tolist()), rule="outer fold")
    return draw_valid(split, films.data.patients, films.truth, seed=turn.seed)


def sklearn(*, own: bool) -> Method:
    """Logistic regression as the manual of scikit-learn has it: standardized features, and the strength of least
    cross-validated log loss; one for each finding with ``own``, else one for all."""

    def scored(films: Films, turn: Turn) -> Scored:
        from sklearn.linear_model import LogisticRegression
        from sklearn.preprocessing import StandardScaler

        features, y = films.features("densenet121"), films.truth[turn.train] > 0.5
        scale = StandardScaler().fit(features[turn.train])
        x, new = scale.transform(features[turn.train]), scale.transform(features[turn.test])
        losses = np.stack([_sklearn_losses(films, turn, x, y[:, c]) for c in range(y.shape[1])])
        best = np.argmin(losses if own else np.broadcast_to(losses.mean(axis=0), losses.shape), axis=1)
        models = [LogisticRegression(C=STRENGTHS[best[c]], max_iter=5000).fit(x, y[:, c]) for c in range(y.shape[1])]
        logits = np.stack([one.decision_function(new) for one in models], axis=1).astype(np.float32)
        return Scored(logits=logits, prob=probabilities(logits, "sigmoid"))

    return scored


_sklearn_cache: dict[bytes, Doubles] = {}


def _sklearn_losses(films: Films, turn: Turn, x: Floats, y: NDArray[np.bool_]) -> Doubles:
    """Cross-validated log loss of each strength; kept, since two methods use it."""
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.model_selection import StratifiedGroupKFold

    key = turn.train.tobytes() + y.tobytes()
    if key not in _sklearn_cache:
        folds = StratifiedGroupKFold(5, shuffle=True, random_state=turn.seed).split(x, y, films.patients[turn.train])
        search = LogisticRegressionCV(Cs=STRENGTHS, cv=list(folds), scoring="neg_log_loss", refit=False, max_iter=5000)
        warnings.simplefilter("ignore", FutureWarning)  # of the names of its attributes
        _sklearn_cache[key] = -next(iter(search.fit(x, y).scores_.values())).mean(axis=0)
    return _sklearn_cache[key]


def peer(films: Films, turn: Turn) -> Scored:
    assert films.peer is not None
    with films.peer.open(newline="") as file:
        rows = {row["Image Index"]: row for row in csv.DictReader(file)}
    each = [rows[Path(films.data.paths[row]).name] for row in turn.test]
    prob = np.array([[float(film[f"prob_{name}"]) for name in films.data.findings] for film in each], np.float32)
    return Scored(logits=_logit(prob), prob=prob)


EPOCHS = {"solver": "adam", "monitor": "valid_macro_auc", "calibration": "none", "initial_head": "zero"}
METHODS: Mapping[str, Method] = {
    "epochs": epochs(**EPOCHS),
    "epochs-split": epochs(unused=0.2, **EPOCHS),
    "epochs-now": epochs(solver="adam"),
    "densenet121": probe("densenet121"),
    "resnet50": probe("resnet50"),
    "both": both,
    "sklearn": sklearn(own=False),
    "sklearn-own": sklearn(own=True),
    "peer": peer,
    "probe-224": probe("densenet121", 224),
    "fine-tune-224": epochs("fine-tune", size=224),
    "last-block-224": epochs("fine-tune-last-block", size=224),
}


def _macro(truth: Floats, logits: Floats) -> float:
    return float(macro(auc_per_finding(truth, logits)))


def _stated(held: HeldOut) -> float:
    """The macro AUC that a model file states."""
    return float(np.mean([held.auc(c).value for c in range(held.truth.shape[1])]))


def _say(line: str) -> None:
    sys.stderr.write(f"    {line}\n")


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What a method gave all films that it scored, by repeat: [R,N,C], NaN where it scored none.

    folds     [R,N]
    baseline  [R,N,C], the prevalence of the films that the method learnt from
    """

    logits: Doubles
    prob: Doubles
    baseline: Doubles
    folds: Rows
    own: float


def turns(films: Films, folds: Rows, outer: int) -> Iterator[tuple[int, Turn]]:
    for repeat, fold_of in enumerate(folds):
        for fold in range(outer):
            own = fold_of == fold
            yield repeat, Turn(train=np.flatnonzero(~own), test=np.flatnonzero(own), seed=repeat)


def predictions(films: Films, method: Method, folds: Rows, outer: int) -> Predictions:
    shape = (len(folds), *films.truth.shape)
    logits, prob, baseline, own = np.full(shape, np.nan), np.full(shape, np.nan), np.full(shape, np.nan), []
    for repeat, turn in turns(films, folds, outer):
        found = method(films, turn)
        logits[repeat, turn.test], prob[repeat, turn.test] = found.logits, found.prob
        baseline[repeat, turn.test] = films.truth[turn.train].mean(axis=0)
        own.append(found.own)
    return Predictions(logits=logits, prob=prob, baseline=baseline, folds=folds, own=float(np.mean(own)))


@dataclass(frozen=True, kw_only=True)
class Resampled:
    """Macro AUC, Brier score and that of the prevalence, of all films and, below, in each resample: [1+B]."""

    auc: Doubles
    brier: Doubles
    baseline: Doubles

    @property
    def skill(self) -> Doubles:
        return 1 - self.brier / self.baseline


def resampled(truth: Floats, found: Predictions, weights: Doubles) -> Resampled:
    """Figures with films weighted by each row of weights [1+B,N], of which the first is all ones."""
    repeats, _, findings = found.prob.shape
    auc = np.zeros((len(weights), repeats, findings))
    errors = np.zeros((2, len(weights), repeats))
    for repeat in range(repeats):
        scored = ~np.isnan(found.prob[repeat, :, 0])
        share = weights[:, scored] / weights[:, scored].sum(axis=1, keepdims=True)
        for place, prob in enumerate((found.prob, found.baseline)):
            errors[place, :, repeat] = share @ ((prob[repeat] - truth) ** 2).mean(axis=1)[scored]
        for c in range(findings):
            wins, pairs = np.zeros(len(weights)), np.zeros(len(weights))
            for fold in np.unique(found.folds[repeat, scored]):
                own = found.folds[repeat] == fold
                positive, negative = own & (truth[:, c] > 0.5), own & (truth[:, c] <= 0.5)
                apart = found.logits[repeat, positive, c][:, None] - found.logits[repeat, negative, c]
                better = (np.sign(apart) + 1) / 2
                wins += ((weights[:, positive] @ better) * weights[:, negative]).sum(axis=1)
                pairs += weights[:, positive].sum(axis=1) * weights[:, negative].sum(axis=1)
            auc[:, repeat, c] = wins / np.where(pairs > 0, pairs, np.nan)
    means = np.nanmean(auc, axis=(1, 2))
    return Resampled(auc=means, brier=errors[0].mean(axis=1), baseline=errors[1].mean(axis=1))


def figure(values: Doubles) -> list[float]:
    """Value, and its 95 % interval by percentiles."""
    return [float(values[0]), *(float(one) for one in np.percentile(values[1:], [2.5, 97.5]))]


def row(films: Films, found: Predictions, drawn: Resampled) -> dict[str, Any]:
    """The figures of a method: means over repeats, and over findings where it does not say else."""
    cells: dict[str, list[Any]] = {"calibration_error": [], "spread": [], "apart": [], "pooled_auc": []}
    for repeat in range(len(found.prob)):
        scored = ~np.isnan(found.prob[repeat, :, 0])
        y, p = films.truth[scored], found.prob[repeat, scored].astype(np.float32)
        columns = range(y.shape[1])
        cells["calibration_error"].append(np.mean([calibration_error(y[:, c], p[:, c]) for c in columns]))
        cells["spread"].append([spread(p[:, c]) for c in columns])
        cells["apart"].append(np.abs(p.mean(axis=0) - y.mean(axis=0)))
        cells["pooled_auc"].append(_macro(y, p))
    each = [_macro_within(films.truth, found, repeat) for repeat in range(len(found.prob))]
    return {
        "macro_auc": figure(drawn.auc),
        "each_repeat": each,
        "pooled_macro_auc": float(np.mean(cells["pooled_auc"])),
        "own_macro_auc": None if np.isnan(found.own) else found.own,
        "brier_skill": figure(drawn.skill),
        "calibration_error": float(np.mean(cells["calibration_error"])),
        "spread": float(np.mean(cells["spread"])),
        "smallest_spread": float(np.mean(cells["spread"], axis=0).min()),
        "apart": float(np.mean(cells["apart"])),
        "largest_apart": float(np.mean(cells["apart"], axis=0).max()),
        "probabilities": [float(one) for one in np.nanpercentile(found.prob, [0, 100])],
        "films": int((~np.isnan(found.prob[:, :, 0])).sum(axis=1).mean()),
        "repeats": len(found.prob),
    }


def _macro_within(truth: Floats, found: Predictions, repeat: int) -> float:
    one = replace(found, **{name: getattr(found, name)[[repeat]] for name in ("logits", "prob", "baseline", "folds")})
    return float(resampled(truth, one, np.ones((1, len(truth)))).auc[0])


def weights_of(films: Films, resamples: int) -> Doubles:
    """How often each film counts: once, and then in each resample of the patients; [1+B,N]."""
    patients = films.patients
    drawn = [times[patients] for times in patient_resample_counts(int(patients.max()) + 1, resamples, 0)]
    return np.array([np.ones(len(patients)), *drawn], np.float64)


def agreement(films: Films, folds: Rows) -> dict[str, float]:
    """The largest differences between what `cxrscore train` and this script give the films of the first outer fold."""
    _, turn = next(turns(films, folds[:1], 1))
    own = METHODS["densenet121"](films, turn)
    with tempfile.TemporaryDirectory() as folder:
        split = Path(folder) / "split.csv"
        test = set(turn.test.tolist())
        lines = (f"{path},{'test' if row in test else 'train'}" for row, path in enumerate(films.data.paths))
        split.write_text("\n".join(["film,split", *lines]) + "\n", encoding="utf-8")
        options = films.of("densenet121", split=split, seed=turn.seed, output=Path(folder) / "model.safetensors")
        train_model(options)
        file = load_model(options.output)
    features = films.features("densenet121")[turn.test]
    logits = features @ file.tensors["head/kernel"] + file.tensors["head/bias"]
    prob = probabilities(logits, "sigmoid", file.document["calibration"])
    return {
        "logits": float(np.abs(logits - own.logits).max()),
        "prob": float(np.abs(prob - own.prob).max()),
    }


def measure(films: Films, given: argparse.Namespace) -> dict[str, Any]:
    """The record of all methods and of their differences."""
    names = [*(given.methods or STANDARD), *(["peer"] if given.peer and not given.methods else [])]
    truth = films.truth
    folds = np.array([_folds(films, seed) for seed in range(given.repeats)])
    weights = weights_of(films, RESAMPLES)
    rows, drawn = {}, {}
    for name in names:
        found = _kept(given.keep, name, lambda name=name: predictions(films, METHODS[name], folds, given.outer))
        drawn[name] = resampled(truth, found, weights)
        rows[name] = row(films, found, drawn[name])
        sys.stderr.write(f"{name}: {json.dumps(rounded(rows[name]))}\n")
    pairs = [(one, other) for one, other in PAIRS if one in drawn and other in drawn]
    return {
        "films": len(truth),
        "patients": len(np.unique(films.patients)),
        "positives": dict(zip(films.data.findings, (truth > 0.5).sum(axis=0).tolist(), strict=True)),
        "repeats": given.repeats,
        "outer_folds": OUTER,
        "resamples": RESAMPLES,
        "train": agreement(films, folds) if "densenet121" in names else None,
        "methods": rows,
        "differences": [
            {
                "of": one,
                "less": other,
                "macro_auc": figure(drawn[one].auc - drawn[other].auc),
                "brier_skill": figure(drawn[one].skill - drawn[other].skill),
                "each_repeat": np.subtract(rows[one]["each_repeat"], rows[other]["each_repeat"]).tolist(),
            }
            for one, other in pairs
        ],
    }


def _folds(films: Films, seed: int) -> Rows:
    return folds_by_patient(films.data.patients, films.truth, OUTER, seed=seed)


def _kept(folder: Path | None, name: str, compute: Callable[[], Predictions]) -> Predictions:
    """The predictions of a method, from an earlier run where a folder keeps them."""
    path = folder and folder / f"{name}.npz"
    if path and path.is_file():
        with np.load(path) as file:
            return Predictions(**{key: file[key] if file[key].ndim else float(file[key]) for key in file})
    found = compute()
    if path:
        np.savez(path, **vars(found))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("films", type=Path)
    parser.add_argument("methods", nargs="*", metavar="METHOD", help=", ".join(METHODS))
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True, help="folder of ImageNet weights")
    parser.add_argument("--peer", type=Path, help="table of another network's probabilities")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--outer", type=int, default=OUTER, help="of the five outer folds, score the first ones only")
    parser.add_argument("--keep", type=Path, help="folder for predictions; a method that is there is not run again")
    parser.add_argument("--output", type=Path, default=RECORD)
    given = parser.parse_intermixed_args()
    if given.keep:
        given.keep.mkdir(parents=True, exist_ok=True)
    file = given.weights / "densenet121_imagenet_notop.safetensors"
    options = TrainOptions(
        films=given.films,
        labels=given.labels,
        backend="torch",
        feature_backend="openvino",
        weights=str(file),
        device="cpu",
    )
    films = Films(data=read_data(options, lambda *_: None), options=options, weights=given.weights, peer=given.peer)
    begun = about_run(os.getloadavg()[0])
    write_section(given.output, "learning", {**begun, **measure(films, given)})


if __name__ == "__main__":
    main()
