"""The hand-written pages name what there is: tests, syntaxes, attributes; and the benchmarks that they quote run."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cxrscore.images import dicom, dicom_pixels
from cxrscore.images.film import Status

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SAFETY = (DOCS / "safety.md").read_text(encoding="utf-8")
DICOM = (DOCS / "dicom.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`(tests/\S+\.py)::(\w+)`", SAFETY)


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the table under a heading."""
    section = page.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize(("path", "name"), NAMED, ids=lambda value: value.rpartition("/")[2])
def test_every_test_that_is_named_exists(path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_hazard_names_a_test() -> None:
    headings = re.findall(r"^## (A .*|Scores .*)$", SAFETY, re.M)
    assert len(headings) == 5
    for heading in headings:
        for row in rows(SAFETY, heading):
            assert len(row) == 3, row
            assert re.fullmatch(r"tests/\S+::\w+", row[2]), row


def test_every_script_and_page_that_is_named_exists() -> None:
    pages = [*DOCS.glob("*.md"), ROOT / "SECURITY.md"]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for path in re.findall(r"`(?:python |pytest )?((?:tests|benchmarks)/[\w/]+\.py)", text):
            assert (ROOT / path).is_file(), f"{page.name}: {path}"
        prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)  # code may call what it indexes
        for link in re.findall(r"\]\(((?!http)[^)#]+)", prose):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_transfer_syntaxes_are_those_that_are_decoded() -> None:
    by_pydicom = dict.fromkeys((*dicom_pixels.NATIVE, dicom_pixels.DEFLATED), "pydicom")
    told = {row[0]: row[2] for row in rows(DICOM, "Transfer syntaxes")}
    by_imagecodecs = dict.fromkeys(dicom_pixels.CODECS, "imagecodecs")
    assert told == by_pydicom | {dicom_pixels.RUN_LENGTH: "cxrscore"} | by_imagecodecs


def test_the_attributes_are_those_that_are_read() -> None:
    keyword = pytest.importorskip("pydicom.datadict").keyword_for_tag
    tags = [re.sub(r"[(),]", "", row[1]) for row in rows(DICOM, "Attributes")]
    assert [keyword(int(tag, 16)) for tag in tags] == ["TransferSyntaxUID", *dicom._TAGS]


def test_the_statuses_of_the_rules_exist() -> None:
    for row in rows(DICOM, "Which files"):
        assert set(re.findall(r"[A-Z_]+", row[1])) <= set(Status.__members__), row


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bench_rows.py", "bench_find.py"])
def test_the_benchmarks_run(name: str, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / name), "200", "400"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "| 200 |" in done.stdout
    assert "| 400 |" in done.stdout


@pytest.mark.slow
def test_the_benchmark_of_the_viewer_runs(tmp_path: Path) -> None:
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")
    command = [sys.executable, str(ROOT / "benchmarks" / "bench_view.py"), "600"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "600 films" in done.stdout
    assert "peak memory: server" in done.stdout
