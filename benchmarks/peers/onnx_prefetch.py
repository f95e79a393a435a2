"""A folder of films by ONNX Runtime, with OpenCV decoding the next batch in a thread meanwhile. No torch, no PIL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import onnxruntime
from turns import film_paths, job, serve

given = job()
session = onnxruntime.InferenceSession(given["onnx"], providers=["CPUExecutionProvider"])
mean, sd = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)


def read_batch(paths: list[str]) -> np.ndarray:
    batch = []
    for path in paths:
        film = cv2.imread(path, cv2.IMREAD_GRAYSCALE)
        film = cv2.resize(film, (given["size"], given["size"]), interpolation=cv2.INTER_AREA)
        batch.append((film.astype(np.float32)[None] / 255 - mean[:, None, None]) / sd[:, None, None])
    return np.stack(batch)


def score() -> list[np.ndarray]:
    paths, size = film_paths(given["films"]), given["batch_size"]
    batches = [paths[at : at + size] for at in range(0, len(paths), size)]
    with ThreadPoolExecutor(1) as reader:
        films = reader.map(read_batch, batches)
        return [1 / (1 + np.exp(-session.run(None, {"films": batch})[0])) for batch in films]


def forward() -> None:
    batch = np.zeros((given["batch_size"], 3, given["size"], given["size"]), np.float32)
    for _ in range(given["forward_batches"]):
        session.run(None, {"films": batch})


serve(
    {"score": score, "forward": forward},
    f"onnxruntime {onnxruntime.__version__}, opencv {cv2.__version__}",
    answer=np.concatenate,
)
