"""The figures of a finished training run, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Figure = Mapping[str, float | None]


def figure_lines(evaluation: Mapping[str, Any]) -> Iterator[str]:
    """Lines for the model file's "evaluation"."""
    yield _auc_line(evaluation)
    yield from _yardstick_lines(evaluation["yardsticks"])
    if evaluation["learning_curve"] is not None:
        yield from _curve_lines(evaluation["learning_curve"], evaluation["films"])


def _auc_line(evaluation: Mapping[str, Any]) -> str:
    where = "cross-validated" if evaluation["on"] == "folds" else "validation"
    line = f"macro AUC: {where} {_with_interval(evaluation['macro_auc'])}"
    if evaluation["test"] is not None:
        return f"{line}, test {_with_interval(evaluation['test']['macro_auc'])}"
    return f"{line}; no film was kept for a test, so the {where} figure is the model's figure"


def _yardstick_lines(yardsticks: Mapping[str, Any]) -> Iterator[str]:
    model, no, constant = (yardsticks[name] for name in ("model", "always_no", "prevalence"))
    if (metadata := yardsticks["metadata"]) is not None:
        names = _words(metadata["columns"])
        yield (
            f"{names} alone: macro AUC {_number(metadata['macro_auc']['value'])}; model minus this "
            f"{_with_interval(metadata['difference'])}"
        )
    yield (
        f"Brier score: model {_number(model['brier'], 4)}, prevalence {_number(constant['brier'], 4)}, "
        f'always "no" {_number(no["brier"], 4)}'
    )
    accuracies = model["label_accuracy"], no["label_accuracy"]
    if None not in accuracies and round(accuracies[1], 3) >= round(accuracies[0], 3):
        yield (
            f'label accuracy at 0.5: model {_number(accuracies[0])}, always "no" {_number(accuracies[1])}: where '
            "findings are rare, it does not measure a model"
        )


def _curve_lines(curve: Mapping[str, Any], films: int) -> Iterator[str]:
    points = ", ".join(
        f"{_number(area)} with {count}" for count, area in zip(curve["films"], curve["macro_auc"], strict=True)
    )
    yield f"learning curve: macro AUC {points} films"
    if curve["law"] is None:
        yield "the curve does not rise beyond chance: no power law fits, and nothing is predicted for more labels"
    for found in curve["predicted"]:
        times = found["films"] // films
        what = "twice the labels" if times == 2 else f"{times} times the labels"
        area = _with_interval(found["macro_auc"])
        yield f"with {what} ({found['films']} films) the power law predicts macro AUC {area}"


def _with_interval(figure: Figure) -> str:
    """A figure with its 95 % interval, if it has one: "0.650 (0.612 to 0.688)"."""
    limits = "" if figure["low"] is None else f" ({_number(figure['low'])} to {_number(figure['high'])})"
    return f"{_number(figure['value'])}{limits}"


def _number(value: float | None, digits: int = 3) -> str:
    return "undefined" if value is None else f"{value:.{digits}f}"


def _words(names: list[str]) -> str:
    """Names as in a sentence: "age, sex and view"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
