"""Figures over films that go together: those of one patient, and the labels of one film."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array
from cxrscore.errors import InputError
from cxrscore.metrics.delong import delong
from cxrscore.metrics.estimates import Estimate


def clustered(found: Estimate, groups: Array) -> Estimate:
    """The same figure, its interval over groups of films: groups int [N], one number for films of one patient.

    What the films of a group move is added up before it is squared (Obuchowski, Nonparametric Analysis of Clustered ROC
    Curve Data, Biometrics 53, 1997). With one film a group nothing changes.
    """
    if groups.shape != found.influence.shape:
        raise InputError(f"groups of {len(groups)} films do not fit a figure over {len(found.influence)}")
    _, place = np.unique(groups, return_inverse=True)
    moved: NDArray[np.float64] = np.bincount(place, weights=found.influence).astype(np.float64)
    return dataclasses.replace(found, influence=moved)


def micro_auc(truth: Array, prob: Array) -> Estimate:
    """The AUC of all labels [N,C] thrown together, as if findings were one; its interval over the N films.

    It rewards a model for knowing which findings are common: a constant score for each finding is above 0.5.
    """
    pooled = delong(truth.ravel(), prob.ravel())
    return clustered(pooled, np.repeat(np.arange(len(truth)), truth.shape[1]))
