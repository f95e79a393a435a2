"""Losses and explainers: functions of arrays."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from cxrscore.contract import CamParts, Explainer, Floats, Loss, LossFunction, Predict
from cxrscore.plugin_values.origin import Origin, checked_array, class_of, describe, read_only


def checked_explainer(explainer: Explainer, origin: Origin) -> Explainer:
    """Wrap an explainer so that its maps are finite floats [N,F,h,w].

    Parameters
    ----------
    explainer
        As ``cxrscore_explainers`` returns it.
    origin
        Origin of the explainer.

    Returns
    -------
    Explainer
        It receives read-only arrays, or copies, so that it cannot change data that is used later. From parts, h and w
        are those of the activations; from scores, they are the same at every call for films of one size. Other results
        raise a PluginError.
    """
    sizes: dict[int, tuple[int, ...]] = {}
    made, scored = explainer.from_parts, explainer.from_scores

    def from_parts(parts: CamParts) -> Floats:
        assert made is not None
        n, h, w, _ = parts.activations.shape
        findings = parts.gradients.shape[1]
        given = CamParts(
            logits=np.array(parts.logits),
            activations=read_only(parts.activations),
            gradients=read_only(parts.gradients),
            cam_layer=parts.cam_layer,
        )
        with origin.calling("from_parts"):
            maps = made(given)
        return checked_array(origin, "from_parts", maps, (n, findings, h, w), any_float=True)

    def from_scores(predict: Predict, films: Floats, findings: Sequence[int]) -> Floats:
        assert scored is not None
        with origin.calling("from_scores"):
            maps = scored(predict, read_only(films), tuple(findings))
        h, w = sizes.get(films.shape[1], ("h", "w"))
        found = checked_array(origin, "from_scores", maps, (len(films), len(findings), h, w), any_float=True)
        sizes[films.shape[1]] = found.shape[2:]
        return found

    return Explainer(
        name=explainer.name,
        summary=explainer.summary,
        from_parts=made and from_parts,
        from_scores=scored and from_scores,
    )


def checked_loss(loss: Loss, origin: Origin) -> Loss:
    """Wrap a loss so that its values are scalars, in every array namespace.

    Parameters
    ----------
    loss
        As ``cxrscore_losses`` returns it.
    origin
        Origin of the loss.

    Returns
    -------
    Loss
        Called with NumPy, it receives copies and returns a real number. Called with the tensors of a framework, it
        returns a floating scalar of that framework that depends on the logits. Other results raise a PluginError.
    """

    @functools.wraps(loss.function)
    def function(xp: Any, logits: Any, labels: Any, weights: Any) -> Any:
        with origin.calling("function"):
            if xp is np:
                return _checked_number(origin, loss.function(xp, *map(_copied, (logits, labels, weights))))
            value = loss.function(xp, logits, labels, weights)
            if fault := _tensor_fault(value, logits):
                raise origin.fault("function", fault, "a floating scalar of the framework, computed from the logits")
            return value

    own: LossFunction = function
    return Loss(name=loss.name, function=own, summary=getattr(loss, "summary", ""))


def _copied(value: Any) -> Any:
    return np.array(value) if isinstance(value, np.ndarray) else value


def _checked_number(origin: Origin, value: Any) -> Any:
    """The value, if it is a real scalar of Python or NumPy."""
    kind = class_of(value)
    if issubclass(kind, np.ndarray | np.generic):
        fits = np.asarray(value).shape == () and np.asarray(value).dtype.kind in "fiu"
    else:
        fits = issubclass(kind, int | float)
    if not fits:
        raise origin.fault("function", describe(value), "a scalar, a real number")
    try:
        float(value)
    except OverflowError:
        raise origin.fault("function", "an integer above all floats", "a scalar, a real number") from None
    return value


def _tensor_fault(value: Any, logits: Any) -> str:
    """What is wrong with the value of a loss of tensors; "" if it is valid."""
    if not (hasattr(value, "shape") and hasattr(value, "dtype")):
        return f"{describe(value)}, not a tensor"
    if issubclass(class_of(value), np.ndarray | np.generic) and not isinstance(logits, np.ndarray | np.generic):
        return f"{describe(value)} of NumPy, not a tensor"
    if len(value.shape):
        return f"an array of shape {list(value.shape)}"
    if "float" not in str(value.dtype):
        return f"a scalar of {value.dtype}"
    if getattr(logits, "requires_grad", False) and not getattr(value, "requires_grad", False):
        return "a tensor that does not depend on the logits, such as one that is detached"
    return ""
