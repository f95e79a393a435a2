"""What marking 100 films brings if a queue chooses them, against 100 random films.

    python benchmarks/bench_marks.py FILMS --labels CSV --weights FOLDER [--films 100] [--start 50] [--seeds 5]

The films are divided into five folds by patient, the same for all seeds; each fold in turn is the test, and no film of
it is ever marked. For each seed and fold, a random start set of the other films is labelled, and a linear probe is
trained on it. Each rule then chooses films of the rest by that probe, the label table is the reader who marks them, and
a probe is trained on the start set and the marked films: the linear probe of `cxrscore train`, on the features of
densenet121 with ImageNet weights. All rules share the start set.

An AUC is the share of pairs of a positive and a negative film of the same fold and seed in which the positive film has
the higher score, ties 1/2; macro AUCs are means over findings, and all are means over seeds. Findings that a probe
cannot learn, because fewer than --min-positives films of either class are marked, count with the AUC of a constant,
0.5. Intervals are over patients of the test, as in bench_learning.py: rules that are compared share the draws, and
models are not trained again. The differences of each seed are given too, as the seeds draw other training films.

Writes the section "marks" of docs/benchmarks.json and the page, unless there is --output; prints progress.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from bench_learning import OUTER, RESAMPLES, Films, Predictions, Turn, _folds, figure, member, resampled, weights_of
from numpy.typing import NDArray
from record import RECORD, about_run, rounded, write_section

from cxrscore.reading import Rule, draw_queue
from cxrscore.scorefile import FilmRows, HeatMaps, Scores, Thumbnails
from cxrscore.training import TrainOptions
from cxrscore.training.data import read_data

RULES = ("random", "useful", "uncertainty", "highest")
NETWORK = "densenet121"
Rows = NDArray[np.intp]


def scores_of(films: Films, rows: Rows, prob: NDArray[np.float32]) -> Scores:
    """What a scores file of these films would say, without their labels."""
    count, findings = prob.shape
    unknown = np.full(prob.shape, np.nan, np.float32)
    paths = tuple(films.data.paths[row] for row in rows)
    return Scores(
        findings=films.data.findings,
        films=FilmRows(
            path=paths,
            sha256=tuple(films.data.store.films[row].sha256 for row in rows),
            status=np.ones(count, np.uint8),
            message=("",) * count,
            kind=("png",) * count,
            modality=("",) * count,
            view=("",) * count,
            width=np.zeros(count, np.uint32),
            height=np.zeros(count, np.uint32),
            split=np.zeros(count, np.uint8),
            patient=np.full(count, -1, np.int32),
        ),
        logit=unknown,
        prob=prob,
        prob_uncalibrated=prob,
        truth=unknown,
        thresholds=np.full(findings, np.nan, np.float32),
        heat_maps=HeatMaps(
            map=np.zeros((0, 1, 1), np.float16), film=np.zeros(0, np.int32), finding=np.zeros(0, np.int16)
        ),
        thumbnails=Thumbnails(film=np.zeros(0, np.int32), pixels=np.zeros((0, 1, 1), np.uint8)),
    )


def marked(films: Films, rule: str, start: Turn, pool: Rows, count: int) -> Rows:
    """The films of the pool that a rule chooses by the probe of the start set."""
    features, one = films.features(NETWORK), member(films, start, NETWORK)
    prob = np.asarray(one.output(one.logits(features[pool])).prob, np.float32)
    queue = draw_queue(
        scores_of(films, pool, prob),
        Rule.parse(rule),
        count,
        seed=start.seed,
        features=lambda rows: features[pool[rows]],
    )
    return pool[[film.row for film in queue.films]]


def measure(films: Films, given: argparse.Namespace) -> dict[str, Any]:
    truth, seeds = films.truth, range(given.seeds)
    fold_of = _folds(films, 0)
    folds = np.stack([fold_of] * given.seeds)
    shape = (given.seeds, *truth.shape)
    names = ("start", *RULES, "all")
    logits = {name: np.full(shape, np.nan) for name in names}
    positives: dict[str, list[float]] = {name: [] for name in names}
    learnt: dict[str, list[float]] = {name: [] for name in names}
    for seed in seeds:
        for fold in range(OUTER):
            test, rest = np.flatnonzero(fold_of == fold), np.flatnonzero(fold_of != fold)
            rng = np.random.default_rng([seed, fold])
            drawn = rng.permutation(rest)
            start = Turn(train=np.sort(drawn[: given.start]), test=test, seed=seed)
            pool = np.sort(drawn[given.start :])
            for name in names:
                new = {"start": pool[:0], "all": pool}.get(name)
                if new is None:
                    new = marked(films, name, start, pool, given.films)
                turn = replace(start, train=np.sort(np.concatenate([start.train, new])))
                if name == "random":
                    assert len(turn.train) == given.start + given.films
                one = member(films, turn, NETWORK)
                logits[name][seed, test] = one.logits(films.features(NETWORK)[test])
                positives[name].append(float((truth[new] > 0.5).sum()))
                learnt[name].append(float(one.held.fitted.sum()))
            sys.stderr.write(f"seed {seed}, fold {fold}\n")
    weights = weights_of(films, RESAMPLES)
    found, rows = {}, {}
    for name in names:
        one = Predictions(logits=logits[name], prob=logits[name], baseline=logits[name], folds=folds, own=float("nan"))
        found[name] = resampled(truth, one, weights).auc
        each = [float(resampled(truth, _of_seed(one, seed), weights[:1]).auc[0]) for seed in seeds]
        rows[name] = {
            "macro_auc": figure(found[name]),
            "each_seed": each,
            "positives": float(np.mean(positives[name])),
            "findings_learnt": float(np.mean(learnt[name])),
        }
        sys.stderr.write(f"{name}: {json.dumps(rounded(rows[name]))}\n")
    return {
        "films": len(truth),
        "patients": len(np.unique(films.patients)),
        "findings": len(films.data.findings),
        "start": given.start,
        "marked": given.films,
        "pool": round(len(truth) * (1 - 1 / OUTER)) - given.start,
        "seeds": given.seeds,
        "folds": OUTER,
        "resamples": RESAMPLES,
        "min_positives": given.min_positives,
        "rules": rows,
        "differences": [
            {
                "of": name,
                "less": "random",
                "macro_auc": figure(found[name] - found["random"]),
                "each_seed": np.subtract(rows[name]["each_seed"], rows["random"]["each_seed"]).tolist(),
            }
            for name in RULES
            if name != "random"
        ],
    }


def _of_seed(found: Predictions, seed: int) -> Predictions:
    return replace(found, **{name: getattr(found, name)[[seed]] for name in ("logits", "prob", "baseline", "folds")})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FILMS")
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True, help="folder of ImageNet weights")
    parser.add_argument("--films", type=int, default=100, help="films that are marked")
    parser.add_argument("--start", type=int, default=50, help="random films that are labelled before")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--min-positives", type=int, default=5)
    parser.add_argument("--output", type=Path, default=RECORD)
    given = parser.parse_args()
    options = TrainOptions(
        films=given.folder,
        labels=given.labels,
        backend="torch",
        feature_backend="openvino",
        weights=str(given.weights / f"{NETWORK}_imagenet_notop.safetensors"),
        device="cpu",
        min_positives=given.min_positives,
    )
    films = Films(data=read_data(options, lambda *_: None), options=options, weights=given.weights, peer=None)
    begun = about_run(os.getloadavg()[0])
    write_section(given.output, "marks", {**begun, **measure(films, given)})


if __name__ == "__main__":
    main()
