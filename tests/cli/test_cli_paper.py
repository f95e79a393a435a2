"""cxrscore paper from films to page: killed, gone on with, and every item of the paper there."""

import csv
import json
import os
import re
import runpy
import signal
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import forked
import pytest
from gates import Gate, install

from cxrscore.io.strict_json import check_document
from cxrscore.synthetic.phantoms import make_phantoms

COMMAND = (sys.executable, "-m", "cxrscore", "paper")
WORDS = "--backend gated --networks tinycnn resnet50 --weights none --size 32 --epochs 2 --augmentations 2"
WORDS += " --train 44 --valid 16 --test 24"


class Page(HTMLParser):
    """What a page holds: names of elements, attributes of images, and its words."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.images, self.words, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag == "img":
            self.images.append(dict(attributes))
        if tag not in ("img", "meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The output folder and what was printed, of a run that was killed after its first experiment and started again."""
    folder = tmp_path_factory.mktemp("paper")
    make_phantoms(folder, films=90, patients=60, side=64, seed=1)
    words = [
        sys.executable,
        "-m",
        "cxrscore",
        "paper",
        folder / "films",
        "-o",
        folder / "out",
        *WORDS.split(),
        "--json",
    ]
    own = {**install(folder / "site"), "CXRSCORE_CACHE": str(folder / "cache"), "CXRSCORE_OFFLINE": "1"}
    environment = {**os.environ, **own}
    with Gate(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as gate:
        gate.hold(lambda held: list(folder.glob("out/experiments/*/experiment.json")))
        gate.process.kill()
        assert gate.process.wait() == -signal.SIGKILL
    assert not (folder / "out" / "paper.json").exists()
    (done,) = folder.glob("out/experiments/*/experiment.json")
    model = done.with_name("model.safetensors")
    before = model.stat().st_mtime_ns
    ended = forked.cxrscore(*words[3:], cwd=folder, env=environment)
    assert ended.returncode == 0, ended.stderr
    assert model.stat().st_mtime_ns == before, "a finished experiment was trained again"
    return folder / "out", ended


@pytest.mark.slow
def test_it_writes_every_item_of_the_paper(run):
    folder, ended = run
    told = json.loads((folder / "paper.json").read_text())
    check_document(told, "paper", "paper.json")
    assert json.loads(ended.stdout) == told
    assert [item["item"] for item in told["items"]] == [
        *(f"Figure {n}" for n in (1, 2, 3)),
        *("Table 1", "Table 2"),
        *(f"Figure {n}" for n in (4, 5, 6, 7, 8)),
    ]
    for item in told["items"]:
        assert item["why"], item["item"]
        for name in item["files"]:
            assert (folder / name).stat().st_size > 20, name
    files = [path for path in folder.iterdir() if path.is_file() and path.name != ".cxrscore-paper"]
    assert {path.suffix for path in files} == {".png", ".csv", ".json", ".html"}
    assert len(told["experiments"]) == 12
    assert "paper-literal-tinycnn-augmented" in ended.stderr


@pytest.mark.slow
def test_its_numbers_agree_with_each_other(run):
    folder, _ = run
    told = json.loads((folder / "paper.json").read_text())
    with (folder / "split.csv").open() as file:
        parts = [row["split"] for row in csv.DictReader(file)]
    films = {name: parts.count(name) for name in ("train", "valid", "test")}
    assert films == {name: told["films"][name] for name in films}
    experiment = told["experiments"][0]["splits"]["test"]
    with (folder / "table2.csv").open() as file:
        row = next(csv.DictReader(file))
    assert float(row["label_accuracy"]) == pytest.approx(experiment["label_accuracy"]["value"], rel=1e-5)
    areas = [finding["auc"]["value"] for finding in experiment["findings"]]
    defined = [area for area in areas if area is not None]
    assert sum(defined) / len(defined) == pytest.approx(experiment["macro_auc"]["value"])
    with (folder / "fig4.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row, finding in zip(rows, experiment["findings"], strict=True):
        if finding["auc"]["value"] is not None:
            assert float(row["auc"]) == pytest.approx(finding["trapezoid"], rel=1e-5)
    assert len([line for line in told["summary"] if line.startswith("“DenseNet121 had better")]) == 4
    above = [experiment["splits"]["test"]["above_negative_baseline"] for experiment in told["experiments"]]
    below = sum(one["high"] < 0 for one in above)
    counted = f"in {sum(one['low'] > 0 for one in above)} of 12 experiments, below it in {below}"
    assert counted in " ".join(told["summary"])
    with (folder / "fig3.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["experiment"] == told["experiments"][0]["name"]]
    watched = [float(row["train_label_accuracy"]) for row in rows]
    assert told["experiments"][0]["epochs"] == len(watched)
    assert told["experiments"][0]["best_epoch"] == watched.index(max(watched)) + 1
    for claim in told["comparisons"]:
        low, high = (claim["difference"][end] for end in ("low", "high"))
        assert (" is better " in claim["text"]) == (low is not None and low > 0)
        assert (" is worse " in claim["text"]) == (high is not None and high < 0)


@pytest.mark.slow
def test_the_page_stands_by_itself(run):
    folder, _ = run
    text = (folder / "paper.html").read_text()
    page = Page(text)
    assert not page.open
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert "default-src 'none'; img-src data:;" in text
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", text)
    assert len(page.images) == 2 + 2 + 8 + 1 + 4 * 5
    assert all(image["src"].startswith("data:image/") and image["alt"] for image in page.images)
    words = " ".join(page.words)
    for item in ("Table 1", "Table 2", *(f"Figure {n}" for n in range(1, 9)), "The missing experiment"):
        assert item in words
    assert "Always" in words
    assert "nan" not in words.lower().split()
    assert "{" not in words.split("Contradictions")[-1]


@pytest.mark.slow
def test_the_docs_can_be_written_from_its_record(run):
    folder, _ = run
    script = Path(__file__).parents[2] / "tools" / "docs" / "paper_page.py"
    page = runpy.run_path(str(script))["page"](json.loads((folder / "paper.json").read_text()))
    assert re.findall("^## (.*)", page, re.MULTILINE) == [
        "Why the numbers cannot be the same",
        "Summary",
        "Tables 1 and 2: accuracy",
        "Comparisons on the test films",
        "Figure 3: losses",
        "Figures 4 to 6: AUC on the test films",
        "Figures 7 and 8: heat maps",
        "Contradictions",
    ]
    assert page.count("| corrected | tinycnn") >= 4


@pytest.mark.slow
def test_no_film_is_named_but_those_shown(run):
    folder, _ = run
    with (folder / "split.csv").open() as file:
        films = [row["film"] for row in csv.DictReader(file)]
    record = (folder / "paper.json").read_text()
    assert not any(film in record for film in films)
    page = (folder / "paper.html").read_text()
    shown = {json.loads((folder / f"fig{n}.json").read_text())["film"] for n in (1, 7, 8)}
    assert {film for film in films if film in page} == shown


def test_what_cannot_be_asked_for(tmp_path):
    make_phantoms(tmp_path, films=20, patients=20, side=48, seed=1)
    environment = {**os.environ, "CXRSCORE_CACHE": str(tmp_path / "cache")}
    words = [
        "paper",
        tmp_path / "films",
        "-o",
        tmp_path / "out",
        "--networks",
        "tinycnn",
    ]
    done = forked.cxrscore(*words, "densenet121", cwd=tmp_path)
    assert done.returncode == 1
    assert "20 labelled films are too few for 100 to test and 40 to validate" in done.stderr
    done = forked.cxrscore(*words, "tinycnn", cwd=tmp_path)
    assert done.returncode == 1
    assert "expected two different ones" in done.stderr
    few = ["densenet121", "--backend", "torch", "--size", "32", "--weights", "none", "--valid", "3", "--test", "3"]
    done = forked.cxrscore(*words, *few, cwd=tmp_path, env=environment)
    assert done.returncode == 1
    assert "films to train fill no batch of 16" in done.stderr
    assert not (tmp_path / "out" / "experiments").exists()
