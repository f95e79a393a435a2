"""files.md: what is in the files, from their JSON Schemas."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from markdown_text import page, table, wrapped

ROOT = Path(__file__).parents[2]

SCHEMAS = {
    "model": ("A model file, model.safetensors", ""),
    "ensemble": ("An ensemble file of several networks", ""),
    "scores": (
        "A scores file, out.h5",
        "An HDF5 file. `attributes` are attributes of the root group; a slash separates groups and datasets. Brackets "
        "name the dimensions.",
    ),
    "recipe": (
        "A recipe, recipe.toml",
        "Each key is an option of [`cxrscore train`](commands.md), with underscores: `batch_size = 8` is "
        "`--batch-size 8`, `standardize = false` is `--no-standardize`. Types and ranges are in "
        "`schemas/recipe.schema.json`.",
    ),
    "watch": (
        "The configuration of a watch, watch.toml",
        "A TOML file for [`cxrscore watch`](watch.md). Relative paths are below its folder.",
    ),
    "export": ("Scores as JSON, by export", ""),
    "paper": (
        "A reproduction of the source paper, paper.json",
        "What `cxrscore paper` found, without names of films. `schemas/paper.schema.json` has the fields within these.",
    ),
}
"""The title of each section, and its intro where the schema's description is not the one for people."""


PARTIAL_FILES = """`score --shard i/n` writes a partial scores file: a scores file of one partition of the films. Rows
count within the partition. Its inputs have one more field, `partition`: the partition's `number` and the `count` of
partitions, the row `first_row` of its first film in the whole run, and, for the whole run, the number of films
`total_films`, the digest of their `paths`, and the number of `thumbnails`. Without `partition`, and with `films` and
`paths` taken from it, the inputs are those of the whole run. Their SHA-256 is `run_fingerprint` in the provenance. A
partial file stores more thumbnails than it needs itself: all that may be among those of the whole run.

`merge --virtual` writes a virtual file. It has the datasets of the merged file and no rows. Its format is
`cxrscore-virtual-scores`. The attribute `partial_files` lists the partial files in the order of their films: `file`, a
path below the virtual file's folder, `sha256` of its bytes, and `partition`. The datasets of films and the heat maps of
`cam/map` are virtual datasets that refer to these files. Labels, thresholds, thumbnails, `cam/film` and `cam/finding`
are copies. Where a partial file is missing, an HDF5 program sees:

* NaN in `scores/logit`, `scores/prob`, `truth` and `cam/map`;
* 0 (not written) in `films/status`; 255 in `films/split`; -1 in `films/patient`; 0 (unknown) in width and height;
* empty texts.

It never sees zeros in place of scores. HDF5 does not check whether a partial file has changed: `cxrscore verify` does.
Reading scores through a virtual file is refused: merge the partial files for that."""


def files_page() -> str:
    sections = [schema_section(name, *words) for name, words in SCHEMAS.items() if name != "recipe"]
    sections.insert(3, recipe_section(*SCHEMAS["recipe"]))
    sections.insert(3, f"## Partial files and virtual files\n\n{PARTIAL_FILES}")
    return page(
        "Files",
        "The fields of the files that cxrscore writes, from the JSON Schemas in `schemas/`. Tests check that writers "
        "and readers follow them. `*` stands for any name, `[]` for the items of an array.",
        *sections,
    )


def schema_section(name: str, title: str, intro: str) -> str:
    schema = json.loads((ROOT / "schemas" / f"{name}.schema.json").read_text())
    rows = [*schema_rows(schema, ""), *chain.from_iterable(definition_rows(schema))]
    if name == "paper":  # a record for programs: people read paper.html
        rows = [row for row in rows if not re.search(r"[/()\[]", row[0])]
    fields = table(("field", "type", "meaning"), *rows)
    return f"## {title}\n\n{wrapped(intro or schema['description'])}\n\n{fields}"


def recipe_section(title: str, intro: str) -> str:
    """The keys of a recipe, which are explained as options of train."""
    schema = json.loads((ROOT / "schemas" / "recipe.schema.json").read_text())
    keys = ", ".join(f"`{name}`" for name in schema["properties"])
    return f"## {title}\n\n{wrapped(schema['description'])}\n\n{wrapped(intro)}\n\n{wrapped(f'Keys: {keys}.')}"


def definition_rows(schema: Mapping[str, Any]) -> Iterator[Iterator[tuple[str, str, str]]]:
    """What several fields have in common, under the name that stands as their type."""
    for name, inner in schema.get("$defs", {}).items():
        yield schema_field(inner, f"({name})")


def schema_rows(schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, str, str]]:
    for name, inner in schema.get("properties", {}).items():
        yield from schema_field(inner, f"{path}/{name}" if path else name)
    other = schema.get("additionalProperties")
    if isinstance(other, Mapping) and "properties" in other:
        yield from schema_field(other, f"{path}/*" if path else "*")


def schema_field(schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, str, str]]:
    yield f"`{path}`", schema_type(schema), schema.get("description", "")
    yield from schema_rows(schema, path)
    items = schema.get("items", {})
    if "properties" in items:
        yield from schema_rows(items, f"{path}[]")


def schema_type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]
    if "x-dtype" in schema:
        kind = {"S": "text"}.get(schema["x-dtype"]) or dtype_name(schema["x-dtype"])
        return f"{kind} [{', '.join(schema['x-axes'])}]"
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return " or ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    kinds = schema.get("type", "any")
    kind = " or ".join(kinds) if isinstance(kinds, list) else kinds
    if kind == "array":
        kind = f"array of {schema_type(schema['items'])}"
    if kind == "object" and "properties" not in (other := schema.get("additionalProperties") or {"properties": {}}):
        kind = f"object of {schema_type(other)}"
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"{kind}, {low} to {high}"
    return kind if low is None else f"{kind}, at least {low}"


def dtype_name(dtype: str) -> str:
    """The name of a NumPy type such as <f4."""
    letter, size = dtype[-2], int(dtype[-1])
    return {"f": "float", "i": "int", "u": "uint"}[letter] + str(8 * size)
