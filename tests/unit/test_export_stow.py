"""STOW-RS against servers that answer as told: what became of each object, retries, and errors in one line.

tests/faults/test_results_in_pacs.py does the same with a real archive.
"""

import json
import re
from http.server import BaseHTTPRequestHandler
from itertools import chain, repeat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers import Server, running

pytest.importorskip("requests")

from cxrscore.errors import InputError, WriteError
from cxrscore.export import ExportOptions
from cxrscore.export.dicom import archive_sink
from cxrscore.export.dicom.archive_sink import ArchiveSink
from cxrscore.export.dicom.objects import DicomObject
from cxrscore.export.object_kinds import SR
from cxrscore.remote import RemotePath, dicomweb_stow, retry
from cxrscore.remote.dicomweb_session import PASSWORD, USER

JSON = {"Content-Type": "application/dicom+json"}


class Archive(BaseHTTPRequestHandler):
    """Answers with the next of the server's ``answers``: a function of the UIDs of a request that returns status, body
    and headers."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format, *args) -> None:
        """Quiet."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, self.headers["Accept"], body))
        status, answer, headers = next(self.server.answers)(re.findall(rb"data of ([0-9.]+)", body))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(answer)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)
        self.close_connection = "Content-Length" in headers


def items(uids, **elements):
    """A sequence in DICOM JSON."""
    return {
        "vr": "SQ",
        "Value": [
            {
                "00081155": {"vr": "UI", "Value": [uid]},
                **{tag: {"vr": "US", "Value": [v]} for tag, v in elements.items()},
            }
            for uid in uids
        ],
    }


def stored(uids, status=200, failed=(), **elements):
    names = [uid.decode() for uid in uids if uid.decode() not in failed]
    answer = {"00081199": items(names), "00081198": items(failed, **elements)}
    return status, json.dumps(answer).encode(), JSON


def refused(uids, reason):
    """All of them, with a reason."""
    return stored(uids, 409, [uid.decode() for uid in uids], **{"00081197": reason})


def plain(status, body=b"", **headers):
    return lambda uids: (status, body, headers)


@pytest.fixture
def archive(monkeypatch):
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0)
    with running(Server(Archive)) as server:
        server.requests = []
        yield server


def send(server, *answers, count=3, size=10, **changed):
    """A sink after ``count`` objects 1.2.1, 1.2.2 ...; the last answer is given to all further requests."""
    server.answers = chain(answers[:-1], repeat(answers[-1]))
    sink = ArchiveSink(changed.get("where", RemotePath(f"{server.url}/dicom-web/")))
    for number in range(1, count + 1):
        data = f"data of 1.2.{number} ".encode() + bytes(size)
        sink.put(DicomObject(kind=SR, uid=f"1.2.{number}", data=data), f"{number}.dcm")
    sink.close()
    return sink


def test_objects_are_sent_as_they_are_in_one_request(archive):
    sink = send(archive, stored)
    assert (sink.stored, sink.failed) == ({"stored": 3}, [])
    ((path, accept, body),) = archive.requests
    assert (path, accept) == ("/dicom-web/studies", "application/dicom+json")
    parts = [part for part in body.split(b"--" + body[2:34]) if b"data of" in part]
    assert [part.partition(b"\r\n\r\n")[2] for part in parts] == [
        f"data of 1.2.{number} ".encode() + bytes(10) + b"\r\n" for number in (1, 2, 3)
    ]


def test_a_batch_is_limited_in_number_and_size(archive, monkeypatch):
    assert send(archive, stored, count=70).stored == {"stored": 70}
    assert [body.count(b"data of") for _, _, body in archive.requests] == [32, 32, 6]
    archive.requests.clear()
    monkeypatch.setattr(archive_sink, "BATCH_BYTES", 250)
    send(archive, stored, count=5, size=100)
    assert [body.count(b"data of") for _, _, body in archive.requests] == [2, 2, 1]


@pytest.mark.parametrize("code", [0x0111, 45070], ids=["standard", "azure"])
def test_what_is_already_there_is_no_failure(archive, code):
    sink = send(archive, lambda uids: refused(uids, code))
    assert (sink.stored, sink.failed) == ({"already there": 3}, [])


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (0x0122, "this SOP class is not supported (0x0122)"),
        (0xA700, "out of resources (0xA700)"),
        (0xA9FE, "it does not match its SOP class (0xA9FE)"),
        (0xC122, "its transfer syntax is not supported (0xC122)"),
        (0xC0FF, "it cannot be understood (0xC0FF)"),
        (0x1234, "reason (0x1234)"),
    ],
)
def test_a_refused_object_is_told_with_its_film_and_the_others_are_stored(archive, code, text):
    sink = send(archive, lambda uids: stored(uids, 202, ["1.2.2"], **{"00081197": code}))
    assert sink.stored == {"stored": 2, "refused": 1}
    assert sink.failed == [("2.dcm", f"the archive refuses the Structured Report: {text}")]
    assert len(archive.requests) == 1


def test_an_answer_in_a_list_as_to_a_search_is_read(archive):
    def in_list(uids):
        status, body, headers = stored(uids)
        return status, b"[" + body + b"]", headers

    assert send(archive, in_list).stored == {"stored": 3}


def test_a_warning_is_counted(archive):
    answer = {"00081199": items(["1.2.1", "1.2.2"], **{"00081196": 0xB000})}
    answer["00081199"]["Value"] += items(["1.2.3"], **{"00081196": 7})["Value"]
    sink = send(archive, plain(200, json.dumps(answer).encode()))
    assert sink.stored == {"stored with changed elements": 2, "stored with a warning (0x0007)": 1}


@pytest.mark.parametrize("status", [400, 413])
def test_a_refused_request_is_repeated_object_by_object(archive, status):
    def by_one(uids):
        return (status, b"<html>", {}) if uids != [b"1.2.1"] else stored(uids)

    sink = send(archive, by_one)
    assert sink.stored == {"stored": 1, "refused": 2}
    assert sink.failed[0] == ("2.dcm", f"the archive refuses the Structured Report: status {status}")
    assert len(archive.requests) == 4


def test_objects_that_the_answer_does_not_name_are_not_stored(archive):
    sink = send(archive, lambda uids: stored(uids[:1]))
    assert sink.stored == {"stored": 1, "refused": 2}
    assert sink.failed[0][1].endswith("its answer does not say that it is stored")


@pytest.mark.parametrize(
    "fault",
    [plain(503), plain(429), plain(200, b'{"000', **{"Content-Length": "1000"})],
    ids=["unavailable", "too-many", "half-an-answer"],
)
def test_a_temporary_failure_is_repeated_with_the_same_objects(archive, fault):
    sink = send(archive, fault, fault, stored)
    assert sink.stored == {"stored": 3}
    assert len(archive.requests) == 3
    assert len({re.sub(rb"[0-9a-f]{32}", b"", body) for _, _, body in archive.requests}) == 1


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (plain(401), r"it asks for a user and password \(status 401\)"),
        (plain(403), r"this user has no right to it \(status 403\)"),
        (plain(404), "no DICOMweb service at this URL"),
        (plain(500), r"the server answers with status 500, 6 times"),
        (plain(200, b"canary-answer"), "its answer is not that of a DICOMweb server"),
        (plain(200, b"[1]"), "its answer is not that of a DICOMweb server"),
        (plain(302, b"", Location="/canary-elsewhere"), "it redirects an upload"),
        (plain(200, b"{", **{"Content-Length": "1000"}), "the transfer ended early, 6 times"),
    ],
    ids=["401", "403", "404", "500", "text", "list", "redirect", "half"],
)
def test_what_ends_the_export_is_one_line(archive, fault, text):
    with pytest.raises(WriteError, match=text) as caught:
        send(archive, stored, fault, count=40)
    assert caught.value.exit_code == 74
    assert "32 objects are stored; a rerun of the command stores the others, and none twice." in str(caught.value)
    assert "canary" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_server_that_is_not_there_is_one_line(monkeypatch):
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0)
    with running(Server(Archive)) as server:
        url = server.url
    with pytest.raises(WriteError, match=r"no server answers there.*0 objects are stored"):
        send(server, stored, where=RemotePath(f"{url}/dicom-web"))


def test_the_advice_is_to_overwrite_where_a_folder_is_written_too(archive):
    archive.answers = repeat(plain(404))
    sink = ArchiveSink(RemotePath(archive.url), "a rerun with --overwrite")
    sink.put(DicomObject(kind=SR, uid="1.2.1", data=b"data of 1.2.1"), "a.dcm")
    with pytest.raises(WriteError, match="a rerun with --overwrite stores the others, and none twice"):
        sink.close()


def test_a_login_is_sent_and_never_shown(archive, monkeypatch):
    monkeypatch.setenv(USER, "reader")
    monkeypatch.setenv(PASSWORD, "canary-secret")
    where = RemotePath(archive.url.replace("http://", "dicomweb+http://user:canary-url@") + "/canary/")
    with pytest.raises(WriteError, match="it refuses the user and password") as caught:
        send(archive, plain(401), where=where)
    assert "canary-secret" not in str(caught.value)
    assert "canary-url" not in str(caught.value)


# --- any answer

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["00081155", "00081196", "00081197", "Value"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["00081198", "00081199"]), VALUES | st.builds(lambda v: {"Value": v}, VALUES)))
def test_any_answer_is_read(answer):
    for outcome in dicomweb_stow._outcomes(answer).values():
        assert outcome.text.isprintable()


# --- options


@pytest.mark.parametrize("url", ["s3://bucket/dicom", "folder", "https://user:canary@host/dicom-web/?StudyDate=1"])
def test_what_is_no_service_is_told_without_its_secrets(url):
    with pytest.raises(InputError, match="--stow is not the URL of a DICOMweb service") as caught:
        ExportOptions(stow=url)
    assert "canary" not in str(caught.value)


def test_the_format_is_dicom_where_objects_go_to_an_archive():
    url = "https://host/dicom-web/"
    assert ExportOptions(stow=url).chosen_kind() == "dicom"
    assert ExportOptions(stow=url, output=Path("folder")).chosen_kind() == "dicom"
    assert ExportOptions(stow=url, kind="dicom-sr").chosen_kind() == "dicom-sr"
    with pytest.raises(InputError, match="--stow has no meaning for the format csv"):
        ExportOptions(stow=url, output=Path("out.csv")).chosen_kind()
    with pytest.raises(InputError, match="--stow has no meaning for the format fhir"):
        ExportOptions(stow=url, kind="fhir").chosen_kind()
    with pytest.raises(InputError, match="there is no output, expected --output, or --stow"):
        ExportOptions(kind="dicom").chosen_kind()
