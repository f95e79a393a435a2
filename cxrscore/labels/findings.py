"""Canonical names of findings."""

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
"""The 14 findings of NIH ChestX-ray14, in the order of its authors (Wang et al., CVPR 2017)."""

_OTHER_NAMES = {
    "pleural_effusion": "Effusion",
    "infiltrate": "Infiltration",
    "pleural_thickening": "Pleural_Thickening",
}
_BY_KEY = {name.lower(): name for name in FINDINGS} | _OTHER_NAMES


def canonical(name: str) -> str:
    """The canonical name: "Pleural Effusion" -> "Effusion". Names that are not known stay as they are."""
    return _BY_KEY.get(name.strip().lower().replace(" ", "_"), name.strip())
