"""The scores of one film as a DICOM structured report: Comprehensive SR, template TID 1500.

One group of TID 1501 per finding: the finding as a code, and one measurement, (122157, DCM, "Probability"), without
unit. The report belongs to the study of its film, and names the film as the source of each group.
"""

from __future__ import annotations

import datetime
import hashlib
import io
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cxrscore
from cxrscore.export.codes import LOCAL, FindingCode, finding_code
from cxrscore.export.source import DicomSource, SourceError, module, quiet

SERIES_NUMBER = 9001
DESCRIPTION = "cxrscore: research only, not for diagnosis"
_PROBABILITY = ("122157", "DCM", "Probability")
_NO_UNIT = ("1", "UCUM", "no units")
_ARTIFICIAL_INTELLIGENCE = ("123110", "DCM", "Artificial Intelligence")
_PROCESSING = ("109102", "DCM", "Processing Equipment")
_DEVICE = ("121007", "DCM", "Device")
_PROCEDURES = (("413815006", "SCT", "Chest imaging"), ("168537006", "SCT", "Plain radiography"))
_NAMESPACE = uuid.UUID("6d1a6a0e-0b7c-5d0f-9a53-2c7f1a4e8b90")


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


def report_uid(source: DicomSource, scored: FilmScores, algorithm: Algorithm, *, number: int) -> str:
    """The UID of the report, a digest of its content: different contents never have the same UID."""
    return _uid("report", cxrscore.__version__, repr((source, scored, algorithm, number)))


def report_bytes(source: DicomSource, scored: FilmScores, algorithm: Algorithm, *, uid: str, number: int) -> bytes:
    """The report as a DICOM file, with equal bytes for equal input; SourceError if an attribute of the source cannot be
    written.

    uid     result of report_uid
    number  Instance Number, from 1
    """
    hd = module("highdicom")
    with quiet():
        report = hd.sr.ComprehensiveSR(
            evidence=[_evidence(source)],
            content=_content(hd, source, scored, algorithm)[0],
            series_instance_uid=_uid("series", source.study, algorithm.model, str(algorithm.created)),
            series_number=SERIES_NUMBER,
            sop_instance_uid=uid,
            instance_number=number,
            manufacturer="cxrscore",
            manufacturer_model_name=_short(algorithm.network or "unknown network"),
            software_versions=cxrscore.__version__,
            device_serial_number=algorithm.model[:64] or "unknown",
            series_description=DESCRIPTION,
            specific_character_set="ISO_IR 192",
            is_complete=True,
            contributing_equipment=[_equipment(hd, algorithm)],
            coding_schemes=[_scheme()],
        )
        _set_times(report, algorithm.created)
        _set_patient(report, source.patient)
        file = io.BytesIO()
        report.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _evidence(source: DicomSource) -> Any:
    """The film as a data set for highdicom, without patient data: patient tags are set afterwards, if requested."""
    film = module("pydicom").Dataset()
    film.StudyInstanceUID, film.SeriesInstanceUID = source.study, source.series
    film.SOPClassUID, film.SOPInstanceUID = source.sop_class, source.instance
    for name in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
        setattr(film, name, None)
    film.StudyDate = film.StudyTime = film.ReferringPhysicianName = None
    return film


def _content(hd: Any, source: DicomSource, scored: FilmScores, algorithm: Algorithm) -> Any:
    context = hd.sr.ObservationContext(
        observer_device_context=hd.sr.ObserverContext(
            observer_type=_concept(hd, _DEVICE),
            observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(
                uid=_uid("device", cxrscore.__version__, algorithm.model),
                name="cxrscore",
                manufacturer_name="cxrscore",
                model_name=_short(algorithm.network or "unknown network"),
                serial_number=algorithm.model[:64] or "unknown",
            ),
        )
    )
    return hd.sr.MeasurementReport(
        observation_context=context,
        procedure_reported=[_concept(hd, code) for code in _PROCEDURES],
        imaging_measurements=[_group(hd, source, scored, algorithm, finding) for finding in scored.probs],
    )


def _group(hd: Any, source: DicomSource, scored: FilmScores, algorithm: Algorithm, finding: str) -> Any:
    code = finding_code(finding)
    threshold = scored.thresholds.get(finding)
    texts = () if threshold is None else (f"threshold of {code.meaning}: {threshold}",)
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(
            identifier=f"cxrscore {code.meaning}",
            uid=_uid("group", source.instance, scored.sha256, algorithm.model, finding),
        ),
        finding_type=_coded(hd, code),
        algorithm_id=hd.sr.AlgorithmIdentification(
            name=f"cxrscore {algorithm.network}".strip(),
            version=f"{cxrscore.__version__}, model {algorithm.model[:16] or 'unknown'}",
            parameters=[*algorithm.parameters, *texts],
            family=_concept(hd, _ARTIFICIAL_INTELLIGENCE),
            manufacturer="cxrscore",
        ),
        measurements=[
            hd.sr.Measurement(name=_concept(hd, _PROBABILITY), value=scored.probs[finding], unit=_concept(hd, _NO_UNIT))
        ],
        source_images=[
            hd.sr.SourceImageForMeasurementGroup(
                referenced_sop_class_uid=source.sop_class, referenced_sop_instance_uid=source.instance
            )
        ],
    )


def _equipment(hd: Any, algorithm: Algorithm) -> Any:
    return hd.ContributingEquipment(
        manufacturer="cxrscore",
        purpose_of_reference=_concept(hd, _PROCESSING),
        manufacturer_model_name=_short(algorithm.network or "unknown network"),
        software_versions=cxrscore.__version__,
        device_serial_number=algorithm.model[:64] or "unknown",
        contribution_description="Probabilities of findings by a neural network, for research only.",
    )


def _scheme() -> Any:
    return module("highdicom.coding_schemes").CodingSchemeIdentificationItem(
        designator=LOCAL,
        name="Findings of cxrscore without a code in PS3.16",
        version=cxrscore.__version__,
        responsible_organization="cxrscore",
    )


def _concept(hd: Any, code: Sequence[str]) -> Any:
    value, scheme, meaning = code
    return hd.sr.CodedConcept(value=value, scheme_designator=scheme, meaning=meaning)


def _coded(hd: Any, code: FindingCode) -> Any:
    return _concept(hd, (code.value, code.scheme, code.meaning))


def _set_times(report: Any, created: datetime.datetime | None) -> None:
    """Time of scoring in UTC, not of the export, so that a second export writes the same file."""
    if created is not None:
        utc = created.astimezone(datetime.UTC)
        report.ContentDate = report.InstanceCreationDate = utc.strftime("%Y%m%d")
        report.ContentTime = report.InstanceCreationTime = utc.strftime("%H%M%S")
        for item in report.ContributingEquipmentSequence:
            item.ContributionDateTime = utc.strftime("%Y%m%d%H%M%S+0000")


def _set_patient(report: Any, patient: Mapping[str, str]) -> None:
    config, elements = module("pydicom.config"), module("pydicom.dataelem")
    dictionary = module("pydicom.datadict")
    for name, text in patient.items():
        tag = dictionary.tag_for_keyword(name)
        try:
            report[tag] = elements.DataElement(tag, dictionary.dictionary_VR(tag), text, validation_mode=config.RAISE)
        except ValueError:
            raise SourceError(f"its {name} is not valid in DICOM") from None


def _short(text: str) -> str:
    """A text truncated to the length of LO."""
    return "".join(c if c.isprintable() and c != "\\" else "_" for c in text)[:64]


def _uid(*parts: str) -> str:
    """A UID below 2.25 from text: PS3.5 B.2, with the name-based UUID of RFC 9562."""
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
    return f"2.25.{uuid.uuid5(_NAMESPACE, digest).int}"
