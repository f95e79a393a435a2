"""From scores to a queue, from a queue to marks, and from marks to a model."""

import csv
import json
import os
from pathlib import Path

import forked
import pytest

from cxrscore.marks import Answer, MarkedFilm, MarksFile, ReadingSession
from cxrscore.scorefile import read_without_images
from cxrscore.synthetic.phantoms import make_phantoms

pytestmark = pytest.mark.slow

TRAIN = ["train", "--backend", "torch", "--architecture", "tinycnn", "--weights", "none", "--size", "32"]
USEFUL = ["--by", "useful", "--films", "films", "-m", "model.safetensors", "--backend", "torch"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with films, a model, its scores, a queue of 40 films by a rule, and the marks of two readers on them."""
    folder = tmp_path_factory.mktemp("home")
    make_phantoms(folder, films=60, patients=40, side=64, seed=1)
    run(folder, *TRAIN, "--trainable", "all", "--epochs", "1")
    run(folder, "score", "films", "-o", "out.h5", "--heatmaps", "0")
    done = run(folder, "queue", "out.h5", "-n", "40", *USEFUL, "-o", "queue.csv")
    assert "40 of 60 films by useful" in done.stderr
    scores = read_without_images(folder / "out.h5")
    rows = {sha256: row for row, sha256 in enumerate(scores.films.sha256)}
    with (folder / "queue.csv").open(newline="") as file, MarksFile(folder / "out.marks.sqlite", create=True) as marks:
        for place, line in enumerate(csv.DictReader(file)):
            row = rows[line["sha256"]]
            film = MarkedFilm(
                sha256=line["sha256"], path=scores.films.path[row], patient=int(scores.films.patient[row])
            )
            for column, finding in enumerate(scores.findings):
                answer = Answer.YES if scores.truth[row, column] > 0.5 else Answer.NO
                marks.answer(ReadingSession(reader="Anna"), film, finding, answer)
                if place < 20:
                    marks.answer(ReadingSession(reader="Ben", blinded=True), film, finding, answer)
    return folder


def run(folder: Path, *words: str, code: int = 0):
    own = {"CXRSCORE_OFFLINE": "1", "CXRSCORE_CACHE": str(folder / "cache")}
    done = forked.cxrscore(*words, cwd=folder, env={**os.environ, **own})
    assert done.returncode == code, done.stderr
    return done


def test_marks_become_a_table_and_a_model(home):
    done = run(home, "marks", "out.marks.sqlite", "-o", "labels.csv", "--json")
    found = json.loads(done.stdout)
    assert found["readers"] == {"Anna": 40, "Ben": 20}
    assert {one["films"] for one in found["agreement"]} == {20}
    assert {one["agreement"] for one in found["agreement"]} == {1}
    models = []
    for labels in ("labels.csv", "out.marks.sqlite"):
        words = [*TRAIN, "--trainable", "all", "--epochs", "1", "-o", f"{labels}.safetensors", "--labels", labels]
        done = run(home, *words, "--json")
        models.append(json.loads(done.stdout))
    assert sum(models[0]["films"].values()) == 40
    assert models[0]["films"] == models[1]["films"]
    assert models[0]["macro_auc"] == models[1]["macro_auc"]


def test_the_report_takes_the_marks(home):
    run(home, "report", "out.h5", "--labels", "out.marks.sqlite", "-o", "marks.html")
    assert "marks of readers, majority" in (home / "marks.html").read_text()


def test_films_that_are_marked_are_not_listed_again(home):
    done = run(home, "queue", "out.h5", "-n", "100", "--by", "random", "--marks", "out.marks.sqlite", "--json")
    found = json.loads(done.stdout)
    assert (len(found["films"]), found["candidates"], found["left_out"]) == (20, 20, 40)
    ben = run(home, "queue", "out.h5", "-n", "100", "--by", "random", "--marks", "out.marks.sqlite", "--reader", "Ben")
    assert ben.stdout.startswith("rank,film,sha256,rule,drawn,seed,figure,reason,stratum,weight\n")
    assert len(ben.stdout.splitlines()) == 41


def test_the_same_line_lists_the_same_films(home):
    done = run(home, "queue", "out.h5", "-n", "40", *USEFUL)
    assert done.stdout == (home / "queue.csv").read_text()


def test_what_is_missing_is_said_in_a_line(home):
    for words, expected in [
        (["queue", "out.h5", "--by", "useful"], "needs the folder of the films (--films) and the model file (--model)"),
        (["queue", "out.h5", "--by", "random", "--other", "out.h5"], "no other rule does"),
        (["queue", "out.h5", "--by", "random", "--reader", "A"], "--reader needs the marks file"),
        (["queue", "out.h5", *USEFUL[:2], "--films", "cache", "-m", "model.safetensors"], "can be read below cache"),
        (["marks", "labels.csv"], "is not a marks file of cxrscore"),
        (["marks", "none.sqlite"], "there is no marks file at none.sqlite"),
    ]:
        done = run(home, *words, code=1)
        assert expected in done.stderr
        assert done.stderr.count("\n") == 1
