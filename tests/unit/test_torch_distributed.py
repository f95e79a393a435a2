"""The group of torch.distributed that processes train in."""

import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from cxrscore_torch import distributed  # noqa: E402

TRAINS_AND_LEAVES = """
import os
import sys
from pathlib import Path

import torch
from cxrscore.errors import OtherProcessError
from cxrscore_torch import distributed


def threads():
    names = {path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")}
    return sorted(name for name in names if "gloo" in name)


group = distributed.join(rank=0, of=1, device="cpu")
weights = torch.zeros(3, requires_grad=True)
optimiser = torch.optim.Adam([weights])
loss = weights.sum()
loss.backward()
distributed.sum_step(loss, [weights], 1.0)
optimiser.step()
assert group.gather(b"data") == [b"data"]
assert threads(), "its threads have other names by now"
try:
    distributed._collective(torch.distributed.all_gather, [torch.zeros(1)], torch.zeros(2))
except OtherProcessError as error:
    kept = error  # as until the process ends, when it is told
group.leave()
print(threads())
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted in /proc")
def test_no_thread_is_left_to_let_go_of_a_tensor_while_the_interpreter_ends():
    """In a process of its own, where the optimiser is the first to import what would hold the group."""
    done = subprocess.run([sys.executable, "-c", TRAINS_AND_LEAVES], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


@pytest.mark.parametrize(
    ("gpus", "backends"),
    [
        (["GPU-1"], "cpu:gloo,cuda:nccl"),
        (["GPU-1", "GPU-2"], "cpu:gloo,cuda:nccl"),
        (["GPU-1", "GPU-1"], "gloo"),  # NCCL: "Duplicate GPU detected"
        (["GPU-1", ""], "gloo"),
        ([""], "gloo"),
    ],
)
def test_nccl_needs_a_gpu_for_each_process(gpus, backends):
    assert distributed._backends(gpus) == backends


def test_processes_share_the_gpus_of_a_machine(monkeypatch):
    taken = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda number: type("Properties", (), {"uuid": f"GPU-{number}"})
    )
    found = []
    for rank in range(3):
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        found.append(distributed._take_gpu(rank))
    assert (taken, found) == ([0, 1, 0], ["GPU-0", "GPU-1", "GPU-0"])
