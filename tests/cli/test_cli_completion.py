"""The shell completes commands, options and backends without importing what they are of."""

import os
import subprocess
import sys

import pytest

HEAVY = ("numpy", "h5py", "cv2", "torch", "keras", "tensorflow", "openvino", "matplotlib", "cxrscore_torch")


def asked(words, begun, *python):
    """What a press of the tab key gets: the words before the cursor, and the one that it is at."""
    line = ["cxrscore", *words, begun]
    told = {"_CXRSCORE_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(line), "COMP_CWORD": str(len(line) - 1)}
    return subprocess.run(
        [sys.executable, *python, "-m", "cxrscore"],
        env={**os.environ, **told},
        capture_output=True,
        text=True,
        check=True,
    )


@pytest.mark.parametrize(
    ("words", "begun", "wanted"),
    [
        ([], "tr", ["plain,train"]),
        (["train", "--backend"], "k", ["plain,keras"]),
        (["score", "films", "--backend"], "", ["plain,keras", "plain,onnx", "plain,openvino", "plain,torch"]),
        (["demo", "--backend"], "t", ["plain,torch"]),
        (["check"], "o", ["plain,openvino"]),
        (["export", "out.h5", "--format"], "d", ["plain,dicom-sr"]),
        (["export", "out.h5", "-o"], "", ["file,"]),
        (["train"], "--back", ["plain,--backend"]),
        (["train", "--weights"], "rad", ["plain,rad-dino"]),
        (["weights", "fetch"], "densenet121-res224-m", [f"plain,densenet121-res224-mimic_{x}" for x in ("nb", "ch")]),
        (["score", "films", "-m"], "resnet50-", ["plain,resnet50-res512-all", "file,resnet50-"]),
        (["show"], "", ["file,"]),
    ],
)
def test_words_are_completed(words, begun, wanted):
    found = asked(words, begun).stdout.splitlines()
    assert set(wanted) <= set(found)
    assert len(found) <= len(wanted) + 3  # other plugins may be installed


def test_it_imports_nothing_heavy():
    done = asked(["score", "--backend"], "", "-X", "importtime")
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "click" in imported
    assert not imported & set(HEAVY)


def test_bash_takes_the_script():
    source = subprocess.run(
        [sys.executable, "-m", "cxrscore"],
        env={**os.environ, "_CXRSCORE_COMPLETE": "bash_source"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    done = subprocess.run(
        ["bash", "-c", f"{source}\ncomplete -p cxrscore"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "_cxrscore_completion" in done.stdout
