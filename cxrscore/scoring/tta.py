"""Test-time augmentation: scores are averaged over a film and small random augmentations of it."""

from __future__ import annotations

from cxrscore.contract import Floats
from cxrscore.images import Augmentation, augment
from cxrscore.io import sha256_bytes

LIMITS = Augmentation(rotation=5.0, shift=0.03, shear=0.0, zoom=0.05, flip=False)
"""How far a copy may differ from the film: about as far as the next film of the same patient. Never a flip: the heart
would lie on the other side."""


def augmented_copy(film: Floats, digest: str, seed: int, number: int) -> Floats:
    """The augmented copy of that number, from 1, of a film float32 [S,S]; number 0 is the film itself.

    digest  of the film's bytes. With the seed it decides the copy, so that a score depends neither on the other films
            nor on their order, and models of every size see the same turn, shift and zoom.
    """
    if number == 0:
        return film
    drawn = sha256_bytes(f"{seed} {digest} {number}".encode())
    return augment(film, LIMITS, seed=int(drawn[:16], 16))
