"""Films a second of every installed backend, side by side in one run: python benchmarks/bench_backends.py

Each backend scores the same batches in a process of its own; they take turns, and the median of the rounds is printed
with its ratio to torch. Times of a shared machine mean little, ratios of one run more.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

import numpy as np

from cxrscore.contract import ModelSpec
from cxrscore.plugins import available_backends, get_backend

FINDINGS = tuple(f"finding {number}" for number in range(14))


def child(name: str, architecture: str, size: int, precision: str, device: str, batch_size: int) -> None:
    """Answers each line on standard input with the films a second of one batch."""
    spec = ModelSpec(architecture=architecture, findings=FINDINGS, size=size)
    model = get_backend(name).build(spec, None, device=device, precision=precision)
    films = np.random.default_rng(0).random((batch_size, size, size), np.float32)
    model.predict(films)
    sys.stdout.write(f"{model.framework}\n")
    sys.stdout.flush()
    for _ in sys.stdin:
        started = time.perf_counter()
        model.predict(films)
        sys.stdout.write(f"{len(films) / (time.perf_counter() - started)}\n")
        sys.stdout.flush()


def started(name: str, options: argparse.Namespace) -> subprocess.Popen:
    given = (name, options.architecture, options.size, options.precision, options.device, options.batch_size)
    job = json.dumps(given)
    return subprocess.Popen(
        [sys.executable, __file__, "--child", job], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def measured(process: subprocess.Popen) -> float:
    process.stdin.write("\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--architecture", default="densenet121")
    parser.add_argument("--size", type=int, default=400)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--backends", default=",".join(available_backends()))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(*json.loads(options.child))
        return
    processes = {name: started(name, options) for name in options.backends.split(",")}
    frameworks = {name: process.stdout.readline().strip() for name, process in processes.items()}
    rates = {name: [] for name in processes}
    for _ in range(options.rounds):
        for name, process in processes.items():
            rates[name].append(measured(process))
    for process in processes.values():
        process.stdin.close()
        process.wait()
    middle = {name: statistics.median(found) for name, found in rates.items()}
    for name, rate in middle.items():
        ratio = f"{rate / middle['torch']:.2f} of torch" if "torch" in middle else ""
        sys.stdout.write(f"{name:<10} {frameworks[name]:<40} {rate:6.1f} films/s  {ratio}\n")


if __name__ == "__main__":
    main()
