"""benchmarks/gpu.sh, in miniature on the CPU: whatever a GPU is needed for is said not to be run, and all else runs."""

import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest

pytest.importorskip("torch")

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCHEMA = json.loads((BENCHMARKS / "gpu_sections" / "schema.json").read_text(encoding="utf-8"))
NO_GPU = "the CPU has no TF32"


@pytest.fixture
def loaded(monkeypatch):
    """Modules of benchmarks/ by name."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(BENCHMARKS) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """What a kit in miniature gives, by the commands that the page names."""
    folder = tmp_path_factory.mktemp("gpu")
    environment = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1", "TMPDIR": str(folder)}
    kit, out = folder / "kit.tar.xz", folder / "out"
    pack = [sys.executable, BENCHMARKS / "gpu_kit.py", "--small", "--no-wheels", "--output", kit]
    subprocess.run(pack, check=True, env=environment, capture_output=True)
    run = ["bash", BENCHMARKS / "gpu.sh", kit, out, "--device", "cpu", "--small"]
    subprocess.run(run, check=True, env=environment, capture_output=True)
    assert sorted(path.name for path in out.iterdir()) == ["gpu.json", "gpu.log"]
    return json.loads((out / "gpu.json").read_text())


def done(record, section):
    return {
        name: one["result"] for name, one in record["sections"][section]["steps"].items() if one["status"] == "done"
    }


@pytest.mark.slow
def test_the_script_runs_in_miniature(record):
    jsonschema.validate(record, SCHEMA)
    assert record["small"]
    assert record["machine"]["gpus"] == []
    assert [section.get("why") for section in record["sections"].values()] == [None] * 8
    not_done = {
        f"{name}: {step}": one["why"]
        for name, section in record["sections"].items()
        for step, one in section["steps"].items()
        if one["status"] != "done" and "not installed" not in one["why"]
    }
    assert not_done == {
        "parity: TF32": NO_GPU,
        "network: densenet121 32 px tf32, batch 2": NO_GPU,
        "network: densenet121 32 px fp32, batch 2, torch.compile": "left out in miniature: it takes minutes",
        "processes: join, 1 process": "left out in miniature",
        "processes: NCCL, 2 GPUs": "it needs two GPUs, and there are 0",
        **{name: "left out in miniature" for name in not_done if name.startswith("commands: check keras")},
    }


@pytest.mark.slow
def test_its_figures_are_plausible(record):
    commands = done(record, "commands")
    assert (commands["score"]["films"], commands["score"]["scored"]) == (12, 12)
    for part in ("head", "last-block", "all"):
        assert commands[f"train {part}"]["epochs"] == 2
        assert 0 < commands[f"train {part}"]["last_loss"] < 20
    assert (commands["check torch"]["passed"], commands["check torch"]["failed_cases"]) == (5, [])
    parity = done(record, "parity")
    assert parity["fp32"]["max_dp"] <= 1e-6
    assert 0 < parity["bf16"]["max_dp"] < 0.05
    assert parity["score: two runs"]["max_dp"] < 1e-5
    for found in done(record, "network").values():
        assert found["max_dlogit"] <= 0.02 * found["max_logit"]
        assert found["ratio"] > 0
    for name, found in done(record, "pipeline").items():
        assert found["films_per_second"] > 0
        assert name == "network from host memory" or found["scored"] == found["films"] == 12
        assert found.get("gpu_busy") is None, "there is no GPU"
    for found in done(record, "maps").values():
        # One for each finding of the small model: those that occur in its few films.
        assert (found["maps"], found["time_ratio"] > 0) == (5, True)
    for found in done(record, "training").values():
        assert found["cxrscore_first_loss"] == pytest.approx(found["plain_first_loss"], rel=0.01)
    processes = done(record, "processes")
    assert (processes["join, 2 processes"]["processes"], processes["join, 2 processes"]["sum"]) == (2, 3)
    together = processes["train all, 2 processes against 1"]
    assert together["max_difference"] < 0.01 * together["moved"]
    (memory,) = done(record, "memory").values()
    assert memory["scored"] == memory["films"]
    assert memory["growth_of_process_mib"] < 200


def test_the_records_of_the_page_follow_the_schema():
    runs = json.loads((BENCHMARKS.parent / "docs" / "gpu.json").read_text(encoding="utf-8"))["runs"]
    for run in runs:
        jsonschema.validate(run, SCHEMA)


def test_a_step_that_fails_costs_no_other(loaded, tmp_path, monkeypatch):
    gpu, given = loaded("gpu"), loaded("gpu_sections.job")

    def fails():
        raise ValueError("out of luck")

    def lacks():
        raise given.NotRunError("there is no GPU")

    left = {"first": 9.0, "fails": 9.0, "lacks": 9.0, "late": 1.0}
    steps = {"first": lambda: {"films": 2}, "fails": fails, "lacks": lacks, "late": lambda: {"films": 3}}
    monkeypatch.setitem(sys.modules, "gpu_sections.made", type(sys)("gpu_sections.made"))
    monkeypatch.setattr(sys.modules["gpu_sections.made"], "steps", lambda job: steps, raising=False)
    moments = iter(left.values())
    monkeypatch.setattr(given.Job, "left", lambda self: next(moments))
    record = gpu.Record(tmp_path / "gpu.json")
    record.change(lambda found: found.update(sections={"made": {"steps": {}}}))
    job = given.Job(kit=tmp_path, work=tmp_path, device="cpu", small=True, deadline=0)
    gpu.run_section(job, record, "made")
    found = json.loads((tmp_path / "gpu.json").read_text())["sections"]["made"]["steps"]
    for one in found.values():
        one.pop("seconds", None)
    assert found == {
        "first": {"status": "done", "result": {"films": 2}},
        "fails": {"status": "failed", "why": "ValueError: out of luck"},
        "lacks": {"status": "not run", "why": "there is no GPU"},
        "late": {"status": "not run", "why": "no time left for this section"},
    }


def test_a_section_that_takes_too_long_is_ended(loaded, tmp_path):
    gpu = loaded("gpu")
    options = type("Options", (), {"kit": tmp_path, "output": tmp_path, "device": "cpu", "small": True})
    began = time.monotonic()
    assert gpu.child(options, "commands", 0.01, tmp_path) == "stopped after 0 s"
    assert time.monotonic() - began < 60


def test_only_what_is_missing_or_too_old_is_installed(loaded, tmp_path, monkeypatch):
    import zipfile

    install = loaded("gpu_sections.install")

    def wheel(name, version, *needs):
        path = tmp_path / f"{name}-{version}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            lines = [
                f"Name: {name}",
                f"Version: {version}",
                "Provides-Extra: keras",
                *(f"Requires-Dist: {need}" for need in needs),
            ]
            archive.writestr(f"{name}-{version}.dist-info/METADATA", "\n".join(lines) + "\n")
        return path

    wheels = [
        wheel("cxrscore", "0.1.0", "click>=8.1", "h5py>=3.11", "keras>=3.13.2; extra == 'keras'"),
        wheel("click", "8.5.1"),
        wheel("h5py", "3.16.0"),
        wheel("keras", "3.15.1"),
        wheel("pydicom", "3.0.2"),
    ]
    there = {"cxrscore": "0.1.0", "click": "8.0", "h5py": "3.12.1", "keras": "3.13.0"}
    monkeypatch.setattr(install, "installed", lambda name: install.Version(there[name]) if name in there else None)
    assert [path.name.split("-")[0] for path in install.chosen(wheels)] == ["cxrscore", "click", "keras", "pydicom"]


@pytest.mark.parametrize(
    ("rate", "decoding", "network", "busy", "told"),
    [
        (2900, 9000, 3000, None, "the network"),
        (1500, 1600, 3000, 0.5, "decoding"),
        (1500, 4000, 3000, 0.95, "the network"),
        (1000, 4000, 3000, 0.4, "neither alone"),
        (800, 1600, 3000, 0.3, "neither alone"),
    ],
)
def test_what_limits_a_run(loaded, rate, decoding, network, busy, told):
    assert loaded("gpu_sections.pipeline").limit(rate, decoding, network, busy) == told


def test_contenders_take_turns_and_one_that_fails_says_so(loaded, tmp_path):
    given = loaded("gpu_sections.job")
    job = given.Job(kit=tmp_path, work=tmp_path, device="cpu", small=False, deadline=time.time() + 60)
    order = []

    def fails():
        raise RuntimeError("out of memory\nlong tale")

    ways = {"a": lambda: order.append("a"), "broken": fails, "b": lambda: order.append("b")}
    found = given.in_turns(ways, 8, job, rounds=3, seconds=0)
    assert order[:8] == [*"aaaabbbb"], "each warms up"
    assert order[8:] == [*"ababab"]
    assert found["broken: failed"] == "out of memory"
    assert found["a"] > 0
    assert found["b"] > 0
