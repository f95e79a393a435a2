"""Scoring with Keras writes nothing foreign to standard error, and traces the network once."""

import importlib.util
import os
import subprocess
import sys
import threading

import pytest
from cxrscore_keras.environment import THREAD, log_lines_removed, set_defaults

INFO = b"I0000 00:00:1796079572.205394   16678 port.cc:153] oneDNN custom operations are on.\n"
ERROR = b"E0000 00:00:1796079572.205394   16678 fft.cc:1] Unable to register.\n"
HEADER = b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
SCRIPT = """
import numpy as np
from cxrscore.contract import ModelSpec
from cxrscore_keras import KerasBackend

model = KerasBackend().build(ModelSpec(architecture="tinycnn", findings=("Mass",), size=32), None, device="cpu")
from cxrscore_keras.inference import Inference

counted, score = [], Inference._score
Inference._score = lambda *given: (counted.append(1), score(*given))[1]
films = np.random.default_rng(0).random((2, 32, 32), np.float32)
first = model.predict(films)
parts = model.cam_parts(films, [0])
assert np.array_equal(parts.logits, first)
model.cam_parts(films, [0], cam_layer=model.spec.graph.cam_layers[-1])
model.embed(films)
assert len(counted) == 1, counted
model.predict(films[:1])
assert len(counted) == 2, "another number of films is traced"
"""


@pytest.mark.slow
def test_one_trace_serves_scores_and_maps_and_nothing_is_written():
    """In a process of its own: TensorFlow's libraries write while they are loaded."""
    if importlib.util.find_spec("tensorflow") is None or importlib.util.find_spec("keras") is None:
        pytest.skip("needs keras and tensorflow")
    unset = ("TF_CPP_MIN_LOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS", "KERAS_BACKEND")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_log_lines_of_these_severities_are_removed_and_nothing_else(capfd):
    with log_lines_removed("IW"):
        os.write(2, HEADER + INFO + b"2 of 3 films\n" + ERROR + b"no end of line")
    os.write(2, b", and after it\n")
    assert capfd.readouterr().err == f"2 of 3 films\n{ERROR.decode()}no end of line, and after it\n"


def test_without_severities_all_is_written(capfd):
    with log_lines_removed(""):
        os.write(2, INFO)
    assert capfd.readouterr().err == INFO.decode()


def test_a_process_that_starts_meanwhile_keeps_its_standard_error(capfd):
    code = "import sys; sys.stdin.read(); sys.stderr.write('late\\n')"
    with log_lines_removed("I"):
        process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    process.communicate(b"")
    assert process.returncode == 0
    for thread in threading.enumerate():
        if thread.name == THREAD:
            thread.join()
    assert capfd.readouterr().err == "late\n"


def test_settings_of_the_user_stay(monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    set_defaults()
    assert (os.environ["TF_CPP_MIN_LOG_LEVEL"], os.environ["TF_ENABLE_ONEDNN_OPTS"]) == ("0", "0")


def test_onednn_is_used_on_every_x86_processor(monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    set_defaults()
    assert "TF_ENABLE_ONEDNN_OPTS" not in os.environ
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "")  # so that monkeypatch restores what set_defaults sets
    del os.environ["TF_ENABLE_ONEDNN_OPTS"]
    set_defaults()
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == "1"
