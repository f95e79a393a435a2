"""Figures 7 and 8: two test films with the heat maps of four findings each, selected by the rule of the paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cxrscore import plugins
from cxrscore.contract import Floats
from cxrscore.errors import InputError
from cxrscore.explainers import explain
from cxrscore.labels import canonical
from cxrscore.networks.tensors import cam_layers
from cxrscore.paper.options import HEATMAP_RULES
from cxrscore.paper.results import ExperimentResult
from cxrscore.training.data import Data

MAPS_PER_FILM = 4


@dataclass(frozen=True, kw_only=True)
class FilmHeatmaps:
    """A film with its maps.

    film             float32 [S,S] in 0..1; path as in the folder
    findings         F names, in the order of maps, float32 [F,h,w], raw and signed
    prob, truth      of those findings; truth NaN if unknown
    cam_layer        layer at which the maps were taken
    by_auc, by_prob  the four findings that each rule selects
    """

    path: str
    film: Floats
    findings: tuple[str, ...]
    maps: Floats
    prob: tuple[float, ...]
    truth: tuple[float, ...]
    cam_layer: str
    by_auc: tuple[str, ...]
    by_prob: tuple[str, ...]


def check_rule(rule: str, findings: Sequence[str]) -> tuple[str, ...]:
    """The findings in a list, empty for a rule of HEATMAP_RULES. InputError for an unknown name."""
    if rule in HEATMAP_RULES:
        return ()
    named = tuple(canonical(name.strip()) for name in rule.split(","))
    for name in named:
        if name not in findings:
            raise InputError(
                f"--heatmaps names {name!r}, expected {' or '.join(HEATMAP_RULES)} or findings of: "
                f"{', '.join(findings)}"
            )
    return named


def draw_films(data: Data, seed: int, count: int = 2) -> list[int]:
    """Rows of test films to show, drawn from films with a finding, or from all if too few have one. InputError if
    there are fewer test films."""
    rows = np.array(data.split.test)
    if len(rows) < count:
        raise InputError(f"figures 7 and 8 show {count} test films, and {len(rows)} could be read")
    ill = rows[(data.labels[rows] > 0.5).any(axis=1)]
    among = ill if len(ill) >= count else rows
    return [int(row) for row in np.random.default_rng(seed).permutation(among)[:count]]


def film_heatmaps(result: ExperimentResult, data: Data, rows: Sequence[int], rule: str) -> list[FilmHeatmaps]:
    """These films with Grad-CAM maps at the layer of the paper: the one before the last ReLU."""
    return [_show(result, data, row, rule) for row in rows]


def _show(result: ExperimentResult, data: Data, row: int, rule: str) -> FilmHeatmaps:
    spec = result.scored.trained.model.spec
    areas = np.array([one.area.value for one in result.splits["test"].findings])
    prob = result.scored.prob[row]
    by_auc, by_prob = _highest(areas), _highest(prob)
    named = [spec.findings.index(name) for name in check_rule(rule, spec.findings)]
    chosen = named or (by_auc if rule == "top_auc" else by_prob)
    film = data.store.unit(row)
    cam_layer = cam_layers(spec)[-1]
    _, maps, at = explain(plugins.get_explainer("grad-cam"), result.scored.built, film[None], chosen, cam_layer)
    return FilmHeatmaps(
        path=data.paths[row],
        film=film,
        findings=tuple(spec.findings[c] for c in chosen),
        maps=maps[0],
        prob=tuple(float(prob[c]) for c in chosen),
        truth=tuple(float(data.labels[row, c]) for c in chosen),
        cam_layer=at,
        by_auc=tuple(spec.findings[c] for c in by_auc),
        by_prob=tuple(spec.findings[c] for c in by_prob),
    )


def _highest(values: Floats) -> list[int]:
    """Indexes of the four highest values, highest first, undefined ones last."""
    return [int(place) for place in np.argsort(-np.nan_to_num(values, nan=-1.0), kind="stable")[:MAPS_PER_FILM]]
