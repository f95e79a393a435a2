"""The JSON Schemas of our files, and documents held to them."""

from __future__ import annotations

import functools
import json
from importlib import resources
from pathlib import Path
from typing import Any

from cxrscore.errors import FileFormatError


@functools.cache
def schema(name: str) -> dict[str, Any]:
    """The schema of that name, such as "model": shipped within the package, and beside it in a checkout."""
    inside = resources.files("cxrscore") / "schemas" / f"{name}.schema.json"
    place = inside if inside.is_file() else Path(__file__).parents[2] / "schemas" / f"{name}.schema.json"
    found: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
    return found


def check_document(document: Any, name: str, where: str, *fields: str) -> None:
    """FileFormatError, saying which field is wrong and how, unless the document is as its schema says.

    where   names the document in the error
    fields  lead to the part of the schema that the document is held to, where it is not a whole one
    """
    import jsonschema

    part = functools.reduce(lambda tree, field: tree["properties"][field], fields, schema(name))
    validator = jsonschema.Draft202012Validator(part)
    error = next(validator.iter_errors(document), None)
    if error is not None:
        place = ".".join(map(str, error.absolute_path)) or "the document"
        raise FileFormatError(f"{where}: {place}: {error.message[:200]}")
