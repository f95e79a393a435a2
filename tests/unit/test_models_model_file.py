"""Model files: they come back as they went in, and what is not one of ours is refused by name."""

import json

import numpy as np
import pytest
import safetensors.numpy
from made_model import document

from cxrscore.contract import ModelSpec
from cxrscore.errors import FileFormatError, InputError
from cxrscore.models.model_file import load_model, model_bytes, save_model

SPEC = ModelSpec(architecture="tinycnn", findings=("Mass", "Nodule"), size=64)
DOCUMENT = document(SPEC)
RESCALING = {
    "method": "op-thresholds",
    "slope": [1.0, 1.0],
    "intercept": [0.0, 0.0],
    "fitted_on": "imported",
    "half_at": [0.5, 0.1],
}


def test_a_model_comes_back_as_it_went_in(tmp_path):
    tensors = {"head/bias": np.array([1.5, -2.0], np.float32)}
    save_model(tmp_path / "m.safetensors", tensors, DOCUMENT)
    found = load_model(tmp_path / "m.safetensors")
    assert found.spec == SPEC
    assert found.tensors["head/bias"].tobytes() == tensors["head/bias"].tobytes()
    assert found.seen == {"a" * 16: "train", "b" * 16: "valid"}
    assert len(found.sha256) == 64


def test_a_rescaling_and_the_data_sets_of_training_come_back(tmp_path):
    own = {"calibration": RESCALING, "trained_on": ["NIH", "a clinic"]}
    save_model(tmp_path / "m.safetensors", {"a": np.zeros(1)}, {**DOCUMENT, **own})
    found = load_model(tmp_path / "m.safetensors").document
    assert {name: found[name] for name in own} == own


def test_a_transposed_tensor_comes_back_as_it_was(tmp_path):
    tensors = {"head/kernel": np.arange(6, dtype=np.float32).reshape(2, 3).T}
    save_model(tmp_path / "m.safetensors", tensors, DOCUMENT)
    found = load_model(tmp_path / "m.safetensors").tensors["head/kernel"]
    np.testing.assert_array_equal(found, [[0, 3], [1, 4], [2, 5]])


def test_a_missing_model_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match="cxrscore train"):
        load_model(tmp_path / "none.safetensors")


@pytest.mark.parametrize("length", [0, 7, 8, 40, 200])
def test_a_truncated_model_is_refused(tmp_path, length):
    save_model(tmp_path / "m.safetensors", {"head/bias": np.zeros(1000, np.float32)}, DOCUMENT)
    data = (tmp_path / "m.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(data[:length])
    with pytest.raises(FileFormatError, match=r"cut.safetensors"):
        load_model(tmp_path / "cut.safetensors")


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"cxrscore": "{"},
        {"cxrscore": "[]"},
        {"cxrscore": json.dumps({"format": "other", "spec": {}})},
        {"cxrscore": json.dumps({"format": "cxrscore-model", "version": 99, "spec": {}})},
        {"cxrscore": json.dumps({"format": "cxrscore-model", "version": 1, "spec": {}})},
    ],
)
def test_a_foreign_document_is_refused(tmp_path, metadata):
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors.numpy.save({"a": np.zeros(1)}, metadata=metadata))
    with pytest.raises(FileFormatError, match=r"x.safetensors"):
        load_model(path)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"spec": {**SPEC.as_dict(), "head": "octopus"}}, 'spec.head: "octopus" is not one of'),
        ({"spec": {**SPEC.as_dict(), "size": "64"}}, "spec.size"),
        ({"films": {"train": ["../../etc/passwd"], "valid": []}}, "films: expected lists of hashes"),
        ({"films": []}, "films"),
        ({"preprocessing": {"size": 64}}, 'preprocessing: "fit" is a required property'),
        ({"golden": {}}, "golden"),
        (
            {"golden": {"films": 1, "logits": [[0.0]], "error": None, "tolerance": 1e-4}},
            "golden.logits.0 has 1 values for 2 findings",
        ),
        (
            {"calibration": {"method": "platt", "slope": [1.0], "intercept": [0.0, 0.0], "fitted_on": "valid"}},
            "calibration.slope has 1 values for 2 findings",
        ),
        (
            {"calibration": RESCALING | {"half_at": [0.5]}},
            "calibration.half_at has 1 values for 2 findings",
        ),
        ({"calibration": RESCALING | {"half_at": [0.5, 0.0]}}, "calibration.half_at.1"),
        ({"calibration": RESCALING | {"slope": [1.0, 2.0]}}, "calibration.slope.1: 1 was expected"),
        ({"calibration": RESCALING | {"intercept": [0.5, 0.0]}}, "calibration.intercept.0: 0 was expected"),
        ({"calibration": RESCALING | {"method": "platt"}}, 'calibration: .* is not allowed for "half_at"'),
        ({"calibration": {name: RESCALING[name] for name in RESCALING if name != "half_at"}}, "half_at"),
        ({"trained_on": ["NIH"] * 2}, "trained_on"),
        ({"trained_on": ["a" * 101]}, "trained_on.0"),
        ({"trained_on": [f"set {number}" for number in range(51)]}, "trained_on"),
        ({"more": 1}, "more"),
    ],
)
def test_a_document_that_is_not_as_its_schema_says_is_refused(tmp_path, changed, words):
    with pytest.raises(FileFormatError, match=words):
        save_model(tmp_path / "m.safetensors", {"a": np.zeros(1)}, {**DOCUMENT, **changed})
    text = json.dumps({"format": "cxrscore-model", "version": 1, **DOCUMENT, **changed})
    (tmp_path / "x.safetensors").write_bytes(safetensors.numpy.save({"a": np.zeros(1)}, metadata={"cxrscore": text}))
    with pytest.raises(FileFormatError, match=words):
        load_model(tmp_path / "x.safetensors")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": NaN}', '{"format": "cxrscore-model", "version": Infinity}'])
def test_json_that_is_none_is_refused(tmp_path, text):
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors.numpy.save({"a": np.zeros(1)}, metadata={"cxrscore": text}))
    with pytest.raises(FileFormatError, match="not JSON"):
        load_model(path)


def test_a_changed_bit_of_a_tensor_is_found(tmp_path):
    """A tensor has no checksum of its own, and a small change would pass every other check."""
    spec = ModelSpec(architecture="tinycnn", findings=("Mass",), size=32)
    tensors = {
        "b/strided": np.arange(12, dtype="<f4").reshape(3, 4).T,
        "a/one": np.array(1.5),
        "c/none": np.zeros((0, 2)),
    }
    save_model(tmp_path / "m.safetensors", tensors, document(spec))
    assert load_model(tmp_path / "m.safetensors").tensors.keys() == tensors.keys()
    data = bytearray((tmp_path / "m.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "m.safetensors").write_bytes(data)
    with pytest.raises(FileFormatError, match=r"m\.safetensors was changed after it was written"):
        load_model(tmp_path / "m.safetensors")


def test_equal_models_are_equal_files():
    tensors = {f"layer{number}/bias": np.full(3, number, np.float32) for number in range(5)}
    files = {model_bytes("{}", dict(reversed(tensors.items())) if turn else tensors) for turn in range(6)}
    assert len(files) == 1
    assert safetensors.numpy.load(files.pop()).keys() == tensors.keys()


@pytest.mark.parametrize(
    "start", [b"PK\x03\x04", b"\x80\x02", b"\x89HDF\r\n\x1a\n"], ids=["torch", "old torch", "Keras"]
)
def test_weights_of_another_program_are_told_where_to_go(tmp_path, start):
    path = tmp_path / "a.pth"
    path.write_bytes(start + bytes(100))
    with pytest.raises(FileFormatError, match=r"not a readable safetensors file: .*by `cxrscore import`"):
        load_model(path)
    safetensors.numpy.save_file({"conv1.weight": np.zeros(2, np.float32)}, path)
    with pytest.raises(FileFormatError, match=r"no cxrscore document.*by `cxrscore import`"):
        load_model(path)
