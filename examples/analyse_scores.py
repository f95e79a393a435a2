# %% [markdown]
# # Scores in your own hands
#
# `cxrscore report` makes a page. This is the other way: the same numbers and figures as Python objects, to go on with.
# First `cxrscore demo demo`, then this, in the folder that holds `demo`:
#
#     python analyse_scores.py
#
# It needs nothing but cxrscore itself. Set `CXRSCORE_EXAMPLE` to the folder with your own `out.h5`.

# %%
import csv
import os
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from cxrscore import open_scores
from cxrscore.export import ExportOptions, export_scores
from cxrscore.images import Status
from cxrscore.metrics import auc, macro
from cxrscore.reporting import figures
from cxrscore.reporting.heatmaps import heatmap_panels
from cxrscore.reporting.provenance import provenance_models, read_training
from cxrscore.reporting.summary import summarise

FOLDER = Path(os.environ.get("CXRSCORE_EXAMPLE", "demo"))
OUTPUT = FOLDER / "analysis"
OUTPUT.mkdir(exist_ok=True)

# %% [markdown]
# ## What is in the file
#
# Everything is plain NumPy. `prob`, `logit` and `truth` are films x findings; NaN is "no score" or "no label".

# %%
scores = open_scores(FOLDER / "out.h5")
scored = scores.films.status == Status.OK
print(f"{len(scored)} films, {scored.sum()} scored, findings: {', '.join(scores.findings)}")
for row in np.flatnonzero(~scored):
    print(f"not scored: {scores.films.path[row]}: {scores.films.message[row]}")

# %% [markdown]
# ## The report's numbers
#
# They stand on films that the model had not seen, as long as there is one with a label.

# %%
summary = summarise(scores)
rows = summary.assessed.rows
print(f"{len(rows)} films, {summary.assessed.basis}; macro AUC {summary.macro_auc:.3f}")
for result in summary.findings:
    counted = f"{result.positives:>4} positive, {result.negatives:>4} negative"
    print(f"{result.finding:<20}{counted}   AUC {result.auc:.3f}")

# %% [markdown]
# ## Numbers of your own
#
# The AUC of each finding, worked out here, and of those films of which the model is least sure.

# %%
prob, truth = scores.prob[rows], scores.truth[rows]
areas = np.array([auc(truth[:, place], prob[:, place]) for place in range(len(scores.findings))])
assert np.isclose(macro(areas), summary.macro_auc, equal_nan=True)

doubt = np.abs(prob - 0.5).mean(axis=1)
unsure = doubt <= np.median(doubt)
halves = [np.array([auc(truth[half, c], prob[half, c]) for c in range(len(areas))]) for half in (unsure, ~unsure)]
print(f"macro AUC where it is unsure {macro(halves[0]):.3f}, where it is sure {macro(halves[1]):.3f}")

# %% [markdown]
# ## Figures
#
# Each is a function from plain data to a matplotlib `Figure`: change its axes as you like before you keep it.


# %%
class Shown:
    """A figure kept as a file, and drawn by a notebook."""

    def __init__(self, figure: Figure, name: str) -> None:
        self.png = figures.encode(figure, "png")
        (OUTPUT / name).write_bytes(self.png)

    def _repr_png_(self) -> bytes:
        return self.png


data = [
    figures.FindingData(
        finding=result.finding,
        truth=scores.truth[rows, place],
        prob=scores.prob[rows, place],
        all_prob=scores.prob[scored, place],
        auc=result.auc,
        threshold=result.threshold,
        sensitivity=result.sensitivity,
        specificity=result.specificity,
    )
    for place, result in enumerate(summary.findings)
    if result.positives and result.negatives
]

# %%
grid = figures.roc_grid(data)
grid.suptitle("Films that the model had not seen")
Shown(grid, "roc.png")

# %%
Shown(figures.distribution_grid(data), "distributions.png")

# %%
Shown(figures.loss_grid(read_training(provenance_models(scores.provenance)[0])), "loss.png")

# %% [markdown]
# A film and what the model looked at, for the findings that it holds most probable.

# %%
Shown(figures.panel_figure(heatmap_panels(scores)[0]), "heat-map.png")

# %% [markdown]
# ## The worst errors
#
# Films labelled negative that the model is surest about: look at these first.

# %%
wrong = np.where(truth == 0, prob, -np.inf)
order = np.argsort(wrong, axis=None)[::-1][:5]
for film, finding in zip(*np.unravel_index(order, wrong.shape), strict=True):
    path = scores.films.path[rows[film]]
    print(f"{scores.findings[finding]:<20} {prob[film, finding]:.3f}  {path}")

# %% [markdown]
# ## Onwards
#
# The same as `cxrscore export out.h5 -o scores.csv --all-columns`: for R, a spreadsheet, or pandas.

# %%
table = OUTPUT / "scores.csv"
export_scores(scores, ExportOptions(output=table, every_column=True, overwrite=True))
with table.open(newline="") as file:
    print(f"{table}: {len(next(csv.reader(file)))} columns")
