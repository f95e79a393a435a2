"""A codec that crashes, hangs, eats memory or prints costs its own film and no other."""

import hashlib
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from gates import wait_for_end

from cxrscore.images import Preprocessing, Status, decoder_pool, stream_films
from cxrscore.images.decode import load_film
from cxrscore.images.decoder_pool import DecoderPool

FAILS = (str(Path(__file__).with_name("decoder_that_fails.py")),)
SIZE = Preprocessing(size=32)
NAMES = ["a.png", "babble.png", "crash.png", "d.png", "greedy.png", "hang.png", "m.png", "once.png", "z.png"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in NAMES:
        cv2.imwrite(str(tmp_path / name), rng.integers(0, 256, (40, 50), dtype=np.uint8))
    return tmp_path


@pytest.fixture(autouse=True)
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the film that hangs has little time: on a busy machine another one may need as much."""
    monkeypatch.setattr(decoder_pool, "COMMAND", FAILS)
    monkeypatch.setattr(decoder_pool, "TIMEOUT_SECONDS", 1.0)
    seconds = property(lambda order: 1.0 if "hang" in order.path.name else 3600.0)
    monkeypatch.setattr(decoder_pool._Order, "seconds", seconds)


@pytest.mark.parametrize("workers", [1, 3])
def test_each_costs_its_own_film_and_no_pixel_of_another(folder: Path, workers: int) -> None:
    found = dict(zip(NAMES, stream_films(folder, NAMES, SIZE, workers=workers), strict=True))
    bad = {name: film.film for name, film in found.items() if film.film.status != Status.OK}
    assert {name: film.status for name, film in bad.items()} == {
        "crash.png": Status.CRASHED,
        "greedy.png": Status.CRASHED,
        "hang.png": Status.TIMED_OUT,
    }
    assert bad["crash.png"].message == "its decoder crashed (SIGSEGV), 2 times"
    assert bad["greedy.png"].message == "decoding needs too much memory"
    assert bad["hang.png"].message == "its decoder took longer than 1 s, 2 times"
    for name in set(NAMES) - set(bad):
        np.testing.assert_array_equal(found[name].pixels, load_film(folder / name, SIZE).pixels)
    for name, film in found.items():
        assert film.film.sha256 == hashlib.sha256((folder / name).read_bytes()).hexdigest()


def test_a_film_is_tried_twice(folder: Path) -> None:
    pool = DecoderPool(1, SIZE)
    assert pool.prepare(folder / "once.png").film.status == Status.OK
    assert (folder / "once.mark").exists()
    pool.close()


def test_the_processes_end_with_whoever_started_them(folder: Path) -> None:
    """Even where it is killed and can close nothing."""
    code = (
        "import os, sys, time; from pathlib import Path; from cxrscore.images import Preprocessing\n"
        "from cxrscore.images.decoder_pool import DecoderPool\n"
        f"pool = DecoderPool(1, Preprocessing(size=32)); pool.prepare(Path({str(folder / 'a.png')!r}))\n"
        "print(pool._all[0]._process.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    wait_for_end(int(done.stdout))
