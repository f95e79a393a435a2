"""The contradictions of the source paper, with the numbers of this run."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True, kw_only=True)
class Contradiction:
    """What the paper says, the problem, what was done, and what this run measured ("" for nothing)."""

    number: int
    says: str
    problem: str
    done: str
    measured: str


FIELDS = ("says", "problem", "done", "measured")


def contradiction_texts() -> list[dict[str, str]]:
    """The texts of all contradictions in their order, with names of measurements in braces."""
    text = (resources.files("cxrscore.paper") / "contradictions.toml").read_text(encoding="utf-8")
    return [{name: row.get(name, "") for name in FIELDS} for row in tomllib.loads(text)["row"]]


def contradictions(facts: Mapping[str, str]) -> list[Contradiction]:
    """All contradictions, numbered from 1. ``facts`` has a value for every name in braces."""
    return [
        Contradiction(number=number, **{name: text.format_map(facts) for name, text in texts.items()})
        for number, texts in enumerate(contradiction_texts(), start=1)
    ]
