"""The target prevalence of a scoring run: from a table or a mapping, checked against the models."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrscore.errors import InputError
from cxrscore.labels.findings import canonical
from cxrscore.labels.table import Table, read_header, read_table
from cxrscore.models.model_file import ModelFile
from cxrscore.remote import local_path

COLUMNS = ("finding", "prevalence")


@dataclass(frozen=True, kw_only=True)
class TargetPrevalence:
    """The prevalence of findings in another population.

    values  by finding, each between 0 and 1
    file    the table that they are from, which no output replaces; None if there is none
    """

    values: Mapping[str, float]
    file: Path | None = None


def target_prevalence(source: Any) -> TargetPrevalence:
    """The target of a mapping or of a CSV file with the header finding,prevalence; InputError if it is none."""
    if isinstance(source, TargetPrevalence):
        return source
    if isinstance(source, Mapping):
        return TargetPrevalence(values=_from_mapping(source))
    if isinstance(source, str | os.PathLike):
        path = local_path(source, "target_prevalence")
        return TargetPrevalence(values=_read(path), file=path)
    raise InputError(f"target_prevalence is {source!r:.100}, expected a path or a dict of numbers by finding")


def _from_mapping(source: Mapping[Any, Any]) -> dict[str, float]:
    for finding, value in source.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not isinstance(finding, str) or not number or not 0 < value < 1:
            raise InputError(
                f"target_prevalence[{finding!r:.100}] is {value!r:.100}, expected a number between 0 and 1"
            )
    if not source:
        raise InputError("target_prevalence is empty, expected a number between 0 and 1 for at least one finding")
    return {finding: float(value) for finding, value in source.items()}


def _read(path: Path) -> dict[str, float]:
    columns = tuple(name for name in read_header(path) if name)
    if sorted(columns) != sorted(COLUMNS):
        raise InputError(f"{path} has the columns {', '.join(columns) or 'none'}; expected {', '.join(COLUMNS)}")
    table = read_table(path)
    found: dict[str, float] = {}
    for row, finding in enumerate(table.column("finding")):
        if not finding:
            raise table.row_error(row, "the finding is missing")
        if finding in found:
            raise table.row_error(row, f"{finding} stands in the table more than once")
        found[finding] = _share(table, row)
    if not found:
        raise table.table_error("has no row, expected one for each finding with a target prevalence")
    return found


def _share(table: Table, row: int) -> float:
    cell = table.cell(row, "prevalence")
    try:
        value = float(cell)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise table.row_error(row, f"prevalence is {cell!r}, expected a number between 0 and 1, such as 0.02")
    return value


def checked_target(target: TargetPrevalence | None, files: Sequence[ModelFile]) -> dict[str, float]:
    """The target by the names of the models' findings, in their order; empty without a target.

    InputError if a finding is not one of the models, or if a model does not know its training prevalence.
    """
    if target is None:
        return {}
    findings = files[0].spec.findings
    known = {canonical(finding): finding for finding in findings} | {finding: finding for finding in findings}
    named: dict[str, float] = {}
    for name, value in target.values.items():
        finding = known.get(name) or known.get(canonical(name))
        if finding is None:
            raise InputError(
                f"the target prevalence names {name!r}, which is no finding of the model: {_list(findings)}"
            )
        if finding in named:
            raise InputError(f"the target prevalence names {finding} more than once")
        named[finding] = value
    for file in files:
        _check_model(file, named)
    return {finding: named[finding] for finding in findings if finding in named}


def _list(findings: Sequence[str]) -> str:
    return ", ".join(findings[:20]) + (f" and {len(findings) - 20} more" if len(findings) > 20 else "")


def _check_model(file: ModelFile, named: Mapping[str, float]) -> None:
    """InputError unless the model records the prevalence for which its probabilities hold."""
    calibration = file.document.get("calibration")
    if file.spec.activation != "sigmoid":
        raise InputError(
            f"{file.path} has {file.spec.activation} outputs; a target prevalence needs sigmoid outputs, one "
            "probability for each finding. Train with --activation sigmoid."
        )
    if not calibration or "prevalence" not in calibration:
        lacks = "records no prevalence of its training films" if calibration else "is not calibrated"
        raise InputError(
            f"{file.path} {lacks}, so its probabilities cannot be moved to a target prevalence. Train it again with "
            "this cxrscore and with calibration, or leave out --target-prevalence."
        )
    for finding, trained in zip(file.spec.findings, calibration["prevalence"], strict=True):
        if finding in named and not 0 < trained < 1:
            raise InputError(
                f"{file.path} was calibrated on films of which a share of {trained:g} has {finding}: no target "
                "prevalence can be reached from there. Leave this finding out of the target."
            )


def kept_note(target: Mapping[str, float], findings: Sequence[str]) -> str:
    """A note on the findings that keep the prevalence of the training films; "" if there are none, or no target."""
    kept = [finding for finding in findings if finding not in target]
    if not target or not kept:
        return ""
    return f"Findings without a target prevalence, which keep that of the training films: {_list(kept)}."
