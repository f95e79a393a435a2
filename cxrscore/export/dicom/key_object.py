"""The films of a study with a finding at or above the threshold of the model, as a Key Object Selection Document.

Its title is (113009, DCM, "For Research"): a reader of the study finds the films, and no one takes them for selected by
a person. A study without such a film has no document.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import cxrscore
from cxrscore.export.codes import finding_code
from cxrscore.export.dicom.objects import (
    CHARACTER_SET,
    DESCRIPTION,
    Algorithm,
    DicomObject,
    FilmScores,
    StudyFilm,
    common_attributes,
    concept,
    finished,
    highdicom_reported,
    observer_device,
    source_dataset,
)
from cxrscore.export.dicom.source import SourceError
from cxrscore.export.object_kinds import KO
from cxrscore.export.options import ExportOptions

_FOR_RESEARCH = ("113009", "DCM", "For Research")
_IDENTITY = ("PatientID", "PatientName", "PatientBirthDate")


def key_objects(films: Sequence[StudyFilm], algorithm: Algorithm, options: ExportOptions) -> Iterator[DicomObject]:
    """The document of a study; SourceError if its films name different patients, or an attribute cannot be written."""
    key = {film.source.instance: film for film in films if film.scores.above_threshold()}
    if key:
        yield _key_object([key[instance] for instance in sorted(key)], algorithm)


def _key_object(films: Sequence[StudyFilm], algorithm: Algorithm) -> DicomObject:
    first = films[0].source
    if any(film.source.patient.get(name) != first.patient.get(name) for film in films for name in _IDENTITY):
        raise SourceError("its films name different patients")
    with highdicom_reported() as hd:
        evidence = [_image(film) for film in films]
        content = hd.ko.KeyObjectSelection(
            document_title=concept(_FOR_RESEARCH),
            referenced_objects=evidence,
            observer_device_context=observer_device(algorithm),
            description=_description(films, algorithm),
        )
        document = hd.ko.KeyObjectSelectionDocument(
            evidence=evidence,
            content=content,
            series_description=DESCRIPTION,
            specific_character_set=CHARACTER_SET,
            **{**common_attributes(KO, first, algorithm), "instance_number": 1},
        )
        return finished(document, KO, first, algorithm)


def _image(film: StudyFilm) -> Any:
    """The film as highdicom takes it: an object with rows and columns is an image."""
    image = source_dataset(film.source)
    image.Rows = image.Columns = 1
    return image


def _description(films: Sequence[StudyFilm], algorithm: Algorithm) -> str:
    """What was selected by what, and the findings of each film."""
    network = f", {algorithm.network}" if algorithm.network else ""
    head = (
        "Research only, not for diagnosis. Films with a probability at or above the threshold of a neural network "
        f"(cxrscore {cxrscore.__version__}{network}, model {algorithm.model[:16] or 'unknown'})."
    )
    lines = [f"Instance {film.source.number} ({film.source.instance}): {_findings(film.scores)}." for film in films]
    return "\r\n".join([head, *lines])


def _findings(scores: FilmScores) -> str:
    return ", ".join(
        f"{finding_code(finding).meaning} {scores.probs[finding]:.3g} (threshold {scores.thresholds[finding]:.3g})"
        for finding in scores.above_threshold()
    )
