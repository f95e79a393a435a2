"""The scores of one film in HL7 FHIR R4: a transaction of one DiagnosticReport, one Observation per finding, a Device.

R4 is the release that hospitals integrate with; R4B has the same resources.

The transaction creates only what cxrscore is the author of. The patient and the imaging study belong to other systems,
so they are referenced by their identifiers. Study, series and instance are also a contained ImagingStudy, because R4
has no other place for an instance.

The id of a resource is a digest of the film and the model, and each resource is sent by PUT: if the same scores are
sent twice, a server has the same resources as before.
"""

from __future__ import annotations

import datetime
import html
import json
import re
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import cxrscore
from cxrscore.export.codes import LOCAL, FindingCode, finding_code
from cxrscore.export.dicom.objects import Algorithm, FilmScores
from cxrscore.export.dicom.source import DicomSource
from cxrscore.io.strict_json import unicode_text

NOTICE = "Research only, not for diagnosis."
LOCAL_SYSTEM = "urn:oid:2.25.134581376785208175128745989747376245670"
"""The code system of findings without a public code: an OID from a UUID, as X.667 has them, since cxrscore owns no
domain. It never changes."""
_SYSTEMS = {
    "SCT": "http://snomed.info/sct",
    "DCM": "http://dicom.nema.org/resources/ontology/DCM",
    LOCAL: LOCAL_SYSTEM,
}
_HL7 = "http://terminology.hl7.org/CodeSystem"
_ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
_UCUM = "http://unitsofmeasure.org"
_DICOM_UID = "urn:dicom:uid"
_URI = "urn:ietf:rfc:3986"
_NAMESPACE = uuid.UUID("6d29b6a6-0a05-54f4-a0b9-7e3ed3b3d8f0")
_IMAGING_REPORT = {"system": "http://loinc.org", "code": "18748-4"}
"""The LOINC code for reports of imaging, which CID 7000 of PS3.16 lists. Codes for views of the chest say how many were
taken, which one film does not tell."""
# As in the structured report: the algorithm family.
_AI = {"system": _SYSTEMS["DCM"], "code": "123110", "display": "Artificial Intelligence"}

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ScoredFilm:
    """One film and its scores.

    name      path of the film below the films folder, or its hash; used only for films that are not DICOM
    modality  DICOM modality; "" if unknown
    source    UIDs, and patient data on request; None for a film that is not DICOM
    """

    name: str
    modality: str
    source: DicomSource | None
    scored: FilmScores


def bundle_id(film: ScoredFilm, algorithm: Algorithm) -> str:
    """The id of the film's bundle and of its DiagnosticReport."""
    return _id("report", *_origin(film), device_id(algorithm))


def bundle_bytes(film: ScoredFilm, algorithm: Algorithm) -> bytes:
    """The bundle as JSON in UTF-8; equal bytes for equal input."""
    text = json.dumps(film_bundle(film, algorithm), ensure_ascii=False, allow_nan=False, indent=1)
    return unicode_text(text).encode() + b"\n"


def film_bundle(film: ScoredFilm, algorithm: Algorithm) -> Json:
    """The transaction; see the module."""
    device = _device(algorithm)
    shared = _shared(film, algorithm)
    observations = [_observation(film, algorithm, finding, shared) for finding in film.scored.probs]
    report = _report(film, algorithm, [_full_url(one) for one in observations], shared)
    return {
        "resourceType": "Bundle",
        "id": report["id"],
        "type": "transaction",
        "entry": [
            {
                "fullUrl": _full_url(one),
                "resource": one,
                "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"},
            }
            for one in (device, *observations, report)
        ],
    }


def device_id(algorithm: Algorithm) -> str:
    """The id of the Device: other versions, models and settings are other devices."""
    return _id("device", cxrscore.__version__, algorithm.network, algorithm.model, *algorithm.parameters)


def _device(algorithm: Algorithm) -> Json:
    network = _clean(algorithm.network)
    names = [{"name": "cxrscore", "type": "manufacturer-name"}]
    if network:
        names.append({"name": network, "type": "model-name"})
    versions = [{"type": {"text": "cxrscore"}, "value": cxrscore.__version__}]
    found: Json = {
        "resourceType": "Device",
        "id": device_id(algorithm),
        "identifier": [_own_identifier(device_id(algorithm))],
        "manufacturer": "cxrscore",
        "deviceName": names,
        "type": {"text": "Neural network for chest X-rays"},
        "version": versions,
        "note": [{"text": text} for text in (NOTICE, *map(_clean, algorithm.parameters)) if text],
    }
    if network:
        found["modelNumber"] = network
    if digest := _clean(algorithm.model):
        found["serialNumber"] = digest
        versions.append({"type": {"text": "SHA-256 of the model"}, "value": digest})
    return found


def _shared(film: ScoredFilm, algorithm: Algorithm) -> Json:
    """What the report and each observation have in common: status, patient, dates and, contained, the study."""
    found: Json = {"status": "preliminary"}
    patient = {} if film.source is None else _valid(film.source.patient)
    if film.source is not None:
        found["contained"] = [_study(film.source, film.modality, patient)]
    if subject := _subject(patient):
        found["subject"] = subject
    if day := patient.get("StudyDate"):
        found["effectiveDateTime"] = day
    if algorithm.created is not None:
        found["issued"] = algorithm.created.astimezone(datetime.UTC).isoformat(timespec="seconds")
    return found


def _observation(film: ScoredFilm, algorithm: Algorithm, finding: str, shared: Json) -> Json:
    code, threshold = finding_code(finding), film.scored.thresholds.get(finding)
    found: Json = {
        "resourceType": "Observation",
        "id": _id("observation", *_origin(film), device_id(algorithm), finding),
        **shared,
        "category": [_concept(f"{_HL7}/observation-category", "imaging")],
        "code": {"coding": [_coding(code)], "text": f"Probability of {code.meaning}"},
        **_value(film.scored.probs[finding], threshold),
        "method": {"coding": [_AI], "text": "Probability by a neural network"},
        "device": {"reference": f"urn:uuid:{device_id(algorithm)}", "type": "Device"},
        "derivedFrom": [_film_reference(film)],
        "note": [{"text": f"{NOTICE} {_calibration(algorithm)}".strip()}],
    }
    return found


def _calibration(algorithm: Algorithm) -> str:
    """The sentence on calibration, with which the parameters end."""
    return _clean(algorithm.parameters[-1]) if algorithm.parameters else ""


def _value(prob: float, threshold: float | None) -> Json:
    """The probability, and on which side of the threshold it is."""
    found: Json = {"valueQuantity": _quantity(prob)}
    if threshold is not None:
        positive = prob >= threshold
        interpretation = _concept(f"{_HL7}/v3-ObservationInterpretation", "POS" if positive else "NEG")
        interpretation["text"] = f"{'at or above' if positive else 'below'} the threshold of the model, {threshold:.3g}"
        found["interpretation"] = [interpretation]
        text = f"below the threshold of the model, {threshold:.3g}"
        found["referenceRange"] = [{"high": _quantity(threshold), "text": text}]
    return found


def _report(film: ScoredFilm, algorithm: Algorithm, observations: list[str], shared: Json) -> Json:
    conclusion = _conclusion(film.scored, algorithm)
    found: Json = {
        "resourceType": "DiagnosticReport",
        "id": bundle_id(film, algorithm),
        "text": {
            "status": "generated",
            "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{html.escape(conclusion)}</p></div>',
        },
        **shared,
        "identifier": [_own_identifier(bundle_id(film, algorithm))],
        "category": [_concept(f"{_HL7}/v2-0074", "RAD")],
        "code": {"coding": [_IMAGING_REPORT], "text": "Chest X-ray: probabilities of findings by a neural network"},
        "conclusion": conclusion,
    }
    if observations:
        found["result"] = [{"reference": reference, "type": "Observation"} for reference in observations]
    if film.source is not None:
        found["imagingStudy"] = [_film_reference(film)]
    return found


def _conclusion(scored: FilmScores, algorithm: Algorithm) -> str:
    found = [
        f"{finding_code(finding).meaning} {scored.probs[finding]:.3g} (threshold {scored.thresholds[finding]:.3g})"
        for finding in scored.above_threshold()
    ]
    if not any(limit is not None for limit in scored.thresholds.values()):
        result = "The model has no thresholds."
    elif found:
        result = f"At or above the threshold of the model: {', '.join(found)}."
    else:
        result = "No probability reaches the threshold of the model."
    network = f", {_clean(algorithm.network)}" if algorithm.network else ""
    return f"{NOTICE} Probabilities by a neural network (cxrscore {cxrscore.__version__}{network}). {result}"


# --- the film, its study and its patient


def _origin(film: ScoredFilm) -> tuple[str, ...]:
    """What a film is identified by: the same picture under two names are two films if they are not DICOM."""
    return (film.scored.sha256, film.name if film.source is None else film.source.instance)


def _film_reference(film: ScoredFilm) -> Json:
    if film.source is None:
        digest = {"type": {"text": "SHA-256 of the film"}, "value": film.scored.sha256}
        return {"type": "Media", "identifier": digest, "display": _clean(film.name) or "film"}
    return {"reference": "#study", "type": "ImagingStudy", "identifier": _dicom_uid(film.source.study)}


def _study(source: DicomSource, modality: str, patient: Mapping[str, str]) -> Json:
    """The study as far as the film tells it. R4 demands subject and modality: where there is none, it says why."""
    identifiers = [_dicom_uid(source.study)]
    if number := patient.get("AccessionNumber"):
        identifiers.append({"type": _concept(f"{_HL7}/v2-0203", "ACSN"), "value": number})
    unknown = {"extension": [{"url": _ABSENT, "valueCode": "unknown"}]}
    instance = {"uid": source.instance, "sopClass": {"system": _URI, "code": f"urn:oid:{source.sop_class}"}}
    found: Json = {
        "resourceType": "ImagingStudy",
        "id": "study",
        "identifier": identifiers,
        "status": "unknown",
        "subject": _subject(patient) or {"extension": [{"url": _ABSENT, "valueCode": "masked"}]},
        "series": [
            {
                "uid": source.series,
                "modality": {"system": _SYSTEMS["DCM"], "code": modality} if modality else unknown,
                "instance": [instance],
            }
        ],
    }
    if day := patient.get("StudyDate"):
        found["started"] = day
    if name := patient.get("ReferringPhysicianName"):
        found["referrer"] = {"type": "Practitioner", "display": name}
    return found


def _subject(patient: Mapping[str, str]) -> Json | None:
    """The patient by number and name. Sex and date of birth have no place in a reference."""
    found: Json = {}
    if number := patient.get("PatientID"):
        found["identifier"] = {"type": _concept(f"{_HL7}/v2-0203", "MR"), "value": number}
        if issuer := patient.get("IssuerOfPatientID"):
            found["identifier"]["assigner"] = {"display": issuer}
    if name := patient.get("PatientName"):
        found["display"] = name
    return {"type": "Patient", **found} if found else None


def _valid(patient: Mapping[str, str]) -> dict[str, str]:
    """The attributes that a bundle uses, as FHIR writes them; none of them is empty."""
    found = {name: _clean(patient.get(name, "")) for name in ("PatientID", "IssuerOfPatientID", "AccessionNumber")}
    found |= {name: _person(patient.get(name, "")) for name in ("PatientName", "ReferringPhysicianName")}
    if day := patient.get("StudyDate", "").strip():
        with suppress(ValueError):  # a date that is none is left out
            found["StudyDate"] = datetime.datetime.strptime(day, "%Y%m%d").date().isoformat()
    return {name: text for name, text in found.items() if text}


def _person(name: str) -> str:
    """A DICOM person name, its first group, as "family, given middle"."""
    family, *others = (_clean(part) for part in name.partition("=")[0].split("^"))
    return ", ".join(text for text in (family, " ".join(part for part in others if part)) if text)


# --- data types


def _id(*parts: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, json.dumps(parts)))


def _full_url(resource: Json) -> str:
    return f"urn:uuid:{resource['id']}"


def _own_identifier(name: str) -> Json:
    return {"system": _URI, "value": f"urn:uuid:{name}"}


def _dicom_uid(uid: str) -> Json:
    return {"system": _DICOM_UID, "value": f"urn:oid:{uid}"}


def _quantity(value: float) -> Json:
    return {"value": value, "system": _UCUM, "code": "1"}


def _concept(system: str, code: str) -> Json:
    return {"coding": [{"system": system, "code": code}]}


def _coding(code: FindingCode) -> Json:
    return {"system": _SYSTEMS[code.scheme], "code": code.value, "display": code.meaning}


def _clean(text: str) -> str:
    """The text without control characters, which FHIR and XHTML forbid, and without blanks at its ends."""
    visible = "".join(letter if letter.isprintable() else "_" for letter in unicode_text(text))
    return re.sub(r" +", " ", visible).strip()[:1000]
