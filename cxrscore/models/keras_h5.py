"""Keras weight files of the .h5 kind, as keras.applications publishes them, read without Keras.

Layout: the root (or the group model_weights) has the attribute layer_names; each layer's group has weight_names,
paths of datasets below it such as ``conv1/bn/gamma:0``.
"""

from __future__ import annotations

from pathlib import Path

from cxrscore.contract import Array
from cxrscore.errors import FileFormatError
from cxrscore.io.hdf5.reader import HDF5File, open_guarded, read_dataset, read_names


def read_keras_h5(path: Path) -> dict[str, Array]:
    """Neutral name -> array; FileFormatError if the file is not such a file or holds anything unsafe."""
    with open_guarded(path) as file:
        above = "model_weights/" if "model_weights" in file.groups else ""
        names = _words(file, above.rstrip("/"), "layer_names")
        if names is None:
            raise FileFormatError(f"{path} is not a Keras weights file: it has no attribute layer_names")
        tensors: dict[str, Array] = {}
        for layer in names:
            for weight in _words(file, f"{above}{layer}", "weight_names") or []:
                tensors[_neutral(layer, weight)] = read_dataset(file, f"{above}{layer}/{weight}")
    return tensors


def _words(file: HDF5File, group: str, attribute: str) -> list[str] | None:
    if group not in file.groups:
        raise FileFormatError(f"{file.name} has no group {group}")
    return read_names(file, attribute, group=group)


def _neutral(layer: str, weight: str) -> str:
    """``conv1/bn`` and ``conv1/bn/gamma:0`` -> ``conv1_bn/gamma``: Keras 3 writes layer names without slashes."""
    return f"{layer.replace('/', '_')}/{weight.rsplit('/', 1)[-1].split(':')[0]}"
