"""Which films are kept small in a scores file, for people to look at."""

from __future__ import annotations

import numpy as np

from cxrscore.contract import Floats


def shown_films(prob: Floats, truth: Floats, most: int) -> list[int]:
    """Rows worth a look, at most ``most``, ascending: of each finding the most probable film, the least probable
    that is labelled positive and the most probable that is labelled negative; then films at even distances."""
    scored = np.flatnonzero(~np.isnan(prob).any(axis=1))
    if not len(scored):
        return []
    p, t = prob[scored], truth[scored]
    picks = [
        p.argmax(axis=0),
        np.where(t == 1, p, np.inf).argmin(axis=0),
        np.where(t == 0, p, -np.inf).argmax(axis=0),
        np.linspace(0, len(scored) - 1, min(most, len(scored))).astype(int),
    ]
    chosen = dict.fromkeys(scored[np.concatenate(picks)].tolist())
    return sorted(list(chosen)[:most])
