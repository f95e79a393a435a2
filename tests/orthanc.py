"""A real PACS on the loopback: Orthanc with its DICOMweb plugin, from Debian's packages.

Tests that need it skip where it is not installed: ``apt-get install --no-install-recommends orthanc orthanc-dicomweb``.
"""

from __future__ import annotations

import base64
import ctypes
import json
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = ("Orthanc", "/usr/sbin/Orthanc", "/usr/local/sbin/Orthanc")
PLUGINS = (
    "/usr/share/orthanc/plugins/libOrthancDicomWeb.so",
    "/usr/lib/orthanc/libOrthancDicomWeb.so",
    "/usr/lib/x86_64-linux-gnu/orthanc/libOrthancDicomWeb.so",
    "/usr/local/share/orthanc/plugins/libOrthancDicomWeb.so",
)
PORTS = 5
"""Number of ports that are tried: another program may take a free port before Orthanc does."""
START_SECONDS = 120
"""Time limit of a start on a busy machine."""
_STARTED = "Orthanc has started"


class Orthanc:
    """A running server.

    port   on 127.0.0.1
    login  (user, password), or None if it asks for none
    """

    def __init__(self, port: int, login: tuple[str, str] | None) -> None:
        self.port, self.login = port, login

    @property
    def http(self) -> str:
        """URL of its REST API, without credentials."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def dicomweb(self) -> str:
        """URL of DICOMweb as cxrscore takes it, without credentials: dicomweb+http://127.0.0.1:PORT/dicom-web."""
        return f"dicomweb+{self.http}/dicom-web"

    def request(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = {}) -> bytes:
        """The answer to a request of the REST API; urllib.error.HTTPError for a status of an error."""
        request = urllib.request.Request(f"{self.http}{path}", data=body, method=method, headers=dict(headers))
        if self.login:
            request.add_header("Authorization", f"Basic {base64.b64encode(':'.join(self.login).encode()).decode()}")
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
            return answer.read()

    def get(self, path: str) -> Any:
        """The answer in JSON."""
        return json.loads(self.request("GET", path))

    def post(self, files: Iterable[Path | bytes]) -> list[str]:
        """Stores DICOM files; returns the identifiers that Orthanc gives to the instances."""
        given = (file if isinstance(file, bytes) else file.read_bytes() for file in files)
        return [json.loads(self.request("POST", "/instances", data))["ID"] for data in given]

    def clear(self) -> None:
        """Deletes all patients."""
        for patient in self.get("/patients"):
            self.request("DELETE", f"/patients/{patient}")

    def count(self) -> int:
        """Number of all instances."""
        return int(self.get("/statistics")["CountInstances"])

    def series(self, study: str) -> list[dict[str, Any]]:
        """QIDO-RS: the series of a study by its UID, in DICOM JSON."""
        return self.get(f"/dicom-web/studies/{study}/series")

    def instances(self, study: str) -> list[dict[str, Any]]:
        """QIDO-RS: the instances of a study by its UID, in DICOM JSON, with their Modality."""
        return self.get(f"/dicom-web/studies/{study}/instances?includefield=Modality")

    def rendered(self, study: str, series: str, instance: str) -> bytes:
        """WADO-RS: an instance as a PNG picture."""
        path = f"/dicom-web/studies/{study}/series/{series}/instances/{instance}/rendered"
        return self.request("GET", path, headers={"Accept": "image/png"})


@contextmanager
def running_orthanc(login: tuple[str, str] | None = None) -> Iterator[Orthanc]:
    """An empty Orthanc in a folder of its own, which ends with the block; skips the test where it is not installed.

    login: user and password of basic authentication.
    """
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    plugin = next((path for path in PLUGINS if Path(path).is_file()), None)
    if program is None or plugin is None:
        pytest.skip("no Orthanc with its DICOMweb plugin: apt-get install orthanc orthanc-dicomweb")
    with tempfile.TemporaryDirectory(prefix="orthanc-", ignore_cleanup_errors=True) as folder:
        process, port = _start(program, plugin, Path(folder), login)
        try:
            yield Orthanc(port, login)
        finally:
            process.kill()  # nothing of its folder is needed, and an orderly end takes seconds
            process.wait()


def _start(program: str, plugin: str, folder: Path, login: tuple[str, str] | None) -> tuple[subprocess.Popen[str], int]:
    """The process, which answers, and its port."""
    said: list[str] = []
    for attempt in range(PORTS):
        port = _free_port()
        configuration = {
            "Name": "test",
            "StorageDirectory": str(folder / f"db{attempt}"),
            "IndexDirectory": str(folder / f"db{attempt}"),
            "HttpPort": port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": login is not None,
            "RegisteredUsers": dict([login]) if login else {},
            "DicomServerEnabled": False,
            "Plugins": [plugin],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }
        file = folder / f"orthanc{attempt}.json"
        file.write_text(json.dumps(configuration))
        process = subprocess.Popen(
            [program, str(file)],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )
        said = _lines_of_start(process)
        if said and _STARTED in said[-1]:
            return process, port
        process.kill()
        process.wait()
    raise AssertionError(f"Orthanc does not start: {' | '.join(said[-5:])}")


def _lines_of_start(process: subprocess.Popen[str]) -> list[str]:
    """What it says until it has started, or has ended. A thread reads on until its end, so that it is never blocked."""
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        assert process.stderr is not None
        with process.stderr as stream:
            for line in stream:
                lines.put(line.strip())
        lines.put("")

    threading.Thread(target=read, name="orthanc-log", daemon=True).start()
    said: list[str] = []
    while not said or (said[-1] and _STARTED not in said[-1]):
        said.append(lines.get(timeout=START_SECONDS))
    return [line for line in said if line]


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _end_with_parent() -> None:
    """In the new process, on Linux: end it even if the tests are killed."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
