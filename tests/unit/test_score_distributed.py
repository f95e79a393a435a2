"""What a worker of a run opens, in this process: the same shards, and a refusal where something is amiss."""

import dataclasses
import json
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
from made_models import made_films, made_model
from made_run import contents

from cxrscore.errors import CheckError, InputError, WorkerError
from cxrscore.executors import LocalExecutor
from cxrscore.images import require_films
from cxrscore.scorefile import open_run
from cxrscore.scoring import ScoreOptions, distributed, run_context, score_films
from cxrscore.scoring.run_context import prepare_run


class Here(LocalExecutor):
    """Computes in this process, and counts."""

    processes = ()

    def run(self, work, done, *, processes, address=None):
        self.processes = (*self.processes, processes)
        compute = dataclasses.replace(work, arguments=json.loads(json.dumps(work.arguments))).open()
        for item in work.items:
            done(item, compute(item))


@pytest.fixture(autouse=True)
def decoders(monkeypatch):
    """A worker closes its decoders when its process ends, which here is the end of the test."""
    with ExitStack() as stack:
        monkeypatch.setattr(distributed, "atexit", SimpleNamespace(register=stack.callback))
        yield


@pytest.fixture
def home(tmp_path, monkeypatch):
    made_films(tmp_path / "films", films=70)  # two shards
    made_model(tmp_path / "a", 1)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def here(monkeypatch):
    executor = Here()
    monkeypatch.setattr(distributed.plugins, "get_executor", lambda name: executor)
    return executor


def options(**changed):
    given = {"films": Path("films"), "output": Path("out.h5"), "model": Path("a"), "backend": "torch", "device": "cpu"}
    return ScoreOptions(**{**given, "heatmaps": 1, "processes": 3, **changed})


@pytest.mark.parametrize("changed", [{}, {"tta": 2, "anonymize_paths": True, "heatmaps": 0}])
def test_shards_computed_elsewhere_make_the_same_file(home, here, changed):
    steps = []
    result = score_films(options(**changed), lambda *step: steps.append(step))
    assert (result.computed, result.scored, here.processes) == (71, 70, (1, 3))
    assert steps == [("scoring", 0, 71), ("scoring", 64, 71), ("scoring", 71, 71)]
    score_films(options(processes=1, output=home / "one.h5", **changed))
    one, other = contents(home / "one.h5"), contents(home / "out.h5")
    assert {name for name in one | other if one.get(name) != other.get(name)} == {"@provenance"}


class Answers(Here):
    """Tells that all is done, with this text, and computes nothing that is asked for later than the first item."""

    text = "0" * 64

    def run(self, work, done, *, processes, address=None):
        if processes == 1 and self.text == "0" * 64:
            super().run(work, done, processes=processes, address=address)
            return
        for item in work.items:
            done(item, self.text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0" * 64, r"executor 'local' reported that 2 shards are done, but 2 of them are missing\. Rerun"),
        ("not json", "executor 'local' returned 'not json', expected runtime information as JSON"),
        ('{"device": "cpu"}', "expected runtime information as JSON"),
    ],
)
def test_an_executor_is_not_believed(home, monkeypatch, text, words):
    executor = Answers()
    executor.text = text
    monkeypatch.setattr(distributed.plugins, "get_executor", lambda name: executor)
    with pytest.raises(WorkerError, match=words):
        score_films(options())
    assert not (home / "out.h5").exists()


def begun(**changed):
    """A run that is begun, and what its workers are handed."""
    own = options(**changed)
    files = run_context.load_models(own)
    prepared = prepare_run(own, files, require_films(own.films))
    open_run(own.output, prepared.paths, prepared.findings, prepared.fingerprint)
    return distributed._work(own, files, "shard_task", items=(0,))


@pytest.mark.usefixtures("home")
def test_a_worker_that_computes_with_something_else_is_refused(monkeypatch):
    work = begun()
    monkeypatch.setattr("cxrscore_torch.model.TorchModel.framework", "torch 1.0", raising=False)
    monkeypatch.setattr("cxrscore_torch.model.TorchModel.__setattr__", _but_framework)
    with pytest.raises(InputError, match=r"differs in framework: .* -> \"torch 1\.0\""):
        work.open()


def _but_framework(model, name, value):
    if name != "framework":
        object.__setattr__(model, name, value)


def test_a_worker_that_does_not_reach_the_folders_says_so(home):
    work = begun()
    (home / "films").rename(home / "elsewhere")
    with pytest.raises(InputError, match=r"a worker finds no folder .*films: put films, models and output on a disk"):
        work.open()
    (home / "elsewhere").rename(home / "films")
    (home / "out.h5.parts").rename(home / "gone")
    with pytest.raises(InputError, match=r"a worker finds no run folder of .*out\.h5"):
        work.open()


def test_a_worker_whose_logits_are_not_those_of_the_model_is_refused(home):
    made_model(home / "a", 1, drift=0.1)
    with pytest.raises(CheckError, match="a: "):
        begun().open()


def test_paths_are_absolute_and_decoders_are_divided():
    given = distributed._work(options(workers=7, overwrite=True), (), "shard_task", items=(0,)).arguments["options"]
    assert given["films"].startswith("/")
    assert given["model"][0].startswith("/")
    assert (given["workers"], given["overwrite"]) == (2, False)
    shared = distributed._work(options(workers=7, address="head:1"), (), "shard_task", items=(0,)).arguments["options"]
    assert shared["workers"] == 7
