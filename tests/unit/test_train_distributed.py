"""Several processes: who has which films, who does and says what, and that together they do what one does."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from training import SIDE, some_data, some_model

from cxrscore.contract import SupportsDistributed
from cxrscore.errors import CxrscoreError, InputError, LeakError, OtherProcessError
from cxrscore.losses import losses
from cxrscore.plugins import default_training_backend, get_backend
from cxrscore.progress import no_progress
from cxrscore.training import TrainOptions
from cxrscore.training.distributed import DistributedContext, ProcessRank, init_process_group
from cxrscore.training.loop import fit

GUARD = 600
"""Seconds after which one that waits for the others fails, so that a fault is no hang."""
BCE = next(loss for loss in losses if loss.name == "bce")


class Threads:
    """A group whose processes are threads."""

    def __init__(self, of):
        self.of, self.change, self.rounds, self.gone, self.left = of, threading.Condition(), {}, False, []

    def member(self, rank):
        return Member(self, rank)

    def end(self):
        with self.change:
            self.gone = True
            self.change.notify_all()


class Member:
    def __init__(self, threads, rank):
        self.threads, self.rank, self.round = threads, rank, 0

    def gather(self, data):
        self.round += 1
        with self.threads.change:
            given = self.threads.rounds.setdefault(self.round, {})
            given[self.rank] = data
            self.threads.change.notify_all()
            assert self.threads.change.wait_for(lambda: len(given) == self.threads.of or self.threads.gone, GUARD)
        if len(given) < self.threads.of:
            raise OtherProcessError("another one ended")
        return [given[rank] for rank in range(self.threads.of)]

    def leave(self):
        self.threads.left.append(self.rank)


def together(of, function):
    """What function(processes) returns or raises in each of so many."""
    threads = Threads(of)

    def run(rank):
        try:
            return function(
                DistributedContext(ProcessRank(rank=rank, world_size=of, local_rank=rank % 2), threads.member(rank))
            )
        except CxrscoreError as error:
            threads.end()
            return error

    with ThreadPoolExecutor(of) as pool:
        return list(pool.map(run, range(of)))


def test_the_place_is_that_of_the_environment():
    assert ProcessRank.from_environment({}) == ProcessRank(rank=0, world_size=1, local_rank=0, restarts=None)
    told = ProcessRank.from_environment(
        {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "TORCHELASTIC_RESTART_COUNT": "2"}
    )
    assert told == ProcessRank(rank=5, world_size=8, local_rank=1, restarts=2)
    assert ProcessRank.from_environment({"RANK": "1", "WORLD_SIZE": "2"}).local_rank == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"RANK": "x", "WORLD_SIZE": "2"}, "RANK is 'x' in the environment, expected a number"),
        ({"RANK": "-1", "WORLD_SIZE": "2"}, "RANK is '-1'"),
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE is 2 in the environment, but there is no RANK"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "expected a rank below the size"),
        ({"WORLD_SIZE": "0"}, "expected a rank below the size"),
    ],
)
def test_an_environment_that_cannot_be_is_refused(given, words):
    with pytest.raises(InputError, match=words):
        ProcessRank.from_environment(given)


@pytest.mark.parametrize("of", [2, 3, 8])
@pytest.mark.parametrize("count", [0, 1, 5, 7, 16])
def test_slices_follow_each_other_and_differ_by_one_at_most(of, count):
    own = [
        DistributedContext(ProcessRank(rank=rank, world_size=of), Threads(of).member(rank)).local_slice(count)
        for rank in range(of)
    ]
    assert [place for part in own for place in range(part.start, part.stop)] == list(range(count))
    sizes = [part.stop - part.start for part in own]
    assert max(sizes) - min(sizes) <= 1


def parts_of(batch, labels, of):
    """A batch as each of several processes has it: its films, its labels."""
    members = [
        DistributedContext(ProcessRank(rank=rank, world_size=of), Threads(of).member(rank)) for rank in range(of)
    ]
    parts = [member.local_batch(batch) for member in members]
    assert {part.of for part in parts} == {len(batch)}
    return [(part.places, part.labels(labels)) for part in parts]


def test_one_process_has_all_films_and_nobody_to_share_with():
    part = DistributedContext().local_batch(np.arange(5))
    assert (part.places.tolist(), part.of) == ([0, 1, 2, 3, 4], None)


def test_gradients_by_hand():
    """Logits w x at w = 0, so that d bce / d logit is 1/2 - y. Films x = 1, 2, 4 with labels 1, 0, unknown: together
    (-1/2 + 1 + 0) / 3 = 1/6. The first process has film 0: -1/2, a third of the batch; the second has films 1 and 2:
    (1 + 0) / 2 = 1/2, two thirds. -1/6 + 1/3 = 1/6."""
    x, y = np.array([1.0, 2.0, 4.0]), np.array([[1.0], [0.0], [np.nan]])

    def slope(places, labels):
        known = np.where(np.isnan(labels), 0.5, labels)
        return float(((0.5 - known[:, 0]) * x[places]).mean())

    own = parts_of(np.arange(3), y, 2)
    assert [slope(*part) for part in own] == [-0.5, 0.5]
    summed = sum(len(places) / 3 * slope(places, labels) for places, labels in own)
    assert summed == pytest.approx(slope(np.arange(3), y)) == pytest.approx(1 / 6)


def loss_of(logits, labels):
    return float(BCE.function(np, logits, labels, np.ones((2, labels.shape[1]))))


@pytest.mark.parametrize("of", [2, 3, 5])
@pytest.mark.parametrize("films", [1, 2, 4, 7])
def test_losses_and_slopes_add_up_whoever_has_none_or_only_unknown_ones(of, films):
    rng = np.random.default_rng(films)
    logits, labels = rng.normal(size=(films, 2)), rng.choice([0, 1, np.nan], (films, 2))
    labels[0] = np.nan
    move = np.zeros_like(logits)
    move[-1, 0] = 1e-6
    for given in (logits, logits + move):
        own = parts_of(np.arange(films), labels, of)
        summed = sum(len(places) / films * loss_of(given[places], known) for places, known in own)
        assert summed == pytest.approx(loss_of(given, labels), rel=1e-9)


def test_all_get_what_each_gave():
    table = np.arange(14, dtype=np.float32).reshape(7, 2)
    for count in (7, 2):
        for whole in together(3, lambda all_of: all_of.all_gather(count, lambda own: table[:count][own], 2)):  # noqa: B023
            np.testing.assert_array_equal(whole, table[:count])
    assert together(3, lambda all_of: all_of.all_reduce_and(True)) == [True] * 3
    assert together(3, lambda all_of: all_of.all_reduce_and(all_of.place.rank != 1)) == [False] * 3
    assert (
        together(2, lambda all_of: all_of.on_rank_zero_broadcast(lambda: {"rank": all_of.place.rank}))
        == [{"rank": 0}] * 2
    )


def fails_in(ranks, error):
    def work(processes):
        with processes.collective():
            if processes.place.rank in ranks:
                raise error
        return "went on"

    return work


def test_an_error_of_one_ends_all_and_is_said_by_the_first_that_met_it():
    error = LeakError("a leak")
    for ranks, speaker in (([1, 2], 1), ([0, 1, 2], 0), ([2], 2)):
        found = together(3, fails_in(ranks, error))
        assert found[speaker] is error
        others = [other for rank, other in enumerate(found) if rank != speaker]
        assert [(type(other), str(other), other.exit_code) for other in others] == [(OtherProcessError, "", 4)] * 2
    assert together(3, fails_in([], error)) == ["went on"] * 3


def test_the_first_of_each_machine_works_before_the_others():
    done = []
    together(4, lambda all_of: all_of.once_per_node(lambda: done.append(all_of.place.local_rank)))
    assert done == [0, 0, 1, 1]


def test_processes_that_differ_are_told_in_what():
    found = together(2, lambda all_of: all_of.check_same({"films": all_of.place.rank, "seed": 1}))
    assert "processes 0 and 1 do not have the same films: all need" in str(found[0])
    assert isinstance(found[1], OtherProcessError)
    assert together(2, lambda all_of: all_of.check_same({"films": 3})) == [None, None]


# --- joining


class Joins:
    """A backend with which several processes can train."""

    name, trains = "joins", True

    def __init__(self, of=2):
        self.threads, self.devices = Threads(of), []

    def join(self, *, rank, of, device):
        self.devices.append(device)
        return self.threads.member(rank)


def enter(backend, place, device="auto", batch_norm="frozen", alone=True, error=None):
    with init_process_group(lambda: backend, place, device=device, batch_norm=batch_norm, alone=alone) as processes:
        if error is not None:
            raise error
        return processes


def test_one_process_joins_nobody():
    assert enter(None, ProcessRank()).local_batch(np.arange(2)).of is None


def test_several_join_and_leave():
    backend = Joins()
    assert enter(backend, ProcessRank(rank=1, world_size=2, local_rank=1), "cpu").place.rank == 1
    assert (backend.devices, backend.threads.left) == (["cpu"], [1])
    with pytest.raises(InputError):
        enter(backend, ProcessRank(world_size=2), "cpu", error=InputError("mine"))
    assert backend.threads.left == [1, 0]


@pytest.mark.parametrize(
    ("backend", "settings", "words"),
    [
        (
            type("Plain", (), {"name": "plain"})(),
            {},
            "backend 'plain' trains in one process only, and there are several: use",
        ),
        (Joins(), {"batch_norm": "batch"}, "batch_norm is 'batch', but each of several processes"),
        (
            Joins(),
            {"alone": False},
            "several processes train, but --processes, --executor and --address work with one",
        ),
        (Joins(), {"device": "cuda:1"}, "device is 'cuda:1' for several processes"),
    ],
)
def test_what_cannot_be_together_is_refused_and_said_by_one_of_a_machine(backend, settings, words):
    with pytest.raises(InputError, match=words):
        enter(backend, ProcessRank(world_size=2), **settings)
    with pytest.raises(OtherProcessError, match=r"^$"):
        enter(backend, ProcessRank(rank=1, world_size=2, local_rank=1), **settings)


def test_only_the_first_says_that_it_was_stopped_or_that_another_one_is_gone():
    first, second = ProcessRank(world_size=2), ProcessRank(rank=1, world_size=2, local_rank=1)
    with pytest.raises(KeyboardInterrupt):
        enter(Joins(), first, error=KeyboardInterrupt())
    with pytest.raises(OtherProcessError, match=r"^$") as caught:
        enter(Joins(), second, error=KeyboardInterrupt())
    assert caught.value.exit_code == 130
    with pytest.raises(OtherProcessError, match="it ended"):
        enter(Joins(), first, error=OtherProcessError("it ended"))
    with pytest.raises(OtherProcessError, match=r"^$"):
        enter(Joins(), second, error=OtherProcessError("it ended"))
    with pytest.raises(InputError, match="mine"):  # what only this one met
        enter(Joins(), second, error=InputError("mine"))


def test_who_can():
    assert default_training_backend(parallel=True) == "torch"
    assert isinstance(get_backend("torch"), SupportsDistributed)
    assert not isinstance(get_backend("keras"), SupportsDistributed)


# --- the loop


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CXRSCORE_CACHE", str(tmp_path / "cache"))


def run_loop(folder, trainable, processes=None):
    """The model after three epochs of batches of four, the last one of one film; and its history."""
    given = {"size": SIDE, "batch_size": 4, "epochs": 3, "augmentations": 2, "standardize": False}
    options = TrainOptions(backend="none", trainable=trainable, **given)
    model, data, lines = some_model(trainable), some_data(train=9, valid=3), []
    rank = processes.place.rank if processes else 0
    kept = {"folder": folder / f"{rank}.run", "inputs": {}, "earlier": None, "processes": processes}
    fitted = fit(model, data, BCE, options, no_progress, lines.append, **kept)
    learner = {"head": model.head, "last-block": model.tail, "all": model}[trainable]
    rows = [[str(value) for name, value in row.items() if name != "seconds"] for row in fitted.history]
    return learner.seen, rows, sorted(path.name for path in folder.glob(f"{rank}.run/*")), model.run


@pytest.mark.parametrize("trainable", ["head", "all"])
def test_several_loops_do_what_one_does(tmp_path, trainable):
    alone, history, files, run = run_loop(tmp_path / "one", trainable)
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    several = together(2, lambda all_of: run_loop(tmp_path / "two", trainable, all_of))
    assert [each[1] for each in several] == [history, history]
    assert [each[2] for each in several] == [files, []]
    if trainable == "head":
        assert [each[3] for each in several] == [run, 0]  # the second finds what the first has kept
    for epoch, batches in enumerate(alone):
        for step, batch in enumerate(batches):
            own = [seen[epoch][step] for seen, *_ in several]
            assert {part.of for part in own} == {len(batch.inputs)}
            assert {part.rate for part in own} == {batch.rate}
            teaching = [part for part in own if not np.isnan(part.labels).all()]
            np.testing.assert_array_equal(np.concatenate([part.inputs for part in teaching]), batch.inputs)
            np.testing.assert_array_equal(np.concatenate([part.labels for part in teaching]), batch.labels)
    assert len(alone[0][-1].inputs) == 1
    assert sum(np.isnan(seen[0][-1].labels).all() for seen, *_ in several) == 1


def test_one_that_fails_alone_in_an_epoch_leaves_nobody_waiting(tmp_path):
    def work(processes):
        if processes.place.rank == 1:
            processes.once_per_node = lambda function: fail()
        return run_loop(tmp_path, "all", processes)

    def fail():
        raise InputError("its own")

    first, second = together(2, work)
    assert str(second) == "its own"
    assert isinstance(first, OtherProcessError)


def test_a_run_away_loss_is_said_by_the_first(tmp_path):
    def work(processes):
        options = TrainOptions(backend="none", size=SIDE, batch_size=4, epochs=3, trainable="all")
        model = some_model("all")
        model.losses = iter([float("nan")])
        kept = {"folder": tmp_path / "m.run", "inputs": {}, "earlier": None, "processes": processes}
        return fit(model, some_data(), BCE, options, no_progress, no_progress, **kept)

    first, second = together(2, work)
    assert "training diverged: epoch 1 ended with" in str(first)
    assert str(second) == ""
