"""What a model file says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cxrscore.io.json_access import get_nested, get_text
from cxrscore.models.model_file import ModelFile


def describe_model(model: ModelFile) -> dict[str, Any]:
    """The model's document without the hashes of its films, and what can be counted of the file; JSON-ready."""
    films = model.document.get("films", {})
    return {
        "file_type": "model",
        "file": model.path.name,
        "sha256": model.sha256,
        "tensors": len(model.tensors),
        "parameters": sum(int(array.size) for array in model.tensors.values()),
        "films": {name: len(hashes) for name, hashes in films.items()},
        **{key: value for key, value in model.document.items() if key != "films"},
    }


def describe_int8(described: Mapping[str, Any]) -> str:
    """What 8-bit integers do to the model's scores, as ``quantize`` measured it; "" where it has not."""
    measured = get_nested(described, "quantization")
    if not measured:
        return ""
    compared = get_nested(measured, "comparison")
    words = (
        f"ranges of {get_text(measured, 'films')} films; probabilities move by at most "
        f"{_rounded(compared, 'max_difference')}, "
        f"{_rounded(compared, 'mean_difference')} in the mean"
    )
    if get_nested(compared, "macro_auc") is None:
        return words
    return (
        f"{words}; macro AUC of {get_text(compared, 'labelled_films')} films not trained on "
        f"{_rounded(compared, 'macro_auc')}, "
        f"in int8 {_rounded(compared, 'macro_auc_int8')}"
    )


def _rounded(compared: Any, name: str) -> str:
    value = get_nested(compared, name)
    return f"{value:.4f}" if isinstance(value, int | float) else "undefined"
