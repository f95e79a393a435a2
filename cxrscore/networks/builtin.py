"""The networks that cxrscore brings."""

from __future__ import annotations

import functools
from collections.abc import Callable

from cxrscore.networks.densenet import densenet
from cxrscore.networks.graph import Network
from cxrscore.networks.resnet import resnet
from cxrscore.networks.tinycnn import tinycnn
from cxrscore.networks.vit import vit_b14

BUILT_IN: dict[str, Callable[[], Network]] = {
    "densenet121": lambda: densenet("densenet121"),
    "densenet169": lambda: densenet("densenet169"),
    "densenet201": lambda: densenet("densenet201"),
    "resnet50": lambda: resnet("resnet50"),
    "resnet50v1.5": lambda: resnet("resnet50v1.5"),
    "vit_b14": vit_b14,
    "tinycnn": tinycnn,
}


@functools.cache
def built_in(name: str) -> Network | None:
    """The network of that name; None if cxrscore does not bring it."""
    make = BUILT_IN.get(name)
    return None if make is None else make()


def networks() -> list[Network]:
    """All of them."""
    return [network for name in BUILT_IN if (network := built_in(name))]
