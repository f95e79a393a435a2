"""What bf16 and int8 do to the scores of a model: largest and mean differences from fp32, and the AUC of each.

    python benchmarks/bench_precision.py MODEL [--films DIR] [--backend openvino]

The films are those of ../shared/data/nih442 (or $CXRSCORE_SHARED), with their labels. int8 is measured where MODEL has
ranges, as `cxrscore quantize` writes them. AUC differences are of all films and, beside them, of those that the model
was not trained on.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np

from cxrscore import labels as lab
from cxrscore import plugins
from cxrscore.images import Preprocessing, require_films, stream_films, to_unit
from cxrscore.metrics import auc_per_finding, macro
from cxrscore.models.model_file import int8_model, load_model
from cxrscore.models.probabilities import probabilities

SHARED = Path(os.environ.get("CXRSCORE_SHARED", Path(__file__).parents[2] / "shared"))
BATCH = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--films", type=Path, default=SHARED / "data" / "nih442" / "films")
    parser.add_argument("--backend", default="openvino")
    parser.add_argument("--count", type=int, default=None, help="films, the first so many; all if left out")
    given = parser.parse_args()
    file, backend = load_model(given.model), plugins.get_backend(given.backend)
    built = {name: backend.build(file.spec, file.tensors, device="cpu", precision=name) for name in ("fp32", "bf16")}
    if file.document.get("quantization"):
        built["int8"] = int8_model(backend, file, "cpu")
    paths = require_films(given.films).paths[: given.count]
    table, _ = lab.read_joined_labels(lab.find_labels(given.films), plugins.datasets(), paths)
    truth = table.labels[:, [table.findings.index(finding) for finding in file.spec.findings]]
    kept, hashes, logits, seconds = scored(file, built, given.films, paths)
    unseen = np.array([file.seen.get(digest[:16]) != "train" for digest in hashes])
    sys.stdout.write(
        f"{given.model.name}: {file.spec.architecture}, {file.spec.size} pixels, {built['fp32'].framework}; "
        f"{len(kept)} films, {unseen.sum()} of them not trained on\n"
    )
    for name in built:
        sys.stdout.write(row(name, file, logits, truth[kept], unseen, seconds) + "\n")


def scored(file, built, folder, paths):
    """Each batch goes through all precisions, one after the other: what disturbs one disturbs all."""
    kept, hashes, batch = [], [], []
    logits = {name: [] for name in built}
    seconds = dict.fromkeys(built, 0.0)

    def flush():
        films = np.stack([to_unit(prepared.pixels) for prepared in batch])
        for name, model in built.items():
            start = time.process_time()
            logits[name].append(model.predict(films))
            seconds[name] += time.process_time() - start
        batch.clear()

    for model in built.values():
        model.predict(np.zeros((2, file.spec.size, file.spec.size), np.float32))
    stream = stream_films(folder, paths, Preprocessing.from_dict(file.document["preprocessing"]), workers=1)
    for place, prepared in enumerate(stream):
        if prepared.pixels is not None:
            kept.append(place)
            hashes.append(prepared.film.sha256)
            batch.append(prepared)
        if len(batch) == BATCH:
            flush()
    if batch:
        flush()
    return kept, hashes, {name: np.concatenate(found) for name, found in logits.items()}, seconds


def row(name, file, logits, truth, unseen, seconds):
    """A precision beside fp32: CPU time, as the time on the clock of a shared machine says little, and scores."""
    one, other = (
        probabilities(logits[which], file.spec.activation, file.document["calibration"]) for which in ("fp32", name)
    )
    moved, apart = np.abs(one - other), np.abs(logits["fp32"] - logits[name]).max()
    told = f"{name}: CPU time {seconds[name] / seconds['fp32']:.2f} of fp32's, max |dp| {moved.max():.4f}"
    told += f", mean |dp| {moved.mean():.5f}, max |dlogit| {apart:.3f}"
    for words, rows in (("all films", slice(None)), ("films not trained on", unseen)):
        before = auc_per_finding(truth[rows], logits["fp32"][rows])
        change = auc_per_finding(truth[rows], logits[name][rows]) - before
        worst = np.nanmin(change) if np.isfinite(change).any() else np.nan
        told += f"\n      macro AUC of {words} {macro(before):.4f} {macro(change):+.4f}, worst finding {worst:+.4f}"
    return told


if __name__ == "__main__":
    main()
