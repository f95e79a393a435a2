"""A folder of films by torch's Dataset and DataLoader: PIL, torchvision's transforms, two workers, batches."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from plain_network import MEAN, SD, densenet121, versions
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from turns import film_paths, job, serve

given = job()
model = densenet121(given["network"])


class Films(Dataset):
    def __init__(self, paths: list[str]) -> None:
        self.paths = paths
        self.transform = transforms.Compose(
            [
                transforms.Resize((given["size"], given["size"])),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, SD),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        return self.transform(Image.open(self.paths[index]).convert("RGB"))


def score() -> list[np.ndarray]:
    loader = DataLoader(Films(film_paths(given["films"])), batch_size=given["batch_size"], num_workers=2)
    with torch.no_grad():
        return [torch.sigmoid(model(batch)).numpy() for batch in loader]


if __name__ == "__main__":
    serve({"score": score}, versions(), answer=np.concatenate)
