"""Standard names of findings."""

from __future__ import annotations

import re

FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)
"""The 14 findings of NIH ChestX-ray14, in the order of Wang et al., CVPR 2017."""

NO_FINDING = "No Finding"

MAX_FINDINGS = 1000
"""Longest name of a finding in a model, as in schemas/model.schema.json."""

_SPELLINGS = {
    **{name.lower().replace("_", " "): name for name in FINDINGS},
    "pleural effusion": "Effusion",
    "pleural effusions": "Effusion",
    "infiltrate": "Infiltration",
    "infiltrates": "Infiltration",
    "pulmonary edema": "Edema",
    "pulmonary fibrosis": "Fibrosis",
    "hiatal hernia": "Hernia",
    "hiatus hernia": "Hernia",
    "hernia, hiatal": "Hernia",
    "diaphragmatic hernia": "Diaphragmatic hernia",
    "diagphramatic hernia": "Diaphragmatic hernia",
    "broncho pneumonia": "Bronchopneumonia",
    "brocho pneumonia": "Bronchopneumonia",
    "pleuro pneumonia": "Pleuropneumonia",
    "enlarged cardiomediastinum": "Enlarged Cardiomediastinum",
    "pleural other": "Pleural Other",
    "fracture": "Fracture",
    "support devices": "Support Devices",
    "no finding": NO_FINDING,
    "no findings": NO_FINDING,
    "lung opacity": "Lung Opacity",
    "lung lesion": "Lung Lesion",
    "nodule or mass": "Nodule/Mass",
    "nodule/mass": "Nodule/Mass",
    "other diseases": "Other Disease",
    "other disease": "Other Disease",
}


def canonical(name: str) -> str:
    """The NIH name of a finding in any common spelling: "Pleural Effusion" -> "Effusion"; other names are unchanged."""
    return _SPELLINGS.get(" ".join(re.split(r"[\s_-]+", name.strip().lower())), name)
