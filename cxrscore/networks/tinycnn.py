"""tinycnn, a small network for demos, tests and examples: four 3x3 convolutions with ReLU, no batch normalisation."""

from __future__ import annotations

from cxrscore.networks.graph import FILM, GraphBuilder, Network

LAYERS = ((16, 2), (32, 2), (64, 2), (64, 1))
"""Channels and stride of conv1 to conv4."""


def tinycnn() -> Network:
    """The network."""
    graph, x = GraphBuilder(), FILM
    for number, (filters, stride) in enumerate(LAYERS, start=1):
        x = graph.add(f"conv{number}", "conv2d", x, filters=filters, size=3, stride=stride, padding=1)
        x = graph.add("relu" if number == len(LAYERS) else f"conv{number}_relu", "relu", x)
    return Network(
        name="tinycnn",
        nodes=graph.nodes,
        output=x,
        stages=tuple(f"conv{number}" for number in range(1, len(LAYERS) + 1)),
        size=400,
        summary="Four 3x3 convolutions, for demos and tests; no weights are published for it",
    )
