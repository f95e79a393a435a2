"""files.md: what is in the files, from their JSON Schemas."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from markdown_text import page, table, wrapped

ROOT = Path(__file__).parents[2]

SCHEMAS = {
    "model": ("A model file, model.safetensors", ""),
    "scores": (
        "A scores file, out.h5",
        "Groups and datasets have a slash between; attributes of the root stand under `attributes`. In brackets: what "
        "each dimension runs over.",
    ),
    "recipe": ("A recipe, recipe.toml", ""),
    "export": ("Scores as JSON, by export", ""),
    "paper": ("A reproduction of the source paper, paper.json", ""),
}
"""The title of each section, and its intro where the schema's description is not the one for people."""


PARTS = """A part, by `score --shard i/n`, is a scores file of its share of the films. Rows count within the part. Its
inputs have a field more, `share`: `number` and `of`, the row `first` of its first film in the whole run, and of the
whole run the number of `films`, the digest of their `paths` and how many `thumbnails` it is to have. Without `share`,
and with `films` and `paths` taken from it, the inputs are those of the whole run, whose SHA-256 is `run` in the
provenance. A part keeps more small films than it would by itself: all that may be among those of the whole run.

A virtual file, by `merge --virtual`, has the datasets of the merged file and no rows. Its format is
`cxrscore-virtual-scores`. The attribute `parts` lists the parts in the order of their films: `file`, a path below the
virtual file's folder, `sha256` of its bytes, and `share`. The datasets of films and the maps of `cam/map` are virtual
datasets onto these files; labels, thresholds, small films, `cam/film` and `cam/finding` are copies. Where a part is
missing, an HDF5 program sees:

* NaN in `scores/logit`, `scores/prob`, `truth` and `cam/map`;
* 0, not written, in `films/status`; 255 in `films/split`; -1 in `films/patient`; 0, unknown, in width and height;
* empty texts.

It never sees zeros in place of scores. But HDF5 does not tell whether a part that is there is still the same:
`cxrscore verify` does. cxrscore refuses to read scores through a virtual file."""


def files_page() -> str:
    sections = [schema_section(name, *words) for name, words in SCHEMAS.items()]
    sections.insert(2, f"## Parts, and virtual files\n\n{PARTS}")
    return page(
        "Files",
        "Every field of the files that cxrscore writes, from the JSON Schemas in `schemas/`, which its tests hold "
        "writers and readers to.",
        *sections,
    )


def schema_section(name: str, title: str, intro: str) -> str:
    schema = json.loads((ROOT / "schemas" / f"{name}.schema.json").read_text())
    rows = [*schema_rows(schema, ""), *chain.from_iterable(definition_rows(schema))]
    told = table(("field", "type", "meaning"), *rows)
    return f"## {title}\n\n{wrapped(intro or schema['description'])}\n\n{told}"


def definition_rows(schema: Mapping[str, Any]) -> Iterator[Iterator[tuple[str, str, str]]]:
    """What several fields have in common, under the name that stands as their type."""
    for name, inner in schema.get("$defs", {}).items():
        yield schema_field(inner, f"({name})")


def schema_rows(schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, str, str]]:
    for name, inner in schema.get("properties", {}).items():
        yield from schema_field(inner, f"{path}/{name}" if path else name)
    other = schema.get("additionalProperties")
    if isinstance(other, Mapping):
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
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"{kind}, {low} to {high}"
    return kind if low is None else f"{kind}, at least {low}"


def dtype_name(dtype: str) -> str:
    """The name of a NumPy type such as <f4."""
    letter, size = dtype[-2], int(dtype[-1])
    return {"f": "float", "i": "int", "u": "uint"}[letter] + str(8 * size)
