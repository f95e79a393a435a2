"""Do heat maps lie where readers drew boxes, and do they name what the model used? Every explainer, on real films.

    python benchmarks/bench_explainers.py MODEL [FILMS]

Films and boxes are those of ../shared (or $CXRSCORE_SHARED); FILMS of the boxed ones, 12 unless told otherwise. Films
that the model was trained or validated on are counted: maps of films that it knows flatter it. Beside the explainers
stands a map of random numbers, and above all the share of the film that the boxes cover, which is chance.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cxrscore import plugins
from cxrscore.contract import Floats, Model
from cxrscore.explainers import enlarge, explain, explainers, faithfulness
from cxrscore.images import Preprocessing, preprocess, read_film, to_unit
from cxrscore.io import sha256_file
from cxrscore.labels import Box, read_boxes
from cxrscore.metrics import energy_inside, iou, pointing_game
from cxrscore.models.model_file import load_model
from cxrscore.reporting.boxes import SIDE, box_fits_film, mask_of

SHARED = Path(os.environ.get("CXRSCORE_SHARED", Path(__file__).parents[2] / "shared")) / "data" / "nih442"
CELLS = 7
STEPS = 10
Maps = Callable[[Floats, int], Floats]


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def makers(model: Model) -> dict[str, Maps]:
    """For each explainer that this model can serve, a function from a film [S,S] and a finding to a map [h,w]."""
    random = np.random.default_rng(0)
    found: dict[str, Maps] = {"random": lambda film, finding: random.random((CELLS, CELLS)).astype(np.float32)}
    for one in explainers:
        found[one.name] = lambda film, finding, one=one: explain(one, model, film[None], [finding])[1][0, 0]
    return found


def main() -> None:
    model_file = load_model(Path(sys.argv[1]))
    most = int(sys.argv[2]) if len(sys.argv) > 2 else 12
    if not SHARED.is_dir():
        sys.exit(f"no real films at {SHARED}: set CXRSCORE_SHARED")
    backend = plugins.fastest_backends(model_file.spec)[0]
    model = plugins.get_backend(backend).build(model_file.spec, model_file.tensors)
    how = Preprocessing.from_dict(model_file.document["preprocessing"])
    cases: list[tuple[Floats, int, Box, int, int]] = []
    known = 0
    for box in read_boxes(SHARED / "bboxes.csv"):
        path = SHARED / "films" / box.film
        film = read_film(path)
        if (
            film.pixels is None
            or not box_fits_film(box, film.pixels.shape[1], film.pixels.shape[0])
            or len(cases) == most
        ):
            continue
        height, width = film.pixels.shape
        known += sha256_file(path)[:16] in model_file.seen
        pixels = to_unit(preprocess(film.pixels, how))
        cases.append((pixels, model_file.spec.findings.index(box.finding), box, width, height))
    masks = [mask_of(box, width, height) for _, _, box, width, height in cases]
    say(f"{model_file.spec.architecture} at {how.size} pixels by {backend}")
    say(f"{len(cases)} boxes, {known} of them on films that the model knows")
    say(f"chance: boxes cover {np.mean([mask.mean() for mask in masks]):.3f} of the film")
    wide = "".join(f"{word:>10}" for word in ("deletion", "insertion", "ms a map"))
    say(f"{'':15}{'pointing':>9}{'energy':>9}{'overlap':>9}{wide}{'empty':>7}")
    for name, make in makers(model).items():
        rows, taken = [], 0.0
        for (film, finding, *_), mask in zip(cases, masks, strict=True):
            start = time.perf_counter()
            values = make(film, finding)
            taken += time.perf_counter() - start
            drawn = enlarge(values, SIDE)
            faith = faithfulness(model.predict, film, values, finding, steps=STEPS)
            inside = [pointing_game(drawn, mask), energy_inside(drawn, mask), iou(drawn, mask)]
            rows.append([*inside, faith.deletion, faith.insertion])
        table = np.array(rows)
        empty = int(np.isnan(table[:, 0]).sum())
        mean = np.nan_to_num(table).mean(axis=0)
        figures = "".join(f"{value:9.3f}" for value in mean[:3]) + "".join(f"{value:10.3f}" for value in mean[3:])
        say(f"{name:15}{figures}{1000 * taken / len(cases):10.0f}{empty:7}")


if __name__ == "__main__":
    main()
