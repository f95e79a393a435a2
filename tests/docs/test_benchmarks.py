"""The contender that is cxrscore itself still runs, and the profiler tells rooms apart."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from made_models import made_films, made_model

from cxrscore import load_model
from cxrscore.plugins import get_backend
from cxrscore.scoring import pipeline

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="needs the extra openvino")
def test_cxrscore_takes_its_turn(loaded, tmp_path):
    inputs, children, scoring = loaded("inputs"), loaded("children"), loaded("scoring")
    if not inputs.FILMS.is_dir():
        pytest.skip("no real films")
    given = inputs.Inputs(folder=tmp_path, size=64, batch_size=2, peers=Path(sys.executable))
    inputs.prepare(given)
    absent = children.Contender(name="absent", script="no_such_script", theirs=False)
    section = loaded("progress").Progress({"scoring": 60.0}, 60.0).begin("scoring")
    with children.started([scoring.ours("openvino", "fp32"), absent], given, 2, section) as (there, failed):
        (child,) = there
        assert "no_such_script" in failed["absent"]
        child.take(given.films(3))
        assert child.seconds("score") > 0
        assert child.answer().shape == (3, 14)
        child.take(given.films(2))
        for work in ("score", "no maps", "all maps", "forward"):
            assert child.seconds(work) > 0
        assert child.memory()["own_mb"] > child.memory()["workers_mb"] > 0
        answer = child.answer()
    file = load_model(given.model)
    model = get_backend("openvino").build(file.spec, file.tensors, device="cpu")
    logits = model.predict(np.stack([inputs.first_square(given)] * 2))
    assert answer.shape == (2, 14)
    assert answer[0] == pytest.approx(1 / (1 + np.exp(-logits[0])), abs=1e-5)


def frame(path, name="any", back=None):
    return SimpleNamespace(f_code=SimpleNamespace(co_filename=path, co_name=name), f_back=back)


def test_a_stack_is_in_the_room_of_its_deepest_known_frame(loaded):
    room_of = loaded("profile_run").room_of
    score = frame("/x/cxrscore/scoring/pipeline.py")
    network = frame("/x/plugins/cxrscore_torch/model.py", "predict", score)
    assert room_of(frame("/usr/lib/torch/nn.py", back=network)) == "the network"
    assert room_of(score) == "batches put together"
    assert room_of(frame("/x/plugins/cxrscore_torch/model.py", "build", score)) == "backends imported and built"
    assert room_of(frame("/usr/lib/threading.py")) == "all else"
    assert room_of(None) == "all else"


def test_the_wait_for_the_network_has_the_name_that_the_profiler_knows(loaded):
    waits = pipeline._finish_batch.__code__
    assert loaded("profile_run").room_of(frame(waits.co_filename, waits.co_name)) == "waiting for the network"


@pytest.mark.slow
def test_the_benchmark_of_merging_runs():
    script = BENCHMARKS / "bench_merge.py"
    command = [sys.executable, str(script), "--rows", "400", "--part", "100", "--virtual"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line.split(" | ")[:3] for line in lines[2:]] == [
        ["| 200", "2", ""],
        ["| 200", "2", "virtual"],
        ["| 400", "4", ""],
        ["| 400", "4", "virtual"],
    ]


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="needs the extra openvino")
def test_the_benchmark_of_networks_runs_both_sides(loaded, tmp_path):
    script = loaded("bench_networks")
    known = ["git", "-C", str(script.ROOT), "cat-file", "-e", script.BEFORE]
    if subprocess.run(known, capture_output=True, check=False).returncode:
        pytest.skip(f"no git history with commit {script.BEFORE}")
    small = "--backends openvino --networks tinycnn --size 32 --batch-size 2 --rounds 1 --turns 2 --batches 1"
    output = tmp_path / "found.json"
    command = [sys.executable, str(BENCHMARKS / "bench_networks.py"), *small.split(), "--output", str(output)]
    subprocess.run(command, check=True, capture_output=True)
    found = json.loads(output.read_text())
    (row,) = found["networks"]
    assert row["difference"] <= 1e-5
    assert min(row["ratio"], *row["films_per_second"].values(), *row["peak_mib"].values()) > 0
    assert found["lines"]["before"]["total"] == sum(found["lines"]["before"].values()) / 2
    assert {"cxrscore/networks/graph.py", "plugins/cxrscore_torch/nets.py"} < set(found["lines"]["after"])


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="needs the extra openvino")
def test_the_benchmark_of_the_start_meets_every_stage_in_its_order(loaded, tmp_path):
    film, model = made_films(tmp_path / "films") / "000.png", made_model(tmp_path / "m", 1)
    command = [sys.executable, str(BENCHMARKS / "bench_start.py"), str(film), str(model), "--runs", "1"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:-2]]
    assert [stage for stage, *_ in rows] == [*loaded("bench_start").STAGES.values()]
    assert min(float(own) for _, own, _ in rows) >= 0
    assert lines[-1].startswith("First score after ")
