"""The names that a torch pickle may contain, and an inert replacement for each.

Reference: torch/serialization.py and torch/_utils.py.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

MAX_AXES = 8

STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
"""torch's classes of storage and NumPy's names of what they hold; NumPy has no bfloat16."""

ORDERED = "collections.OrderedDict"
_TENSORS = ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor")
_PARAMETER = "torch._utils._rebuild_parameter"
_STORAGES = {f"{home}.{name}": name for home in ("torch", "torch.cuda") for name in STORAGES}
_DTYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
_INERT_NAMES = frozenset(
    (
        *("builtins.set", "__builtin__.set", "_codecs.encode", "numpy.dtype", "numpy.ndarray"),
        *("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"),
        *("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"),
        *("torch.device", "torch.Size", "torch.nn.backends.thnn._get_thnn_function_backend"),
        *("collections.Counter", "collections.defaultdict", "argparse.Namespace"),
        *("pathlib.PosixPath", "pathlib.WindowsPath", "pathlib._local.PosixPath", "pathlib._local.WindowsPath"),
        *(f"{home}.{name}" for home in ("builtins", "__builtin__") for name in ("dict", "float", "int", "list", "str")),
        *("datetime.datetime", "datetime.timedelta"),
    )
)
"""Names in checkpoints other than tensors. Their objects are never created: an InertObject replaces them."""
_NAMES = frozenset((ORDERED, *_TENSORS, _PARAMETER, *_STORAGES, *(f"torch.{name}" for name in _DTYPES))) | _INERT_NAMES
OBJECTS = frozenset(("argparse.Namespace",))
"""Classes of which an object may stand in a checkpoint without a call. Its attributes are let go."""
MODULES = re.compile(r"(torch\.nn|torchvision\.models|torchxrayvision)\.[A-Za-z_][A-Za-z0-9_.]{0,200}")
"""Classes of pickled networks. They are never imported: an InertObject holds their stored attributes."""


class UnsafePickleError(Exception):
    """A pickle is damaged, or asks for more than a checkpoint needs. Raised and caught inside this package."""


@dataclass(frozen=True, slots=True)
class PickledName:
    """A name of the list above, as a value: nothing was imported."""

    path: str


@dataclass(slots=True, eq=False)
class InertObject:
    """What an object was stored as: the path of its class and, of a module of a network, its attributes."""

    path: str
    state: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StorageRef:
    """A row of numbers in the file: ``count`` of them from ``first`` on, of ``total`` under the key; kind as in
    STORAGES."""

    key: str
    kind: str
    total: int
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class TensorRef:
    """Position of a tensor: offset and strides count elements of the storage."""

    storage: StorageRef
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def is_allowed(module: str, name: str) -> PickledName:
    path = f"{module}.{name}"
    if path not in _NAMES and not MODULES.fullmatch(path):
        raise UnsafePickleError(
            f"it names {path[:120]!r}, which no checkpoint of weights needs. Nothing of it was run. A whole network of "
            "another library: save its state_dict() alone"
        )
    return PickledName(path)


def path_of(value: Any) -> str:
    if not isinstance(value, PickledName):
        raise UnsafePickleError("its pickle calls what is no name")
    return value.path


def as_tuple(value: Any) -> tuple[Any, ...]:
    if not isinstance(value, tuple):
        raise UnsafePickleError("its pickle calls a name, or looks up a storage, with what is no tuple")
    return value


def as_dictionary(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UnsafePickleError("it stores a module as something else than its attributes")
    return value


def items_of(pairs: list[Any]) -> dict[str, Any]:
    """Those whose key is a text. Others (numbers of an optimiser's parameters) are let go: no weight is among them."""
    complete = (pair for pair in pairs if isinstance(pair, list | tuple) and len(pair) == 2)
    return {key: value for key, value in complete if isinstance(key, str)}


def construct(path: str, given: tuple[Any, ...]) -> Any:
    """The inert result of a call of this name."""
    if path == ORDERED:
        return items_of(given[0]) if given and isinstance(given[0], list) else {}
    if path in _TENSORS:
        return _tensor(given)
    if path == _PARAMETER:
        if not given or not isinstance(given[0], TensorRef):
            raise UnsafePickleError("it has a parameter that is no tensor")
        return given[0]
    if path in _INERT_NAMES:
        return InertObject(path)
    raise UnsafePickleError(f"it calls {path}, which is not for calling")


def _tensor(given: tuple[Any, ...]) -> TensorRef:
    if len(given) < 4 or not isinstance(given[0], StorageRef) or not _is_count(given[1]):
        raise UnsafePickleError("it has a tensor that says not where it lies")
    size, stride = as_tuple(given[2]), as_tuple(given[3])
    if len(size) != len(stride) or len(size) > MAX_AXES or not all(map(_is_count, (*size, *stride))):
        raise UnsafePickleError("it has a tensor whose size or strides are none")
    tensor = TensorRef(given[0], given[1], size, stride)
    _check_within(tensor)
    return tensor


def _check_within(tensor: TensorRef) -> None:
    """Checks that a tensor is inside its storage, and has no more elements."""
    numbers, there = math.prod(tensor.size), tensor.storage.count
    last = tensor.offset - 1
    if numbers:
        last += 1 + sum((side - 1) * step for side, step in zip(tensor.size, tensor.stride, strict=True))
    if last >= there or numbers > there:
        raise UnsafePickleError(f"it has a tensor of size {list(tensor.size)} that does not lie within its storage")


def storage_at(reference: tuple[Any, ...]) -> StorageRef:
    if len(reference) not in (5, 6) or reference[0] != "storage" or not isinstance(reference[1], PickledName):
        raise UnsafePickleError("it looks up what is no storage")
    kind, key, total = _STORAGES.get(reference[1].path), reference[2], reference[4]
    if kind is None or not isinstance(key, str) or not _is_count(total):
        raise UnsafePickleError("it has a storage without a kind, key or size that can be read")
    first, count = 0, total
    if len(reference) == 6 and reference[5] is not None:
        view = as_tuple(reference[5])
        if len(view) != 3 or not _is_count(view[1]) or not _is_count(view[2]) or view[1] + view[2] > total:
            raise UnsafePickleError("it has a part of a storage that lies outside of it")
        first, count = view[1], view[2]
    return StorageRef(key, kind, total, first, count)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40
