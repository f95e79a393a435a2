"""Losses and explainers: functions of arrays."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from cxrscore.contract import CamParts, Explainer, Floats, Loss, LossFunction, Predict
from cxrscore.plugin_values.origin import Origin, checked_array, describe


def checked_explainer(explainer: Explainer, origin: Origin) -> Explainer:
    """The explainer, whose maps are finite floats [N,F,h,w].

    Parameters
    ----------
    explainer
        As ``cxrscore_explainers`` returns it.
    origin
        Of it.

    Returns
    -------
    Explainer
        From parts, h and w are those of the activations; from scores, they are the same at every call for films of one
        size. Anything else is a PluginError.
    """
    sizes: dict[int, tuple[int, ...]] = {}
    made, scored = explainer.from_parts, explainer.from_scores

    def from_parts(parts: CamParts) -> Floats:
        assert made is not None
        with origin.calling("from_parts"):
            maps = made(parts)
        n, h, w, _ = parts.activations.shape
        return checked_array(origin, "from_parts", maps, (n, parts.gradients.shape[1], h, w), any_float=True)

    def from_scores(predict: Predict, films: Floats, findings: Sequence[int]) -> Floats:
        assert scored is not None
        with origin.calling("from_scores"):
            maps = scored(predict, films, findings)
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
    """The loss, whose values are scalars, in whatever array namespace it is called.

    Parameters
    ----------
    loss
        As ``cxrscore_losses`` returns it.
    origin
        Of it.
    """
    call = "function"

    @functools.wraps(loss.function)
    def function(xp: Any, logits: Any, labels: Any, weights: Any) -> Any:
        with origin.calling(call):
            value = loss.function(xp, logits, labels, weights)
        if len(getattr(value, "shape", ("none",) if not isinstance(value, int | float) else ())):
            found = f"an array of shape {list(value.shape)}" if hasattr(value, "shape") else describe(value)
            raise origin.fault(call, found, "a scalar")
        return value

    own: LossFunction = function
    return Loss(name=loss.name, function=own, summary=getattr(loss, "summary", ""))
