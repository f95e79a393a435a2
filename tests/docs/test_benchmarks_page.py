"""docs/benchmarks.md says what docs/benchmarks.json holds, and what it names is there."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def module(path):
    spec = importlib.util.spec_from_file_location(f"tested_{path.stem}", path)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


WRITER = module(ROOT / "tools" / "docs" / "benchmarks_page.py")
PAGE = (DOCS / "benchmarks.md").read_text(encoding="utf-8")


def record():
    return json.loads((DOCS / "benchmarks.json").read_text(encoding="utf-8"))


def contender(name, films_per_second, **changed):
    own = {
        "name": name,
        "does": "it",
        "maps": False,
        "versions": "v 1",
        "startup_seconds": 1.0,
        "films_per_second": films_per_second,
        "rounds": [films_per_second],
        "forward_films_per_second": None,
        "own_mb": 100.0,
        "workers_mb": 50.0,
        "probability_difference": 0.0,
    }
    return {**own, **changed}


def small():
    """9 films a second against 4.5, of a network that alone does 9.5; the product allows 180 / 18 = 10."""
    return {
        "size": 400,
        "gflop_a_film": 18.0,
        "scoring": {
            "contenders": [
                contender("torchxrayvision's script", 4.5),
                contender("cxrscore, openvino fp32", 9.0, forward_films_per_second=9.5),
            ],
            "floors": {"product_fp32_gflops": 180.0, "product_bf16_gflops": 360.0},
        },
        "end_to_end": [
            {
                "name": "cxrscore, openvino fp32",
                "films_per_second": 9.0,
                "forward": 9.5,
                "own_mb": 400,
                "workers_mb": 90,
            }
        ],
        "start_up": [{"name": "cxrscore --help", "seconds": 0.3}],
    }


def test_the_page_is_what_its_record_gives():
    assert WRITER.page(PAGE, record()) == PAGE, "not up to date: run python tools/docs/benchmarks_page.py"


def test_every_table_of_the_page_has_markers():
    for name in WRITER.TABLES:
        assert PAGE.count(WRITER.BEGIN.format(name)) == PAGE.count(WRITER.END.format(name)) == 1


def test_targets_worked_by_hand():
    found = {what: value for what, _, _, _, value in WRITER._targets(small())}
    assert found == {
        "cxrscore, openvino fp32: end to end / bare network": pytest.approx(9 / 9.5),
        "cxrscore, openvino fp32 / torchxrayvision's script": pytest.approx(2.0),
        "cxrscore, openvino fp32: bare network / matmul peak": pytest.approx(0.95),
        "cxrscore, openvino fp32: peak memory with decoders": 490,
        "`cxrscore --help`": 0.3,
    }


def test_a_target_is_met_on_its_own_side():
    lines = {line.split(" | ")[0][2:]: line for line in WRITER.targets(small()).splitlines()}
    assert lines["`cxrscore --help`"].endswith("| ≤ 0.15 s | 0.3 s | **not met** |")
    assert lines["cxrscore, openvino fp32 / torchxrayvision's script"].endswith("| ≥ 1.8 | 2 | met |")
    assert "not met" in lines["cxrscore, openvino fp32: end to end / bare network"]  # 0.947


@pytest.mark.parametrize(("before", "later", "told"), [(0.3, 3.1, "quiet"), (1.2, 1.3, "others"), (0.3, 4.5, "others")])
def test_a_loaded_machine_is_told(before, later, told):
    machine = {"cores": 2, "load_before": before}
    sections = {"scoring": {"load_before": 0.4}, "growth": {"load_before": later}}
    assert told in WRITER._load({"machine": machine, "sections": sections})


def test_what_was_not_measured_is_said():
    bare = {key: value for key, value in record().items() if key != "growth"}
    told = WRITER.page(PAGE, bare)
    assert told.split(WRITER.BEGIN.format("growth"))[1].split(WRITER.END.format("growth"))[0] == "\nNot measured yet.\n"


def test_every_benchmark_is_on_the_page():
    there = {f"benchmarks/{path.name}" for path in (ROOT / "benchmarks").glob("*_*.py")}
    assert there == set(re.findall(r"benchmarks/\w+_\w+\.py", PAGE))


@pytest.mark.parametrize(("size", "known"), [(224, 5.67), (400, 18.02)])
def test_the_cost_of_a_film_is_that_which_a_counter_of_torch_found(size, known):
    assert module(ROOT / "benchmarks" / "cost.py").gflop(size) == pytest.approx(known, abs=0.01)


def gpu_record(name="H200", **changed):
    """64 films a batch: cxrscore's graph does 4,000 films a second in bf16, the best plain code 5,000."""
    done = {"status": "done", "seconds": 1.0}
    network = {"cxrscore graph": 4000.0, "plain channels_last graph": 5000.0, "ratio": 0.8}
    decoding = {"films_per_second": 1500.0, "gpu_busy": 0.4, "limit": "decoding"}
    steps = {
        "network": {"densenet121 400 px bf16, batch 64": {**done, "result": network}},
        "pipeline": {
            "PNG, 16 decoder processes": {**done, "result": decoding},
            "DICOM JPEG 2000": {"status": "not run", "why": "no pydicom | none"},
        },
    }
    sections = ("commands", "parity", "network", "pipeline", "maps", "training", "processes", "memory")
    own = {
        "created": "2026-12-01T00:00:00+00:00",
        "device": "cuda",
        "small": False,
        "kit": {},
        "machine": {
            "processor": "EPYC",
            "cores": 16,
            "memory_gib": 128.0,
            "system": "Linux",
            "python": "3.12.3",
            "gpus": [{"name": name, "memory_gib": 139.8, "capability": "9.0"}],
            "driver": "580",
            "load_before": 0.1,
        },
        "versions": {"torch": "2.11.0"},
        "seconds": 400.0,
        "sections": {name: {"title": name, "limit": 9, "steps": steps.get(name, {})} for name in sections},
    }
    own["sections"]["maps"]["why"] = "stopped after 30 s"
    return {**own, **changed}


def test_targets_of_a_gpu_are_judged_by_its_record():
    lines = {line.split(" | ")[0][2:]: line for line in WRITER.gpu_tables.gpu([gpu_record()]).splitlines()}
    assert lines["DenseNet121, 400 px, bf16: network / best plain torch code"].endswith("| 0.8: **not met** |")
    assert lines["DenseNet121, 400 px, fp32: network / best plain torch code"].endswith("| not run |")
    assert lines["DenseNet121, 400 px, bf16: bare network"].endswith("| ≥ 3000 films/s | 4000 films/s: met |")
    busy = lines["PNG to scores: GPU busy, unless decoding is the limit"]
    assert busy.endswith("| 0.4: limited by decoding |")


def test_what_did_not_run_on_a_gpu_is_said_with_its_reason():
    text = WRITER.gpu_tables.gpu([gpu_record()])
    assert "| pipeline | DICOM JPEG 2000 | not run: no pydicom / none |  |" in text
    assert "| maps |  | not finished: stopped after 30 s |  |" in text
    assert WRITER.gpu_tables.NONE not in text


@pytest.mark.parametrize("changed", [{"small": True}, {"device": "cpu"}])
def test_neither_a_miniature_nor_a_cpu_meets_a_target(changed):
    text = WRITER.gpu_tables.gpu([gpu_record(**changed)])
    assert WRITER.gpu_tables.NONE in text
    targets = text.split("### ")[0]
    assert "met" not in targets
    assert targets.count("| not run |") == len(WRITER.gpu_tables.TARGETS)


def test_a_new_record_replaces_that_of_the_same_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(WRITER.gpu_tables, "RECORDS", tmp_path / "gpu.json")
    for number, name in enumerate(("H200", "L4", "H200")):
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps(gpu_record(name, seconds=float(number))))
        WRITER.gpu_tables.add(path)
    found = {one["machine"]["gpus"][0]["name"]: one["seconds"] for one in WRITER.gpu_tables.records()}
    assert found == {"H200": 2.0, "L4": 1.0}


def test_gpu_targets_name_steps_that_the_script_has(monkeypatch):
    """By the names of the steps on a GPU, which no test can run."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    pytest.importorskip("torch")
    given = importlib.import_module("gpu_sections.job")
    job = given.Job(kit=ROOT, work=ROOT, device="cuda", small=False, deadline=0)
    for section in ("network", "pipeline", "maps", "training"):
        module = importlib.import_module(f"gpu_sections.{section}")
        if section == "pipeline":
            monkeypatch.setattr(module.os, "cpu_count", lambda: 16)
        steps = module.steps(job)
        wanted = {step for _, _, _, _, (name, step, _) in WRITER.gpu_tables.TARGETS if name == section}
        assert wanted <= set(steps)
    for name in [name for name in sys.modules if name.startswith("gpu_sections")]:
        del sys.modules[name]


def learnt(auc, skill, **changed):
    own = {
        "macro_auc": [auc, auc - 0.02, auc + 0.02],
        "brier_skill": [skill, skill - 0.01, skill + 0.01],
        "calibration_error": 0.015,
        "spread": 0.133,
        "apart": 0.0014,
        "probabilities": [0.004, 0.81],
        "films": 10,
        "repeats": 2,
    }
    return {**own, **changed}


def test_learning_shows_each_method_its_differences_and_the_targets():
    difference = {"of": "densenet121", "less": "epochs", "macro_auc": [0.01, -0.01, 0.03], "each_repeat": [0.0, 0.02]}
    section = {
        "created": "2026-11-30T14:00:00+00:00",
        "films": 10,
        "patients": 9,
        "repeats": 2,
        "outer_folds": 5,
        "methods": {"epochs": learnt(0.66, -1.8), "densenet121": learnt(0.67, 0.02, films=5)},
        "differences": [{**difference, "brier_skill": [1.82, 1.6, 2.0]}],
    }
    text = WRITER.learning({"learning": section})
    assert "10 films of 9 patients, 2 repeats of 5 outer folds, measured 2026-11-30." in text
    assert "default (linear probe), DenseNet121: 5 films, 2 repeats." in text
    cells = "0.670 (0.650 to 0.690) | +0.020 (+0.010 to +0.030) | 0.015 | 0.133 | 0.001 | 0.004 to 0.810 |"
    assert f"| default (linear probe), DenseNet121 | {cells}" in text
    assert "| +0.010 (-0.010 to +0.030) | +1.820 (+1.600 to +2.000) | +0.000 to +0.020 |" in text
    assert "| default less default of 0.1, macro AUC | ≥ 0.02 | 0.010 | **not met** |" in text
    assert "| default, Brier skill | > 0 | 0.020 | met |" in text
