"""What decides a scoring run, and what it ended with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cxrscore.contract import Precision
from cxrscore.errors import InputError


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """All that decides a scoring run; what ``cxrscore score`` takes, under the same names.

    model      one model file, or several: the scores are then means over the models
    views      how many views of a film are scored and averaged: the film itself and views - 1 small random turns,
               shifts and zooms of it; 0 and 1: the film alone
    seed       decides the random views, with the film's bytes
    labels     label table to join; None: labels.csv in or beside the films folder, if there is one
    no_labels  join none, whatever lies there
    backend    None: the fastest installed one that can run the models
    tap        layer that heat maps are taken at; None: the one that is pooled
    maps       how many heat maps are kept of each film, of its most probable findings
    thumbnails how many films are kept small, for the report
    any_modality  score DICOM films of other modalities than CR, DX and RG, too
    workers    processes that decode films, on this machine in all
    executor   what keeps worker processes busy: "local", on this machine, or one that a plugin brings
    processes  how many processes compute, each with the models; 1 with the executor "local": this one alone
    address    of the executor's cluster; None: this machine. Output, films and models then lie where all reach them
    no_paths   no path or file name in the output, as they often name patients: films go by the hash of their bytes
    """

    films: Path
    output: Path
    model: Path | tuple[Path, ...] = Path("model.safetensors")
    views: int = 1
    seed: int = 0
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
    executor: str = "local"
    processes: int = 1
    address: str | None = None
    command: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if not self.models:
            raise InputError("no model is named, wanted at least one to score with")
        if self.views < 0:
            raise InputError(f"views is {self.views}, wanted 1 for the film alone, or more")
        if self.processes < 1:
            raise InputError(f"processes is {self.processes}, wanted 1 or more")

    @property
    def models(self) -> tuple[Path, ...]:
        """The model files, one or more, in the order in which they were named."""
        return (self.model,) if isinstance(self.model, Path) else self.model

    @property
    def alone(self) -> bool:
        """Whether the process that is asked to score does it by itself."""
        return (self.executor, self.processes, self.address) == ("local", 1, None)

    @property
    def means(self) -> bool:
        """Whether scores are means, over models or views."""
        return len(self.models) > 1 or self.views > 1


@dataclass(frozen=True, kw_only=True)
class ScoreResult:
    """What a run ended with.

    failed  each film that could not be scored, with the reason; without paths, films of the same bytes have one name
    models  SHA-256 of each model file, hex
    notes   what has changed in the folder since the run began
    leaked  whether films or patients stood in two parts of the split when the model was trained
    unread  what of the folder could not be looked at, one text each: films may be missing there
    """

    output: Path
    found: int
    scored: int
    failed: tuple[tuple[str, str], ...]
    computed: int
    seconds: float
    backend: str
    models: tuple[str, ...]
    views: int
    unread: tuple[str, ...]
    notes: tuple[str, ...] = ()
    leaked: bool = False
