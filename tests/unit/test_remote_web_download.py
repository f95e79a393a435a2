"""A download from a web server is whole or stays to be resumed, and is never resumed with the bytes of another file."""

import json

import numpy as np
import pytest
import servers

from cxrscore.errors import InputError, RemoteError, RemoteTooLargeError, WriteError
from cxrscore.remote import RemotePath, retry, web_download
from cxrscore.remote.web_download import WebDownload

DATA = np.random.default_rng(0).bytes(3_000_000)
OTHER = np.random.default_rng(1).bytes(len(DATA))


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with servers.files() as running:
        running.files["/w.pt"] = DATA
        yield running


@pytest.fixture
def part(tmp_path):
    return tmp_path / "w.pt.part"


def download(server, part, path="/w.pt", **options):
    return WebDownload(where=RemotePath(server.url + path), part=part, **{"most": 1 << 30, **options})


def ranges(server):
    return [headers.get("Range") for headers in server.headers]


def test_a_file_is_downloaded_and_its_size_is_said_before_the_first_byte(server, part):
    said = []
    download(
        server,
        part,
        started=lambda total, there: said.append(("started", total, there, part.exists())),
        received=lambda done, total: said.append(("received", done, total)),
    ).run()
    assert part.read_bytes() == DATA
    assert said[0] == ("started", len(DATA), 0, False)
    assert said[-1] == ("received", len(DATA), len(DATA))
    assert list(part.parent.iterdir()) == [part]


def test_a_broken_connection_is_resumed_where_it_broke(server, part):
    server.faults["/w.pt"] = servers.at_first("half", "half", "drop", "503")
    download(server, part).run()
    assert part.read_bytes() == DATA
    assert ranges(server) == [None, "bytes=1500000-", "bytes=2250000-", "bytes=2250000-", "bytes=2250000-"]


def test_a_later_run_resumes_what_an_earlier_one_received(server, part):
    server.faults["/w.pt"] = servers.at_first("half", *["503"] * 50)
    with pytest.raises(RemoteError, match="status 503, 6 times"):
        download(server, part).run()
    server.faults.clear()
    assert part.read_bytes() == DATA[:1_500_000]
    started = []
    download(server, part, started=lambda *sizes: started.append(sizes)).run()
    assert part.read_bytes() == DATA
    assert started == [(len(DATA), 1_500_000)]


@pytest.mark.parametrize("version", ["etag", "date"])
def test_another_file_than_at_first_is_downloaded_anew(server, part, version):
    server.version = version
    server.faults["/w.pt"] = servers.at_first("half", *["503"] * 50)
    with pytest.raises(RemoteError):
        download(server, part).run()
    server.faults.clear()
    server.files["/w.pt"] = OTHER
    download(server, part).run()
    assert part.read_bytes() == OTHER
    assert ranges(server)[-1] == "bytes=1500000-"


@pytest.mark.parametrize("version", ["weak", ""])
def test_without_a_version_that_stands_for_bytes_it_starts_anew(server, part, version):
    server.version = version
    server.faults["/w.pt"] = servers.at_first("half")
    download(server, part).run()
    assert part.read_bytes() == DATA
    assert ranges(server) == [None, None]


def test_a_server_without_ranges_starts_anew(server, part):
    server.ranges = False
    server.faults["/w.pt"] = servers.at_first("half")
    download(server, part).run()
    assert part.read_bytes() == DATA


def test_a_part_that_is_longer_than_the_file_is_thrown_away(server, part):
    server.faults["/w.pt"] = servers.at_first("half", *["503"] * 50)
    with pytest.raises(RemoteError):
        download(server, part).run()
    server.faults.clear()
    part.write_bytes(bytes(len(DATA)))
    download(server, part).run()
    assert part.read_bytes() == DATA


def test_a_part_of_another_url_or_without_a_record_is_not_resumed(server, part):
    part.write_bytes(b"something")
    download(server, part).run()
    assert part.read_bytes() == DATA
    part.write_bytes(b"something")
    record = {"url": f"{server.url}/other.pt", "validator": '"x"'}
    part.with_name("w.pt.part.json").write_text(json.dumps(record))
    download(server, part).run()
    assert part.read_bytes() == DATA
    assert ranges(server) == [None, None]


def test_a_connection_that_breaks_again_and_again_but_gains_is_not_given_up(server, part, monkeypatch):
    monkeypatch.setattr(web_download, "_GAIN", 1)
    server.faults["/w.pt"] = servers.at_first(*["half"] * 9)
    download(server, part).run()
    assert part.read_bytes() == DATA


def test_nothing_at_the_url_is_an_error_at_once(server, part):
    with pytest.raises(RemoteError, match="there is nothing at this URL"):
        download(server, part, "/other.pt").run()
    assert server.asked.total() == 1
    assert list(part.parent.iterdir()) == []


def test_a_server_error_that_lasts_is_an_error_after_six_tries(server, part):
    server.faults["/w.pt"] = "500"
    with pytest.raises(RemoteError, match="status 500, 6 times"):
        download(server, part).run()
    assert server.asked.total() == 6


def test_a_slow_server_is_an_error(server, part, monkeypatch):
    monkeypatch.setattr(web_download, "SLOWEST", 1 << 60)
    monkeypatch.setattr(web_download, "READ_TIMEOUT", 0.0)
    with pytest.raises(RemoteError, match="it arrives at less than"):
        download(server, part).run()


def test_a_silent_server_is_an_error(server, part, monkeypatch):
    def silent(*args, **options):
        raise TimeoutError("timed out")

    monkeypatch.setattr("http.client.HTTPResponse.read1", silent)
    with pytest.raises(RemoteError, match="no answer in time, 6 times"):
        download(server, part).run()


def test_too_large_a_file_is_refused_before_a_byte_of_it(server, part):
    with pytest.raises(RemoteTooLargeError, match="it has 3,000,000 bytes, expected at most 2,999,999"):
        download(server, part, most=2_999_999).run()
    assert list(part.parent.iterdir()) == []


def test_a_server_that_sends_without_end_is_stopped(server, part):
    server.faults["/w.pt"] = "endless"
    with pytest.raises(RemoteTooLargeError, match="the server sends more than"):
        download(server, part, most=5_000_000).run()
    assert part.stat().st_size <= 5_000_000


def test_a_compressed_answer_is_refused(server, part):
    server.about["Content-Encoding"] = "gzip"
    with pytest.raises(RemoteError, match="compresses it as 'gzip'"):
        download(server, part).run()


def test_redirects_are_followed(server, part):
    server.faults["/old.pt"] = f"to {server.url}/w.pt"
    download(server, part, "/old.pt").run()
    assert part.read_bytes() == DATA


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/w.pt", "data:,x"])
def test_redirects_lead_to_web_servers_only(server, part, target):
    server.faults["/w.pt"] = f"to {target}"
    with pytest.raises(RemoteError, match=r"to nothing that can be downloaded|is not followed"):
        download(server, part).run()
    assert list(part.parent.iterdir()) == []


def test_a_redirect_from_https_to_http_is_refused(server):
    redirects = web_download._Redirects(RemotePath("https://host/w.pt"))
    request = web_download.urllib.request.Request("https://host/w.pt")
    answer = type("Answer", (), {"close": lambda self: None})()
    with pytest.raises(RemoteError, match=r"redirects from https:// to http://"):
        redirects.redirect_request(request, answer, 302, "", {}, "http://host/w.pt")


def test_the_proxy_of_the_environment_is_used(server, part, monkeypatch):
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.setenv("http_proxy", server.url)
    server.files["/weights/w.pt"] = DATA
    where = RemotePath("http://weights.example/weights/w.pt")
    WebDownload(where=where, part=part, most=1 << 30).run()
    assert part.read_bytes() == DATA


def test_what_is_no_web_server_is_refused(part):
    with pytest.raises(InputError, match="expected a URL that begins with https:// or http://"):
        WebDownload(where=RemotePath("s3://bucket/w.pt"), part=part, most=1).run()


def test_a_folder_that_cannot_be_written_is_an_error_of_writing(server, part):
    part.mkdir()
    with pytest.raises(WriteError, match=r"cannot write .*w\.pt\.part"):
        download(server, part).run()


def test_secrets_of_the_url_are_in_no_message(server, part):
    with pytest.raises(RemoteError) as caught:
        download(server, part, "/other.pt?token=canary").run()
    assert "canary" not in str(caught.value)


def test_user_and_password_are_sent_and_not_after_a_redirect(server, part):
    server.faults["/first.pt"] = f"to {server.url}/w.pt"
    url = server.url.replace("://", "://doctor:pass%40word@")
    WebDownload(where=RemotePath(f"{url}/first.pt"), part=part, most=1 << 30).run()
    assert part.read_bytes() == DATA
    sent = [headers.get("Authorization") for headers in server.headers]
    assert sent == ["Basic ZG9jdG9yOnBhc3NAd29yZA==", None]  # of doctor:pass@word


def test_a_redirect_without_an_end_is_an_error_at_once(server, part):
    server.faults["/w.pt"] = f"to {server.url}/w.pt"
    with pytest.raises(RemoteError, match="it redirects endlessly"):
        download(server, part).run()
    assert server.asked.total() < 20
