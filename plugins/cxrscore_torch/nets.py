"""The networks in PyTorch, with the layers and layer names of keras.applications.

Layers are created without values: the caller fills every tensor that neutral_tensors lists.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from cxrscore.contract import Array, ModelSpec
from cxrscore.models.architectures import (
    DENSENET121_BLOCKS,
    DENSENET121_GROWTH,
    NORM_EPSILON,
    NORM_MOMENTUM,
    NORMALISATIONS,
    RESNET50_BLOCKS,
    TINYCNN_LAYERS,
    feature_count,
)


class Norm(nn.Module):
    """Batch normalisation with the stored statistics, also in training; ``by_batch``: with batch statistics, which then
    update the stored ones."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(channels))
        self.beta = nn.Parameter(torch.empty(channels))
        self.register_buffer("moving_mean", torch.empty(channels))
        self.register_buffer("moving_variance", torch.empty(channels))
        self.by_batch = False

    def forward(self, x: Tensor) -> Tensor:
        if self.by_batch:
            return self._by_batch(x)
        return functional.batch_norm(x, self.moving_mean, self.moving_variance, self.gamma, self.beta, eps=NORM_EPSILON)

    def _by_batch(self, x: Tensor) -> Tensor:
        """Keras stores the biased variance, torch would store the unbiased one: it is moved by hand."""
        out, mean, inverse = torch.native_batch_norm(x, self.gamma, self.beta, None, None, True, 0.0, NORM_EPSILON)
        with torch.no_grad():
            variance = (inverse.float() ** -2 - NORM_EPSILON).clamp_(min=0)
            self.moving_mean.lerp_(mean.float(), 1 - NORM_MOMENTUM)
            self.moving_variance.lerp_(variance, 1 - NORM_MOMENTUM)
        return out


def _conv(channels: int, out: int, side: int, *, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    """A convolution with side // 2 zeros around, which is also what Keras' explicit padding amounts to."""
    return nn.utils.skip_init(nn.Conv2d, channels, out, side, stride=stride, padding=side // 2, bias=bias)


def _pool1(x: Tensor) -> Tensor:
    # Keras pads with zeros and torch with -inf: equivalent, because the input is never negative.
    return functional.max_pool2d(x, 3, stride=2, padding=1)


class _Layers(nn.ModuleDict):
    """Layers under their Keras names, in two groups: ``first`` up to the last block, and ``last``."""

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x))

    def relu(self, layer: str, x: Tensor) -> Tensor:
        return functional.relu(self[layer](x), inplace=True)


class DenseNet121(_Layers):
    """[N,3,S,S] -> [N,1024,h,w], before the last ReLU."""

    def __init__(self) -> None:
        super().__init__()
        channels = 64
        self["conv1_conv"] = _conv(3, channels, 7, stride=2, bias=False)
        self["conv1_bn"] = Norm(channels)
        for stage, blocks in enumerate(DENSENET121_BLOCKS, start=2):
            for block in range(1, blocks + 1):
                self._add_layer(f"conv{stage}_block{block}", channels)
                channels += DENSENET121_GROWTH
            if stage < 5:
                self[f"pool{stage}_bn"] = Norm(channels)
                self[f"pool{stage}_conv"] = _conv(channels, channels // 2, 1, bias=False)
                channels //= 2
        self["bn"] = Norm(channels)

    def _add_layer(self, name: str, channels: int) -> None:
        width = 4 * DENSENET121_GROWTH
        self[f"{name}_0_bn"] = Norm(channels)
        self[f"{name}_1_conv"] = _conv(channels, width, 1, bias=False)
        self[f"{name}_1_bn"] = Norm(width)
        self[f"{name}_2_conv"] = _conv(width, DENSENET121_GROWTH, 3, bias=False)

    def first(self, x: Tensor) -> Tensor:
        x = _pool1(self.relu("conv1_bn", self["conv1_conv"](x)))
        for stage in (2, 3, 4):
            x = self._stage(stage, x)
            x = functional.avg_pool2d(self[f"pool{stage}_conv"](self.relu(f"pool{stage}_bn", x)), 2)
        return x

    def last(self, x: Tensor) -> Tensor:
        return self["bn"](self._stage(5, x))

    def _stage(self, stage: int, x: Tensor) -> Tensor:
        for block in range(1, DENSENET121_BLOCKS[stage - 2] + 1):
            x = self._layer(f"conv{stage}_block{block}", x)
        return x

    def _layer(self, name: str, x: Tensor) -> Tensor:
        new = self[f"{name}_1_conv"](self.relu(f"{name}_0_bn", x))
        new = self[f"{name}_2_conv"](self.relu(f"{name}_1_bn", new))
        return torch.cat([x, new], dim=1)


class ResNet50(_Layers):
    """Version 1: the stride is in the first 1x1 convolution. [N,3,S,S] -> [N,2048,h,w], before the last ReLU."""

    def __init__(self) -> None:
        super().__init__()
        channels = 64
        self["conv1_conv"] = _conv(3, channels, 7, stride=2)
        self["conv1_bn"] = Norm(channels)
        for stage, blocks in enumerate(RESNET50_BLOCKS, start=2):
            width = 64 * 2 ** (stage - 2)
            for block in range(1, blocks + 1):
                self._add_block(f"conv{stage}_block{block}", channels, width, first=block == 1, stage=stage)
                channels = 4 * width

    def _add_block(self, name: str, channels: int, width: int, *, first: bool, stage: int) -> None:
        stride = 2 if first and stage > 2 else 1
        if first:
            self._add_conv(f"{name}_0", channels, 4 * width, 1, stride)
        self._add_conv(f"{name}_1", channels, width, 1, stride)
        self._add_conv(f"{name}_2", width, width, 3)
        self._add_conv(f"{name}_3", width, 4 * width, 1)

    def _add_conv(self, name: str, channels: int, out: int, side: int, stride: int = 1) -> None:
        self[f"{name}_conv"] = _conv(channels, out, side, stride=stride)
        self[f"{name}_bn"] = Norm(out)

    def first(self, x: Tensor) -> Tensor:
        x = _pool1(self.relu("conv1_bn", self["conv1_conv"](x)))
        for stage in (2, 3, 4):
            x = functional.relu(self._stage(stage, x), inplace=True)
        return x

    def last(self, x: Tensor) -> Tensor:
        return self._stage(5, x)

    def _stage(self, stage: int, x: Tensor) -> Tensor:
        """A block; its input is never negative, its output is before the ReLU."""
        x = self._block(f"conv{stage}_block1", x)
        for block in range(2, RESNET50_BLOCKS[stage - 2] + 1):
            x = self._block(f"conv{stage}_block{block}", functional.relu(x, inplace=True))
        return x

    def _block(self, name: str, x: Tensor) -> Tensor:
        shortcut = self[f"{name}_0_bn"](self[f"{name}_0_conv"](x)) if f"{name}_0_conv" in self else x
        x = self.relu(f"{name}_1_bn", self[f"{name}_1_conv"](x))
        x = self.relu(f"{name}_2_bn", self[f"{name}_2_conv"](x))
        return shortcut + self[f"{name}_3_bn"](self[f"{name}_3_conv"](x))


class TinyCnn(_Layers):
    """[N,3,S,S] -> [N,64,h,w], before the last ReLU."""

    def __init__(self) -> None:
        super().__init__()
        channels = 3
        for number, (out, stride) in enumerate(TINYCNN_LAYERS, start=1):
            self[f"conv{number}"] = _conv(channels, out, 3, stride=stride)
            channels = out

    def first(self, x: Tensor) -> Tensor:
        for layer in [*self][:-1]:
            x = self.relu(layer, x)
        return x

    def last(self, x: Tensor) -> Tensor:
        return self[[*self][-1]](x)


_BASES: dict[str, type[_Layers]] = {"densenet121": DenseNet121, "resnet50": ResNet50, "tinycnn": TinyCnn}


class Network(nn.Module):
    """Normalisation, base and head: films [N,S,S] -> logits [N,C], float32 whatever the base computes in. Films are
    float32 in 0..1, or their levels: uint8, or the bits of uint16 as int16."""

    def __init__(self, spec: ModelSpec, *, bf16: bool = False) -> None:
        super().__init__()
        mean, sd = NORMALISATIONS[spec.normalize]
        self.register_buffer("mean", torch.tensor(mean).reshape(1, 3, 1, 1))
        self.register_buffer("sd", torch.tensor(sd).reshape(1, 3, 1, 1))
        self.register_buffer("white", torch.tensor([255.0, 65535.0]))
        self.base = _BASES[spec.architecture]()
        self.head = nn.utils.skip_init(nn.Linear, feature_count(spec), len(spec.findings))
        self._flatten = spec.head == "flatten"
        self._bf16 = bf16

    def before_relu(self, films: Tensor) -> Tensor:
        """[N,S,S] -> the map before the last ReLU, [N,K,h,w]."""
        return self._run(self.base, self._normalised(films))

    def stem(self, films: Tensor) -> Tensor:
        """[N,S,S] -> input of the last block, [N,h,w,K]."""
        return self._run(self.base.first, self._normalised(films)).permute(0, 2, 3, 1)

    def tail(self, entered: Tensor) -> Tensor:
        """[N,h,w,K] -> [N,C]."""
        x = entered.permute(0, 3, 1, 2)
        before = self._run(self.base.last, x.bfloat16() if self._bf16 else x)
        return self.head(self.embedding(functional.relu(before, inplace=True)))

    def _normalised(self, films: Tensor) -> Tensor:
        unit = self.unit(films)[:, None]
        return ((unit - self.mean) / self.sd).contiguous(memory_format=torch.channels_last)

    def unit(self, films: Tensor) -> Tensor:
        """float32 in 0..1, to the bit what the core makes of these levels. It is divided by a tensor, as CUDA makes of
        a division by a number a product with its inverse, which rounds twice."""
        if films.dtype == torch.float32:
            return films
        if films.dtype == torch.uint8:
            return films.float() / self.white[:1]
        return (films.int() & 0xFFFF).float() / self.white[1:]

    def _run(self, layers: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        # No weight is used twice in a pass, and cached weights cannot be recorded in a CUDA graph.
        with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=self._bf16, cache_enabled=False):
            return layers(x).float()

    def embedding(self, features: Tensor) -> Tensor:
        """[N,K,h,w] -> [N,K], or [N,h*w*K] in the order of Keras: row, column, channel."""
        return features.permute(0, 2, 3, 1).flatten(1) if self._flatten else features.mean(dim=(2, 3))

    def features(self, films: Tensor) -> Tensor:
        """[N,S,S] -> the map that the head pools or flattens, [N,K,h,w]."""
        return functional.relu(self.before_relu(films), inplace=True)

    def forward(self, films: Tensor) -> Tensor:
        return self.head(self.embedding(self.features(films)))


def neutral_tensors(network: Network) -> dict[str, Tensor]:
    """The network's own parameters and buffers under their neutral names, in torch's layout."""
    return {
        f"{layer}/{variable.replace('weight', 'kernel')}": tensor
        for layer, module in [*network.base.items(), ("head", network.head)]
        for variable, tensor in module.state_dict(keep_vars=True).items()
    }


def to_neutral(tensor: Tensor) -> Tensor:
    """A view in the neutral layout: convolutions OIHW -> HWIO, dense kernels [C,K] -> [K,C]."""
    return tensor.permute(2, 3, 1, 0) if tensor.ndim == 4 else tensor.T if tensor.ndim == 2 else tensor


def from_neutral(tensor: Tensor) -> Tensor:
    """The inverse of to_neutral."""
    return tensor.permute(3, 2, 0, 1) if tensor.ndim == 4 else tensor.T if tensor.ndim == 2 else tensor


def to_numpy(tensor: Tensor) -> Array:
    """A C-contiguous NumPy copy, never a view of tensors that training changes later."""
    return np.array(tensor.detach().cpu().numpy(), order="C")
