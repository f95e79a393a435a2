"""Films of a real PACS on the loopback get the scores of the folder, to the bit, and nothing secret comes out."""

import json
import os
import signal
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pytest

pytest.importorskip("pydicom")
pytest.importorskip("dicomweb_client")
pytest.importorskip("openvino")
import pydicom
from click.testing import CliRunner
from corpus_bytes import any_value_may_be_written, chest, dicom
from gates import Gate, install
from made_models import made_model
from servers import pacs

from cxrscore.cli import main
from cxrscore.images import find_films
from cxrscore.remote import RemotePath, dicomweb_store, retry
from cxrscore.scorefile import open_scores
from cxrscore.scoring import ScoreOptions, score_films

pytestmark = pytest.mark.slow

ROOT = "1.2.826.0.1.3680043.10.1"
NAME, NUMBER = "CANARYNAME^CANARYFIRST", "CANARYNUMBER"
VIEWS = ("PA", "PA", "PA", "AP", "AP", "LL", "", "")
CANARIES = ("canaryname", "canaryfirst", "canarynumber", "canary-password", "canary-query")


def film(number, study=None, **elements):
    """A synthetic film; two of them make a study."""
    study = number // 2 if study is None else study
    own = {
        "StudyInstanceUID": f"{ROOT}.{study}",
        "SeriesInstanceUID": f"{ROOT}.{study}.1",
        "SOPInstanceUID": f"{ROOT}.{study}.1.{number}",
        "PatientName": NAME,
        "PatientID": NUMBER,
        "StudyDate": f"2026010{1 + study % 4}",
        "ViewPosition": VIEWS[number % 8],
    }
    return dicom(chest(number), **{**own, **elements})


def report():
    """An object without pixels in the first study."""
    with any_value_may_be_written():
        dataset = pydicom.dcmread(BytesIO(film(90, 0, Modality="SR", SeriesInstanceUID=f"{ROOT}.0.2")))
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
        del dataset.PixelData
        out = BytesIO()
        pydicom.dcmwrite(out, dataset, enforce_file_format=True)
        return out.getvalue()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with eight films, named so that they have the order of the PACS, and a model."""
    folder = tmp_path_factory.mktemp("hospital")
    films = folder / "films"
    films.mkdir()
    for number in range(8):
        (films / f"{number}.dcm").write_bytes(film(number))
    made_model(folder / "model", 1)
    score(folder, films="films", output="near.h5")
    return folder


def score(home, **changed):
    # OpenVINO's bits of a film do not depend on its batch; those of PyTorch may.
    given = {"model": home / "model", "backend": "openvino", "device": "cpu", "heatmaps": 1, "thumbnails": 2, **changed}
    given["films"] = home / given["films"] if given["films"] == "films" else given["films"]
    return score_films(ScoreOptions(**{**given, "output": home / given["output"]}))


@pytest.fixture
def server(orthanc_with_login, home, monkeypatch, tmp_path):
    """The PACS with the eight films, a report, and a CT image."""
    orthanc_with_login.post(sorted((home / "films").iterdir()))
    orthanc_with_login.post([report(), film(91, 1, Modality="CT", SeriesInstanceUID=f"{ROOT}.1.2")])
    user, password = orthanc_with_login.login
    monkeypatch.setenv("CXRSCORE_DICOMWEB_USER", user)
    monkeypatch.setenv("CXRSCORE_DICOMWEB_PASSWORD", password)
    monkeypatch.setenv("CXRSCORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.001)
    return orthanc_with_login


def columns(path):
    """What a scores file has of each film, by its digest."""
    scores = open_scores(path)
    rows = zip(
        scores.films.sha256, scores.films.status, scores.prob.tolist(), scores.logit.tolist(), scores.films.view,
        strict=True,
    )  # fmt: skip
    return {str(digest): tuple(map(str, row)) for digest, *row in rows}


def test_films_of_a_pacs_get_the_scores_of_the_folder(server, home, monkeypatch):
    monkeypatch.setattr(dicomweb_store, "PAGE", 3)
    (home / "labels.csv").write_text(f"film,Mass\n{ROOT}.0.1.0,1\n{ROOT}.3.1.7,0\n")
    result = score(home, films=server.dicomweb, output="far.h5", labels=home / "labels.csv")
    (home / "labels.csv").unlink()
    assert (result.scored, result.n_films) == (8, 8)
    assert result.other_files == {"not_opened": {"DICOM CT object": 1, "DICOM SR object": 1}}
    assert columns(home / "far.h5") == columns(home / "near.h5")
    far = open_scores(home / "far.h5")
    assert sorted(far.films.path)[0] == f"{ROOT}.0/{ROOT}.0.1/{ROOT}.0.1.0"
    assert far.provenance["labels"]["labelled_films"] == 2
    again = score(home, films=server.dicomweb, output="far.h5", labels=None)
    assert (again.computed, again.scored) == (0, 8)


def test_images_of_other_modalities_are_films_if_asked_for(server):
    assert len(find_films(RemotePath(f"{server.dicomweb}/?Modality=CT"), any_modality=True).paths) == 1


@pytest.mark.parametrize(
    ("query", "films"),
    [
        ("StudyDate=20260101-20260102", 4),
        ("ViewPosition=AP", 2),
        ("PatientName=CANARYNAME*", 8),
        ("PatientID=nobody", 0),
        ("Modality=CT", 0),
    ],
)
def test_a_query_chooses_films(server, query, films):
    assert len(find_films(RemotePath(f"{server.dicomweb}/?{query}")).paths) == films


def run(home, *words, **changed):
    """A command in a process of its own, as a user starts it."""
    line = [sys.executable, "-P", "-m", "cxrscore", *words]
    return subprocess.run(line, cwd=home, env={**os.environ, **changed}, capture_output=True, text=True, check=False)


def test_a_dry_run_counts_by_modality_and_view(server, home):
    before = set(home.rglob("*"))
    done = run(home, "score", server.dicomweb, "--dry-run", "-m", "missing", "--json", "--query", "StudyDate=20260101-")
    assert done.returncode == 0, done.stderr
    assert done.stderr == "2 other files: 1 DICOM CT object, 1 DICOM SR object (not opened)\n"
    counts = [(one["modality"], one["view"], one["films"]) for one in json.loads(done.stdout)["counts"]]
    assert counts == [("DX", "PA", 3), ("DX", "AP", 2), ("DX", "unknown", 2), ("DX", "LL", 1)]
    assert set(home.rglob("*")) == before


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"CXRSCORE_DICOMWEB_PASSWORD": "canary-password-2"},
            "refuses the user and password, or the token",
        ),
        (
            {"CXRSCORE_DICOMWEB_USER": "", "CXRSCORE_DICOMWEB_PASSWORD": ""},
            "asks for a user and password",
        ),
    ],
)
def test_a_wrong_password_is_one_line(server, home, changed, message):
    words = ["score", server.dicomweb, "-o", str(home / "never.h5"), "-m", str(home / "model")]
    done = CliRunner().invoke(main, words, env=changed)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
    assert message in done.stderr
    assert not (home / "never.h5").exists()
    assert "canary" not in done.stderr


def test_a_run_that_is_killed_resumes(server, home, tmp_path, monkeypatch):
    for name, value in install(tmp_path / "site").items():
        monkeypatch.setenv(name, value)
    server.post([film(number, 100) for number in range(100, 222)])  # three shards with the eight
    words = ["score", server.dicomweb, "-m", "model", "--backend", "openvino", "--device", "cpu", "-b", "1", "-q"]
    words += ["--explainer", "gated", "--heatmaps", "1", "-o"]
    with Gate([sys.executable, "-P", "-m", "cxrscore", *words, "killed.h5"], cwd=home) as gate:
        gate.hold(lambda held: list(home.glob("killed.h5.parts/s*.h5")))
        gate.process.kill()
        assert gate.process.wait() == -signal.SIGKILL
    assert not (home / "killed.h5").exists()
    done = run(home, *words, "killed.h5", "--json")
    assert (done.returncode, json.loads(done.stdout)["scored"]) == (0, 130), done.stderr
    assert 0 < json.loads(done.stdout)["computed"] < 130, "it began anew"
    assert score(home, films=server.dicomweb, output="undisturbed.h5", batch_size=1).computed == 130
    killed = columns(home / "killed.h5")
    assert len(killed) == 130
    assert killed == columns(home / "undisturbed.h5")


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file()).lower()


def _titles(pid: int) -> bytes:
    """The command lines of the children of a process, and of theirs."""
    found = b""
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            if f"PPid:\t{pid}\n" in status.read_text():
                child = int(status.parent.name)
                found += status.with_name("cmdline").read_bytes() + _titles(child)
        except OSError:  # it has ended
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="command lines are read in /proc")
@pytest.mark.parametrize("hidden", [False, True], ids=["paths", "no-paths"])
def test_no_patient_and_no_secret_comes_out(server, home, tmp_path, monkeypatch, hidden):
    for name, value in install(tmp_path / "site").items():
        monkeypatch.setenv(name, value)
    own = tmp_path / "own"
    own.mkdir()
    words = [
        "score",
        f"{server.dicomweb}/?Modality=DX",
        "--query",
        "PatientName=CANARYNAME*",
        "-m",
        str(home / "model"),
    ]
    words += ["--backend", "openvino", "--device", "cpu", "--explainer", "gated", "-o", "out.h5", "--json"]
    words += ["--anonymize-paths"] * hidden
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with Gate([sys.executable, "-P", "-m", "cxrscore", *words], cwd=own, **output) as gate:
        gate.hold()
        titles = _titles(gate.process.pid)
        unfinished = everything(own) + everything(tmp_path / "cache")
        gate.open()
        said = "".join(gate.process.communicate())
    assert gate.process.returncode == 0, said
    assert b"cxrscore.images.worker" in titles
    found = said.lower().encode() + titles.lower() + unfinished + everything(own) + everything(tmp_path / "cache")
    assert [word for word in CANARIES if word.encode() in found] == []
    provenance = open_scores(own / "out.h5").provenance
    query = {"Modality": "...", "PatientName": "..."} if hidden else {"Modality": "DX", "PatientName": "..."}
    assert provenance["films"]["query"] == query
    assert ("PatientName=..." in provenance["command"]) is not hidden
    if hidden:
        assert ROOT.encode() not in said.encode() + everything(own)


@pytest.mark.shared
def test_real_films_of_a_pacs_get_the_scores_of_their_folder(orthanc, home, shared, tmp_path, monkeypatch):
    """Two of the eight files are the same object: a PACS keeps one of them."""
    monkeypatch.setenv("CXRSCORE_CACHE", str(tmp_path / "cache"))
    orthanc.clear()
    orthanc.post(sorted((shared / "data" / "dicom").glob("*.dcm")))
    score(home, films=shared / "data" / "dicom", output="real-near.h5")
    score(home, films=orthanc.dicomweb, output="real-far.h5")
    near, far = columns(home / "real-near.h5"), columns(home / "real-far.h5")
    assert len(near) == 8
    assert len(far) == 7
    assert {digest: near[digest] for digest in far} == far


def test_half_a_film_is_not_scored_and_all_others_are(home, monkeypatch):
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.001)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pacs() as server:
        for number in range(8):
            server.films[f"{ROOT}.{number // 2}/{ROOT}.{number // 2}.1/{ROOT}.{number // 2}.1.{number}"] = film(number)
        server.faults[f"{ROOT}.1.1.2"] = "half"
        result = score(home, films=server.dicomweb, output="half.h5")
    assert (result.scored, result.failed_statuses) == (7, ("UNREADABLE",))
    assert result.failed[0][1].startswith("not received: ")
    near, half = columns(home / "near.h5"), columns(home / "half.h5")
    assert {digest: row for digest, row in half.items() if digest} == {
        digest: near[digest] for digest in half if digest
    }


def test_a_dead_server_is_one_line(home, monkeypatch):
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.001)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    words = ["score", "dicomweb+http://me:canary@127.0.0.1:1/?PatientID=canary", "-o", str(home / "never.h5")]
    done = CliRunner().invoke(main, [*words, "-m", str(home / "model")])
    assert (done.exit_code, done.stderr) == (
        1,
        "cxrscore: cannot read dicomweb+http://127.0.0.1:1/: no server answers there (connection refused), 6 times\n",
    )


def test_an_unknown_keyword_is_an_error_before_any_request(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["score", "dicomweb+http://127.0.0.1:1/", "--query", "StudyDat=2026", "-o", "x.h5"])
    assert ended.value.code == 1
    assert "'StudyDat' in the query is no DICOM keyword" in capsys.readouterr().err
