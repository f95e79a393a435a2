"""How fast are the pages of `cxrscore view` over 100,000 films, and how much memory does its server take?

    python benchmarks/bench_view.py [ROWS]

Writes a scores file with random scores, 14 findings, 14 heat maps of 7 x 7 a film and 64 thumbnails, and a few
synthetic films of 1024 x 1024 pixels. The command runs as a process of its own; times are those of a client on the same
machine, medians over 30 requests of different films or orders, so that no page comes out of a cache. Needs no model,
no weights and no framework; about a minute.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from cxrscore.scorefile.columns import encode_texts
from cxrscore.scorefile.layout import LAYOUT
from cxrscore.scorefile.writing import FileHeader, RowBlock, write_scores
from cxrscore.synthetic.phantoms import golden_films

FINDINGS, MAPS, SIDE, THUMBNAILS = 14, 14, 7, 64
REQUESTS = 30
BLOCK = 8192
SORTS = ("error", "uncertainty", "probability")


def film_path(row: int) -> str:
    return f"images/{row // 10_000:03}/{row:08}_{row % 7:03}.png"


def write_rows(path: Path, rows: int, digests: dict[int, str]) -> None:
    """Writes a scores file; digests: SHA-256 of the films that exist, by row."""
    random = np.random.default_rng(0)
    shown = np.linspace(0, rows - 1, THUMBNAILS).astype(np.int32)
    own = {
        "films/path": encode_texts([film_path(row) for row in range(rows)]),
        "films/message": encode_texts([""] * rows),
        "films/kind": encode_texts(["png"] * rows),
        "films/modality": encode_texts(["DX"] * rows),
        "films/view": encode_texts([("PA", "AP", "LATERAL")[row % 3] for row in range(rows)]),
        "films/sha256": encode_texts([digests.get(row, f"{row:064x}") for row in range(rows)]),
        "films/status": np.where(np.arange(rows) % 500 == 499, 4, 1).astype(np.uint8),
        "films/width": np.full(rows, 1024, np.uint32),
        "films/height": np.full(rows, 1024, np.uint32),
        "films/split": (np.arange(rows) % 4).astype(np.uint8),
        "films/patient": (np.arange(rows) // 3).astype(np.int32),
        "labels": encode_texts([f"finding {number}" for number in range(1, FINDINGS + 1)]),
        "truth": (random.random((rows, FINDINGS)) < 0.1).astype(np.float32),
        "thresholds": np.full(FINDINGS, 0.5, np.float32),
        "thumbnails/film": shown,
        "thumbnails/pixels": random.integers(0, 256, (THUMBNAILS, 256, 256), np.uint8),
    }
    lengths = {"film": rows, "finding": FINDINGS, "map": rows * MAPS, "map_row": SIDE, "map_column": SIDE}
    frame = FileHeader(fingerprint="0" * 64, inputs={}, provenance={}, own=own, lengths=lengths, widths={})
    assert {column.path for column in LAYOUT} >= own.keys()
    write_scores(path, frame, _blocks(rows, random))


def _blocks(rows: int, random: np.random.Generator) -> Iterator[RowBlock]:
    for start in range(0, rows, BLOCK):
        stop = min(start + BLOCK, rows)
        n = stop - start
        logit = random.normal(-1, 1.5, (n, FINDINGS)).astype(np.float32)
        prob = (1 / (1 + np.exp(-logit))).astype(np.float32)
        maps = slice(start * MAPS, stop * MAPS)
        values = {
            "scores/logit": logit,
            "scores/prob": prob,
            "scores/prob_uncalibrated": prob,
            "cam/map": random.normal(0, 1, (n * MAPS, SIDE, SIDE)).astype(np.float16),
            "cam/film": np.repeat(np.arange(start, stop), MAPS).astype(np.int32),
            "cam/finding": np.tile(np.arange(MAPS), n).astype(np.int16),
        }
        places = {name: maps if name.startswith("cam/") else slice(start, stop) for name in values}
        yield RowBlock(values=values, places=places)


def write_films(folder: Path, rows: list[int]) -> dict[int, str]:
    """Writes synthetic films of 1024 x 1024 pixels; their SHA-256 by row."""
    pixels = np.clip(golden_films(1024, 1)[0] * 255, 0, 255).astype(np.uint8)
    pixels = pixels if pixels.ndim == 2 else pixels[..., 0].copy()
    digests = {}
    for row in rows:
        pixels[0, :4] = np.frombuffer(np.uint32(row).tobytes(), np.uint8)  # each has bytes of its own
        place = folder / film_path(row)
        place.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(place), pixels)
        digests[row] = hashlib.sha256(place.read_bytes()).hexdigest()
    return digests


class Client:
    """A browser's connection with its cookie."""

    def __init__(self, address: str) -> None:
        found = re.fullmatch(r"http://([\d.]+):(\d+)(/.*)", address)
        assert found, address
        self._connection = http.client.HTTPConnection(found[1], int(found[2]))
        self._cookie = ""
        self._connection.request("GET", found[3])
        answer = self._connection.getresponse()
        answer.read()
        self._cookie = answer.headers["Set-Cookie"].partition(";")[0]

    def seconds(self, address: str) -> float:
        begun = time.perf_counter()
        self._connection.request("GET", address, headers={"Cookie": self._cookie})
        answer = self._connection.getresponse()
        answer.read()
        assert answer.status == 200, (address, answer.status)
        return time.perf_counter() - begun


def memory_mb(pid: int, field: str = "VmHWM") -> float:
    found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1024


def workers_mb(pid: int) -> float:
    """Memory of the processes that decode films."""
    listed = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return sum(memory_mb(int(child)) for children in listed for child in children)


def measure(folder: Path, rows: int) -> None:
    random = np.random.default_rng(1)
    chosen = [int(row) for row in random.choice(rows, 2 * REQUESTS, replace=False) if row % 500 != 499]
    write_rows(folder / "out.h5", rows, write_films(folder / "films", chosen))
    command = [sys.executable, "-P", "-m", "cxrscore", "view", str(folder / "out.h5"), "--no-browser"]
    begun = time.perf_counter()
    with subprocess.Popen(
        [*command, "--films", str(folder / "films")], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        try:
            assert server.stdout
            client = Client(server.stdout.readline().strip())
            start = time.perf_counter() - begun
            first = client.seconds("/")
            wait = client.seconds(f"/film/{chosen[0]}/map/1")  # until the scale of all maps is known
            lines = [
                ("from the command to its address", start),
                ("first list page", first),
                ("first heat map, with the scale of all", wait),
                ("first cohort page of a finding", client.seconds("/cohort/1")),
                ("first cohort page of another finding", client.seconds("/cohort/2")),
                *_medians(client, chosen, rows),
            ]
            lines.append(("first page of all findings of the cohort", client.seconds("/cohort")))
            lines.append(("the same again", client.seconds("/cohort")))
            own, workers = memory_mb(server.pid), workers_mb(server.pid)
        finally:
            server.send_signal(signal.SIGINT)
    size = (folder / "out.h5").stat().st_size / (1 << 20)
    sys.stdout.write(f"{rows:,} films, file of {size:.0f} MB\n\n| request | seconds |\n|---|---|\n")
    sys.stdout.writelines(f"| {name} | {seconds:.3f} |\n" for name, seconds in lines)
    sys.stdout.write(f"\npeak memory: server {own:.0f} MB, its two decoding processes {workers:.0f} MB\n")


def _medians(client: Client, chosen: list[int], rows: int) -> Iterator[tuple[str, float]]:
    requests: dict[str, Callable[[int], str]] = {
        "list page, in the order of the file": lambda n: f"/?page={1 + n * rows // (51 * REQUESTS)}",
        "list page, sorted anew": lambda n: (
            f"/?finding={n % FINDINGS}&sort={SORTS[n % 3]}&split={n % 4}&ascending={n // FINDINGS % 2}&status=1"
        ),
        "page of a film": lambda n: f"/film/{chosen[n]}?finding=3&sort=probability",
        "its pixels, decoded": lambda n: f"/film/{chosen[n]}/pixels",
        "its heat map": lambda n: f"/film/{chosen[n]}/map/{1 + n % FINDINGS}",
        "thumbnail, decoded": lambda n: f"/film/{chosen[n]}/thumbnail",
        "cohort page of a finding, at another threshold": lambda n: f"/cohort/1?at=0.{n + 11}",
        "its tables, at another threshold": lambda n: f"/cohort/1/decisions?at=0.{n + 51}",
        "list of a cell, sorted anew": lambda n: (
            f"/?finding=1&sort=probability&side=above&label=negative&status=1&split=-2&at=0.{n + 11}"
        ),
    }
    for name, address in requests.items():
        yield f"{name}, median", statistics.median(client.seconds(address(n)) for n in range(REQUESTS))
        if name == "page of a film":
            others = chosen[-REQUESTS // 2 :]
            together = [client.seconds(f"/film/{row}") + client.seconds(f"/film/{row}/pixels") for row in others]
            yield "page of a film and its pixels, median", statistics.median(together)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("rows", nargs="?", type=int, default=100_000)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), given.rows)


if __name__ == "__main__":
    main()
