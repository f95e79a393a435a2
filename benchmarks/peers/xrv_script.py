"""A folder of films as torchxrayvision's own batch script does it: one film after the other, its reader, no batches."""

from __future__ import annotations

import os

import numpy as np
import torch
import torchxrayvision as xrv
from plain_network import FromXrv, versions
from turns import job, serve

given = job()
model = FromXrv(given["network"], given["size"])


def score() -> list[np.ndarray]:
    outputs = []
    for name in sorted(os.listdir(given["films"])):
        film = xrv.utils.load_image(os.path.join(given["films"], name))
        with torch.no_grad():
            predictions = torch.sigmoid(model(torch.from_numpy(film).unsqueeze(0)))
        outputs.append(predictions[0].numpy())
    return outputs


serve({"score": score}, versions(f"torchxrayvision {xrv.__version__}"), answer=np.stack)
