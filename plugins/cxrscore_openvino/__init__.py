"""OpenVINO backend of cxrscore, for inference on the CPU. Importing this module imports no framework."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from cxrscore.contract import Backend, Model, ModelSpec, Precision, Ranges, ScorePrecision, Tensors, hookimpl
from cxrscore.networks.operations import OPERATIONS

_TELEMETRY = "openvino_telemetry"


class OpenVinoBackend:
    """Runs models of any backend on the CPU; it does not train. bf16 if the processor supports it."""

    name = "openvino"
    requires: tuple[str, ...] = ("openvino",)
    install = 'pip install "cxrscore[openvino]"'
    architectures: tuple[str, ...] = ()
    operations: tuple[str, ...] = tuple(OPERATIONS)
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

    def build_int8(
        self,
        spec: ModelSpec,
        tensors: Tensors,
        ranges: Ranges,
        *,
        device: str = "auto",
        precision: Precision | None = None,
    ) -> Model:
        with _without_telemetry():
            from cxrscore_openvino.model import build_int8
        return build_int8(spec, tensors, ranges, device=device, precision=precision)

    def native_precisions(self, device: str = "auto") -> Sequence[ScorePrecision]:
        """What both the processor and OpenVINO have: OpenVINO lists int8 on every processor, and computes it without
        dot products where there are none."""
        with _without_telemetry():
            from cxrscore_openvino.model import native_precisions
        return native_precisions(device)


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """Disables the telemetry of OpenVINO, which is on by default and uses the network.

    None in sys.modules makes its telemetry package unavailable; OpenVINO works without it.
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
