"""Keras weight files of the .h5 kind, as keras.applications publishes them, read without Keras.

Layout: the root (or the group model_weights) has the attribute layer_names; each layer's group has weight_names,
paths of datasets below it such as ``conv1/bn/gamma:0``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cxrscore.contract import Array
from cxrscore.errors import FileFormatError
from cxrscore.files.guard import open_guarded, read_dataset


def read_keras_h5(path: Path) -> dict[str, Array]:
    """Neutral name -> array; FileFormatError if the file is not such a file or holds anything unsafe."""
    with open_guarded(path) as file:
        root = file.get("model_weights", file)
        names = _words(root, "layer_names")
        if names is None:
            raise FileFormatError(f"{path} is not a Keras weights file: it has no attribute layer_names")
        tensors: dict[str, Array] = {}
        for layer in names:
            prefix = f"{root.name}/{layer}".lstrip("/")
            for weight in _words(root[layer], "weight_names") or []:
                tensors[_neutral(layer, weight)] = read_dataset(file, f"{prefix}/{weight}")
    return tensors


def _words(group: Any, attribute: str) -> list[str] | None:
    values = group.attrs.get(attribute)
    return None if values is None else [v.decode() if isinstance(v, bytes) else str(v) for v in values]


def _neutral(layer: str, weight: str) -> str:
    """``conv1/bn`` and ``conv1/bn/gamma:0`` -> ``conv1_bn/gamma``: Keras 3 writes layer names without slashes."""
    return f"{layer.replace('/', '_')}/{weight.rsplit('/', 1)[-1].split(':')[0]}"
