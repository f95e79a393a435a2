"""What a film costs a network: floating-point operations, counted layer by layer."""

from __future__ import annotations

import math

from cxrscore.networks.builtin import built_in


def gflop(size: int, architecture: str = "densenet121") -> float:
    """10^9 operations of convolutions, dense layers and attention for one film of so many pixels a side, two for a
    product and its sum; of built-in networks."""
    network = built_in(architecture)
    if network is None:
        raise ValueError(f"{architecture} is not built in")
    shapes, tensors = network.shapes(size), network.tensor_shapes(size)
    total = 0
    for node in network.nodes:
        if node.operation in ("conv2d", "dense"):
            total += 2 * math.prod(tensors[f"{node.name}/kernel"]) * math.prod(shapes[node.name][:-1])
        if node.operation == "attention":  # the scores, and the sums of the values
            tokens, channels = shapes[node.name]
            total += 2 * 2 * tokens**2 * channels
    return total / 1e9
