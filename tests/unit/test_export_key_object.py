"""Key Object Selection Documents: the films above a threshold, of one study, the same at each export."""

from dataclasses import replace
from io import BytesIO

import pytest
from dciodvfy import complaints, needs_dciodvfy

from cxrscore.export import ExportOptions
from cxrscore.export.dicom.key_object import key_objects
from cxrscore.export.dicom.objects import Algorithm, FilmScores, StudyFilm
from cxrscore.export.dicom.source import DicomSource, SourceError

hd = pytest.importorskip("highdicom")
pydicom = pytest.importorskip("pydicom")

ALGORITHM = Algorithm(network="tinycnn", model="ab" * 32, parameters=(), created=None)
OPTIONS = ExportOptions(stow="https://host/dicom-web")
LIMITS = {"Mass": 0.5, "Effusion": 0.5, "Hernia": None}
SOP_CLASS = "1.2.840.10008.5.1.4.1.1.1.1"


def film(number, patient=None, **probs):
    """Film 1.2.5.NUMBER of the study 1.2.3, in a series of its own."""
    source = DicomSource(
        study="1.2.3",
        series=f"1.2.4.{number}",
        sop_class=SOP_CLASS,
        instance=f"1.2.5.{number}",
        patient=patient or {},
        number=number,
    )
    return StudyFilm(source=source, scores=FilmScores(sha256="cd" * 32, probs=probs, thresholds=LIMITS))


FILMS = (film(2, Mass=0.75, Effusion=0.5), film(1, Mass=0.25, Hernia=0.9), film(3, Mass=0.625))


def document(films, algorithm=ALGORITHM):
    (made,) = key_objects(films, algorithm, OPTIONS)
    return made, hd.ko.KeyObjectSelectionDocument.from_dataset(pydicom.dcmread(BytesIO(made.data)))


def test_the_films_above_a_threshold_are_listed_by_hand():
    made, found = document(FILMS)
    assert found.SOPInstanceUID == made.uid
    assert (found.StudyInstanceUID, found.Modality) == ("1.2.3", "KO")
    title = found.ConceptNameCodeSequence[0]
    assert (title.CodeValue, title.CodingSchemeDesignator, title.CodeMeaning) == ("113009", "DCM", "For Research")
    references = found.content.get_references()
    assert [(one.ReferencedSOPSequence[0].ReferencedSOPInstanceUID, one.ValueType) for one in references] == [
        ("1.2.5.2", "IMAGE"),
        ("1.2.5.3", "IMAGE"),
    ]
    assert found.resolve_reference("1.2.5.3") == ("1.2.3", "1.2.4.3", "1.2.5.3")
    head, *lines = found.content[0].ContentSequence[-3].TextValue.splitlines()
    assert head.startswith("Research only, not for diagnosis.")
    assert "tinycnn, model abababababababab" in head
    assert lines == [
        "Instance 2 (1.2.5.2): Mass 0.75 (threshold 0.5), Pleural effusion 0.5 (threshold 0.5).",
        "Instance 3 (1.2.5.3): Mass 0.625 (threshold 0.5).",
    ]


def test_a_study_without_such_a_film_has_none():
    assert list(key_objects([film(1, Mass=0.25, Hernia=0.9)], ALGORITHM, OPTIONS)) == []


def test_the_same_films_give_the_same_document_in_any_order():
    made, _ = document(FILMS)
    assert document(FILMS[::-1])[0].uid == made.uid
    assert document([*FILMS, FILMS[0]])[0].uid == made.uid  # the same film twice is listed once
    assert document([*FILMS[:2], film(3, Mass=0.7)])[0].uid != made.uid
    assert document(FILMS, replace(ALGORITHM, model="ac" * 32))[0].uid != made.uid


def test_films_of_two_patients_in_one_study_have_none():
    with pytest.raises(SourceError, match="its films name different patients"):
        document([film(1, {"PatientID": "1"}, Mass=0.75), film(2, {"PatientID": "2"}, Mass=0.75)])


@needs_dciodvfy
@pytest.mark.parametrize("patient", [{}, {"PatientID": "1", "PatientName": "Müller^Zacharias"}], ids=["none", "copied"])
def test_it_is_valid_for_dciodvfy(tmp_path, patient):
    made, _ = document([film(number, patient, Mass=0.75) for number in (1, 2)])
    file = tmp_path / "key.dcm"
    file.write_bytes(made.data)
    assert complaints(file) == []
