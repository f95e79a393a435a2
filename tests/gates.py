"""A gate at which processes of cxrscore stop until a test lets them go on, so that a signal meets them where it should.

The gate is a plugin with three parts, each named ``gated``: a backend that stops before it builds a model, a loss that
stops before it scores the films for validation, and an explainer that stops before it draws the maps of a batch. They
compute what PyTorch, the default loss and Grad-CAM do. The parts stop only in processes that have the environment of
a gate; without it they go through.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

PLUGIN = """
    import os
    import socket
    from contextlib import suppress

    from cxrscore import hookimpl
    from cxrscore.contract import Explainer, Loss
    from cxrscore.explainers import grad_cam
    from cxrscore.losses import weighted_bce
    from cxrscore_torch import TorchBackend


    def gate():
        if "TEST_GATE" in os.environ:
            with suppress(OSError), socket.create_connection(("127.0.0.1", int(os.environ["TEST_GATE"]))) as line:
                line.sendall(f"{os.getpid()} {os.environ.get('RANK', -1)}\\n".encode())
                line.recv(1)


    class GatedBackend(TorchBackend):
        name = "gated"
        speed = {}

        def build(self, *given, **options):
            gate()
            return super().build(*given, **options)


    def loss(xp, logits, labels, weights):
        if xp.__name__ == "numpy":
            gate()
        return weighted_bce(xp, logits, labels, weights)


    def explainer(parts):
        gate()
        return grad_cam(parts)


    @hookimpl
    def cxrscore_backends():
        return [GatedBackend()]


    @hookimpl
    def cxrscore_losses():
        return [Loss(name="gated", summary="stops before a validation", function=loss)]


    @hookimpl
    def cxrscore_explainers():
        return [Explainer(name="gated", summary="stops before a batch", from_parts=explainer)]
    """


def install(folder: Path) -> dict[str, str]:
    """Puts the plugin into a folder, as pip leaves one there; returns the environment by which it is found."""
    metadata = folder / "cxrscore_gated-1.0.dist-info"
    metadata.mkdir(parents=True)
    (folder / "cxrscore_gated.py").write_text(dedent(PLUGIN))
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: cxrscore-gated\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[cxrscore]\ngated = cxrscore_gated\n")
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))}


@dataclass(frozen=True, kw_only=True)
class Held:
    """A process that stands at the gate; its rank as torchrun tells it, or -1."""

    pid: int
    rank: int
    line: socket.socket


class Gate:
    """The gate of a process and of those that it starts.

    process  the first of them
    held     those that stand at the gate
    """

    def __init__(self, line: Sequence[str | Path], **options: Any) -> None:
        self._door = socket.create_server(("127.0.0.1", 0))
        environment = {**options.pop("env", os.environ), "TEST_GATE": str(self._door.getsockname()[1])}
        with _ctrl_c_as_from_a_terminal():
            self.process = subprocess.Popen(line, env=environment, text=True, **options)
        self.held: list[Held] = []

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, *_: object) -> None:
        self.open()
        with self.process:
            self.process.kill()

    def hold(self, when: Callable[[Held], object] = lambda held: True, *, count: int = 1) -> list[Held]:
        """Waits until so many processes stand at the gate that came there when the condition was true; others go on.

        AssertionError if the first process ends before.
        """
        end = os.pidfd_open(self.process.pid)
        try:
            while len(self.held) < count:
                ready, _, _ = select.select([self._door, end], [], [])
                assert self._door in ready, f"it ended, with {self.process.wait()}, before it came to the gate"
                self._take(when)
        finally:
            os.close(end)
        return self.held

    def _take(self, when: Callable[[Held], object]) -> None:
        line, _ = self._door.accept()
        with line.makefile() as told:
            pid, rank = map(int, told.readline().split())
        held = Held(pid=pid, rank=rank, line=line)
        if when(held):
            self.held.append(held)
        else:
            line.close()

    def open(self) -> None:
        """Lets all go on, and whoever comes later."""
        self._door.close()
        for held in self.held:
            held.line.close()


@contextmanager
def _ctrl_c_as_from_a_terminal() -> Iterator[None]:
    """Has a process that is started now heed SIGINT, which whatever a shell started with ``&`` would pass on as
    ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def wait_for_end(pid: int) -> None:
    """Returns when this process has ended, which need not be one that was started here."""
    with suppress(ProcessLookupError):
        end = os.pidfd_open(pid)
        select.select([end], [], [])
        os.close(end)
