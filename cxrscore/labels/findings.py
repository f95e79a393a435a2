"""Standard names of findings."""

from __future__ import annotations

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
    "infiltrate": "Infiltration",
    "infiltrates": "Infiltration",
    "pulmonary edema": "Edema",
    "pulmonary fibrosis": "Fibrosis",
    "hiatal hernia": "Hernia",
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
    return _SPELLINGS.get(" ".join(name.lower().replace("_", " ").split()), name)
