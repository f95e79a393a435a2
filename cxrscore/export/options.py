"""The options and the result of an export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from cxrscore.errors import InputError
from cxrscore.remote import convert_paths, local_paths

Kind = Literal["csv", "json", "parquet", "dicom-sr"]
Layout = Literal["plain", "peer"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SUFFIXES: Mapping[str, Kind] = {".csv": "csv", ".json": "json", ".parquet": "parquet", ".pq": "parquet"}


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Options of an export: those of ``cxrscore export``.

    Parameters
    ----------
    output : path
        File to write; for dicom-sr a folder.
    kind : str, optional
        Format: "csv", "json", "parquet" or "dicom-sr"; None: from the suffix of ``output``.
    layout : str
        Columns of CSV: "plain" (film, status, message, prob_FINDING) or "peer" (Image Index, prob_FINDING).
    every_column : bool
        CSV: write all columns of the scores file. The other formats always contain them.
    films : path, optional
        dicom-sr: the folder that was scored.
    with_patient : bool
        dicom-sr: copy name, number and dates of the patient and the study from the films.
    overwrite : bool
        Replace a file that is not an earlier export, or write into a folder that is not empty.
    inputs : sequence of path
        Files of the scores, which are never replaced.

    Raises
    ------
    InputError
        If a path is not a local path.

    Examples
    --------
    >>> ExportOptions(output="out.csv").chosen_kind()
    'csv'
    """

    output: Path
    kind: Kind | None = None
    layout: Layout = "plain"
    every_column: bool = False
    films: Path | None = None
    with_patient: bool = False
    overwrite: bool = False
    inputs: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        convert_paths(self, local=["output", "films"])
        object.__setattr__(self, "inputs", local_paths(self.inputs, "inputs"))

    def chosen_kind(self) -> Kind:
        """The format; InputError if neither ``kind`` nor the suffix names one, or if an option is of another format."""
        kind = self.kind or SUFFIXES.get(self.output.suffix.lower())
        if kind is None:
            raise InputError(
                f"the suffix of {self.output.name} names no format; expected {', '.join(SUFFIXES)}, or --format with "
                f"one of {', '.join(KINDS)}"
            )
        others = {
            "--layout": self.layout != "plain" and kind != "csv",
            "--all-columns": self.every_column and (kind != "csv" or self.layout == "peer"),
            "--films": self.films is not None and kind != "dicom-sr",
            "--with-patient": self.with_patient and kind != "dicom-sr",
        }
        for option, is_wrong in others.items():
            if is_wrong:
                where = f"{kind} with --layout peer" if self.layout == "peer" and kind == "csv" else kind
                raise InputError(f"{option} has no meaning for the format {where}")
        return kind


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """What was written.

    films     how many films are in it, each a row or a report
    unscored  films of the scores file without scores: rows without probabilities, and no report
    files     files written, in a folder of reports
    skipped   films that can have no report, as they are not DICOM
    probabilities  a sentence on what the probabilities are: calibrated or not, on which films, for which prevalence
    failed    each film that has no report though it should, with the reason; without paths, films of the same bytes
              have one name
    """

    output: Path
    format: Kind
    films: int
    unscored: int
    files: int = 1
    skipped: int = 0
    probabilities: str = ""
    failed: Sequence[tuple[str, str]] = ()
