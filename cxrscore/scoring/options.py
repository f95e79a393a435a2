"""The options and the result of a scoring run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cxrscore.contract import ScorePrecision
from cxrscore.errors import InputError
from cxrscore.io.strict_json import unicode_text
from cxrscore.labels import LabelRules
from cxrscore.labels.public_sets import public_set_names
from cxrscore.option_values import check_whole_numbers, check_word, text_list
from cxrscore.remote import PathOrUrl, RemotePath, convert_paths, local_paths
from cxrscore.remote.dicomweb_query import command_without_secrets, search_filters, with_query
from cxrscore.scorefile import Partition
from cxrscore.scoring.target_prevalence import TargetPrevalence, target_prevalence
from cxrscore.system_resources import default_workers

AUTO = "auto"
"""The precision that a run chooses by its machine and its models."""
LOWS = {"tta": 0, "seed": 0, "batch_size": 1, "workers": 1, "heatmaps": 0, "thumbnails": 0, "processes": 1}
"""The least that each number may be."""


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """Options of a scoring run: those of ``cxrscore score``, under the same names.

    Parameters
    ----------
    films : path or URL
        Folder of films, or a PACS as dicomweb+https://host/dicom-web/.
    output : path or URL
        Scores file to write.
    query : str or sequence of str
        Conditions such as "Modality=DX" that choose the films of a PACS. They become part of ``films``.
    model : path, or sequence of paths
        Model file or ensemble file; with several model files the scores are means over the models.
    tta : int
        Test-time augmentation: how many copies of a film are scored and averaged. The first is the film itself, the
        others have small random rotations, shifts and zooms. 0 and 1: the film alone.
    seed : int
        Decides the random copies, together with the bytes of the film.
    target_prevalence : path, or mapping of str to float, optional
        Prevalence of findings in the population that is scored, by finding or as a CSV file with the header
        finding,prevalence. Probabilities and thresholds are moved from the prevalence of the training films to it by
        the ratio of the odds. The models must be calibrated. Findings that are not named keep theirs.
    labels : path or URL, optional
        Label table to join; None: labels.csv in the films folder, or on disk beside it, if there is one.
    film_column, patient_column : str, optional
        Columns of the label table that name the films and identify the patients; None: known by their names.
    findings : tuple of str
        Columns of the label table with the labels of findings of the model, each as "NAME=COLUMN"; others are known by
        their names.
    allow_unmatched : bool
        Score even if more than half of the films and more than half of the rows of the label table do not match.
    no_labels : bool
        Join no label table.
    uncertain : str
        What an uncertain label counts as: "unknown", "positive" or "negative"; by finding as in
        "unknown,Atelectasis=positive".
    blank : str
        What a blank cell of a film that has a row in the table counts as: "unknown" or "negative"; by finding likewise.
    backend : str, optional
        Backend that computes; None: the fastest installed one that can run the models.
    device : str
        "auto", "cpu", "cuda" or "cuda:N".
    precision : str
        "fp32", "bf16", or "int8" for model files of ``cxrscore quantize``. "auto": the fastest that this machine
        computes natively and whose effect on the scores, which ``quantize`` measures, is within the bound that the
        model file states; otherwise "fp32".
    batch_size : int
        Films that are computed together.
    workers : int
        Processes that decode films on this machine; by default one for each core, at most 32.
    heatmaps : int
        Heat maps stored for each film; of a model with more findings, those of the findings with the highest
        probability relative to the prevalence of the calibration, or with the highest probability if the models
        record no prevalence.
    explainer : str
        Method of the heat maps.
    cam_layer : str, optional
        Layer at which heat maps are taken; None: the one that is pooled.
    trained_on : sequence of str
        Public data sets that the models were trained on, beside those that the model files name: figures on their films
        are marked as not held-out.
    thumbnails : int
        Films of which a thumbnail is stored for the report.
    any_modality : bool
        Also score DICOM films of modalities other than CR, DX and RG.
    anonymize_paths : bool
        Write no path or file name, because they often name patients. Films are identified by the SHA-256 of their
        bytes.
    partition : Partition or str, optional
        Score only this partition of the films, into a partial scores file that merge_scores joins with the others; a
        text such as "2/4" is partition 2 of 4.
    overwrite : bool
        Replace a scores file of another run, or another file.
    rehash : bool
        Read all films again before scores of an earlier run are used, even if their times and sizes are unchanged.
    temp_dir : path, optional
        Folder in which a file is made before it is uploaded; None: one in the cache.
    executor : str
        What runs worker processes: "local", or one of a plugin.
    processes : int
        Processes that compute, each with the models; 1 with the executor "local": only this process.
    address : str, optional
        Address of the cluster of the executor; None: this machine. All machines must reach output, films and models.
    command : tuple of str
        Command line, for the provenance in the scores file.

    Raises
    ------
    InputError
        If a value cannot be used.

    Examples
    --------
    >>> ScoreOptions(films="films", output="out.h5", model="model.safetensors").models == (Path("model.safetensors"),)
    True
    """

    films: PathOrUrl
    output: PathOrUrl
    query: str | tuple[str, ...] = ()
    model: Path | tuple[Path, ...] = Path("model.safetensors")
    tta: int = 1
    seed: int = 0
    target_prevalence: TargetPrevalence | None = None
    labels: PathOrUrl | None = None
    film_column: str | None = None
    patient_column: str | None = None
    findings: tuple[str, ...] = ()
    allow_unmatched: bool = False
    no_labels: bool = False
    uncertain: str = "unknown"
    blank: str = "unknown"
    backend: str | None = None
    device: str = "auto"
    precision: ScorePrecision | Literal["auto"] = "fp32"
    batch_size: int = 8
    workers: int = field(default_factory=default_workers)
    heatmaps: int = 14
    explainer: str = "grad-cam"
    cam_layer: str | None = None
    trained_on: tuple[str, ...] = ()
    thumbnails: int = 64
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
        object.__setattr__(self, "trained_on", public_set_names(self.trained_on))
        object.__setattr__(self, "command", tuple(map(unicode_text, command_without_secrets(self.command))))
        self._check_query()
        if not self.models:
            raise InputError("no model file is given: expected at least one")
        check_whole_numbers(self, LOWS)
        object.__setattr__(self, "findings", text_list(self.findings, "findings"))
        _ = self.label_rules  # InputError for an invalid text
        check_word(self.precision, "precision", ("fp32", "bf16", "int8", AUTO))
        if self.target_prevalence is not None:
            object.__setattr__(self, "target_prevalence", target_prevalence(self.target_prevalence))
        if isinstance(self.partition, str):
            object.__setattr__(self, "partition", Partition.parse(self.partition))
        if self.partition is not None and not isinstance(self.partition, Partition):
            raise InputError(f"partition is {self.partition!r}, expected a text such as '1/2'")

    def _check_query(self) -> None:
        """Joins the query to the URL, and checks both before any request."""
        if self.query:
            object.__setattr__(self, "films", with_query(self.films, self.query))
            object.__setattr__(self, "query", ())
        if isinstance(self.films, RemotePath) and self.films.dicomweb:
            search_filters(self.films)

    @property
    def label_rules(self) -> LabelRules:
        """How the labels of the table are read."""
        return LabelRules.of(self)

    @property
    def models(self) -> tuple[Path, ...]:
        """The model files, one or more, in the order in which they were named."""
        return self.model if isinstance(self.model, tuple) else (self.model,)

    @property
    def file(self) -> Path:
        """The scores file on this disk; for a remote output, scoring.remote_output replaces it by a local one."""
        if isinstance(self.output, RemotePath):
            raise InputError(f"{self.output} is not a file on disk")
        return self.output

    @property
    def alone(self) -> bool:
        """Whether this process scores all films itself."""
        return (self.executor, self.processes, self.address) == ("local", 1, None)


@dataclass(frozen=True, kw_only=True)
class ScoreResult:
    """Result of a scoring run.

    Attributes
    ----------
    output : path or URL
        The scores file.
    n_films : int
        Films of the run.
    scored : int
        Films that have scores.
    failed : tuple of (str, str)
        Each film that could not be scored, with the reason. Without paths, films of the same bytes have one name.
    computed : int
        Films that this call computed; an earlier call computed the others.
    seconds : float
        Duration of the call.
    backend : str
        Backend that computed.
    precision : str
        In which it computed: "fp32", "bf16" or "int8".
    models : tuple of str
        SHA-256 of each model file, hex.
    tta : int
        Copies of each film that were averaged.
    unreadable_paths : tuple of str
        Files and folders that could not be read, one text each: films may be missing there.
    other_files : mapping of str to mapping of str to int
        Number of the files in the folder that are no films, by kind: those not opened because of their names, those
        that do not begin like a film, and those of other image and archive formats.
    failed_statuses : tuple of str
        The name of the status of each film in ``failed``.
    notes : tuple of str
        What changed since the run started, and what the run did about it.
    noted_films : int
        Scored films with a note on how they were read that a user must know, such as a guessed grey range.
    film_notes : mapping of str to int
        Number of films by kind of these notes, the most frequent first.
    has_leakage : bool
        Whether a film or a patient was in two splits when the model was trained.
    not_held_out : tuple of str
        Sentences on films of public data sets that the models were trained on.
    label_match : dict
        Films of the run and rows of the label table, and how many of each have no counterpart, as in the scores file;
        empty without a table.
    labels_joined : bool
        Whether only the labels of a finished file were joined again.
    film_list_changed : bool
        Whether films were added to the folder, or removed from it, since the run began.
    partition : str
        Partition of the films that was scored, as i/n; "" for all films.
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
    other_files: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    failed_statuses: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    noted_films: int = 0
    film_notes: Mapping[str, int] = field(default_factory=dict)
    has_leakage: bool = False
    not_held_out: tuple[str, ...] = ()
    label_match: dict[str, Any] = field(default_factory=dict)
    labels_joined: bool = False
    film_list_changed: bool = False
    partition: str = ""
    precision: str = "fp32"
