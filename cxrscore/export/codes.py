"""Codes of findings for other programs.

This table contains a code of a public terminology only if a context group of DICOM PS3.16 lists it with this meaning;
tests/unit/test_export_codes.py compares it with the groups in pydicom. All other findings have a code of the private
scheme of cxrscore, because a private code is recognisable and a wrong public code is not: CID 12248, for example,
lists the code of "enlarged septal foramen" under the name of cardiomegaly.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

LOCAL = "99CXRSCORE"
"""Designator of the private scheme of cxrscore; PS3.16 8.2 requires the prefix 99."""
_PLAIN = re.compile(r"(?!.*  )[A-Za-z0-9][A-Za-z0-9_/. -]{0,15}")
"""Valid Code Values: SH, at most 16 characters; FHIR has no code with two blanks in a row."""


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
