"""Films are read and augmented while the network runs on those before them, as many ahead as keep all threads busy."""

import time

import numpy as np
import pytest
from training import SIDE, some_data, some_model

from cxrscore.progress import silent
from cxrscore.train import TrainOptions
from cxrscore.train.outputs import Outputs, parts_of


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CXRSCORE_CACHE", str(tmp_path / "cache"))


def reading(workers, trainable="all", pause=0.0):
    """Outputs of 80 films, and the rows that were read so far."""
    data, read = some_data(train=80), []
    unit = data.store.unit

    def noted(row):
        read.append(row)
        time.sleep(pause)
        return unit(row)

    data.store.unit = noted
    options = TrainOptions(backend="none", size=SIDE, trainable=trainable, workers=workers)
    return Outputs(some_model(trainable), data, options, silent), read


def settled(read, count):
    """Waits until so many films were read, and then whether it stays at that."""
    deadline = time.monotonic() + 20
    while len(read) < count and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    return len(read)


@pytest.mark.parametrize(("workers", "ahead"), [(1, 1), (4, 1), (6, 2), (16, 4)])
def test_batches_are_made_ahead_of_the_one_in_use(workers, ahead):
    outputs, read = reading(workers)
    given = outputs.of(parts_of(np.arange(80)), None)
    for batch in (1, 2):
        next(given)
        assert settled(read, 8 * (batch + ahead)) == 8 * (batch + ahead)
    given.close()
    assert len(read) == 8 * (2 + ahead)


def test_films_for_the_frozen_layers_are_made_while_these_run():
    outputs, read = reading(1, "head")
    seen = []
    outputs._frozen = lambda films: seen.append(settled(read, min(83, 8 * (len(seen) + 2)))) or films[:, 0, :4]
    assert outputs.kept(None)
    assert seen == [16, 24, 32, 40, 48, 56, 64, 72, 80, 83, 83]


def test_a_run_that_is_left_reads_no_more_films():
    outputs, read = reading(1, pause=0.02)
    given = outputs.of(parts_of(np.arange(80)), None)
    next(given)
    given.close()
    assert len(read) < 16
    found = len(read)
    time.sleep(0.1)
    assert len(read) == found


def test_a_film_that_cannot_be_read_ends_the_run_with_its_error():
    outputs, _ = reading(2)
    outputs._data.store.unit = lambda row: 1 // 0
    with pytest.raises(ZeroDivisionError):
        list(outputs.of(parts_of(np.arange(80)), None))
