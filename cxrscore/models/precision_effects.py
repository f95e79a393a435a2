"""What a lower precision does to the scores of a model: how it is measured, and whether `score --precision auto` may
use that precision.

Effects and their bound are in the document of the model file (schemas/model.schema.json): ``precision_effects`` by
precision, and ``precision_bound``. An effect holds for the backend and the kind of device that measured it, and for
machines with no more native precisions than the measuring one: in int8, the layers that are not rounded are computed in
bf16 where the processor has it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np

from cxrscore.contract import Array, Floats
from cxrscore.errors import InputError
from cxrscore.models.model_file import ModelFile
from cxrscore.models.probabilities import probabilities
from cxrscore.option_values import MAX_AUC_LOSS, MAX_DIFFERENCE

MacroAuc: TypeAlias = Callable[[Array, Floats], float | None]
"""Of labels and logits [n,C]; None if it is undefined."""
HOW_TO_MEASURE = "`cxrscore quantize MODEL FILMS -o NEW_MODEL` measures it"


@dataclass(frozen=True, kw_only=True)
class PrecisionBound:
    """The largest effect of a precision that `score --precision auto` accepts.

    Parameters
    ----------
    max_difference
        Largest difference of a probability from fp32, 0 to 1.
    max_auc_loss
        Largest decrease of the macro AUC on films that the model was not trained on, 0 to 1; not used where it is
        unknown.

    Raises
    ------
    InputError
        If a value is not a number from 0 to 1.
    """

    max_difference: float = MAX_DIFFERENCE
    max_auc_loss: float = MAX_AUC_LOSS

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not 0 <= value <= 1:
                raise InputError(f"{name} is {value!r}, expected a number from 0 to 1")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What measures an effect, or scores.

    Parameters
    ----------
    backend
        Name of the backend.
    device
        Kind of device: "cpu" or "cuda".
    native
        Precisions that the device computes natively.
    """

    backend: str
    device: str
    native: Collection[str]


def measured_effect(
    file: ModelFile,
    hashes: Sequence[str],
    exact: Floats,
    rounded: Floats,
    truth: Floats,
    macro_auc: MacroAuc,
    *,
    calibrated: int = 0,
) -> dict[str, Any]:
    """Return the differences between scores of two precisions, and the macro AUC of both if it is defined.

    Parameters
    ----------
    file
        The model.
    hashes
        SHA-256 of the N films, hex.
    exact, rounded
        Logits float32 [N,C] in fp32 and in the other precision.
    truth
        Labels float32 [N,C], NaN where unknown. Films that the model was trained on are left out of the AUC.
    macro_auc
        Computes it.
    calibrated
        Number of first films that the calibration used. Differences are those of the other films, if there are any; the
        AUC is that of all, because the calibration reads no labels.

    Returns
    -------
    dict
        An effect of the schema, without what measured it.
    """
    one, other = (
        probabilities(z, file.spec.activation, file.document["calibration"]).astype(np.float64)
        for z in (exact, rounded)
    )
    moved = np.abs(one - other)
    moved = moved[calibrated:] if calibrated < len(moved) else moved
    unseen = np.array([file.seen.get(digest[:16]) != "train" for digest in hashes])
    labelled = unseen & ~np.isnan(truth).all(axis=1)
    return {
        "films": len(moved),
        "max_difference": float(f"{moved.max():.3g}"),
        "mean_difference": float(f"{moved.mean():.3g}"),
        "labelled_films": int(labelled.sum()),
        "macro_auc_before": macro_auc(truth[labelled], exact[labelled]),
        "macro_auc_after": macro_auc(truth[labelled], rounded[labelled]),
    }


def record_effects(
    document: Mapping[str, Any],
    effects: Mapping[str, Mapping[str, Any]],
    machine: Machine,
    framework: str,
    bound: PrecisionBound,
) -> dict[str, Any]:
    """Return the entries of a document for these effects, by precision. Other effects of the document stay.

    Parameters
    ----------
    document
        The document of the model.
    effects
        By precision, as measured_effect returns them.
    machine, framework
        What measured them; the framework with its version.
    bound
        The bound for all effects of the file.
    """
    by = {
        "backend": machine.backend,
        "framework": framework,
        "device": machine.device,
        "native": sorted(machine.native),
    }
    added = {precision: {**by, **effect} for precision, effect in effects.items()}
    return {
        "precision_effects": {**document.get("precision_effects", {}), **added},
        "precision_bound": asdict(bound),
    }


def auc_loss(effect: Mapping[str, Any]) -> float | None:
    """The decrease of the macro AUC, negative for an increase; None if it is unknown."""
    before, after = effect["macro_auc_before"], effect["macro_auc_after"]
    return None if before is None or after is None else float(before - after)


def exceeds_bound(effect: Mapping[str, Any], bound: Mapping[str, Any]) -> str:
    """What of an effect exceeds the bound, in words; "" if nothing does."""
    if effect["max_difference"] > bound["max_difference"]:
        return (
            f"probabilities move by up to {effect['max_difference']:g}, more than the bound {bound['max_difference']:g}"
        )
    loss = auc_loss(effect)
    # Both AUCs have six decimals, and their difference none of its own.
    if loss is not None and round(loss, 6) > bound["max_auc_loss"]:
        return f"the macro AUC falls by {loss:.4f}, more than the bound {bound['max_auc_loss']:g}"
    return ""


def why_not_auto(document: Mapping[str, Any], precision: str, machine: Machine) -> str:
    """Why `score --precision auto` may not use a precision for this model on this machine; "" if it may."""
    effect = document.get("precision_effects", {}).get(precision)
    if effect is None:
        return f"the model file has no measured effect ({HOW_TO_MEASURE})"
    if effect["backend"] != machine.backend:
        return f"its effect was measured with backend {effect['backend']}, not with {machine.backend}"
    if effect["device"] != machine.device:
        return f"its effect was measured on {effect['device']}, not on {machine.device}"
    if more := sorted(set(machine.native) - set(effect["native"])):
        return (
            f"its effect was measured on a machine without native {' and '.join(more)} ({HOW_TO_MEASURE} on this one)"
        )
    return exceeds_bound(effect, document["precision_bound"])


def describe_effect(effect: Mapping[str, Any], bound: Mapping[str, Any]) -> str:
    """An effect within the bound, in words for the user."""
    moved = (
        f"on {effect['films']} films, probabilities differ from fp32 by at most {effect['max_difference']:g} (bound "
        f"{bound['max_difference']:g})"
    )
    loss = auc_loss(effect)
    if loss is None:
        return f"{moved}; the effect on the AUC is unknown"
    change = f"the macro AUC of {effect['labelled_films']} films changes by {-loss:+.4f}"
    return f"{moved}, {change} (bound -{bound['max_auc_loss']:g})"
