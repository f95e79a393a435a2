"""Films are read and augmented while the network runs on those before them, as many ahead as keep all threads busy."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from training import SIDE, some_data, some_model

from cxrscore.progress import no_progress
from cxrscore.training import TrainOptions
from cxrscore.training.features import FeatureSource, batches_of, source

GUARD = 600
"""Seconds after which a thread that waits for another one fails, so that a fault is no hang."""


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CXRSCORE_CACHE", str(tmp_path / "cache"))


class Pool(ThreadPoolExecutor):
    """Counts the films that it is asked for. That happens before a batch is given, whenever the films are read."""

    asked = 0
    left = threading.Event()

    def submit(self, *given):
        Pool.asked += 1
        return super().submit(*given)

    def shutdown(self, wait=True, *, cancel_futures=False):
        super().shutdown(wait=False, cancel_futures=cancel_futures)
        Pool.left.set()
        super().shutdown(wait=wait)


@pytest.fixture(autouse=True)
def pool(monkeypatch):
    Pool.asked, Pool.left = 0, threading.Event()
    monkeypatch.setattr(source, "ThreadPoolExecutor", Pool)


class Read:
    """Rows that were read so far."""

    def __init__(self):
        self.rows, self.change = [], threading.Condition()

    def add(self, row):
        with self.change:
            self.rows.append(row)
            self.change.notify_all()

    def wait(self, count):
        with self.change:
            assert self.change.wait_for(lambda: len(self.rows) >= count, GUARD)


def reading(workers, trainable="all", before=lambda row: None):
    """Outputs of 80 films, and the rows that were read so far."""
    data, read = some_data(train=80), Read()
    unit = data.store.unit

    def noted(row):
        read.add(row)
        before(row)
        return unit(row)

    data.store.unit = noted
    options = TrainOptions(backend="none", size=SIDE, trainable=trainable, workers=workers)
    return FeatureSource(some_model(trainable), data, options, no_progress), read


@pytest.mark.parametrize(("workers", "ahead"), [(1, 1), (4, 1), (6, 2), (16, 4)])
def test_batches_are_made_ahead_of_the_one_in_use(workers, ahead):
    outputs, read = reading(workers)
    given = outputs.of(batches_of(np.arange(80)), None)
    for batch in (1, 2):
        next(given)
        assert Pool.asked == 8 * (batch + ahead)
        read.wait(Pool.asked)
    given.close()
    assert sorted(read.rows) == list(range(8 * (2 + ahead)))


def test_films_for_the_frozen_layers_are_made_while_these_run():
    outputs, read = reading(1, "head")
    seen = []

    def frozen(films):
        read.wait(Pool.asked)
        seen.append(Pool.asked)
        return films[:, 0, :4]

    outputs._frozen = frozen
    assert outputs.is_cached(None)
    assert seen == [16, 24, 32, 40, 48, 56, 64, 72, 80, 83, 83]


def test_a_run_that_is_left_reads_no_more_films():
    """The film that is being read is read to its end; those behind it are left, and no thread is there to read them."""
    before = set(threading.enumerate())
    outputs, read = reading(1, before=lambda row: row < 8 or Pool.left.wait(GUARD))
    given = outputs.of(batches_of(np.arange(80)), None)
    next(given)
    read.wait(9)
    given.close()
    assert read.rows == list(range(9))
    assert set(threading.enumerate()) <= before


def test_a_film_that_cannot_be_read_ends_the_run_with_its_error():
    outputs, _ = reading(2)
    outputs._data.store.unit = lambda row: 1 // 0
    with pytest.raises(ZeroDivisionError):
        list(outputs.of(batches_of(np.arange(80)), None))
