"""Networks as graphs against the networks written by hand that they replaced: speed, memory and lines of code.

    python benchmarks/bench_networks.py [--quick] [--backends torch,openvino] [--output FILE]

The networks written by hand are those of an earlier commit, which git takes out of the history into a temporary folder.
In each round the earlier and the present code run in a process of their own each, both alive at once and one at work at
a time, in the order before, after, after, before. Both score the same films in float32 with the same tensors; the
largest relative difference of their logits is told. A backend that does not start, or fails, is noted as such, and the
exit code is 1.

Rates are medians of all turns. A ratio is the median of the rounds, each the median over the turns of a round of
present to earlier rate; "cpu_ratio" is the same of the CPU time, earlier to present, which says more where others use
the machine. Memory is the largest resident memory of a process, the median of the rounds. Printed is JSON. About 15
minutes on two quiet cores; --quick, about 3, says less.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
BEFORE = "8a4baf9"
"""The last commit before the graphs whose networks are the measure."""
NETWORK_CODE = {
    "before": (
        "cxrscore/spec.py",
        "cxrscore/models/architectures.py",
        "cxrscore/testing/reference.py",
        "plugins/cxrscore_*/nets.py",
    ),
    "after": ("cxrscore/networks/*.py", "plugins/cxrscore_*/nets.py"),
}
"""Files by pattern: the settings of a network, its layers and tensors, the reference in NumPy, and the networks of each
backend."""
SIDES = ("before", "after")
NOTES = 500
"""Characters of what a process that failed said last."""
FINDINGS = tuple(f"finding {number}" for number in range(14))


class FailedError(Exception):
    """A process did not live to answer; the text says what it said last."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, turns and batches")
    parser.add_argument("--backends", default="torch,keras,openvino", help="with commas between")
    parser.add_argument("--networks", default="densenet121,resnet50", help="with commas between")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, help="processes of each side; default 6, with --quick 2")
    parser.add_argument("--turns", type=int, help="of a process; default 8, with --quick 4")
    parser.add_argument("--batches", type=int, help="of a turn; default 4, with --quick 2")
    parser.add_argument("--before", default=BEFORE, help="commit of the earlier code")
    parser.add_argument("--output", type=Path, help="file for the JSON; default: standard output")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        serve(**json.loads(options.child))
        return
    from record import rounded

    with tempfile.TemporaryDirectory(prefix="bench-networks") as folder:
        trees = {"before": Path(folder), "after": ROOT}
        unpack(options.before, trees["before"])
        found = about(options) | {"lines": {side: lines(side, tree) for side, tree in trees.items()}, "networks": []}
        for backend in options.backends.split(","):
            for network in options.networks.split(","):
                row = {"backend": backend, "network": network}
                try:
                    row |= compare(backend, network, trees, options)
                except FailedError as error:
                    row["failed"] = str(error)
                found["networks"].append(row)
                sys.stderr.write(f"{json.dumps(rounded(row))}\n")
                text = json.dumps(rounded(found), indent=1) + "\n"
                if options.output:
                    options.output.write_text(text)
    if not options.output:
        sys.stdout.write(text)
    sys.exit(any("failed" in row for row in found["networks"]))


def about(options: argparse.Namespace) -> dict[str, Any]:
    """What is measured, and on what."""
    from record import PACKAGES, metadata_of, processor

    return {
        "before": options.before,
        "after": git("describe", "--always", "--dirty").decode().strip(),
        "quick": options.quick,
        "size": options.size,
        "batch_size": options.batch_size,
        "machine": {"processor": processor(), "cores": os.cpu_count(), "load_before": os.getloadavg()[0]},
        "versions": metadata_of(PACKAGES),
    }


def git(*words: str) -> bytes:
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"git {' '.join(words)}: {done.stderr.decode().strip()}; expected a clone with its whole history")
    return done.stdout


def unpack(commit: str, folder: Path) -> None:
    """The package and the plugins as they were."""
    with tarfile.open(fileobj=io.BytesIO(git("archive", commit, "cxrscore", "plugins"))) as archive:
        archive.extractall(folder, filter="data")


def lines(side: str, tree: Path) -> dict[str, int]:
    """Lines of network code by file, and their sum."""
    paths = [path for pattern in NETWORK_CODE[side] for path in sorted(tree.glob(pattern))]
    told = {path.relative_to(tree).as_posix(): len(path.read_text().splitlines()) for path in paths}
    return told | {"total": sum(told.values())}


# --- one backend and network


def compare(backend: str, network: str, trees: dict[str, Path], options: argparse.Namespace) -> dict[str, Any]:
    """Rates, their ratio, memory, and how far the logits are apart."""
    quick = {"rounds": 2, "turns": 4, "batches": 2} if options.quick else {"rounds": 6, "turns": 8, "batches": 4}
    scale = {name: getattr(options, name) or value for name, value in quick.items()}
    job = {"backend": backend, "network": network, "size": options.size, "batch_size": options.batch_size}
    rounds = [one_round({**job, "batches": scale["batches"]}, trees, scale["turns"]) for _ in range(scale["rounds"])]
    ratios = [
        median(after / before for before, after in zip(each["before"]["rates"], each["after"]["rates"], strict=True))
        for each in rounds
    ]
    rates = {side: median(rate for each in rounds for rate in each[side]["rates"]) for side in SIDES}
    peaks = {side: median(each[side]["peak_mib"] for each in rounds) for side in SIDES}
    before, after = (np.array(rounds[0][side]["logits"]) for side in SIDES)
    return {
        "framework": rounds[0]["after"]["framework"],
        "films_per_second": rates,
        "ratio": median(ratios),
        "ratio_of_rounds": [min(ratios), max(ratios)],
        "cpu_ratio": median(median(each["before"]["cpu"]) / median(each["after"]["cpu"]) for each in rounds),
        "peak_mib": peaks,
        "peak_ratio": peaks["after"] / peaks["before"],
        "difference": float(np.abs(after - before).max() / np.abs(before).max()),
    }


def one_round(job: dict[str, Any], trees: dict[str, Path], turns: int) -> dict[str, dict[str, Any]]:
    """What a process of each side tells: rates and CPU seconds by turn, and at the end its memory."""
    with ExitStack() as stack:
        asked = {side: stack.enter_context(child(job, trees[side])) for side in SIDES}
        told = {side: {**ask(""), "rates": [], "cpu": []} for side, ask in asked.items()}
        for turn in range(turns):
            for side in SIDES if turn % 2 == 0 else SIDES[::-1]:
                answer = asked[side]("turn")
                told[side]["rates"].append(answer["rate"])
                told[side]["cpu"].append(answer["cpu"])
        for side, ask in asked.items():
            told[side] |= ask("memory")
    return told


@contextmanager
def child(job: dict[str, Any], tree: Path) -> Iterator[Callable[[str], dict[str, Any]]]:
    """A process with the code of this tree: a function that sends it a line, unless it is empty, and gives its
    answer."""
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, __file__, "--child", json.dumps({**job, "tree": str(tree)})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "PYTHONPATH": f"{tree}{os.pathsep}{tree / 'plugins'}"},
        )
        assert process.stdin is not None
        assert process.stdout is not None

        def ask(order: str) -> dict[str, Any]:
            if order:
                process.stdin.write(f"{order}\n")
                process.stdin.flush()
            line = process.stdout.readline()
            if not line:
                errors.seek(0)
                raise FailedError(f"code of {tree}: {' '.join(errors.read().split())[-NOTES:]}")
            return json.loads(line)

        try:
            yield ask
        finally:
            process.communicate()  # closes its input, which ends it


def serve(*, backend: str, network: str, size: int, batch_size: int, batches: int, tree: str) -> None:
    """Builds the network, tells the logits of a batch, and answers the lines "turn" and "memory"."""
    import cxrscore
    from cxrscore.contract import ModelSpec

    if not Path(cxrscore.__file__).is_relative_to(tree):
        sys.exit(f"cxrscore is {cxrscore.__file__}, expected that of {tree}")
    spec = ModelSpec(architecture=network, findings=FINDINGS, size=size)
    model = importlib.import_module(f"cxrscore_{backend}").cxrscore_backends()[0].build(spec, None, device="cpu")
    films = np.random.default_rng(0).random((batch_size, size, size), np.float32)
    logits = model.predict(films)  # compiles
    model.predict(films)
    tell(framework=model.framework, logits=logits.tolist())
    for line in sys.stdin:
        if line.strip() == "memory":
            tell(peak_mib=peak_mib())
            continue
        began, cpu = time.perf_counter(), time.process_time()
        for _ in range(batches):
            model.predict(films)
        seconds = time.perf_counter() - began
        tell(rate=batches * batch_size / seconds, cpu=time.process_time() - cpu)


def tell(**values: Any) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def peak_mib() -> float:
    """Of this process alone: ru_maxrss would begin with that of its parent."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024


if __name__ == "__main__":
    main()
