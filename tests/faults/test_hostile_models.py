"""Model files made by an enemy: refused by name, before anything outside of them is opened or the memory is full."""

import json
import os
import pickle
import resource
import struct
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_model import document
from opened import assert_stays_within, told_what_is_opened

from cxrscore.contract import ModelSpec
from cxrscore.errors import FileFormatError, InputError
from cxrscore.models.model_file import load_model, save_model
from cxrscore.networks.tensors import check_tensors, initial_tensors

SPEC = ModelSpec(architecture="tinycnn", findings=("Mass", "Edema"), size=32)
WHOLE = {"format": "cxrscore-model", "version": 1, **document(SPEC)}
TENSOR = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
HOUR = 3600


def raw(header: Any, data: bytes = bytes(8), *, length: int | None = None) -> bytes:
    """A safetensors file of this header, JSON-ready or as bytes, and with this claim of its length."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def with_document(text: str | dict[str, Any], **tensors: Any) -> bytes:
    words = text if isinstance(text, str) else json.dumps(text)
    return raw({"__metadata__": {"cxrscore": words}, **(tensors or {"a": TENSOR})})


def changed(*place: str | int, to: Any) -> bytes:
    """A model whose document has another value at a place."""
    made: Any = json.loads(json.dumps(WHOLE))
    at = made
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = to
    return with_document(made)


def of(**tensor: Any) -> bytes:
    return with_document(WHOLE, a={**TENSOR, **tensor})


def zipped() -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("data.pkl", pickle.dumps(print))
    return out.getvalue()


FILES: dict[str, bytes] = {
    "nothing": b"",
    "a pickle": pickle.dumps(print),
    "a torch checkpoint": zipped(),
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(100),
    "text": b"root:x:0:0:root:/root:/bin/bash\n",
    "header longer than the file": raw({"a": TENSOR}, length=1 << 20),
    "header of 100 GB": raw({"a": TENSOR}, length=100 << 30),
    "header of 2^64 bytes": raw({"a": TENSOR}, length=(1 << 64) - 1),
    "header of no bytes": raw({"a": TENSOR}, length=0),
    "header that is a list": raw([TENSOR]),
    "header that is no JSON": raw(b"{" * 50),
    "header that is no UTF-8": raw(b'{"\xff": 1}'),
    "header with a NUL": raw(b"\0" * 40),
    "tensor beyond the end": of(data_offsets=[0, 1 << 40], shape=[1 << 38]),
    "tensor before the start": of(data_offsets=[-8, 0]),
    "tensor that ends before it begins": of(data_offsets=[8, 0]),
    "tensor smaller than its shape": of(shape=[3]),
    "tensor larger than its shape": of(shape=[1]),
    "tensor of 2^124 values": of(shape=[1 << 62, 1 << 62]),
    "tensor whose size is 0 after overflow": of(shape=[1 << 32, 1 << 32, 4]),
    "tensor of a negative shape": of(shape=[-2]),
    "tensor of half a side": of(shape=[0.5]),
    "tensor of unknown type": of(dtype="F33"),
    "tensor of no type": with_document(WHOLE, a={"shape": [2], "data_offsets": [0, 8]}),
    "tensor of objects": of(dtype="O"),
    "tensors that overlap": with_document(WHOLE, a=TENSOR, b=TENSOR),
    "tensors with a hole between": with_document(
        WHOLE, a={**TENSOR, "data_offsets": [0, 4], "shape": [1]}, b={**TENSOR, "data_offsets": [6, 8], "dtype": "F16"}
    ),
    "bytes behind the tensors": with_document(WHOLE) + b"more",
    "no metadata": raw({"a": TENSOR}),
    "metadata that are a list": raw({"__metadata__": [], "a": TENSOR}),
    "metadata that are no text": raw({"__metadata__": {"cxrscore": WHOLE}, "a": TENSOR}),
    "metadata of another program": raw({"__metadata__": {"format": "pt"}, "a": TENSOR}),
    "document that is no JSON": with_document("{'format': 'cxrscore-model'}"),
    "document of nothing": with_document(""),
    "document 100,000 deep": with_document("[" * 100_000),
    "document 900 deep": with_document('{"a":' * 900 + "1" + "}" * 900),
    "document of a number of 100,000 digits": with_document('{"format": ' + "9" * 100_000 + "}"),
    "document with two formats": with_document('{"format": "cxrscore-model", "format": "other"}'),
    "document that is a list": with_document("[]"),
    "document of another format": changed("format", to="keras"),
    "document of a later version": changed("version", to=2),
    "document of version true": changed("version", to=[1]),
    "field that nobody knows": changed("run", to="os.system('id')"),
    "architecture that is a path": changed("spec", "architecture", to=["../../etc/passwd"]),
    "a million findings": changed("spec", "findings", to=[f"f{i}" for i in range(1_000_000)]),
    "the same finding twice": changed("spec", "findings", to=["Mass", "Mass"]),
    "findings that are a text": changed("spec", "findings", to="Mass"),
    "findings that are numbers": changed("spec", "findings", to=[1, 2]),
    "no finding": changed("spec", "findings", to=[]),
    "films of a billion pixels a side": changed("spec", "size", to=10**9),
    "films of minus one pixel": changed("spec", "size", to=-1),
    "films of a size in words": changed("spec", "size", to="64"),
    "films of a size that is a fraction": changed("spec", "size", to=32.5),
    "head that there is not": changed("spec", "head", to="octopus"),
    "preprocessing that is a list": changed("preprocessing", to=[]),
    "preprocessing of other steps": changed("preprocessing", "resize", to="eval"),
    "threshold of two": changed("thresholds", to={"Mass": {"prob": 2}}),
    "threshold that is a list": changed("thresholds", to={"Mass": [0.5]}),
    "hashes that are paths": changed("films", "train", to=["../../../etc/passwd"]),
    "hashes that are a text": changed("films", "train", to="a" * 16),
    "films that are a list": changed("films", to=[]),
    "logits that are words": changed("golden", "logits", to=[["a", "b"]]),
    "a million golden films": changed("golden", "logits", to=[[0.0, 0.0]] * 1_000_000),
    "minus one golden film": changed("golden", "films", to=-1),
    "no golden film": changed("golden", to={"films": 0, "logits": [], "error": None, "tolerance": 1e-4}),
    "golden films without logits": changed("golden", "logits", to=[]),
    "more golden films than logits": changed("golden", "films", to=4),
    "a tolerance that any backend keeps to": changed("golden", "tolerance", to=1e308),
    "a tolerance of half a logit": changed("golden", "tolerance", to=0.5),
    "a tolerance of nothing": changed("golden", "tolerance", to=0),
    "a tolerance below nothing": changed("golden", "tolerance", to=-1.0),
    "no golden films at all": changed("golden", to={}),
    "history that is a text": changed("training", "history", to="done"),
    "training that is nothing": changed("training", to=None),
}
"""Each is refused by load_model with a FileFormatError that names the file."""


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A sound model of the reader's own, last read long ago, to which nothing may lead."""
    path = tmp_path / "canary.safetensors"
    save_model(path, initial_tensors(SPEC, 0), WHOLE)
    os.utime(path, (0, path.stat().st_mtime))
    return path


@pytest.fixture(autouse=True, scope="module")
def _warm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Modules that are imported at the first use are opened by now."""
    path = tmp_path_factory.mktemp("warm") / "m.safetensors"
    path.write_bytes(FILES["no finding"])
    with pytest.raises(FileFormatError):
        load_model(path)


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_model_is_refused_by_name_and_nothing_else_is_opened(tmp_path: Path, canary: Path, name: str) -> None:
    path = tmp_path / "evil.safetensors"
    path.write_bytes(FILES[name])
    with told_what_is_opened() as seen, pytest.raises(FileFormatError, match=r"evil\.safetensors") as refused:
        load_model(path)
    assert_stays_within(path, seen)
    assert len(str(refused.value)) < 2000
    assert canary.stat().st_atime == 0


NODES = [
    {"name": "conv1", "operation": "conv2d", "inputs": ["film"], "filters": 8, "size": 3, "stride": 2},
    {"name": "relu", "operation": "relu", "inputs": ["conv1"]},
]
GRAPH = {
    "name": "mine",
    "summary": "",
    "size": 32,
    "normalize": "unit",
    "output": "relu",
    "class_token": None,
    "stages": ["conv1"],
    "nodes": NODES,
}


def with_graph(**values: Any) -> bytes:
    """A model that brings a graph with these values."""
    spec = {**WHOLE["spec"], "architecture": "mine", "network": {**GRAPH, **values}}
    return with_document({**WHOLE, "spec": spec})


def with_node(**values: Any) -> bytes:
    return with_graph(nodes=[{**NODES[0], **values}, NODES[1]])


def chain(*nodes: dict[str, Any]) -> bytes:
    """A model whose graph ends with these nodes."""
    return with_graph(nodes=[*NODES, *nodes], output=nodes[-1]["name"])


DOUBLING = [{"name": f"x{n}", "operation": "concat", "inputs": [f"x{n - 1}" if n else "relu"] * 1000} for n in range(9)]
GRAPHS: dict[str, tuple[bytes, str]] = {
    "that is a text": (with_document({**WHOLE, "spec": {**WHOLE["spec"], "network": "tinycnn"}}), "not of type"),
    "without nodes": (with_graph(nodes=[]), "nodes"),
    "of nodes that are texts": (with_graph(nodes=["conv1", "relu"]), "not of type"),
    "of 10,001 nodes": (with_graph(nodes=[NODES[0]] * 10_001), "spec.network.nodes: "),
    "of two nodes of one name": (with_graph(nodes=[*NODES, NODES[1]]), "two nodes are called 'relu'"),
    "with a cycle": (
        with_graph(nodes=[{"name": "conv1", "operation": "add", "inputs": ["film", "relu"]}, NODES[1]]),
        "a graph has no cycle",
    ),
    "with an input that comes later": (chain({"name": "a", "operation": "relu", "inputs": ["b"]}), "no earlier node"),
    "with an input that is itself": (chain({"name": "a", "operation": "relu", "inputs": ["a"]}), "no earlier node"),
    "with a million inputs": (
        chain({"name": "a", "operation": "concat", "inputs": ["relu"] * 1_000_000}),
        "spec.network.nodes.2.inputs: ",
    ),
    "that grows a thousandfold at each step": (chain(*DOUBLING), "more than 2147483648 numbers"),
    "of 2^40 tensors' numbers": (with_node(filters=1 << 16, size=1 << 14, padding=1 << 14), "expected|more than"),
    "with an operation that there is not": (with_node(operation="exec"), "no operation is called 'exec'"),
    "with an attribute that there is not": (with_node(code=1), "has no attribute code"),
    "with an attribute that is a text": (with_node(stride="2"), "not of type"),
    "with an attribute that is an object": (with_node(stride={"a": 1}), "not of type"),
    "with a step of nothing": (with_node(stride=0), "stride is 0"),
    "with a step of 2^70": (with_node(stride=1 << 70), "stride is"),
    "with filters that are True": (with_node(filters=True), "filters is True"),
    "with groups that do not divide": (with_node(groups=5), "5 groups"),
    "with a name that is a path": (with_node(name="../../outside"), "does not match"),
    "with a name of a megabyte": (with_node(name="a" * (1 << 20)), "name"),
    "whose node is called film": (with_node(name="film"), "other than film and head"),
    "whose node is called head": (with_node(name="head"), "other than film and head"),
    "whose output is no node": (with_graph(output="octopus"), "output is 'octopus', which is no node"),
    "whose class token is a map": (with_graph(class_token="relu"), "expected a vector"),
    "whose stages are no nodes": (with_graph(stages=["conv1", "octopus"]), "names of nodes in their order"),
    "whose stages run backwards": (with_graph(stages=["conv1", "relu", "conv1"]), "names of nodes in their order"),
    "whose stage begins later": (with_graph(stages=["relu"]), "expected the first node"),
    "with a node that nothing uses": (with_graph(output="conv1"), "needs relu"),
    "of another name than the spec": (with_graph(name="other"), "not that of 'mine'"),
    "with a field that there is not": (with_graph(code="import os"), "Additional properties"),
    "too large for its films": (with_node(size=64), "a window of 64 does not fit a map of 32"),
    "called as one of cxrscore": (
        with_document({**WHOLE, "spec": {**WHOLE["spec"], "network": {**GRAPH, "name": "tinycnn"}}}),
        "not that of 'tinycnn'",
    ),
}
"""Graphs that a model file brings, and what the refusal says."""


@pytest.mark.parametrize("name", GRAPHS)
def test_a_hostile_graph_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / "evil.safetensors"
    content, reason = GRAPHS[name]
    path.write_bytes(content)
    with told_what_is_opened() as seen, pytest.raises(FileFormatError, match=reason) as refused:
        load_model(path)
    assert_stays_within(path, seen)
    message = str(refused.value)
    assert message.startswith(str(path))
    assert len(message) < 2000
    assert "\n" not in message


def test_the_hook_sees_what_is_opened(canary: Path) -> None:
    with told_what_is_opened() as seen:
        canary.read_bytes()
    assert seen == [f"open {canary}"]
    with pytest.raises(AssertionError):
        assert_stays_within(canary.with_name("other"), seen)


def test_the_honest_model_is_read(canary: Path) -> None:
    with told_what_is_opened() as seen:
        model = load_model(canary)
    check_tensors(model.spec, model.tensors)
    assert_stays_within(canary, seen)


def link_to(target: Path) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate((4 << 30) + 1)


PLACES: dict[str, Callable[[Path], None]] = {
    "link to the passwords": link_to(Path("/etc/passwd")),
    "link to itself": lambda path: path.symlink_to(path),
    "link to nothing": link_to(Path("/nowhere")),
    "endless device": link_to(Path("/dev/zero")),
    "pipe": lambda path: os.mkfifo(path),
    "folder": lambda path: path.mkdir(),
    "over 4 GB": sparse,
}


@pytest.mark.parametrize("name", PLACES)
def test_what_is_no_file_of_a_model_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "evil.safetensors"
    PLACES[name](path)
    with pytest.raises(InputError, match=r"evil\.safetensors") as refused:
        load_model(path)
    assert "root:" not in str(refused.value)


@pytest.mark.parametrize(
    "tensors",
    [
        {"head/bias": np.full(2, np.nan, np.float32)},
        {"head/bias": np.full(2, np.inf, np.float32)},
        {"head/bias": np.zeros(3, np.float32)},
        {"head/bias": np.zeros((2, 1), np.float32)},
        {"../../outside": np.zeros(2, np.float32)},
        {"": np.zeros(2, np.float32)},
    ],
    ids=["NaN", "infinity", "longer", "of another rank", "name that is a path", "no name"],
)
def test_tensors_that_do_not_fit_are_refused_before_a_network_is_built(tensors: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="do not fit tinycnn"):
        check_tensors(SPEC, {**initial_tensors(SPEC, 0), **tensors})


def test_none_of_them_filled_the_memory() -> None:
    """The last of this page, so all have been read by now."""
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 3 << 20  # KiB
