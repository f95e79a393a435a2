"""Model files: they come back as they went in, and what is not one of ours is refused by name."""

import json

import numpy as np
import pytest
import safetensors.numpy

from cxrscore.contract import ModelSpec
from cxrscore.errors import FileFormatError, InputError
from cxrscore.models.bundle import load_model, save_model

SPEC = ModelSpec(architecture="tinycnn", findings=("Mass", "Nodule"), size=64)
DOCUMENT = {
    "spec": SPEC.as_dict(),
    "preprocessing": {"size": 64},
    "films": {"train": ["a" * 16], "valid": ["b" * 16]},
}


def test_a_model_comes_back_as_it_went_in(tmp_path):
    tensors = {"head/bias": np.array([1.5, -2.0], np.float32)}
    save_model(tmp_path / "m.safetensors", tensors, DOCUMENT)
    found = load_model(tmp_path / "m.safetensors")
    assert found.spec == SPEC
    assert found.tensors["head/bias"].tobytes() == tensors["head/bias"].tobytes()
    assert found.seen == {"a" * 16: "train", "b" * 16: "valid"}
    assert len(found.sha256) == 64


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


def test_a_spec_with_unknown_words_is_refused(tmp_path):
    document = {**DOCUMENT, "spec": {**SPEC.as_dict(), "head": "octopus"}}
    save_model(tmp_path / "m.safetensors", {"a": np.zeros(1)}, document)
    with pytest.raises(InputError, match="octopus"):
        load_model(tmp_path / "m.safetensors")
