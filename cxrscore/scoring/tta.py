"""Test-time augmentation: the scores of a film and of small random augmentations of it are averaged."""

from __future__ import annotations

from cxrscore.contract import Floats
from cxrscore.images import Augmentation, augment
from cxrscore.io import sha256_bytes

LIMITS = Augmentation(rotation=5.0, shift=0.03, shear=0.0, zoom=0.05, flip=False)
"""Limits of the augmentation: about the difference between two films of the same patient. No flip, because that would
move the heart to the other side."""


def augmented_copy(film: Floats, digest: str, seed: int, number: int) -> Floats:
    """Augmented copy ``number``, from 1, of a film float32 [S,S]; copy 0 is the film itself.

    digest  of the film's bytes. Digest and seed determine the copy, so a score does not depend on the other films or
    their order, and models of every input size use the same rotation, shift and zoom.
    """
    if number == 0:
        return film
    drawn = sha256_bytes(f"{seed} {digest} {number}".encode())
    return augment(film, LIMITS, seed=int(drawn[:16], 16))
