"""Names and numbers of patients, hidden wherever a film can hold them: none comes out, in any file or on any stream."""

import json
import os
import stat
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("torch")
import forked  # noqa: E402
import h5py  # noqa: E402
from corpus_bytes import any_value_may_be_written, archive, chest, chunk, dicom, jpeg, png, with_segment  # noqa: E402
from made_model import document  # noqa: E402
from pydicom.dataset import Dataset  # noqa: E402

from cxrscore.contract import ModelSpec  # noqa: E402
from cxrscore.models.model_file import save_model  # noqa: E402
from cxrscore.networks.tensors import initial_tensors  # noqa: E402
from cxrscore.plugins import get_backend  # noqa: E402
from cxrscore.synthetic.reference_logits import golden_record  # noqa: E402

WORDS = (
    *("PatientName", "PatientID", "OtherPatientNames", "PatientAddress", "PatientTelephoneNumbers", "EthnicGroup"),
    *("Occupation", "AdditionalPatientHistory", "PatientComments", "MedicalAlerts", "Allergies", "AccessionNumber"),
    *("StudyID", "StudyDescription", "SeriesDescription", "InstitutionName", "InstitutionAddress", "StationName"),
    *("ReferringPhysicianName", "PerformingPhysicianName", "OperatorsName", "DeviceSerialNumber", "ProtocolName"),
    *("ImageComments", "DerivationDescription", "RequestedProcedureDescription", "BodyPartExamined"),
)
"""Elements that take a text."""
NUMBERS = {
    "PatientBirthDate": "19470131",
    "StudyDate": "20190817",
    "AcquisitionTime": "134759.123",
    "PatientAge": "071Y",
    "StudyInstanceUID": "1.2.276.0.71947.1",
    "SeriesInstanceUID": "1.2.276.0.71947.2",
    "FrameOfReferenceUID": "1.2.276.0.71947.3",
    "SOPInstanceUID": "1.2.276.0.71947.4",
}
FILES = ("folder", "name", "archive", "member", "broken", "cut", "table", "model", "text", "comment", "row", "label")
TEXTS = {word: f"CANARY{number:02}{word[:8].upper()}" for number, word in enumerate(WORDS)}
CANARIES = [*TEXTS.values(), *NUMBERS.values()]
CANARIES += ["CANARY-PRIVATE", "CANARY-NESTED", "CANARY-SOURCE", "CANARY-VERSION", "CANARY-VIEW", "CANARY-KIND"]
IN_NAMES = [f"canary-{word}" for word in FILES]


def full_of_canaries(**elements: Any) -> bytes:
    """A DICOM film with a canary in every place that takes a text."""
    with any_value_may_be_written():
        return _full_of_canaries(pydicom.dcmread(BytesIO(dicom(**elements))))


def _full_of_canaries(ds: Dataset) -> bytes:
    for name, value in {**TEXTS, **NUMBERS}.items():
        setattr(ds, name, value)
    ds.ViewPosition = "CANARY-VIEW"
    ds.private_block(0x0009, "CANARY-PRIVATE", create=True).add_new(1, "LO", "CANARY-PRIVATE")
    inner = Dataset()
    inner.ScheduledProcedureStepDescription = "CANARY-NESTED"
    ds.RequestAttributesSequence = [inner]
    ds.file_meta.SourceApplicationEntityTitle = "CANARY-SOURCE"
    ds.file_meta.ImplementationVersionName = "CANARY-VERSION"
    ds.file_meta.MediaStorageSOPInstanceUID = NUMBERS["SOPInstanceUID"]
    out = BytesIO()
    pydicom.dcmwrite(out, ds)
    return out.getvalue()


def lay_out(folder: Path) -> None:
    """Films whose bytes, names and folders name patients; some of them broken in ways that make a message."""
    films = folder / "canary-folder"
    films.mkdir()
    (films / "canary-name.dcm").write_bytes(full_of_canaries())
    (films / "canary-broken.dcm").write_bytes(full_of_canaries(Modality="CANARY-KIND"))
    (films / "canary-broken-short.dcm").write_bytes(full_of_canaries(PixelData=b"short!"))
    (films / "canary-broken-cut.dcm").write_bytes(full_of_canaries()[:700])
    (films / "canary-text.png").write_bytes(png(chest(1), before=chunk(b"tEXt", b"Patient\0canary-text")))
    (films / "canary-comment.jpg").write_bytes(with_segment(jpeg(chest(2)), 0xFE, b"canary-comment"))
    (films / "canary-archive.zip").write_bytes(archive({"canary-member.dcm": full_of_canaries()}))
    (films / "canary-cut.zip").write_bytes(archive({"canary-member.png": png(chest(3))})[:-7])
    rows = "Image Index,Mass,Edema,Patient ID\ncanary-text.png,1,0,canary-row\ncanary-comment.jpg,0,1,canary-row\n"
    (folder / "canary-table.csv").write_text(rows)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("private")
    lay_out(folder)
    spec = ModelSpec(architecture="tinycnn", findings=("Mass", "Edema"), size=32)
    tensors = initial_tensors(spec, 0)
    made = document(spec, golden=golden_record(get_backend("torch").build(spec, tensors, device="cpu")))
    made["training"]["labels"]["file"] = "canary-label.csv"
    save_model(folder / "canary-model.safetensors", tensors, made)
    return folder


def cxrscore(home: Path, *words: str, expect: int) -> bytes:
    """Both streams of a command."""
    environment = {**os.environ, "CXRSCORE_CACHE": str(home / "cache")}
    done = forked.cxrscore(*words, cwd=home, env=environment)
    assert done.returncode == expect, done.stderr
    return (done.stdout + done.stderr).encode()


def unpacked(path: Path) -> Iterator[bytes]:
    """All that a file says, packed or not."""
    yield path.read_bytes()
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            found: list[bytes] = []
            file.visititems(lambda _, one: found.append(one[()].tobytes()) if isinstance(one, h5py.Dataset) else None)
            yield from found
            yield from (bytes(value) for value in file.attrs.values() if isinstance(value, bytes))


def outputs(home: Path, name: str, *options: str) -> dict[str, list[bytes]]:
    """What score, report, verify, show, export and queue write and say, by command or file."""
    before = {path for path in home.rglob("*") if path.is_file()}
    said = {
        "score": cxrscore(
            home, "score", "canary-folder", "-o", f"{name}.h5", "-m", "canary-model.safetensors", "--labels",
            "canary-table.csv", "--backend", "torch", "--json", *options, expect=3,
        ),
        "report": cxrscore(home, "report", f"{name}.h5", "--figures", f"{name}-figures", "--json", expect=0),
        "verify": cxrscore(
            home, "verify", f"{name}.h5", "--films", "canary-folder", "-m", "canary-model.safetensors", "--json",
            expect=0,
        ),
        "show": cxrscore(home, "show", f"{name}.h5", "--json", expect=0),
        "export csv": cxrscore(home, "export", f"{name}.h5", "-o", f"{name}.csv", "--all-columns", expect=0),
        "queue": cxrscore(
            home, "queue", f"{name}.h5", "--by", "random", "-o", f"{name}-queue.csv", "--json", expect=0
        ),
        "export json": cxrscore(home, "export", f"{name}.h5", "-o", f"{name}.json", "--json", expect=0),
    }  # fmt: skip
    new = [path for path in home.rglob("*") if path.is_file() and path not in before]
    # Digests of films are recorded where the films are old enough, and looked through like all else.
    assert {path.suffix for path in new} - {".digests"} == {".h5", ".html", ".png", ".csv", ".json"}
    for path in new:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    files = {str(path.relative_to(home)): list(unpacked(path)) for path in new}
    return {**{command: [text] for command, text in said.items()}, **files}


def told(found: dict[str, list[bytes]], words: list[str]) -> list[str]:
    """Which words stand where, in any case of letters."""
    return [
        f"{word} in {place}"
        for place, texts in found.items()
        for word in words
        if any(word.lower().encode() in text.lower() for text in texts)
    ]


def test_there_are_thirty_canaries_and_the_films_hold_them() -> None:
    assert len(set(CANARIES)) >= 30
    data = full_of_canaries(Modality="CANARY-KIND").lower()
    assert [word for word in CANARIES if word.lower().encode() not in data] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"), [("private", ()), ("private-mean", ("-m", "canary-model.safetensors", "--tta", "2"))]
)
def test_with_no_paths_nothing_of_a_patient_comes_out(home: Path, name: str, options: tuple[str, ...]) -> None:
    found = outputs(home, name, "--anonymize-paths", *options)
    assert told(found, CANARIES + IN_NAMES) == []
    failed = json.loads(found["score"][0][: found["score"][0].rindex(b"}") + 1])["failed"]
    assert len(failed) == 3


@pytest.mark.slow
def test_with_paths_the_tags_stay_inside_all_the_same(home: Path) -> None:
    found = outputs(home, "open")
    assert told(found, CANARIES) == []
    assert told({"open.h5": found["open.h5"]}, ["canary-name", "canary-member", "canary-cut"])  # the search finds them


@pytest.mark.slow
def test_what_scoring_leaves_when_it_fails_names_no_patient(home: Path) -> None:
    """Errors of the program name the file that is wrong, which is the user's own word, and nothing within it."""
    (home / "notes.csv").write_text("film,Mass\ncanary-row;canary-row\n")
    words = ("score", "canary-folder", "-o", "x.h5", "-m", "canary-model.safetensors", "--labels", "notes.csv")
    said = cxrscore(home, *words, "--backend", "torch", "--anonymize-paths", expect=1)
    assert told({"stderr": [said]}, CANARIES) == []


UIDS = [NUMBERS[name] for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")]
COPIED = [
    *(TEXTS[name] for name in ("PatientName", "PatientID", "StudyID", "AccessionNumber", "ReferringPhysicianName")),
    *(NUMBERS[name] for name in ("PatientBirthDate", "StudyDate")),
]
"""What an export to DICOM copies, unless it must not."""


@pytest.mark.slow
def test_dicom_objects_have_of_the_patient_what_is_said_and_no_more(home: Path) -> None:
    pytest.importorskip("highdicom")
    words = ("-m", "canary-model.safetensors", "--backend", "torch", "--anonymize-paths")
    cxrscore(home, "score", "canary-folder", "-o", "objects.h5", *words, expect=3)
    export = ("export", "objects.h5", "--to", "dicom", "--maps-of", "all", "--films", "canary-folder", "--json")
    for option, allowed in (("--with-patient", [*UIDS, *COPIED]), ("--without-patient", UIDS)):
        said = cxrscore(home, *export, "-o", f"objects{option}", option, expect=0)
        assert told({"messages": [said]}, CANARIES + IN_NAMES) == []
        found = {path.name: [path.read_bytes()] for path in (home / f"objects{option}").iterdir()}
        assert len(found) >= 6  # a report, a state, and a map and a capture of each finding
        assert told(found, [one for one in CANARIES + IN_NAMES if one not in allowed]) == []
        assert len(told(found, UIDS[:1])) == len(found)
        assert {bool(told({name: texts}, COPIED)) for name, texts in found.items()} == {option == "--with-patient"}
