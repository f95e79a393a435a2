"""The kinds of DICOM objects that an export writes: one table for options, series and messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cxrscore.errors import InputError


@dataclass(frozen=True, kw_only=True)
class ObjectKind:
    """One kind of objects.

    name           as in ``--objects``: the modality code or the usual abbreviation of PS3.3
    title          the name of the IOD, in the singular
    series_number  of the series with the objects of this kind, one series for each study and model
    with_maps      whether its objects show heat maps
    """

    name: str
    title: str
    series_number: int
    with_maps: bool


SR = ObjectKind(name="sr", title="Structured Report", series_number=9001, with_maps=False)
PM = ObjectKind(name="pm", title="Parametric Map", series_number=9002, with_maps=True)
SC = ObjectKind(name="sc", title="Secondary Capture", series_number=9003, with_maps=True)
PR = ObjectKind(name="pr", title="Grayscale Softcopy Presentation State", series_number=9004, with_maps=True)
KO = ObjectKind(name="ko", title="Key Object Selection Document", series_number=9005, with_maps=False)

OBJECT_KINDS: Mapping[str, ObjectKind] = {kind.name: kind for kind in (SR, PM, SC, PR, KO)}
"""All kinds by name, in the order in which they are written."""


def parse_objects(text: str) -> tuple[str, ...]:
    """The names in ``--objects``, separated by commas; InputError for another name."""
    return check_objects(name.strip() for name in text.split(","))


def check_objects(names: Iterable[str]) -> tuple[str, ...]:
    """These names in the order of the table, each once; all names if none is given. InputError for another name."""
    given = set(names)
    if unknown := sorted(given - set(OBJECT_KINDS)):
        raise InputError(f"there is no DICOM object {unknown[0]!r}; expected {', '.join(OBJECT_KINDS)}")
    return tuple(name for name in OBJECT_KINDS if not given or name in given)
