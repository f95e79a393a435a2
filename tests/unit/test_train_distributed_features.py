"""Frozen layers that other processes run: the files of one process, whatever becomes of workers, and nothing left."""

import dataclasses
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from training import SIDE, Learner, some_data, some_model

from cxrscore.errors import InputError, WorkerError, WriteError
from cxrscore.executors import LocalExecutor, local
from cxrscore.models.model_file import load_model
from cxrscore.progress import no_progress
from cxrscore.synthetic.phantoms import make_phantoms
from cxrscore.training import TrainOptions, train_model
from cxrscore.training.features import FeatureSource, cache, distributed, feature_cache_folder, worker
from cxrscore.training.model_metadata import recipe_of

pytestmark = pytest.mark.slow

torch_model = pytest.importorskip("cxrscore_torch.model")
FILMS = 40


class Here(LocalExecutor):
    """Computes in this process, the last block first; ``before`` is called then, ``after`` with the folder."""

    works = ()

    def __init__(self, before=lambda work: None, after=lambda folder: None):
        self._before, self._after = before, after

    def run(self, work, done, *, processes, address=None):
        self.works = (*self.works, work)
        self._before(work)
        compute = dataclasses.replace(work, arguments=json.loads(json.dumps(work.arguments))).open()
        for item in reversed(work.items):
            done(item, compute(item))
        self._after(Path(work.arguments["folder"]))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("extract")
    make_phantoms(folder, films=FILMS, patients=FILMS, side=64, seed=5)
    return folder


@pytest.fixture
def run(home, tmp_path, monkeypatch):
    """run(name, executor, ...) -> the model's tensors and the kept files of a run in a cache of its own."""

    def trained(name, executor=None, **changed):
        monkeypatch.setenv("CXRSCORE_CACHE", str(tmp_path / name))
        if executor is not None:
            monkeypatch.setattr(distributed.plugins, "get_executor", lambda name: executor)
        small = {"backend": "torch", "device": "cpu", "architecture": "tinycnn", "weights": "none", "size": SIDE}
        options = {**small, "epochs": 3, "learning_rate": 1e-2, "workers": 2, **changed}
        train_model(TrainOptions(films=home / "films", output=tmp_path / f"{name}.safetensors", **options))
        tensors = load_model(tmp_path / f"{name}.safetensors").tensors
        return {name: tensor.tobytes() for name, tensor in tensors.items()}, files()

    return trained


def files():
    """By name; a folder among them would be one that an extraction has left."""
    return {path.name: path.is_file() and path.read_bytes() for path in feature_cache_folder().iterdir()}


@pytest.mark.parametrize(
    "changed", [{}, {"augmentations": 2}, {"trainable": "last-block"}, {"trainable": "last-block", "augmentations": 2}]
)
def test_outputs_of_workers_are_those_of_one_process(run, changed):
    wanted, here = run("one", **changed), Here()
    assert run("two", here, processes=2, **changed) == wanted
    assert len(wanted[1]) == (3 if "augmentations" in changed else 1) == len(here.works)
    assert {work.arguments["copy"] for work in here.works} == ({0, 1, None} if "augmentations" in changed else {None})


def test_the_frozen_backend_is_that_of_the_workers_too(run):
    pytest.importorskip("openvino", reason="openvino is not installed")
    assert run("two", Here(), processes=2, feature_backend="openvino") == run("one", feature_backend="openvino")


def test_blocks_are_whole_batches_enough_for_all_and_not_too_large():
    batches = [np.arange(8 * n, min(8 * n + 8, 1100)) for n in range(138)]

    def sizes(row, processes):
        blocks = distributed._blocks(batches, row, processes)
        np.testing.assert_array_equal(np.concatenate(blocks), np.arange(1100))
        return [len(block) for block in blocks]

    assert sizes(4096, 1) == [256, 256, 256, 256, 76]
    assert sizes(4096, 2) == [144] * 7 + [92]
    assert sizes(1 << 22, 1) == [16] * 68 + [12]
    assert sizes(1 << 24, 1) == [8] * 137 + [4]


def test_progress_counts_films(home, tmp_path, monkeypatch):
    monkeypatch.setenv("CXRSCORE_CACHE", str(tmp_path))
    monkeypatch.setattr(distributed.plugins, "get_executor", lambda name: Here())
    options = {"backend": "torch", "device": "cpu", "architecture": "tinycnn", "weights": "none", "size": SIDE}
    steps = []
    given = TrainOptions(films=home / "films", output=tmp_path / "m.safetensors", epochs=1, processes=3, **options)
    train_model(given, lambda *step: steps.append(step))
    assert [step[1:] for step in steps if step[0] == "running the frozen layers"] == [
        (done, FILMS) for done in (8, 16, 24, 32, 40)
    ]


def test_where_there_is_no_room_no_worker_is_asked(run, monkeypatch):
    monkeypatch.setattr(cache, "MAX_DISK_BYTES", 0)
    monkeypatch.setattr(cache, "MAX_MEMORY_BYTES", 0)
    wanted, here = run("one"), Here()
    assert run("two", here, processes=2) == wanted
    assert here.works == ()


def test_where_blocks_find_no_room_this_process_computes(run, monkeypatch):
    wanted = run("one")

    def full(path, data):
        raise WriteError("no space left")

    monkeypatch.setattr(worker, "atomic_write_bytes", full)
    assert run("two", Here(), processes=2) == wanted


def fails(run, executor, error, match):
    with pytest.raises(error, match=match):
        run("fails", executor, processes=2)
    assert files() == {}


def test_a_worker_that_computes_with_something_else_is_refused(run):
    class Other(Here):
        def run(self, work, done, **how):
            super().run(
                dataclasses.replace(work, arguments={**work.arguments, "by": ["torch 1.0", "cuda"]}), done, **how
            )

    fails(run, Other(), InputError, r"a worker runs the frozen layers with torch .* on cpu, .* with torch 1\.0 on cuda")


def test_a_worker_that_does_not_reach_the_cache_says_so(run):
    def gone(work):
        Path(work.arguments["store"]["path"]).unlink()

    fails(run, Here(gone), InputError, r"there is no complete image cache at .*\.store\. Use a cache folder")

    def moved(work):
        work.arguments["folder"] += "-elsewhere"

    fails(
        run, Here(moved), InputError, r"a worker finds no .*base\.safetensors; expected a cache folder that all reach"
    )


def test_a_worker_that_reads_other_tensors_says_so(run):
    def changed(work):
        path = distributed.base_file(Path(work.arguments["folder"]))
        path.write_bytes(path.read_bytes()[:-1] + b"x")

    fails(run, Here(changed), InputError, r"a worker finds .*base\.safetensors damaged")


class Silent(Here):
    """Its workers die before they can tell that a block is written."""

    def run(self, work, done, **how):
        super().run(work, lambda item, text: done(item, ""), **how)


@pytest.mark.parametrize("kind", [Here, Silent])
@pytest.mark.parametrize("damage", [lambda data: data[:-4], lambda data: bytes([data[0] ^ 1]) + data[1:]])
def test_a_block_that_is_not_what_was_written_is_refused(run, damage, kind):
    def damaged(folder):
        path = distributed.block_file(folder, 1)
        path.write_bytes(damage(path.read_bytes()))

    fails(run, kind(after=damaged), WorkerError, r"block-000001\.rows is not what a worker has written: ")


def test_a_block_that_is_gone_is_told(run):
    lost = Here(after=lambda folder: distributed.block_file(folder, 0).unlink())
    fails(run, lost, WorkerError, r"cannot read .*block-000000\.rows, which a worker has written: No such file")


def test_the_folder_is_for_its_owner_alone_and_what_a_killed_run_left_goes_after_a_day(tmp_path):
    (tmp_path / "killed").mkdir()
    with distributed._private_folder(tmp_path) as own:
        assert own.stat().st_mode & 0o777 == 0o700
        distributed.block_file(own, 0).touch()
        cache._prune(tmp_path, tmp_path / "outputs-1.rows", 0)
        assert own.is_dir()
        left = (tmp_path / "killed").rename(tmp_path / f"{own.name}-left")
        distributed.block_file(left, 0).touch()
        os.utime(left, (time.time() - 24 * 3600 - 60,) * 2)
        cache._prune(tmp_path, tmp_path / "outputs-1.rows", 0)
        assert list(tmp_path.iterdir()) == [own]
    assert list(tmp_path.iterdir()) == []


def test_no_folder_where_one_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match="cannot make"), distributed._private_folder(tmp_path / "file"):
        pass


def test_processes_are_none_of_the_recipe_and_have_frozen_layers_to_run():
    options = TrainOptions(processes=4, executor="ray", address="head:1")
    assert recipe_of(options) == recipe_of(TrainOptions())
    with pytest.raises(InputError, match="trainable is all, so no frozen layers are left for other processes to run"):
        TrainOptions(trainable="all", processes=2)
    with pytest.raises(InputError, match="processes is 0, expected 1 or more"):
        TrainOptions(processes=0)


def test_a_backend_that_cannot_run_its_layers_apart_is_refused():
    whole = Learner(some_model().spec)
    assert not FeatureSource(whole, some_data(), TrainOptions(backend="none", size=SIDE), no_progress).frozen
    with pytest.raises(InputError, match="backend 'none' cannot run the frozen layers apart: leave --processes out"):
        FeatureSource(whole, some_data(), TrainOptions(backend="none", size=SIDE, processes=2), no_progress)


DYING = """
import os, signal
from pathlib import Path
from cxrscore.executors import worker as process
from cxrscore.training.features import worker

inner = worker.feature_task

def once(note):
    note = Path({notes!r}) / note
    if not note.exists():
        note.touch()
        os.kill(os.getpid(), signal.SIGKILL)

def open_blocks(**arguments):
    compute = inner(**arguments)
    def dying(item):
        if item == 0:
            once("before")
        if item == 2 and {fails!r}:
            raise ValueError("as it was told")
        text = compute(item)
        if item == 1:
            once("after")
        return text
    return dying

worker.feature_task = open_blocks
process.main()
"""


@pytest.mark.slow
def test_killed_workers_change_nothing_and_an_error_is_told(run, tmp_path, monkeypatch):
    """One dies before it has written its block, and one after."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    wanted, notes = run("whole", processes=2), tmp_path / "notes"
    notes.mkdir()
    monkeypatch.setattr(local, "COMMAND", ("-c", DYING.format(notes=str(notes), fails=False)))
    assert run("killed", processes=2) == wanted
    assert sorted(path.name for path in notes.iterdir()) == ["after", "before"]
    monkeypatch.setattr(local, "COMMAND", ("-c", DYING.format(notes=str(notes), fails=True)))
    fails(run, None, WorkerError, r"a worker failed at item 2: .*ValueError: as it was told")
