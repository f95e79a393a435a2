"""The table of the paper's contradictions, with this run's numbers in it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True, kw_only=True)
class Contradiction:
    """What the paper says, what is the matter with it, what was done, and what this run measured, "" for nothing."""

    number: int
    statement: str
    problem: str
    resolution: str
    measurement: str


def contradictions(facts: Mapping[str, str]) -> list[Contradiction]:
    """All of them, numbered from 1. facts has a word for every name in braces."""
    text = (resources.files("cxrscore.paper") / "contradictions.toml").read_text(encoding="utf-8")
    fields = ("statement", "problem", "resolution", "measurement")
    return [
        Contradiction(number=number, **{name: row.get(name, "").format_map(facts) for name in fields})
        for number, row in enumerate(tomllib.loads(text)["row"], start=1)
    ]
