"""Heat maps of all findings of one film by pytorch-grad-cam: one call for each finding, as its users write it."""

from __future__ import annotations

from importlib import metadata

import numpy as np
import torch
from plain_network import MEAN, SD, densenet121, versions
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from turns import job, serve

given = job()


class WithRelu(nn.Module):
    """torchvision's DenseNet121 with its last ReLU as a layer of its own, not in place: else pytorch-grad-cam mixes
    what is before it with what is behind it."""

    def __init__(self) -> None:
        super().__init__()
        network = densenet121(given["network"])
        self.features, self.relu, self.classifier = network.features, nn.ReLU(), network.classifier

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.relu(self.features(x)).mean(dim=(2, 3)))


model = WithRelu().eval()
cam = GradCAM(model=model, target_layers=[model.relu])


def film() -> Tensor:
    """Its pixels are those that cxrscore gives its network, so that the maps can be compared."""
    pixels = torch.from_numpy(np.load(given["square"]))
    return ((pixels[None] - torch.tensor(MEAN)[:, None, None]) / torch.tensor(SD)[:, None, None])[None]


def maps() -> np.ndarray:
    x = film()
    return np.stack([cam(input_tensor=x, targets=[ClassifierOutputTarget(c)])[0] for c in range(given["findings"])])


def maps_at_once() -> np.ndarray:
    copies = film().expand(given["findings"], -1, -1, -1)
    return cam(input_tensor=copies, targets=[ClassifierOutputTarget(c) for c in range(given["findings"])])


serve(
    {"maps": maps, "maps at once": maps_at_once},
    versions(f"grad-cam {metadata.version('grad-cam')}"),
    answer=lambda found: found,
)
