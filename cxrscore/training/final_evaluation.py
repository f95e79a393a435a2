"""What a finished model gives films, by what its frozen layers already made of them in training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cxrscore.contract import Floats, Model
from cxrscore.errors import CheckError
from cxrscore.synthetic.reference_logits import FILMS
from cxrscore.training.data import Data
from cxrscore.training.features import FeatureSource, feature_cache_folder

TOLERANCE = 1e-4
"""How far a logit may be from that of the whole model, times the largest of them where that is more than 1."""


def final_logits(model: Model, outputs: FeatureSource, data: Data, rows: Sequence[int]) -> Floats:
    """Logits float32 [n,C] of these films as they are.

    model    as others will load it, in float32
    outputs  those of this very model, which know by the digest of its frozen layers whether what is kept is theirs

    CheckError where the whole model, run on the first few of the films, gives other logits.
    """
    if not rows:
        return np.empty((0, len(model.spec.findings)), np.float32)
    logits = outputs.logits(np.array(rows, np.intp))
    if outputs.frozen:
        _check_against_full_model(model, data, rows[:FILMS], logits[:FILMS])
    return logits


def _check_against_full_model(model: Model, data: Data, rows: Sequence[int], found: Floats) -> None:
    # As many films as the golden probe has, so that the network is compiled once for both.
    wanted = model.predict(data.store.batch([*rows, *[rows[0]] * (FILMS - len(rows))]))[: len(rows)]
    apart, allowed = float(np.abs(found - wanted).max()), TOLERANCE * max(1.0, float(np.abs(wanted).max()))
    if not apart <= allowed:
        raise CheckError(
            f"the trained part of the model gives logits that differ by {apart:.2g} from those of the whole model, "
            f"where {allowed:.2g} is allowed: what is kept of the frozen layers in {feature_cache_folder()} is not "
            f"what they "
            "make of the films. Remove that folder and train again."
        )
