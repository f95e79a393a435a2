"""The script and the notebook of examples/ say the same, and run on scores made a moment ago."""

import ast
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import forked
import pytest

from cxrscore.synthetic.phantoms import make_phantoms

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOK = json.loads((EXAMPLES / "analyse_scores.ipynb").read_text())
MODEL = ["--backend", "torch", "--architecture", "tinycnn", "--weights", "none", "--size", "64", "--trainable", "all"]
PNG = b"\x89PNG\r\n\x1a\n"


def run(*words, folder, **environment):
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=folder,
        env={**os.environ, "CXRSCORE_OFFLINE": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder as `cxrscore demo` leaves it, of a smaller model."""
    folder = tmp_path_factory.mktemp("home")
    make_phantoms(folder / "demo", films=60, patients=40, side=96, seed=1)
    own = {"CXRSCORE_CACHE": str(folder / "cache")}
    for words in (["train", *MODEL, "--epochs", "2"], ["score", "films", "-o", "out.h5"]):
        done = forked.cxrscore(*words, cwd=folder / "demo", env={**os.environ, "CXRSCORE_OFFLINE": "1", **own})
        assert done.returncode == 0, done.stderr
    return folder


def test_the_notebook_is_the_script():
    spec = importlib.util.spec_from_file_location("make_notebook", EXAMPLES / "make_notebook.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.notebook((EXAMPLES / "analyse_scores.py").read_text())
    assert made == (EXAMPLES / "analyse_scores.ipynb").read_text(), "run python examples/make_notebook.py"


def test_the_notebook_is_one():
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    cells = NOTEBOOK["cells"]
    assert len({cell["id"] for cell in cells}) == len(cells)
    assert {cell["cell_type"] for cell in cells} == {"code", "markdown"}
    for cell in cells:
        assert cell["source"]
        assert cell.keys() == {"cell_type", "id", "metadata", "source"} | (
            {"execution_count", "outputs"} if cell["cell_type"] == "code" else set()
        )


@pytest.mark.slow
def test_the_script_runs(home):
    said = run(EXAMPLES / "analyse_scores.py", folder=home)
    assert "60 films, 60 scored" in said
    assert "macro AUC" in said
    kept = {path.name: path.read_bytes() for path in (home / "demo" / "analysis").iterdir()}
    assert kept.keys() == {"roc.png", "distributions.png", "loss.png", "heat-map.png", "scores.csv"}
    assert all(data.startswith(PNG) for name, data in kept.items() if name.endswith(".png"))
    assert len(kept["scores.csv"].splitlines()) == 61


@pytest.mark.slow
def test_the_notebook_runs_cell_by_cell(home, monkeypatch, capsys):
    """As Jupyter does: each cell in the same names; what its last line is, is drawn."""
    monkeypatch.chdir(home)
    names, drawn = {"__name__": "__main__"}, []
    for cell in NOTEBOOK["cells"]:
        if cell["cell_type"] == "code":
            *body, last = ast.parse("".join(cell["source"])).body
            if not isinstance(last, ast.Expr):
                body, last = [*body, last], None
            exec(compile(ast.Module(body, []), cell["id"], "exec"), names)  # noqa: S102 - our own
            if last is not None:
                drawn.append(eval(compile(ast.Expression(last.value), cell["id"], "eval"), names))
    pictures = [value._repr_png_() for value in drawn if value is not None]
    assert len(pictures) == 4
    assert all(picture.startswith(PNG) for picture in pictures)
    assert "macro AUC" in capsys.readouterr().out
