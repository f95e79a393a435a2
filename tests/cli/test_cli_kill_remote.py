"""A run from a bucket into a bucket that is killed and started again ends as an undisturbed one from a folder."""

import os
import signal
import subprocess
import sys

import pytest

pytest.importorskip("obstore")
pytest.importorskip("openvino")
from gates import Gate, install
from made_models import made_films, made_model
from made_run import contents
from servers import bucket


@pytest.mark.slow
def test_kill_and_resume(tmp_path, monkeypatch):
    for name, value in install(tmp_path / "site").items():
        monkeypatch.setenv(name, value)
    films = made_films(tmp_path / "films", films=130)  # three shards
    made_model(tmp_path / "model.safetensors", 1)
    words = [sys.executable, "-m", "cxrscore", "score", "--backend", "openvino", "--device", "cpu", "-b", "1", "-q"]
    words += ["--explainer", "gated"]
    assert subprocess.run([*words, "films", "-o", "near.h5"], cwd=tmp_path, check=False).returncode == 3
    with bucket() as server:
        server.objects = {f"films/in/{file.name}": file.read_bytes() for file in films.iterdir()}
        own = {**os.environ, **server.environment(), "CXRSCORE_CACHE": str(tmp_path / "cache")}
        words += ["s3://films/in", "-o", "s3://films/out.h5"]
        with Gate(words, cwd=tmp_path, env=own) as gate:
            gate.hold(lambda held: list(tmp_path.rglob("cache/*/*/*/s*.h5")))
            gate.process.kill()
            assert gate.process.wait() == -signal.SIGKILL
        assert "films/out.h5" not in server.objects
        done = subprocess.run([*words, "--json"], cwd=tmp_path, env=own, check=False, capture_output=True)
        assert done.returncode == 3
        assert b'"computed": 131' not in done.stdout, "it began anew"
        (tmp_path / "far.h5").write_bytes(server.objects["films/out.h5"])
    near, far = contents(tmp_path / "near.h5"), contents(tmp_path / "far.h5")
    assert {name for name in near if near[name] != far[name]} == {"@provenance"}
