"""The area under an ROC curve with its interval: DeLong, DeLong and Clarke-Pearson, Biometrics 44, 1988.

By midranks, in the time of a sort: Sun and Xu, Fast Implementation of DeLong's Algorithm, IEEE Signal Processing
Letters 21, 2014.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cxrscore.contract import Array
from cxrscore.metrics.confidence_intervals import (
    Estimate,
    influence_terms,
    missing_class_reason,
    too_few_reason,
    undefined_estimate,
)
from cxrscore.metrics.grouping import class_mask, group_codes, sum_by_group

Doubles = NDArray[np.float64]


def delong(truth: Array, score: Array, groups: Array | None = None) -> Estimate:
    """The AUC of truth [n] (0, 1, soft between them, NaN unknown) and score [n] (any scale, NaN left out), ties 1/2.

    groups  int [n], the same number for films of one patient, for an interval over patients; None: over films

    The influence of a positive film is the fraction of negatives below it minus the AUC; that of a negative film is the
    fraction of positives above it minus the AUC. There is no interval if a class has one patient only, if the
    classes do not overlap, or if all scores are equal: then the formula gives a variance of 0 for any number of films.
    """
    place = group_codes(groups, len(truth))
    valid = class_mask(truth, score)
    positive, negative = valid & (truth > 0.5), valid & (truth < 0.5)
    n_pos, n_neg = int(positive.sum()), int(negative.sum())
    if not n_pos or not n_neg:
        return undefined_estimate(place, missing_class_reason(positive, negative))
    values = score.astype(np.float64)
    among_all = np.zeros(len(values))
    among_all[valid] = midranks(values[valid])
    share = np.zeros(len(values))
    share[positive] = (among_all[positive] - midranks(values[positive])) / n_neg
    share[negative] = 1 - (among_all[negative] - midranks(values[negative])) / n_pos
    area = float(share[positive].mean())
    why = too_few_reason(positive, negative, place)
    if not why and np.ptp(share[positive]) == 0 and np.ptp(share[negative]) == 0:
        apart = "no positive and negative film overlap" if area in (0.0, 1.0) else "all scores are equal"
        why = f"{apart}, which leaves the formula no variance"
    moved = influence_terms(positive, share, area, place) + influence_terms(negative, share, area, place)
    return Estimate(value=area, influence=sum_by_group(moved, place), why=why)


def cross_validated_auc(truth: Array, score: Array, folds: Array, groups: Array | None = None) -> Estimate:
    """The mean AUC of the folds: films are ranked within their fold only, because each fold is scored by another model.

    LeDell, Petersen and van der Laan, Computationally efficient confidence intervals for cross-validated AUC
    estimates, Electronic Journal of Statistics 9, 2015: the influence of a film is that of delong within its fold,
    relative to the class sizes of all folds.

    Parameters
    ----------
    truth, score, groups
        As for delong.
    folds
        [n], the fold of each film. A fold without both classes counts in neither value nor interval.
    """
    place = group_codes(groups, len(truth))
    valid = class_mask(truth, score)
    values, share, areas = score.astype(np.float64), np.zeros(len(truth)), []
    used = np.zeros(len(truth), np.bool_)
    for fold in np.unique(folds):
        own = valid & (folds == fold)
        positive, negative = own & (truth > 0.5), own & (truth < 0.5)
        if not positive.any() or not negative.any():
            continue
        both = positive | negative
        among_all = np.zeros(len(values))
        among_all[both] = midranks(values[both])
        above = (among_all[positive] - midranks(values[positive])) / int(negative.sum())
        areas.append(float(above.mean()))
        share[positive] = above - areas[-1]
        share[negative] = 1 - (among_all[negative] - midranks(values[negative])) / int(positive.sum()) - areas[-1]
        used |= both
    positive, negative = used & (truth > 0.5), used & (truth < 0.5)
    if not areas:
        return undefined_estimate(place, missing_class_reason(valid & (truth > 0.5), valid & (truth < 0.5)))
    why = too_few_reason(positive, negative, place)
    if not why and not share.any():
        why = "no positive and negative film of a fold overlap, which leaves the formula no variance"
    moved = influence_terms(positive, share, 0.0, place) + influence_terms(negative, share, 0.0, place)
    return Estimate(value=float(np.mean(areas)), influence=sum_by_group(moved, place), why=why)


def micro_auc(truth: Array, prob: Array, groups: Array | None = None) -> Estimate:
    """Micro AUC: AUC of all labels [N,C] pooled; its interval is over the N films, or over their groups [N].

    It rewards a model that only knows the prevalences: a constant score for each finding gives more than 0.5.
    """
    place = group_codes(groups, len(truth))
    return delong(truth.ravel(), prob.ravel(), np.repeat(place, truth.shape[1]))


def midranks(values: Doubles) -> Doubles:
    """float64 [n]: the rank of each value from 1; tied values get their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Doubles = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return ranks
