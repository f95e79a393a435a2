"""Files of Keras made by an enemy: nothing of their configuration is built, and memory stays small."""

import io
import json
import struct
import sys
import tracemalloc
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from opened import told_what_is_opened

from cxrscore.errors import FileFormatError, InputError
from cxrscore.models.import_weights import read_weights_of
from cxrscore.models.tensor_file import read_tensor_file


def weights(**more: str) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name in ("dense", *more):
            file[f"layers/{name}/vars/0"] = np.arange(6, dtype=np.float32).reshape(2, 3)
    return buffer.getvalue()


def archive(config: object, data: bytes = b"", packing: int = zipfile.ZIP_STORED, name: str = "config.json") -> bytes:
    buffer = io.BytesIO()
    text = config if isinstance(config, bytes) else json.dumps(config).encode()
    with zipfile.ZipFile(buffer, "w", packing) as file:
        file.writestr(name, text)
        file.writestr("model.weights.h5", data or weights())
    return buffer.getvalue()


def nested(depth: int) -> dict[str, object]:
    """Models within models."""
    found: dict[str, object] = {"class_name": "Dense", "config": {"name": "dense"}}
    for _ in range(depth):
        found = {"class_name": "Functional", "config": {"name": "model", "layers": [found]}}
    return found


CODE = {
    "class_name": "Functional",
    "config": {
        "layers": [
            {
                "module": "os",
                "class_name": "system",
                "registered_name": "os.system",
                "config": {"name": "../../etc/passwd", "function": {"class_name": "__lambda__", "config": "4wEAAAA="}},
            },
            {"class_name": "Dense", "config": {"name": "one", "activation": "relu"}},
        ]
    },
}


def test_nothing_of_a_configuration_is_built(tmp_path: Path) -> None:
    path = tmp_path / "a.keras"
    path.write_bytes(archive(CODE))
    imported = set(sys.modules)
    with told_what_is_opened() as seen:
        found = read_tensor_file(path, frozenset())
    assert set(seen) == {f"open {path}"}
    assert set(sys.modules) == imported
    assert {name: values.shape for name, values in found.tensors.items()} == {"layers/one/kernel": (2, 3)}
    assert found.activations == {"one": "relu"}


def test_the_name_of_a_layer_comes_from_its_place_in_the_configuration(tmp_path: Path) -> None:
    """dense is the first Dense, dense_1 the second; by hand."""
    layers = [{"class_name": name, "config": {"name": word}} for name, word in (("Dense", "a"), ("ReLU", "b"))]
    layers.append({"class_name": "Dense", "config": {"name": "c"}})
    path = tmp_path / "a.keras"
    path.write_bytes(archive({"config": {"layers": layers}}, weights(dense_1="")))
    assert sorted(read_tensor_file(path, frozenset()).tensors) == ["layers/a/kernel", "layers/c/kernel"]


def overlong() -> bytes:
    """A member that says it has 3 GB."""
    data = bytearray(archive({}))
    at = data.find(b"PK\x01\x02", data.find(b"PK\x01\x02") + 1)
    struct.pack_into("<LL", data, at + 20, 3 << 30, 3 << 30)
    return bytes(data)


def huge_dataset() -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_dataset("layers/dense/vars/0", (1 << 16, 1 << 16), "f4", chunks=(1024, 1024))
    return buffer.getvalue()


REFUSED = {
    "its weights are packed": (archive({}, packing=zipfile.ZIP_DEFLATED), "packed or encrypted"),
    "a member is beyond its end": (overlong(), "beyond its end"),
    "its configuration is no JSON": (archive(b"{"), "is not JSON"),
    "its configuration is nested": (archive(b"[" * 100_000), "nested too deep"),
    "its configuration is huge": (archive(b" " * (33 << 20)), "more than one can have"),
    "its weights are none": (archive({}, b"no HDF5 file at all"), "does not begin as HDF5"),
    "a dataset declares much": (archive({}, huge_dataset()), "declares"),
}


@pytest.mark.parametrize("told", REFUSED)
def test_a_hostile_archive_is_refused(tmp_path: Path, told: str) -> None:
    data, words = REFUSED[told]
    path = tmp_path / "a.keras"
    path.write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(FileFormatError, match=words) as refused:
            read_tensor_file(path, frozenset())
        assert tracemalloc.get_traced_memory()[1] < 200 << 20
    finally:
        tracemalloc.stop()
    assert "a.keras" in str(refused.value)


def test_models_within_models_come_to_an_end(tmp_path: Path) -> None:
    path = tmp_path / "a.keras"
    path.write_bytes(archive(nested(200)))
    assert read_tensor_file(path, frozenset()).tensors


def test_weights_without_names_of_layers_are_refused_with_what_would_do(tmp_path: Path) -> None:
    path = tmp_path / "a.weights.h5"
    path.write_bytes(weights())
    with pytest.raises(InputError, match=r"a\.weights\.h5 holds no network .* save the model again as \.keras"):
        read_weights_of(path)
