"""Codes by which other programs know a finding.

A code of a public terminology stands here only where a context group of DICOM PS3.16 lists it with this meaning;
tests/unit/test_export_codes.py compares with these groups as pydicom ships them. All other findings have a code of
cxrscore's own scheme, for a private code is known to be private, and a wrong one is not known to be wrong: CID 12248,
for one, has the code of a heart's "enlarged septal foramen" under the name of cardiomegaly.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

LOCAL = "99CXRSCORE"
"""Designator of cxrscore's own scheme; PS3.16 8.2 wants 99 before a private one."""
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_/. -]{0,15}")
"""What can be a Code Value: SH, at most 16 characters."""


@dataclass(frozen=True, kw_only=True)
class FindingCode:
    """A coded finding. ``value`` has at most 16 characters, ``meaning`` at most 64, neither a backslash."""

    scheme: str
    value: str
    meaning: str

    def as_dict(self) -> dict[str, str]:
        return {"scheme": self.scheme, "value": self.value, "meaning": self.meaning}


_PUBLIC = {
    "Effusion": FindingCode(scheme="SCT", value="60046008", meaning="Pleural effusion"),
    "Infiltration": FindingCode(scheme="DCM", value="112121", meaning="Infiltrate"),
    "Mass": FindingCode(scheme="SCT", value="4147007", meaning="Mass"),
    "Nodule": FindingCode(scheme="SCT", value="27925004", meaning="Nodule"),
    "Pneumothorax": FindingCode(scheme="SCT", value="36118008", meaning="Pneumothorax"),
    "Edema": FindingCode(scheme="SCT", value="19242006", meaning="Pulmonary edema"),
}
_SHORTER = {"Pleural_Thickening": "PleuralThicken"}


def finding_code(finding: str) -> FindingCode:
    """The code of a finding, by its canonical name."""
    if finding in _PUBLIC:
        return _PUBLIC[finding]
    value = _SHORTER.get(finding, finding)
    if not _PLAIN.fullmatch(value) or value != value.strip():
        value = "F" + hashlib.sha256(finding.encode("utf-8", "surrogatepass")).hexdigest()[:15]
    meaning = "".join(c if c.isprintable() and c != "\\" else "_" for c in finding)[:64].strip() or value
    return FindingCode(scheme=LOCAL, value=value, meaning=meaning)
