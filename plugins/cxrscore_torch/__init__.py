"""PyTorch backend of cxrscore. Importing this module imports no framework."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cxrscore.contract import Backend, Model, ModelSpec, Precision, ProcessGroup, ScorePrecision, Tensors, hookimpl
from cxrscore.networks.operations import OPERATIONS


class TorchBackend:
    """Runs on the CPU or on one CUDA device; bf16 by autocast. Several processes can train one model."""

    name = "torch"
    requires: tuple[str, ...] = ("torch",)
    install = 'pip install "cxrscore[torch]"'
    architectures: tuple[str, ...] = ()
    operations: tuple[str, ...] = tuple(OPERATIONS)
    trains = True
    speed: Mapping[str, float] = {"cpu": 1.0, "cuda": 1.0}

    def build(
        self,
        spec: ModelSpec,
        tensors: Tensors | None,
        *,
        device: str = "auto",
        precision: Precision = "fp32",
        seed: int = 0,
    ) -> Model:
        from cxrscore_torch.model import build

        return build(spec, tensors, device=device, precision=precision, seed=seed)

    def native_precisions(self, device: str = "auto") -> Sequence[ScorePrecision]:
        from cxrscore_torch.model import native_precisions

        return native_precisions(device)

    def join(self, *, rank: int, of: int, device: str) -> ProcessGroup:
        from cxrscore_torch.distributed import join

        return join(rank=rank, of=of, device=device)


@hookimpl
def cxrscore_backends() -> Sequence[Backend]:
    return [TorchBackend()]
