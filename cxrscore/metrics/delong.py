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
    no_variance_reason,
    small_sample_correction,
    too_few_reason,
    undefined_estimate,
)
from cxrscore.metrics.grouping import Places, class_mask, count_groups, group_codes, sum_by_group
from cxrscore.metrics.roc import number_below

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
    if not positive.any() or not negative.any():
        return undefined_estimate(place, missing_class_reason(positive, negative))
    share = _beaten_shares(score, positive, negative)
    area = float(share[positive].mean())
    why = too_few_reason(positive, negative, place)
    if not why and np.ptp(share[positive]) == 0 and np.ptp(share[negative]) == 0:
        apart = "no positive and negative film overlap" if area in (0.0, 1.0) else "all scores are equal"
        why = f"{apart}, which leaves the formula no variance"
    moved = influence_terms(positive, share, area, place)
    moved += influence_terms(negative, share, area, place)
    influence = sum_by_group(moved, place)  # the terms of a patient's films may cancel
    return Estimate(value=area, influence=influence, why=why or no_variance_reason(influence))


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

    Notes
    -----
    The small-sample correction is that of each fold, which has few positive films of a rare finding. Where a class has
    one patient only in a fold, its terms relative to the AUC of the fold would add up to 0, as if it had no variance;
    they are taken relative to the mean over the folds.
    """
    place = group_codes(groups, len(truth))
    valid = class_mask(truth, score)
    share = np.zeros(len(truth))
    used: list[tuple[NDArray[np.bool_], NDArray[np.bool_]]] = []
    for fold in np.unique(folds):
        own = valid & (folds == fold)
        positive, negative = own & (truth > 0.5), own & (truth < 0.5)
        if not positive.any() or not negative.any():
            continue
        share += _beaten_shares(score, positive, negative)  # 0 for films of other folds
        used.append((positive, negative))
    if not used:
        return undefined_estimate(place, missing_class_reason(valid & (truth > 0.5), valid & (truth < 0.5)))
    influence = sum_by_group(_influence_over_folds(used, share, place), place)
    why = too_few_reason(np.any([one for one, _ in used], axis=0), np.any([one for _, one in used], axis=0), place)
    value = float(np.mean([share[positive].mean() for positive, _ in used]))
    return Estimate(value=value, influence=influence, why=why or no_variance_reason(influence))


def _influence_over_folds(
    used: list[tuple[NDArray[np.bool_], NDArray[np.bool_]]], share: Doubles, place: Places
) -> Doubles:
    """float64 [N]: influence of each film on the mean AUC of folds, by the positive and the negative films of each; see
    cross_validated_auc."""
    areas = [float(share[positive].mean()) for positive, _ in used]
    sizes = [sum(int(fold[kind].sum()) for fold in used) for kind in (0, 1)]
    moved = np.zeros(len(share))
    for fold, area in zip(used, areas, strict=True):
        alone = [count_groups(place, chosen) < 2 for chosen in fold]
        pooled = (alone[0], alone[1] and not alone[0])  # of a fold of one patient, its AUC counts once
        for chosen, whole, of_mean in zip(fold, sizes, pooled, strict=True):
            centre = float(np.mean(areas)) if of_mean else area
            terms = influence_terms(chosen, share, centre, place) * int(chosen.sum()) / whole
            moved += terms * (small_sample_correction(len(used)) if of_mean else 1.0)
    return moved


def micro_auc(truth: Array, prob: Array, groups: Array | None = None) -> Estimate:
    """Micro AUC: AUC of all labels [N,C] pooled; its interval is over the N films, or over their groups [N].

    It rewards a model that only knows the prevalences: a constant score for each finding gives more than 0.5.
    """
    place = group_codes(groups, len(truth))
    return delong(truth.ravel(), prob.ravel(), np.repeat(place, truth.shape[1]))


def _beaten_shares(values: Array, positive: NDArray[np.bool_], negative: NDArray[np.bool_]) -> Doubles:
    """float64 [n]: for a positive film the share of negatives below it, for a negative film the share of positives
    above it, ties 1/2; 0 for other films."""
    share = np.zeros(len(values))
    share[positive] = number_below(values[positive], values[negative]) / int(negative.sum())
    share[negative] = 1 - number_below(values[negative], values[positive]) / int(positive.sum())
    return share
