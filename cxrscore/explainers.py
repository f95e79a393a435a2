"""Heat maps, written once for every backend: NumPy on CamParts.

All maps are float32 [N,F,h,w], signed and unscaled: positive where the film speaks for the finding, negative
where it speaks against. Cutting off the negative part and scaling is left to whoever draws.
"""

from __future__ import annotations

import numpy as np

from cxrscore.contract import CamParts, Explainer, Floats


def grad_cam(parts: CamParts) -> Floats:
    """sum_k alpha_k A_k, alpha_k the mean over the map of d logit / d A_k.

    Selvaraju et al., Grad-CAM, ICCV 2017, equations 1 and 2 before the ReLU.
    """
    alpha = parts.gradients.mean(axis=(2, 3))
    alpha = np.broadcast_to(alpha, (len(parts.activations), *alpha.shape[1:]))
    maps: Floats = np.einsum("nhwk,nfk->nfhw", parts.activations, alpha, optimize=True).astype(np.float32)
    return maps


def hires_cam(parts: CamParts) -> Floats:
    """sum_k g_k A_k, the gradient taken place by place. Draelos and Carin, HiResCAM, 2020.

    For a "gap" head the gradient is the same everywhere and the map equals Grad-CAM's.
    """
    n, h, w, k = parts.activations.shape
    gradients = np.broadcast_to(parts.gradients, (n, parts.gradients.shape[1], h, w, k))
    maps: Floats = np.einsum("nhwk,nfhwk->nfhw", parts.activations, gradients, optimize=True).astype(np.float32)
    return maps


explainers = (
    Explainer(name="grad-cam", summary="Grad-CAM, signed", function=grad_cam),
    Explainer(name="hires-cam", summary="HiResCAM: gradients not averaged over the map", function=hires_cam),
)
