"""FHIR bundles: valid for fhir.resources, about the right film, the same at each run, of nobody by default."""

import json
import stat
import sys
from dataclasses import replace

import numpy as np
import pytest
from corpus_bytes import dicom
from few_scores import NAN, few_scores
from hypothesis import given
from hypothesis import strategies as st
from made_patient import PATIENT_ATTRIBUTES

from cxrscore.errors import InputError
from cxrscore.export import ExportOptions, export_scores
from cxrscore.export.dicom.objects import Algorithm, FilmScores
from cxrscore.export.dicom.source import DicomSource
from cxrscore.export.fhir.bundle import LOCAL_SYSTEM, ScoredFilm, bundle_bytes, film_bundle
from cxrscore.io import sha256_bytes

bundles = pytest.importorskip("fhir.resources.R4B.bundle")

PATIENT = {**PATIENT_ATTRIBUTES, "PatientName": "Müller^Zacharias^Anton=ミュラー"}
SOURCE = DicomSource(
    study="1.2.3", series="1.2.4", sop_class="1.2.840.10008.5.1.4.1.1.1.1", instance="1.2.5", patient={}
)
SCORED = FilmScores(
    sha256="cd" * 32,
    probs={"Mass": 0.25, "Hernia": 0.125, "Effusion": 0.5},
    thresholds={"Mass": 0.3, "Hernia": None, "Effusion": 0.5},
)
FILM = ScoredFilm(name="a/b.dcm", modality="DX", source=SOURCE, scored=SCORED)
DICOM_FILM = dicom(
    PatientName="Urnotme^Zacharias",
    StudyInstanceUID="1.2.826.1.1",
    SeriesInstanceUID="1.2.826.1.2",
    SOPClassUID="1.2.840.10008.5.1.4.1.1.1.1",
    SOPInstanceUID="1.2.826.1.3",
)
ALGORITHM = Algorithm(
    network="tinycnn", model="ab" * 32, parameters=("backend: torch", "Probabilities are calibrated."), created=None
)


def resources(film=FILM, algorithm=ALGORITHM):
    """The resources of a bundle by type; the bundle is one that fhir.resources takes."""
    data = bundle_bytes(film, algorithm)
    bundles.Bundle.model_validate_json(data)
    found = {}
    for entry in json.loads(data)["entry"]:
        resource = entry["resource"]
        assert entry["fullUrl"] == f"urn:uuid:{resource['id']}"
        assert entry["request"] == {"method": "PUT", "url": f"{resource['resourceType']}/{resource['id']}"}
        found.setdefault(resource["resourceType"], []).append(resource)
    return found


def coded(concept):
    return [(one["system"], one["code"]) for one in concept["coding"]]


def test_each_finding_is_an_observation_by_hand():
    mass, hernia, effusion = resources()["Observation"]
    assert coded(mass["code"]) == [("http://snomed.info/sct", "4147007")]
    assert coded(hernia["code"]) == [(LOCAL_SYSTEM, "Hernia")]
    assert mass["valueQuantity"] == {"value": 0.25, "system": "http://unitsofmeasure.org", "code": "1"}
    system = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
    assert coded(mass["interpretation"][0]) == [(system, "NEG")]
    assert coded(effusion["interpretation"][0]) == [(system, "POS")]  # at the threshold is positive, as in a report
    assert effusion["referenceRange"][0]["high"]["value"] == 0.5
    assert not {"interpretation", "referenceRange"} & hernia.keys()
    assert mass["note"] == [{"text": "Research only, not for diagnosis. Probabilities are calibrated."}]


def test_the_report_names_its_results_and_is_no_diagnosis():
    found = resources()
    (report,), (device,) = found["DiagnosticReport"], found["Device"]
    assert report["status"] == "preliminary"
    assert coded(report["category"][0]) == [("http://terminology.hl7.org/CodeSystem/v2-0074", "RAD")]
    assert coded(report["code"]) == [("http://loinc.org", "18748-4")]
    assert [one["reference"] for one in report["result"]] == [f"urn:uuid:{one['id']}" for one in found["Observation"]]
    assert report["conclusion"].startswith("Research only, not for diagnosis.")
    assert report["conclusion"].endswith(
        "At or above the threshold of the model: Pleural effusion 0.5 (threshold 0.5)."
    )
    assert report["conclusion"] in report["text"]["div"]
    assert {one["device"]["reference"] for one in found["Observation"]} == {f"urn:uuid:{device['id']}"}
    assert (device["modelNumber"], device["serialNumber"]) == ("tinycnn", "ab" * 32)
    assert [note["text"] for note in device["note"]][1:] == list(ALGORITHM.parameters)


def test_the_report_says_if_no_threshold_is_reached_and_if_there_is_none():
    for limits, text in (({"Mass": 0.3}, "No probability reaches"), ({}, "The model has no thresholds.")):
        (report,) = resources(replace(FILM, scored=replace(SCORED, thresholds=limits)))["DiagnosticReport"]
        assert text in report["conclusion"]


def test_the_code_of_the_report_stands_in_ps3_16():
    concepts = pytest.importorskip("pydicom.sr._concepts_dict").concepts["LN"]
    listed = {value: groups for names in concepts.values() for value, (_, groups) in names.items()}
    assert 7000 in listed["18748-4"]  # titles of documents about imaging


def test_the_film_is_named_by_study_series_and_instance():
    found = resources()
    for one in (*found["Observation"], *found["DiagnosticReport"]):
        (study,) = one["contained"]
        (reference,) = one["imagingStudy"] if one["resourceType"] == "DiagnosticReport" else one["derivedFrom"]
        assert reference["reference"] == f"#{study['id']}"
        assert reference["identifier"] == {"system": "urn:dicom:uid", "value": "urn:oid:1.2.3"}
        assert reference["identifier"] in study["identifier"]
        (series,) = study["series"]
        (instance,) = series["instance"]
        assert (series["uid"], series["modality"]["code"], instance["uid"]) == ("1.2.4", "DX", "1.2.5")
        assert instance["sopClass"]["code"] == "urn:oid:1.2.840.10008.5.1.4.1.1.1.1"
        assert "endpoint" not in study
    assert "ImagingStudy" not in found
    assert "Patient" not in found


def test_a_film_that_is_not_dicom_has_a_report_without_study():
    found = resources(replace(FILM, source=None, modality=""))
    assert "imagingStudy" not in found["DiagnosticReport"][0]
    (reference,) = found["Observation"][0]["derivedFrom"]
    assert (reference["type"], reference["display"]) == ("Media", "a/b.dcm")
    assert reference["identifier"]["value"] == "cd" * 32


# --- the patient


def test_without_patient_there_is_no_subject():
    found = resources(replace(FILM, modality=""))
    for one in (*found["Observation"], *found["DiagnosticReport"]):
        assert "subject" not in one
        (study,) = one["contained"]
        assert study["subject"]["extension"][0]["valueCode"] == "masked"
        assert study["series"][0]["modality"]["extension"][0]["valueCode"] == "unknown"
        assert "started" not in study


def test_with_patient_number_name_and_study_are_there():
    film = replace(FILM, source=replace(SOURCE, patient=PATIENT))
    found = resources(film)
    for one in (*found["Observation"], *found["DiagnosticReport"]):
        assert one["subject"]["display"] == "Müller, Zacharias Anton"
        number = one["subject"]["identifier"]
        assert (number["value"], number["assigner"]) == ("MRN-778899", {"display": "Klinik Nord"})
        (study,) = one["contained"]
        assert study["subject"] == one["subject"]
        assert (study["started"], one["effectiveDateTime"]) == ("2019-01-02", "2019-01-02")
        assert study["identifier"][1]["value"] == "ACC-0815"
        assert study["referrer"]["display"] == "Doktor, Überweiser"
    text = bundle_bytes(film, ALGORITHM).decode()
    for left_out in ("19480503", "1948-05-03", "S-4711", "030405"):
        assert left_out not in text


@pytest.mark.parametrize("day", ["May 1948", "20191340", "2019"])
def test_a_date_that_is_none_is_left_out(day):
    bundle = film_bundle(replace(FILM, source=replace(SOURCE, patient={"StudyDate": day, "PatientID": "7"})), ALGORITHM)
    text = json.dumps(bundle)
    assert ("effectiveDateTime" in text, "started" in text, day in text) == (False, False, False)
    assert '"value": "7"' in text


# --- identity


def ids(film=FILM, algorithm=ALGORITHM):
    return {one["id"] for several in resources(film, algorithm).values() for one in several}


def test_the_same_film_and_model_have_the_same_ids_and_bytes():
    assert bundle_bytes(FILM, ALGORITHM) == bundle_bytes(FILM, ALGORITHM)
    assert ids() == ids(replace(FILM, scored=replace(SCORED, probs={**SCORED.probs, "Mass": 0.26})))
    assert ids() == ids(replace(FILM, source=replace(SOURCE, patient=PATIENT)))
    assert len(ids()) == 5


@pytest.mark.parametrize(
    "film",
    [
        replace(FILM, source=replace(SOURCE, instance="1.2.6")),
        replace(FILM, scored=replace(SCORED, sha256="ce" * 32)),
        replace(FILM, source=None),
    ],
    ids=["instance", "bytes", "not-dicom"],
)
def test_another_film_has_another_report_by_the_same_device(film):
    (device,) = ids() & ids(film)
    assert resources()["Device"][0]["id"] == device


@pytest.mark.parametrize(
    "changed", [{"model": "ac" * 32}, {"parameters": ("backend: keras",)}], ids=["model", "backend"]
)
def test_another_algorithm_has_another_device_and_report(changed):
    assert not ids() & ids(algorithm=replace(ALGORITHM, **changed))


# --- any input

ANY = st.text(st.characters(), max_size=20)


@given(
    finding=ANY.filter(bool),
    name=ANY,
    network=ANY,
    parameters=st.lists(ANY, max_size=2),
    patient=st.dictionaries(st.sampled_from(sorted(set(PATIENT) - {"StudyDate"})), ANY),
    dicom=st.booleans(),
)
def test_any_text_gives_a_bundle_that_fhir_takes(finding, name, network, parameters, patient, dicom):
    film = ScoredFilm(
        name=name,
        modality="",
        source=replace(SOURCE, patient=patient) if dicom else None,
        scored=replace(SCORED, probs={finding: 1e-7}, thresholds={finding: 1e-7}),
    )
    found = resources(film, replace(ALGORITHM, network=network, model=network, parameters=tuple(parameters)))
    assert found["Observation"][0]["valueQuantity"]["value"] == 1e-7


# --- the folder


def export(folder, given=None, **options):
    output = folder / options.pop("name", "bundles")
    result = export_scores(given or scored_folder(), ExportOptions(output=output, kind="fhir", **options))
    return result, sorted(output.iterdir())


def scored_folder(**changed):
    digests = {"sha256": (sha256_bytes(DICOM_FILM), sha256_bytes(b"png"), sha256_bytes(b"cut short"))}
    return few_scores(["a.dcm", "b.png", "c.dcm"], prob=((0.25, 0.5), (0.1, 0.9), (NAN, NAN)), **{**digests, **changed})


@pytest.fixture
def films(tmp_path):
    folder = tmp_path / "films"
    folder.mkdir()
    (folder / "a.dcm").write_bytes(DICOM_FILM)
    return folder


def test_each_scored_film_has_a_file_that_loads(films):
    result, files = export(films.parent, films=films)
    assert (result.files, result.films, result.unscored, result.failed) == (2, 2, 1, ())
    studies = set()
    for path in files:
        bundle = bundles.Bundle.model_validate_json(path.read_bytes())
        report = bundle.entry[-1].resource
        assert path.name == f"{report.id}.json"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        studies |= {study.identifier.value for study in report.imagingStudy or ()}
    assert studies == {"urn:oid:1.2.826.1.1"}
    assert not [path for path in files if b"urnotme" in path.read_bytes()]


def test_patient_data_is_copied_on_request_only(films):
    _, files = export(films.parent, films=films, with_patient=True)
    assert any(b'"display": "Urnotme, Zacharias"' in path.read_bytes() for path in files)


def test_a_second_export_writes_the_same_files(films):
    _, before = export(films.parent, films=films)
    _, after = export(films.parent, films=films, name="again")
    assert {path.name: path.read_bytes() for path in before} == {path.name: path.read_bytes() for path in after}
    with pytest.raises(InputError, match=r"is not empty\..*--overwrite"):
        export(films.parent, films=films)
    assert len(export(films.parent, films=films, overwrite=True)[1]) == 2


def test_films_that_are_not_dicom_need_no_folder(tmp_path):
    result, files = export(tmp_path, few_scores(["a.png", "b.png"], prob=((0.25, 0.5), (0.1, 0.9))))
    assert (result.files, len(files)) == (2, 2)
    with pytest.raises(InputError, match=r"1 of the scored films are DICOM.*--films"):
        export(tmp_path, name="other")


def test_a_film_that_went_is_told_and_the_others_are_written(films):
    (films / "a.dcm").unlink()
    result, files = export(films.parent, films=films)
    assert (result.failed, len(files)) == ((("a.dcm", "it is not in the folder, or cannot be read"),), 1)


def test_a_probability_that_is_no_number_has_no_observation(tmp_path):
    scores = few_scores(["a.png", "b.png"], prob=((0.25, NAN), (NAN, NAN)), status=np.ones(2, np.uint8))
    result, files = export(tmp_path, scores)
    assert result.failed == ()
    counts = [len(json.loads(path.read_bytes())["entry"]) for path in files]
    assert sorted(counts) == [2, 3]  # device and report, and one observation


def test_what_fhir_does_not_take_is_told_and_not_quoted(films, capfd):
    result, files = export(films.parent, scored_folder(modality=("ca  nary", "", "")), films=films)
    assert result.failed == (("a.dcm", "its values do not fit FHIR (ValidationError)"),)
    assert len(files) == 1
    assert "nary" not in "".join(capfd.readouterr())


def test_without_fhir_resources_the_error_says_what_to_install(films, monkeypatch):
    monkeypatch.setitem(sys.modules, "fhir.resources.R4B.bundle", None)
    with pytest.raises(InputError, match=r'pip install "cxrscore\[fhir\]"'):
        export(films.parent, films=films)
