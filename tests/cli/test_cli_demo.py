"""The demo: a model that learned, and heat maps that point at what was drawn."""

import csv
import json

import forked
import numpy as np
import pytest
from scipy.stats import binom

from cxrscore.scorefile import open_scores


def pointing(folder):
    """Of films the model did not see: how often the peak of a drawn finding's map lies in its box, and how often
    a place drawn at random would."""
    scores = open_scores(folder / "out.h5")
    with (folder / "films" / "bboxes.csv").open() as file:
        boxes = [(row[0], row[1], [float(v) for v in row[2:6]]) for row in list(csv.reader(file))[1:]]
    row_of = {path: row for row, path in enumerate(scores.films.path)}
    maps = scores.heat_maps
    at = {(int(f), int(c)): i for i, (f, c) in enumerate(zip(maps.film, maps.finding, strict=True))}
    hits, chance = [], []
    for film, finding, (x, y, width, height) in boxes:
        row, column = row_of[film], scores.findings.index(finding)
        if scores.films.split[row] in (1, 2) or (row, column) not in at:
            continue
        heat = maps.map[at[row, column]].astype(float)
        peak_y, peak_x = np.unravel_index(heat.argmax(), heat.shape)
        scale = scores.films.width[row] / heat.shape[1]
        centre_x, centre_y = (peak_x + 0.5) * scale, (peak_y + 0.5) * scale
        hits.append(x <= centre_x <= x + width and y <= centre_y <= y + height)
        chance.append(width * height / (scores.films.width[row] * scores.films.height[row]))
    return sum(hits), np.mean(chance), len(hits)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "keras"])
def test_it_learns_and_points(tmp_path, monkeypatch, backend):
    monkeypatch.setenv("CXRSCORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CXRSCORE_OFFLINE", "1")
    done = forked.cxrscore("demo", tmp_path / "demo", "--backend", backend, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["test_auc"] > 0.7
    hits, chance, films = pointing(tmp_path / "demo")
    assert films >= 20
    assert binom.sf(hits - 1, films, chance) < 0.01  # so many by chance
    assert (tmp_path / "demo" / "out.html").stat().st_size < 10_000_000
