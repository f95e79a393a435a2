"""Networks with the exact names and sums of those of torchvision, CheXNet, torchxrayvision and MONAI, written anew, for
tests that read their files: nothing of theirs is installed here."""

import re
import sys
import types
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

BLOCKS = (6, 12, 24, 16)


class Layer(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(channels), nn.Conv2d(channels, 128, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(128), nn.Conv2d(128, 32, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        new = self.conv2(torch.relu(self.norm2(self.conv1(torch.relu(self.norm1(x))))))
        return torch.cat([x, new], 1)


def stages(channels: int, blocks: tuple[int, ...] = BLOCKS) -> Iterator[tuple[str, nn.Module]]:
    yield "conv0", nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
    yield from (("norm0", nn.BatchNorm2d(64)), ("relu0", nn.ReLU()), ("pool0", nn.MaxPool2d(3, 2, 1)))
    width = 64
    for block, count in enumerate(blocks, start=1):
        layers = [(f"denselayer{i + 1}", Layer(width + 32 * i)) for i in range(count)]
        yield f"denseblock{block}", nn.Sequential(OrderedDict(layers))
        width += 32 * count
        if block < len(blocks):
            parts = (nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width // 2, 1, bias=False), nn.AvgPool2d(2, 2))
            names = ("norm", "relu", "conv", "pool")
            yield f"transition{block}", nn.Sequential(OrderedDict(zip(names, parts, strict=True)))
            width //= 2
    yield "norm5", nn.BatchNorm2d(width)


class DenseNet(nn.Module):
    """torchvision's; with one channel torchxrayvision's, whose films are in -1024..1024."""

    def __init__(self, outputs: int = 1000, channels: int = 3, blocks: tuple[int, ...] = BLOCKS) -> None:
        super().__init__()
        self.features = nn.Sequential(OrderedDict(stages(channels, blocks)))
        self.classifier: nn.Module = nn.Linear(self.features.norm5.num_features, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(torch.relu(self.features(x)).mean((2, 3)))


class CheXNet(nn.Module):
    def __init__(self, outputs: int = 14) -> None:
        super().__init__()
        self.densenet121 = DenseNet()
        self.densenet121.classifier = nn.Sequential(nn.Linear(1024, outputs), nn.Sigmoid())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.densenet121(x)


class Bottleneck(nn.Module):
    def __init__(self, channels: int, width: int, stride: int, *, projects: bool) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        if projects:
            parts = nn.Conv2d(channels, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
            self.downsample = nn.Sequential(*parts)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        new = torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))
        return torch.relu(self.bn3(self.conv3(new)) + (self.downsample(x) if hasattr(self, "downsample") else x))


class ResNet(nn.Module):
    """torchvision's ResNet50, with the stride in the 3x3 convolution; with other depths a ResNet101."""

    def __init__(self, outputs: int = 1000, channels: int = 3, depths: tuple[int, ...] = (3, 4, 6, 3)) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        self.pool = nn.MaxPool2d(3, 2, 1)
        given = 64
        for stage, depth in enumerate(depths):
            width, stride = 64 * 2**stage, 1 if stage == 0 else 2
            blocks = [Bottleneck(given, width, stride, projects=True)]
            blocks += [Bottleneck(4 * width, width, 1, projects=False) for _ in range(depth - 1)]
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
            given = 4 * width
        self.fc: nn.Module = nn.Linear(given, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(torch.relu(self.bn1(self.conv1(x))))
        for stage in range(4):
            x = getattr(self, f"layer{stage + 1}")(x)
        return self.fc(x.mean((2, 3)))


def monai_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Those of MONAI's DenseNet, of torchvision's."""
    renamed = {re.sub(r"(denselayer\d+)\.", r"\1.layers.", name): tensor for name, tensor in state.items()}
    return {name.replace("classifier.", "class_layers.out."): tensor for name, tensor in renamed.items()}


def lively(network: nn.Module, seed: int = 0) -> nn.Module:
    """Weights and statistics at random, such that scores differ from film to film."""
    random = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        fan_in = max(tensor[0].numel(), 1) if tensor.ndim > 1 else 1
        drawn = torch.randn(tensor.shape, generator=random) * (2 / fan_in) ** 0.5 * (1 if tensor.ndim > 1 else 0.1)
        if name.endswith("running_var") or (name.endswith("weight") and tensor.ndim == 1):
            drawn = 0.5 + torch.rand(tensor.shape, generator=random)
        tensor.copy_(drawn)
    return network.eval()


def old_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As torch 0.3 and torchvision 0.2 named them: norm.1."""
    for part in ("norm", "conv"):
        for place in "12":
            state = {
                name.replace(f".{part}{place}.", f".{part}.{place}.") if "denselayer" in name else name: tensor
                for name, tensor in state.items()
            }
    return state


@contextmanager
def torchxrayvision() -> Iterator[type[DenseNet]]:
    """The class under the name by which torchxrayvision's whole networks are pickled, while the block runs."""
    made = type("DenseNet", (DenseNet,), {"__module__": "torchxrayvision.models"})
    package, models = types.ModuleType("torchxrayvision"), types.ModuleType("torchxrayvision.models")
    models.DenseNet, package.models = made, models  # type: ignore[attr-defined]
    layer = Layer.__module__, Layer.__qualname__
    Layer.__module__, Layer.__qualname__ = "torchxrayvision.models", "_DenseLayer"
    models._DenseLayer = Layer  # type: ignore[attr-defined]
    sys.modules |= {"torchxrayvision": package, "torchxrayvision.models": models}
    try:
        yield made
    finally:
        del sys.modules["torchxrayvision"], sys.modules["torchxrayvision.models"]
        Layer.__module__, Layer.__qualname__ = layer
