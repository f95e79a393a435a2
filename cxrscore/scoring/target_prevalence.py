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
from cxrscore.models.model_file import EnsembleFile, ModelFile
from cxrscore.remote import local_path

COLUMNS = ("finding", "prevalence")
LEAST = 1e-6
"""Smallest target, and smallest distance from 1: probabilities for a rarer finding would round to one number, and all
films would reach the threshold."""
_EXPECTED = "expected a number between 0 and 1, not closer to either than 0.000001"


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
        if not isinstance(finding, str) or not number or not LEAST <= value <= 1 - LEAST:
            raise InputError(f"target_prevalence[{finding!r:.100}] is {value!r:.100}, {_EXPECTED}")
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
    if not LEAST <= value <= 1 - LEAST:
        raise table.row_error(row, f"prevalence is {cell!r:.100}, {_EXPECTED}")
    return value


def checked_target(target: TargetPrevalence | None, files: Sequence[ModelFile]) -> dict[str, float]:
    """The target by the names of the models' findings, in their order; empty without a target.

    InputError if a finding is not one of the models, or if a model, or the ensemble whose members they are, does not
    know its training prevalence.
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
        _check_outputs(file)
    ensemble = files[0].member_of  # the calibration of an ensemble is moved, not that of its members
    for scorer in files if ensemble is None else (ensemble,):
        _check_calibration(scorer, findings, named)
    return {finding: named[finding] for finding in findings if finding in named}


def _list(findings: Sequence[str]) -> str:
    return ", ".join(findings[:20]) + (f" and {len(findings) - 20} more" if len(findings) > 20 else "")


def _check_outputs(file: ModelFile) -> None:
    """InputError unless the model has one probability for each finding."""
    if file.spec.activation != "sigmoid":
        raise InputError(
            f"{file.path} has {file.spec.activation} outputs; a target prevalence needs sigmoid outputs, one "
            "probability for each finding. Train with --activation sigmoid."
        )


def _check_calibration(file: ModelFile | EnsembleFile, findings: Sequence[str], named: Mapping[str, float]) -> None:
    """InputError unless the model or ensemble records the prevalence for which its probabilities hold."""
    calibration = file.document.get("calibration")
    if not calibration or "prevalence" not in calibration:
        lacks = "records no prevalence of its training films" if calibration else "is not calibrated"
        raise InputError(
            f"{file.path} {lacks}, so its probabilities cannot be moved to a target prevalence. Train it again with "
            "this cxrscore and with calibration, or leave out --target-prevalence."
        )
    for finding, trained in zip(findings, calibration["prevalence"], strict=True):
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
