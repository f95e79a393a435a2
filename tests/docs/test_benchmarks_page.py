"""docs/benchmarks.md says what docs/benchmarks.json holds, and what it names is there."""

import importlib.util
import json
import re
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
