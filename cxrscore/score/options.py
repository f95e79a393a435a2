"""What decides a scoring run, and what it ended with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cxrscore.contract import Precision


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """All that decides a scoring run; what ``cxrscore score`` takes, under the same names.

    labels     label table to join; None: labels.csv in or beside the films folder, if there is one
    no_labels  join none, whatever lies there
    backend    None: the fastest installed one that can run the model
    tap        layer that heat maps are taken at; None: the one that is pooled
    maps       how many heat maps are kept of each film, of its most probable findings
    thumbnails how many films are kept small, for the report
    any_modality  score DICOM films of other modalities than CR, DX and RG, too
    no_paths   no path or file name in the output, as they often name patients: films go by the hash of their bytes
    """

    films: Path
    output: Path
    model: Path = Path("model.safetensors")
    labels: Path | None = None
    no_labels: bool = False
    backend: str | None = None
    device: str = "auto"
    precision: Precision = "fp32"
    batch_size: int = 8
    workers: int = 2
    maps: int = 4
    explainer: str = "grad-cam"
    tap: str | None = None
    thumbnails: int = 48
    any_modality: bool = False
    no_paths: bool = False
    overwrite: bool = False
    command: tuple[str, ...] = field(default=())


@dataclass(frozen=True, kw_only=True)
class ScoreResult:
    """What a run ended with.

    failed  maps each film that could not be scored to the reason
    unread  what of the folder could not be looked at, one text each: films may be missing there
    """

    output: Path
    found: int
    scored: int
    failed: dict[str, str]
    computed: int
    seconds: float
    backend: str
    unread: tuple[str, ...]
