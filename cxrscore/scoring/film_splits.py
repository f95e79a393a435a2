"""How the models of a run used each film."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cxrscore.models.model_file import ModelFile
from cxrscore.scorefile import SPLITS

_HEX = 16
"""Characters of the digests in the lists of a model."""


class FilmSplits:
    """Looks films up in the lists of the models: training by one model takes precedence over validation by another."""

    def __init__(self, files: Sequence[ModelFile]) -> None:
        seen: dict[str, str] = {}
        for file in files:
            seen |= {digest: split for digest, split in file.seen.items() if seen.get(digest) != "train"}
        known = sorted(seen)
        self._digests = np.array(known, f"S{_HEX}")
        self._codes = np.array([SPLITS.index(seen[digest]) for digest in known], np.uint8)

    def of(self, hashes: Sequence[str] | NDArray[np.bytes_]) -> NDArray[np.uint8]:
        """Codes of SPLITS, uint8 [N], of films by their SHA-256 in hex, as texts or as bytes [N]."""
        wanted = np.asarray(hashes, "S").astype(f"S{_HEX}")
        if not len(self._digests):
            return np.full(len(wanted), SPLITS.index(""), np.uint8)
        place = np.minimum(np.searchsorted(self._digests, wanted), len(self._digests) - 1)
        return np.where(self._digests[place] == wanted, self._codes[place], SPLITS.index("")).astype(np.uint8)
