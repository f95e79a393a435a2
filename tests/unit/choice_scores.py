"""Scores of eight films for the tests of heat maps, in which the film of each rule is known."""

from __future__ import annotations

from typing import Any

import numpy as np
from few_scores import NAN, few_scores

from cxrscore.scorefile import HeatMaps, Scores, Thumbnails

MASS = (0.9, 0.8, 0.85, 0.1, 0.4, 0.2, 0.6, 0.3)
TRUTH = (1, 1, 0, 1, 1, 0, 0, NAN)
"""Threshold 0.5: films 0 and 1 are true positives, 2 and 6 false positives, 3 and 4 false negatives."""


def ruled(
    maps: Any = None,
    mapped: Any = range(8),
    pictured: Any = range(8),
    prob: Any = MASS,
    truth: Any = TRUTH,
    **changed: Any,
) -> Scores:
    """Films 0 to 7 with probabilities and labels of Mass; Edema has neither labels nor maps, and one probability.

    maps      [M,h,w], of Mass on the films ``mapped``; pictured: films with a thumbnail
    """
    films, shown = np.array(mapped, np.int32), np.array(pictured, np.int32)
    values = np.ones((len(films), 2, 2)) if maps is None else np.asarray(maps)
    given: dict[str, Any] = {
        "truth": np.stack([np.array(truth, np.float32), np.full(8, NAN, np.float32)], axis=1),
        "thresholds": np.array([0.5, NAN], np.float32),
        "split": np.zeros(8, np.uint8),
        "heat_maps": HeatMaps(map=values.astype(np.float16), film=films, finding=np.zeros(len(films), np.int16)),
        "thumbnails": Thumbnails(film=shown, pixels=np.full((len(shown), 16, 16), 100, np.uint8)),
        "provenance": {},
    }
    both = np.stack([np.array(prob, np.float32), np.where(np.isnan(prob), NAN, 0.5)], axis=1)
    return few_scores(paths=[f"{row}.png" for row in range(8)], prob=both, **{**given, **changed})
