"""Specification of a network, the same for every backend and model file. Public in contract.py."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from cxrscore.errors import InputError

Normalize = Literal["imagenet-rgb", "imagenet-caffe", "unit", "signed-1024"]
Head = Literal["gap", "flatten"]
Activation = Literal["sigmoid", "softmax"]
TrainablePart = Literal["head", "last-block", "all"]


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """The network to build, the same for every backend.

    Parameters
    ----------
    architecture
        A name in ``Backend.architectures``.
    findings
        C distinct names; their order is the column order everywhere.
    size
        S, side of the square input in pixels, 32 to 4096.
    normalize
        Normalization of a film x in 0..1, on the device, before the first layer:

        "imagenet-rgb": three equal channels, (x - mean) / sd of ImageNet, RGB order;
        "imagenet-caffe": three equal channels, 255 x - mean of ImageNet, BGR order;
        "unit": three equal channels, x unchanged;
        "signed-1024": three equal channels, 2048 x - 1024, as torchxrayvision's networks expect.
    head
        "gap": mean over the feature map, then a dense layer. "flatten": dense over h*w*K.
    activation
        "sigmoid" or "softmax": how the core turns logits into probabilities. A backend returns logits.
    trainable
        Tensors that training may change: "head", "last-block" (with the head) or "all".
    """

    architecture: str
    findings: tuple[str, ...]
    size: int = 400
    normalize: Normalize = "imagenet-rgb"
    head: Head = "gap"
    activation: Activation = "sigmoid"
    trainable: TrainablePart = "head"

    def __post_init__(self) -> None:
        if not self.findings or len(set(self.findings)) != len(self.findings):
            raise InputError(f"findings must be distinct and at least one, not {list(self.findings)}")
        if not 32 <= self.size <= 4096:
            raise InputError(f"size {self.size} is outside 32..4096 pixels")
        for name, words in _CHOICES.items():
            if getattr(self, name) not in words:
                raise InputError(f"{name} is {getattr(self, name)!r}, expected one of {', '.join(words)}")

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-ready values, as stored in a model file."""
        return {**dataclasses.asdict(self), "findings": list(self.findings)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelSpec:
        """Inverse of ``as_dict``; raises InputError for unknown, missing or invalid values."""
        known = {f.name for f in dataclasses.fields(cls)}
        if extra := sorted(set(values) - known):
            raise InputError(f"model spec has unknown fields: {', '.join(extra)}")
        if missing := sorted(known - set(values)):
            raise InputError(f"model spec lacks fields: {', '.join(missing)}")
        return cls(**{**values, "findings": tuple(values["findings"])})


_CHOICES: dict[str, tuple[str, ...]] = {
    "normalize": get_args(Normalize),
    "head": get_args(Head),
    "activation": get_args(Activation),
    "trainable": get_args(TrainablePart),
}
