"""The layout of a scores file, declared once for the writer, the reader and the schema."""

from __future__ import annotations

from dataclasses import dataclass

FORMAT = "cxrscore-scores"
SHARD_FORMAT = "cxrscore-shard"
VERSION = 2
"""Version of the files that are written."""
VERSIONS = (1, 2)
"""Versions of the files that are read. Version 2 adds scores/prob_uncalibrated."""

TEXT = "S"
"""dtype of a text column: UTF-8 bytes with the length of the longest text, padded with zero bytes."""
PATHS = "films/path"
"""The column of the films, which shards do not have: the manifest of the run has them."""
MESSAGE = 200
"""Maximum length of a film's message in characters, because the longest text determines the width of every row."""
SCORED = 1
"""The code of cxrscore.images.Status of a film that was scored."""
STATUS_CODES = 15
"""The codes of cxrscore.images.Status are 0 to 14."""

AXES = {
    "film": "the N films of the run, in the sorted order of their paths",
    "finding": "the C findings, in the order of /labels",
    "map": "the M heat maps, in the order of their films",
    "map_row": "the h rows of a heat map, from the top of the film",
    "map_column": "the w columns of a heat map, from the left of the film as stored",
    "thumbnail": "the T thumbnails",
    "thumbnail_row": "the rows of a thumbnail, pixels",
    "thumbnail_column": "the columns of a thumbnail, pixels",
}
"""Meaning of each axis of a dataset. Datasets with the same axis have the same length along it."""

SCALES = {"film": "films/path", "finding": "labels"}
"""Axes with labels, and the dataset that holds the labels: an HDF5 dimension scale."""

ATTRIBUTES = {
    "format": f"always {FORMAT}",
    "version": f"version of this layout, {VERSION}; version 1 lacks scores/prob_uncalibrated; a reader refuses others",
    "complete": "true once everything is written; a file without it is incomplete and is refused",
    "fingerprint": "SHA-256 of the attribute inputs, hex; files with the same fingerprint hold the same scores",
    "inputs": "what the scores depend on: models, tta, backend, findings, paths of the films",
    "provenance": "how the file was made; not part of the fingerprint",
}
"""Attributes of the root. inputs and provenance are JSON texts; a text of more than 60,000 bytes continues in
attributes named provenance+1, provenance+2, ..."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One dataset.

    path         below the root
    dtype        NumPy dtype, little-endian, or TEXT
    axes         names in AXES, one for each dimension
    description  meaning of the values, with unit and range
    in_shard     whether shards contain it: its values exist as soon as a film is scored
    since        the first version of the layout that has it
    """

    path: str
    dtype: str
    axes: tuple[str, ...]
    description: str
    in_shard: bool = False
    since: int = 1


LAYOUT = (
    Column(path="films/path", dtype=TEXT, axes=("film",), description="POSIX path below the films folder"),
    Column(
        path="films/sha256",
        dtype=TEXT,
        axes=("film",),
        description="SHA-256 of the film's bytes, hex; empty if it could not be read",
        in_shard=True,
    ),
    Column(
        path="films/status",
        dtype="|u1",
        axes=("film",),
        description="1: scored; 0: not written; 2 to 14: why it was not scored (cxrscore.images.Status)",
        in_shard=True,
    ),
    Column(
        path="films/message",
        dtype=TEXT,
        axes=("film",),
        description=f"why the film was not scored, at most {MESSAGE} characters; for a scored film, a note on how it "
        "was read, usually empty",
        in_shard=True,
    ),
    Column(
        path="films/kind",
        dtype=TEXT,
        axes=("film",),
        description="png, jpeg or dicom, from the content; empty if none of these",
        in_shard=True,
    ),
    Column(
        path="films/modality",
        dtype=TEXT,
        axes=("film",),
        description="DICOM Modality (0008,0060), a coded word; empty for other films",
        in_shard=True,
    ),
    Column(
        path="films/view",
        dtype=TEXT,
        axes=("film",),
        description="DICOM View Position (0018,5101), a coded word; empty for other films",
        in_shard=True,
    ),
    Column(
        path="films/width",
        dtype="<u4",
        axes=("film",),
        description="width as stored, pixels; 0 if unknown",
        in_shard=True,
    ),
    Column(
        path="films/height",
        dtype="<u4",
        axes=("film",),
        description="height as stored, pixels; 0 if unknown",
        in_shard=True,
    ),
    Column(
        path="films/split",
        dtype="|u1",
        axes=("film",),
        description="use of the film in making the model; of several models, the closest: 0 never "
        "seen, 1 train, 2 valid, 3 test",
    ),
    Column(
        path="films/patient",
        dtype="<i4",
        axes=("film",),
        description="number of the patient within the run; -1 if unknown; never an identifier",
    ),
    Column(path="labels", dtype=TEXT, axes=("finding",), description="names of the findings, all distinct"),
    Column(
        path="scores/logit",
        dtype="<f4",
        axes=("film", "finding"),
        description="output of the network, without calibration; if prob is a mean over models or augmented copies, "
        "ln(prob / (1 - prob)) of the mean before rounding; NaN for films that were not scored",
        in_shard=True,
    ),
    Column(
        path="scores/prob",
        dtype="<f4",
        axes=("film", "finding"),
        description="probability, 0 to 1, calibrated if the model has a calibration: the mean over all models and "
        "augmented copies; NaN for films that were not scored",
        in_shard=True,
    ),
    Column(
        path="scores/prob_uncalibrated",
        dtype="<f4",
        axes=("film", "finding"),
        description="the same probability without the calibration of the models, nor a target prevalence; equal to "
        "prob if no model has a calibration; NaN for films that were not scored, and in all rows that come from a file "
        "of version 1",
        in_shard=True,
        since=2,
    ),
    Column(
        path="truth",
        dtype="<f4",
        axes=("film", "finding"),
        description="the label: 1 present, 0 absent, between them a soft label, NaN unknown",
    ),
    Column(
        path="thresholds",
        dtype="<f4",
        axes=("finding",),
        description="operating point of the model as a probability; NaN if it has none, or if scores "
        "are means over models or augmented copies",
    ),
    Column(
        path="cam/map",
        dtype="<f2",
        axes=("map", "map_row", "map_column"),
        description="heat map as returned by the explainer, not scaled; negative where the film "
        "speaks against the finding; mean of several models",
        in_shard=True,
    ),
    Column(path="cam/film", dtype="<i4", axes=("map",), description="row of the map's film, from 0", in_shard=True),
    Column(
        path="cam/finding", dtype="<i2", axes=("map",), description="column of the map's finding, from 0", in_shard=True
    ),
    Column(path="thumbnails/film", dtype="<i4", axes=("thumbnail",), description="row of the film, from 0"),
    Column(
        path="thumbnails/pixels",
        dtype="|u1",
        axes=("thumbnail", "thumbnail_row", "thumbnail_column"),
        description="thumbnail: 0 black to 255 white",
    ),
)
"""The datasets of a scores file."""

LAYOUTS = {version: tuple(column for column in LAYOUT if column.since <= version) for version in VERSIONS}
"""The datasets of a scores file, by version."""

SHARD_LAYOUT = tuple(column for column in LAYOUT if column.in_shard)
"""The datasets of a shard, whose axis film covers the shard's films only; cam/film still counts in the run."""
