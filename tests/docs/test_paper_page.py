"""docs/paper.md says what docs/paper.json holds."""

import importlib.util
import json
from pathlib import Path

import pytest

from cxrscore.io.strict_json import check_document

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def writer():
    spec = importlib.util.spec_from_file_location("docs_paper", ROOT / "tools" / "docs" / "paper_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def figure(value):
    return {"value": value, "low": value and value - 0.1, "high": value and value + 0.1, "why": "" if value else "none"}


def test_a_figure_with_and_without_an_interval():
    assert writer()._interval(figure(0.5)) == "0.500 (0.400–0.600)"
    assert writer()._interval(figure(-0.05)) == "−0.050 (−0.150 to 0.050)"
    assert writer()._interval(figure(None)) == "undefined (none)"


def test_the_page_is_what_its_record_gives():
    record = DOCS / "paper.json"
    if not record.is_file():
        pytest.skip("no docs/paper.json: python tools/docs/paper_page.py FOLDER/paper.json writes it")
    told = json.loads(record.read_text(encoding="utf-8"))
    check_document(told, "paper", "docs/paper.json")
    assert (DOCS / "paper.md").read_text(encoding="utf-8") == writer().page(told)
