"""The examples as their users have them: each installed from its pyproject.toml, listed, checked and put to work."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import forked
import numpy as np
import pytest

from cxrscore.models.model_file import load_model
from cxrscore.scorefile import open_scores
from cxrscore.synthetic.phantoms import DRAWN, make_phantoms

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
NAMES = {"backend": "numpy", "dataset": "ris", "loss": "gce", "metric": "f1"}
SMALL = ["--architecture", "tinycnn", "--weights", "none", "--size", "64", "--trainable", "all", "--epochs", "2"]
TABLE = ROOT / "examples" / "third_party_dataset" / "tests" / "export.csv"


def install(source, site):
    """Builds the distribution in a copy of its folder and installs it where only PYTHONPATH leads."""
    copy = shutil.copytree(source, site.parent / f"source_{source.name}")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(site)]
    run(sys.executable, "-m", "pip", "install", *options, str(copy), site=site, folder=site.parent)


def environment(site):
    return {**os.environ, "PYTHONPATH": str(site), "CXRSCORE_OFFLINE": "1"}


def run(*words, site, folder, expect=0):
    done = subprocess.run(
        list(map(str, words)),
        cwd=folder,
        env=environment(site),
        capture_output=True,
        text=True,
    )
    assert done.returncode == expect, done.stdout[-4000:] + done.stderr[-4000:]
    return done


def cxrscore(*words, site, folder, expect=0):
    done = forked.cxrscore(*words, cwd=folder, env=environment(site))
    assert done.returncode == expect, done.stdout[-4000:] + done.stderr[-4000:]
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder to put on PYTHONPATH, with the four installed in it."""
    folder = tmp_path_factory.mktemp("install") / "site"
    for kind in NAMES:
        install(ROOT / "examples" / f"third_party_{kind}", folder)
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory, site):
    """A folder with films, labels.csv in the layout of the example, and a model trained on them with its loss."""
    folder = tmp_path_factory.mktemp("home")
    make_phantoms(folder, films=60, patients=40, side=96, seed=1)
    export(folder / "films" / "labels.csv")
    cxrscore("train", "--backend", "torch", "--loss", "gce", *SMALL, site=site, folder=folder)
    return folder


def export(path):
    """Rewrites an NIH table as the RIS export that the example reads."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    lines = [";".join(["accession", "patient", "sex", *DRAWN])]
    for row in rows:
        answers = ["pos" if finding in row["Finding Labels"].split("|") else "neg" for finding in DRAWN]
        about = [row["Image Index"].removesuffix(".png"), row["Patient ID"], row["Patient Gender"].lower()]
        lines.append(";".join([*about, *answers]))
    path.write_text("\n".join(lines) + "\n")


def test_each_is_listed(site):
    found = json.loads(cxrscore("plugins", "--json", site=site, folder=site.parent).stdout)
    listed = {(plugin["name"], plugin["distribution"]): plugin for plugin in found}
    for kind, name in NAMES.items():
        plugin = listed[name, f"cxrscore-{name}"]
        hook = f"cxrscore_{kind}es" if kind == "loss" else f"cxrscore_{kind}s"
        assert (plugin["version"], plugin["state"], plugin["reason"]) == ("1.0.0", "ok", "")
        assert plugin["hooks"] == [hook]
        assert plugin["provides"] == {hook: [name]}


@pytest.mark.parametrize("kind", NAMES)
def test_each_passes_the_kit_in_its_own_tests(site, kind, tmp_path):
    tests = ROOT / "examples" / f"third_party_{kind}" / "tests"
    words = ["-p", "no:cacheprovider", "--rootdir", str(tests), "-q", str(tests)]
    done = run(sys.executable, "-m", "pytest", *words, site=site, folder=tmp_path)
    assert re.search(r"\d+ passed", done.stdout)


@pytest.mark.parametrize(
    "words",
    [["numpy"], ["dataset:ris", "--table", str(TABLE)], ["loss:gce"], ["metric:f1"]],
    ids=lambda words: words[0],
)
def test_each_passes_the_check(site, words, tmp_path):
    report = json.loads(cxrscore("check", *words, "--json", site=site, folder=tmp_path).stdout)
    states = [case["status"] for case in report["cases"]]
    assert "passed" in states
    assert "failed" not in states


def test_the_reader_and_the_loss_are_in_the_model_file(home):
    training = load_model(home / "model.safetensors").document["training"]
    assert training["labels"]["dataset"] == "ris"
    assert training["recipe"]["loss"] == "gce"
    assert training["patients"] > 1


def test_the_backend_gives_the_scores_of_torch(site, home):
    for backend in ("torch", "numpy"):
        cxrscore("score", "films", "-o", f"{backend}.h5", "--backend", backend, site=site, folder=home)
    torch, numpy = open_scores(home / "torch.h5"), open_scores(home / "numpy.h5")
    assert np.abs(torch.prob - numpy.prob).max() <= 1e-5
    assert np.corrcoef(torch.heat_maps.map.ravel(), numpy.heat_maps.map.ravel())[0, 1] > 0.999
    assert numpy.provenance["backend"]["name"] == "numpy"
    assert np.isin(numpy.truth, (0, 1)).all()


def test_the_metric_is_in_the_report(site, home):
    cxrscore("score", "films", "-o", "out.h5", "--backend", "torch", site=site, folder=home)
    told = json.loads(cxrscore("report", "out.h5", "--json", site=site, folder=home).stdout)
    (f1,) = told["metrics"]
    assert (f1["name"], f1["distribution"]) == ("f1", "cxrscore-f1")
    scores = open_scores(home / "out.h5")
    assert [one["finding"] for one in f1["findings"]] == list(scores.findings)
    for one, finding in zip(f1["findings"], told["findings"], strict=True):
        precision, recall = finding["ppv"], finding["sensitivity"]
        if precision and recall:  # else F1 is 0, or there is none
            assert one["value"] == pytest.approx(2 * precision * recall / (precision + recall))
    assert any(one["interval"] for one in f1["findings"])
    page = (home / "out.html").read_text()
    assert "F1 at the stored threshold" in page
    assert "Metrics of plugins" in page


def test_a_backend_that_cannot_train_says_so(site, home, tmp_path):
    done = cxrscore("train", home / "films", "--backend", "numpy", *SMALL, site=site, folder=tmp_path, expect=1)
    assert "cannot train" in done.stderr


def test_a_damaged_export_is_told_by_its_line(site, home, tmp_path):
    lines = (home / "films" / "labels.csv").read_text().splitlines()
    (tmp_path / "export.csv").write_text("\n".join([*lines, "A1;P1;f;maybe" + ";neg" * (len(DRAWN) - 1)]))
    words = ["--labels", "export.csv", "--backend", "torch", *SMALL]
    done = cxrscore("train", home / "films", *words, site=site, folder=tmp_path, expect=1)
    assert f"export.csv, line {len(lines) + 1}" in done.stderr
    assert "pos, neg or nothing" in done.stderr


def test_the_first_files_of_the_docs_can_be_installed(tmp_path):
    """Steps 1 to 3 of the first plugin of docs/plugins.md."""
    text = (ROOT / "docs" / "plugins.md").read_text()
    source = tmp_path / "mine"
    source.mkdir()
    (source / "README.md").write_text("# mine\n")
    (source / "cxrscore_f1.py").write_text(re.search(r"cxrscore_f1.py -->\n```python\n(.*?)```", text, re.S)[1])
    (source / "pyproject.toml").write_text(re.search(r"```toml\n(.*?)```", text, re.S)[1])
    install(source, tmp_path / "site")
    lines = cxrscore("plugins", site=tmp_path / "site", folder=tmp_path).stdout.splitlines()
    shown = re.search(r"<!-- the listing -->\n```\n(.*?)```", text, re.S)[1].splitlines()[1]
    assert shown.split() in [line.split() for line in lines]
