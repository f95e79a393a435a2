"""The scores of one film as a DICOM structured report: Comprehensive SR, template TID 1500.

One group of TID 1501 per finding: the finding as a code, and one measurement, (122157, DCM, "Probability"), without
unit. The report belongs to the study of its film, and names the film as the source of each group.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cxrscore
from cxrscore.export.codes import finding_code
from cxrscore.export.dicom.objects import (
    CHARACTER_SET,
    DESCRIPTION,
    MANUFACTURER,
    Algorithm,
    DicomFilm,
    DicomObject,
    FilmScores,
    LeftOut,
    coding_scheme,
    common_attributes,
    concept,
    finding_concept,
    finished,
    highdicom_reported,
    observer_device,
    source_dataset,
    uid,
)
from cxrscore.export.dicom.source import DicomSource
from cxrscore.export.object_kinds import SR
from cxrscore.export.options import ExportOptions

_PROBABILITY = ("122157", "DCM", "Probability")
_NO_UNIT = ("1", "UCUM", "no units")
_ARTIFICIAL_INTELLIGENCE = ("123110", "DCM", "Artificial Intelligence")
_PROCEDURES = (("413815006", "SCT", "Chest imaging"), ("168537006", "SCT", "Plain radiography"))


def structured_reports(film: DicomFilm, options: ExportOptions) -> Iterator[DicomObject | LeftOut]:
    """The report of a film."""
    del options
    yield structured_report(film.source, film.scores, film.algorithm)


def structured_report(source: DicomSource, scored: FilmScores, algorithm: Algorithm) -> DicomObject:
    """The report, with equal bytes for equal input; SourceError if an attribute of the source cannot be written."""
    with highdicom_reported() as hd:
        report = hd.sr.ComprehensiveSR(
            evidence=[source_dataset(source)],
            content=_content(hd, source, scored, algorithm)[0],
            series_description=DESCRIPTION,
            specific_character_set=CHARACTER_SET,
            is_complete=True,
            coding_schemes=[coding_scheme()],
            **common_attributes(SR, source, algorithm),
        )
        return finished(report, SR, source, algorithm)


def _content(hd: Any, source: DicomSource, scored: FilmScores, algorithm: Algorithm) -> Any:
    context = hd.sr.ObservationContext(observer_device_context=observer_device(algorithm))
    return hd.sr.MeasurementReport(
        observation_context=context,
        procedure_reported=[concept(code) for code in _PROCEDURES],
        imaging_measurements=[_group(hd, source, scored, algorithm, finding) for finding in scored.probs],
    )


def _group(hd: Any, source: DicomSource, scored: FilmScores, algorithm: Algorithm, finding: str) -> Any:
    code = finding_code(finding)
    threshold = scored.thresholds.get(finding)
    texts = () if threshold is None else (f"threshold of {code.meaning}: {threshold}",)
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(
            identifier=f"cxrscore {code.meaning}",
            uid=uid("group", source.instance, scored.sha256, algorithm.model, finding),
        ),
        finding_type=finding_concept(code),
        algorithm_id=hd.sr.AlgorithmIdentification(
            name=f"cxrscore {algorithm.network}".strip(),
            version=f"{cxrscore.__version__}, model {algorithm.model[:16] or 'unknown'}",
            parameters=[*algorithm.parameters, *texts],
            family=concept(_ARTIFICIAL_INTELLIGENCE),
            manufacturer=MANUFACTURER,
        ),
        measurements=[
            hd.sr.Measurement(name=concept(_PROBABILITY), value=scored.probs[finding], unit=concept(_NO_UNIT))
        ],
        source_images=[
            hd.sr.SourceImageForMeasurementGroup(
                referenced_sop_class_uid=source.sop_class, referenced_sop_instance_uid=source.instance
            )
        ],
    )
