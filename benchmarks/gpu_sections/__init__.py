"""The parts of benchmarks/gpu.py. Each section is a module with ``steps(job)``: what is measured, by name, in order."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Section:
    """A module of this package, what it shows in words, and the most seconds that its process may take."""

    module: str
    title: str
    limit: float


SECTIONS = (
    Section(module="commands", title="The commands run", limit=130),
    Section(module="parity", title="Agreement with the CPU", limit=40),
    Section(module="network", title="Bare network", limit=110),
    Section(module="pipeline", title="Films to scores", limit=80),
    Section(module="maps", title="Heat maps", limit=30),
    Section(module="training", title="Fine-tuning", limit=50),
    Section(module="processes", title="Two processes", limit=50),
    Section(module="memory", title="Memory", limit=40),
)
"""The most telling first, as a stop costs the last ones. Later sections get what is left of all seconds."""
