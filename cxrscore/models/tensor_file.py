"""Files of weights of other programs, as named arrays: checkpoints of torch, safetensors, and Keras' three kinds.

The kind is recognised by the first bytes of the file, not by its name. No code of a file is executed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import safetensors

from cxrscore.contract import Array
from cxrscore.errors import FileFormatError
from cxrscore.io.regular import open_regular
from cxrscore.models.keras_file import KerasFile, OuterLayer, is_keras_archive, read_keras, read_keras_archive
from cxrscore.models.torch_file import read_file, torch_checkpoint

Container = Literal["torch", "safetensors", "keras"]


@dataclass(frozen=True, kw_only=True)
class TensorFile:
    """What a file of weights holds.

    tensors     by name; what lies in dictionaries or modules has their names before it
    ignored     names of entries that were not read, because they are no weights
    metadata    numbers, texts and lists of them beside the tensors
    epsilon     what batch normalisations add to the variance, by layer, where the file says it
    activations of dense layers, likewise
    outer       layers of a Keras model before its network and after it, likewise
    unread      names of tensors whose type of numbers cannot be read, and that type
    """

    container: Container
    tensors: Mapping[str, Array]
    ignored: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    epsilon: Mapping[str, float] = field(default_factory=dict)
    activations: Mapping[str, str] = field(default_factory=dict)
    outer: tuple[tuple[OuterLayer, ...], tuple[OuterLayer, ...]] = ((), ())
    unread: Mapping[str, str] = field(default_factory=dict)


_HDF5, _ZIP, _PICKLE = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"\x80"


def container_of(path: Path) -> Container | Literal["zip", ""]:
    """The kind of a file by its first bytes: "zip" is one of torch or Keras, "" none of them. OSError if it cannot be
    read."""
    with open_regular(path) as file:
        start = file.read(300)
    if start.startswith(_HDF5):
        return "keras"
    if start.startswith(_ZIP):
        return "zip"
    if start[8:9] == b"{" or path.suffix.lower() == ".safetensors":
        return "safetensors"
    return "torch" if start.startswith(_PICKLE) or start[257:262] == b"ustar" else ""


def read_tensor_file(path: Path, nodes: frozenset[str]) -> TensorFile:
    """Reads a file of any of these kinds.

    nodes  names of the layers of the networks that are known, to find a model within a Keras model

    InputError if there is no file, FileFormatError if it is damaged, of another kind, or contains more than weights.
    """
    try:
        kind = container_of(path)
    except OSError:
        read_file(path)  # says why
        raise
    if kind == "keras":
        return _of_keras(read_keras(path, nodes))
    if not kind:
        raise FileFormatError(
            f"{path} is not a file of weights that can be read: it does not begin as files of torch (.pth, .pt, .ckpt, "
            ".bin), safetensors or Keras (.h5, .weights.h5, .keras) do"
        )
    data = read_file(path)
    if kind == "safetensors":
        tensors, unread = _safetensors(path, data)
        return TensorFile(container="safetensors", tensors=tensors, ignored=tuple(unread), unread=unread)
    if kind == "zip" and is_keras_archive(data):
        return _of_keras(read_keras_archive(path, data, nodes))
    held = torch_checkpoint(path, data)
    return TensorFile(container="torch", tensors=held.tensors, metadata=held.metadata, epsilon=held.epsilon)


def _of_keras(held: KerasFile) -> TensorFile:
    return TensorFile(
        container="keras",
        tensors=held.tensors,
        ignored=held.ignored,
        epsilon=held.epsilon,
        activations=held.activations,
        outer=held.outer,
    )


_TYPES = {
    **{f"F{bits}": f"<f{bits // 8}" for bits in (16, 32, 64)},
    **{f"{sign}{bits}": f"<{sign.lower()}{bits // 8}" for sign in "IU" for bits in (8, 16, 32, 64)},
    "BOOL": "?",
}
"""safetensors' names of numbers, and NumPy's."""


def _safetensors(path: Path, data: bytes) -> tuple[dict[str, Array], dict[str, str]]:
    """bfloat16, which NumPy does not have, as float32; and the types of entries of others that NumPy does not have."""
    try:
        entries = safetensors.deserialize(data)  # type: ignore[no-untyped-call]
    except (safetensors.SafetensorError, ValueError) as error:
        raise FileFormatError(f"{path} is not a readable safetensors file: {error}") from error
    found: dict[str, Array] = {}
    unread: dict[str, str] = {}
    for name, entry in entries:
        if entry["dtype"] in _TYPES:
            values: Array = np.frombuffer(entry["data"], _TYPES[entry["dtype"]])
        elif entry["dtype"] == "BF16":
            values = (np.frombuffer(entry["data"], "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            unread[name] = entry["dtype"]
            continue
        found[name] = values.reshape(entry["shape"])
    return found, unread
