"""Scores and heat maps of each built-in network in every installed backend, and in the exported ONNX file.

    python benchmarks/bench_parity.py [--networks densenet121,resnet50] [--count 40] [--all-of densenet121]

The films are those of ../shared/data/nih442 (or $CXRSCORE_SHARED): the first --count of them for each network, and all
for those of --all-of. Weights are ImageNet's where ../shared/weights has them, else random; the head is random. The
size is the network's own. Random networks normalise by the statistics of eight films, so that their features differ
from film to film as those of a trained network do. Heads are scaled: their logits have a standard deviation
of 1. Each backend runs in a process of its own and is compared with the first. The exported file is run by onnxruntime
alone. Printed is JSON: by network, the largest difference of a probability from the first backend, the smallest
correlation of a heat map, and the range of probabilities.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cxrscore.compare_backends import compare_backends
from cxrscore.contract import Array, Floats, ModelSpec, Tensors
from cxrscore.export.onnx_model import OnnxOptions, export_onnx
from cxrscore.images import Preprocessing, preprocess, read_film, require_films, to_unit
from cxrscore.labels.findings import FINDINGS
from cxrscore.models.imagenet import read_weights
from cxrscore.models.model_file import load_model, save_model
from cxrscore.models.probabilities import probabilities
from cxrscore.networks.builtin import BUILT_IN, built_in
from cxrscore.networks.reference import by_batch
from cxrscore.networks.tensors import initial_tensors
from cxrscore.plugins import fastest_backends, get_backend
from cxrscore.testing.fixtures import random_tensors

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("CXRSCORE_SHARED", ROOT.parent / "shared"))
FIRST = "torch"
"""The backend with which all are compared."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=",".join(BUILT_IN), help="with commas between")
    parser.add_argument("--count", type=int, default=40, help="films of each network")
    parser.add_argument(
        "--all-of", default="densenet121", help="networks that are given all films, with commas between"
    )
    given = parser.parse_args()
    films = require_films(SHARED / "data" / "nih442" / "films")
    found = {}
    for name in given.networks.split(","):
        count = None if name in given.all_of.split(",") else given.count
        with tempfile.TemporaryDirectory(prefix="cxrscore-parity-") as folder:
            own = Path(folder)
            (own / "films").mkdir()
            for path in films.paths[:count]:
                shutil.copy(SHARED / "data" / "nih442" / "films" / path, own / "films")
            found[name] = compared(name, own)
        sys.stderr.write(f"{name}: {json.dumps(found[name])}\n")
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


def compared(name: str, folder: Path) -> dict[str, Any]:
    """The row of a network, for the films in folder/films."""
    model, weights = folder / "model.safetensors", SHARED / "weights" / f"{name}_imagenet_notop.safetensors"
    films = sorted((folder / "films").iterdir())
    save(name, model, weights if weights.is_file() else None, films[:8])
    spec = load_model(model).spec
    backends = [FIRST, *(one for one in fastest_backends(spec, "cpu") if one != FIRST)]
    parity = compare_backends(model, backends, films=folder / "films", device="cpu")
    row: dict[str, Any] = {
        "films": parity.runs[0].films,
        "size": spec.size,
        "weights": "imagenet" if weights.is_file() else "random",
        "backends": {
            pair.backends[1]: {
                "max_prob_difference": pair.max_prob_difference,
                "min_heatmap_correlation": pair.min_heatmap_correlation,
            }
            for pair in parity.pairs
        },
    }
    difference, lowest, highest = exported(model, folder)
    row["exported file"] = {"max_prob_difference": difference}
    row["probabilities"] = [lowest, highest]
    return row


def save(name: str, path: Path, weights: Path | None, films: Sequence[Path]) -> None:
    """A model of this network with a random head, whose probabilities of these films differ."""
    sys.path.insert(0, str(ROOT / "tests"))
    from made_model import document, golden

    network = built_in(name)
    if network is None:
        raise SystemExit(f"{name} is not a built-in network")
    spec = ModelSpec(architecture=name, findings=FINDINGS, size=network.size, normalize=network.normalize)
    tensors = lively(spec, films) if weights is None else initial_tensors(spec, 0, base(weights, spec))
    tensors = scaled_head(spec, tensors, prepared(films, spec.size))
    save_model(path, tensors, document(spec, golden=golden(spec, tensors)))


def base(weights: Path, spec: ModelSpec) -> Tensors:
    return read_weights(weights, spec.architecture).tensors


def prepared(films: Sequence[Path], size: int) -> Floats:
    """float32 [N,S,S] in 0..1."""
    return np.stack([to_unit(preprocess(read_film(path).pixels, Preprocessing(size=size))) for path in films])


def lively(spec: ModelSpec, films: Sequence[Path]) -> Tensors:
    """Random tensors whose batch normalisations have the statistics of these films, at a size that is quickly
    computed."""
    tensors, small = random_tensors(spec), replace(spec, size=112)
    norms = [node.name for node in spec.graph.nodes if node.operation == "batch_norm"]
    if not norms:
        return tensors
    _, measured = by_batch(small, tensors, prepared(films, small.size), norms)
    return {name: np.asarray(measured[name], np.float32) for name in tensors}


def scaled_head(spec: ModelSpec, tensors: Tensors, films: Floats) -> dict[str, Array]:
    """The tensors with a head whose logits of these films have a mean of 0 and a standard deviation of 1: where all
    probabilities are 0 or 1, every backend agrees."""
    embeddings = get_backend(FIRST).build(spec, tensors, device="cpu").embed(films)
    logits = embeddings @ tensors["head/kernel"]
    scale = np.maximum(logits.std(axis=0), 1e-6)
    return {**tensors, "head/kernel": tensors["head/kernel"] / scale, "head/bias": -logits.mean(axis=0) / scale}


def exported(model: Path, folder: Path) -> tuple[float, float, float]:
    """The largest difference between the probabilities that onnxruntime computes from the exported file and torch's,
    and the lowest and highest of these."""
    import onnxruntime

    target = folder / "model.onnx"
    export_onnx(OnnxOptions(model=model, output=target))
    file = load_model(model)
    built = get_backend(FIRST).build(file.spec, file.tensors, device="cpu")
    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    how, differences, probs = Preprocessing.from_dict(file.document["preprocessing"]), [], []
    for path in require_films(folder / "films").paths:
        film: Floats = to_unit(preprocess(read_film(folder / "films" / path).pixels, how))[None]
        own = probabilities(built.predict(film), file.spec.activation, file.document["calibration"])
        (theirs,) = session.run(["probabilities"], {"films": film})
        differences.append(np.abs(own - theirs).max())
        probs.append(own)
    return float(max(differences)), float(np.min(probs)), float(np.max(probs))


if __name__ == "__main__":
    main()
