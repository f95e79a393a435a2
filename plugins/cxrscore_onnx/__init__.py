"""ONNX Runtime backend of cxrscore, for inference. Importing this module imports no framework."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cxrscore.contract import Backend, Model, ModelSpec, Precision, Tensors, hookimpl
from cxrscore.networks.operations import OPERATIONS


class OnnxBackend:
    """Runs models of any backend in ONNX Runtime, in fp32; it does not train."""

    name = "onnx"
    requires: tuple[str, ...] = ("onnx", "onnxruntime")
    install = 'pip install "cxrscore[onnx]"'
    architectures: tuple[str, ...] = ()
    operations: tuple[str, ...] = tuple(OPERATIONS)
    trains = False
    speed: Mapping[str, float] = {"cpu": 1.1}

    def build(
        self,
        spec: ModelSpec,
        tensors: Tensors | None,
        *,
        device: str = "auto",
        precision: Precision = "fp32",
        seed: int = 0,
    ) -> Model:
        from cxrscore_onnx.model import build

        return build(spec, tensors, device=device, precision=precision, seed=seed)


@hookimpl
def cxrscore_backends() -> Sequence[Backend]:
    return [OnnxBackend()]
