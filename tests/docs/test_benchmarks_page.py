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


def small(**changed):
    """9 films a second against 4.5, of a network that alone does 9.5; the product allows 180 / 18 = 10."""
    own = {
        "created": "2026-12-01T00:00:00+00:00",
        "command": ["python", "benchmarks/bench.py"],
        "quick": False,
        "network": "densenet121",
        "batch_size": 8,
        "size": 400,
        "gflop_a_film": 18.0,
        "machine": {
            "processor": "EPYC",
            "cores": 2,
            "memory_gib": 24.0,
            "system": "Linux",
            "python": "3.11.7",
            "load_before": 0.3,
            "omp_num_threads": None,
            "lacks": {},
        },
        "versions": {"cxrscore": "0.1.0"},
        "sections": {
            name: {"when": f"2026-12-01T0{hour}:00:30+00:00", **state}
            for state in [{"seconds": 60.0, "load_before": 0.4, "finished": True, "notes": []}]
            for hour, name in enumerate(("scoring", "end_to_end", "whole_command", "start_up"))
        },
        "scoring": {
            "films": 64,
            "rounds": 5,
            "left_out": [],
            "contenders": [
                contender("torchxrayvision's script", 4.5),
                contender("cxrscore, openvino fp32", 9.0, forward_films_per_second=9.5),
                contender("cxrscore, openvino int8", 27.0, probability_difference=0.04),
            ],
            "floors": {
                "product_fp32_gflops": 180.0,
                "product_bf16_gflops": 360.0,
                "decode_1_films_per_second": 150.0,
                "steady_1_films_per_second": 141.0,
            },
        },
        "end_to_end": [
            {
                "name": "cxrscore, openvino fp32",
                "films": 442,
                "films_per_second": 9.0,
                "forward": 9.5,
                "own_mb": 300,
                "workers_mb": 90,
            }
        ],
        "whole_command": [
            {"name": f"cxrscore, {name} fp32", "films": 64, "scored": scored, "seconds": seconds, "peak_mb": 400.0}
            for name, scored, seconds in (("torch", 64, 16.0), ("keras", 62, 24.0))
        ],
        "start_up": [{"name": "cxrscore --help", "seconds": 0.3}],
        "precision": {
            "effects": {
                "int8": {
                    "films": 40,
                    "max_difference": 0.03,
                    "mean_difference": 0.001,
                    "labelled_films": 30,
                    "macro_auc_before": 0.75,
                    "macro_auc_after": 0.7475,
                }
            },
            "kept_layers": 3,
            "calibration_films": 80,
            "quantize_seconds": 99.6,
            "cpu_seconds": {"fp32": 0.2, "int8": 0.05, "int8, all layers rounded": 0.046},
        },
    }
    return {**own, **changed}


def slow():
    """A machine without bf16 and VNNI, half as fast, whose time was over after a round."""
    one = small()
    one["machine"] = {**one["machine"], "lacks": {"bf16": "no bf16 instructions", "int8": "no VNNI instructions"}}
    one["sections"] = {
        **one["sections"],
        "scoring": {**one["sections"]["scoring"], "notes": ["ended at its time limit: 1 of 5 rounds"]},
    }
    del one["precision"]
    one["scoring"] = {
        **one["scoring"],
        "contenders": [contender("torchxrayvision's script", 3.0), contender("cxrscore, openvino fp32", 4.5)],
        "floors": {"product_fp32_gflops": 90.0, "decode_1_films_per_second": 100.0},
        "left_out": [{"name": "ONNX Runtime", "why": "no time was left for it"}],
    }
    return one


def lines_of(table):
    return {line.split(" | ")[0].removeprefix("| "): line for line in table.splitlines()}


def test_the_page_is_what_its_record_gives():
    assert WRITER.page(PAGE, record()) == PAGE, "not up to date: run python tools/docs/benchmarks_page.py"


def test_every_table_of_the_page_has_markers():
    for name in WRITER.TABLES:
        assert PAGE.count(WRITER.BEGIN.format(name)) == PAGE.count(WRITER.END.format(name)) == 1


def test_targets_worked_by_hand():
    machine = small()
    found = {what: value for what, _, _, _, figure in WRITER.TARGETS if (value := figure(machine)) is not None}
    assert found == {
        "cxrscore, openvino fp32: end to end / bare network": pytest.approx(9 / 9.5),
        "cxrscore, openvino fp32 / torchxrayvision's script": pytest.approx(2.0),
        "cxrscore, openvino int8 / torchxrayvision's script": pytest.approx(6.0),
        "cxrscore, openvino fp32: bare network / matmul peak": pytest.approx(0.95),
        "decoding: 1 running process / OpenCV, 1 thread": pytest.approx(0.94),
        "int8, trained model: max abs Δp": 0.03,
        "int8, trained model: abs change of the macro AUC": pytest.approx(0.0025),
        "int8, trained model: speed / with all layers rounded": pytest.approx(0.92),
        "whole command, keras / torch, time": pytest.approx(1.5),
        "cxrscore, openvino fp32: peak memory with decoders": 390,
        "`cxrscore --help`": 0.3,
    }


def test_a_target_is_met_on_its_own_side():
    lines = lines_of(WRITER.targets({"machines": {"A": small()}}))
    assert lines["`cxrscore --help`"].endswith("| ≤ 0.15 s | 0.3 s: **not met** |")
    assert lines["cxrscore, openvino fp32 / torchxrayvision's script"].endswith("| ≥ 1.8 | 2: met |")
    assert "not met" in lines["cxrscore, openvino fp32: end to end / bare network"]  # 0.947
    assert lines["`score` of one film, openvino fp32"].endswith("| not measured |")


def test_targets_are_for_films_of_400_pixels():
    lines = lines_of(WRITER.targets({"machines": {"A": small(size=224)}}))
    assert lines["`cxrscore --help`"].endswith("0.3 s: not judged at this size |")


def test_two_machines_stand_side_by_side():
    text = WRITER.page(PAGE, {**record(), "machines": {"Fast, AVX512": small(), "Slow, AVX2": slow()}})
    lines = lines_of(text)
    heads = "| Fast, AVX512 | Slow, AVX2 |"
    assert f"| what | target {heads}" in text
    assert "| when | sections begun 2026-12-01T00:00 to 2026-12-01T03:00 UTC | " in text
    script = "cxrscore, openvino fp32 / torchxrayvision's script"
    assert lines[script] == f"| {script} | ≥ 1.8 | 2: met | 1.5: **not met** |"
    assert lines["int8, trained model: max abs Δp"].endswith("| 0.03: **not met** | not on this machine |")
    floors = lines_of(WRITER.floors({"machines": {"Fast, AVX512": small(), "Slow, AVX2": slow()}}))
    assert floors["4096 x 4096 matrix product, fp32"].endswith(
        "| 180 GFLOP/s: 10.0 films/s | 90 GFLOP/s: 5.0 films/s |"
    )
    assert floors["4096 x 4096 matrix product, bf16"].endswith("| 360 GFLOP/s: 20.0 films/s | not on this machine |")
    assert floors["cxrscore decodes and resizes, processes: 1, running"].endswith("| 141 films/s | not measured |")
    assert f"| command, seconds {heads}\n| --- | --- | --- |\n| cxrscore --help | 0.3 | 0.3 |" in text


def test_the_table_of_lower_precision_by_hand():
    lines = lines_of(WRITER.precision({"machines": {"A": small()}}))
    assert list(lines.values())[2:] == [
        "| int8: max abs Δp (mean) | 0.0300 (0.0010) |",
        "| int8: macro AUC (fp32) | 0.7475 (0.7500) |",
        "| films: of the calibration, compared, with AUC | 80, 40, 30 |",
        "| int8: layers kept in higher precision | 3 |",
        "| int8: CPU time / fp32 | 0.250 |",
        "| int8, all layers rounded: CPU time / fp32 | 0.230 |",
        "| `quantize`, seconds | 100 |",
    ]


def test_tables_of_one_machine_stand_under_its_name():
    text = WRITER.scoring({"machines": {"Fast, AVX512": small(), "Slow, AVX2": slow()}})
    side, first, second = re.split(r"\*\*(?:Fast, AVX512|Slow, AVX2)\*\*", text)
    assert lines_of(side)["cxrscore, openvino fp32"] == "| cxrscore, openvino fp32 | 2.00 | 1.50 |"
    assert lines_of(side)["cxrscore, openvino int8"] == "| cxrscore, openvino int8 | 6.00 | not on this machine |"
    assert "* Slow, AVX2: ended at its time limit: 1 of 5 rounds" in side
    assert "| 9.00 |" in first
    assert "* bf16 is not on this machine: no bf16 instructions." in second
    assert "* ONNX Runtime was not run, or not to the end: no time was left for it" in second
    assert second.endswith("* ended at its time limit: 1 of 5 rounds")
    assert "**Fast" not in WRITER.scoring({"machines": {"Fast, AVX512": small()}})


def test_films_without_scores_and_an_interrupted_section_are_said():
    one = small()
    one["sections"]["whole_command"]["finished"] = False
    text = WRITER.whole_command({"machines": {"A": one}})
    assert "| cxrscore, keras fp32 | 24.0 (2.67; 400; **only 62 scored**) |" in text
    assert "| keras / torch | 1.50 |" in text
    assert "* The run ended before this section did." in text


def test_the_record_of_another_machine_is_added(tmp_path):
    there, new = tmp_path / "there.json", tmp_path / "new.json"
    there.write_text(json.dumps({"machines": {"A": small(), "B": small()}, "marks": {"seeds": 5}}))
    new.write_text(json.dumps({"machines": {"B": slow(), "C": slow()}}))
    WRITER.add(new, there)
    found = json.loads(there.read_text())
    assert list(found["machines"]) == ["A", "B", "C"]
    assert found["machines"]["B"]["machine"]["lacks"]["bf16"] == "no bf16 instructions"
    assert found["marks"] == {"seeds": 5}


@pytest.mark.parametrize(
    ("machines", "told"),
    [
        ({"A": {"machine": {}}}, "lacks command, quick, sections, size, versions of A"),
        ({"A, 2 cores, switched off: bf16": small()}, "measured with --without"),
    ],
    ids=["unfinished", "switched off"],
)
def test_a_record_that_is_none_of_a_machine_is_not_added(tmp_path, machines, told):
    there, new = tmp_path / "there.json", tmp_path / "new.json"
    there.write_text(json.dumps({"machines": {}}))
    new.write_text(json.dumps({"machines": machines}))
    with pytest.raises(SystemExit, match=told):
        WRITER.add(new, there)
    assert json.loads(there.read_text()) == {"machines": {}}


@pytest.mark.parametrize(("before", "later", "told"), [(0.3, 3.1, "quiet"), (1.2, 1.3, "others"), (0.3, 4.5, "others")])
def test_a_loaded_machine_is_told(before, later, told):
    machine = {"cores": 2, "load_before": before}
    sections = {"scoring": {"load_before": 0.4}, "growth": {"load_before": later}}
    assert told in WRITER._load({"machine": machine, "sections": sections})


def test_what_was_not_measured_is_said():
    machines = {name: {**one, "growth": None} for name, one in record()["machines"].items()}
    told = WRITER.page(PAGE, {**record(), "machines": machines})
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
