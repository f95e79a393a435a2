# %% [markdown]
# # Analyse scores in a notebook
#
# `cxrscore report` makes a page. This notebook computes the same numbers and figures as Python objects.
# Run `cxrscore demo demo` first. Then run this in the folder that holds `demo`:
#
#     python analyse_scores.py
#
# It needs only cxrscore. Set `CXRSCORE_EXAMPLE` to a folder with your own `films`, `model.safetensors` and `out.h5`.

# %%
import csv
import os
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import cxrscore
from cxrscore import Status
from cxrscore.export import ExportOptions, export_scores
from cxrscore.metrics import auc, macro
from cxrscore.reporting import figures
from cxrscore.reporting.heatmaps import heatmap_panels
from cxrscore.reporting.provenance import provenance_models, read_training
from cxrscore.reporting.summary import summarise

FOLDER = Path(os.environ.get("CXRSCORE_EXAMPLE", "demo"))
OUTPUT = FOLDER / "analysis"
OUTPUT.mkdir(exist_ok=True)

# %% [markdown]
# ## Score films
#
# `load` gives a classifier. It takes files, arrays in memory, or a list of both.

# %%
paths = sorted(path for path in (FOLDER / "films").rglob("*.png"))[:20]
clf = cxrscore.load(FOLDER / "model.safetensors")
one = clf.predict(paths[0])
print({finding: round(probability, 3) for finding, probability in one.items()})

proba = clf.predict_proba(paths)
print(f"{proba.shape[0]} films, {(proba.status == Status.OK).sum()} read, mean probability {np.nanmean(proba):.3f}")

heat = clf.explain(paths[0], clf.findings[0])
print(f"heat map of {clf.findings[0]}: {heat.shape}, {heat.min():.2g} to {heat.max():.2g}")
clf.close()

# %% [markdown]
# ## Read a scores file
#
# `cxrscore score` scores a whole folder into a file. `prob`, `logit` and `truth` are NumPy arrays of films x findings.
# NaN means that there is no score or no label. `scores.to_dataframe()` gives a pandas data frame.

# %%
scores = cxrscore.open_scores(FOLDER / "out.h5")
scored = scores.films.status == Status.OK
print(f"{len(scored)} films, {scored.sum()} scored, findings: {', '.join(scores.findings)}")
for row in np.flatnonzero(~scored):
    print(f"not scored: {scores.films.path[row]}: {scores.films.message[row]}")

# %% [markdown]
# ## The numbers of the report
#
# They are of films that the model was not made with, if there are such films with labels.

# %%
summary = summarise(scores)
rows = summary.assessed.rows
print(f"{len(rows)} films, {summary.assessed.basis}; macro AUC {summary.macro_auc:.3f}")
for result in summary.findings:
    counted = f"{result.positives:>4} positive, {result.negatives:>4} negative"
    print(f"{result.finding:<20}{counted}   AUC {result.auc:.3f}")

# %% [markdown]
# ## Your own numbers
#
# The AUC of each finding, computed here, and the AUC of the films for which the model is least certain: those with
# probabilities near the thresholds of the model, in log odds.

# %%
prob, truth = scores.prob[rows], scores.truth[rows]
areas = np.array([auc(truth[:, place], prob[:, place]) for place in range(len(scores.findings))])
assert np.isclose(macro(areas), summary.macro_auc, equal_nan=True)

thresholds = np.array([result.threshold for result in summary.findings], np.float64)
odds, limits = (np.log(p / (1 - p)) for p in (np.clip(prob, 1e-6, 1 - 1e-6), np.clip(thresholds, 1e-6, 1 - 1e-6)))
margin = np.nanmean(np.abs(odds - limits)[:, ~np.isnan(limits)], axis=1)
unsure = margin <= np.median(margin)
halves = [np.array([auc(truth[half, c], prob[half, c]) for c in range(len(areas))]) for half in (unsure, ~unsure)]
print(f"macro AUC of the uncertain half {macro(halves[0]):.3f}, of the certain half {macro(halves[1]):.3f}")

# %% [markdown]
# ## Figures
#
# Each function returns a matplotlib `Figure`. You can change its axes before you save it.


# %%
class Shown:
    """A figure that is saved as a file and shown by a notebook."""

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
grid.suptitle("Films that the model was not made with")
Shown(grid, "roc.png")

# %%
Shown(figures.distribution_grid(data), "distributions.png")

# %%
training = read_training(provenance_models(scores.provenance)[0])
Shown(figures.loss_grid(training), "loss.png") if training.epochs else None  # a linear probe has no epochs

# %% [markdown]
# A film beside the same film with its heat map: of the first finding, a true positive if there is one.

# %%
panels = heatmap_panels(scores, limit=1).panels
Shown(figures.panel_figure(panels[0]), "heat-map.png") if panels else None

# %% [markdown]
# ## The worst errors
#
# Films labelled negative to which the model gives the highest probabilities. Look at these first.

# %%
wrong = np.where(truth == 0, prob, -np.inf)
order = np.argsort(wrong, axis=None)[::-1][:5]
for film, finding in zip(*np.unravel_index(order, wrong.shape), strict=True):
    path = scores.films.path[rows[film]]
    print(f"{scores.findings[finding]:<20} {prob[film, finding]:.3f}  {path}")

# %% [markdown]
# ## Export
#
# The same as `cxrscore export out.h5 -o scores.csv --all-columns`: for R, a spreadsheet, or pandas.

# %%
table = OUTPUT / "scores.csv"
export_scores(scores, ExportOptions(output=table, every_column=True, overwrite=True))
with table.open(newline="") as file:
    print(f"{table}: {len(next(csv.reader(file)))} columns")
