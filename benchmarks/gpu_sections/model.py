"""The model file of a kit: its backbone lies there as ImageNet tensors in float16, and everything else beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.numpy

from cxrscore import load_model, save_model
from cxrscore.models.imagenet import read_weights

WEIGHTS, TENSORS, DOCUMENT = "weights.safetensors", "tensors.safetensors", "model.json"


def take_apart(model: Path, weights: Path | None, kit: Path) -> None:
    """Writes the document, and the tensors that are not those of the weights file."""
    file = load_model(model)
    known: Mapping[str, np.ndarray] = {}
    if weights:
        known = read_weights(weights, file.spec.architecture).tensors
    own = {
        name: np.ascontiguousarray(tensor)
        for name, tensor in file.tensors.items()
        if name not in known or not np.array_equal(tensor, known[name])
    }
    safetensors.numpy.save_file(own, kit / TENSORS)
    (kit / DOCUMENT).write_text(json.dumps(file.document))


def rebuild(kit: Path, model: Path) -> None:
    """Writes the model file."""
    document = json.loads((kit / DOCUMENT).read_text())
    weights = kit / WEIGHTS
    known = read_weights(weights, document["spec"]["architecture"]).tensors if weights.is_file() else {}
    tensors = {**known, **safetensors.numpy.load_file(kit / TENSORS)}
    save_model(model, tensors, {key: value for key, value in document.items() if key not in ("format", "version")})
