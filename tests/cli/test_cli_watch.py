"""A watch as a process: stopped by signals in the middle of a film, started again, and never twice."""

import datetime
import json
import os
import signal
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from gates import Gate, install
from made_model import document, golden

from cxrscore.contract import ModelSpec
from cxrscore.models.model_file import save_model
from cxrscore.networks.tensors import initial_tensors
from cxrscore.scorefile import open_scores
from cxrscore.synthetic.phantoms import make_phantoms
from cxrscore.watching import read_config, watch

pytestmark = pytest.mark.slow

CONFIG = """
films = "films"
model = "model.safetensors"
output = "out"
min_age = 0
films_per_file = 70

[score]
backend = "torch"
batch_size = 1
explainer = "gated"
no_labels = true

[[export]]
to = "csv"
output = "csv"
"""
WATCH = [sys.executable, "-m", "cxrscore", "watch", "watch.toml"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("watch")
    make_phantoms(folder, films=100, side=64, seed=3)
    spec = ModelSpec(architecture="tinycnn", findings=("Mass", "Nodule"), size=32)
    tensors = initial_tensors(spec, 1)
    save_model(folder / "model.safetensors", tensors, document(spec, golden=golden(spec, tensors)))
    (folder / "watch.toml").write_text(CONFIG)
    environment = {**os.environ, **install(folder / "site")}
    words = ["score", "films", "-b", "1", "--backend", "torch", "--explainer", "gated", "--no-labels", "-o", "whole.h5"]
    subprocess.run([*WATCH[:3], *words], cwd=folder, env=environment, check=True)
    return folder, environment


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM], ids=["kill", "term"])
def test_a_watch_that_was_stopped_goes_on_and_scores_no_film_twice(made, tmp_path, end):
    folder, environment = made
    for name in ("films", "model.safetensors", "watch.toml"):
        (tmp_path / name).symlink_to(folder / name)
    out = tmp_path / "out"
    # The configuration is found through its link: its paths are below the folder of the link.
    with Gate(WATCH, cwd=tmp_path, env=environment, stderr=subprocess.PIPE) as gate:
        gate.hold(lambda held: len(list(out.glob("*.h5"))) == 1 and list(out.glob("*.parts")))
        second = subprocess.run([*WATCH, "--once"], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert (second.returncode, f"is held by process {gate.process.pid}" in second.stderr) == (1, True)
        gate.process.send_signal(end)
        gate.open()
        code = gate.process.wait()
    assert code == (-signal.SIGKILL if end == signal.SIGKILL else 128 + signal.SIGTERM)
    assert len(list(out.glob("*.h5"))) == 1

    done = subprocess.run([*WATCH, "--once", "--json"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["films"] for one in told if one["event"] in ("started", "scored")] == [70, 30]
    assert all(line.startswith("20") and "+00:00 " in line for line in done.stderr.splitlines())
    files = sorted(out.glob("*.h5"))
    assert sorted(path.stem for path in (tmp_path / "csv").iterdir()) == [path.stem for path in files]
    assert not [path for path in out.iterdir() if path.name.endswith((".parts", ".lock"))]
    whole = open_scores(folder / "whole.h5")
    parts = [open_scores(path) for path in files]
    assert Counter(path for part in parts for path in part.films.path) == Counter(whole.films.path)
    rows = {path: row for part in parts for path, row in zip(part.films.path, part.logit, strict=True)}
    np.testing.assert_array_equal([rows[path] for path in whole.films.path], whole.logit)


def test_one_round_tells_by_its_exit_code_that_a_film_has_no_score(made, tmp_path):
    folder, environment = made
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "broken.png").write_bytes(b"no film")
    (tmp_path / "model.safetensors").symlink_to(folder / "model.safetensors")
    (tmp_path / "watch.toml").write_text(CONFIG.replace("[score]", "[score]\nanonymize-paths = true"))
    done = subprocess.run([*WATCH, "--once", "-q"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (3, "")
    (line,) = done.stderr.splitlines()
    assert "neither PNG nor JPEG nor DICOM" in line
    assert "broken" not in line
    bad = subprocess.run([*WATCH[:-1], "none.toml"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (bad.returncode, bad.stderr) == (
        1,
        "cxrscore: cannot read the configuration none.toml: No such file or directory\n",
    )


def test_films_of_a_pacs_are_scored_as_they_arrive(made, orthanc, tmp_path):
    from corpus_bytes import chest, dicom

    folder, _ = made
    (tmp_path / "model.safetensors").symlink_to(folder / "model.safetensors")
    films = f"{orthanc.dicomweb}/?StudyDate=last+2+days&Modality=DX"
    text = CONFIG.replace('"films"', f'"{films}"').replace('explainer = "gated"', "heatmaps = 1")
    (tmp_path / "watch.toml").write_text(text)

    def film(number, day):
        uids = {"StudyInstanceUID": f"1.2.3.{number}", "SeriesInstanceUID": f"1.2.3.{number}.1"}
        return dicom(chest(number), **uids, SOPInstanceUID=f"1.2.3.{number}.1.1", StudyDate=f"{day:%Y%m%d}")

    today = datetime.date.today()
    orthanc.clear()
    orthanc.post([film(1, today), film(2, today - datetime.timedelta(days=9))])
    told, rounds = [], iter([lambda: orthanc.post([film(3, today)]), lambda: None])

    def wait(seconds):
        do = next(rounds, None)
        if do is None:
            raise KeyboardInterrupt
        do()

    with pytest.raises(KeyboardInterrupt):
        watch(read_config(tmp_path / "watch.toml"), told.append, wait=wait)
    assert [one.values["films"] for one in told if one.kind == "scored"] == [1, 1]
    assert not [one for one in told if one.kind in ("error", "not_scored")]
    assert not [one for one in told if "StudyDate" in one.text or "1.2.3.3" in one.text]
    files = sorted((tmp_path / "out").glob("*.h5"))
    assert [path.count("1.2.3.3.1.1") for file in files for path in open_scores(file).films.path] == [0, 1]
