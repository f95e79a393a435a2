"""The network of the model file as users of torch have it: torchvision's DenseNet121, filled with the same tensors."""

from __future__ import annotations

import numpy as np
import torch
import torchvision
from torch import Tensor, nn

MEAN, SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
EPSILON = 1.001e-5  # of keras.applications, where the tensors are from; torch's own is 1e-5


def densenet121(file: str) -> nn.Module:
    """Normalised films [N,3,S,S] -> logits [N,14]."""
    with np.load(file) as stored:
        tensors = {name: torch.from_numpy(stored[name]) for name in stored.files}
    model = torchvision.models.densenet121(num_classes=len(tensors["classifier.bias"]))
    missing, unknown = model.load_state_dict(tensors, strict=False)
    assert not unknown, unknown
    assert all(name.endswith("num_batches_tracked") for name in missing), missing
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = EPSILON
    return model.eval()


class FromXrv(nn.Module):
    """The same network for what torchxrayvision reads: films [N,1,H,W] in -1024..1024, of any size.

    As its own networks do, it makes them square itself: bilinear, anti-aliased.
    """

    def __init__(self, file: str, size: int) -> None:
        super().__init__()
        self.network, self.size = densenet121(file), size
        self.register_buffer("mean", torch.tensor(MEAN).reshape(1, 3, 1, 1))
        self.register_buffer("sd", torch.tensor(SD).reshape(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        side = (self.size, self.size)
        x = nn.functional.interpolate(x, size=side, mode="bilinear", align_corners=False, antialias=True)
        return self.network(((x + 1024) / 2048 - self.mean) / self.sd)


def versions(*further: str) -> str:
    told = [f"torch {torch.__version__}", f"torchvision {torchvision.__version__}"]
    return ", ".join([*told, *further])
