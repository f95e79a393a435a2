"""The code of docs/notebook.md runs, block after block, and the examples of docstrings hold."""

import doctest
import importlib
import re
from pathlib import Path

import cv2
import pytest
from made_models import made_model

from cxrscore.synthetic.phantoms import make_phantoms

PAGE = (Path(__file__).parents[2] / "docs" / "notebook.md").read_text()
MODULES = (
    "cxrscore.api",
    "cxrscore.images.arrays",
    "cxrscore.option_values",
    "cxrscore.remote.arguments",
    "cxrscore.scoring.options",
    "cxrscore.training.options",
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_docstrings_hold(name):
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted > 0
    assert found.failed == 0


@pytest.mark.slow
def test_the_page_runs_block_by_block(tmp_path, monkeypatch, capsys):
    pytest.importorskip("pandas")
    make_phantoms(tmp_path, films=40, patients=None, side=96, seed=1)
    made_model(tmp_path / "model.safetensors", 1, size=64)
    first, second = sorted((tmp_path / "films").rglob("*.png"))[:2]
    for path, name in ((first, "film.png"), (second, "other.png")):
        cv2.imwrite(str(tmp_path / name), cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
    (tmp_path / "broken.png").write_bytes(b"not a film")
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        exec(compile(block, "docs/notebook.md", "exec"), names)  # noqa: S102 - our own
    names["clf"].close()
    assert "broken.png" in capsys.readouterr().out
    assert names["features"].shape[0] == 3
    assert len(names["frame"]) == 40
    assert (tmp_path / "out.html").exists()
