"""Thousands of changed films, archives, scores files and models; and that the fuzzer sees what it is there to see."""

import faulthandler
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import fuzz
import pytest
from fuzz_kinds import KINDS, Kind

for _module in ("pydicom", "imagecodecs"):
    pytest.importorskip(_module)

INPUTS = 12_500
"""Of all kinds together; about half a minute."""


@pytest.mark.slow
def test_only_documented_errors_leave() -> None:
    command = [sys.executable, fuzz.__file__, "--seed", "0", "--inputs", str(INPUTS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout
    counts = {name: int(count) for name, count in re.findall(r"^(\w+): (\d+) inputs", done.stdout, re.M)}
    shares = sum(kind.share for kind in KINDS.values())
    assert counts == {name: round(INPUTS * kind.share / shares) for name, kind in KINDS.items()}
    assert max(int(size) for size in re.findall(r"peak (\d+) MB", done.stdout)) < 1000


@pytest.mark.parametrize("name", KINDS)
def test_an_input_depends_on_seed_and_number_alone(name: str) -> None:
    one, other = KINDS[name](), KINDS[name]()
    inputs = [one.input(0, number) for number in range(20)]
    assert [other.input(0, number) for number in reversed(range(20))] == inputs[::-1]
    assert len(set(inputs)) > 15
    assert inputs != [one.input(1, number) for number in range(20)]


@pytest.mark.parametrize("name", KINDS)
def test_sound_files_pass(name: str, tmp_path: Path) -> None:
    kind = KINDS[name]()
    ends = [kind.run(data, tmp_path) for data in kind.sound()]
    assert all(end.startswith(("OK", "read")) for end in ends), ends


class Bad(Kind):
    name, suffix = "bad", ".bad"

    def __init__(self, mark: Path) -> None:
        super().__init__()
        self.mark = mark

    def sound(self) -> list[bytes]:
        return [b"sound"]

    def input(self, seed: int, number: int) -> bytes:
        return bytes([number])

    def run(self, data: bytes, folder: Path) -> str:
        if data[0] == 3:
            raise KeyError("undocumented")
        if data[0] == 5:
            faulthandler.disable()  # pytest's, which would tell of it at length
            os.kill(os.getpid(), signal.SIGSEGV)
        if data[0] == 7:
            self.mark.symlink_to(f"/proc/{os.getpid()}")
            signal.pause()
        if data[0] == 8:
            bytearray(fuzz.MEMORY)
        return "fine"


def test_the_fuzzer_tells_crashes_hangs_full_memory_and_exceptions(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bad, now = Bad(tmp_path / "hangs"), 0.0

    def monotonic() -> float:
        """Time passes only while there is a process that hangs, to which the mark leads."""
        nonlocal now
        now += 2 * fuzz.PATIENCE * bad.mark.exists()
        return now

    monkeypatch.setattr(fuzz, "time", SimpleNamespace(monotonic=monotonic, sleep=time.sleep))
    tally = fuzz.fuzz([bad], seed=0, inputs=10)["bad"]
    assert tally.inputs == 10
    ends = {int(number): text for number, text in (failure.split(": ", 1) for failure in tally.failures)}
    assert (ends[5], ends[7]) == ("SIGSEGV", "hang")
    assert set(ends) == {3, 5, 7, 8}
    assert "KeyError" in ends[3]
    assert "MemoryError" in ends[8]
    assert tally.outcomes["fine"] == 6
