"""Generates schemas/scores.schema.json from the layout: it describes a scores file as one JSON document.

Groups are objects, datasets are nested arrays with null for NaN, and the attributes of the root are "attributes".
"""

from __future__ import annotations

import json
from typing import Any

from cxrscore.scorefile.layout import (
    ATTRIBUTES,
    AXES,
    FORMAT,
    LAYOUT,
    MESSAGE,
    SCALES,
    STATUS_CODES,
    TEXT,
    VERSIONS,
    Column,
)

_GROUPS = {
    "films": "one row per film",
    "scores": "output for each film and finding",
    "cam": "heat maps of the findings chosen for each film",
    "thumbnails": "thumbnails for the report",
}
_WORD = {"type": "string"}
_DIGEST = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_RANGES: dict[str, dict[str, Any]] = {
    "films/sha256": {"pattern": "^([0-9a-f]{64})?$"},
    "films/message": {"maxLength": MESSAGE},
    "films/status": {"maximum": STATUS_CODES - 1},
    "films/split": {"maximum": 3},
    "films/patient": {"minimum": -1},
    "labels": {"minLength": 1},
    "scores/prob": {"minimum": 0, "maximum": 1},
    "scores/prob_uncalibrated": {"minimum": 0, "maximum": 1},
    "thresholds": {"minimum": 0, "maximum": 1},
    "truth": {"minimum": 0, "maximum": 1},
    "thumbnails/pixels": {"maximum": 255},
}


def _text(description: str) -> dict[str, Any]:
    return {"description": description, "type": "string"}


def _number(description: str) -> dict[str, Any]:
    return {"description": description, "type": ["number", "null"]}


def _count(description: str) -> dict[str, Any]:
    return {"description": description, "type": "integer", "minimum": 0}


def _names(description: str) -> dict[str, Any]:
    return {"description": description, "type": "array", "items": {"type": "string"}}


def _object(description: str, **fields: dict[str, Any]) -> dict[str, Any]:
    """Fields of provenance; fields may be missing, and a later version may add others."""
    return {"description": description, "type": "object", "properties": fields}


def _kinds(description: str) -> dict[str, Any]:
    """Numbers of files, by kind."""
    return {"description": description, "type": "object", "additionalProperties": _count("their number")}


_OTHER_FILES = {
    "not_opened": "files that are no films by their names, such as .csv or DICOMDIR, and archives in archives",
    "no_film": "files whose first bytes are not those of a film, by suffix",
    "not_supported": "images and archives of formats that are not read, by their first bytes",
}
PROVENANCE = _object(
    ATTRIBUTES["provenance"],
    created=_text("when scoring ended, ISO 8601 with the offset to UTC"),
    cxrscore=_text("version of cxrscore"),
    command={"description": "the command line, one word per entry", "type": "array", "items": {"type": "string"}},
    seconds=_number("duration of the last call of the run, s; for merged files their sum"),
    films_per_second=_number("films per second in that call; for merged files the mean, weighted by seconds"),
    machine={
        "description": "the machine that computed; null for merged files: see partial_files",
        "type": ["object", "null"],
        "properties": {
            "name": _text("its host name; empty without file names"),
            "system": _text("operating system and architecture"),
            "cpus": _count("number of processors"),
        },
    },
    backend=_object(
        "backend that computed the scores",
        name=_text("name of the backend plugin"),
        framework=_text("framework with version"),
        version=_text("version of the plugin"),
        device=_text("device, such as cpu or cuda:0"),
        precision=_text("fp32, bf16 or int8"),
        precision_note=_text("why `--precision auto` chose it, or that the device emulates it; missing otherwise"),
        batch_size=_count("films in a batch"),
        golden_difference=_number("largest difference from the reference logits of a model file"),
    ),
    models={
        "description": "the models, in the given order; scores are their mean",
        "type": "array",
        "items": _object(
            "one of them",
            file=_text("name of the model file"),
            sha256=_text("SHA-256 of the model file, hex"),
            trained_on={
                "description": "public data sets that it was trained on, by its file or by --trained-on; missing if "
                "none is known",
                "type": "array",
                "items": _WORD,
            },
            document={
                "description": "the model's JSON document without its film hashes",
                "type": "object",
            },
        ),
    },
    ensemble=_object(
        "the ensemble file, if one was named: models are its members, and scores their mean with its calibration",
        file=_text("name of the ensemble file"),
        sha256=_text("SHA-256 of the ensemble file, hex"),
        document={
            "description": "its JSON document without its film hashes",
            "type": "object",
        },
    ),
    tta={
        "description": "test-time augmentation: scores are means over copies of each film; null without it",
        "type": ["object", "null"],
        "properties": {
            "copies": _count("number of copies: the film itself, and random augmentations of it"),
            "seed": _count("seed of the random copies, used together with the film's bytes"),
            "limits": {
                "description": "limits of the random augmentation, named as in a recipe",
                "type": "object",
            },
        },
    },
    target_prevalence={
        "description": "prevalence by finding to which probabilities and thresholds were moved; null without one",
        "type": ["object", "null"],
        "additionalProperties": {
            "description": "a share",
            "type": "number",
            "exclusiveMinimum": 0,
            "exclusiveMaximum": 1,
        },
    },
    explainer=_object(
        "method of the heat maps",
        name=_text("name of the explainer plugin"),
        cam_layer=_text("layer of the heat maps, for each model if they differ; empty without heat maps"),
    ),
    films=_object(
        "the folder that was scored",
        folder=_text("name of the folder"),
        total=_count("number of films"),
        scored=_count("films scored"),
        failed=_count("films that could not be scored"),
        query={
            "description": "the conditions that chose the films of a PACS: value by attribute, ... for values that may "
            "identify a patient, and for all if names are hidden; missing for folders",
            "type": "object",
            "additionalProperties": {"type": "string"},
        },
        other_files=_count("files that are not films"),
        other_files_by_kind=_object(
            "these files by kind, which is a suffix or words; missing in files of earlier versions",
            **{name: _kinds(description) for name, description in _OTHER_FILES.items()},
        ),
    ),
    labels={
        "description": "the label table; null without one",
        "type": ["object", "null"],
        "properties": {
            "file": _text("name of the table"),
            "dataset": _text("name of its layout"),
            "sha256": _text("SHA-256 of the table, hex"),
            "uncertain": _text("what an uncertain label counts as; left out: unknown"),
            "blank": _text("what a blank cell counts as; left out: unknown"),
            "patients": _text("where the patients come from: a column, or the names of the films; empty if unknown"),
            "dialect": _text("how the table differs from a CSV file in UTF-8; left out if it does not"),
            "columns": _object(
                "what the columns were read as; left out in older files",
                film=_text("column of the films; empty if the reader makes their names"),
                patient=_text("column of the patients; empty if there is none"),
                findings=_names("columns of findings, at most 50"),
                others=_names("columns read as attributes, such as sex and age, at most 50"),
                ignored=_names("columns that were not read, at most 50"),
            ),
            "labelled_films": _count("films that have a row in it"),
            "match": _object(
                "of the whole run, what has a counterpart; missing in files of earlier versions",
                films=_count("number of films"),
                unmatched_films=_count("films without a row in the table"),
                rows=_count("number of rows"),
                unmatched_rows=_count("rows without a film"),
                lost_findings={
                    "description": "findings whose positive rows all match no film; missing if there are none",
                    "type": "array",
                    "items": {"type": "string"},
                },
            ),
        },
    },
    partition={
        "description": "of a partial file, which partition of which run it is; null for a complete run",
        "type": ["object", "null"],
        "properties": {
            "number": _count("number of the partition, from 1"),
            "count": _count("number of partitions of the run"),
            "first_row": _count("row of its first film in the complete run"),
            "total_films": _count("number of films of the complete run"),
            "run_fingerprint": {"description": "fingerprint of the complete run", **_DIGEST},
        },
    },
    partial_files={
        "description": "the files that were merged into this file: partial files in the order of their films, or "
        "finished files in the order in which they were finished; missing otherwise",
        "type": "array",
        "items": _object(
            "one of them",
            file=_text("name of its file; empty without file names"),
            partition=_text("its number and how many there are, such as 2/4; missing for a finished file"),
            fingerprint={"description": "its own fingerprint", **_DIGEST},
            films=_count("films in it"),
            failed=_count("those of them that could not be scored; of a finished file, those that are in this file"),
            created=_text("when its scoring ended"),
            seconds=_number("duration of the last call for it, s"),
            films_per_second=_number("films per second in that call"),
            machine={"description": "the machine that computed, as machine above", "type": ["object", "null"]},
            command={"description": "its command line, one word per entry", "type": "array", "items": _WORD},
        ),
    },
    not_held_out={
        "description": "films of public data sets that the models were trained on; missing if there are none",
        "type": "array",
        "items": _object(
            "films of one data set, recognised in one way",
            set=_text("the data set of the films"),
            films=_count("their number"),
            recognised_by={"description": "name of the film, or layout of the label table", "enum": ["name", "table"]},
            trained_on={
                "description": "the data sets of the models that have such films",
                "type": "array",
                "items": _WORD,
            },
            overlap={
                "description": "same: one of these has all films of the data set; part: it has some, not known which",
                "enum": ["same", "part"],
            },
        ),
    },
    labels_joined=_text("when labels were joined again to existing scores, ISO 8601; missing otherwise"),
    merged=_text("when the partial files were merged, ISO 8601 with the offset to UTC; missing otherwise"),
    warnings={"description": "warnings, one text each", "type": "array", "items": {"type": "string"}},
)
_ATTRIBUTES: dict[str, dict[str, Any]] = {
    "format": {"const": FORMAT},
    "version": {"enum": list(VERSIONS)},
    "complete": {"const": True},
    "fingerprint": _DIGEST,
    "inputs": {"type": "object"},
    "provenance": PROVENANCE,
}


def scores_schema() -> dict[str, Any]:
    """The JSON Schema, draft 2020-12."""
    tree: dict[str, Any] = {"attributes": _attributes()}
    for group, description in _GROUPS.items():
        inside = {c.path.rpartition("/")[2]: _dataset(c) for c in LAYOUT if c.path.startswith(f"{group}/")}
        tree[group] = {"description": description, **_closed(inside)}
    tree |= {column.path: _dataset(column) for column in LAYOUT if "/" not in column.path}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A scores file of cxrscore, out.h5, as one JSON document",
        "description": "Groups are objects, datasets are nested arrays with null for NaN. x-dtype is the"
        " NumPy dtype, S for fixed-length UTF-8 bytes; x-axes names the dimensions, and "
        "x-scales the dataset with the labels of a dimension.",
        "x-axes": AXES,
        "x-scales": SCALES,
        **_closed(tree),
    }


def schema_text() -> str:
    """The content of the schema file in the repository."""
    return json.dumps(scores_schema(), indent=2, ensure_ascii=False) + "\n"


def _attributes() -> dict[str, Any]:
    fields = {name: {"description": ATTRIBUTES[name], **rule} for name, rule in _ATTRIBUTES.items()}
    return {"description": "attributes of the root; those that are objects are stored as JSON text", **_closed(fields)}


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _dataset(column: Column) -> dict[str, Any]:
    schema = {**_value(column), **_RANGES.get(column.path, {})}
    for _ in column.axes:
        schema = {"type": "array", "items": schema}
    if column.path == "labels":
        schema |= {"minItems": 1, "uniqueItems": True}
    return {"description": column.description, "x-dtype": column.dtype, "x-axes": list(column.axes), **schema}


def _value(column: Column) -> dict[str, Any]:
    if column.dtype == TEXT:
        return {"type": "string"}
    if "f" in column.dtype:
        return {"type": ["number", "null"]}
    return {"type": "integer", "minimum": 0}
