"""Standard streams that are closed, full or read by nobody, and what others write to standard output."""

import errno
import json
import os
import subprocess
import sys
from functools import partial

import pytest
from made_model import document
from made_run import made_file

from cxrscore.contract import ModelSpec
from cxrscore.models.model_file import save_model
from cxrscore.networks.tensors import initial_tensors
from cxrscore.synthetic.phantoms import make_phantoms

NOISE = """
import os, subprocess, sys
print("noise of print", flush=True)
if sys.__stdout__:
    sys.__stdout__.write("noise of the stream at start")
os.write(1, b"noise of C\\n")
subprocess.run(["echo", "noise of a child"])
"""
LATE_NOISE = """
import atexit, ctypes, threading
atexit.register(print, "noise at exit")
ctypes.CDLL(None).puts(b"noise in a buffer of C")
threading.Thread(target=print, args=["noise of a thread"]).start()
"""

HOOK = """
from cxrscore import hookimpl
@hookimpl
def cxrscore_losses():
    print("noise of a hook")
    return []
"""

_FIGURES = {"brier": 0.25, "label_accuracy": 0.5}
_YARDSTICKS = {**dict.fromkeys(("model", "always_no", "prevalence"), _FIGURES), "metadata": None}
_EVALUATION = {
    "on": "folds",
    "films": 1,
    "macro_auc": {"value": 0.5, "low": 0.4, "high": 0.6},
    "test": None,
    "yardsticks": _YARDSTICKS,
    "learning_curve": None,
}
_MODEL = {
    "mlflow_error": "",
    "mlflow_run": "",
    "failed": [],
    "leakage": [],
    "best_epoch": 1,
    "history": [1],
    "macro_auc": 0.5,
    "test_auc": 0.5,
    "output": "m",
    "members": [],
    "evaluation": _EVALUATION,
    "warnings": [],
}
_EFFECT = {
    "native": ["int8"],
    "films": 1,
    **dict.fromkeys(("max_difference", "mean_difference"), 0.0),
    **dict.fromkeys(("macro_auc_before", "macro_auc_after")),
}
_INT8 = {
    "quantization": {"films": 1, "ranges": {}, "kept_layers": [], "precision": None},
    "precision_effects": {"int8": _EFFECT},
    "precision_bound": {"max_difference": 0.02, "max_auc_loss": 0.002},
    "backend": "b",
    "failed": 0,
    "output": "m",
    "notes": [],
}
_IMPORTED = {
    "architecture": "densenet121",
    "checkpoint_type": "k",
    "findings": ["A"],
    "excluded_outputs": 0,
    "thresholds": 0,
    "rescaled": False,
    "output": "m",
    "notes": [],
}
_SCORED = {
    "n_films": 0,
    "scored": 0,
    "seconds": 0.0,
    "backend": "b",
    "precision": "fp32",
    "partition": "",
    "has_leakage": False,
    "not_held_out": [],
    "noted_films": 0,
    "film_notes": {},
    "output": "new.h5",
    "failed": [],
    "failed_statuses": [],
    "notes": [],
    "unreadable_paths": [],
    "other_files": {},
    "film_list_changed": False,
}
_MERGED = {"films": 1, "failed": 0, "dropped": 0, "merged_files": 1, "seconds": 0.0, "output": "o"}
STUBS = {
    "train": ("training.train_model", {**_MODEL, "run_folder": "m.run"}, ["films", "--backend", "torch"]),
    "import": ("import_checkpoint.import_model", _IMPORTED, ["model.safetensors"]),
    "quantize": ("quantize.quantize_model", _INT8, ["model.safetensors", "films", "-o", "q"]),
    "score": ("scoring.score_films", _SCORED, ["films", "-o", "new.h5"]),
    "merge": ("merge.merge_scores", _MERGED, ["out.h5", "-o", "new.h5"]),
    "demo": ("demo.run_demo", {"test_auc": 0.5}, ["new"]),
    "paper": ("paper.reproduce_paper", {"experiments": []}, ["films", "--backend", "torch"]),
}
"""Commands that take long: the function that does the work, its result, and the words of the command."""
STUB = """
import importlib, sys
from types import SimpleNamespace
from cxrscore.__main__ import main
command, function, result, words, during = {!r}
def stub(*args, **named):
    exec(during)
    return result if command in ("demo", "paper") else SimpleNamespace(**result)
home, _, name = function.partition(".")
setattr(importlib.import_module("cxrscore." + home), name, stub)
sys.argv[1:] = [command, *words, "--json"]
main()
"""
QUICK = {
    "help": ["--help"],
    "version": ["--version"],
    "show": ["show", "out.h5"],
    "show card": ["show", "model.safetensors", "--model-card"],
    "plugins json": ["plugins", "--json"],
    "verify": ["verify", "out.h5"],
    "export csv": ["export", "out.h5", "-o", "-", "--format", "csv"],
    "export file": ["export", "out.h5", "-o", "out.csv", "--overwrite", "--json"],
    "report": ["report", "out.h5", "--json"],
}
COMPLETION = {"_CXRSCORE_COMPLETE": "bash_complete", "COMP_WORDS": "cxrscore tr", "COMP_CWORD": "1"}


def stubbed(name, during=""):
    """Python's words for a command whose work is to run this code."""
    return ["-c", STUB.format((name, *STUBS[name], during))]


LINES = [
    *(pytest.param(["-m", "cxrscore", *words], {}, id=name) for name, words in QUICK.items()),
    pytest.param(["-m", "cxrscore"], COMPLETION, id="completion"),
    pytest.param(["-m", "cxrscore"], {"_CXRSCORE_COMPLETE": "bash_source"}, id="completion script"),
]
"""Command lines that write to standard output: words after Python, and the environment."""
LONG_LINES = [
    *(pytest.param(stubbed(name), {}, id=name) for name in STUBS),
    pytest.param(["-m", "cxrscore", "check", "loss:bce"], {}, id="check"),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("streams")
    spec = ModelSpec(architecture="tinycnn", findings=("Mass", "Nodule"), size=32)
    save_model(folder / "model.safetensors", initial_tensors(spec, 0), document(spec))
    made_file(folder / "out.h5")
    make_phantoms(folder, films=2, side=32, seed=0)
    return folder


def start(home, words, environment=(), **options):
    return subprocess.run(
        [sys.executable, *words],
        cwd=home,
        env={**os.environ, "CXRSCORE_CACHE": str(home / "cache"), **dict(environment)},
        timeout=300,
        check=False,
        **options,
    )


def unread_pipe():
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "wb")


def assert_one_line(errors, reason):
    told = [line for line in errors.decode().splitlines() if line.startswith("cxrscore: ")]
    assert len(told) == 1, errors
    assert told[0].startswith(f"cxrscore: cannot write to standard output: {reason}"), errors
    assert b"Traceback" not in errors
    assert b"Exception ignored" not in errors


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize(("words", "environment"), [*LINES, *LONG_LINES])
def test_a_full_disk_is_one_line_and_74(home, words, environment):
    with open("/dev/full", "wb") as full:
        done = start(home, words, environment, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 74, done.stderr
    assert_one_line(done.stderr, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(("words", "environment"), LINES)
def test_a_reader_that_is_gone_is_one_line_and_74(home, words, environment):
    with unread_pipe() as pipe:
        done = start(home, words, environment, stdout=pipe, stderr=subprocess.PIPE)
    assert done.returncode == 74, done.stderr
    assert_one_line(done.stderr, os.strerror(errno.EPIPE))


@pytest.mark.parametrize(("words", "environment"), LINES)
def test_a_closed_standard_output_is_one_line_and_74(home, words, environment):
    done = start(home, words, environment, stderr=subprocess.PIPE, preexec_fn=partial(os.close, 1))
    assert done.returncode == 74, done.stderr
    assert_one_line(done.stderr, "it is closed")


@pytest.mark.parametrize(("words", "environment"), LINES)
def test_other_streams_that_do_not_work_change_nothing(home, words, environment):
    wanted = start(home, words, environment, capture_output=True)
    assert wanted.returncode in (0, 5), wanted.stderr  # verify finds no film that made-up scores could be of
    with open("/dev/full", "wb") as full:
        unwritable = start(home, words, environment, stdout=subprocess.PIPE, stderr=full)
    closed = start(home, words, environment, stdout=subprocess.PIPE, preexec_fn=close_others)
    for done in (unwritable, closed):
        assert done.returncode == wanted.returncode
        assert done.stdout == wanted.stdout


def close_others():
    os.close(0)
    os.close(2)


@pytest.mark.parametrize("streams", ["stderr closed", "stderr full"])
def test_an_error_that_nobody_can_read_keeps_its_exit_code(home, streams):
    words = ["-m", "cxrscore", "show", "none.h5"]
    if streams == "stderr closed":
        done = start(home, words, stdout=subprocess.PIPE, preexec_fn=partial(os.close, 2))
    else:
        with open("/dev/full", "wb") as full:
            done = start(home, words, stdout=subprocess.PIPE, stderr=full)
    assert (done.returncode, done.stdout) == (1, b"")


def test_a_file_gets_no_number_of_a_closed_stream(home):
    """A file that is opened as descriptor 1 would take what libraries write there."""
    during = "own = open('own', 'wb')\n" + NOISE
    done = start(home, stubbed("demo", during), preexec_fn=lambda: os.closerange(0, 3))
    assert done.returncode == 74
    assert (home / "own").read_bytes() == b""


@pytest.mark.parametrize("name", STUBS)
def test_what_a_run_prints_is_not_in_the_result(home, name):
    done = start(home, stubbed(name, NOISE), capture_output=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)
    for noise in (b"of print", b"of C", b"of a child"):
        assert b"noise " + noise in done.stderr


@pytest.fixture
def noisy(tmp_path):
    """The environment with a plugin that writes to standard output when it is imported, and later."""
    place = tmp_path / "noisy-1.0.dist-info"
    place.mkdir()
    (place / "METADATA").write_text("Metadata-Version: 2.1\nName: noisy\nVersion: 1.0\n")
    (place / "entry_points.txt").write_text("[cxrscore]\nnoisy = noisy_plugin\n")
    (tmp_path / "noisy_plugin.py").write_text(NOISE + LATE_NOISE + HOOK)
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))}


@pytest.mark.parametrize("words", [["plugins", "--json"], ["check", "loss:bce", "--json"]])
def test_what_a_plugin_prints_is_not_in_the_result(home, noisy, words):
    done = start(home, ["-m", "cxrscore", *words], noisy, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)
    for noise in ("of print", "of C", "of a child", "of a hook", "in a buffer of C", "of a thread", "at exit"):
        assert f"noise {noise}".encode() in done.stderr
