"""Validation by cxrscore's schemas: the same errors, with the same words, as the package jsonschema finds."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from cxrscore.io.json_schema import KEYWORDS, find_errors

SCHEMAS = {path.name.partition(".")[0]: path for path in sorted((Path(__file__).parents[2] / "schemas").iterdir())}
VALUES: tuple[Any, ...] = (None, True, False, 0, 1, 1.0, -1, 0.5, 1e9, "", "a", "ab/cd", "0" * 16, "x" * 300, [], {})
MORE: tuple[Any, ...] = ([1, 1.0], [1, True], ["a", "a"], [[1], [1]], [{"a": 1}, {"a": 1.0}], {"a": {"b": []}})


def load(name: str) -> dict[str, Any]:
    return json.loads(SCHEMAS[name].read_text("utf-8"))


def subschemas(schema: Any) -> Iterator[dict[str, Any]]:
    """The schema and all schemas in it."""
    if not isinstance(schema, dict):
        return
    yield schema
    for keyword, part in schema.items():
        if keyword in ("properties", "$defs"):
            parts = list(part.values())
        elif keyword == "oneOf":
            parts = part
        else:
            parts = (
                [part]
                if keyword in ("items", "additionalProperties", "propertyNames", "if", "then", "else", "not")
                else []
            )
        for one in parts:
            yield from subschemas(one)


def own(document: Any, schema: Any) -> list[tuple[Any, ...]]:
    return [(error.place, error.message) for error in find_errors(document, schema)]


def theirs(document: Any, schema: Any) -> list[tuple[Any, ...]]:
    found = jsonschema.Draft202012Validator(schema).iter_errors(document)
    return [(tuple(error.absolute_path), error.message) for error in found]


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_keyword_of_the_schemas_is_known(name: str) -> None:
    used = {keyword for part in subschemas(load(name)) for keyword in part}
    assert {keyword for keyword in used - KEYWORDS if not keyword.startswith("x-")} == set()


@pytest.mark.parametrize("name", SCHEMAS)
def test_each_part_of_each_schema_finds_the_errors_that_jsonschema_finds(name: str) -> None:
    root = load(name)
    for part in subschemas(root):
        whole = {**part, "$defs": root.get("$defs", {})}
        for value in (*VALUES, *MORE):
            assert own(value, whole) == theirs(value, whole)


def example(schema: Any, root: Any) -> Any:
    """A document of the schema, with every property that it names; not valid where a pattern is asked for."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    if "oneOf" in schema:
        return example(schema["oneOf"][0], root)
    kinds = schema.get("type", "object")
    kind = kinds if isinstance(kinds, str) else kinds[0]
    if kind == "object":
        return {name: example(part, root) for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        return [example(schema.get("items", {}), root) for _ in range(max(1, schema.get("minItems", 0)))]
    return {"string": "x", "integer": schema.get("minimum", 1), "number": 0.5, "boolean": True, "null": None}[kind]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each container in a document with each of its keys."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places(value[key])


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEMAS)
def test_a_document_with_one_change_has_the_errors_that_jsonschema_finds(name: str) -> None:
    """Each value of a document is replaced, and each key left out or given a neighbour."""
    schema = load(name)
    document = example(schema, schema)
    validator = jsonschema.Draft202012Validator(schema)
    for number, _ in enumerate(list(places(document))):
        for change in range(3):
            changed = copy.deepcopy(document)
            container, key = list(places(changed))[number]
            if change == 0:
                container[key] = VALUES[number % len(VALUES)]
            elif change == 1:
                del container[key]
            elif isinstance(container, dict):
                container["other"] = 1
            found = [(tuple(error.absolute_path), error.message) for error in validator.iter_errors(changed)]
            assert own(changed, schema) == found


@pytest.mark.parametrize(
    ("schema", "value", "message"),
    [
        ({"type": "integer"}, True, "True is not of type 'integer'"),
        ({"type": ["string", "null"]}, 1, "1 is not of type 'string', 'null'"),
        ({"enum": [1, "a"]}, True, "True is not one of [1, 'a']"),
        ({"const": 1}, True, "1 was expected"),
        ({"exclusiveMaximum": 2}, 2, "2 is greater than or equal to the maximum of 2"),
        ({"maxProperties": 1}, {"a": 1, "b": 1}, "{'a': 1, 'b': 1} has too many properties"),
        ({"not": {"type": "null"}}, None, "None should not be valid under {'type': 'null'}"),
        (
            {"additionalProperties": False},
            {"b": 1, "a": 2},
            "Additional properties are not allowed ('a', 'b' were unexpected)",
        ),
        (False, 1, "False schema does not allow 1"),
    ],
)
def test_what_is_wrong_is_said(schema: Any, value: Any, message: str) -> None:
    assert own(value, schema) == theirs(value, schema) == [((), message)]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer"}, 2.0),
        ({"const": 1}, 1.0),
        ({"uniqueItems": True}, [1, True, "1", [1], [True], {"a": 1}, {"a": True}]),
        ({"if": {"type": "string"}, "then": {"minLength": 2}, "else": {"minimum": 2}}, 3),
        ({"oneOf": [{"type": "string"}, {"minimum": 2}]}, 3),
        (True, None),
    ],
)
def test_what_is_valid_has_no_error(schema: Any, value: Any) -> None:
    assert own(value, schema) == theirs(value, schema) == []


def test_the_error_names_the_keyword_and_the_part_of_the_schema() -> None:
    schema = {"properties": {"a": {"items": {"minimum": 2}}}}
    (error,) = find_errors({"a": [2, 1]}, schema)
    assert (error.place, error.keyword, error.instance) == (("a", 1), "minimum", 1)
    assert error.schema is schema["properties"]["a"]["items"]
