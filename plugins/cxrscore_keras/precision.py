"""Float32 as it is meant: without TF32, which every engine of Keras allows on a GPU unless it is told not to."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras


@contextmanager
def full_float32() -> Iterator[None]:
    """Disables TF32, whose 10-bit mantissa changes logits by about 1e-3; bfloat16 is not concerned.

    The settings are global, so they are restored.
    """
    engine = keras.config.backend()
    framework: Any = sys.modules[engine]
    if engine == "jax":  # a part of the key of compiled functions
        with framework.default_matmul_precision("highest"):
            yield
    elif engine == "tensorflow":
        settings = framework.config.experimental
        before = settings.tensor_float_32_execution_enabled()
        settings.enable_tensor_float_32_execution(False)
        try:
            yield
        finally:
            settings.enable_tensor_float_32_execution(before)
    else:
        with _torch_settings(framework):
            yield


@contextmanager
def _torch_settings(torch: Any) -> Iterator[None]:
    settings = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    before = [each.fp32_precision for each in settings]
    for each in settings:
        each.fp32_precision = "ieee"
    try:
        yield
    finally:
        for each, value in zip(settings, before, strict=True):
            each.fp32_precision = value
