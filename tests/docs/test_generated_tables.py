"""Tables that code writes into a page, or that must name what the code has, are up to date."""

import importlib.util
import sys
from pathlib import Path

import pytest

from cxrscore.labels import datasets

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def test_the_page_of_datasets_lists_every_layout_in_the_order_they_are_asked() -> None:
    page = (DOCS / "datasets.md").read_text(encoding="utf-8")
    rows = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    assert rows == [dataset.name for dataset in datasets]


def test_the_page_of_statuses_is_up_to_date() -> None:
    pytest.importorskip("pydicom")
    pytest.importorskip("imagecodecs")
    from corpus import PAGE, page

    assert PAGE.read_text(encoding="utf-8") == page(), "run python tests/corpus.py"


def test_the_tables_of_the_simulation_are_those_that_its_record_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("scale_model", ROOT / "benchmarks" / "scale_model.py")
    assert spec
    assert spec.loader
    model = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, model)  # its dataclasses look themselves up there
    spec.loader.exec_module(model)
    texts = [path.read_text(encoding="utf-8") for path in DOCS.glob("*.md")]
    (page,) = [text for text in texts if "<!-- table " in text]
    record = model.read_record()
    assert model.filled(page, record) == page
    for name in model.tables(record):
        assert f"<!-- table {name} -->" in page
