"""Results of films of a real archive go back to it: found under their studies, stored once, and displayed by it."""

import json
import os
import re
import shutil
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("highdicom")
pytest.importorskip("torch")
import forked  # noqa: E402
from corpus_bytes import chest, dicom  # noqa: E402
from made_model import document, golden  # noqa: E402
from PIL import Image  # noqa: E402

from cxrscore.contract import ModelSpec  # noqa: E402
from cxrscore.export.dicom.archive_sink import ArchiveSink  # noqa: E402
from cxrscore.export.dicom.objects import DicomObject  # noqa: E402
from cxrscore.export.object_kinds import OBJECT_KINDS  # noqa: E402
from cxrscore.models.model_file import save_model  # noqa: E402
from cxrscore.networks.tensors import initial_tensors  # noqa: E402
from cxrscore.remote import RemotePath  # noqa: E402

pytestmark = pytest.mark.slow

KNOWN, UNKNOWN = "1.2.826.0.1.7.1", "1.2.826.0.1.7.2"
"""The studies: two films of a patient, and one film without patient data."""
PATIENT = {
    "PatientName": "Canaryname^Zacharias",
    "PatientID": "canary-id-778899",
    "PatientBirthDate": "19480503",
    "PatientSex": "M",
    "StudyDate": "20190102",
    "AccessionNumber": "canary-acc-0815",
}
OTHERS = {
    "InstitutionName": "canary-institution",
    "OperatorsName": "canary-operator",
    "PatientComments": "canary-comment",
    "PatientAddress": "canary-address",
    "StudyDescription": "canary-study",
    "SeriesDescription": "canary-series",
    "StationName": "canary-station",
    "DeviceSerialNumber": "canary-serial",
}
"""Attributes that no result may have, whatever is requested."""
CANARIES = (
    *OTHERS.values(),
    "canaryname",
    "canary-id",
    "19480503",
    "1948-05-03",
    "20190102",
    "2019-01-02",
    "canary-acc",
)


def film(study: str, number: int, **elements: str) -> bytes:
    """An uncompressed DX film with all that an archive and a viewer need."""
    return dicom(
        chest(number, 96),
        SOPClassUID="1.2.840.10008.5.1.4.1.1.1.1",
        StudyInstanceUID=study,
        SeriesInstanceUID=f"{study}.1",
        SOPInstanceUID=f"{study}.1.{number}",
        InstanceNumber=number,
        Modality="DX",
        PatientOrientation=["L", "F"],
        **elements,
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, orthanc) -> Path:
    """films/ with three films, and in out.h5 their scores, for which the archive was read."""
    folder = tmp_path_factory.mktemp("pacs")
    (folder / "films").mkdir()
    for number in (1, 2):
        (folder / "films" / f"known{number}.dcm").write_bytes(film(KNOWN, number, **PATIENT, **OTHERS))
    (folder / "films" / "unknown.dcm").write_bytes(film(UNKNOWN, 3))
    spec = ModelSpec(architecture="tinycnn", findings=("Mass", "Edema"), size=32)
    tensors = initial_tensors(spec, 0)
    limits = {
        name: {"prob": prob, "rule": "youden", "chosen_on": "valid"} for name, prob in (("Mass", 1e-6), ("Edema", 1.0))
    }
    made = document(spec, golden=golden(spec, tensors), thresholds=limits)
    save_model(folder / "model.safetensors", tensors, made)
    _hold_films_only(orthanc, folder)
    cxrscore(folder, "score", orthanc.dicomweb, "-o", "out.h5", "-m", "model.safetensors", "--backend", "torch")
    return folder


def cxrscore(home: Path, *words: object, expect: int = 0, **environment: str) -> tuple[str, str]:
    """Both streams of a command."""
    env = {**os.environ, "HOME": str(home), "CXRSCORE_CACHE": str(home / "cache"), **environment}
    done = forked.cxrscore(*words, cwd=home, env=env)
    assert done.returncode == expect, done.stderr
    return done.stdout, done.stderr


@pytest.fixture
def archive(orthanc, home):
    """The archive with the films, and nothing else."""
    _hold_films_only(orthanc, home)
    return orthanc


def _hold_films_only(orthanc, home: Path) -> None:
    orthanc.clear()
    orthanc.post(sorted((home / "films").iterdir()))


def test_all_objects_are_found_under_the_studies_of_their_films(home, archive) -> None:
    said, _ = cxrscore(home, "export", "out.h5", "--stow", archive.dicomweb, "--films", archive.dicomweb, "--json")
    result = json.loads(said[said.index("{") :])
    made = sum(result["objects"].values())
    assert set(result["objects"]) == set(OBJECT_KINDS)
    assert (result["stored"], result["failed"], result["files"], result["output"]) == ({"stored": made}, [], 0, None)
    assert archive.count() == 3 + made
    assert (len(archive.get("/patients")), len(archive.get("/studies"))) == (2, 2)
    for study, films in ((KNOWN, 2), (UNKNOWN, 1)):
        modalities = [one["00080060"]["Value"][0] for one in archive.instances(study)]
        assert (modalities.count("DX"), modalities.count("SR"), modalities.count("KO")) == (films, films, 1)
        _objects_are_of_the_films_patient(archive, study)

    before = archive.get("/instances")
    _, said = cxrscore(home, "export", "out.h5", "--stow", archive.dicomweb, "--films", archive.dicomweb, "-o", "again")
    assert sorted(archive.get("/instances")) == sorted(before)
    files = {path.stem for path in (home / "again").iterdir()}
    assert len(files) == made
    stored = {one["00080018"]["Value"][0] for study in (KNOWN, UNKNOWN) for one in archive.instances(study)}
    assert files <= stored
    assert f"sent {made} objects to the archive" in said

    lists = [pydicom.dcmread(path) for path in (home / "again").iterdir()]
    (key,) = [one for one in lists if one.Modality == "KO" and one.StudyInstanceUID == KNOWN]
    (series,) = key.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert sorted(one.ReferencedSOPInstanceUID for one in series.ReferencedSOPSequence) == [
        f"{KNOWN}.1.{number}" for number in (1, 2)
    ]


def _objects_are_of_the_films_patient(archive, study: str) -> None:
    found = archive.get(f"/dicom-web/studies/{study}/instances?includefield=PatientID&includefield=PatientName")
    names = {json.dumps([one.get(tag, {}).get("Value") for tag in ("00100020", "00100010")]) for one in found}
    assert len(names) == 1
    assert ("canary-id-778899" in names.pop()) == (study == KNOWN)


def test_the_archive_displays_what_is_a_picture(home, archive) -> None:
    cxrscore(home, "export", "out.h5", "--stow", archive.dicomweb, "--films", archive.dicomweb, "--objects", "sc")
    for one in archive.instances(KNOWN):
        uids = [one[tag]["Value"][0] for tag in ("0020000D", "0020000E", "00080018")]
        with Image.open(BytesIO(archive.rendered(*uids))) as picture:
            is_coloured = picture.mode == "RGB" and np.ptp(np.asarray(picture), axis=2).max() > 0
            assert np.ptp(np.asarray(picture.convert("L"))) > 100
        assert is_coloured == (one["00080060"]["Value"][0] != "DX")


def test_an_object_that_the_archive_refuses_is_told_and_the_others_are_stored(orthanc) -> None:
    orthanc.clear()
    sink = ArchiveSink(RemotePath(orthanc.dicomweb))
    for number, data in enumerate((film(KNOWN, 1), b"no DICOM at all", film(KNOWN, 3)), start=1):
        sink.put(DicomObject(kind=OBJECT_KINDS["sc"], uid=f"{KNOWN}.1.{number}", data=data), f"{number}.dcm")
    sink.close()
    assert sink.stored == {"stored": 2, "refused": 1}
    assert sink.failed == [("2.dcm", "the archive refuses the Secondary Capture: status 400")]
    assert orthanc.count() == 2


@pytest.mark.parametrize(
    ("login", "text"),
    [({"USER": "reader", "PASSWORD": "canary-wrong"}, "refuses the user and password"), ({}, "asks for a user and")],
    ids=["wrong", "none"],
)
def test_a_wrong_password_is_one_line_and_stores_nothing(home, archive, orthanc_with_login, login, text) -> None:
    environment = {f"CXRSCORE_DICOMWEB_{name}": value for name, value in login.items()}
    words = ("export", "out.h5", "--stow", orthanc_with_login.dicomweb, "--films", archive.dicomweb, "--quiet")
    said, errors = cxrscore(home, *words, expect=74, **environment)
    assert said == ""
    (line,) = errors.splitlines()
    assert text in line
    assert "0 objects are stored" in line
    assert "canary" not in line
    assert orthanc_with_login.count() == 0


def test_the_right_password_stores(home, archive, orthanc_with_login) -> None:
    user, password = orthanc_with_login.login
    words = ("export", "out.h5", "--stow", orthanc_with_login.dicomweb, "--films", archive.dicomweb, "--to", "dicom-sr")
    said, errors = cxrscore(
        home, *words, "--without-patient", CXRSCORE_DICOMWEB_USER=user, CXRSCORE_DICOMWEB_PASSWORD=password
    )
    assert orthanc_with_login.count() == 3
    assert re.search(r"sent 3 objects to the archive \(3 sr\): 3 stored", said + errors)


# --- privacy


@pytest.mark.parametrize(
    ("to", "options"),
    [("fhir", ()), ("dicom", ("--without-patient",)), ("dicom-sr", ())],
)
def test_nothing_of_the_patient_comes_out_unless_requested(home, archive, to, options) -> None:
    streams = cxrscore(
        home, "export", "out.h5", "-o", f"no-{to}", "--to", to, "--films", archive.dicomweb, "--json", *options
    )
    found = [path.read_bytes().lower() for path in (home / f"no-{to}").iterdir()]
    assert len(found) >= 3
    for canary in CANARIES:
        assert not [data for data in (*found, "".join(streams).lower().encode()) if canary.encode() in data], canary


@pytest.mark.parametrize("to", ["fhir", "dicom"])
def test_with_the_patient_no_name_is_in_messages(home, archive, to) -> None:
    streams = cxrscore(
        home, "export", "out.h5", "-o", f"with-{to}", "--to", to, "--films", archive.dicomweb, "--with-patient"
    )
    found = [path.read_bytes() for path in (home / f"with-{to}").iterdir()]
    assert [data for data in found if b"Canaryname" in data]
    for canary in OTHERS.values():
        assert not [data for data in found if canary.encode() in data], canary
    assert "canary" not in "".join(streams).lower()
    shutil.rmtree(home / f"with-{to}")
