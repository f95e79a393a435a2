"""Style of all figures: Matplotlib's built-in defaults, and the colours of heat maps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

HEAT_COLOURS = "inferno"
"""Matplotlib's name of the colours of heat maps: perceptually uniform, also for colour-blind readers."""
STRONGEST_HEAT = 0.75
"""Opacity at the top of the scale: the film must remain visible."""


@contextmanager
def default_style() -> Iterator[None]:
    """Draw with Matplotlib's built-in defaults within the block.

    Matplotlib reads a file ``matplotlibrc`` in the current folder, which may come from anywhere, and a notebook may
    have set a style. Figures depend on neither.
    """
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield


def blend_heat(film: NDArray[np.uint8], strength: NDArray[Any]) -> NDArray[np.uint8]:
    """A film [H,W] with a heat map over it, as uint8 [H,W,3].

    strength  float [H,W], 0..1: colour and opacity rise with it, from transparent at 0
    """
    colour, opacity = heat_layer(strength)
    mixed = (1 - opacity) * (film[..., None] / 255) + opacity * colour
    return np.asarray(np.rint(255 * mixed), dtype=np.uint8)


def heat_layer(strength: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """What blend_heat lays over a film: colours [H,W,3] and opacities [H,W,1], each 0..1."""
    import matplotlib

    return matplotlib.colormaps[HEAT_COLOURS](0.25 + 0.75 * strength)[..., :3], STRONGEST_HEAT * strength[..., None]
