"""A name out of a URL, a bucket or a manifest never decides which file is written or read."""

import json
import os
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from made_run import made_run, merge, score
from servers import bucket

from cxrscore.cli import main
from cxrscore.errors import FileFormatError, RemoteError
from cxrscore.remote import RemotePath, as_local_path, retry
from cxrscore.scorefile import manifest_films
from cxrscore.scorefile.manifest import canonical_json, paths_digest


class _Same(BaseHTTPRequestHandler):
    """Answers every address with the same bytes."""

    body = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(self.body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, format, *args) -> None:
        """Quiet."""


@pytest.fixture
def scores(tmp_path: Path) -> bytes:
    run = made_run(tmp_path / "made.h5", 5)
    score(run)
    return merge(run).read_bytes()


@pytest.fixture
def site(scores: bytes):
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Same", (_Same,), {"body": scores}))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/scores"
    server.shutdown()
    thread.join()
    server.server_close()


def encodings(path: Path) -> list[str]:
    """Spellings of an absolute path as the last part of a URL."""
    up = "../" * 12 + str(path).lstrip("/")
    return [
        urllib.parse.quote(str(path), safe=""),
        urllib.parse.quote(up, safe=""),
        urllib.parse.quote(str(path), safe="").replace("%2F", "%2f"),
        urllib.parse.quote(str(path), safe="").replace("%", "%25"),
        "x%00" + urllib.parse.quote(str(path), safe=""),
        urllib.parse.quote(str(path).replace("/", "\\"), safe=""),
        "%2E%2E%2F" * 12 + urllib.parse.quote(str(path).lstrip("/"), safe=""),
    ]


@pytest.mark.parametrize("number", range(7))
@pytest.mark.parametrize("command", ["show", "verify", "report", "export"])
def test_a_file_of_the_user_is_not_touched(site, tmp_path, monkeypatch, number, command):
    pytest.importorskip("fsspec")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    precious = tmp_path / "precious.h5"
    precious.write_text("precious")
    before = {path for path in tmp_path.rglob("*") if "work" not in path.parts}
    url = f"{site}/{encodings(precious)[number]}"
    more = ["-o", "out.csv"] if command == "export" else []
    with pytest.raises(SystemExit) as ended:
        main([command, url, *more], standalone_mode=False)
    assert ended.value.code in (0, 5)  # verify finds that the run is made up
    assert precious.read_text() == "precious"
    assert {path for path in tmp_path.rglob("*") if "work" not in path.parts} == before


def test_nor_where_the_server_cannot_be_reached(tmp_path, monkeypatch):
    pytest.importorskip("fsspec")
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.001)
    precious = tmp_path / "precious.h5"
    precious.write_text("precious")
    with pytest.raises(RemoteError), as_local_path(f"http://127.0.0.1:9/{encodings(precious)[0]}"):
        pass
    assert precious.read_text() == "precious"


def test_a_copy_has_a_name_of_our_own_and_keeps_the_address_as_a_label(site):
    pytest.importorskip("fsspec")
    with as_local_path(f"{site}/%2Fetc%2Fpasswd") as copy:
        assert copy.name == "copy"
        assert os.stat(copy).st_mode & 0o777 == 0o600
    assert RemotePath(f"{site}/%2Fetc%2Fpasswd").name == "_etc_passwd"
    assert RemotePath("s3://bucket/a/..").name == "_."


def test_a_page_of_a_url_lies_in_the_current_folder(site, tmp_path, monkeypatch):
    pytest.importorskip("fsspec")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    with pytest.raises(SystemExit) as ended:
        main(["report", f"{site}/{encodings(tmp_path / 'page.h5')[0]}"], standalone_mode=False)
    assert ended.value.code == 0
    assert not (tmp_path / "page.html").exists()
    assert [path.suffix for path in (tmp_path / "work").iterdir()] == [".html"]


def test_a_target_in_a_bucket_names_no_file_here(tmp_path, monkeypatch):
    pytest.importorskip("obstore")
    from cxrscore.scoring.options import ScoreOptions
    from cxrscore.scoring.remote_output import OUTPUT, upload_folder

    with bucket():
        target = RemotePath("s3://films/../../x.h5")
        options = ScoreOptions(films=tmp_path, output=target, temp_dir=tmp_path / "temp")
        folder = upload_folder(options, target)
    assert folder.parent == tmp_path / "temp"
    assert "/" not in OUTPUT


@pytest.mark.parametrize("path", ["/etc/passwd", "../secret.png", "a/../../b.png", "./a.png", "a\0.png"])
def test_a_manifest_of_others_names_no_film_outside_of_the_folder(tmp_path, path):
    output = tmp_path / "out.h5"
    made_run(output, 4)
    manifest = tmp_path / "out.h5.parts" / "manifest.jsonl"
    head, *_ = manifest.read_text().splitlines()
    changed = json.loads(head)
    changed["inputs"] |= {"films": 1, "paths": paths_digest([path])}
    manifest.write_text(f"{canonical_json(changed)}\n{json.dumps(path)}\n")
    with pytest.raises(FileFormatError, match="as paths below the films folder"):
        manifest_films(output)
