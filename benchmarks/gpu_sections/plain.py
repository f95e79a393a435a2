"""The same networks as users of torch write them: torch.nn modules, filled with cxrscore's tensors.

They take normalised films [N,3,S,S] and give logits [N,C].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

Values = Iterator[np.ndarray]


def network(architecture: str, findings: int, tensors: dict[str, np.ndarray]) -> nn.Module:
    """The network of that name; AssertionError if the tensors are not all used, in order."""
    made = MAKERS[architecture](findings)
    values = iter(tensors.values())
    with torch.no_grad():
        for module in made.modules():
            fill = getattr(module, "fill", None) or _FILLERS.get(type(module))
            if fill is not None:
                fill(values) if hasattr(module, "fill") else fill(module, values)
    assert next(values, None) is None, "tensors are left over"
    return made.eval()


def _put(tensor: Tensor, value: np.ndarray) -> None:
    found = torch.from_numpy(np.ascontiguousarray(value))
    assert tensor.shape == found.shape, (tensor.shape, found.shape)
    tensor.copy_(found)


def _fill_conv(layer: nn.Conv2d, values: Values) -> None:
    _put(layer.weight, next(values).transpose(3, 2, 0, 1))
    if layer.bias is not None:
        _put(layer.bias, next(values))


def _fill_norm(layer: nn.BatchNorm2d, values: Values) -> None:
    for tensor in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
        _put(tensor, next(values))


def _fill_layer_norm(layer: nn.LayerNorm, values: Values) -> None:
    _put(layer.weight, next(values))
    _put(layer.bias, next(values))


def _fill_linear(layer: nn.Linear, values: Values) -> None:
    _put(layer.weight, next(values).T)
    _put(layer.bias, next(values))


_FILLERS: dict[type[nn.Module], Callable[[Any, Values], None]] = {
    nn.Conv2d: _fill_conv,
    nn.BatchNorm2d: _fill_norm,
    nn.LayerNorm: _fill_layer_norm,
    nn.Linear: _fill_linear,
}


class DenseLayer(nn.Module):
    """Huang et al., CVPR 2017."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels, eps=1.001e-5)
        self.conv1 = nn.Conv2d(channels, 128, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(128, eps=1.001e-5)
        self.conv2 = nn.Conv2d(128, 32, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        new = self.conv1(functional.relu(self.norm1(x), inplace=True))
        return torch.cat([x, self.conv2(functional.relu(self.norm2(new), inplace=True))], 1)


def densenet121(findings: int) -> nn.Module:
    def norm_relu(channels: int) -> list[nn.Module]:
        return [nn.BatchNorm2d(channels, eps=1.001e-5), nn.ReLU(inplace=True)]

    layers: list[nn.Module] = [nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False), *norm_relu(64)]
    layers.append(nn.MaxPool2d(3, stride=2, padding=1))
    channels = 64
    for stage, blocks in enumerate((6, 12, 24, 16)):
        layers += [DenseLayer(channels + 32 * block) for block in range(blocks)]
        channels += 32 * blocks
        layers += norm_relu(channels)
        if stage < 3:
            layers += [nn.Conv2d(channels, channels // 2, 1, bias=False), nn.AvgPool2d(2)]
            channels //= 2
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, findings))


class Bottleneck(nn.Module):
    """He et al., CVPR 2016, with the stride in the 3x3 convolution, as torchvision has it."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()

        def conv_norm(inputs: int, filters: int, size: int, stride: int = 1) -> nn.Sequential:
            conv = nn.Conv2d(inputs, filters, size, stride=stride, padding=size // 2, bias=False)
            return nn.Sequential(conv, nn.BatchNorm2d(filters))

        projects = channels != 4 * width
        self.shortcut = conv_norm(channels, 4 * width, 1, stride) if projects else nn.Identity()
        self.first = conv_norm(channels, width, 1)
        self.second = conv_norm(width, width, 3, stride)
        self.third = conv_norm(width, 4 * width, 1)

    def forward(self, x: Tensor) -> Tensor:
        new = functional.relu(self.first(x), inplace=True)
        new = self.third(functional.relu(self.second(new), inplace=True))
        return functional.relu(new + self.shortcut(x), inplace=True)


def resnet50(findings: int) -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(64)]
    layers += [nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2, padding=1)]
    channels = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        width = 64 * 2**stage
        for block in range(blocks):
            layers.append(Bottleneck(channels, width, 2 if stage and not block else 1))
            channels = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, findings))


class Qkv(nn.Linear):
    """Query, key and value in one product."""

    def fill(self, values: Values) -> None:
        given = [next(values) for _ in range(6)]
        _put(self.weight, np.concatenate([kernel.T for kernel in given[::2]]))
        _put(self.bias, np.concatenate(given[1::2]))


class LayerScale(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(width))

    def fill(self, values: Values) -> None:
        _put(self.gamma, next(values))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Encoder(nn.Module):
    """A layer of DINOv2's ViT."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.qkv = nn.LayerNorm(width, eps=1e-6), Qkv(width, 3 * width)
        self.projection, self.scale1 = nn.Linear(width, width), LayerScale(width)
        self.norm2, self.dense1 = nn.LayerNorm(width, eps=1e-6), nn.Linear(width, 4 * width)
        self.dense2, self.scale2 = nn.Linear(4 * width, width), LayerScale(width)

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        parts = self.qkv(self.norm1(x)).view(n, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        new = functional.scaled_dot_product_attention(*parts.unbind(0)).transpose(1, 2).reshape(n, tokens, width)
        x = x + self.scale1(self.projection(new))
        return x + self.scale2(self.dense2(functional.gelu(self.dense1(self.norm2(x)))))


class ViT(nn.Module):
    """ViT-B/14 at 518 pixels; the head takes the class token."""

    def __init__(self, findings: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 768, 14, stride=14)
        self.tokens = Tokens(768, 37)
        self.layers = nn.Sequential(*(Encoder(768, 12) for _ in range(12)))
        self.norm, self.head = nn.LayerNorm(768, eps=1e-6), nn.Linear(768, findings)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.layers(self.tokens(self.patches(x))))[:, 0])


class Tokens(nn.Module):
    def __init__(self, width: int, grid: int) -> None:
        super().__init__()
        self.class_token = nn.Parameter(torch.empty(width))
        self.position = nn.Parameter(torch.empty(1 + grid**2, width))

    def fill(self, values: Values) -> None:
        _put(self.class_token, next(values))
        _put(self.position, next(values))

    def forward(self, x: Tensor) -> Tensor:
        places = x.flatten(2).transpose(1, 2)
        return torch.cat([self.class_token.expand(len(x), 1, -1), places], 1) + self.position


MAKERS: dict[str, Callable[[int], nn.Module]] = {
    "densenet121": densenet121,
    "resnet50v1.5": resnet50,
    "vit_b14": ViT,
}
