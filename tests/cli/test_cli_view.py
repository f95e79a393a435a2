"""`cxrscore view` as a program: it prints an address, answers there, and ends with the exit code of its signal."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar
from pathlib import Path

import pytest
from made_view import CANARY, MadeView, made_view

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from cxrscore.cli import main
from cxrscore.viewer import server

COMMAND = (sys.executable, "-P", "-m", "cxrscore", "view")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeView:
    return made_view(tmp_path_factory.mktemp("cli-view"))


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The program, and the address that it prints."""
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_it_serves_until_ctrl_c(made: MadeView) -> None:
    pytest.importorskip("cv2")
    arguments = [str(made.scores), "--films", str(made.films), "--no-browser", "--verbose"]
    with running(*arguments) as (process, address):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{43}", address)
        base, token = address.split("/?token=")
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        with opener.open(address) as answer:
            assert answer.status == 200
        with opener.open(f"{base}/film/{made.there[0]}/pixels") as answer:
            assert len(answer.read()) in (48 * 64, 2 * 48 * 64)
            assert answer.headers["Server"] is None
        for wrong in (f"GET /film/1?{CANARY} HTTP/1.1\r\n\r\n", f"nonsense {CANARY}\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", int(base.rpartition(":")[2]))) as plain:
                plain.sendall(wrong.encode())
                assert b" 4" in plain.recv(4096).partition(b"\r\n")[0]
        command = Path(f"/proc/{process.pid}/cmdline")
        assert not command.exists() or token not in command.read_text()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=300)
        assert (process.returncode, out) == (130, "")
        assert err.endswith("cxrscore: stopped\n")
        assert "GET FilmPage.pixels 200" in err
        for secret in (token, CANARY, "Traceback"):
            assert secret not in err


@pytest.mark.slow
def test_the_address_can_be_json(made: MadeView) -> None:
    with running(str(made.scores), "--no-browser", "--json", "--quiet") as (process, line):
        assert process.stdout is not None
        told = json.loads(line + process.stdout.readline() + process.stdout.readline())
        with urllib.request.urlopen(told["address"]) as answer:
            assert answer.status == 200


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate")
def test_with_a_certificate_it_speaks_https_only(made: MadeView, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "1"]
    made_by = [*command, "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made_by, check=True, capture_output=True)
    arguments = [str(made.scores), "--no-browser", "--host", "localhost", "--certificate", str(certificate)]
    with running(*arguments, "--key", str(key)) as (_, address):
        assert address.startswith("https://localhost:")
        trusted = ssl.create_default_context(cafile=certificate)
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=trusted))
        with opener.open(address) as answer:
            assert "Secure" in answer.headers["Set-Cookie"]
        with pytest.raises(OSError), urllib.request.urlopen(address.replace("https:", "http:")):
            pass


def test_a_port_in_use_is_named(made: MadeView, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit) as ended:
            main(["view", str(made.scores), "--port", str(port), "--no-browser"], standalone_mode=False)
    assert ended.value.code == 1
    expected = f"port {port} is in use; choose another with --port, or leave --port out for a free one"
    assert capsys.readouterr().err == f"cxrscore: {expected}\n"


WRONG = {
    "no-scores": (["none.h5"], "there is no file none.h5"),
    "no-films": (["--films", "none"], "there is no folder or archive none"),
    "elsewhere": (["--host", "192.0.2.77"], "--insecure if the network is trusted"),
    "not-ours": (["--host", "192.0.2.77", "--insecure"], "cannot listen at 192.0.2.77"),
    "no-certificate": (["--certificate", "a.pem", "--key", "b.pem"], "are not a certificate and its key"),
    "no-key": (["--certificate", "a.pem"], "belong together"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_options_end_with_one_line(
    name: str, made: MadeView, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, words = WRONG[name]
    scores = [] if name == "no-scores" else [str(made.scores)]
    with pytest.raises(SystemExit) as ended:
        main(["view", *scores, *arguments, "--no-browser"], standalone_mode=False)
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_without_the_library_the_command_to_install_it_is_named(
    made: MadeView, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(SystemExit) as ended:
        main(["view", str(made.scores)], standalone_mode=False)
    assert ended.value.code == 1
    assert 'pip install "cxrscore[view]"' in capsys.readouterr().err


def test_the_browser_gets_a_private_file_and_no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr(server, "start_in_background", lambda function: function())
    server.open_browser("http://127.0.0.1:1/?token=abc", tmp_path)
    page = tmp_path / "open.html"
    assert opened == [page.as_uri()]
    assert os.stat(page).st_mode & 0o777 == 0o600
    assert 'content="0; url=http://127.0.0.1:1/?token=abc"' in page.read_text()
