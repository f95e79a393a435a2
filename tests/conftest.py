"""What tests of every room share."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A loaded machine is slow, which is no fault of what is tested; and CI tries the same examples each time.
settings.register_profile("cxrscore", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("cxrscore")

# PyTorch's threads wait for each other by spinning; where other processes want the cores, as those of pytest-xdist do,
# a small network then takes ten times as long. OpenMP reads this when it is loaded, in this process and its children.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# One thread a process: pytest-xdist keeps the cores busy already, and the last bits of a sum depend on the number.
for _library in ("OMP", "OPENBLAS"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

# Tests that import ONNX Runtime themselves send no reports either, and leave nothing in the home folder.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# Tests sync thousands of small files, which takes a disk minutes. Where there is a file system in memory with room, the
# folders of tests are made there.
_MEMORY = Path("/dev/shm")
if os.access(_MEMORY, os.W_OK):
    _system = os.statvfs(_MEMORY)
    if _system.f_bavail * _system.f_frsize >= 8 << 30 and not _system.f_flag & os.ST_NOEXEC:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real films, tables and weights; tests that need it skip where there is none."""
    folder = Path(os.environ.get("CXRSCORE_SHARED", Path(__file__).parents[2] / "shared"))
    if not (folder / "data" / "nih442").is_dir():
        pytest.skip(f"no real films at {folder}: set CXRSCORE_SHARED to run this test")
    return folder


@pytest.fixture(scope="session")
def orthanc():
    """A PACS without passwords, one for all tests of a process: a test clears it, or asks for its own studies only."""
    from orthanc import running_orthanc

    with running_orthanc() as server:
        yield server


@pytest.fixture(scope="session")
def running_orthanc_with_login():
    from orthanc import running_orthanc

    with running_orthanc(("reader", "canary-password")) as server:
        yield server


@pytest.fixture
def orthanc_with_login(running_orthanc_with_login):
    """The same with basic authentication: see its ``login``. It is empty, whatever earlier tests left in it."""
    running_orthanc_with_login.clear()
    return running_orthanc_with_login
