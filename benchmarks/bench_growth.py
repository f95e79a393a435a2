"""How do time and memory grow with the number of films? 10,000, 100,000 and 1,000,000 films through every command.

    python benchmarks/bench_growth.py                                      all; an hour, 8 GB of disk
    python benchmarks/bench_growth.py --films 10000,100000                 a few minutes
    python benchmarks/bench_growth.py --folder DIR --steps list,resume     some steps; what exists in DIR is used again

Films are small PNG files with different bytes, a thousand in a folder. Their scores, heat maps and labels are made up,
except for those of the last shard: the run is resumed before it. Each step is a process of its own. CPU seconds and the
peak of its resident memory include its start, its imports and its network, so the columns "µs of CPU per film" and
"bytes per film" compare it with the step of fewer films. Needs no weights; scores with the fastest installed backend.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # this process stays small: a child's peak begins with the memory of its parent
    import numpy as np

    from cxrscore.scorefile import Shard

SIZES = "10000,100000,1000000"
PER_FOLDER, PER_PATIENT = 1000, 3
SIDE = 32
FINDINGS = 14
MAPS = 4
PARTS = 10
PEAK = re.compile(r"VmHWM:\s+(\d+) kB")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the material of one number of films lies."""

    folder: Path
    films: int

    @property
    def listed(self) -> Path:
        return self.folder / "films"

    @property
    def labels(self) -> Path:
        return self.folder / "labels.csv"

    @property
    def model(self) -> Path:
        return self.folder / "model.safetensors"

    @property
    def scores(self) -> Path:
        return self.folder / "out.h5"

    @property
    def finished(self) -> Path:
        """A scores file of all films: that of the step "resume", or else generated rows."""
        return self.scores if self.scores.exists() else self.folder / "generated.h5"

    @property
    def watched(self) -> Path:
        return self.folder / "watched"

    def parts(self, kind: str) -> list[Path]:
        return sorted((self.folder / kind).glob("*.h5"))


def film_path(row: int) -> str:
    return f"{row // PER_FOLDER:06}/{row:08}_{row % 7:03}.png"


def film_bytes(row: int) -> bytes:
    """A PNG of 32 x 32 pixels whose text, and so its digest, is its own."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    lines = b"".join(b"\0" + bytes((7 * y + x) % 251 for x in range(SIDE)) for y in range(SIDE))
    head = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", head), (b"tEXt", b"row\0%d" % row), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


# Material.


def make_films(place: Place) -> None:
    first = film_bytes(0)
    at = first.index(b"tEXt") - 4
    for start in range(0, place.films, PER_FOLDER):
        rows = range(start, min(start + PER_FOLDER, place.films))
        (place.listed / film_path(start)).parent.mkdir(parents=True)
        for row in rows:
            text = b"tEXtrow\0%d" % row
            own = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
            file = os.open(place.listed / film_path(row), os.O_CREAT | os.O_WRONLY)
            os.write(file, first[:at] + own + first[at + 17 :])
            os.close(file)


def make_labels(place: Place) -> None:
    import numpy as np

    from cxrscore.labels.findings import FINDINGS as NAMES

    present = np.random.default_rng(0).random((place.films, FINDINGS)) < 0.1
    with place.labels.open("w", encoding="ascii") as file:
        file.write(f"film,patient,{','.join(NAMES)}\n")
        for row, values in enumerate(present.astype(int).tolist()):
            file.write(f"{film_path(row)},patient {row // PER_PATIENT},{','.join(map(str, values))}\n")


def make_model(place: Place) -> None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from made_model import document, golden

    from cxrscore.contract import ModelSpec
    from cxrscore.labels.findings import FINDINGS as NAMES
    from cxrscore.models.model_file import save_model
    from cxrscore.networks.tensors import initial_tensors

    spec = ModelSpec(architecture="tinycnn", findings=NAMES, size=SIDE)
    tensors = initial_tensors(spec, 0)
    save_model(place.model, tensors, document(spec, golden=golden(spec, tensors)))


def make_run(place: Place) -> None:
    """The run of `cxrscore score`, with all shards but the last."""
    from cxrscore.images import require_films
    from cxrscore.scorefile import open_run
    from cxrscore.scoring import ScoreOptions
    from cxrscore.scoring.run_context import load_models, prepare_run

    options = ScoreOptions(films=place.listed, output=place.scores, model=place.model, heatmaps=MAPS, no_labels=True)
    job = prepare_run(options, load_models(options), require_films(options.films))
    run = open_run(options.file, job.paths, job.findings, job.fingerprint)
    for shard in run.pending:
        if shard == len(run.shards) - 1:
            break
        run.write(shard, made_shard(job.paths, run.shards[shard]))


def made_shard(paths: Sequence[str], rows: range) -> Shard:
    import hashlib

    import numpy as np

    from cxrscore.scorefile import HeatMaps, Shard

    random, n = np.random.default_rng(rows.start), len(rows)
    logit = random.normal(-1, 1.5, (n, FINDINGS)).astype(np.float32)
    prob = (1 / (1 + np.exp(-logit))).astype(np.float32)
    return Shard(
        logit=logit,
        prob=prob,
        prob_uncalibrated=prob,
        status=np.ones(n, np.uint8),
        message=[""] * n,
        kind=["png"] * n,
        modality=[""] * n,
        view=[""] * n,
        sha256=[hashlib.sha256(film_bytes(row)).hexdigest() for row in rows],
        width=np.full(n, SIDE, np.uint32),
        height=np.full(n, SIDE, np.uint32),
        heat_maps=HeatMaps(
            map=random.normal(size=(n * MAPS, 4, 4)).astype(np.float16),
            film=np.repeat(np.arange(rows.start, rows.stop, dtype=np.int32), MAPS),
            finding=np.tile(np.arange(MAPS, dtype=np.int16), n),
        ),
    )


def make_parts(place: Place) -> None:
    """Partial files of a run, and finished files of different films, which lie between each other."""
    import bench_merge

    from cxrscore.scorefile.manifest import fingerprint_of, paths_digest
    from cxrscore.scorefile.writing import FileHeader, RowBlock, write_scores

    folder = place.folder / "parts"
    folder.mkdir()
    bench_merge.make_parts(folder, place.films, PARTS)
    folder = place.folder / "separate"
    folder.mkdir()
    for number in range(PARTS):
        rows = range(number, place.films, PARTS)
        inputs = {"films": len(rows), "paths": paths_digest(map(film_path, rows)), "anonymize_paths": False}

        def blocks(rows: range = rows) -> Iterator[RowBlock]:
            for start in range(0, len(rows), bench_merge.BLOCK):
                own = rows[start : start + bench_merge.BLOCK]
                values = _separate_rows(own)
                yield RowBlock(values=values, places=dict.fromkeys(values, slice(start, start + len(own))))

        first = _separate_rows(rows[:1])
        write_scores(
            folder / f"{number}.h5",
            FileHeader(
                fingerprint=fingerprint_of(inputs),
                inputs=inputs,
                provenance={"created": f"2026-01-02T03:04:{number:02}+00:00"},
                own=_no_images(),
                lengths={"film": len(rows), "finding": FINDINGS, "map": 0, "map_row": 1, "map_column": 1},
                widths={name: own.dtype.itemsize for name, own in first.items() if own.dtype.kind == "S"},
            ),
            blocks(),
        )


def _separate_rows(rows: range) -> dict[str, Any]:
    import bench_merge
    import numpy as np

    columns = bench_merge.film_columns(range(len(rows)), np.random.default_rng(rows.start))
    return {
        **columns,
        "films/path": np.array([film_path(row) for row in rows], "S23"),
        "films/sha256": np.array([f"{(row * 2654435761) % 2**64:064x}" for row in rows], "S64"),
        "films/patient": np.full(len(rows), -1, np.int32),
    }


def _no_images() -> dict[str, np.ndarray]:
    import numpy as np

    return {
        "labels": np.array([f"finding {number}" for number in range(FINDINGS)], "S10"),
        "thresholds": np.full(FINDINGS, 0.5, np.float32),
        "thumbnails/film": np.zeros(0, np.int32),
        "thumbnails/pixels": np.zeros((0, 1, 1), np.uint8),
        "cam/map": np.zeros((0, 1, 1), np.float16),
        "cam/film": np.zeros(0, np.int32),
        "cam/finding": np.zeros(0, np.int16),
    }


def make_watch(place: Place) -> None:
    """A folder of scores files that has all films, and its configuration."""
    place.watched.mkdir()
    os.link(place.scores, place.watched / "scores-20260101-0001.h5")
    text = f'films = "{place.listed}"\nmodel = "{place.model}"\noutput = "{place.watched}"\n'
    (place.folder / "watch.toml").write_text(text, encoding="utf-8")


# Steps that are no command of cxrscore.


def list_films(place: Place) -> None:
    """What `cxrscore score` does until it needs the network: the films are listed, and the run is frozen."""
    from cxrscore.images import require_films
    from cxrscore.scorefile import open_run

    found = require_films(place.listed)
    with tempfile.TemporaryDirectory(dir=place.folder) as folder:
        open_run(Path(folder) / "out.h5", found.paths, ["Mass"], {"model": "ab" * 32})


def open_file(place: Place) -> None:
    import cxrscore

    scores = cxrscore.open_scores(place.finished)
    assert len(scores.films.path) == place.films


HERE: dict[str, Callable[[Place], None]] = {
    "make films": make_films,
    "make labels": make_labels,
    "make model": make_model,
    "make run": make_run,
    "make parts": make_parts,
    "make watch": make_watch,
    "list": list_films,
    "open_scores": open_file,
}


# Measuring.


@dataclass(frozen=True, kw_only=True)
class Cost:
    seconds: float
    cpu: float
    mib: float


def run_child(command: Sequence[str], log: Path) -> Cost:
    """A process with its children: seconds, CPU seconds, and the peak of the largest of them."""
    begun = time.monotonic()
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 3):
        sys.exit(f"{' '.join(command)} ended with {process.returncode}: {log.read_text()[-2000:]}")
    return Cost(seconds=time.monotonic() - begun, cpu=used.ru_utime + used.ru_stime, mib=used.ru_maxrss / 1024)


def here(step: str, place: Place) -> list[str]:
    return [sys.executable, __file__, "--here", step, "--folder", str(place.folder), "--films", str(place.films)]


def cxrscore(*words: str | Path) -> list[str]:
    return [sys.executable, "-P", "-m", "cxrscore", *map(str, words)]


def commands(place: Place) -> dict[str, list[str]]:
    """The steps by name, in order; "view" is not among them."""
    one, folder = place.finished, place.folder
    score = cxrscore("score", place.listed, "-m", place.model, "-o", place.scores, "--heatmaps", str(MAPS), "--quiet")
    watch = cxrscore("watch", folder / "watch.toml", "--once", "--quiet")
    return {
        "list": here("list", place),
        "resume": [*score, "--no-labels"],
        "again": [*score, "--no-labels"],
        "labels": [*score, "--labels", str(place.labels)],
        "merge": cxrscore("merge", *place.parts("parts"), "-o", folder / "merged.h5", "--quiet"),
        "join": cxrscore("merge", *place.parts("separate"), "-o", folder / "joined.h5", "--quiet"),
        "open_scores": here("open_scores", place),
        "show": cxrscore("show", one),
        "report": cxrscore("report", one, "--labels", place.labels, "-o", folder / "report.html", "--quiet"),
        "csv": cxrscore("export", one, "--to", "csv", "-o", folder / "out.csv", "--quiet"),
        "watch, new index": watch,
        "watch": watch,
    }


def view(place: Place) -> dict[str, Cost]:
    """The pages of `cxrscore view`, and the peak of its server until then."""
    command = cxrscore("view", place.finished, "--films", place.listed, "--no-browser")
    found: dict[str, Cost] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:

        def note(step: str, begun: float, cpu: float) -> None:
            peak = PEAK.search(Path(f"/proc/{server.pid}/status").read_text())
            mib = int(peak[1]) / 1024 if peak else 0.0
            found[step] = Cost(seconds=time.monotonic() - begun, cpu=_cpu_of(server.pid) - cpu, mib=mib)

        try:
            begun = time.monotonic()
            assert server.stdout
            address = re.fullmatch(r"http://([\d.]+):(\d+)(/.*)", server.stdout.readline().strip())
            assert address
            note("view: start", begun, 0.0)
            connection = http.client.HTTPConnection(address[1], int(address[2]), timeout=600)
            connection.request("GET", address[3])
            answer = connection.getresponse()
            answer.read()
            cookie = answer.headers["Set-Cookie"].partition(";")[0]
            pages = {
                "view: first list page": "/",
                "view: sorted list page": "/?finding=1&sort=probability&status=1",
                "view: film page": f"/film/{place.films // 2}",
                "view: cohort page": "/cohort/1",
            }
            for step, page in pages.items():
                begun, cpu = time.monotonic(), _cpu_of(server.pid)
                connection.request("GET", page, headers={"Cookie": cookie})
                answer = connection.getresponse()
                answer.read()
                assert answer.status == 200, (page, answer.status)
                note(step, begun, cpu)
        finally:
            server.send_signal(signal.SIGINT)
    return found


def _cpu_of(pid: int) -> float:
    """CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


NEEDS = {
    "list": ("films",),
    "resume": ("films", "model", "run"),
    "labels": ("labels",),
    "merge": ("parts",),
    "join": ("parts",),
    "report": ("labels",),
    "watch, new index": ("watch",),
}
"""Material that a step needs first."""
MADE = {"films": "films", "model": "model.safetensors", "labels": "labels.csv", "parts": "separate", "watch": "watched"}
"""Where it then is; that of the run goes with its end."""


def prepare(place: Place, step: str) -> None:
    for what in NEEDS.get(step, ()):
        there = place.scores.exists() if what == "run" else (place.folder / MADE[what]).exists()
        if not there:
            say(f"making {what} of {place.films:,} films")
            run_child(here(f"make {what}", place), place.folder / "log.txt")


def measure(place: Place, steps: Sequence[str]) -> None:
    """Adds the costs of the steps to results.json of the folder."""
    place.folder.mkdir(parents=True, exist_ok=True)
    for step in steps or [*commands(place), "view"]:
        prepare(place, step)
        say(f"{step}, {place.films:,} films")
        done = view(place) if step == "view" else {step: run_child(commands(place)[step], place.folder / "log.txt")}
        for name, cost in done.items():
            say(f"  {name}: {cost.seconds:.1f} s, {cost.cpu:.1f} s of CPU, {cost.mib:.0f} MiB")
        known = results(place) | {name: vars(cost) for name, cost in done.items()}
        (place.folder / "results.json").write_text(json.dumps(known), encoding="utf-8")


def results(place: Place) -> dict[str, Any]:
    file = place.folder / "results.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def table(places: Sequence[Place]) -> Iterator[str]:
    yield "| step | films | seconds | s of CPU | peak MiB | µs of CPU per film | bytes per film | times the CPU |"
    yield "|---|---|---|---|---|---|---|---|"
    for step in dict.fromkeys(step for place in places for step in results(place)):
        before: tuple[int, Cost] | None = None
        for place in places:
            if step not in results(place):
                continue
            cost = Cost(**results(place)[step])
            words = f"{step} | {place.films:,} | {cost.seconds:.1f} | {cost.cpu:.1f} | {cost.mib:.0f}"
            growth = " | | "
            if before is not None:
                more = place.films - before[0]
                micro, size = (cost.cpu - before[1].cpu) / more * 1e6, (cost.mib - before[1].mib) / more * (1 << 20)
                growth = f"{micro:.1f} | {size:,.0f} | {cost.cpu / max(before[1].cpu, 0.01):.1f}"
            yield f"| {words} | {growth} |"
            before = place.films, cost


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--films", default=SIZES, help=f"numbers of films, in ascending order [default: {SIZES}]")
    options.add_argument("--folder", type=Path, help="where the material stays [default: a folder that is removed]")
    options.add_argument("--steps", default="", help="steps, separated by semicolons [default: all]; none: the table")
    options.add_argument("--here", choices=HERE, help=argparse.SUPPRESS)
    given = options.parse_args()
    sizes = [int(text) for text in given.films.split(",")]
    if given.here:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        HERE[given.here](Place(folder=given.folder, films=sizes[0]))
        return
    with tempfile.TemporaryDirectory() as name:
        base = given.folder or Path(name)
        places = [Place(folder=base / str(films), films=films) for films in sizes]
        for place in places:
            if given.steps != "none":
                measure(place, [step.strip() for step in given.steps.split(";") if step.strip()])
        sys.stdout.write("\n".join(table(places)) + "\n")


if __name__ == "__main__":
    main()
