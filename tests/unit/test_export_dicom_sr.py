"""DICOM reports: read back by pydicom and by highdicom's own parser, of the right film, and of nobody by default."""

import stat
import warnings
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO

import numpy as np
import pytest
from corpus_bytes import dicom
from few_scores import NAN, few_scores
from made_patient import PATIENT_ATTRIBUTES, UIDS

from cxrscore.errors import InputError, WriteError
from cxrscore.export import ExportOptions, export_pieces, export_scores
from cxrscore.export.dicom.algorithm import algorithm_of
from cxrscore.export.dicom.objects import Algorithm, FilmScores
from cxrscore.export.dicom.source import PATIENT, DicomSource, SourceError, read_source
from cxrscore.export.dicom.structured_report import structured_report
from cxrscore.io import sha256_bytes

hd = pytest.importorskip("highdicom")
pydicom = pytest.importorskip("pydicom")

OTHERS = {
    "InstitutionName": "Sankt-Elsewhere",
    "PatientComments": "he is the mayor",
    "OperatorsName": "Radio^Grapher",
    "Manufacturer": "AcmeRay",
    "StationName": "ROOM-7",
}
FILM = dicom(SpecificCharacterSet="ISO_IR 100", **PATIENT_ATTRIBUTES, **OTHERS, **UIDS)
SOURCE = DicomSource(study="1.2.3", series="1.2.4", sop_class="1.2.840.10008.5.1.4.1.1.1", instance="1.2.5", patient={})
SCORED = FilmScores(sha256="cd" * 32, probs={"Mass": 0.25, "Hernia": 0.125}, thresholds={"Mass": 0.5, "Hernia": None})
ALGORITHM = Algorithm(network="tinycnn", model="ab" * 32, parameters=("backend: torch",), created=None)


@pytest.fixture
def folder(tmp_path):
    """films/ with a DICOM film, a PNG and a film that was not scored."""
    films = tmp_path / "films"
    films.mkdir()
    (films / "a.dcm").write_bytes(FILM)
    (films / "b.png").write_bytes(b"png")
    (films / "c.dcm").write_bytes(b"cut short")
    return tmp_path


def scores(**changed):
    digests = {"sha256": (sha256_bytes(FILM), sha256_bytes(b"png"), sha256_bytes(b"cut short"))}
    told = {
        "created": "2026-01-02T03:04:05+02:00",
        "models": [{"sha256": "ab" * 32, "document": {"spec": {"architecture": "tinycnn"}}}],
        "backend": {"name": "torch", "framework": "torch 2.13.0", "precision": "fp32"},
    }
    return few_scores(
        ["a.dcm", "b.png", "c.dcm"],
        prob=((0.25, 0.5), (0.1, 0.9), (NAN, NAN)),
        **{"provenance": told, **digests, **changed},
    )


def export(folder, name="reports", given=None, **options):
    wanted = ExportOptions(output=folder / name, kind="dicom-sr", films=folder / "films", **options)
    result = export_scores(scores() if given is None else given, wanted)
    return result, sorted((folder / name).iterdir())


def test_the_report_says_what_was_scored_by_what(folder):
    result, (path,) = export(folder)
    assert (result.files, result.films, result.skipped, result.unscored, result.failed) == (1, 1, 1, 1, ())
    report = hd.sr.srread(path)
    assert isinstance(report.content, hd.sr.MeasurementReport)
    assert report.StudyInstanceUID == UIDS["StudyInstanceUID"]
    assert report.SeriesInstanceUID not in UIDS.values()
    assert report.get_evidence() == [tuple(UIDS[name] for name in _evidence_order())]
    groups = report.content.get_image_measurement_groups()
    found = {group.finding_type.meaning: group for group in groups}
    assert [(g.finding_type.scheme_designator, g.finding_type.value) for g in groups] == [
        ("SCT", "4147007"),
        ("SCT", "19242006"),
    ]
    (measured,) = found["Mass"].get_measurements()
    assert (measured.name.value, measured.name.meaning) == ("122157", "Probability")
    assert (measured.value, measured.unit.value) == (0.25, "1")
    (image,) = found["Mass"].source_images
    assert image.referenced_sop_instance_uid == UIDS["SOPInstanceUID"]
    texts = _texts(path)
    assert {"cxrscore tinycnn", "backend: torch", "threshold of Mass: 0.2"} <= texts
    assert not [text for text in texts if "threshold of Pulmonary edema" in text]


def test_means_over_models_and_views_are_told(folder):
    models = [
        {"sha256": digest * 32, "document": {"spec": {"architecture": name}}}
        for digest, name in (("ab", "tinycnn"), ("cd", "resnet50"))
    ]
    _, (path,) = export(folder, given=scores(provenance={"models": models, "tta": {"copies": 3}}))
    assert {
        "cxrscore tinycnn + resnet50",
        f"mean over models: {'ab' * 32} {'cd' * 32}",
        "mean over augmented copies: 3",
    } <= _texts(path)
    serial = sha256_bytes(f"{'ab' * 32} {'cd' * 32}".encode())
    assert pydicom.dcmread(path).DeviceSerialNumber == serial


def _evidence_order():
    return ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")


def _texts(path):
    return {str(element.value) for element in pydicom.dcmread(path).iterall() if element.keyword == "TextValue"}


def test_the_file_is_as_dicom_wants_it(folder):
    _, (path,) = export(folder)
    report = pydicom.dcmread(path)  # which is strict: preamble and meta information
    assert path.name == f"{report.SOPInstanceUID}.dcm"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert report.SOPClassUID == pydicom.uid.ComprehensiveSRStorage
    assert (report.Modality, report.CompletionFlag, report.VerificationFlag) == ("SR", "COMPLETE", "UNVERIFIED")
    assert report.PreliminaryFlag == "PRELIMINARY"
    assert (report.ContentDate, report.ContentTime) == ("20260102", "010405")
    assert "not for diagnosis" in report.SeriesDescription
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    own = report.ContributingEquipmentSequence[0]
    assert (own.Manufacturer, own.ManufacturerModelName) == ("cxrscore", "tinycnn")
    assert own.DeviceSerialNumber == "ab" * 32
    assert report.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99CXRSCORE"


def test_every_value_has_the_form_of_its_kind(folder):
    _, (path,) = export(folder, with_patient=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pydicom.config.settings.reading_validation_mode = pydicom.config.RAISE
        try:
            elements = list(pydicom.dcmread(path).iterall())
        finally:
            pydicom.config.settings.reading_validation_mode = pydicom.config.WARN
    assert len(elements) > 200


def below(dataset, path):
    """The items that a path of sequences leads to."""
    items = [dataset]
    for name in path:
        items = [item for outer in items for item in outer.get(name) or ()]
    return items


@pytest.mark.parametrize("with_patient", [False, True])
def test_what_the_standard_demands_of_this_kind_of_document_is_there(folder, with_patient):
    """Types 1 and 2 of PS3.3, as tables that highdicom ships have them, of all modules that the IOD must have, but for
    the content: there the tables do not say which attributes are of which kind of item, and highdicom's parser looks.
    """
    tables = pytest.importorskip("highdicom._standard_utils")
    _, (path,) = export(folder, with_patient=with_patient)
    report = pydicom.dcmread(path)
    modules = [m["key"] for m in tables.get_iod_module_map()["comprehensive-sr"] if m["usage"] == "M"]
    modules.remove("sr-document-content")
    assert {"patient", "general-study", "sr-document-general", "sop-common"} <= set(modules)
    looked = 0
    for module in modules:
        for attribute in tables.get_module_attribute_map()[module]:
            place = [*attribute["path"], attribute["keyword"]]
            for item in below(report, attribute["path"]):
                if attribute["type"] in ("1", "2"):
                    looked += 1
                    assert attribute["keyword"] in item, place
                if attribute["type"] == "1":
                    assert not item[attribute["keyword"]].is_empty, place
    assert looked > 30


# --- privacy


def test_nothing_of_the_patient_is_in_it_by_default(folder, capfd):
    _, (path,) = export(folder)
    report = pydicom.dcmread(path)
    for name in PATIENT:
        assert str(report.get(name) or "") == "", name
    data, said = path.read_bytes(), "".join(capfd.readouterr())
    for secret in {**PATIENT_ATTRIBUTES, **OTHERS}.values():
        for word in secret.split("^") if len(secret) > 1 else ():
            assert word.encode("utf-8") not in data, word
            assert word.encode("latin-1") not in data, word
            assert word not in said


def test_with_patient_copies_the_patient_and_no_more(folder):
    _, (path,) = export(folder, with_patient=True)
    report = pydicom.dcmread(path)
    assert {name: str(report.get(name)) for name in PATIENT} == PATIENT_ATTRIBUTES
    assert report.SpecificCharacterSet == "ISO_IR 192"
    data = path.read_bytes()
    for secret in OTHERS.values():
        assert secret.encode() not in data


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PatientBirthDate", "May 1948"),
        ("StudyTime", "noon"),
        ("StudyDate", "2026.01.10"),
        ("PatientSex", "male, 78 years"),
        ("PatientSex", "X"),
        ("AccessionNumber", "A" * 17),
        ("AccessionNumber", ["A1", "A2"]),
    ],
)
def test_a_value_that_is_not_valid_is_left_empty(folder, name, value):
    data = dicom(**{**PATIENT_ATTRIBUTES, **UIDS, name: value})
    (folder / "films" / "a.dcm").write_bytes(data)
    given = scores(sha256=(sha256_bytes(data), *scores().films.sha256[1:]))
    result, (path,) = export(folder, given=given, with_patient=True)
    report = pydicom.dcmread(path)
    assert (result.failed, report[name].is_empty) == ((), True)
    assert report.PatientID == PATIENT_ATTRIBUTES["PatientID"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("PatientID", "x" * 65), ("IssuerOfPatientID", "x" * 65), ("PatientName", "A=B=C=D")],
)
def test_patients_that_break_the_rules_are_named_and_not_quoted(folder, name, value, capfd):
    data = dicom(**{**PATIENT_ATTRIBUTES, **UIDS, name: value})
    (folder / "films" / "a.dcm").write_bytes(data)
    given = scores(sha256=(sha256_bytes(data), *scores().films.sha256[1:]))
    result, files = export(folder, given=given, with_patient=True)
    assert result.failed == (("a.dcm", f"its {name} is not valid in DICOM"),)
    assert files == []
    assert value not in "".join(capfd.readouterr())
    result, files = export(folder, given=given)
    assert (result.failed, len(files)) == ((), 1)


def test_films_of_a_file_without_paths_are_found_by_their_hashes(folder):
    digests = scores().films.sha256
    result, files = export(folder, given=scores(path=digests))
    assert (result.files, result.failed) == (1, ())
    assert pydicom.dcmread(files[0]).StudyInstanceUID == UIDS["StudyInstanceUID"]


# --- identity


def test_the_same_scores_give_the_same_bytes(folder):
    first, second = export(folder, "one")[1], export(folder, "two")[1]
    assert [path.name for path in first] == [path.name for path in second]
    assert first[0].read_bytes() == second[0].read_bytes()


@pytest.mark.parametrize(
    "changed",
    [
        {"source": replace(SOURCE, instance="1.2.6")},
        {"source": replace(SOURCE, patient={"PatientID": "1"})},
        {"scored": replace(SCORED, probs={"Mass": 0.25, "Hernia": 0.2})},
        {"scored": replace(SCORED, thresholds={"Mass": 0.6, "Hernia": None})},
        {"scored": replace(SCORED, sha256="ce" * 32)},
        {"algorithm": replace(ALGORITHM, model="ac" * 32)},
        {"algorithm": replace(ALGORITHM, parameters=())},
        {"source": replace(SOURCE, number=2)},
    ],
)
def test_another_content_has_another_uid(changed):
    own = {"source": SOURCE, "scored": SCORED, "algorithm": ALGORITHM}
    uid = structured_report(**own).uid
    assert uid != structured_report(**{**own, **changed}).uid
    assert pydicom.uid.UID(uid).is_valid
    assert len(uid) <= 64


def test_scoring_again_gives_the_same_object_with_other_dates():
    def read(created):
        made = structured_report(SOURCE, SCORED, replace(ALGORITHM, created=created))
        dataset = pydicom.dcmread(BytesIO(made.data))
        assert dataset.SOPInstanceUID == dataset.file_meta.MediaStorageSOPInstanceUID == made.uid
        return dataset

    first, second = (read(datetime(2026, 1, day, tzinfo=UTC)) for day in (2, 3))
    assert (first.ContentDate, second.ContentDate) == ("20260102", "20260103")
    assert first.SOPInstanceUID == second.SOPInstanceUID
    assert first.SeriesInstanceUID == second.SeriesInstanceUID


def test_reports_of_one_study_share_a_series_and_of_two_do_not():
    def series(source):
        return pydicom.dcmread(BytesIO(structured_report(source, SCORED, ALGORITHM).data)).SeriesInstanceUID

    assert series(SOURCE) == series(replace(SOURCE, instance="1.2.6"))
    assert series(SOURCE) != series(replace(SOURCE, study="1.2.9"))


# --- films that can have no report


@pytest.mark.parametrize("name", UIDS)
@pytest.mark.parametrize("value", [None, "", "not a UID", "1.2." + "3" * 61, "1.02.3", "1.2.3\\1.2.4"])
def test_a_film_without_a_uid_is_told(name, value):
    data = dicom(bare=True, **{**UIDS, name: value or ""})
    with pytest.raises(SourceError, match=f"no usable {name}"):
        read_source(data, with_patient=False)


def test_what_is_no_dicom_is_told():
    for data in (b"", b"abc", bytes(1000), FILM[:140], np.random.default_rng(0).bytes(5000)):
        with pytest.raises(SourceError):
            read_source(data, with_patient=True)


def test_a_film_that_changed_or_went_is_told(folder):
    film = folder / "films" / "a.dcm"
    film.write_bytes(FILM + b"x")
    assert export(folder, "one")[0].failed == (("a.dcm", "it has changed since it was scored"),)
    film.unlink()
    assert export(folder, "two")[0].failed == (("a.dcm", "it is not in the folder, or cannot be read"),)


def test_films_of_the_same_bytes_that_went_are_told_one_by_one(folder):
    """A file made with --anonymize-paths has one name for them."""
    (folder / "films" / "a.dcm").unlink()
    digest = sha256_bytes(FILM)
    given = few_scores([digest, digest], prob=((0.25, 0.5), (0.1, 0.9)), sha256=(digest,) * 2, kind=("dicom",) * 2)
    result, files = export(folder, given=given)
    assert (result.films, result.files, files) == (0, 0, [])
    assert [film for film, _ in result.failed] == [digest, digest]


def test_a_path_that_leads_out_of_the_folder_is_no_film_of_it(folder):
    (folder / "outside.dcm").write_bytes(FILM)
    result, files = export(folder, given=scores(path=("../outside.dcm", "b.png", "c.dcm")))
    assert ([film for film, _ in result.failed], files) == (["../outside.dcm"], [])


def test_odd_names_and_a_provenance_of_any_shape_are_taken(folder):
    odd = {"backend": 7, "models": [1], "created": "yesterday", "tta": 3}
    for told in ({}, odd, {"created": "2026-01-02T03:04:05"}, {"models": 7}, {"models": [7, None, {}]}):
        result, files = export(
            folder, "out", given=scores(provenance=told, findings=("a\\b\x1b", "\udcff")), overwrite=True
        )
        assert result.failed == ()
        assert hd.sr.srread(files[0]).content.get_image_measurement_groups()


def test_what_cannot_be_a_folder_of_reports_is_told(folder):
    wanted = ExportOptions(output=folder / "out", kind="dicom-sr")
    with pytest.raises(InputError, match="--films"):
        export_scores(scores(), wanted)
    with pytest.raises(InputError, match="name a folder"):
        export_pieces(scores(), wanted)
    with pytest.raises(InputError, match="none of the 1 scored films is DICOM"):
        export(folder, given=few_scores(["b.png"], prob=((0.1, 0.2),)))
    with pytest.raises(InputError, match="would be read as films"):
        export(folder, "films/reports")
    with pytest.raises(InputError, match="is not a folder"):
        export_scores(scores(), replace(wanted, films=folder / "nowhere"))
    assert not (folder / "out").exists()
    assert not (folder / "films" / "reports").exists()
    export(folder)
    with pytest.raises(InputError, match=r"is not empty\..*--overwrite"):
        export(folder)
    assert len(export(folder, overwrite=True)[1]) == 1
    (folder / "file").write_text("")
    with pytest.raises(WriteError, match="cannot make the folder"):
        export(folder, "file")


def test_without_highdicom_the_error_says_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "highdicom", None)
    with pytest.raises(InputError, match=r'pip install "cxrscore\[dicom\]"'):
        export(folder)


@pytest.mark.shared
def test_real_films_have_reports(shared, tmp_path):
    films = shared / "data" / "dicom"
    names = sorted(path.name for path in films.glob("*.dcm") if not path.name.startswith(("RG2", "RG3")))
    given = few_scores(
        names,
        prob=np.linspace(0, 1, 2 * len(names)).reshape(-1, 2),
        sha256=tuple(sha256_bytes((films / name).read_bytes()) for name in names),
    )
    for with_patient in (False, True):
        output = tmp_path / str(with_patient)
        wanted = ExportOptions(output=output, kind="dicom-sr", films=films, with_patient=with_patient)
        result = export_scores(given, wanted)
        assert (result.failed, result.files) == ((), 6)
        by_instance = {hd.sr.srread(path).get_evidence()[0][2] for path in output.iterdir()}
        assert len(by_instance) == 5  # one of these six films is another with one tag changed, and has its UIDs


def test_the_algorithm_says_whether_probabilities_are_calibrated():
    line = {"method": "platt", "slope": [1.0], "intercept": [0.0], "fitted_on": "valid", "prevalence": [0.2]}
    document = {"spec": {"findings": ["Mass"]}, "calibration": line}
    told = algorithm_of({"models": [{"document": document}], "target_prevalence": {"Mass": 0.01}}).parameters[-1]
    assert told.startswith(
        "Probabilities are calibrated by a slope and an intercept for each finding, on the validation"
    )
    assert told.endswith("They were moved to a target prevalence (--target-prevalence): Mass 0.01.")
    odd = algorithm_of({"models": [{"document": document}], "target_prevalence": {"a\\b\n": 0.01}}).parameters[-1]
    assert "a_b_ 0.01" in odd
