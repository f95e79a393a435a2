"""A folder of films, film by film: PIL, resize, torch."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from plain_network import MEAN, SD, densenet121, versions
from turns import film_paths, job, serve

given = job()
model = densenet121(given["network"])
mean, sd = np.array(MEAN, np.float32), np.array(SD, np.float32)


def score() -> list[np.ndarray]:
    scores = []
    for path in film_paths(given["films"]):
        film = Image.open(path).convert("RGB").resize((given["size"], given["size"]), Image.Resampling.BILINEAR)
        pixels = (np.asarray(film, np.float32) / 255 - mean) / sd
        with torch.no_grad():
            logits = model(torch.from_numpy(pixels).permute(2, 0, 1)[None])
        scores.append(torch.sigmoid(logits)[0].numpy())
    return scores


serve({"score": score}, versions(), answer=np.stack)
