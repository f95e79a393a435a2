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

_OTHER_PUBLIC = (
    # CheXpert, MIMIC-CXR, NIH's adjudicated films, PadChest
    *("Enlarged Cardiomediastinum", "Lung Opacity", "Lung Lesion", "Pleural Other", "Fracture", "Support Devices"),
    *("Airspace opacity", "Nodule/Mass", "Bronchiectasis", "Granuloma", "Tuberculosis", "Scoliosis"),
    # VinDr-CXR, VinDr-PCXR
    *("Aortic enlargement", "Calcification", "Clavicle fracture", "Edema", "Enlarged PA", "ILD", "Lung cavity"),
    *("Lung cyst", "Mediastinal shift", "Rib fracture", "COPD", "Lung tumor", "Other disease", "Other lesion"),
    *("Bronchitis", "Bronchiolitis", "Brocho-pneumonia", "Broncho-pneumonia", "Situs inversus", "CPAM"),
    *("Hyaline membrane disease", "Mediastinal tumor", "Diaphragmatic hernia", "Congenital emphysema"),
    # CXR-LT, collections of COVID-19
    *("Calcification of the Aorta", "Tortuous Aorta", "Pneumomediastinum", "Pneumoperitoneum"),
    *(
        "Subcutaneous Emphysema",
        "Lobar Atelectasis",
        "Hydropneumothorax",
        "Pulmonary Embolism",
        "Pulmonary Hypertension",
    ),
    *("Pulmonary Hypertension", "Azygos Lobe", "Round(ed) Atelectasis", "Kyphosis", "Granulomatous Disease"),
    *(
        "Interstitial Lung Disease",
        "Adenopathy",
        "Bulla",
        "Cardiomyopathy",
        "Fissure",
        "Osteopenia",
        "Pleuro-pneumonia",
        "Hilum",
        "Infarction",
        "Normal",
        "COVID",
        "COVID-19",
        "COVID-19 pneumonia",
        "TB",
        "Silicosis",
        "Lung Cancer",
    ),
)

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


def _words(name: str) -> str:
    """The name in lower case, with single spaces for spaces, underscores and hyphens."""
    return " ".join(re.split(r"[\s_-]+", name.strip().casefold()))


def canonical(name: str) -> str:
    """The NIH name of a finding in any common spelling: "Pleural Effusion" -> "Effusion"; other names are unchanged."""
    return _SPELLINGS.get(_words(name), name)


_KNOWN = frozenset(_words(name).replace(" ", "") for name in (*FINDINGS, NO_FINDING, *_OTHER_PUBLIC))


def is_known_finding(name: str) -> bool:
    """Whether a public data set of chest radiographs has a finding of this name, in any common spelling.

    Examples
    --------
    >>> is_known_finding("pleural effusion"), is_known_finding("Male")
    (True, False)
    """
    return _words(canonical(name)).replace(" ", "") in _KNOWN
