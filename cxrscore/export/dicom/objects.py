"""What DICOM objects are made from, and what all of them have in common: equipment, dates, patient and UIDs.

The SOP Instance UID of an object is a digest of its content without dates. The content names the film, the model, the
version of cxrscore and that of highdicom, which writes it. So scoring and exporting a film again gives the same
UID and an archive stores nothing twice, and different content never has the same UID.
"""

from __future__ import annotations

import datetime
import hashlib
import io
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cxrscore
from cxrscore.contract import Floats
from cxrscore.export.codes import LOCAL, FindingCode
from cxrscore.export.dicom.source import IDENTIFYING, DicomSource, SourceError, module, quiet, read_attributes
from cxrscore.export.object_kinds import ObjectKind
from cxrscore.images import Preprocessing

DESCRIPTION = "cxrscore: research only, not for diagnosis"
MANUFACTURER = "cxrscore"
CHARACTER_SET = "ISO_IR 192"
"""UTF-8, in all objects."""
_DEVICE = ("121007", "DCM", "Device")
_PROCESSING = ("109102", "DCM", "Processing Equipment")
_METHOD = re.compile("[A-Z0-9_]{1,16}")
"""Methods of compression that a film may name: one defined term."""
_NAMESPACE = uuid.UUID("6d1a6a0e-0b7c-5d0f-9a53-2c7f1a4e8b90")
_SEXES = ("M", "F", "O")
_DATES = ("InstanceCreationDate", "ContentDate", "PresentationCreationDate", "DateOfSecondaryCapture")
_TIMES = ("InstanceCreationTime", "ContentTime", "PresentationCreationTime", "TimeOfSecondaryCapture")


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """The algorithm of the scores, from the provenance.

    network     such as densenet121; "" if unknown; several models are joined by " + "
    model       SHA-256 of the model file or ensemble file, hex; "" if unknown; for several models the SHA-256 of these,
                joined by blanks
    parameters  further parameters, one text each
    created     end of scoring; None if unknown
    """

    network: str
    model: str
    parameters: tuple[str, ...]
    created: datetime.datetime | None


@dataclass(frozen=True, kw_only=True)
class FilmScores:
    """One film's scores. sha256 is of the film's bytes; probs and thresholds by finding, a threshold None if none."""

    sha256: str
    probs: Mapping[str, float]
    thresholds: Mapping[str, float | None]

    def above_threshold(self) -> tuple[str, ...]:
        """The findings whose probability is at or above the threshold of the model."""
        return tuple(
            finding
            for finding, prob in self.probs.items()
            if (threshold := self.thresholds.get(finding)) is not None and prob >= threshold
        )


@dataclass(frozen=True, kw_only=True)
class FindingMap:
    """The heat map of one finding.

    values     float32 [h,w], raw and signed, over the square of the model
    strongest  the largest value of all maps of the finding in the scores file: the end of the colour scale
    """

    values: Floats
    strongest: float


@dataclass(frozen=True, kw_only=True)
class StudyFilm:
    """What remains of a film until the last film of its study: all that the kinds of a study get."""

    source: DicomSource
    scores: FilmScores


@dataclass(frozen=True, kw_only=True)
class DicomFilm:
    """One scored film, for the kinds of a film.

    data       the bytes of its file
    maps       the maps of the findings that get objects, by finding
    explainer  the method of the maps, such as grad-cam; "" if unknown
    preprocessing  how the film became the square of the model; None if that is unknown, or models differ
    """

    data: bytes
    source: DicomSource
    scores: FilmScores
    maps: Mapping[str, FindingMap]
    algorithm: Algorithm
    explainer: str
    preprocessing: Preprocessing | None

    def place(self, finding: str) -> int:
        """The place of a finding among all findings of the scores, from 1."""
        return list(self.scores.probs).index(finding) + 1


@dataclass(frozen=True, kw_only=True)
class DicomObject:
    """An object to store: its kind, its SOP Instance UID and the bytes of its file."""

    kind: ObjectKind
    uid: str
    data: bytes


@dataclass(frozen=True)
class LeftOut:
    """A finding of a film that has no object of a kind, and why, in words that name neither."""

    reason: str


def uid(*parts: str) -> str:
    """A UID below 2.25 from text: PS3.5 B.2, with the name-based UUID of RFC 9562."""
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
    return f"2.25.{uuid.uuid5(_NAMESPACE, digest).int}"


def common_attributes(kind: ObjectKind, source: DicomSource, algorithm: Algorithm, place: int = 0) -> dict[str, Any]:
    """The arguments of the constructors of highdicom that all kinds share.

    place  of the finding among all findings, from 1, for kinds with an object for each finding: it is a part of the
           Instance Number

    There is one series for each kind, study, model and version, because the equipment is an attribute of the series.
    """
    hd = module("highdicom")
    return {
        "series_instance_uid": uid("series", kind.name, source.study, repr(_equipment_of(algorithm))),
        "series_number": kind.series_number,
        "sop_instance_uid": _unnamed(),
        "instance_number": 100 * source.number + place % 100 if place else source.number,
        **_equipment_of(algorithm),
        "contributing_equipment": [
            hd.ContributingEquipment(
                manufacturer=MANUFACTURER,
                purpose_of_reference=concept(_PROCESSING),
                manufacturer_model_name=short(algorithm.network or "unknown network"),
                software_versions=cxrscore.__version__,
                device_serial_number=algorithm.model[:64] or "unknown",
                contribution_description="Results of a neural network, for research only.",
            )
        ],
    }


def _equipment_of(algorithm: Algorithm) -> dict[str, str]:
    return {
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": short(algorithm.network or "unknown network"),
        "software_versions": cxrscore.__version__,
        "device_serial_number": algorithm.model[:64] or "unknown",
    }


def observer_device(algorithm: Algorithm) -> Any:
    """The observer of TID 1002: the model."""
    sr = module("highdicom").sr
    return sr.ObserverContext(
        observer_type=concept(_DEVICE),
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=uid("device", cxrscore.__version__, algorithm.model),
            name=MANUFACTURER,
            manufacturer_name=MANUFACTURER,
            model_name=short(algorithm.network or "unknown network"),
            serial_number=algorithm.model[:64] or "unknown",
        ),
    )


def coding_scheme() -> Any:
    """The private coding scheme, as an item of Coding Scheme Identification Sequence."""
    return module("highdicom.coding_schemes").CodingSchemeIdentificationItem(
        designator=LOCAL,
        name="Findings of cxrscore without a code in PS3.16",
        version=cxrscore.__version__,
        responsible_organization=MANUFACTURER,
    )


def source_dataset(source: DicomSource) -> Any:
    """The film as a data set for highdicom, without patient data: ``finished`` sets the patient, if requested."""
    film = module("pydicom").Dataset()
    film.StudyInstanceUID, film.SeriesInstanceUID = source.study, source.series
    film.SOPClassUID, film.SOPInstanceUID = source.sop_class, source.instance
    for name in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
        setattr(film, name, None)
    film.StudyDate = film.StudyTime = film.ReferringPhysicianName = None
    return film


def set_compression(made: Any, film: DicomFilm) -> None:
    """Says of an image that the film from which it is made was compressed with loss, which is said for good."""
    made.LossyImageCompression = "01" if film.source.lossy else "00"
    names = ("LossyImageCompressionRatio", "LossyImageCompressionMethod")
    ratio, method = read_attributes(film.data, names).values()
    if film.source.lossy and isinstance(ratio, float) and 1 <= ratio < 1e6 and _METHOD.fullmatch(str(method)):
        made.LossyImageCompressionRatio, made.LossyImageCompressionMethod = ratio, method


@contextmanager
def highdicom_reported() -> Iterator[Any]:
    """highdicom, silent; an error of it about a value of the film becomes a SourceError that does not quote it."""
    hd = module("highdicom")
    with quiet():
        try:
            yield hd
        except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
            raise SourceError(f"its attributes cannot be written ({type(error).__name__})") from None


def finished(dataset: Any, kind: ObjectKind, source: DicomSource, algorithm: Algorithm) -> DicomObject:
    """The object as a file, with its UID, its dates and the patient of the source.

    SourceError if an attribute of the source cannot be written. Dates are those of the scoring in UTC, not of the
    export, so that a second export writes the same file.
    """
    _set_patient(dataset, source.patient)
    _set_times(dataset, datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC))
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = _unnamed()
    own = uid("object", kind.name, hashlib.sha256(_encoded(dataset)).hexdigest())
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = own
    _set_times(dataset, algorithm.created or datetime.datetime.now(datetime.UTC))
    return DicomObject(kind=kind, uid=own, data=_encoded(dataset))


def _unnamed() -> str:
    """The UID of an object whose content is not complete."""
    return uid("unnamed")


def _encoded(dataset: Any) -> bytes:
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def concept(code: Sequence[str]) -> Any:
    """A code (value, scheme, meaning) as a coded concept of highdicom."""
    value, scheme, meaning = code
    return module("highdicom").sr.CodedConcept(value=value, scheme_designator=scheme, meaning=meaning)


def finding_concept(code: FindingCode) -> Any:
    """The code of a finding as a coded concept of highdicom."""
    return concept((code.value, code.scheme, code.meaning))


def _set_times(dataset: Any, when: datetime.datetime) -> None:
    utc = when.astimezone(datetime.UTC)
    for name in _DATES:
        if name in dataset or name.startswith("InstanceCreation"):
            setattr(dataset, name, utc.strftime("%Y%m%d"))
    for name in _TIMES:
        if name in dataset or name.startswith("InstanceCreation"):
            setattr(dataset, name, utc.strftime("%H%M%S"))
    for item in dataset.get("ContributingEquipmentSequence") or ():
        item.ContributionDateTime = utc.strftime("%Y%m%d%H%M%S+0000")


def _set_patient(dataset: Any, patient: Mapping[str, str]) -> None:
    config, elements = module("pydicom.config"), module("pydicom.dataelem")
    dictionary = module("pydicom.datadict")
    for name, text in patient.items():
        tag = dictionary.tag_for_keyword(name)
        try:
            element = elements.DataElement(tag, dictionary.dictionary_VR(tag), text, validation_mode=config.RAISE)
        except ValueError:
            if name in IDENTIFYING:
                raise SourceError(f"its {name} is not valid in DICOM") from None
            continue  # it stays empty
        if name != "PatientSex" or text in _SEXES:
            dataset[tag] = element


def short(text: str) -> str:
    """A text truncated to the length of LO."""
    return "".join(c if c.isprintable() and c != "\\" else "_" for c in text)[:64]
