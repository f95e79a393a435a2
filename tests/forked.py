"""Runs `cxrscore` commands in processes that are forked from one that has already imported what they need.

    done = cxrscore("score", "films", "-o", "out.h5", cwd=folder)

Most of a short command's time is the import of NumPy, OpenCV, scikit-learn, Matplotlib and PyTorch. A template process
imports them once and computes nothing; each command then runs in a fork of it, with a folder, an environment, standard
streams and an exit code of its own. cxrscore itself and its plugins are not in the template: every command imports them
anew. Use this where the result of a command is tested. Where the process itself is the subject (signals, limits,
streams, start-up), start a real one.

Commands for Keras start a real process too: TensorFlow must not be forked.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PRELOADED = (
    *("numpy", "h5py", "cv2", "click", "pluggy", "jinja2", "jsonschema_rs", "safetensors.numpy", "threadpoolctl"),
    *("sklearn.linear_model", "sklearn.metrics", "scipy.optimize", "scipy.stats", "scipy.ndimage"),
    *("matplotlib.figure", "matplotlib.backends.backend_agg", "matplotlib.mathtext", "PIL.PngImagePlugin", "pydicom"),
    *("torch", "torch.nn.functional", "torch._dynamo", "torch.optim"),
)
"""Modules that the template imports, where they are installed."""
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
"""The template's environment. The libraries read it when they are loaded, so it holds for every command: a process
without other threads can be forked, and sums have the same last bits on every machine."""
_LENGTH = struct.Struct("!I")
_template: _Template | None = None


def cxrscore(
    *words: object, cwd: Path, env: Mapping[str, str] | None = None, umask: int = -1, library: bool = False
) -> subprocess.CompletedProcess[str]:
    """The finished process of a command, with its exit code and what it wrote to its standard streams.

    words    the command line after ``cxrscore``
    cwd      the folder in which it runs
    env      its environment; by default that of this process
    umask    its umask; by default that of this process
    library  whether the command line is called as a function, with these words: it then leaves its process as it is
    """
    given = [os.fspath(word) if isinstance(word, os.PathLike) else str(word) for word in words]
    environment = dict(os.environ if env is None else env)
    line = [sys.executable, "-m", "cxrscore", *given]
    if any("keras" in word for word in given):
        return subprocess.run(line, cwd=cwd, env=environment, umask=umask, capture_output=True, text=True, check=False)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        request = {"words": given, "cwd": os.fspath(cwd), "env": environment, "umask": umask, "library": library}
        code = _started().run(request, out.fileno(), err.fileno())
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode())
    return subprocess.CompletedProcess(line, code, *texts)


def _started() -> _Template:
    global _template
    if _template is None:
        _template = _Template()
        atexit.register(_template.close)
    return _template


class _Template:
    """The template process, seen from the tests."""

    def __init__(self) -> None:
        self._line, theirs = socket.socketpair()
        with theirs:
            environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                env=environment | ONE_THREAD,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )

    def run(self, request: dict[str, Any], out: int, err: int) -> int:
        """The exit code of a command, -N if signal N ended it."""
        data = json.dumps(request).encode()
        socket.send_fds(self._line, [_LENGTH.pack(len(data))], [out, err])
        self._line.sendall(data)
        return int(struct.unpack("!i", _exactly(self._line, 4))[0])

    def close(self) -> None:
        """It ends when nobody is at the other end of its line."""
        self._line.close()
        self._process.wait()


def _exactly(line: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        more = line.recv(length - len(data))
        if not more:
            raise EOFError("the template process ended")
        data += more
    return data


# --- in the template


def _serve(line: socket.socket) -> dict[str, Any] | None:
    """Forks a process for each request: there this returns the request, and in the template None, at the end."""
    for name in PRELOADED:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:  # an extra that is not installed
            continue
    gc.freeze()  # a collection in a fork then leaves these modules' memory shared
    while True:
        head, streams, _, _ = socket.recv_fds(line, _LENGTH.size, 2)
        if not head:
            return None
        request: dict[str, Any] = json.loads(_exactly(line, _LENGTH.unpack(head)[0]))
        child = os.fork()
        if child == 0:
            line.close()
            for number, stream in zip((1, 2), streams, strict=True):
                os.dup2(stream, number)
                os.close(stream)
            return request
        for stream in streams:
            os.close(stream)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        line.sendall(struct.pack("!i", code))


def _become(request: dict[str, Any]) -> None:
    """Makes this process what `python -m cxrscore` would be with these words, in this folder and environment."""
    os.chdir(request["cwd"])
    if request["umask"] >= 0:
        os.umask(request["umask"])
    tempfile.tempdir = None  # it is found anew, in this environment
    if request["env"].get("PYTHONWARNINGS") == "ignore":  # Python reads this when it starts
        warnings.simplefilter("ignore")
    os.environ.clear()
    os.environ.update(request["env"] | ONE_THREAD)
    given = request["env"].get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [request["cwd"], *filter(None, given), *sys.path[1:]]  # the first was the folder of this file
    importlib.invalidate_caches()
    sys.argv[1:] = request["words"]


def _run(*, library: bool) -> None:
    """Runs the command and ends this process as Python does, but for the destruction of every imported module, which
    would first copy all of the template's memory."""
    try:
        if library:
            importlib.import_module("cxrscore.cli").main(sys.argv[1:], prog_name="cxrscore")
        runpy.run_module("cxrscore", run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    if (_request := _serve(socket.socket(fileno=int(sys.argv[1])))) is not None:
        _become(_request)
        _run(library=_request["library"])
