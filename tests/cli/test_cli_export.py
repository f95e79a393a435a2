"""`cxrscore export` as it is typed: where the bytes go, what is said, and exit codes."""

import json
import os
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from corpus_bytes import dicom
from made_model import document
from made_run import made_file, made_run, made_shard, merge

from cxrscore.cli import main
from cxrscore.contract import ModelSpec
from cxrscore.export.object_kinds import OBJECT_KINDS
from cxrscore.io import sha256_bytes
from cxrscore.models.model_file import save_model
from cxrscore.networks.tensors import initial_tensors


@pytest.fixture
def home(tmp_path, monkeypatch):
    made_file(tmp_path / "out.h5", 20)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def export(*words, expect=0):
    result = CliRunner().invoke(main, ["export", *map(str, words)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == expect, result.stderr
    return result


def test_a_file_and_what_is_said_of_it(home):
    result = export("out.h5", "-o", "out.csv")
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "It is not known whether the probabilities are calibrated: the file names no model.",
        "wrote out.csv: 20 films, 3 of them without scores",
    ]
    assert len((home / "out.csv").read_text().splitlines()) == 21
    assert export("out.h5", "-o", "out.csv", "--overwrite", "-q").stderr == ""


def test_standard_output_takes_the_bytes(home):
    export("out.h5", "-o", "out.csv")
    result = export("out.h5", "-o", "-", "--format", "csv")
    assert (result.stdout, result.stderr) == ((home / "out.csv").read_text(), "")
    assert sorted(os.listdir()) == ["out.csv", "out.h5"]
    assert json.loads(export("out.h5", "-o", "-", "--format", "json").stdout)["format"] == "cxrscore-export"


def test_json_says_what_was_written(home):
    found = json.loads(export("out.h5", "-o", "x.json", "--json").stdout)
    assert found["output"] == "x.json"
    assert (found["format"], found["films"], found["unscored"]) == ("json", 20, 3)


@pytest.fixture
def model(home):
    """A model file beside the scores."""
    pytest.importorskip("onnx")
    spec = ModelSpec(architecture="tinycnn", findings=("Mass", "Edema"), size=32)
    save_model(home / "m.safetensors", initial_tensors(spec, 0), document(spec))
    return home


@pytest.mark.usefixtures("model")
def test_a_model_becomes_an_onnx_file():
    result = export("m.safetensors", "-o", "m.onnx")
    assert (result.stdout, result.stderr) == (
        "",
        "wrote m.onnx: ONNX, opset 17, 0.2 MB, outputs logits, probabilities, heatmaps\n",
    )
    found = json.loads(export("m.safetensors", "-o", "named", "--format", "onnx", "--feature-map", "--json").stdout)
    assert (found["format"], found["output"], found["outputs"][-1]) == ("onnx", "named", "feature_map")
    assert found["bytes"] == Path("named").stat().st_size
    piped = export("m.safetensors", "-o", "-", "--format", "onnx")
    assert (piped.stdout_bytes, piped.stderr) == (Path("m.onnx").read_bytes(), "")


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["out.h5", "-o", "m.onnx"], 1, "out.h5 is a scores file (HDF5), expected a model file"),
        (["none", "-o", "m.onnx"], 1, "there is no model at none"),
        (["m.safetensors", "-o", "m.onnx", "--all-columns"], 1, "no meaning for the format onnx"),
        (["m.safetensors", "-o", "m.safetensors", "--format", "onnx", "--overwrite"], 1, "is an input"),
        (["m.safetensors", "-o", "-", "--format", "onnx", "--json"], 2, "both write to standard output"),
        (["m.safetensors", "-o", "none/m.onnx"], 74, "cannot write none/m.onnx: No such file or directory"),
        (["m.safetensors", "-o", "out.csv"], 1, "`cxrscore export m.safetensors -o model.onnx` exports it"),
        (["out.h5", "-o", "out.csv", "--feature-map"], 1, "--feature-map is for the format onnx"),
        (["m.safetensors", "--to", "onnx", "--stow", "https://host/"], 1, "--stow has no meaning for the format onnx"),
    ],
)
def test_mistakes_with_a_model_are_told_and_leave_nothing(words, code, told):
    result = export(*words, expect=code)
    assert told in result.stderr
    assert "Traceback" not in result.stderr
    assert sorted(os.listdir()) == ["m.safetensors", "out.h5"]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["out.h5"], 2, "Missing option '-o'"),
        (["out.h5", "-o", "out.xml"], 1, "the suffix of out.xml names no format"),
        (["out.h5", "-o", "-"], 1, "the suffix of - names no format"),
        (["out.h5", "-o", "-", "--format", "csv", "--json"], 2, "both write to standard output"),
        (["out.h5", "-o", "-", "--format", "dicom-sr"], 1, "name a folder with --output"),
        (["out.h5", "-o", "none/out.csv"], 74, "cannot write none/out.csv: No such file or directory"),
        (["out.h5", "-o", "out.h5", "--format", "csv"], 1, "out.h5 is an input"),
        (["none.h5", "-o", "out.csv"], 1, "there is no file none.h5"),
        (["none.h5", "-o", "out.csv", "--films", "."], 1, "--films has no meaning"),
        (["broken.h5", "-o", "out.csv"], 1, "broken.h5 is not a scores file (HDF5)"),
        (["out.h5", "-o", "sr", "--format", "dicom-sr"], 1, "--films"),
        (["out.h5", "--stow", "https://host/dicom-web/"], 1, "--films"),
        (["out.h5", "--stow", "https://user:canary@host/?a=b", "--films", "."], 1, "expected one without a query"),
        (
            ["out.h5", "-o", "out.csv", "--stow", "https://host/dicom-web/"],
            1,
            "--stow has no meaning for the format csv",
        ),
        (["out.h5", "-o", "-", "--to", "fhir"], 1, "the format fhir is many files: name a folder with --output"),
        (["out.h5", "-o", "x", "--to", "dicom", "--films", ".", "--objects", "sr,ct"], 1, "no DICOM object 'ct'"),
        (["out.h5", "-o", "x", "--to", "dicom", "--films", ".", "--contour-level", "1"], 2, "contour-level"),
        (["out.h5", "-o", "x", "--to", "dicom", "--films", ".", "--maps-of", "all", "--maps-of", "Mass"], 1, "alone"),
        (["out.h5", "-o", "x", "--to", "dicom-sr", "--films", ".", "--objects", "pm"], 1, "--objects has no meaning"),
    ],
)
def test_mistakes_are_told_and_leave_nothing(home, words, code, told):
    (home / "broken.h5").write_text("no")
    result = export(*words, expect=code)
    assert told in result.stderr
    assert "Traceback" not in result.stderr
    assert "canary" not in result.stderr
    assert sorted(os.listdir()) == ["broken.h5", "out.h5"]


def test_a_reader_that_goes_away_is_one_line_and_74(home):
    """As in `cxrscore export out.h5 -o - --format csv | head -1`."""
    line = f"set -o pipefail; {sys.executable} -m cxrscore export {home / 'big.h5'} -o - --format json | head -1"
    made_file(Path("big.h5"), 1500)
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.stdout == "{\n"
    assert done.returncode == 74
    assert done.stderr.startswith("cxrscore: cannot write to standard output: Broken pipe")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["out.csv", "out.json"])
def test_a_full_disk_leaves_no_file(home, name):
    """A limit on the size of files does what a full disk does, after the first pieces went through."""
    made_file(Path("big.h5"), 1500)
    line = [sys.executable, "-m", "cxrscore", "export", str(home / "big.h5"), "-o", name]
    limit = (20_000, 20_000)
    done = subprocess.run(
        line,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )
    assert done.returncode == 74
    assert done.stderr == f"cxrscore: cannot write {name}: File too large. No partial file remains.\n"
    assert sorted(os.listdir()) == ["big.h5", "out.h5"]


def test_films_become_fhir_bundles(home):
    pytest.importorskip("fhir.resources")
    result = export("out.h5", "-o", "bundles", "--to", "fhir")
    count = len(os.listdir("bundles"))
    assert count > 0
    assert result.stderr.splitlines()[-1].startswith(f"wrote {count} bundles to bundles/")


def test_help_names_all_kinds_of_dicom_objects():
    said = " ".join(export("--help").stdout.split())
    assert [name for name in OBJECT_KINDS if f"{name} (" not in said] == []


def test_films_become_dicom_objects(home):
    pytest.importorskip("highdicom")
    film = home / "films" / "ward 1" / "000001.png"
    film.parent.mkdir(parents=True)
    data = dicom(StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.4")
    film.write_bytes(data)
    run = made_run(home / "one.h5", 3)
    run.write(0, replace(made_shard(range(3)), kind=["", "dicom", "png"], sha256=["", sha256_bytes(data), ""]))
    merge(run)
    words = ("one.h5", "--films", "films", "--to", "dicom")
    assert "wrote 1 objects to sr/ (1 sr)" in export(*words, "-o", "sr", "--objects", "sr").stderr
    assert len(os.listdir("sr")) == 1
    told = export(*words, "-o", "pm", "--objects", "sr,pm", "--maps-of", "Mass").stderr
    assert "left out, 1 findings: no map in the scores file: score with a larger --heatmaps\n" in told
    told = export(*words, "-o", "pm", "--objects", "pm", "--maps-of", "all", "--overwrite", expect=3).stderr
    assert "not exported: ward 1/000001.png: the scores file does not say how films became" in told
    film.write_bytes(data + b"x")
    told = export(*words, "-o", "changed", "--objects", "sr", expect=3).stderr
    assert "not exported: ward 1/000001.png: it has changed since it was scored" in told
