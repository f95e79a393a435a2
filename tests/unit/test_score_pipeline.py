"""Scoring does several things at once: the numbers are those of one thing after the other, and nothing is left over."""

import subprocess
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace

import numpy as np
import pytest
from made_models import made_films, made_model
from made_run import contents
from numpy_backend import NumpyBackend, NumpyModel

from cxrscore import plugins
from cxrscore.errors import WriteError
from cxrscore.explainers import grad_cam
from cxrscore.images import Preprocessing, decoder_pool, stream_films, to_unit
from cxrscore.models.model_file import load_model
from cxrscore.scorefile import Run, open_scores
from cxrscore.scoring import ScoreOptions, inference, pipeline, score_films
from cxrscore.scoring.inference import float_batch, integer_batch
from cxrscore.system_resources import one_blas_thread

FILMS = 70  # and one that is none: two shards
BEFORE = []
"""Threads that were there before a test."""
GUARD = 600
"""Seconds after which a thread that waits for another one fails, so that a fault is no hang."""


class Slow(NumpyModel):
    """Keeps account of the batches that are in it at once; may be told to wait before each."""

    lanes, inside, most, batches = 2, 0, 0, 0
    before = staticmethod(lambda: None)
    turn = threading.Condition()

    def cam_parts(self, films, findings, *, cam_layer=None):
        with self.turn:
            Slow.inside, Slow.batches = Slow.inside + 1, Slow.batches + 1
            Slow.most = max(Slow.most, Slow.inside)
            self.turn.notify_all()
        try:
            Slow.before()
            return super().cam_parts(films, findings, cam_layer=cam_layer)
        finally:
            with self.turn:
                Slow.inside -= 1


class Fake(NumpyBackend):
    model = Slow


class Asked:
    """How often the thread that makes batches has asked for a result of a pool, "network" or "writer": it then does
    nothing else until the result is there."""

    def __init__(self):
        self.times, self.change = Counter(), threading.Condition()
        self.given = []  # futures of all that the pools were given

    def add(self, pool):
        with self.change:
            self.times[pool] += 1
            self.change.notify_all()

    def wait(self, pool, times):
        with self.change:
            assert self.change.wait_for(lambda: self.times[pool] >= times, GUARD)


@pytest.fixture
def asked(monkeypatch):
    asked = Asked()

    class Pool(ThreadPoolExecutor):
        def __init__(self, workers, name):
            super().__init__(workers, name)
            self.name = name

        def submit(self, *given):
            asked.given.append(super().submit(*given))
            return Result(self.name, asked.given[-1])

    class Result:
        def __init__(self, pool, future):
            self.pool, self.future = pool, future

        def result(self):
            asked.add(self.pool)
            return self.future.result()

        def done(self):
            return self.future.done()

    monkeypatch.setattr(pipeline, "ThreadPoolExecutor", Pool)
    return asked


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline")
    made_films(folder / "films", films=FILMS)
    made_model(folder / "model", 1)
    return folder


@pytest.fixture(autouse=True)
def backend(monkeypatch):
    monkeypatch.setattr(plugins, "get_backend", lambda name: Fake())
    monkeypatch.setattr(Slow, "before", staticmethod(lambda: None))
    Slow.inside = Slow.most = Slow.batches = 0
    BEFORE[:] = threading.enumerate()


def options(home, output, **changed):
    given = {"backend": "fake", "device": "cpu", "heatmaps": 2, "thumbnails": 0, "workers": 2, **changed}
    return ScoreOptions(films=home / "films", output=output, model=home / "model", **given)


def one_after_the_other(home):
    """Logits [71,2] and maps [71,2,h,w] as a plain loop has them: batches of eight that do not cross the 64th row. The
    last bits of a product depend on the number of threads, which is that of a run."""
    file = load_model(home / "model")
    model = NumpyBackend().build(file.spec, file.tensors)
    names = sorted(path.name for path in (home / "films").iterdir())
    films = list(stream_films(home / "films", names, Preprocessing(size=32), workers=1))
    logits, maps = np.full((len(names), 2), np.nan, np.float32), {}
    for rows in (range(64), range(64, len(names))):
        good = [row for row in rows if films[row].pixels is not None]
        for places in (good[start : start + 8] for start in range(0, len(good), 8)):
            batch = np.zeros((8, 32, 32), np.float32)
            for place, row in enumerate(places):
                batch[place] = to_unit(films[row].pixels)
            with one_blas_thread():
                parts = model.cam_parts(batch, [0, 1])
                drawn = grad_cam(parts)
            logits[places] = parts.logits[: len(places)]
            maps |= dict(zip(places, drawn.astype(np.float16), strict=False))
    return logits, maps


def test_the_numbers_are_those_of_one_thing_after_the_other(home, tmp_path):
    score_films(options(home, tmp_path / "out.h5"))
    scores, (logits, maps) = open_scores(tmp_path / "out.h5"), one_after_the_other(home)
    np.testing.assert_array_equal(scores.logit, logits)
    found = scores.heat_maps
    assert len(found.map) == 2 * FILMS
    for film, finding, one in zip(found.film, found.finding, found.map, strict=True):
        np.testing.assert_array_equal(one, maps[film][finding])
    first, second = found.finding.reshape(FILMS, 2).T
    rows = found.film.reshape(FILMS, 2)[:, 0]
    np.testing.assert_array_equal(scores.prob[rows, first], scores.prob[rows].max(axis=1))
    assert (first != second).all()


def test_models_that_take_no_levels_get_the_same(home, tmp_path, monkeypatch):
    score_films(options(home, tmp_path / "levels.h5"))
    monkeypatch.setattr(inference, "AcceptsIntegerImages", type(None))
    score_films(options(home, tmp_path / "floats.h5"))
    one, other = contents(tmp_path / "levels.h5"), contents(tmp_path / "floats.h5")
    assert {name for name in one if one[name] != other[name]} == {"@provenance"}


@pytest.mark.parametrize("lanes", [1, 2])
def test_as_many_batches_are_in_the_network_as_it_has_lanes(home, tmp_path, monkeypatch, asked, lanes):
    """A batch more is submitted before its thread waits, so that a further lane would have been started by then."""
    threads = []

    def before():
        asked.wait("network", 1)
        with Slow.turn:
            assert Slow.turn.wait_for(lambda: Slow.most >= lanes, GUARD)
        threads.append(len([name for name in own_threads() if name.startswith("network")]))

    monkeypatch.setattr(Slow, "lanes", lanes)
    monkeypatch.setattr(Slow, "before", staticmethod(before))
    score_films(options(home, tmp_path / "out.h5"))
    assert (Slow.most, Slow.batches, set(threads)) == (lanes, 9, {lanes})


def test_films_are_not_read_far_ahead_of_a_slow_network(home, tmp_path, monkeypatch, asked):
    """In the network, waiting for it, and read for the next: a batch each; and a film that ends the last of them."""
    taken, done, ahead, real = 0, 0, [], pipeline.stream_films

    def counted(*given, **named):
        nonlocal taken
        for film in real(*given, **named):
            taken += 1
            yield film

    def told(step, films, total):
        nonlocal done
        done = films

    def before():
        asked.wait("network", Slow.batches)
        ahead.append(taken - done)

    monkeypatch.setattr(pipeline, "stream_films", counted)
    monkeypatch.setattr(Slow, "lanes", 1)
    monkeypatch.setattr(Slow, "before", staticmethod(before))
    score_films(options(home, tmp_path / "out.h5"), told)
    assert taken == FILMS + 1
    assert max(ahead) == ahead[0] == 3 * 8 + 1


@pytest.fixture
def started(monkeypatch) -> list[subprocess.Popen[bytes]]:
    """The decoder processes."""
    started, real = [], decoder_pool._start_process
    monkeypatch.setattr(decoder_pool, "_start_process", lambda *given: started.append(real(*given)) or started[-1])
    return started


def test_a_second_decoder_starts_when_the_network_waits_for_films(home, tmp_path, monkeypatch, asked, started):
    real = pipeline.stream_films

    def late(*given, **named):
        for film in real(*given, **named):
            wait(asked.given, GUARD)
            yield film

    monkeypatch.setattr(pipeline, "stream_films", late)
    score_films(options(home, tmp_path / "out.h5"))
    assert len(started) == 2


def test_one_decoder_is_enough_for_a_slow_network(home, tmp_path, monkeypatch, asked, started):
    monkeypatch.setattr(Slow, "lanes", 1)
    monkeypatch.setattr(Slow, "before", staticmethod(lambda: asked.wait("network", Slow.batches)))
    score_films(options(home, tmp_path / "out.h5"))
    assert (len(started), Slow.batches) == (1, 9)


def test_an_error_in_writing_ends_the_run_and_nothing_goes_on(home, tmp_path, monkeypatch):
    def full(self, shard, content):
        raise WriteError("no space left")

    monkeypatch.setattr(Run, "write", full)
    with pytest.raises(WriteError, match="no space left"):
        score_films(options(home, tmp_path / "out.h5"))
    assert own_threads() == []
    assert not (tmp_path / "out.h5").exists()


def test_an_error_in_writing_the_last_shard_is_raised_too(home, tmp_path, monkeypatch):
    real = Run.write

    def full(self, shard, content):
        if shard == 1:
            raise WriteError("no space left")
        real(self, shard, content)

    monkeypatch.setattr(Run, "write", full)
    with pytest.raises(WriteError, match="no space left"):
        score_films(options(home, tmp_path / "out.h5"))
    assert [path.name for path in tmp_path.glob("out.h5.parts/s*")] == ["s00000000.h5"]


def test_one_shard_is_written_at_a_time_and_one_waits(home, tmp_path, monkeypatch, asked):
    """While a shard is written the next one is computed, and no more: that one waits until the first is written."""
    real, written, done = Run.write, [], 0

    def told(step, films, total):
        nonlocal done
        done = films

    def slow(self, shard, content):
        asked.wait("writer", shard + 1)
        written.append((shard, done, threading.current_thread().name.partition("_")[0]))
        real(self, shard, content)

    monkeypatch.setattr(Run, "write", slow)
    films = made_films(tmp_path / "films", films=3 * 64 + 5)
    (films / "broken.png").unlink()
    score_films(replace(options(home, tmp_path / "out.h5"), films=films), told)
    assert written == [(0, 128, "writer"), (1, 192, "writer"), (2, 197, "writer"), (3, 197, "writer")]


def test_ctrl_c_leaves_no_thread_and_no_process_and_keeps_what_was_ready(home, tmp_path, started):
    def stop(step, done, total):
        if done > 66:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_films(options(home, tmp_path / "out.h5"), stop)
    assert own_threads() == []
    assert started
    assert all(process.returncode is not None for process in started)
    assert [path.name for path in tmp_path.glob("out.h5.parts/s*")] == ["s00000000.h5"]


def test_an_error_of_the_network_is_raised(home, tmp_path, monkeypatch):
    def broken(self, films, findings, *, cam_layer=None):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(Slow, "cam_parts", broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        score_films(options(home, tmp_path / "out.h5"))
    assert own_threads() == []


def test_a_shard_of_no_film_that_can_be_read(tmp_path, home):
    (tmp_path / "films").mkdir()
    for number in range(70):
        (tmp_path / "films" / f"{number:02}.png").write_bytes(b"no film")
    seen = []
    given = replace(options(home, tmp_path / "out.h5"), films=tmp_path / "films")
    result = score_films(given, lambda step, done, total: seen.append(done))
    assert (result.scored, len(result.failed), seen[-1]) == (0, 70, 70)
    assert Slow.batches == 0 or Slow.batches == 1  # the blank film that tells the CAM layer
    assert not len(open_scores(tmp_path / "out.h5").heat_maps.map)


def own_threads():
    """Names of those that came with the test."""
    return [thread.name for thread in threading.enumerate() if thread not in BEFORE]


def test_batches_by_hand():
    shallow, deep = np.array([[0, 255], [51, 1]], np.uint8), np.array([[0, 65535], [257, 1]], np.uint16)
    np.testing.assert_array_equal(
        float_batch([shallow, deep], 3),
        np.array(
            [[[0, 1], [51 / 255, 1 / 255]], [[0, 1], [257 / 65535, 1 / 65535]], [[0, 0], [0, 0]]], dtype=np.float32
        ),
    )
    assert integer_batch([shallow], 1).dtype == np.uint8
    both = integer_batch([shallow, deep], 3)
    assert both.dtype == np.uint16
    assert both.tolist() == [[[0, 65535], [13107, 257]], [[0, 65535], [257, 1]], [[0, 0], [0, 0]]]
    np.testing.assert_array_equal(to_unit(both), float_batch([shallow, deep], 3))


def test_a_film_in_levels_of_both_depths_gives_one_unit():
    for kind in (np.uint8, np.uint16):
        levels = np.arange(np.iinfo(kind).max + 1, dtype=kind)
        exact = (levels.astype(np.float64) / np.iinfo(kind).max).astype(np.float32)
        out = np.full(levels.shape, np.nan, np.float32)
        assert to_unit(levels, out=out) is out
        np.testing.assert_array_equal(out, exact)
        np.testing.assert_array_equal(to_unit(levels), exact)
