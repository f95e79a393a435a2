"""The names of findings, one spelling each."""

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

_SPELLINGS = {
    **{name.lower().replace("_", " "): name for name in FINDINGS},
    "pleural effusion": "Effusion",
    "infiltrate": "Infiltration",
}


def canonical(name: str) -> str:
    """The NIH name of a finding, however it is spelt: "Pleural Effusion" -> "Effusion"; other names unchanged."""
    return _SPELLINGS.get(" ".join(name.lower().replace("_", " ").split()), name)
