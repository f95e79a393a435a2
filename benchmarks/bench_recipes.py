"""Macro AUC of recipes over seeds of the patient split, beside two yardsticks on the same films.

    python benchmarks/bench_recipes.py FILMS --labels CSV [--peer CSV] [--seeds 5] [RECIPE ...]

A recipe is a name or path, with changes behind it: "default+augmentations=4", "default+size=224". The yardsticks:
logistic regression of scikit-learn on the same embeddings, standardised, one a finding, its C chosen among six by the
macro AUC of the validation films; and, with --peer, the probabilities that another network gave the same films. All
look at the test films once. Differences are paired by seed; with few seeds their t interval is wide, and is printed.
Rows are printed as they are finished, as a table in Markdown.
"""

import argparse
import csv
import dataclasses
import sys
import tempfile
import time
import tomllib
import warnings
from pathlib import Path

import numpy as np
from scipy import stats
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from cxrscore import plugins
from cxrscore.contract import ModelSpec
from cxrscore.metrics import auc_per_finding, macro
from cxrscore.models.imagenet import base_weights
from cxrscore.networks.tensors import initial_tensors
from cxrscore.recipes import find_recipe, read_recipe
from cxrscore.training import TrainOptions, train_model
from cxrscore.training.data import Data, read_data

HEADER = """| | macro AUC | sd | each seed | less logistic regression (95 % t) | s |
|---|---|---|---|---|---|
"""
STRENGTHS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1.0)


def options_of(recipe: str, given: argparse.Namespace, seed: int) -> TrainOptions:
    """The recipe with the changes written behind it."""
    name, *changes = recipe.split("+")
    values = read_recipe(find_recipe(name)) | tomllib.loads("\n".join(changes))
    places = {"films": given.films, "labels": given.labels, "seed": seed}
    known = {field.name for field in dataclasses.fields(TrainOptions)}
    return TrainOptions(**{"backend": given.backend, **{k: v for k, v in values.items() if k in known}, **places})


def recipe_aucs(recipe: str, given: argparse.Namespace, seed: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "model.safetensors"
        return train_model(dataclasses.replace(options_of(recipe, given, seed), output=output)).test_auc


def embeddings(data: Data, given: argparse.Namespace) -> np.ndarray:
    """float32 [N,K] of all films, from the network that the default recipe starts from."""
    spec = ModelSpec(architecture="densenet121", findings=data.findings, size=given.size)
    tensors = initial_tensors(spec, 0, base_weights("imagenet", spec.architecture).tensors)
    model = plugins.get_backend(given.backend).build(spec, tensors)
    rows = range(len(data.paths))
    return np.concatenate([model.embed(data.store.batch(rows[at : at + 8])) for at in rows[::8]])


def logistic(data: Data, embedded: np.ndarray) -> float:
    """Macro AUC of the test films by logistic regression."""
    parts = {name: list(rows) for name, rows in data.split.parts()}
    scaled = StandardScaler().fit(embedded[parts["train"]]).transform(embedded)
    tried = []
    for strength in STRENGTHS:
        scores = np.zeros(data.labels.shape)
        for c, truth in enumerate(data.labels.T):
            known = [row for row in parts["train"] if not np.isnan(truth[row])]
            if 0 < truth[known].sum() < len(known):
                fitted = LogisticRegression(C=strength, class_weight="balanced", max_iter=2000)
                scores[:, c] = fitted.fit(scaled[known], truth[known]).decision_function(scaled)
        valid, test = (macro(auc_per_finding(data.labels[parts[p]], scores[parts[p]])) for p in ("valid", "test"))
        tried.append((valid, -strength, test))
    return max(tried)[2]


def peer(data: Data, path: Path) -> float:
    with path.open(newline="") as file:
        rows = {row["Image Index"]: row for row in csv.DictReader(file)}
    test = list(data.split.test)
    films = [rows[Path(data.paths[row]).name] for row in test]
    scores = np.array([[float(film[f"prob_{finding}"]) for finding in data.findings] for film in films])
    return macro(auc_per_finding(data.labels[test], scores))


def row(name: str, found: list[float], yardstick: list[float] | None, seconds: float) -> str:
    mean, spread = np.mean(found), np.std(found, ddof=1)
    beside = ""
    if yardstick is not None:
        apart = np.subtract(found, yardstick)
        half = stats.t.ppf(0.975, len(apart) - 1) * np.std(apart, ddof=1) / np.sqrt(len(apart))
        beside = f"{np.mean(apart):+.3f} ({np.mean(apart) - half:+.3f} to {np.mean(apart) + half:+.3f})"
    each = ", ".join(f"{value:.3f}" for value in found)
    return f"| {name} | {mean:.3f} | {spread:.3f} | {each} | {beside} | {seconds:.0f} |\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("films", type=Path)
    parser.add_argument("recipes", nargs="*", default=["default"])
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--size", type=int, default=400, help="of the films for the yardstick")
    given = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    sets = [
        read_data(options_of("default+solver = 'adam'", given, seed), lambda *_: None) for seed in range(given.seeds)
    ]
    sys.stdout.write(HEADER)
    if given.peer:
        sys.stdout.write(row("the peer's probabilities", [peer(data, given.peer) for data in sets], None, 0))
    begun = time.perf_counter()
    embedded = embeddings(sets[0], given)
    yardstick = [logistic(data, embedded) for data in sets]
    sys.stdout.write(row("logistic regression on embeddings", yardstick, None, time.perf_counter() - begun))
    for recipe in given.recipes:
        begun = time.perf_counter()
        found = [recipe_aucs(recipe, given, seed) for seed in range(given.seeds)]
        sys.stdout.write(row(recipe, found, yardstick, time.perf_counter() - begun))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
