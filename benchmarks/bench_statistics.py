"""How long do intervals and a report of a large set take? Ratios to scikit-learn, seconds, peak memory, bytes.

    python benchmarks/bench_statistics.py [FILMS]

Scores are made up, of 14 findings and 112,120 films unless told otherwise; needs no film, no weights, no framework.
Each report is a process of its own. About two minutes on two cores.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cxrscore.images import Status
from cxrscore.metrics import auc_per_finding, bootstrap_auc, delong
from cxrscore.reporting import write_report
from cxrscore.scorefile.data import FilmRows, HeatMaps, Scores, Thumbnails

FILMS, FINDINGS = 112_120, 14
PATIENTS = 30_805
DRAWS = 10
SHOWN, SIDE, CELLS = 48, 256, 13


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def made(films: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels as rare as NIH's, scores of AUCs about 0.8, and patients with several films."""
    random = np.random.default_rng(0)
    truth = (random.random((films, FINDINGS)) < random.uniform(0.002, 0.18, FINDINGS)).astype(np.float32)
    prob = 1 / (1 + np.exp(3 - random.normal(0, 1, (films, FINDINGS)) - 1.2 * truth))
    patient = np.sort(random.integers(0, max(films * PATIENTS // FILMS, 1), films)).astype(np.int32)
    return truth, prob.astype(np.float32), patient


def made_scores(films: int) -> Scores:
    """What `score` leaves of so many films: as many small films and maps as it keeps."""
    truth, prob, patient = made(films)
    random = np.random.default_rng(1)
    shown = np.linspace(0, films - 1, SHOWN).astype(np.int32)
    empty = ("",) * films
    findings = tuple(f"Finding {number}" for number in range(1, FINDINGS + 1))
    return Scores(
        findings=findings,
        films=FilmRows(
            path=tuple(f"images/{row:08d}_000.png" for row in range(films)),
            sha256=tuple(f"{row:064x}" for row in range(films)),
            status=np.where(np.arange(films) % 5000 == 7, Status.DAMAGED, Status.OK).astype(np.uint8),
            message=empty,
            kind=("png",) * films,
            modality=empty,
            view=empty,
            width=np.full(films, 1024, np.uint32),
            height=np.full(films, 1024, np.uint32),
            split=np.zeros(films, np.uint8),
            patient=patient,
        ),
        logit=np.log(prob / (1 - prob)),
        prob=prob,
        prob_uncalibrated=prob,
        truth=truth,
        thresholds=np.full(FINDINGS, 0.1, np.float32),
        heat_maps=HeatMaps(
            map=random.normal(size=(SHOWN * 4, CELLS, CELLS)).astype(np.float16),
            film=np.repeat(shown, 4),
            finding=np.tile(np.arange(4), SHOWN).astype(np.int16),
        ),
        thumbnails=Thumbnails(film=shown, pixels=random.integers(0, 256, (SHOWN, SIDE, SIDE), dtype=np.uint8)),
        provenance={},
    )


def seconds(function: Callable[[], Any], times: int = 3) -> float:
    """The least of several runs."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        function()
        found.append(time.perf_counter() - start)
    return min(found)


def areas(films: int) -> None:
    """DeLong and drawing against scikit-learn's AUCs and its bootstrap."""
    from sklearn.metrics import roc_auc_score

    truth, prob, patient = made(films)
    columns = range(FINDINGS)
    ones = seconds(lambda: [roc_auc_score(truth[:, c], prob[:, c]) for c in columns])
    rows = np.random.default_rng(2).integers(0, films, films)
    drawn = seconds(lambda: [roc_auc_score(truth[rows, c], prob[rows, c]) for c in columns], 1)
    ours = seconds(lambda: auc_per_finding(truth, prob))
    intervals = seconds(lambda: [delong(truth[:, c], prob[:, c]) for c in columns])
    boot = seconds(lambda: bootstrap_auc(truth, prob, patient, resamples=DRAWS), 1)
    off = max(abs(delong(truth[:, c], prob[:, c]).value - roc_auc_score(truth[:, c], prob[:, c])) for c in columns)
    say(f"{films:,} films x {FINDINGS} findings; scikit-learn's AUCs take {ones:.2f} s")
    say(f"  AUC                         {ours:6.2f} s   {ours / ones:5.2f} of scikit-learn's")
    say(f"  AUC with DeLong's interval  {intervals:6.2f} s   {intervals / ones:5.2f} of it; AUCs differ by {off:.1e}")
    say(f"  a resample of the patients  {boot / DRAWS:6.3f} s   {boot / DRAWS / drawn:5.2f} of scikit-learn's of one")


def report(films: int, labelled: bool) -> None:
    """Seconds, peak memory and size of a page; run in a process of its own."""
    scores = made_scores(films)
    if not labelled:
        scores.truth[:] = np.nan
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "out.html"
        taken = seconds(lambda: write_report(scores, output, source="out.h5"), 1)
        size = output.stat().st_size
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    say(
        f"report of {films:,} films{'' if labelled else ' without labels'}: {taken:.1f} s, {size / 1e6:.1f} MB, peak "
        f"memory {peak / 1024:.0f} MiB, of which {before / 1024:.0f} before it began"
    )


def main() -> None:
    if len(sys.argv) > 2:
        report(int(sys.argv[1]), sys.argv[2] == "labelled")
        return
    films = int(sys.argv[1]) if len(sys.argv) > 1 else FILMS
    areas(films)
    sys.stdout.flush()
    for number, what in ((films // 100, "labelled"), (films, "labelled"), (films, "bare")):
        subprocess.run([sys.executable, __file__, str(number), what], check=True)


if __name__ == "__main__":
    main()
