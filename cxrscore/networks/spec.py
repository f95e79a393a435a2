"""Specification of a network, the same for every backend and model file. Public in contract.py."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from cxrscore.errors import InputError
from cxrscore.networks.builtin import built_in
from cxrscore.networks.graph import Network
from cxrscore.networks.graph import Normalize as Normalize

Head = Literal["gap", "flatten", "cls"]
Activation = Literal["sigmoid", "softmax"]
TrainablePart = Literal["head", "last-block", "all"]


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """The network to build, the same for every backend.

    Parameters
    ----------
    architecture
        Name of the network: one of cxrscore's own, of a plugin's (hook ``cxrscore_networks``), or a name in
        ``Backend.architectures``.
    findings
        C distinct names; their order is the column order everywhere.
    size
        S, side of the square input in pixels, 32 to 4096.
    normalize
        Normalization of a film x in 0..1, on the device, before the first layer:

        "imagenet-rgb": three equal channels, (x - mean) / sd of ImageNet, RGB order;
        "imagenet-caffe": three equal channels, 255 x - mean of ImageNet, BGR order;
        "unit": three equal channels, x unchanged;
        "signed-1024": three equal channels, 2048 x - 1024, as torchxrayvision's networks expect;
        "rad-dino": three equal channels, (x - 0.5307) / 0.2583, as RAD-DINO expects.
    head
        "gap": mean over the feature map, then a dense layer. "flatten": dense over h*w*K. "cls": dense over the class
        token of a network that has one; heat maps then use its weights as those of the mean over the patches.
    activation
        "sigmoid" or "softmax": how the core turns logits into probabilities. A backend returns logits.
    trainable
        Tensors that training may change: "head", "last-block" (with the head) or "all".
    network
        The graph. It is looked up for cxrscore's own networks, and must be given for a plugin's; None for a network
        that only a backend knows.

    Raises
    ------
    InputError
        If a value is none of these, or films of this size do not fit the network.
    """

    architecture: str
    findings: tuple[str, ...]
    size: int = 400
    normalize: Normalize = "imagenet-rgb"
    head: Head = "gap"
    activation: Activation = "sigmoid"
    trainable: TrainablePart = "head"
    network: Network | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.architecture, str) or not isinstance(self.network, Network | None):
            raise InputError(
                f"architecture is {self.architecture!r:.100}, expected the name of a network, and its graph"
            )
        if not self.findings or len(set(self.findings)) != len(self.findings):
            raise InputError(f"findings must be distinct and at least one, not {list(self.findings)}")
        if not 32 <= self.size <= 4096:
            raise InputError(f"size {self.size} is outside 32..4096 pixels")
        for name, words in _CHOICES.items():
            if getattr(self, name) not in words:
                raise InputError(f"{name} is {getattr(self, name)!r}, expected one of {', '.join(words)}")
        own = built_in(self.architecture)
        if self.network is None:
            object.__setattr__(self, "network", own)
        elif self.network.name != self.architecture or own not in (None, self.network):
            raise InputError(f"the graph of network {self.network.name!r} is not that of {self.architecture!r}")
        if self.network is not None:
            self.network.shapes(self.size)
            if self.head == "cls" and self.network.class_token is None:
                raise InputError(f"{self.architecture} has no class token, so no head 'cls': use gap or flatten")

    @property
    def graph(self) -> Network:
        """The graph; InputError for a network that only a backend knows."""
        if self.network is None:
            raise InputError(f"cxrscore does not know the layers of {self.architecture!r}: only its backend does")
        return self.network

    @property
    def head_node(self) -> str:
        """The node whose value the head takes: the class token for "cls", else the output, which it pools or flattens;
        InputError for a network that only a backend knows."""
        token = self.graph.class_token if self.head == "cls" else None
        return token or self.graph.output

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-ready values, as stored in a model file; with the graph unless cxrscore brings the network."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "network"}
        values["findings"] = list(self.findings)
        if self.network is not None and built_in(self.architecture) is None:
            values["network"] = self.network.as_dict()
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelSpec:
        """Inverse of ``as_dict``; raises InputError for unknown, missing or invalid values."""
        known = {f.name for f in dataclasses.fields(cls)}
        if extra := sorted(set(values) - known):
            raise InputError(f"model spec has unknown fields: {', '.join(extra)}")
        if missing := sorted(known - set(values) - {"network"}):
            raise InputError(f"model spec lacks fields: {', '.join(missing)}")
        network = values.get("network")
        graph = None if network is None else Network.from_dict(network)
        return cls(**{**values, "findings": tuple(values["findings"]), "network": graph})


_CHOICES: dict[str, tuple[str, ...]] = {
    "normalize": get_args(Normalize),
    "head": get_args(Head),
    "activation": get_args(Activation),
    "trainable": get_args(TrainablePart),
}
