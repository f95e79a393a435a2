"""DenseNet121, 169 and 201: Huang et al., Densely Connected Convolutional Networks, CVPR 2017, table 1.

Layers and their names are those of keras.applications.
"""

from __future__ import annotations

from cxrscore.networks.graph import FILM, GraphBuilder, Network

BLOCKS = {"densenet121": (6, 12, 24, 16), "densenet169": (6, 12, 32, 32), "densenet201": (6, 12, 48, 32)}
"""Layers of the dense blocks conv2 to conv5."""
GROWTH = 32
"""Channels that a layer adds."""
EPSILON = 1.001e-5
"""What keras.applications adds to the variance in batch normalisation."""


def densenet(name: str) -> Network:
    """The network of that name, a key of BLOCKS."""
    graph = GraphBuilder()
    x = graph.add("conv1_conv", "conv2d", FILM, filters=64, size=7, stride=2, padding=3, bias=False)
    x = _norm_relu(graph, "conv1", x)
    x = graph.add("pool1", "max_pool", x, size=3, stride=2, padding=1)
    channels, stages = 64, ["conv1_conv"]
    for stage, layers in enumerate(BLOCKS[name], start=2):
        stages.append(f"conv{stage}_block1_0_bn")
        for layer in range(1, layers + 1):
            x = _layer(graph, f"conv{stage}_block{layer}", x)
            channels += GROWTH
        if stage < 5:
            channels //= 2
            x = _norm_relu(graph, f"pool{stage}", x)
            x = graph.add(f"pool{stage}_conv", "conv2d", x, filters=channels, size=1, bias=False)
            x = graph.add(f"pool{stage}_pool", "avg_pool", x, size=2, stride=2)
    x = graph.add("bn", "batch_norm", x, epsilon=EPSILON)
    x = graph.add("relu", "relu", x)
    summary = f"DenseNet{name.removeprefix('densenet')} (Huang et al., CVPR 2017), layers of keras.applications"
    return Network(name=name, nodes=graph.nodes, output=x, stages=tuple(stages), size=400, summary=summary)


def _norm_relu(graph: GraphBuilder, name: str, x: str) -> str:
    return graph.add(f"{name}_relu", "relu", graph.add(f"{name}_bn", "batch_norm", x, epsilon=EPSILON))


def _layer(graph: GraphBuilder, name: str, x: str) -> str:
    new = _norm_relu(graph, f"{name}_0", x)
    new = graph.add(f"{name}_1_conv", "conv2d", new, filters=4 * GROWTH, size=1, bias=False)
    new = _norm_relu(graph, f"{name}_1", new)
    new = graph.add(f"{name}_2_conv", "conv2d", new, filters=GROWTH, size=3, padding=1, bias=False)
    return graph.add(f"{name}_concat", "concat", x, new)
