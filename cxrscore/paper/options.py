"""What decides a reproduction of the paper."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cxrscore.errors import InputError
from cxrscore.remote import convert_paths

HEATMAP_RULES = ("top_auc", "top_prob")
"""Rules by which the four findings of figures 7 and 8 are chosen; a list of names is the third."""


@dataclass(frozen=True, kw_only=True)
class PaperOptions:
    """All that decides a reproduction; what ``cxrscore paper`` takes, under the same names.

    films, labels       folder of films; label table (None: labels.csv in or beside the folder)
    output              folder of figures, tables, page and models; an earlier run in it is gone on with
    train, valid, test  films of each part. Where the folder has fewer, test comes first, then valid, then train
    epochs, size        as the paper's, unless they are to be less
    augmentations       augmented copies of each training film in the experiments with augmentation, cycled by epoch
    heatmaps            a rule of HEATMAP_RULES, or findings with commas between
    networks            the two that are compared, that of the paper's better results first
    weights             "imagenet", or "none" for networks that have no such weights
    """

    films: Path
    labels: Path | None = None
    output: Path = Path("paper")
    train: int = 402
    valid: int = 40
    test: int = 100
    epochs: int = 80
    size: int = 400
    augmentations: int = 4
    heatmaps: str = "top_auc"
    networks: tuple[str, str] = ("densenet121", "resnet50")
    weights: str = "imagenet"
    seed: int = 0
    backend: str = "keras"
    device: str = "auto"
    workers: int = 2

    def __post_init__(self) -> None:
        convert_paths(self, local=["films", "labels", "output"])
        for name in ("train", "valid", "test", "augmentations", "epochs"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}, wanted 1 or more")
        if len(set(self.networks)) != 2:
            raise InputError(f"networks are {' and '.join(self.networks)}, wanted two different ones to compare")
