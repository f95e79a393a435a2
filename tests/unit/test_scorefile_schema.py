"""The committed schema: the layout's, complete, and true of files that are written."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import jsonschema
import pytest
from made_run import made_file

from cxrscore.images import Status
from cxrscore.scorefile import SPLITS
from cxrscore.scorefile.layout import AXES, LAYOUT, SCORED, STATUS_CODES
from cxrscore.scorefile.schema import schema_text, scores_schema

SCHEMA = Path(__file__).parents[2] / "schemas" / "scores.schema.json"


def test_the_committed_schema_is_the_layouts() -> None:
    written = SCHEMA.read_text(encoding="utf-8")
    remedy = f"python -c 'from cxrscore.scorefile.schema import *; print(schema_text(), end=\"\")' > {SCHEMA}"
    assert written == schema_text(), f"the layout has changed: {remedy}"


def test_it_is_a_schema_of_draft_2020_12() -> None:
    assert scores_schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(scores_schema())


def _fields(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, field in schema.get("properties", {}).items():
        yield name, field
        yield from _fields(field)


def test_every_field_has_a_description() -> None:
    fields = list(_fields(scores_schema()))
    assert len(fields) > len(LAYOUT) + 30
    assert [name for name, field in fields if not field.get("description")] == []


def test_every_axis_is_explained_and_every_code_known() -> None:
    assert {axis for column in LAYOUT for axis in column.axes} == set(AXES)
    assert sorted(Status) == list(range(STATUS_CODES))
    assert Status.OK == SCORED
    assert len(SPLITS) == scores_schema()["properties"]["films"]["properties"]["split"]["items"]["maximum"] + 1


def _plain(value: Any) -> Any:
    """As JSON has it: texts for bytes, null for NaN."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return value.decode()
    return None if isinstance(value, float) and math.isnan(value) else value


def _document(group: Any) -> dict[str, Any]:
    return {
        name: _document(member) if isinstance(member, h5py.Group) else _plain(member[()].tolist())
        for name, member in group.items()
    }


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    with h5py.File(made_file(tmp_path_factory.mktemp("run") / "out.h5", 70)) as file:
        attributes = {name: value.item() for name, value in file.attrs.items()}
        attributes |= {name: value.decode() for name, value in attributes.items() if isinstance(value, bytes)}
        for name in ("inputs", "provenance"):
            attributes[name] = json.loads(attributes[name])
        return {"attributes": attributes, **_document(file)}


def test_a_written_file_follows_the_schema(document: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(scores_schema()).validate(document)


@pytest.mark.parametrize(
    ("group", "name", "value"),
    [
        ("scores", "prob", [[1.5]]),
        ("films", "status", [15]),
        ("films", "more", []),
        ("attributes", "complete", False),
        ("cam", "film", [-1]),
    ],
)
def test_the_schema_refuses(document: dict[str, Any], group: str, name: str, value: object) -> None:
    wrong = {**document, group: {**document[group], name: value}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(scores_schema()).validate(wrong)
