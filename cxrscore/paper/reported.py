"""Reported results of the paper: the numbers of its tables and figures that can be compared, and contradictions."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

Key = tuple[bool, bool]
"""Key of an experiment: whether the first network (DenseNet121), and whether with augmentation."""

FILMS = {"train": 402, "valid": 40}

TRAINING_ACCURACY: Mapping[Key, float] = {(True, False): 0.89, (True, True): 0.92, (False, True): 0.84}
"""Table 1."""
TESTING_ACCURACY: Mapping[Key, float] = {(True, False): 0.82, (True, True): 0.84, (False, True): 0.76}
"""Table 2."""

LOSSES: Mapping[Key, str] = {
    (True, False): "training loss from 1 to nearly 0, validation loss from 1 to almost 5; fluctuates most",
    (True, True): "training loss from 1 to nearly 0, validation loss from 1 to almost 5; falls more slowly",
    (False, True): "training loss converges at around the 70th epoch",
}

ROC_FIGURES: Mapping[Key, str] = {(True, False): "4", (True, True): "5", (False, True): "6"}
_BELOW, _ABOVE = "below 0.5", "above 0.5"
AUCS: Mapping[Key, Mapping[str, str]] = {
    (True, False): {
        "Cardiomegaly": "0.51",
        **dict.fromkeys(("Emphysema", "Infiltration", "Pneumothorax", "Pleural_Thickening", "Pneumonia"), _BELOW),
    },
    (True, True): {"Fibrosis": "0.775, the best", "Nodule": "just above 0.5", "Infiltration": "just above 0.5"},
    (False, True): {
        "Fibrosis": "0.68, the best",
        **dict.fromkeys(("Emphysema", "Pneumothorax", "Pneumonia"), _BELOW),
    },
}
OTHER_AUCS: Mapping[Key, str] = {
    (True, False): "0.5 or more",
    (True, True): _ABOVE,
    (False, True): "0.5 or more",
}
"""AUCs of all other findings."""

HEATMAPS = {
    "7": "cardiomegaly and hernia about 0, nodule 0.763, edema 0.593",
    "8": "nodule 0.822, the highest of four that are not named",
}

NIH_FILMS = 112_120
NIH_POSITIVES = {
    "Atelectasis": 11559,
    "Cardiomegaly": 2776,
    "Effusion": 13317,
    "Infiltration": 19894,
    "Mass": 5782,
    "Nodule": 6331,
    "Pneumonia": 1431,
    "Pneumothorax": 5302,
    "Consolidation": 4667,
    "Edema": 2303,
    "Emphysema": 2516,
    "Fibrosis": 1686,
    "Pleural_Thickening": 3385,
    "Hernia": 227,
}
"""Number of films in the complete NIH table, Data_Entry_2017_v2020.csv, in total and for each finding."""


def reported_auc(place: Key, finding: str) -> str:
    """The AUC of a finding in the paper; "not run" for the experiment that is missing in the paper."""
    if place not in AUCS:
        return "not run"
    return AUCS[place].get(finding, OTHER_AUCS[place])


@dataclass(frozen=True, kw_only=True)
class Contradiction:
    """A contradiction: the text of the paper, the problem, our solution, and the measurement of this run, or ""."""

    number: int
    statement: str
    problem: str
    resolution: str
    measurement: str


FIELDS = ("statement", "problem", "resolution", "measurement")


def contradiction_texts() -> list[dict[str, str]]:
    """The texts of all contradictions in their order, with names of measurements in braces."""
    text = (resources.files("cxrscore.paper") / "contradictions.toml").read_text(encoding="utf-8")
    return [{name: row.get(name, "") for name in FIELDS} for row in tomllib.loads(text)["row"]]


def contradictions(facts: Mapping[str, str]) -> list[Contradiction]:
    """All contradictions, numbered from 1. ``facts`` has a value for every name in braces."""
    return [
        Contradiction(number=number, **{name: text.format_map(facts) for name, text in texts.items()})
        for number, texts in enumerate(contradiction_texts(), start=1)
    ]
