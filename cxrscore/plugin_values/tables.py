"""Checks of the tables that label readers return, before they are used."""

from __future__ import annotations

import dataclasses
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cxrscore.contract import Dataset, Floats, LabelTable
from cxrscore.errors import InputError, PluginError, PluginWarning
from cxrscore.escape_control_chars import escape_control_characters
from cxrscore.labels.generic_csv import plain
from cxrscore.labels.roles import LayoutDataset
from cxrscore.labels.table import read_header
from cxrscore.labels.uncertain_labels import UncertainDataset
from cxrscore.plugin_values.origin import Origin, checked_array, describe

LONGEST_FINDING = 200
"""Largest number of characters of a finding's name."""


def checked_dataset(dataset: Dataset, origin: Origin) -> Dataset:
    """Wrap a reader so that its results are checked.

    Parameters
    ----------
    dataset
        As ``cxrscore_datasets`` returns it.
    origin
        Origin of the reader.

    Returns
    -------
    Dataset
        Its ``read`` raises PluginError if the table violates the contract. Its ``recognises`` returns False, with a
        PluginWarning, if the reader's own function fails, so that the other readers still work. If a reader of another
        distribution reads a table that ``plain`` would also read, there is a PluginWarning.
    """

    def recognises(columns: Sequence[str]) -> bool:
        try:
            with origin.calling("recognises"):
                answer = dataset.recognises(tuple(columns))
            if not isinstance(answer, bool | np.bool_):
                raise origin.fault("recognises", describe(answer), "True or False")
        except PluginError as error:
            warnings.warn(f"{error} This reader is skipped.", PluginWarning, stacklevel=2)
            return False
        return bool(answer)

    def read(path: Path) -> LabelTable:
        if not origin.own and _is_plain(path):
            warnings.warn(
                f"{path.name} is read by {origin}, although the layout plain of cxrscore recognises this header, too. "
                "To skip this reader, set CXRSCORE_PLUGINS to the names of the other plugins.",
                PluginWarning,
                stacklevel=2,
            )
        return _read(origin, path, lambda: dataset.read(path))

    kept: dict[str, Any] = {"recognises": recognises, "read": read}
    if isinstance(dataset, UncertainDataset):
        read_as = dataset.read_as
        kept["read_as"] = lambda path, label: _read(origin, path, lambda: read_as(path, label))
    if isinstance(dataset, LayoutDataset):
        return dataclasses.replace(dataset, **kept)
    return Dataset(name=dataset.name, summary=dataset.summary, **kept)


def _is_plain(path: Path) -> bool:
    """Whether the layout plain recognises the header of a table."""
    try:
        return plain.recognises(read_header(path))
    except InputError:  # an unreadable header: only the plugin's own reader can read it
        return False


def _read(origin: Origin, path: Path, read: Callable[[], LabelTable]) -> LabelTable:
    call = f"read of {path.name}"
    with origin.calling(call):
        return _checked_table(origin, call, read())


def _checked_table(origin: Origin, call: str, table: object) -> LabelTable:
    if not isinstance(table, LabelTable):
        raise origin.fault(call, describe(table), "a LabelTable")
    films, findings = _names(origin, call, "film", table.films), _names(origin, call, "finding", table.findings)
    if not findings:
        raise origin.fault(call, "no finding", "one or more")
    odd = next((name for name in findings if len(name) > LONGEST_FINDING or not name.isprintable()), None)
    if odd is not None:
        met = f"a finding of {len(odd):,} characters, {escape_control_characters(odd[:20])!r}"
        wanted = f"at most {LONGEST_FINDING} printable ones"
        raise InputError(f"{call}: {met}, expected {wanted}") if origin.own else origin.fault(call, met, wanted)
    patients = None
    if table.patients is not None:
        patients = _texts(origin, call, "patients", table.patients, len(films))
    return dataclasses.replace(
        table,
        films=films,
        findings=findings,
        labels=_labels(origin, call, table.labels, films, findings),
        patients=patients,
        columns=_columns(origin, call, table.columns, len(films)),
    )


def _names(origin: Origin, call: str, what: str, names: object) -> tuple[str, ...]:
    """Names of films or of findings: texts, none of them empty or duplicate."""
    found = _texts(origin, call, f"{what} names", names)
    if "" in found:
        raise origin.fault(call, f"an empty {what} name", "none")
    # A user's table may name a film twice. cxrscore's own readers leave this to the join, which names the table.
    if not (origin.own and what == "film") and len(set(found)) < len(found):
        name, times = Counter(found).most_common(1)[0]
        raise origin.fault(call, f"the {what} name {name!r} {times} times", "each once")
    return found


def _texts(origin: Origin, call: str, what: str, values: object, count: int | None = None) -> tuple[str, ...]:
    if not isinstance(values, tuple | list):
        raise origin.fault(call, f"{what} that are {describe(values)}", "a tuple of texts")
    for value in values:
        if not isinstance(value, str):
            raise origin.fault(call, f"{what} with {describe(value)} among them", "a tuple of texts")
        if not value.isprintable() and not _is_unicode(value) and what not in ("film names", "finding names"):
            raise origin.fault(
                call,
                f"{what} with {escape_control_characters(value[:20])!r} among them",
                "texts of Unicode without NUL",
            )
    if count is not None and len(values) != count:
        raise origin.fault(call, f"{len(values)} {what} for {count} films", "one per film")
    return tuple(values)


def _is_unicode(text: str) -> bool:
    return "\0" not in text and not any(0xD800 <= ord(c) <= 0xDFFF for c in text)


def _columns(origin: Origin, call: str, columns: object, count: int) -> dict[str, tuple[str, ...]]:
    if not isinstance(columns, Mapping) or not all(isinstance(name, str) for name in columns):
        raise origin.fault(call, f"columns that are {describe(columns)}", "texts by the name of a column")
    return {name: _texts(origin, call, f"cells of column {name!r}", cells, count) for name, cells in columns.items()}


def _labels(origin: Origin, call: str, labels: object, films: tuple[str, ...], findings: tuple[str, ...]) -> Floats:
    """float32 [N,C] of numbers from 0 to 1 and NaN."""
    wanted = f"{len(films)} films and {len(findings)} findings"
    if isinstance(labels, np.ndarray) and labels.shape != (len(films), len(findings)):
        raise origin.fault(
            call, f"labels of shape {list(labels.shape)} for {wanted}", "one row per film, one column per finding"
        )
    shape = (len(films), len(findings))
    found = checked_array(origin, f"{call}: labels", labels, shape, finite=False, any_float=True)
    odd = ~(np.isnan(found) | ((found >= 0) & (found <= 1)))
    if odd.any():
        row, column = np.argwhere(odd)[0]
        met = f"the label {found[row, column]:g} of film {films[row]!r} and finding {findings[column]!r}"
        raise origin.fault(call, met, "0 to 1, or NaN")
    return found
