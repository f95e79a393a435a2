"""One loss, explainer, metric and dataset reader for each case of the kit, right in all but what that case demands."""

import dataclasses
from collections import Counter

import numpy as np

from cxrscore.contract import Explainer, Loss, Metric
from cxrscore.explainers import grad_cam, occlusion
from cxrscore.labels.nih import nih
from cxrscore.losses import bce, softplus
from cxrscore.metrics import auc

BAD = {}
"""By number of the case."""


def loss(number):
    def file(function):
        BAD[number] = Loss(name="bad", function=function, summary="bad")
        return function

    return file


def known(xp, labels):
    unknown, zeros = xp.isnan(labels), xp.zeros_like(labels)
    return xp.where(unknown, zeros, labels), xp.where(unknown, zeros, zeros + 1.0)


def mean(xp, terms):
    return xp.sum(terms) / terms.shape[0]


BAD["L01"] = Loss(name="two words", function=bce, summary="bad")


@loss("L02")
def overflows(xp, logits, labels, weights):
    """At 80, where it is known."""
    there = known(xp, labels)[1]
    far = xp.where(xp.abs(logits) == 80.0, there * 1e308, xp.zeros_like(logits))
    return bce(xp, logits, labels, weights) + 10.0 * mean(xp, far)


@loss("L03")
def asks_the_array(xp, logits, labels, weights):
    y, there = known(xp, labels)
    return (there * (y * softplus(xp, -logits) + (1.0 - y) * softplus(xp, logits))).sum() / logits.shape[0]


@loss("L04")
def sums_over_films(xp, logits, labels, weights):
    return bce(xp, logits, labels, weights) * labels.shape[0]


@loss("L05")
def counts_the_unknown(xp, logits, labels, weights):
    return bce(xp, logits, labels, weights) + mean(xp, 0.1 * (1.0 - known(xp, labels)[1]))


@loss("L06")
def ripples_where_unknown(xp, logits, labels, weights):
    """Nothing at whole numbers, but a slope."""
    there = known(xp, labels)[1]
    some = xp.amax(there, axis=1, keepdims=True)
    return bce(xp, logits, labels, weights) + mean(xp, some * (1.0 - there) * xp.sin(np.pi * logits))


@loss("L07")
def rewards_mistakes(xp, logits, labels, weights):
    return -bce(xp, logits, labels, weights)


@loss("L08")
def works_in_place(xp, logits, labels, weights):
    found = bce(xp, logits, labels, weights)
    logits *= 1.0
    return found


@loss("L09")
def differentiates_nan(xp, logits, labels, weights):
    """NaN times 0 is NaN: the mask comes after what it should keep out, so autodiff goes through it."""
    terms = labels * softplus(xp, -logits) + (1.0 - labels) * softplus(xp, logits)
    return mean(xp, xp.where(xp.isnan(labels), xp.zeros_like(labels), terms))


# --- explainers


def from_parts(function):
    return Explainer(name="bad", summary="bad", from_parts=function)


def film_by_film(predict, films, findings):
    return np.concatenate([occlusion(predict, film[None], findings) for film in films])


def of_its_largest(parts):
    found = grad_cam(parts)
    return found / max(float(np.abs(found).max()), 1e-9)


def of_its_largest_activation(parts):
    """Each film by itself."""
    largest = parts.activations.max(axis=(1, 2, 3))[:, None, None, None]
    with np.errstate(invalid="ignore"):
        return grad_cam(parts) / largest


class Tires:
    """Gives NaN once it has seen the same activations 30 times."""

    def __init__(self):
        self.seen = Counter()

    def __call__(self, parts):
        key = parts.activations.tobytes()
        self.seen[key] += 1
        return grad_cam(parts) * np.float32(np.nan if self.seen[key] > 30 else 1)


def summed(parts):
    return grad_cam(dataclasses.replace(parts, gradients=parts.gradients.sum(axis=(2, 3), keepdims=True)))


def in_place(parts):
    gradients = parts.gradients
    gradients *= 1
    return grad_cam(parts)


BAD |= {
    "E01": Explainer(name="two words", summary="bad", from_parts=grad_cam),
    "E02": from_parts(lambda parts: grad_cam(parts).astype(np.float64)),
    "E03": from_parts(in_place),
    "E04": from_parts(lambda parts: grad_cam(parts) + np.float32(0.01)),
    "E05": from_parts(summed),
    "E06": from_parts(of_its_largest),
    "E07": Explainer(name="bad", summary="bad", from_scores=film_by_film),
    "E08": from_parts(lambda parts: -grad_cam(parts)),
    "E09": from_parts(of_its_largest_activation),
    "E10": from_parts(Tires()),
}


# --- metrics


def metric(function):
    return Metric(name="bad", summary="bad", function=function)


def accuracy_at_a_half(truth, score, threshold):
    """Whatever the threshold is."""
    return float(np.mean((score >= 0.5) == (truth > 0.5))) if len(truth) else float("nan")


def odds(truth, score):
    """Of the classes; without end where there is one only."""
    yes, no = int((truth > 0.5).sum()), int((truth < 0.5).sum())
    return float("nan") if not yes + no else float("inf") if not yes * no else yes / no


def first_in_line(truth, score):
    """Only where no two scores are equal."""
    return float(truth[0]) if len(truth) and len(np.unique(score)) == len(score) else auc(truth, score)


def careless_with_ties(truth, score):
    """AUC of the order in which a stable sort leaves the films."""
    ranks = np.empty(len(score))
    ranks[np.argsort(score, kind="stable")] = np.arange(len(score))
    return auc(truth, ranks)


def sorts_in_place(truth, score):
    found = auc(truth, score)
    score *= 1
    return found


BAD |= {
    "M01": Metric(name="two words", summary="bad", function=auc),
    "M02": metric(lambda truth, score: float("nan")),
    "M03": metric(lambda truth, score: auc(truth, score) if len(truth) else 0.0),
    "M04": metric(odds),
    "M05": metric(first_in_line),
    "M06": metric(careless_with_ties),
    "M07": metric(sorts_in_place),
    "M08": Metric(name="bad", summary="bad", function=accuracy_at_a_half, needs_threshold=True),
}


# --- dataset readers, all of the NIH layout


def reader(**changes):
    return dataclasses.replace(nih, **changes)


def changed(**changes):
    """Reads as it should, then changes parts of the table, each by a function."""

    def read(path):
        table = nih.read(path)
        return dataclasses.replace(table, **{part: change(getattr(table, part)) for part, change in changes.items()})

    return reader(read=read)


def edited(change):
    """Reads another table than it is given: its lines, each changed by a function of the line and the header."""

    def read(path):
        lines = path.read_text().splitlines()
        other = path.with_name("edited.csv")
        other.write_text("\n".join(change(line, lines[0]) for line in lines))
        return nih.read(other)

    return reader(read=read)


def turned():
    """Every second time the last film comes first."""
    count = iter(range(1000))

    def read(path):
        table = nih.read(path)
        return dataclasses.replace(table, films=table.films[:: 1 if next(count) % 2 else -1])

    return reader(read=read)


BAD |= {
    "D01": reader(summary=""),
    "D02": reader(recognises=lambda columns: list(columns[:1]) == ["Image Index"] and nih.recognises(columns)),
    "D03": reader(recognises=lambda columns: True),
    "D04": changed(labels=lambda labels: labels.astype(np.float64)),
    "D05": changed(films=lambda films: (films[0],) * len(films)),
    "D06": turned(),
    "D07": edited(lambda line, header: line + "," * (header.count(",") - line.count(","))),
    "D08": edited(lambda line, header: line.replace(",?~garbled~?", ",")),
}
