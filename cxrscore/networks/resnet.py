"""ResNet50 in its two versions: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, table 1.

resnet50      version 1, as in keras.applications: the stride is in the first 1x1 convolution, convolutions have biases
resnet50v1.5  as in torchvision, timm and transformers: the stride is in the 3x3 convolution, no biases, epsilon 1e-5

The weights of one do not fit the other. Layer names are those of keras.applications in both.
"""

from __future__ import annotations

from dataclasses import dataclass

from cxrscore.networks.graph import FILM, GraphBuilder, Network, Normalize

BLOCKS = (3, 4, 6, 3)
"""Blocks of conv2 to conv5; stage s is 64 * 2**(s - 2) channels wide, four times that where blocks meet."""


@dataclass(frozen=True, kw_only=True)
class _Version:
    """stride_in  number of the convolution of a block that has the stride."""

    stride_in: int
    bias: bool
    epsilon: float
    normalize: Normalize
    summary: str


VERSIONS = {
    "resnet50": _Version(
        stride_in=1,
        bias=True,
        epsilon=1.001e-5,
        normalize="imagenet-caffe",
        summary="ResNet50 version 1 (He et al., CVPR 2016), layers of keras.applications",
    ),
    "resnet50v1.5": _Version(
        stride_in=2,
        bias=False,
        epsilon=1e-5,
        normalize="imagenet-rgb",
        summary="ResNet50 version 1.5, the stride in the 3x3 convolution, as in torchvision and torchxrayvision",
    ),
}


def resnet(name: str) -> Network:
    """The network of that name, a key of VERSIONS."""
    version = VERSIONS[name]
    graph = GraphBuilder()
    x = _conv_norm(graph, version, "conv1", FILM, filters=64, size=7, stride=2, padding=3)
    x = graph.add("conv1_relu", "relu", x)
    x = graph.add("pool1_pool", "max_pool", x, size=3, stride=2, padding=1)
    stages = ["conv1_conv"]
    for stage, blocks in enumerate(BLOCKS, start=2):
        stages.append(f"conv{stage}_block1_0_conv")
        for block in range(1, blocks + 1):
            stride = 2 if block == 1 and stage > 2 else 1
            x = _block(graph, version, f"conv{stage}_block{block}", x, 64 * 2 ** (stage - 2), stride, block == 1)
    return Network(
        name=name,
        nodes=graph.nodes,
        output=x,
        stages=tuple(stages),
        size=400,
        normalize=version.normalize,
        summary=version.summary,
    )


def _conv_norm(graph: GraphBuilder, version: _Version, name: str, x: str, **attributes: int) -> str:
    x = graph.add(f"{name}_conv", "conv2d", x, bias=version.bias, **attributes)
    return graph.add(f"{name}_bn", "batch_norm", x, epsilon=version.epsilon)


def _block(graph: GraphBuilder, version: _Version, name: str, x: str, width: int, stride: int, projects: bool) -> str:
    """Three convolutions beside the input, which is projected where the channels change."""
    strides = {number: stride if number == version.stride_in else 1 for number in (1, 2)}
    shortcut = x
    if projects:
        shortcut = _conv_norm(graph, version, f"{name}_0", x, filters=4 * width, size=1, stride=stride)
    x = _conv_norm(graph, version, f"{name}_1", x, filters=width, size=1, stride=strides[1])
    x = graph.add(f"{name}_1_relu", "relu", x)
    x = _conv_norm(graph, version, f"{name}_2", x, filters=width, size=3, stride=strides[2], padding=1)
    x = graph.add(f"{name}_2_relu", "relu", x)
    x = _conv_norm(graph, version, f"{name}_3", x, filters=4 * width, size=1)
    return graph.add(f"{name}_out", "relu", graph.add(f"{name}_add", "add", shortcut, x))
