"""A scores file in memory: the dataclasses that writers fill and readers return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array, Floats
from cxrscore.errors import InputError
from cxrscore.io.strict_json import unicode_text
from cxrscore.status import Status

if TYPE_CHECKING:
    import pandas

    DataFrame: TypeAlias = pandas.DataFrame

Doubles = NDArray[np.float64]

SPLITS = ("", "train", "valid", "test")
"""Words of /films/split, by code: how the model used the film; "" = not used."""
SEEN = tuple(SPLITS.index(word) for word in ("train", "valid"))
"""Codes of films that a model has seen."""


@dataclass(frozen=True, kw_only=True)
class FilmRows:
    """Columns of film metadata: one row for each film, sorted by path.

    Attributes
    ----------
    path : tuple of str, N
        POSIX path below the films folder.
    sha256 : tuple of str, N
        Hex digest of the file's bytes; "" if it could not be read.
    status : uint8 [N]
        Codes of cxrscore.Status; 1 = scored, 0 = not written.
    message : tuple of str, N
        Why a film was not scored; for a scored film a note on how it was read, usually "".
    kind : tuple of str, N
        "png", "jpeg" or "dicom"; "" for other files.
    modality : tuple of str, N
        DICOM modality; "" for other films.
    view : tuple of str, N
        DICOM view position; "" for other films.
    width, height : uint32 [N]
        Size of the stored film, pixels; 0 if unknown.
    split : uint8 [N]
        Indexes into SPLITS: how the model used the film.
    patient : int32 [N]
        A number for each patient, -1 if unknown; never an identifier.
    """

    path: tuple[str, ...]
    sha256: tuple[str, ...]
    status: NDArray[np.uint8]
    message: tuple[str, ...]
    kind: tuple[str, ...]
    modality: tuple[str, ...]
    view: tuple[str, ...]
    width: NDArray[np.uint32]
    height: NDArray[np.uint32]
    split: NDArray[np.uint8]
    patient: NDArray[np.int32]


@dataclass(frozen=True, kw_only=True)
class HeatMaps:
    """M heat maps: for each film, those of its selected findings.

    Attributes
    ----------
    map : float16 [M,h,w]
        Values of the explainer, not scaled; negative where the film speaks against the finding.
    film : int32 [M]
        Row of the film.
    finding : int16 [M]
        Column of the finding.
    """

    map: NDArray[np.float16]
    film: NDArray[np.int32]
    finding: NDArray[np.int16]


@dataclass(frozen=True, kw_only=True)
class Thumbnails:
    """Thumbnails for the report: film int32 [T] rows, pixels uint8 [T,side,side], grey."""

    film: NDArray[np.int32]
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Content of a scores file, of N films and C findings.

    Attributes
    ----------
    findings : tuple of str
        The columns of logit, prob, prob_uncalibrated and truth.
    films : FilmRows
        Metadata of each film.
    logit : float32 [N,C]
        Outputs of the network; if prob is a mean, the logit of the mean. NaN for films that were not scored.
    prob : float32 [N,C]
        Probabilities in 0..1, calibrated if the model has a calibration; NaN likewise. float64 if read from a CSV
        table.
    prob_uncalibrated : float32 [N,C]
        The same without calibration and target prevalence. NaN also for all films of a file of version 1, and of a
        CSV table, which do not have it.
    truth : float32 [N,C]
        Labels: 1 present, 0 absent, soft labels between them; NaN where unknown.
    thresholds : float32 [C]
        Thresholds of the model as probabilities; NaN where it has none.
    heat_maps : HeatMaps
        Heat maps of the findings chosen for each film.
    thumbnails : Thumbnails
        Thumbnails for the report.
    provenance : mapping
        Films, models, versions and dates, ready for JSON (schemas/scores.schema.json).
    """

    findings: tuple[str, ...]
    films: FilmRows
    logit: Floats
    prob: Floats | Doubles
    prob_uncalibrated: Floats
    truth: Floats
    thresholds: Floats
    heat_maps: HeatMaps
    thumbnails: Thumbnails
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def to_dataframe(self) -> DataFrame:
        """The scores as a pandas data frame, one row for each film.

        Returns
        -------
        pandas.DataFrame
            The index ``film`` is the path of the film below the folder. The columns are those of ``cxrscore export``
            with all columns:

            ============================================== ==========================================================
            status                                         name of a cxrscore.Status, "OK" if the film has scores
            message                                        why it has no scores, or a note on how it was read
            sha256, kind, modality, view                   see FilmRows; "" where unknown
            width, height                                  of the stored film, pixels; 0 where unknown
            patient                                        a number for each patient, -1 where unknown
            split                                          "train" or "valid" if the model was made with the film, or
                                                           "test"; else ""
            prob_FINDING, logit_FINDING, truth_FINDING     float32; NaN for films without scores, and for unknown labels
            prob_uncalibrated_FINDING                      float32; NaN likewise, and in files of version 1
            ============================================== ==========================================================

        Raises
        ------
        InputError
            If pandas is not installed: ``pip install "cxrscore[pandas]"``.

        Examples
        --------
        >>> frame = cxrscore.open_scores("out.h5").to_dataframe()  # doctest: +SKIP
        >>> frame.loc[frame.status == "OK", "prob_Edema"].mean()  # doctest: +SKIP
        0.12
        """
        try:
            import pandas
        except ImportError:
            raise InputError(
                'a data frame needs pandas, which is not installed. Install it with: pip install "cxrscore[pandas]"'
            ) from None
        columns = {column.name: column.values for column in film_columns(self, every=True)}
        index = pandas.Index(list(columns.pop("film")), name="film", dtype=str)
        return pandas.DataFrame(columns, index=index)


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of the scores as a table, with one value for each film.

    values   N texts, or an array [N] of integers or float32 with NaN for missing values
    finding  finding of the values; "" for metadata of the film
    matrix   name of the matrix of which this is a column, such as prob; "" likewise
    """

    name: str
    values: Sequence[str] | Array
    finding: str = ""
    matrix: str = ""


def film_columns(scores: Scores, *, every: bool) -> list[Column]:
    """The columns film, status, message and prob_FINDING; with ``every`` all columns of the file."""
    films = scores.films
    found = [
        Column(name="film", values=_texts(films.path)),
        Column(name="status", values=[Status(code).name for code in films.status.tolist()]),
        Column(name="message", values=_texts(films.message)),
    ]
    if every:
        found += [
            *(Column(name=name, values=_texts(getattr(films, name))) for name in ("sha256", "kind", "modality")),
            Column(name="view", values=_texts(films.view)),
            *(Column(name=name, values=getattr(films, name)) for name in ("width", "height", "patient")),
            Column(name="split", values=[SPLITS[code] for code in films.split.tolist()]),
        ]
    matrices = {"prob": scores.prob}
    if every:
        matrices |= {
            "logit": scores.logit,
            "prob_uncalibrated": scores.prob_uncalibrated,
            "truth": scores.truth,
        }
    for name, matrix in matrices.items():
        found += finding_columns(name, matrix, scores.findings)
    return found


def finding_columns(name: str, matrix: Array, findings: Sequence[str]) -> list[Column]:
    """The columns name_FINDING of a matrix [N,C]."""
    return [
        Column(
            name=f"{name}_{unicode_text(finding)}",
            values=np.ascontiguousarray(matrix[:, place]),
            finding=finding,
            matrix=name,
        )
        for place, finding in enumerate(findings)
    ]


def _texts(values: Sequence[str]) -> list[str]:
    return [unicode_text(value) for value in values]
