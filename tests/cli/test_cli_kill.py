"""A scoring run that is killed and started again ends with the file of an undisturbed one."""

import signal
import subprocess
import sys

import forked
import h5py
import numpy as np
import pytest
from gates import Gate, install
from made_model import document, golden

from cxrscore.contract import ModelSpec
from cxrscore.models.model_file import save_model
from cxrscore.networks.tensors import initial_tensors
from cxrscore.synthetic.phantoms import make_phantoms


def datasets(path):
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["-m", "model.safetensors", "-m", "b.safetensors", "--tta", "2"]])
def test_kill_and_resume(tmp_path, monkeypatch, options):
    for name, value in install(tmp_path / "site").items():
        monkeypatch.setenv(name, value)
    make_phantoms(tmp_path, films=130, side=64, seed=3)
    for name, size in (("model.safetensors", 64), ("b.safetensors", 48)):
        spec = ModelSpec(architecture="tinycnn", findings=("Mass", "Nodule"), size=size)
        tensors = initial_tensors(spec, size)
        save_model(tmp_path / name, tensors, document(spec, golden=golden(spec, tensors)))
    words = [
        sys.executable,
        "-m",
        "cxrscore",
        "score",
        "films",
        "--backend",
        "torch",
        "-b",
        "1",
        "--explainer",
        "gated",
    ]
    words += [*options, "-o"]
    assert forked.cxrscore(*words[3:], "whole.h5", cwd=tmp_path).returncode == 0

    parts = tmp_path / "killed.h5.parts"
    with Gate([*words, "killed.h5"], cwd=tmp_path, stderr=subprocess.DEVNULL) as gate:
        gate.hold(lambda held: list(parts.glob("s*.h5")))
        gate.process.kill()
        assert gate.process.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed.h5").exists()
    kept = {path.name: path.stat().st_mtime_ns for path in parts.glob("s*.h5")}
    assert kept

    done = subprocess.run([*words, "killed.h5", "--json"], cwd=tmp_path, check=True, capture_output=True)
    assert b'"computed": 130' not in done.stdout, "it began anew"
    whole, resumed = datasets(tmp_path / "whole.h5"), datasets(tmp_path / "killed.h5")
    assert whole.keys() == resumed.keys()
    for name, values in whole.items():
        np.testing.assert_array_equal(values, resumed[name], err_msg=name)
    assert not parts.exists()
