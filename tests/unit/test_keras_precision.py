"""Keras computes float32 without TF32 on a GPU: the settings of its engine, while a network runs."""

import ast
import importlib.util
import os
import subprocess
import sys

import pytest

SETTINGS = {
    "torch": "[torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision]",
    "tensorflow": "[tensorflow.config.experimental.tensor_float_32_execution_enabled()]",
    "jax": "[jax.config.jax_default_matmul_precision]",
}
FULL = {"torch": ["ieee", "ieee"], "tensorflow": [False], "jax": ["highest"]}
SCRIPT = """
import {engine}
import numpy as np
from cxrscore.contract import ModelSpec
from cxrscore_keras.inference import Inference
from cxrscore_keras.model import build

model = build(ModelSpec(architecture="tinycnn", findings=("Mass",), size=32), None, device="cpu")
during, run = [], Inference.logits


def noted(self, films):
    during.extend({settings})
    return run(self, films)


Inference.logits = noted
before = {settings}
model.predict(np.zeros((2, 32, 32), np.float32))
assert before == {settings}
print([before, during])
"""


@pytest.mark.slow
@pytest.mark.parametrize("engine", SETTINGS)
def test_no_engine_uses_tf32(engine):
    """In a process of its own, as a process has one engine."""
    if importlib.util.find_spec("keras") is None or importlib.util.find_spec(engine) is None:
        pytest.skip(f"needs keras and {engine}")
    code = SCRIPT.format(engine=engine, settings=SETTINGS[engine])
    environment = {**os.environ, "KERAS_BACKEND": engine, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    before, during = ast.literal_eval(done.stdout.strip().splitlines()[-1])
    assert during == FULL[engine]
    assert before != during, "else nothing is shown"
