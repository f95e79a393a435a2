"""The attributes of a DICOM film that its objects need: its UIDs, its size and, if requested, patient data."""

from __future__ import annotations

import importlib
import logging
import re
import struct
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from cxrscore.errors import InputError

INSTALL = 'pip install "cxrscore[dicom]"'
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID")
PATIENT = (
    *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
)
"""Attributes of the modules Patient and General Study of PS3.3, by which an archive files. They are copied, or none is:
see ExportOptions.copies_patient."""
IDENTIFYING = ("PatientName", "PatientID", "IssuerOfPatientID")
"""Those by which an archive knows the patient: a film whose value is not valid cannot have an object. Other values that
are not valid are left empty, as the standard allows."""
_RAISED = (
    *(ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, OSError, RuntimeError, StopIteration),
    *(TypeError, ValueError, struct.error),
)
"""Exceptions of Python that pydicom raises for damaged elements."""
_UID = re.compile(r"(?=.{1,64}$)(0|[1-9]\d*)(\.(0|[1-9]\d*))*")
_LOSSY = tuple(f"1.2.840.10008.1.2.4.{end}" for end in ("50", "51", "81", "91"))
"""Transfer syntaxes with loss, or with the possibility of it."""
_NUMBER = re.compile(r"[1-9][0-9]{0,5}")


class SourceError(Exception):
    """A film cannot be the source of an object. Raised and caught inside this package; its text never quotes the
    film."""


@dataclass(frozen=True, kw_only=True)
class DicomSource:
    """One DICOM film.

    study, series, sop_class, instance  its UIDs
    patient                             texts by the keywords of PATIENT; empty unless requested
    number                              its Instance Number; 1 if it has none, or an unusual one
    lossy                               whether its pixels were compressed with loss
    """

    study: str
    series: str
    sop_class: str
    instance: str
    patient: Mapping[str, str]
    number: int = 1
    lossy: bool = False


def read_source(data: bytes, *, with_patient: bool) -> DicomSource:
    """Reads only these attributes; SourceError if one is missing or invalid."""
    pydicom = module("pydicom")
    wanted = [*_UIDS, "InstanceNumber", "LossyImageCompression", *(PATIENT if with_patient else ())]
    try:
        with quiet():
            found = pydicom.dcmread(BytesIO(data), force=True, stop_before_pixels=True, specific_tags=wanted)
            uids = {name: str(found.get(name) or "") for name in _UIDS}
            patient = {name: found[name] for name in PATIENT if with_patient and found.get(name)}
            several = [name for name, element in patient.items() if element.VM > 1]
            patient = {name: element for name, element in patient.items() if name in IDENTIFYING or name not in several}
            lossy = str(found.get("LossyImageCompression") or "") == "01"
            syntax = str(found.file_meta.get("TransferSyntaxUID") or "") if hasattr(found, "file_meta") else ""
            number = str(found.get("InstanceNumber") or "").strip()
    except _damage() as error:
        # The message may quote the file, so only the type is reported, without the exception chain.
        raise SourceError(f"it cannot be read as DICOM ({type(error).__name__})") from None
    for name, uid in uids.items():
        if not _UID.fullmatch(uid):
            raise SourceError(f"it has no usable {name}, by which an object refers to its film")
    unclear = [name for name in several if name in IDENTIFYING]
    if unclear:  # which of the values is the patient's is not known
        raise SourceError(f"its {unclear[0]} has several values, expected one")
    return DicomSource(
        study=uids["StudyInstanceUID"],
        series=uids["SeriesInstanceUID"],
        sop_class=uids["SOPClassUID"],
        instance=uids["SOPInstanceUID"],
        patient={name: str(element.value) for name, element in patient.items()},
        number=int(number) if _NUMBER.fullmatch(number) else 1,
        lossy=lossy or syntax in _LOSSY,
    )


def read_attributes(data: bytes, names: Sequence[str]) -> dict[str, Any]:
    """The values of a DICOM film by these keywords; one that is missing, empty or invalid is None. SourceError if the
    film cannot be read."""
    pydicom = module("pydicom")
    try:
        with quiet():
            found = pydicom.dcmread(BytesIO(data), force=True, stop_before_pixels=True, specific_tags=list(names))
            return {name: _value(found, name) for name in names}
    except _damage() as error:
        raise SourceError(f"it cannot be read as DICOM ({type(error).__name__})") from None


def _damage() -> tuple[type[Exception], ...]:
    """The exceptions of pydicom for damaged elements, also those of its own."""
    errors = module("pydicom.errors")
    return (*_RAISED, errors.InvalidDicomError, errors.BytesLengthException)


def _value(dataset: Any, name: str) -> Any:
    try:
        return dataset.get(name)  # which converts the value
    except _damage():
        return None


def module(name: str) -> Any:
    """A module of the extra dicom; InputError if it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        package = name.partition(".")[0]
        raise InputError(f"DICOM objects need {package}, which is not installed. Install it with: {INSTALL}") from None


@contextmanager
def quiet() -> Iterator[None]:
    """Suppresses warnings of pydicom and highdicom, because they quote values that may identify a patient."""
    loggers = [logging.getLogger(name) for name in ("pydicom", "highdicom")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
