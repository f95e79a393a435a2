"""What the machine can do at best: products of matrices, and films decoded and made square, with nothing else."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np
import torch
from turns import film_paths, job, serve

from cxrscore.images import DecoderPool, Preprocessing, stream_films

SIDE, PRODUCTS = 4096, 3
given = job()
factors = {kind: torch.rand(SIDE, SIDE).to(kind) for kind in (torch.float32, torch.bfloat16)}
paths = film_paths(given["films"])
preprocessing = Preprocessing(size=given["size"])


def product(kind: torch.dtype) -> None:
    for _ in range(PRODUCTS):
        torch.mm(factors[kind], factors[kind])


def square(path: str) -> np.ndarray:
    film = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_GRAYSCALE)
    return cv2.resize(film, (given["size"], given["size"]), interpolation=cv2.INTER_AREA)


def decode(threads: int) -> None:
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(square, paths):
            pass


def stream(workers: int) -> None:
    """cxrscore's own decoding: in processes, hashed and checked."""
    _stream(workers)


def steady(workers: int) -> None:
    """The same with processes that run already; they start when this work is done for the first time."""
    _stream(workers, _pool(workers))


@cache
def _pool(workers: int) -> DecoderPool:
    pool = DecoderPool(workers, preprocessing)
    pool.start()
    return pool


def _stream(workers: int, decoders: DecoderPool | None = None) -> None:
    names = [os.path.basename(path) for path in paths]
    for _ in stream_films(Path(given["films"]), names, preprocessing, workers=workers, decoders=decoders):
        pass


cv2.setNumThreads(1)
works = {"product fp32": partial(product, torch.float32), "product bf16": partial(product, torch.bfloat16)}
for number in (1, 2):
    works |= {f"{way.__name__} {number}": partial(way, number) for way in (decode, stream, steady)}
serve(works, f"torch {torch.__version__}, opencv {cv2.__version__}")
