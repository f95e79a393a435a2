"""OpenVINO as a backend of cxrscore, for scoring on the CPU. Importing this module imports no framework."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from cxrscore.contract import Backend, Model, ModelSpec, Precision, Ranges, Tensors, hookimpl
from cxrscore.models.architectures import ARCHITECTURES

_TELEMETRY = "openvino_telemetry"


class OpenVinoBackend:
    """Runs on the CPU, and only scores: what torch and keras have trained. bf16 where the processor has it."""

    name = "openvino"
    requires: tuple[str, ...] = ("openvino",)
    install = 'pip install "cxrscore[openvino]"'
    architectures: tuple[str, ...] = ARCHITECTURES
    trains = False
    speed: Mapping[str, float] = {"cpu": 1.2}

    def build(
        self,
        spec: ModelSpec,
        tensors: Tensors | None,
        *,
        device: str = "auto",
        precision: Precision = "fp32",
        seed: int = 0,
    ) -> Model:
        with _without_telemetry():
            from cxrscore_openvino.model import build
        return build(spec, tensors, device=device, precision=precision, seed=seed)

    def build_int8(self, spec: ModelSpec, tensors: Tensors, ranges: Ranges, *, device: str = "auto") -> Model:
        with _without_telemetry():
            from cxrscore_openvino.model import build_int8
        return build_int8(spec, tensors, ranges, device=device)


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """Keeps ``import openvino`` from reporting itself over the network, which it does unasked.

    It depends on a package for that, which None stands for here as one that is not there; it then does without.
    """
    hidden = _TELEMETRY not in sys.modules
    if hidden:
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if hidden:
            del sys.modules[_TELEMETRY]


@hookimpl
def cxrscore_backends() -> Sequence[Backend]:
    return [OpenVinoBackend()]
