"""How the models of a run used each film."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cxrscore.models.model_file import ModelFile
from cxrscore.scorefile import SPLITS


class FilmSplits:
    """Looks films up in the lists of the models: training by one model takes precedence over validation by another."""

    def __init__(self, files: Sequence[ModelFile]) -> None:
        self._seen: dict[str, str] = {}
        for file in files:
            self._seen |= {digest: split for digest, split in file.seen.items() if self._seen.get(digest) != "train"}

    def of(self, hashes: Sequence[str]) -> NDArray[np.uint8]:
        """Codes of SPLITS, uint8 [N], of films by their SHA-256."""
        return np.array([SPLITS.index(self._seen.get(digest[:16], "")) for digest in hashes], np.uint8)
