"""Validation by the keywords of JSON Schema (draft 2020-12) that cxrscore's own schemas use.

Every command that reads a model or a scores file validates a document. The package ``jsonschema`` costs such a command
up to a second and 20 MB, because it imports all packages for its text formats that are installed, as beside Jupyter.
The tests compare both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sized
from dataclasses import dataclass
from typing import Any, TypeAlias

Schema: TypeAlias = Mapping[str, Any] | bool
_Place: TypeAlias = tuple[str | int, ...]

ANNOTATIONS = frozenset({"$schema", "$id", "$defs", "title", "description", "then", "else"})
"""Keywords that check nothing by themselves, besides those that begin with "x-"."""


@dataclass(frozen=True, kw_only=True)
class SchemaError:
    """One value that a schema does not allow.

    place     keys and indices from the document to the value
    message   what is wrong with it
    keyword   the keyword of the schema that does not allow it
    instance  the value
    schema    the part of the schema that applies to the value
    """

    place: _Place
    message: str
    keyword: str
    instance: Any
    schema: Mapping[str, Any]


def find_errors(document: Any, schema: Schema) -> Iterator[SchemaError]:
    """The errors of a JSON document, in the order of the schema.

    Parameters
    ----------
    document
        A value as ``json.loads`` returns it.
    schema
        A schema of the keywords of this module; its references are of the form ``#/$defs/NAME``.
    """
    return _Run(schema).errors(document, schema, ())


@dataclass(frozen=True)
class _Run:
    """One validation.

    root  the whole schema, which holds what is referred to
    """

    root: Schema

    def errors(self, value: Any, schema: Schema, place: _Place) -> Iterator[SchemaError]:
        if isinstance(schema, bool):
            if not schema:
                message = f"False schema does not allow {value!r}"
                yield SchemaError(place=place, message=message, keyword="", instance=value, schema={})
            return
        for keyword, wanted in schema.items():
            if keyword in _TESTS:
                if message := _TESTS[keyword](value, wanted):
                    yield SchemaError(place=place, message=message, keyword=keyword, instance=value, schema=schema)
            elif keyword in _DESCENTS:
                yield from _DESCENTS[keyword](self, value, schema, place)

    def allows(self, value: Any, schema: Schema) -> bool:
        return next(self.errors(value, schema, ()), None) is None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: _is_number(value) and (isinstance(value, int) or value.is_integer()),
    "number": _is_number,
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


def _wrong_type(value: Any, wanted: str | list[str]) -> str:
    names = [wanted] if isinstance(wanted, str) else wanted
    if any(_TYPES[name](value) for name in names):
        return ""
    return f"{value!r} is not of type {', '.join(map(repr, names))}"


def _comparable(value: Any) -> Any:
    """Equal and hashable exactly if the JSON values are equal: 1 is 1.0, but not true."""
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, list):
        return ("array", *map(_comparable, value))
    if isinstance(value, dict):
        return ("object", frozenset((key, _comparable(part)) for key, part in value.items()))
    return value


def _repeats(value: Any, wanted: bool) -> str:
    if not wanted or not isinstance(value, list) or len({_comparable(part) for part in value}) == len(value):
        return ""
    return f"{value!r} has non-unique elements"


def _is_one_of(value: Any, wanted: list[Any]) -> bool:
    if isinstance(value, list | dict) and not any(isinstance(one, type(value)) for one in wanted):
        return False  # however deep it is
    return _comparable(value) in map(_comparable, wanted)


def _bound(words: str, crosses: Callable[[Any, Any], bool]) -> Callable[[Any, Any], str]:
    """The test of a number by one that it must not cross."""
    return lambda value, wanted: (
        f"{value!r} is {words} of {wanted!r}" if _is_number(value) and crosses(value, wanted) else ""
    )


def _shorter(kind: type[Sized]) -> Callable[[Any, int], str]:
    def test(value: Any, wanted: int) -> str:
        if not isinstance(value, kind) or len(value) >= wanted:
            return ""
        return f"{value!r} {'should be non-empty' if wanted == 1 else 'is too short'}"

    return test


def _longer(kind: type[Sized], words: str) -> Callable[[Any, int], str]:
    return lambda value, wanted: f"{value!r} {words}" if isinstance(value, kind) and len(value) > wanted else ""


def _no_match(value: Any, wanted: str) -> str:
    return f"{value!r} does not match {wanted!r}" if isinstance(value, str) and not re.search(wanted, value) else ""


_TESTS: Mapping[str, Callable[[Any, Any], str]] = {
    "type": _wrong_type,
    "const": lambda value, wanted: "" if _is_one_of(value, [wanted]) else f"{wanted!r} was expected",
    "enum": lambda value, wanted: "" if _is_one_of(value, wanted) else f"{value!r} is not one of {wanted!r}",
    "minimum": _bound("less than the minimum", lambda value, wanted: value < wanted),
    "maximum": _bound("greater than the maximum", lambda value, wanted: value > wanted),
    "exclusiveMinimum": _bound("less than or equal to the minimum", lambda value, wanted: value <= wanted),
    "exclusiveMaximum": _bound("greater than or equal to the maximum", lambda value, wanted: value >= wanted),
    "minItems": _shorter(list),
    "minLength": _shorter(str),
    "maxItems": _longer(list, "is too long"),
    "maxLength": _longer(str, "is too long"),
    "maxProperties": _longer(dict, "has too many properties"),
    "uniqueItems": _repeats,
    "pattern": _no_match,
}
"""By keyword: the error of a value, "" if it has none."""


def _required(run: _Run, value: Any, schema: Mapping[str, Any], place: _Place) -> Iterator[SchemaError]:
    for name in schema["required"] if isinstance(value, dict) else ():
        if name not in value:
            message = f"{name!r} is a required property"
            yield SchemaError(place=place, message=message, keyword="required", instance=value, schema=schema)


def _properties(run: _Run, value: Any, schema: Mapping[str, Any], place: _Place) -> Iterator[SchemaError]:
    if isinstance(value, dict):
        for name, part in schema["properties"].items():
            if name in value:
                yield from run.errors(value[name], part, (*place, name))


def _other_properties(run: _Run, value: Any, schema: Mapping[str, Any], place: _Place) -> Iterator[SchemaError]:
    if not isinstance(value, dict):
        return
    allowed, known = schema["additionalProperties"], schema.get("properties", {})
    others = [name for name in value if name not in known]
    if allowed is False and others:
        named = f"{', '.join(map(repr, sorted(others)))} {'was' if len(others) == 1 else 'were'} unexpected"
        message = f"Additional properties are not allowed ({named})"
        yield SchemaError(place=place, message=message, keyword="additionalProperties", instance=value, schema=schema)
    elif allowed is not False:
        for name in others:
            yield from run.errors(value[name], allowed, (*place, name))


def _names(run: _Run, value: Any, schema: Mapping[str, Any], place: _Place) -> Iterator[SchemaError]:
    for name in value if isinstance(value, dict) else ():
        yield from run.errors(name, schema["propertyNames"], place)


def _items(run: _Run, value: Any, schema: Mapping[str, Any], place: _Place) -> Iterator[SchemaError]:
    for index, part in enumerate(value if isinstance(value, list) else ()):
        yield from run.errors(part, schema["items"], (*place, index))


def _reference(run: _Run, value: Any, schema: Mapping[str, Any], place: _Place) -> Iterator[SchemaError]:
    found: Any = run.root
    for name in schema["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    yield from run.errors(value, found, place)


def _condition(run: _Run, value: Any, schema: Mapping[str, Any], place: _Place) -> Iterator[SchemaError]:
    yield from run.errors(value, schema.get("then" if run.allows(value, schema["if"]) else "else", True), place)


def _one_of(run: _Run, value: Any, schema: Mapping[str, Any], place: _Place) -> Iterator[SchemaError]:
    fitting = sum(run.allows(value, part) for part in schema["oneOf"])
    if fitting != 1:
        words = "is valid under more than one" if fitting else "is not valid under any"
        message = f"{value!r} {words} of the given schemas"
        yield SchemaError(place=place, message=message, keyword="oneOf", instance=value, schema=schema)


def _not(run: _Run, value: Any, schema: Mapping[str, Any], place: _Place) -> Iterator[SchemaError]:
    if run.allows(value, schema["not"]):
        message = f"{value!r} should not be valid under {schema['not']!r}"
        yield SchemaError(place=place, message=message, keyword="not", instance=value, schema=schema)


_DESCENTS: Mapping[str, Callable[[_Run, Any, Mapping[str, Any], _Place], Iterator[SchemaError]]] = {
    "$ref": _reference,
    "required": _required,
    "properties": _properties,
    "additionalProperties": _other_properties,
    "propertyNames": _names,
    "items": _items,
    "if": _condition,
    "oneOf": _one_of,
    "not": _not,
}
"""By keyword: the errors of a value that has several, or of its parts by their own schemas."""

KEYWORDS = frozenset({*_TESTS, *_DESCENTS, *ANNOTATIONS})
"""All keywords that a schema of cxrscore may use."""
