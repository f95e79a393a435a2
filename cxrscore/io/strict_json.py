"""JSON documents from outside: strict parsing, lookup of keys that may be missing, and JSON Schemas."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrscore.errors import FileFormatError

if TYPE_CHECKING:
    from jsonschema_rs import ValidationError


def parse_json(text: str | bytes) -> Any:
    """Parse a JSON text; the value can be written, printed and stored again.

    Parameters
    ----------
    text
        The JSON document; bytes are UTF-8.

    Returns
    -------
    Any
        Its value.

    Raises
    ------
    ValueError
        If it is not JSON, or nested too deep, or contains what Python accepts and others do not: NaN and the
        infinities, numbers beyond float64, such as 1e999, and texts with half of a character (a lone surrogate),
        which UTF-8 cannot represent.
    """
    try:
        value = json.loads(text, parse_int=_parse_integer)
        check_unicode(json.dumps(value, allow_nan=False, ensure_ascii=False))
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    return value


def check_unicode(text: str) -> None:
    """ValueError if the text has half of a character, a lone surrogate, which UTF-8 cannot represent."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = ord(text[error.start])
        raise ValueError(f"a text in it has half of a character (\\u{half:04x}), which UTF-8 cannot hold") from None


def _parse_integer(text: str) -> int:
    if abs(value := int(text)) > sys.float_info.max:
        raise ValueError(f"a number of {len(text)} digits")
    return value


def strict_json(value: Any, where: str) -> Any:
    """The JSON-ready value with null for NaN and the infinities, which JSON does not have.

    where  names the value in the error; FileFormatError if it is nested too deep to be written
    """
    try:
        return json.loads(json.dumps(value), parse_constant=lambda word: None)
    except RecursionError:
        raise FileFormatError(f"{where} is nested too deep to be written as JSON") from None


def unicode_text(text: str) -> str:
    """The text with bytes that were not UTF-8, which Python represents as lone surrogates, written as ``\\udcff``."""
    return text.encode("utf-8", "backslashreplace").decode()


def get_nested(tree: Any, *keys: str) -> Any:
    """The value below these keys, one after the other; None if there is none."""
    for key in keys:
        if not isinstance(tree, Mapping):
            return None
        tree = tree.get(key)
    return tree


def get_text(tree: Any, *keys: str) -> str:
    """The text or number below these keys as a text; "" if there is neither."""
    value = get_nested(tree, *keys)
    return str(value) if isinstance(value, str | int | float) else ""


def get_texts(tree: Any, *keys: str) -> list[str]:
    """The list of texts and numbers below these keys; empty if there is none."""
    value = get_nested(tree, *keys)
    return [str(part) for part in value if isinstance(part, str | int | float)] if isinstance(value, list) else []


def provenance_models(provenance: Mapping[str, Any]) -> list[Any]:
    """The provenance of each model that scored: one, or several whose scores were averaged."""
    several = get_nested(provenance, "models")
    return several if isinstance(several, list) else []


def software_versions(training: Mapping[str, Any]) -> list[str]:
    """Versions of the software that computed a model, each with its name; the framework begins with it."""
    found = get_nested(training, "versions")
    items = found.items() if isinstance(found, Mapping) else ()
    return [str(value) if name == "framework" else f"{name} {value}" for name, value in items]


@functools.cache
def schema(name: str) -> dict[str, Any]:
    """The schema with that name, such as "model": part of the package, and next to it in a checkout."""
    inside = resources.files("cxrscore") / "schemas" / f"{name}.schema.json"
    place = inside if inside.is_file() else Path(__file__).parents[2] / "schemas" / f"{name}.schema.json"
    found: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
    return found


def check_document(document: Any, name: str, where: str, *fields: str) -> None:
    """Raise a FileFormatError that names the invalid field and the reason, unless the document is valid.

    where   names the document in the error
    fields  lead to the part of the schema that applies, if the document is not complete
    """
    part = functools.reduce(lambda tree, field: tree["properties"][field], fields, schema(name))
    try:
        error = first_error(document, part)
    except ValueError as reason:  # what JSON does not have, or levels without end
        raise FileFormatError(f"{where}: {reason}") from None
    if error is not None:
        place = ".".join(map(str, error.instance_path)) or "the document"
        raise FileFormatError(f"{where}: {place}: {error.message[:200]}")


def first_error(document: Any, own: dict[str, Any]) -> ValidationError | None:
    """The first value that a JSON Schema does not allow; None if the document is valid. ValueError for a document with
    values that JSON does not have, or that is nested too deep."""
    import jsonschema_rs

    return next(jsonschema_rs.Draft202012Validator(own).iter_errors(document), None)
