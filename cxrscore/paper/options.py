"""The options of a reproduction of the paper."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cxrscore.errors import InputError
from cxrscore.remote import convert_paths

HEATMAP_RULES = ("top_auc", "top_prob")
"""Rules that select the four findings of figures 7 and 8; a list of names is also possible."""


@dataclass(frozen=True, kw_only=True)
class PaperOptions:
    """Options of a reproduction: those of ``cxrscore paper``, under the same names.

    Parameters
    ----------
    films : path
        Folder of films.
    labels : path, optional
        Label table; None: labels.csv in or beside the folder.
    output : path
        Folder of figures, tables, page and models. An earlier run in it is resumed.
    train, valid, test : int
        Films of each split. If the folder has fewer films, test is filled first, then valid, then train.
    epochs, size : int
        Epochs, and side of the films in pixels; the defaults are those of the paper.
    augmentations : int
        Augmented copies of each training film in the experiments with augmentation, used in turn by epoch.
    heatmaps : str
        A rule of HEATMAP_RULES, or findings separated by commas.
    networks : (str, str)
        The two networks to compare; the one with the better results in the paper is first.
    weights : str
        "imagenet", or "none" for networks without such weights.
    seed : int
        Seed of split, order, augmentation and initial weights.
    backend : str
        Backend that trains.
    device : str
        "auto", "cpu", "cuda" or "cuda:N".
    workers : int
        Processes that decode films.

    Raises
    ------
    InputError
        If an option cannot have its value.

    Examples
    --------
    >>> PaperOptions(films="films", epochs=2).networks
    ('densenet121', 'resnet50')
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
                raise InputError(f"{name} is {getattr(self, name)}, expected 1 or more")
        if len(set(self.networks)) != 2:
            raise InputError(f"networks are {' and '.join(self.networks)}, expected two different ones to compare")
