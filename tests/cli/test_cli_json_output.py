"""With --json every command prints its result, and nothing else, on standard output."""

import json
import os

import forked
import pytest

from cxrscore.synthetic.phantoms import make_phantoms

pytestmark = pytest.mark.slow

TRAIN = ["train", "--backend", "torch", "--architecture", "tinycnn", "--weights", "none", "--size", "32"]
LINES = {
    "train": ([*TRAIN, "--trainable", "all", "--epochs", "1"], 0, "macro_auc"),
    "score": (["score", "films", "-o", "out.h5"], 3, "failed"),
    "report": (["report", "out.h5"], 0, "findings"),
    "queue": (["queue", "out.h5", "--by", "random"], 0, "candidates"),
    "show scores": (["show", "out.h5"], 0, "findings"),
    "show model": (["show", "model.safetensors"], 0, "spec"),
    "export": (["export", "out.h5", "-o", "out.csv"], 0, "unscored"),
    "verify scores": (["verify", "out.h5", "--films", "films", "--model", "model.safetensors"], 0, "check"),
    "verify model": (["verify", "model.safetensors"], 0, "check"),
    "plugins": (["plugins"], 0, "provides"),
    "check": (["check", "loss:bce"], 0, "cases"),
}
"""Words, exit code, and a key of the result, or of its first entry; in the order in which they are run.

`demo` and `check --parity` take longer; test_cli_demo.py and test_cli_parity.py read their JSON."""


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What each line printed: (exit code, standard output, standard error)."""
    folder = tmp_path_factory.mktemp("home")
    make_phantoms(folder, films=40, patients=30, side=64, seed=1)
    (folder / "films" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnot a film")
    own = {"CXRSCORE_OFFLINE": "1", "CXRSCORE_CACHE": str(folder / "cache")}

    def run(words):
        done = forked.cxrscore(*words, "--json", cwd=folder, env={**os.environ, **own})
        return done.returncode, done.stdout, done.stderr

    return {name: run(words) for name, (words, _, _) in LINES.items()}


@pytest.mark.parametrize("name", LINES)
def test_standard_output_is_one_json_value(said, name):
    code, output, errors = said[name]
    _, expected, key = LINES[name]
    assert code == expected, errors
    found = json.loads(output, parse_constant=lambda word: 1 / 0)
    assert key in (found[0] if isinstance(found, list) else found)
