"""A codec that crashes, hangs, eats memory or prints costs its own film and no other."""

import hashlib
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from cxrscore.films import Preprocessing, Status, decoders, stream_films
from cxrscore.films.decoders import Decoders
from cxrscore.films.prepared import prepare

FAILS = (sys.executable, str(Path(__file__).with_name("decoder_that_fails.py")))
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
    monkeypatch.setattr(decoders, "COMMAND", FAILS)
    monkeypatch.setattr(decoders, "SECONDS", 3.0)


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
    assert bad["hang.png"].message == "its decoder took longer than 3 s, 2 times"
    for name in set(NAMES) - set(bad):
        np.testing.assert_array_equal(found[name].pixels, prepare(folder / name, SIZE).pixels)
    for name, film in found.items():
        assert film.film.sha256 == hashlib.sha256((folder / name).read_bytes()).hexdigest()


def test_a_film_is_tried_twice(folder: Path) -> None:
    pool = Decoders(1, SIZE)
    assert pool.prepare(folder / "once.png").film.status == Status.OK
    assert (folder / "once.mark").exists()
    pool.close()


def test_the_processes_end_with_whoever_started_them(folder: Path) -> None:
    """Even where it is killed and can close nothing."""
    code = (
        "import os, sys, time; from pathlib import Path; from cxrscore.films import Preprocessing\n"
        "from cxrscore.films.decoders import Decoders\n"
        f"pool = Decoders(1, Preprocessing(size=32)); pool.prepare(Path({str(folder / 'a.png')!r}))\n"
        "print(pool._all[0]._process.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    child = Path("/proc") / done.stdout.strip()
    deadline = time.monotonic() + 20
    while child.exists() and "Z" not in (child / "stat").read_text().split()[2] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not child.exists() or "Z" in (child / "stat").read_text().split()[2]
