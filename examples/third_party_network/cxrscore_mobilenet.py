"""MobileNetV2 for cxrscore: Sandler et al., MobileNetV2, CVPR 2018, table 2, in the variant of torchvision."""

from collections.abc import Sequence

from cxrscore.contract import GraphBuilder, Network, hookimpl

BLOCKS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, number of blocks, and stride of the first one."""


def mobilenetv2() -> Network:
    graph = GraphBuilder()
    x = conv(graph, "conv1", "film", filters=32, size=3, stride=2, padding=1)
    stages, channels, number = ["conv1_conv"], 32, 0
    for expansion, filters, count, stride in BLOCKS:
        if stride == 2:
            stages.append(f"block{number + 1}_expand_conv")
        for step in (stride, *[1] * (count - 1)):
            number += 1
            x = block(graph, f"block{number}", x, channels, filters, expansion, step)
            channels = filters
    x = conv(graph, "last", x, filters=1280, size=1)
    summary = "MobileNetV2 (Sandler et al., CVPR 2018), as in torchvision"
    return Network(name="mobilenetv2", nodes=graph.nodes, output=x, stages=tuple(stages), summary=summary)


def block(graph: GraphBuilder, name: str, x: str, channels: int, filters: int, expansion: int, stride: int) -> str:
    """An inverted residual: widen, filter each channel by itself, and narrow without ReLU."""
    wide, new = channels * expansion, x
    if expansion > 1:
        new = conv(graph, f"{name}_expand", new, filters=wide, size=1)
    new = conv(graph, f"{name}_depthwise", new, filters=wide, size=3, stride=stride, padding=1, groups=wide)
    new = conv(graph, f"{name}_project", new, relu=False, filters=filters, size=1)
    return graph.add(f"{name}_add", "add", x, new) if stride == 1 and channels == filters else new


def conv(graph: GraphBuilder, name: str, x: str, *, relu: bool = True, **attributes: int) -> str:
    x = graph.add(f"{name}_conv", "conv2d", x, bias=False, **attributes)
    x = graph.add(f"{name}_bn", "batch_norm", x, epsilon=1e-5)
    return graph.add(f"{name}_relu", "relu", x, maximum=6) if relu else x


@hookimpl
def cxrscore_networks() -> Sequence[Network]:
    return [mobilenetv2()]
