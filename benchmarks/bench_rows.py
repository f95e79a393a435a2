"""Does memory grow with the number of films? Peak memory of scoring 1,000 and 100,000 rows, and where it comes from.

    python benchmarks/bench_rows.py

Films and network are stubs, so what is measured is the run itself: list of films, shards, merge, result. Each size is
a process of its own. Needs no film, no weights and no framework; about a minute.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cxrscore import plugins, scoring
from cxrscore.contract import CamParts, Floats, ModelSpec
from cxrscore.images import Film, FoundFilms, LoadedFilm, Status
from cxrscore.models.model_file import save_model
from cxrscore.scoring import ScoreOptions, finalize, pipeline, score_films
from cxrscore.synthetic.phantoms import golden_films

FINDINGS = tuple(f"finding {number}" for number in range(14))
SPEC = ModelSpec(architecture="stub", findings=FINDINGS, size=32)
MAP = (7, 7)
"""Of DenseNet121 at 224 pixels."""


class StubModel:
    """Logits and heat maps out of nothing, but different ones for every film."""

    spec, framework, device = SPEC, "none", "cpu"

    def predict(self, films: Floats) -> Floats:
        return np.outer(films[:, 0, 0], np.linspace(-1, 1, len(FINDINGS))).astype(np.float32)

    def tensors(self) -> dict[str, Any]:
        return {}

    def cam_parts(self, films: Floats, findings: Sequence[int], cam_layer: str | None = None) -> CamParts:
        activations = np.repeat(films[:, :1, :1, None], 8, axis=3) * np.ones((1, *MAP, 1), np.float32)
        gradients = np.ones((len(films), len(findings), 1, 1, 8), np.float32)
        return CamParts(activations=activations, gradients=gradients, cam_layer="stub", logits=self.predict(films))


class StubBackend:
    name = "stub"

    def build(self, *given: Any, **options: Any) -> StubModel:
        return StubModel()


def stub_stream(folder: Path, paths: Sequence[str], *given: Any, **options: Any) -> Iterator[LoadedFilm]:
    for path in paths:
        number = int(path[-11:-4])
        film = Film(status=Status.OK, sha256=f"{number:064x}", width=1024, height=1024, kind="png")
        yield LoadedFilm(film=film, pixels=np.full((SPEC.size, SPEC.size), number % 251, np.uint8))


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(rows: int) -> dict[str, float]:
    """What one run of so many rows takes, in this process."""
    paths = tuple(f"images/{row % 12:03}/{row:08}_{row:07}.png" for row in range(rows))
    found = FoundFilms(paths=tuple(sorted(paths)))
    scoring.require_films = lambda folder, **options: found
    pipeline.stream_films = finalize.stream_films = stub_stream
    plugins.get_backend = lambda name: StubBackend()
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.safetensors"
        save_model(model, {"a": np.zeros(1, np.float32)}, _document())
        before, begun = peak_mb(), time.monotonic()
        output = Path(folder) / "out.h5"
        options = ScoreOptions(films=Path(folder), output=output, model=model, backend="stub", heatmaps=4)
        score_films(options)
        size = (Path(folder) / "out.h5").stat().st_size
        return {"before": before, "peak": peak_mb(), "seconds": time.monotonic() - begun, "file": size / (1 << 20)}


def _document() -> dict[str, Any]:
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from made_model import document

    logits = StubModel().predict(golden_films(SPEC.size, 1)).tolist()
    return document(SPEC, golden={"films": 1, "logits": logits, "error": None, "tolerance": 1e-4})


def must_be_there(rows: int) -> float:
    """MB of the columns that a result holds of each film: scores, labels, maps, paths and hashes."""
    numbers = 3 * 4 * len(FINDINGS) + 4 * (2 * MAP[0] * MAP[1] + 6) + 20
    texts = 2 * (64 + 49) + 2 * (28 + 49)
    return rows * (numbers + texts) / (1 << 20)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("rows", nargs="*", type=int, default=[1_000, 100_000])
    options.add_argument("--here", action="store_true", help="in this process, as JSON")
    given = options.parse_args()
    if given.here:
        sys.stdout.write(json.dumps(measure(given.rows[0])))
        return
    found = []
    for rows in given.rows:
        command = [sys.executable, __file__, str(rows), "--here"]
        found.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    lines = ["| films | before, MB | peak, MB | growth, bytes a film | of which results | seconds | file, MB |"]
    lines.append("|---|---|---|---|---|---|---|")
    for rows, one in zip(given.rows, found, strict=True):
        growth = (one["peak"] - one["before"]) * (1 << 20) / rows
        must = must_be_there(rows) * (1 << 20) / rows
        size = f"{one['before']:.0f} | {one['peak']:.0f} | {growth:,.0f} | {must:,.0f}"
        lines.append(f"| {rows:,} | {size} | {one['seconds']:.0f} | {one['file']:.1f} |")
    ratio = found[-1]["peak"] / found[0]["peak"]
    lines.append(f"\nPeak memory: {ratio:.2f} times for {given.rows[-1] / given.rows[0]:g} times the films.")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
