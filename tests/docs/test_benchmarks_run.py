"""A run of the benchmarks ends in time, whatever the machine and the contenders do, and keeps what it has."""

import io
import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

AVX2 = """processor : 0
model name : Intel(R) Core(TM) i7-8700 CPU @ 3.20GHz
flags : fpu sse4_2 avx2 fma

processor : 1
model name : Intel(R) Core(TM) i7-8700 CPU @ 3.20GHz
flags : fpu sse4_2 avx2 fma
"""


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def run_of(loaded):
    """A Progress by a clock that the test moves, and what it has printed."""

    def made(planned, total):
        clock, stream = Clock(), io.StringIO()
        return loaded("progress").Progress(planned, total, clock, stream), clock, stream

    return made


def test_a_section_gets_its_part_of_the_time_that_is_left(run_of):
    progress, clock, _ = run_of({"a": 10.0, "b": 20.0, "c": 30.0}, 120.0)
    first = progress.begin("a")
    assert first.budget == 20.0
    clock.now = 70.0  # 50 s too long
    assert first.over()
    assert first.left() == -50.0
    second = progress.begin("b")
    assert second.budget == pytest.approx(50 * 20 / 50)
    clock.now = 75.0  # 15 s less than it might have had
    assert not second.over(15.0)
    assert second.over(15.1)
    assert progress.begin("c").budget == 45.0


def test_a_step_may_begin_in_time_and_end_a_little_later(run_of):
    progress, clock, _ = run_of({"a": 40.0}, 40.0)
    section = progress.begin("a")
    assert section.step_limit() == 60.0
    clock.now = 30.0
    assert section.step_limit() == 30.0
    clock.now = 59.0
    assert section.step_limit() == 15.0
    assert run_of({"a": 1000.0}, 1000.0)[0].begin("a").step_limit() == 180.0


def test_lines_say_the_section_and_what_is_left(run_of):
    progress, clock, stream = run_of({"a": 40.0, "b": 60.0}, 100.0)
    assert progress.plan() == "about 1 min 40 s, at most 1 min 40 s: a 40 s, b 1 min 00 s"
    section = progress.begin("a")
    clock.now = 10.0
    section.say("round 1")
    section.note("cut short")
    line = "[10 s] a: {} (about 1 min 30 s left)\n"
    assert stream.getvalue() == line.format("round 1") + line.format("cut short")
    assert section.notes == ["cut short"]


@pytest.fixture
def measured(loaded, run_of, tmp_path):
    """Runs sections of the given names as bench.py does, and reads the record."""
    bench, record = loaded("bench"), loaded("record")
    output = tmp_path / "record.json"

    def run(wanted):
        progress, _, _ = run_of(dict.fromkeys(wanted, 10.0), 60.0)
        entry = {"sections": {}, **record.read(output).get("machines", {}).get("here", {})}
        bench.measure_all(wanted, entry, progress, lambda entry: record.write_machine(output, "here", entry))

    def read():
        return json.loads(output.read_text())["machines"]["here"]

    return run, read


def test_an_interrupted_run_keeps_what_it_has_and_goes_on_from_there(measured, loaded):
    run, read = measured

    def stopped(section):
        section.keep({"rounds": 1})
        sys.exit(143)  # as on SIGTERM

    wanted = {"a": lambda section: [1.0], "b": stopped, "c": lambda section: [3.0]}
    with pytest.raises(SystemExit):
        run(wanted)
    found = read()
    assert (found["a"], found["b"]) == ([1.0], {"rounds": 1})
    assert {name: one["finished"] for name, one in found["sections"].items()} == {"a": True, "b": False}
    to_measure = loaded("bench").to_measure
    assert to_measure(found, list(wanted), "", True) == ["b", "c"]
    assert to_measure(found, list(wanted), "c", False) == ["c"]
    assert to_measure(found, list(wanted), "", False) == ["a", "b", "c"]
    run({"b": lambda section: {"rounds": 2}, "c": wanted["c"]})
    assert (read()["a"], read()["b"], read()["c"]) == ([1.0], {"rounds": 2}, [3.0])
    assert to_measure(read(), list(wanted), "", True) == []


def test_a_section_that_fails_is_marked_and_the_next_one_begins(measured, loaded):
    run, read = measured

    def failing(section):
        section.keep([1.0])
        raise loaded("children").FailedError("no answer within 15 s")

    run({"a": failing, "b": lambda section: [2.0]})
    assert read()["a"] == [1.0]
    assert read()["sections"]["a"]["finished"] is False
    assert read()["sections"]["a"]["notes"] == ["failed: no answer within 15 s"]
    assert read()["b"] == [2.0]


def test_a_section_that_found_no_time_is_for_the_next_run(measured, loaded):
    run, read = measured
    run({"a": lambda section: [], "b": lambda section: [2.0]})
    assert loaded("bench").to_measure(read(), ["a", "b"], "", True) == ["a"]


def test_each_section_has_its_time_and_all_together_that_of_the_run(loaded, inputs):
    bench = loaded("bench")
    every = replace(inputs, lacks={})
    assert set(bench.sections(every, bench.FULL)) - set(bench.sections(inputs, bench.FULL)) == {"precision"}
    for scale in (bench.FULL, bench.QUICK):
        assert list(scale.seconds) == ["prepare", *bench.sections(every, scale)]
        assert sum(scale.seconds.values()) <= 60 * scale.minutes


def test_an_unknown_section_is_refused(loaded):
    with pytest.raises(SystemExit, match="no section speed: expected some of scoring, growth"):
        loaded("bench").to_measure({}, ["scoring", "growth"], "speed", False)


def test_the_record_is_replaced_whole_or_not_at_all(loaded, tmp_path):
    record, output = loaded("record"), tmp_path / "record.json"
    record.write_section(output, "marks", {"seeds": 5})
    record.write_machine(output, "A", {"speed": 1.23456})
    record.write_machine(output, "B", {"speed": 2.0})
    record.write_machine(output, "A", {"speed": 3.0})
    whole = {"machines": {"B": {"speed": 2.0}, "A": {"speed": 3.0}}, "marks": {"seeds": 5}}
    assert json.loads(output.read_text()) == whole
    with pytest.raises(TypeError):
        record.write_machine(output, "C", {"speed": object()})
    assert json.loads(output.read_text()) == whole
    record.write_machine(output, "B", None)
    assert list(record.read(output)["machines"]) == ["A"]


@pytest.mark.parametrize(
    ("flags", "words", "lacks"),
    [
        ("avx2 fma", "AVX2", {"bf16", "int8"}),
        ("avx2 avx_vnni", "AVX2 with VNNI", {"bf16"}),
        ("avx2 avx512f avx512_vnni avx512_bf16", "AVX512 with bf16 and VNNI", set()),
    ],
    ids=["avx2", "vnni", "all"],
)
def test_a_processor_is_known_by_its_instructions(loaded, tmp_path, monkeypatch, flags, words, lacks):
    record = loaded("record")
    monkeypatch.setattr(record, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(record, "_openvino_has", lambda capability: True)
    monkeypatch.setattr(record.os, "cpu_count", lambda: 6)
    record.CPUINFO.write_text(AVX2.replace("avx2 fma", flags))
    assert set(record.lacking()) == lacks
    assert set(record.lacking(["int8"])) == lacks | {"int8"}
    assert record.label() == f"Intel Core i7-8700, {words}, 6 cores"
    assert record.label(["bf16"]).endswith("6 cores, switched off: bf16")


def test_openvino_has_a_say_in_what_is_emulated(loaded, tmp_path, monkeypatch):
    record = loaded("record")
    monkeypatch.setattr(record, "CPUINFO", tmp_path / "absent")
    monkeypatch.setattr(record, "_openvino_has", lambda capability: capability != "BF16")
    assert set(record.lacking()) == {"bf16"}


@pytest.fixture
def inputs(loaded, tmp_path):
    return loaded("inputs").Inputs(folder=tmp_path, size=64, batch_size=8, lacks={"bf16": "none", "int8": "none"})


def test_a_contender_that_hangs_or_dies_is_given_up(loaded, inputs, run_of, tmp_path, monkeypatch):
    children = loaded("children")
    ready = 'import sys; print(\'{"versions": "v", "works": ["score"]}\', flush=True); sys.stdin.readline()\n'
    (tmp_path / "hanging.py").write_text(ready + "import threading; threading.Event().wait()")
    (tmp_path / "dying.py").write_text(ready + "sys.exit('out of memory')")
    monkeypatch.setattr(children, "PEERS", tmp_path)
    monkeypatch.setattr(loaded("inputs").Inputs, "films", lambda self, count: tmp_path)
    contenders = [children.Contender(name=name, script=name, theirs=name == "peer") for name in ("hanging", "dying")]
    absent = children.Contender(name="peer", script="peer")
    section = run_of({"a": 60.0}, 60.0)[0].begin("a")
    with children.started([*contenders, absent], inputs, 1, section) as (there, failed):
        assert "is not installed" in failed["peer"]
        monkeypatch.setattr(section, "step_limit", lambda: 0.1)
        with pytest.raises(children.FailedError, match="no answer within 0 s"):
            there[0].seconds("score")
        monkeypatch.setattr(section, "step_limit", lambda: 60.0)
        with pytest.raises(children.FailedError, match="out of memory"):
            there[1].seconds("score")


@pytest.mark.parametrize(
    ("code", "limit", "told"),
    [("import threading; threading.Event().wait()", 0.1, "no end within 0 s"), ("raise SystemExit(3)", 60, "status 3")],
    ids=["hangs", "fails"],
)
def test_a_command_that_hangs_or_fails_is_given_up(loaded, code, limit, told):
    children = loaded("children")
    for run in (children.timed, children.output_of):
        with pytest.raises(children.FailedError, match=told):
            run((sys.executable, "-c", code), limit)


class Runner:
    """A contender that answers at once; from its `fails` turn on it does not."""

    startup, versions, works = 2.0, "v 1", ("score",)

    def __init__(self, loaded, clock, seconds, *, fails=None, **told):
        children = loaded("children")
        self.contender = children.Contender(**{"name": "one", "script": "any", **told})
        self.error, self.clock, self.took, self.fails = children.FailedError("it is gone"), clock, seconds, fails
        self.turns = self.killed = 0

    def warm_up(self, works):
        return {work: self.seconds(work) for work in works}

    def seconds(self, work):
        self.turns += 1
        if self.turns == self.fails:
            raise self.error
        self.clock.now += self.took
        return self.took

    def take(self, films):
        self.films = films

    def memory(self):
        return {"own_mb": 1.0, "workers_mb": 2.0}

    def answer(self):
        return np.zeros((2, 14))

    def kill(self):
        self.killed += 1


@pytest.fixture
def contest(loaded, inputs, run_of, monkeypatch):
    monkeypatch.setattr(loaded("inputs").Inputs, "films", lambda self, count: count)
    progress, clock, _ = run_of({"scoring": 100.0}, 100.0)
    section = progress.begin("scoring")

    def made(*told):
        runners = [Runner(loaded, clock, **one) for one in told]
        return loaded("scoring").Contest(inputs, 64, section, runners, {}), runners

    return made


def test_a_slow_machine_takes_fewer_films(contest):
    """16 films in 20 s are 80 s for a round of 64; of the 80 s that are left, two rounds take 40 s each: 32 films."""
    one, (runner,) = contest({"seconds": 20.0})
    estimate = one.warm_up()
    assert estimate == 80.0
    one.fit(estimate, 5)
    assert one.films == 32
    assert one.section.notes == ["32 films per round instead of 64, for lack of time"]
    assert one.round(0)
    assert runner.films == 32
    assert one.result(1)["contenders"][0]["films_per_second"] == 32 / 20


def test_no_machine_takes_fewer_films_than_three_batches(contest):
    one, _ = contest({"seconds": 60.0})
    one.fit(one.warm_up(), 5)
    assert one.films == 24


def test_a_contender_that_fails_keeps_its_rounds_and_the_others_go_on(contest):
    one, (failing, other) = contest({"seconds": 1.0, "fails": 3}, {"seconds": 2.0, "name": "other"})
    one.warm_up()
    assert all(one.round(number) for number in range(3))
    found = one.result(3)
    assert [len(row["rounds"]) for row in found["contenders"]] == [1, 3]
    assert found["left_out"] == [{"name": "one", "why": "it is gone"}]
    assert (failing.killed, other.killed) == (1, 0)


def test_a_round_that_is_over_its_time_is_cut_but_not_the_first(contest):
    one, _ = contest({"seconds": 30.0}, {"seconds": 45.0, "name": "other"})
    assert one.round(0)  # 75 s of 100
    assert not one.round(1)
    assert [len(row["rounds"]) for row in one.result(2)["contenders"]] == [2, 1]


def test_a_slow_contender_takes_part_in_one_round(contest):
    one, _ = contest({"seconds": 1.0, "seldom": True}, {"seconds": 1.0, "name": "other"})
    assert all(one.round(number) for number in range(4))
    assert [len(row["rounds"]) for row in one.result(4)["contenders"]] == [1, 4]


def test_floors_that_the_machine_lacks_are_not_asked_for(contest):
    one, _ = contest()
    there = SimpleNamespace(works=("product fp32", "product bf16", "decode 1", "steady 1"))
    assert one.floor_works(there) == ["product fp32", "decode 1", "steady 1"]


def test_a_machine_without_bf16_and_int8_has_no_such_contenders(loaded, inputs):
    names = {one.name for one in loaded("scoring").own_contenders(inputs)}
    assert names == {f"cxrscore, {backend} fp32" for backend in ("openvino", "torch", "keras")}
    assert loaded("inputs").quantize_command(inputs) is None
    assert loaded("inputs").onnx_command(inputs) is None
