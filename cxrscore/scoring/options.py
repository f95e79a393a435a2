"""What decides a scoring run, and what it ended with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cxrscore.contract import Precision
from cxrscore.errors import InputError
from cxrscore.io.strict_json import unicode_text
from cxrscore.remote import PathOrUrl, RemotePath, convert_paths, local_paths, without_secrets
from cxrscore.scorefile import Partition
from cxrscore.system_resources import default_workers


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """All that decides a scoring run; what ``cxrscore score`` takes, under the same names.

    films      the folder with the films, and
    output     the scores file: on disk, or elsewhere, by a URL such as s3://bucket/films or https://host/films/. A text
               becomes the one or the other
    model      one model file, or several: the scores are then means over the models
    tta        test-time augmentation: how many copies of a film are scored and averaged, the film itself and tta - 1
               copies with small random rotations, shifts and zooms; 0 and 1: the film alone
    seed       decides the random copies, together with the film's bytes
    labels     label table to join, on disk or elsewhere; None: labels.csv in the films folder, or on disk beside it, if
               there is one
    no_labels  join none, even if a table is found
    backend    None: the fastest installed one that can run the models
    workers    processes that decode films
    precision  "int8" needs model files that `cxrscore quantize` has written
    cam_layer  layer that heat maps are taken at; None: the one that is pooled
    heatmaps   how many heat maps are stored for each film, those of its most probable findings
    thumbnails how many films have a thumbnail, for the report
    any_modality  score DICOM films of other modalities than CR, DX and RG, too
    partition  score only this partition of the films, into a partial scores file that merge_scores joins with those of
               the other partitions; None: all films
    rehash     read all films again before a result of an earlier run is used, whatever their times and sizes say
    temp_dir   folder for what is to be uploaded, while it is made; None: one in the cache
    workers    processes that decode films, on this machine in all
    executor   what keeps worker processes busy: "local", on this machine, or one that a plugin brings
    processes  how many processes compute, each with the models; 1 with the executor "local": this one alone
    address    of the executor's cluster; None: this machine. Output, films and models then lie where all reach them
    anonymize_paths  no path or file name in the output, as they often name patients: films are identified by the
               SHA-256 of their bytes
    """

    films: PathOrUrl
    output: PathOrUrl
    model: Path | tuple[Path, ...] = Path("model.safetensors")
    tta: int = 1
    seed: int = 0
    labels: PathOrUrl | None = None
    no_labels: bool = False
    backend: str | None = None
    device: str = "auto"
    precision: Precision | Literal["int8"] = "fp32"
    batch_size: int = 8
    workers: int = field(default_factory=default_workers)
    heatmaps: int = 4
    explainer: str = "grad-cam"
    cam_layer: str | None = None
    thumbnails: int = 48
    any_modality: bool = False
    anonymize_paths: bool = False
    partition: Partition | None = None
    overwrite: bool = False
    rehash: bool = False
    temp_dir: Path | None = None
    executor: str = "local"
    processes: int = 1
    address: str | None = None
    command: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        convert_paths(self, local=["temp_dir"], anywhere=["films", "output", "labels"])
        object.__setattr__(self, "model", local_paths(self.model, "model"))
        object.__setattr__(self, "command", tuple(unicode_text(without_secrets(word)) for word in self.command))
        if not self.models:
            raise InputError("no model is named, wanted at least one to score with")
        if self.tta < 0:
            raise InputError(f"tta is {self.tta}, wanted 1 for the film alone, or more")
        if self.processes < 1:
            raise InputError(f"processes is {self.processes}, wanted 1 or more")

    @property
    def models(self) -> tuple[Path, ...]:
        """The model files, one or more, in the order in which they were named."""
        return self.model if isinstance(self.model, tuple) else (self.model,)

    @property
    def file(self) -> Path:
        """The scores file on this disk; a run for one elsewhere is given another output, scoring.remote_output says
        which."""
        if isinstance(self.output, RemotePath):
            raise InputError(f"{self.output} is no file on disk")
        return self.output

    @property
    def alone(self) -> bool:
        """Whether this process scores all films itself."""
        return (self.executor, self.processes, self.address) == ("local", 1, None)

    @property
    def means(self) -> bool:
        """Whether scores are means, over models or augmented copies."""
        return len(self.models) > 1 or self.tta > 1


@dataclass(frozen=True, kw_only=True)
class ScoreResult:
    """What a run ended with.

    failed  each film that could not be scored, with the reason; without paths, films of the same bytes have one name
    models  SHA-256 of each model file, hex
    notes   what has changed since the run began, and what was done about it
    film_list_changed  whether films were added to the folder, or removed from it, since the run began
    labels_joined  whether only the labels of a finished file were joined again
    has_leakage  whether films or patients stood in two parts of the split when the model was trained
    partition  which partition of the films this is, as i/n; "" where it is all of them
    output_written  False where there was nothing to write: the partition has no film
    unreadable_paths  what of the folder could not be looked at, one text each: films may be missing there
    """

    output: PathOrUrl
    n_films: int
    scored: int
    failed: tuple[tuple[str, str], ...]
    computed: int
    seconds: float
    backend: str
    models: tuple[str, ...]
    tta: int
    unreadable_paths: tuple[str, ...]
    notes: tuple[str, ...] = ()
    has_leakage: bool = False
    labels_joined: bool = False
    film_list_changed: bool = False
    partition: str = ""
    output_written: bool = True
