"""What a model file says of itself."""

from __future__ import annotations

from typing import Any

from cxrscore.models.bundle import ModelFile


def describe_model(model: ModelFile) -> dict[str, Any]:
    """The model's document without the hashes of its films, and what can be counted of the file; JSON-ready."""
    films = model.document.get("films", {})
    return {
        "kind": "model",
        "file": model.path.name,
        "sha256": model.sha256,
        "tensors": len(model.tensors),
        "parameters": sum(int(array.size) for array in model.tensors.values()),
        "films": {name: len(hashes) for name, hashes in films.items()},
        **{key: value for key, value in model.document.items() if key != "films"},
    }
