"""The ranges that a model file keeps for arithmetic in 8-bit integers, and the model that computes by them."""

from __future__ import annotations

from cxrscore.contract import Backend, Model, Ranges, SupportsInt8
from cxrscore.errors import InputError
from cxrscore.models.model_file import ModelFile


def int8_model(backend: Backend, file: ModelFile, device: str) -> Model:
    """The model of this file in int8; InputError where the backend does not compute so, or the file has no ranges."""
    if not isinstance(backend, SupportsInt8):
        raise InputError(f"backend {backend.name!r} does not compute in int8; openvino does")
    return backend.build_int8(file.spec, file.tensors, _ranges(file), device=device)


def _ranges(file: ModelFile) -> Ranges:
    kept = file.document.get("quantization")
    if kept is None:
        raise InputError(
            f"{file.path} has no ranges to compute in int8 by. Measure them on films like those to be scored: "
            "`cxrscore quantize MODEL FILMS -o NEW_MODEL`, and score with the new file."
        )
    return {layer: (low, high) for layer, (low, high) in kept["ranges"].items()}
