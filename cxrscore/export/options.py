"""The options and the result of an export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from cxrscore.errors import InputError
from cxrscore.export.object_kinds import SR, check_objects
from cxrscore.remote import PathOrUrl, RemotePath, convert_paths, local_paths

Kind = Literal["csv", "json", "parquet", "dicom", "dicom-sr", "fhir"]
Layout = Literal["plain", "peer"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SUFFIXES: Mapping[str, Kind] = {".csv": "csv", ".json": "json", ".parquet": "parquet", ".pq": "parquet"}
DICOM: tuple[Kind, ...] = ("dicom", "dicom-sr")
"""The formats that are DICOM objects."""
OF_FILMS: tuple[Kind, ...] = (*DICOM, "fhir")
"""The formats that need the films."""
ABOVE_THRESHOLD, ALL_MAPS = "above-threshold", "all"
"""Words of ``maps_of`` that are no findings."""


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Options of an export: those of ``cxrscore export``.

    Parameters
    ----------
    output : path, optional
        File to write; for dicom, dicom-sr and fhir a folder. None only with ``stow``.
    stow : URL, optional
        dicom, dicom-sr: a DICOMweb service, in which the objects are stored by STOW-RS, also without ``output``.
    kind : str, optional
        Format: "csv", "json", "parquet", "dicom", "dicom-sr", which is "dicom" with the structured reports alone, or
        "fhir"; None: from the suffix of ``output``, and dicom with ``stow``.
    layout : str
        Columns of CSV: "plain" (film, status, message, prob_FINDING) or "peer" (Image Index, prob_FINDING).
    every_column : bool
        CSV: write all columns of the scores file. The other formats always contain them.
    films : path or URL, optional
        dicom, dicom-sr, fhir: the folder or URL that was scored. fhir needs it for DICOM films only.
    objects : sequence of str
        dicom: which kinds of objects, names of object_kinds.OBJECT_KINDS; empty: all.
    maps_of : sequence of str
        dicom: the findings whose heat maps become objects. "above-threshold": those with a probability at or above the
        threshold of the model, and if there is none, the one with the highest probability relative to its prevalence;
        "all": all that have a map in the scores file; or names of findings.
    contour_level : float
        dicom: the level of a contour, as a fraction of the largest value of the map, 0..1 without the ends.
    with_patient : bool, optional
        dicom, dicom-sr, fhir: copy name, number and dates of the patient and the study from the films. None: for
        dicom, because an archive files by them, and not for dicom-sr and fhir.
    overwrite : bool
        Replace a file that is not an earlier export, or write into a folder that is not empty.
    inputs : sequence of path
        Files of the scores, which are never replaced.

    Raises
    ------
    InputError
        If a path is not a local path, or ``stow`` is no URL of a web server.

    Examples
    --------
    >>> ExportOptions(output="out.csv").chosen_kind()
    'csv'
    """

    output: Path | None = None
    stow: RemotePath | None = None
    kind: Kind | None = None
    layout: Layout = "plain"
    every_column: bool = False
    films: PathOrUrl | None = None
    objects: tuple[str, ...] = ()
    maps_of: tuple[str, ...] = (ABOVE_THRESHOLD,)
    contour_level: float = 0.5
    with_patient: bool | None = None
    overwrite: bool = False
    inputs: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        convert_paths(self, local=["output"], anywhere=["films", "stow"])
        if self.stow is not None:
            check_stow(self.stow)
        object.__setattr__(self, "inputs", local_paths(self.inputs, "inputs"))
        object.__setattr__(self, "objects", check_objects(self.objects) if self.objects else ())
        object.__setattr__(self, "maps_of", tuple(self.maps_of) or (ABOVE_THRESHOLD,))
        if len(self.maps_of) > 1 and (words := {ABOVE_THRESHOLD, ALL_MAPS}.intersection(self.maps_of)):
            raise InputError(f"maps-of {min(words)} stands alone; expected one of its words, or names of findings")
        if not 0 < self.contour_level < 1:
            raise InputError(f"the contour level is {self.contour_level}, expected a fraction between 0 and 1")

    def chosen_kind(self) -> Kind:
        """The format; InputError if neither ``kind`` nor the suffix names one, or if an option is of another format."""
        if self.output is None and self.stow is None:
            raise InputError("there is no output, expected --output, or --stow with the URL of an archive")
        kind = self.kind or self._kind_of_output()
        of_films, is_dicom = kind in OF_FILMS, kind in DICOM
        others = {
            "--layout": self.layout != "plain" and kind != "csv",
            "--all-columns": self.every_column and (kind != "csv" or self.layout == "peer"),
            "--films": self.films is not None and not of_films,
            "--with-patient": self.with_patient is not None and not of_films,
            "--stow": self.stow is not None and not is_dicom,
            "--objects": bool(self.objects) and kind != "dicom",
            "--maps-of": self.maps_of != (ABOVE_THRESHOLD,) and kind != "dicom",
            "--contour-level": self.contour_level != 0.5 and kind != "dicom",
        }
        for option, is_wrong in others.items():
            if is_wrong:
                where = f"{kind} with --layout peer" if self.layout == "peer" and kind == "csv" else kind
                raise InputError(f"{option} has no meaning for the format {where}")
        return kind

    def _kind_of_output(self) -> Kind:
        suffix = "" if self.output is None else self.output.suffix.lower()
        if suffix in SUFFIXES:
            return SUFFIXES[suffix]
        if self.stow is not None or self.objects:
            return "dicom"
        raise InputError(
            f"the suffix of {self.place().name} names no format; expected {', '.join(SUFFIXES)}, or --to with one of "
            f"{', '.join(KINDS)}"
        )

    def place(self) -> Path:
        """The output; InputError if there is none."""
        if self.output is None:
            raise InputError("there is no output, expected --output")
        return self.output

    def chosen_objects(self) -> tuple[str, ...]:
        """The kinds of DICOM objects, in the order of the table."""
        return (SR.name,) if self.chosen_kind() == "dicom-sr" else check_objects(self.objects)

    def copies_patient(self) -> bool:
        """Whether the attributes of patient and study are copied from the films.

        One rule: as ``with_patient`` says, and if it says nothing, for dicom only. An archive would file objects
        without them under another patient; dicom-sr and fhir are also for reports that leave the hospital without
        films.
        """
        return self.chosen_kind() == "dicom" if self.with_patient is None else self.with_patient


def check_stow(url: object) -> None:
    """InputError for what is no URL of a DICOMweb service."""
    if not isinstance(url, RemotePath) or not (url.web or url.dicomweb) or url.query:
        raise InputError(
            "--stow is not the URL of a DICOMweb service, expected one without a query such as https://host/dicom-web/"
        )


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """What was written.

    films     how many films are in it, each a row or a report
    unscored  films of the scores file without scores: rows without probabilities, and no report
    output    where it was written; None if it was stored in an archive only
    files     files written; 0 likewise
    skipped   films that can have no DICOM object, as they are not DICOM
    probabilities  a sentence on what the probabilities are: calibrated or not, on which films, for which prevalence
    failed    each film without an object or a bundle that it should have, or with one that the archive refused, with
              the reason; without paths, films of the same bytes have one name
    objects   number of DICOM objects by kind
    left_out  number of findings without an object, by reason
    stored    number of DICOM objects by what the archive of ``stow`` did with them; empty without it
    """

    output: Path | None
    format: Kind
    films: int
    unscored: int
    files: int = 1
    skipped: int = 0
    probabilities: str = ""
    failed: Sequence[tuple[str, str]] = ()
    objects: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    stored: Mapping[str, int] = field(default_factory=dict)
