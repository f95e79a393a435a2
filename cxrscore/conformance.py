"""Run the conformance kit on one plugin: ``cxrscore check NAME``."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrscore.contract import Backend
from cxrscore.errors import InputError
from cxrscore.io.regular import open_regular
from cxrscore.plugins import descriptor
from cxrscore.progress import Progress, no_progress
from cxrscore.testing import (
    BackendCases,
    CaseResult,
    DatasetCases,
    ExecutorCases,
    ExplainerCases,
    LossCases,
    MetricCases,
    NetworkCases,
    run_cases,
)
from cxrscore.testing.cases import Cases
from cxrscore.testing.fixtures import build, smallest_spec

_KITS: dict[str, type[Cases]] = {
    "backend": BackendCases,
    "network": NetworkCases,
    "dataset": DatasetCases,
    "loss": LossCases,
    "metric": MetricCases,
    "explainer": ExplainerCases,
    "executor": ExecutorCases,
}


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """Results of all cases. ``framework`` is that of a backend, "" for other plugins."""

    kind: str
    name: str
    framework: str
    outcomes: tuple[CaseResult, ...]

    @property
    def failed(self) -> tuple[CaseResult, ...]:
        return tuple(outcome for outcome in self.outcomes if outcome.status == "failed")

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "kind": self.kind,
            "name": self.name,
            "framework": self.framework,
            **self._counts(),
            "cases": [outcome.as_dict() for outcome in self.outcomes],
        }

    def text(self) -> str:
        """One line per case, and a summary."""
        lines = [_line(outcome) for outcome in self.outcomes]
        counts = ", ".join(f"{count} {state}" for state, count in self._counts().items())
        by = f" ({self.framework})" if self.framework else ""
        return "\n".join([*lines, f"{self.kind} {self.name}{by}: {counts}"])

    def _counts(self) -> dict[str, int]:
        found = Counter(outcome.status for outcome in self.outcomes)
        return {state: found[state] for state in ("passed", "failed", "skipped")}


def _line(outcome: CaseResult) -> str:
    why = outcome.reason or outcome.measured
    return f"{outcome.number} {outcome.status:<8}{outcome.title}{f': {why}' if why else ''}"


def _require(table: Path) -> None:
    """Raise an InputError unless the table is a readable file."""
    try:
        open_regular(table).close()
    except OSError as error:
        raise InputError(f"cannot read the table {table}: {error.strerror}") from error


def check_plugin(name: str, *, table: Path | None = None, progress: Progress = no_progress) -> CheckReport:
    """Run every case on an installed plugin.

    Parameters
    ----------
    name
        Name of a backend, else kind:name, such as "loss:focal".
    table
        Label table of the layout, for a dataset reader; else None.
    progress
        function(text, done, total).

    Raises
    ------
    InputError
        If the plugin is unknown, or the table is missing, unreadable or not needed.
    BackendUnavailableError
        If a backend or executor is unknown, broken or lacks a module.
    """
    kind, _, rest = name.rpartition(":")
    kind = kind or "backend"
    if kind not in _KITS:
        raise InputError(f"{kind!r} is not a type of plugin; the types are: {', '.join(_KITS)}")
    if (kind == "dataset") != (table is not None):
        raise InputError(
            "only a dataset is checked on a label table, and it needs one of its layout: give --table FILE"
        )
    if table is not None:
        _require(table)
    plugin = descriptor(kind, rest)
    fixtures = {kind: plugin} if table is None else {kind: plugin, "table": table}
    outcomes = run_cases(_KITS[kind], progress=progress, **fixtures)
    framework = _framework(plugin) if kind == "backend" else ""
    return CheckReport(kind=kind, name=rest, framework=framework, outcomes=tuple(outcomes))


def _framework(backend: Backend) -> str:
    """Framework of the backend; "" if it cannot build a model, which the cases report."""
    try:
        return str(build(backend, smallest_spec(backend), None).framework)
    except Exception:  # noqa: BLE001 - foreign code may raise anything
        return ""
