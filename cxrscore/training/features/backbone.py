"""The frozen backbone of a model, run by a faster backend than the one that trains."""

from __future__ import annotations

import numpy as np

from cxrscore import plugins
from cxrscore.contract import FeatureExtractor, Floats, Model, SupportsFeatureTraining
from cxrscore.errors import InputError
from cxrscore.plugin_values import why_not
from cxrscore.training.options import TrainOptions

MAX_DIFFERENCE = 1e-4
"""Allowed difference of a feature to that of the training backend, relative to the largest feature."""


class ExternalBackbone:
    """The base of a model, run by `options.feature_backend`` and held with the model on the first films.

    framework, device  of the backend that runs it
    """

    def __init__(self, model: Model, options: TrainOptions) -> None:
        """InputError or BackendUnavailableError if the backend cannot run the backbone."""
        name = options.feature_backend or ""
        if not isinstance(model, SupportsFeatureTraining):
            raise InputError(f"backend {options.backend!r} cannot train on embeddings, so --feature-backend has no use")
        backend = plugins.get_backend(name)
        if reason := why_not(backend, model.spec.architecture, model.spec.network):
            raise InputError(f"{reason}. Leave --feature-backend out.")
        other = backend.build(model.spec, model.tensors(), device=model.device)
        if not isinstance(other, FeatureExtractor):
            raise InputError(f"backend {name!r} cannot run the frozen base apart; leave --feature-backend out")
        self.framework, self.device = other.framework, other.device
        self._own, self._other, self._agrees = model, other, False

    def embed(self, films: Floats) -> Floats:
        """See contract.FeatureExtractor. InputError if the features of the first films differ."""
        found = self._other.embed(films)
        if not self._agrees:
            self._check(found, self._own.embed(films))
            self._agrees = True
        return found

    def _check(self, found: Floats, wanted: Floats) -> None:
        apart = float(np.abs(found - wanted).max() / max(float(np.abs(wanted).max()), 1e-30))
        if not apart <= MAX_DIFFERENCE:
            raise InputError(
                f"embeddings by {self.framework} differ from those of the backend that trains by {apart:.2g} of the "
                f"largest, more than {MAX_DIFFERENCE:g}: leave --feature-backend out"
            )
