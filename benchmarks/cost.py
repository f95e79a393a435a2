"""What a film costs a network: floating-point operations, counted layer by layer."""

from __future__ import annotations

from math import prod

from cxrscore.networks.builtin import BUILT_IN


def gflop(size: int, network: str = "densenet121") -> float:
    """10^9 operations of the convolutions and dense layers for one film of so many pixels a side, two for a product and
    its sum."""
    graph = BUILT_IN[network]()
    shapes, kernels = graph.shapes(size), graph.tensor_shapes(size)
    layers = [node.name for node in graph.nodes if node.operation in ("conv2d", "dense")]
    return 2 * sum(prod(shapes[name][:-1]) * prod(kernels[f"{name}/kernel"]) for name in layers) / 1e9
