"""What does a user wait for before the first score? The stages of `cxrscore score` of one film.

    python benchmarks/bench_start.py FILM MODEL [--backend openvino] [--precision fp32] [--runs 9]

Each run is a process of its own, which notes the time at which it reaches each stage; medians over the runs. Files are
in the system's memory from a run before. What a stage imports is a part of it. The decoder process starts while the
network is compiled, so its time, measured alone, is no stage: it counts only as far as the first film waits for it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

STAGES = {
    "python": "Python starts",
    "imports": "cxrscore is imported",
    "model": "the model file is read",
    "built": "the run is prepared, the backend is imported",
    "compiled": "the network is compiled, the golden film is scored",
    "film": "the first film is decoded: the rest of the wait for it",
    "score": "the first score",
    "written": "thumbnails, the file is written",
    "end": "the process ends",
}
"""Time that the process notes, and the stage that ends then."""
FIRST_SCORE = "score"


def child(begun: float, marks: Path, words: list[str]) -> None:
    """`cxrscore` with these words, in this process, which notes seconds since ``begun``."""
    noted = {"python": time.monotonic() - begun}

    def note(name: str) -> None:
        noted.setdefault(name, time.monotonic() - begun)

    import cxrscore.cli.score
    from cxrscore import scoring
    from cxrscore.scoring.inference import Scorer

    note("imports")

    def noting(function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def noted_call(*args: Any, **options: Any) -> Any:
            found = function(*args, **options)
            note(name)
            return found

        return noted_call

    scoring.load_models = noting(scoring.load_models, "model")
    scoring.prepare_run = noting(scoring.prepare_run, "built")
    scoring.golden_difference = noting(scoring.golden_difference, "compiled")
    scoring.score_films = noting(scoring.score_films, "written")
    real_prepare = Scorer.prepare

    def prepare(self: Scorer, films: Any) -> Any:
        note("film")
        return real_prepare(self, films)

    Scorer.prepare = prepare  # type: ignore[method-assign]
    Scorer.__call__ = noting(Scorer.__call__, "score")  # type: ignore[method-assign]
    try:
        cxrscore.cli.main(words)
    finally:
        marks.write_text(json.dumps(noted))


def run(words: list[str], folder: Path) -> dict[str, float]:
    """Seconds of each stage of one process."""
    marks = folder / "marks.json"
    begun = time.monotonic()
    command = [sys.executable, __file__, "--child", str(begun), str(marks), *words]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    noted = {**json.loads(marks.read_text()), "end": time.monotonic() - begun}
    return {name: noted[name] for name in STAGES}


def decoder_seconds(film: Path, size: int) -> float:
    """A decoder process alone, until it has decoded this film and ended."""
    from cxrscore.images import Preprocessing
    from cxrscore.images.decoder_pool import COMMAND
    from cxrscore.images.decoder_protocol import Settings
    from cxrscore.subprocesses import child_environment, python_command

    order = Settings(preprocessing=Preprocessing(size=size)).line() + f"0 {json.dumps({'path': str(film)})}\n".encode()
    environment = child_environment({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})
    begun = time.monotonic()
    subprocess.run(python_command(*COMMAND), input=order, env=environment, capture_output=True, check=True)
    return time.monotonic() - begun


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("film", type=Path)
    options.add_argument("model", type=Path)
    options.add_argument("--backend", default="openvino")
    options.add_argument("--precision", default="fp32")
    options.add_argument("--runs", type=int, default=9)
    given = options.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # a user's Python keeps what it has compiled
    from cxrscore.models.model_file import load_model

    size = load_model(given.model).spec.size
    with tempfile.TemporaryDirectory() as name:
        folder, output = Path(name), Path(name) / "out.h5"
        (folder / "films").mkdir()
        film = Path(shutil.copy(given.film, folder / "films"))
        words = ["score", str(film.parent), "-o", str(output), "-m", str(given.model)]
        words += ["--backend", given.backend, "--precision", given.precision, "--quiet"]
        runs = []
        for _ in range(given.runs + 1):
            output.unlink(missing_ok=True)
            runs.append(run(words, folder))
        del runs[0]  # it fills the system's memory
        alone = [decoder_seconds(film, size) for _ in range(given.runs)]
    lines = ["| stage | seconds | at the end of it, seconds |", "| --- | ---: | ---: |"]
    before = [0.0] * len(runs)
    for name, stage in STAGES.items():
        ends = [one[name] for one in runs]
        own = statistics.median(end - begin for begin, end in zip(before, ends, strict=True))
        lines.append(f"| {stage} | {own:.3f} | {statistics.median(ends):.3f} |")
        before = ends
    first = sorted(one[FIRST_SCORE] for one in runs)
    lines += [
        "",
        f"First score after {statistics.median(first):.2f} s ({first[0]:.2f} to {first[-1]:.2f}), {len(runs)} runs. A "
        f"decoder process that starts, decodes the film and ends takes {statistics.median(alone):.3f} s alone.",
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(float(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
    else:
        main()
