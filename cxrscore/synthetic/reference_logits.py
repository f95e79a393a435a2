"""The reference logits of a model for synthetic films, stored in its file so that every machine can check its
results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cxrscore.contract import Floats, Model, takes_any_batch_size
from cxrscore.errors import CheckError
from cxrscore.networks.reference import logits as exact_logits
from cxrscore.synthetic.phantoms import golden_films

FILMS = 4
_SLACK, _LEAST, _UNKNOWN = 10.0, 2e-5, 1e-4
"""The tolerance is ten times the measured rounding error, because other libraries and devices sum in other orders,
and at least 2e-5; 1e-4 without a reference."""
LARGEST_TOLERANCE = 0.05
"""Largest tolerance that a model file may allow (schemas/model.schema.json): such an error of a logit changes a
probability by 0.0125 at most."""


def golden_record(model: Model) -> dict[str, Any]:
    """The "golden" entry of a model file (schemas/model.schema.json): reference logits in float64, the error of this
    backend, and the tolerance for other backends.

    For an architecture without a reference, they are the logits of the backend, and the error is None.
    """
    films = golden_films(model.spec.size, FILMS)
    own = model.predict(films).astype(np.float64)
    if model.spec.network is None:
        return {"films": FILMS, "logits": own.tolist(), "error": None, "tolerance": _UNKNOWN}
    exact = exact_logits(model.spec, model.tensors(), films)
    error = float(np.abs(own - exact).max())
    if not error <= LARGEST_TOLERANCE:
        raise CheckError(
            f"{model.framework} on {model.device} gives logits of synthetic films that differ by {error:.2g} from "
            f"those of the float64 reference, expected at most {LARGEST_TOLERANCE}: other backends would score the "
            "trained model differently. Try another --backend or --device, and `cxrscore check BACKEND`."
        )
    return {
        "films": FILMS,
        "logits": np.round(exact, 9).tolist(),
        "error": float(f"{error:.3g}"),
        "tolerance": float(f"{min(max(_LEAST, _SLACK * error), LARGEST_TOLERANCE):.3g}"),
    }


def max_logit_difference(model: Model, record: Mapping[str, Any], batch_size: int = FILMS) -> float:
    """The largest difference of a logit from the reference; films are padded to batch_size where scoring does so.
    CheckError if there is no reference."""
    reference = np.array(record["logits"], np.float64)
    if not len(reference):
        raise CheckError("there are no logits of synthetic films to check the backend by: the model file is incomplete")
    films = golden_films(model.spec.size, len(reference))
    found = [
        _padded(model, films[start : start + batch_size], batch_size) for start in range(0, len(reference), batch_size)
    ]
    return float(np.abs(np.concatenate(found) - reference).max())


def _padded(model: Model, films: Floats, size: int) -> Floats:
    if takes_any_batch_size(model):
        return model.predict(films)
    blank = np.zeros((size - len(films), *films.shape[1:]), np.float32)
    return model.predict(np.concatenate([films, blank]))[: len(films)]


def check_golden(model: Model, record: Mapping[str, Any], batch_size: int = FILMS) -> float:
    """max_logit_difference; CheckError if it exceeds the tolerance of the file."""
    drift = max_logit_difference(model, record, batch_size)
    if not drift <= record["tolerance"]:
        raise CheckError(
            f"{model.framework} on {model.device} gives logits of the model's own synthetic films that differ by "
            f"{drift:.2g} from those in its file, which allows {record['tolerance']:.2g}: its scores would not be this "
            "model's. Try another --backend, and `cxrscore check BACKEND`."
        )
    return drift
