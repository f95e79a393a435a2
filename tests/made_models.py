"""Small models in files, told apart by their seeds, for tests of scoring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from made_model import document

from cxrscore.contract import ModelSpec
from cxrscore.models.model_file import save_model
from cxrscore.networks import reference as numpy_reference
from cxrscore.networks.tensors import initial_tensors
from cxrscore.synthetic.phantoms import golden_films

FINDINGS = ("Mass", "Edema")


def made_films(folder: Path, films: int = 6) -> Path:
    """Films of noise that are not square, and one that is no film."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(films):
        noise = cv2.resize(rng.integers(0, 256, (6, 5), dtype=np.uint8), (50, 60), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{number:03}.png"), noise)
    (folder / "broken.png").write_bytes(b"not a film")
    return folder


def made_model(
    path: Path, seed: int, size: int = 32, *, fit: str = "stretch", drift: float = 0, told: Any = None, **changed: Any
) -> Path:
    """A tinycnn of random tensors with its golden logits, off by ``drift``.

    told     what the file says instead of its spec
    changed  as for made_model.document
    """
    spec = ModelSpec(architecture="tinycnn", findings=changed.pop("findings", FINDINGS), size=size)
    tensors = initial_tensors(spec, seed)
    kept = numpy_reference.logits(spec, tensors, golden_films(size, 2)) + drift
    own = {
        "preprocessing": {"size": size, "fit": fit, "resize": "area"},
        "golden": {"films": 2, "logits": kept.tolist(), "error": 1e-6, "tolerance": 1e-4},
    }
    whole = document(spec, **{**own, **changed})
    save_model(path, tensors, whole if told is None else {**whole, "spec": told})
    return path
