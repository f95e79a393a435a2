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
    """The options of one export.

    output        file to write; with kind dicom-sr a folder
    kind          format; None: as the suffix of output says
    layout        of CSV, see cxrscore.export.csv_file
    every_column  of CSV: all that the file knows of a film; the other formats always have it
    films         of dicom-sr: the folder that was scored
    with_patient  of dicom-sr: copy name, number and dates of the patient and the study from the films
    overwrite     replace a file that is not an earlier export, or write into a folder that is not empty
    inputs        files that the scores came from, which are not replaced
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
        """The format; InputError where neither it nor the suffix says, or where an option is of another format."""
        kind = self.kind or SUFFIXES.get(self.output.suffix.lower())
        if kind is None:
            raise InputError(
                f"the suffix of {self.output.name} names no format; wanted {', '.join(SUFFIXES)}, or --format with one "
                f"of {', '.join(KINDS)}"
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
    failed    each film that has no report though it should, with the reason; without paths, films of the same bytes
              have one name
    """

    output: Path
    format: Kind
    films: int
    unscored: int
    files: int = 1
    skipped: int = 0
    failed: Sequence[tuple[str, str]] = ()
