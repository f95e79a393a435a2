"""Heat maps, written once for every backend: NumPy on CamParts, or on what a model predicts.

Maps are float32 [N,F,h,w], unscaled, and signed unless the method says otherwise: positive where the film supports the
finding, negative where it contradicts it. All use the gradient of the logit, never of the probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array, CamParts, Explainer, Floats, Model, Predict, SupportsHeatmaps
from cxrscore.errors import InputError
from cxrscore.types import finite_rows

CELLS = 10
"""Side of an occlusion map."""


def _weighted_sum(parts: CamParts, weights: Floats) -> Floats:
    """sum_k w_k A_k with weights [N or 1,F,K]; for weights that all films share, one matrix product for the batch."""
    n, h, w, k = parts.activations.shape
    if len(weights) == 1:
        maps = (parts.activations.reshape(n * h * w, k) @ weights[0].T).reshape(n, h, w, weights.shape[1])
        return np.ascontiguousarray(maps.transpose(0, 3, 1, 2), np.float32)
    places = parts.activations.reshape(n, h * w, k).transpose(0, 2, 1)
    each: Floats = np.matmul(weights, places).reshape(n, weights.shape[1], h, w).astype(np.float32, copy=False)
    return each


def cam(parts: CamParts) -> Floats:
    """sum_k w_k A_k with the weights of the dense layer: their mean over the map is the logit without its bias.

    Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016, equation 2. InputError if
    the head is not a mean and a dense layer, or the CAM layer is not the pooled tensor: there is no such weight.
    """
    if parts.gradients.shape[2:4] != (1, 1):
        raise InputError(
            f"CAM is defined only for the pooled tensor of a gap head, not for {parts.cam_layer!r}; use grad-cam"
        )
    places = parts.activations.shape[1] * parts.activations.shape[2]
    return _weighted_sum(parts, parts.gradients[:, :, 0, 0] * places)


def grad_cam(parts: CamParts) -> Floats:
    """sum_k alpha_k A_k, alpha_k the mean over the map of d logit / d A_k.

    Selvaraju et al., Grad-CAM, ICCV 2017, equations 1 and 2 before the ReLU.
    """
    return _weighted_sum(parts, parts.gradients.mean(axis=(2, 3)))


def grad_cam_relu(parts: CamParts) -> Floats:
    """Grad-CAM with the negative part cut off, never below 0: equation 2 as printed."""
    return np.maximum(grad_cam(parts), 0)


def hires_cam(parts: CamParts) -> Floats:
    """sum_k g_k A_k, with the gradient of each position. Draelos and Carin, HiResCAM, 2020.

    For a "gap" head the gradient is the same everywhere and the map equals Grad-CAM's.
    """
    n, h, w, k = parts.activations.shape
    gradients = np.broadcast_to(parts.gradients, (n, parts.gradients.shape[1], h, w, k))
    maps: Floats = np.einsum("nhwk,nfhwk->nfhw", parts.activations, gradients, optimize=True).astype(np.float32)
    return maps


def grad_cam_pp(parts: CamParts) -> Floats:
    """sum_k w_k A_k, w_k = sum over positions of a ReLU(g), a = g^2 / (2 g^2 + g^3 sum A_k); 0 if g is 0.

    Chattopadhay et al., Grad-CAM++, WACV 2018, equations 10 and 19 for exp(logit), whose factor exp(logit) is omitted:
    it is the same at every position. Never below 0 if the activations are not.
    """
    g = parts.gradients.astype(np.float64)
    total = parts.activations.sum(axis=(1, 2), dtype=np.float64)[:, None, None, None, :]
    below = 2 * g**2 + g**3 * total
    share = np.divide(g**2, below, out=np.zeros(np.broadcast_shapes(below.shape, g.shape)), where=below != 0)
    terms = share * np.maximum(g, 0)
    places = parts.activations.shape[1] * parts.activations.shape[2] // (terms.shape[2] * terms.shape[3])
    return _weighted_sum(parts, terms.sum(axis=(2, 3)) * places)


def occlusion(predict: Predict, films: Floats, findings: Sequence[int]) -> Floats:
    """Decrease of the logit when a square of the film is covered with the film's mean grey, [N,F,10,10].

    Squares have a fifth of the side and overlap by half; a cell holds the mean over the squares that
    cover it. Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014, section 4.2. It
    needs no gradient and 82 forward passes.
    """
    edges = np.linspace(0, films.shape[1], CELLS + 1).round().astype(int)
    unoccluded = predict(films)[:, list(findings)]
    fall, covers = np.zeros((*unoccluded.shape, CELLS, CELLS)), np.zeros((CELLS, CELLS))
    mean = films.mean(axis=(1, 2), keepdims=True)
    for row in range(CELLS - 1):
        for column in range(CELLS - 1):
            covered = films.copy()
            covered[:, edges[row] : edges[row + 2], edges[column] : edges[column + 2]] = mean
            lost = unoccluded - predict(covered)[:, list(findings)]
            fall[:, :, row : row + 2, column : column + 2] += lost[:, :, None, None]
            covers[row : row + 2, column : column + 2] += 1
    return (fall / covers).astype(np.float32)


def enlarge(values: Floats, side: int) -> Floats:
    """Linear interpolation of [h,w] to [side,side]; cells are areas, so the outer half cells are constant."""
    centres = (np.arange(side) + 0.5) / side
    return interpolate(values, centres, centres)


def interpolate(values: Floats, rows: Array, columns: Array) -> Floats:
    """Linear interpolation of a map [h,w] to float32 [R,C], at rows [R] and columns [C] given as fractions of its
    height and width; as in enlarge()."""
    down, across = (_linear(length, places) for length, places in zip(values.shape, (rows, columns), strict=True))
    return np.asarray(down @ values @ across.T, dtype=np.float32)


def _linear(length: int, fractions: Array) -> Floats:
    """The matrix float32 [n,length] of linear interpolation between cell centres."""
    place = np.clip(fractions * length - 0.5, 0, length - 1)
    distance = np.abs(place[:, None] - np.arange(length))
    return np.asarray(np.maximum(1 - distance, 0), dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class Faithfulness:
    """Faithfulness of a map to the model, without labels. Areas under the curve of the probability, 0..1.

    deletion   the positions of the map are covered, strongest first: small if the map shows what the model used
    insertion  they are uncovered on a blurred film: then large
    """

    deletion: float
    insertion: float


def faithfulness(predict: Predict, film: Floats, values: Floats, finding: int, steps: int = 20) -> Faithfulness:
    """Compute it for a map [h,w] of a finding on a film [S,S], in 2 (steps + 1) forward passes.

    A position is covered with the film's mean grey, and uncovered on the film blurred over an eighth of its side.
    Petsiuk, Das and Saenko, RISE, BMVC 2018, section 4.3.
    """
    side = len(film)
    order = np.argsort(-enlarge(values, side), axis=None, kind="stable")
    ranks = np.empty(side * side)
    ranks[order] = np.arange(side * side) / (side * side)
    rank = ranks.reshape(side, side)
    shares = np.linspace(0, 1, steps + 1)
    covers = ((film, np.full_like(film, film.mean())), (_blurred(film), film))
    areas = []
    for under, over in covers:
        films = np.stack([np.where(rank < share, over, under) for share in shares]).astype(np.float32)
        prob = 1 / (1 + np.exp(-predict(films)[:, finding].astype(np.float64)))
        areas.append(float(np.mean((prob[1:] + prob[:-1]) / 2)))
    return Faithfulness(deletion=areas[0], insertion=areas[1])


def _blurred(film: Floats) -> Floats:
    """The film [S,S] with each pixel replaced by the mean of a square of about an eighth of the side around it."""
    half = max(len(film) // 16, 1)
    width = 2 * half + 1
    padded = np.pad(film.astype(np.float64), half, mode="edge")
    for _ in range(2):
        sums = np.concatenate([np.zeros((1, padded.shape[1])), np.cumsum(padded, axis=0)])
        padded = ((sums[width:] - sums[:-width]) / width).T
    return padded.astype(np.float32)


def explain(
    explainer: Explainer, model: Model, films: Floats, findings: Sequence[int], cam_layer: str | None = None
) -> tuple[Floats, Floats, str]:
    """Logits [N,C], heat maps [N,F,h,w] and the name of their CAM layer, "input" if there is none.

    The maps of a film whose logits are not finite are invalid. The explainer gets zeros instead of its values, so that
    the maps of the other films do not depend on it. If a changed film of the explainer has logits that are not finite,
    the logits of the film become NaN.

    InputError if the model cannot give what the explainer needs.
    """
    if explainer.from_scores is not None:
        if cam_layer is not None:
            raise InputError(f"{explainer.name} works on the film itself; remove the layer")
        logits = model.predict(films)
        predict = _Predict(model, finite_rows(logits))
        maps = explainer.from_scores(predict, films, findings)
        return np.where(predict.finite[:, None], logits, np.float32(np.nan)), maps, "input"
    if not isinstance(model, SupportsHeatmaps) or explainer.from_parts is None:
        raise InputError(f"{explainer.name} needs activations, which {model.framework} does not provide; use occlusion")
    parts = model.cam_parts(films, findings, cam_layer=cam_layer)
    return parts.logits, explainer.from_parts(_finite_parts(parts)), parts.cam_layer


class _Predict:
    """A model's predict that returns only finite logits. ``finite`` bool [N] is False for films with other logits, and
    for all films if this happens in a batch of another length."""

    def __init__(self, model: Model, finite: NDArray[np.bool_]) -> None:
        self._model, self.finite = model, finite.copy()

    def __call__(self, films: Floats) -> Floats:
        logits = self._model.predict(films)
        finite = finite_rows(logits)
        if finite.all():
            return logits
        self.finite &= finite if len(finite) == len(self.finite) else False
        return np.where(finite[:, None], logits, np.float32(0))


def _finite_parts(parts: CamParts) -> CamParts:
    """The parts with zeros for films whose logits are not finite."""
    odd = ~finite_rows(parts.logits)
    if not odd.any():
        return parts

    def zeroed(values: Floats) -> Floats:
        if len(values) != len(odd):  # once for all films
            return values
        return np.where(odd.reshape(-1, *[1] * (values.ndim - 1)), np.float32(0), values)

    return CamParts(
        logits=zeroed(parts.logits),
        activations=zeroed(parts.activations),
        gradients=zeroed(parts.gradients),
        cam_layer=parts.cam_layer,
    )


explainers = (
    Explainer(name="grad-cam", summary="Grad-CAM, signed", from_parts=grad_cam),
    Explainer(name="grad-cam-relu", summary="Grad-CAM without its negative part", from_parts=grad_cam_relu),
    Explainer(name="cam", summary="CAM: the dense layer's weights; for gap heads", from_parts=cam),
    Explainer(name="hires-cam", summary="HiResCAM: gradients are not averaged over the map", from_parts=hires_cam),
    Explainer(
        name="grad-cam++", summary="Grad-CAM++: positive gradients, larger ones count more", from_parts=grad_cam_pp
    ),
    Explainer(
        name="occlusion", summary="decrease of the logit when a region is covered; 82 passes", from_scores=occlusion
    ),
)
