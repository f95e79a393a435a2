"""The figures that a model file records of its own model: cross-validation, yardsticks, learning curve, warnings.

The document may come from a scores file, where nothing checks it against a schema: any value may be missing or of
another type. Numbers that cannot be are NaN, lists are cut, and only known findings are read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cxrscore.io.strict_json import get_nested, get_text

MOST_WARNINGS, LONGEST_WARNING = 50, 500
MOST_STRENGTHS, MOST_POINTS, MOST_PREDICTIONS = 1000, 100, 10
MOST_FILMS = 1e12

UNUSED_BY_PROBE = (
    *("loss", "epochs", "batch_size", "learning_rate", "warmup", "schedule", "layer_decay", "weight_decay"),
    *("clip_norm", "batch_norm", "sampling", "drop_last", "augmentations", "rotation", "shift", "shear", "zoom"),
    *("flip", "monitor", "patience", "checkpoint_policy", "initial_head", "initial_bias"),
)
"""Options of a recipe that a linear probe does not use."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure with its 95 % interval; NaN where undefined."""

    value: float
    low: float
    high: float

    @property
    def interval(self) -> tuple[float, float]:
        """Both limits; NaN, NaN if one is missing."""
        return (self.low, self.high) if math.isfinite(self.low + self.high) else (math.nan, math.nan)

    @property
    def text(self) -> str:
        """As "0.663 (0.63 to 0.69)"; "undefined" without a value."""
        if not math.isfinite(self.value):
            return "undefined"
        low, high = self.interval
        return f"{self.value:.3f}" + (f" ({low:.2f} to {high:.2f})" if math.isfinite(low) else "")

    @property
    def precise(self) -> str:
        """As text, with a third decimal in the interval: "0.086 (0.080 to 0.092)"."""
        if not math.isfinite(self.value):
            return "undefined"
        low, high = self.interval
        return f"{self.value:.3f}" + (f" ({low:.3f} to {high:.3f})" if math.isfinite(low) else "")

    @property
    def signed(self) -> str:
        """As "+0.052 (-0.010 to +0.114)"."""
        if not math.isfinite(self.value):
            return "undefined"
        low, high = self.interval
        return f"{self.value:+.3f}" + (f" ({low:+.3f} to {high:+.3f})" if math.isfinite(low) else "")

    def as_dict(self) -> dict[str, float | None]:
        """JSON-ready, None for NaN."""
        return {name: _json(getattr(self, name)) for name in ("value", "low", "high")}


@dataclass(frozen=True, kw_only=True)
class FindingFigures:
    """Figures of one finding; positives and negatives are NaN if unknown."""

    finding: str
    positives: float
    negatives: float
    few_positives: bool
    auc: Figure
    average_precision: Figure
    brier: Figure
    brier_skill: float
    test_auc: Figure

    @property
    def mark(self) -> str:
        """Why the finding has no coefficients: "prevalence only: 4 positive training films"; "" if it has some."""
        if not self.few_positives:
            return ""
        count, word = min((self.positives, "positive"), (self.negatives, "negative"), key=_nan_last)
        if not math.isfinite(count):
            return "prevalence only"
        return f"prevalence only: {count:,.0f} {word} training film{'' if count == 1 else 's'}"


@dataclass(frozen=True, kw_only=True)
class Yardstick:
    """What a figure is compared with; NaN where undefined."""

    name: str
    macro_auc: Figure
    brier: float
    label_accuracy: float


@dataclass(frozen=True, kw_only=True)
class Yardsticks:
    """The model and what predicts without looking at the films, on the same films.

    model       the model itself
    without     always "no", prevalence and, if the table has the columns, these alone
    columns     as text: "age, sex and view"; "" if the table has none
    difference  macro AUC of the model minus that of these columns, paired
    """

    model: Yardstick
    without: tuple[Yardstick, ...]
    columns: str
    difference: Figure

    @property
    def sentence(self) -> str:
        """What the network knows beyond age, sex and view; "" if the table has none of them."""
        if not self.columns or not math.isfinite(self.difference.value):
            return ""
        low, high = self.difference.interval
        said = f"The model minus {self.columns} alone: {self.difference.signed.replace('-', '−')} in macro AUC, paired."
        if low <= 0 <= high:
            said += f" The interval contains 0: these films do not show that the model sees more than {self.columns}."
        return said


@dataclass(frozen=True, kw_only=True)
class LearningCurve:
    """Macro AUC by number of training films.

    points     (films, macro AUC, standard error), ascending
    law        (asymptote, factor, exponent) of AUC = asymptote - factor * films ** -exponent; None if none fits
    predicted  (films, macro AUC) for more films
    """

    points: tuple[tuple[float, float, float], ...]
    law: tuple[float, float, float] | None
    predicted: tuple[tuple[float, Figure], ...]

    @property
    def sentence(self) -> str:
        """What more labels would bring."""
        films, auc, _ = self.points[-1]
        said = f"With {films:,.0f} training films the macro AUC is {auc:.3f}"
        known = [(count, found) for count, found in self.predicted if math.isfinite(found.value)]
        if self.law is None or not known:
            return f"{said}. The curve does not rise beyond chance, so nothing is predicted for more films."
        more = ", and ".join(f"{found.text} with {count:,.0f}" for count, found in known)
        return f"{said}; the power law predicts {more} films of the same kind."


@dataclass(frozen=True, kw_only=True)
class Probe:
    """How a linear probe was fitted: strengths of the findings with coefficients, (strength, log loss) tried, and by
    what the folds keep films together."""

    folds: float
    strengths: tuple[float, ...]
    tried: tuple[tuple[float, float], ...]
    by: str = "by patient"

    @property
    def strength_words(self) -> str:
        """As "C 0.001 for all findings"; "" if unknown."""
        if not self.strengths:
            return ""
        low, high = min(self.strengths), max(self.strengths)
        return f"C {low:.3g} for all findings" if low == high else f"C {low:.3g} to {high:.3g}, one for each finding"

    @property
    def sentence(self) -> str:
        """How the strength was chosen, for one line of a table."""
        by = f", chosen by {_folds(self.folds)}cross-validation {self.by}" if self.strengths else ""
        return f"linear probe{', strength ' + self.strength_words if self.strengths else ''}{by}"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The figures of held-out predictions of a model.

    on          "folds": out-of-fold predictions of the training films; "valid": the validation films
    test_films  NaN if the model kept no test films
    marks       of the findings without coefficients, by finding
    by_film     whether no patient was known, so that the folds do not keep patients together
    """

    on: str
    folds: float
    films: float
    patients: float
    macro_auc: Figure
    brier: Figure
    brier_skill: float
    calibration_error: float
    spread: float
    findings: tuple[FindingFigures, ...]
    test_films: float
    test_auc: Figure
    yardsticks: Yardsticks | None
    curve: LearningCurve | None
    warnings: tuple[str, ...]
    by_film: bool = False

    @property
    def has_test(self) -> bool:
        return math.isfinite(self.test_films)

    @property
    def marks(self) -> dict[str, str]:
        return {one.finding: one.mark for one in self.findings if one.mark}

    @property
    def where(self) -> str:
        """The films of the figures: "5-fold cross-validation on 354 training films of 288 patients"."""
        films = format_count(self.films)
        if self.on != "folds":
            return f"{films} validation films"
        of = f" of {self.patients:,.0f} patients" if self.patients < self.films else ""
        return f"{_folds(self.folds)}cross-validation on {films} training films{of}"

    @property
    def short(self) -> str:
        """ "cross-validated" or "validation"."""
        return "cross-validated" if self.on == "folds" else "validation"

    @property
    def caution(self) -> str:
        """What these figures are worth, in one or two sentences."""
        if self.on != "folds":
            return (
                "The epoch, the thresholds and the calibration were chosen on these validation films, so the "
                "figures flatter the model."
            )
        others = (
            ", and perhaps with others of its patient" if self.by_film else " and without other films of its patient"
        )
        how = f"Each film was predicted by a probe that was fitted without it{others}. AUCs are means over the folds."
        if self.has_test:
            return how
        return f"The run kept no test films, so the cross-validated figure is the model's figure. {how}"


def read_evaluation(document: Any, findings: Sequence[str]) -> Evaluation | None:
    """The evaluation in a model document; None if it has none, as of imported models and earlier versions.

    Parameters
    ----------
    document : object
        The document, or anything in its place.
    findings : sequence of str
        Findings whose figures are read.
    """
    found = get_nested(document, "evaluation")
    if not isinstance(found, Mapping):
        return None
    test = get_nested(found, "test")
    return Evaluation(
        on="folds" if get_text(found, "on") == "folds" else "valid",
        folds=_count(found, "folds"),
        films=_count(found, "films"),
        patients=_count(found, "patients"),
        macro_auc=_figure(found, "macro_auc"),
        brier=_figure(found, "brier"),
        brier_skill=_number(found, "brier_skill", low=-MOST_FILMS, high=1),
        calibration_error=_number(found, "calibration_error"),
        spread=_number(found, "spread"),
        findings=tuple(
            _finding(name, one, get_nested(test, "auc", name))
            for name in findings
            if isinstance(one := get_nested(found, "findings", name), Mapping)
        ),
        test_films=_count(test, "films"),
        test_auc=_figure(test, "macro_auc"),
        yardsticks=_yardsticks(found),
        curve=_curve(get_nested(found, "learning_curve")),
        warnings=_warnings(found),
        by_film=_by_film(document),
    )


def _by_film(document: Any) -> bool:
    """Whether no patient of the films of a run was known."""
    return bool(get_nested(document, "training", "patients") == 0)


def read_probe(document: Any) -> Probe | None:
    """How the linear probe of a model document was fitted; None if the model is none."""
    found = get_nested(document, "training", "probe")
    if not isinstance(found, Mapping):
        return None
    strengths = get_nested(found, "strengths")
    named = strengths if isinstance(strengths, Mapping) else {}
    values = [_number(value, low=1e-30, high=1e30) for value in list(named.values())[:MOST_STRENGTHS]]
    tried = zip(_list(found, "tried", MOST_STRENGTHS), _list(found, "log_loss", MOST_STRENGTHS), strict=False)
    pairs = [(_number(strength, low=1e-30, high=1e30), _number(loss, high=1e6)) for strength, loss in tried]
    return Probe(
        folds=_count(found, "folds"),
        strengths=tuple(value for value in values if math.isfinite(value)),
        tried=tuple(sorted(pair for pair in pairs if math.isfinite(sum(pair)))),
        by="by film" if _by_film(document) else "by patient",
    )


def used_recipe(training: Any) -> dict[str, Any]:
    """The options in the record of a training run that the run used."""
    recipe = get_nested(training, "recipe")
    if not isinstance(recipe, Mapping):
        return {}
    unused = UNUSED_BY_PROBE if get_nested(training, "probe") is not None else ()
    return {name: value for name, value in recipe.items() if name not in unused}


def format_count(value: float) -> str:
    """A number of films; a dash if unknown."""
    return f"{value:,.0f}" if math.isfinite(value) else "–"


def _folds(folds: float) -> str:
    return f"{folds:.0f}-fold " if folds >= 2 else ""


def _finding(name: str, found: Any, test_auc: Any) -> FindingFigures:
    return FindingFigures(
        finding=name,
        positives=_count(found, "positives"),
        negatives=_count(found, "negatives"),
        few_positives=get_nested(found, "few_positives") is True,
        auc=_figure(found, "auc"),
        average_precision=_figure(found, "average_precision"),
        brier=_figure(found, "brier"),
        brier_skill=_number(found, "brier_skill", low=-MOST_FILMS, high=1),
        test_auc=_figure(test_auc),
    )


def _yardsticks(evaluation: Any) -> Yardsticks | None:
    found = get_nested(evaluation, "yardsticks")
    if not isinstance(found, Mapping):
        return None
    metadata = get_nested(found, "metadata")
    known = [name for name in ("age", "sex", "view") if name in _list(metadata, "columns", 3)]
    columns = " and ".join(filter(None, (", ".join(known[:-1]), *known[-1:])))
    chance = Figure(value=0.5, low=math.nan, high=math.nan)
    without = [
        _yardstick("Always “no”", get_nested(found, "always_no"), chance),
        _yardstick("Prevalence", get_nested(found, "prevalence"), chance),
    ]
    if columns:
        alone = f"{columns[:1].upper()}{columns[1:]} alone"
        without.append(_yardstick(alone, metadata, _figure(metadata, "macro_auc")))
    return Yardsticks(
        model=_yardstick("The model", get_nested(found, "model"), _figure(evaluation, "macro_auc")),
        without=tuple(without),
        columns=columns,
        difference=_figure(metadata, "difference", low=-1),
    )


def _yardstick(name: str, found: Any, macro_auc: Figure) -> Yardstick:
    return Yardstick(
        name=name,
        macro_auc=macro_auc,
        brier=_number(found, "brier"),
        label_accuracy=_number(found, "label_accuracy"),
    )


def _curve(found: Any) -> LearningCurve | None:
    """None without two points."""
    columns = (_list(found, name, MOST_POINTS) for name in ("films", "macro_auc", "error"))
    points = [
        (_number(films, low=1, high=MOST_FILMS), _number(auc), _number(error))
        for films, auc, error in zip(*columns, strict=False)
    ]
    known = tuple(sorted(point for point in points if math.isfinite(point[0] + point[1])))
    if len(known) < 2:
        return None
    law = tuple(_number(found, "law", name, low=-1e6, high=1e6) for name in ("asymptote", "factor", "exponent"))
    predicted = [
        (_number(one, "films", low=1, high=MOST_FILMS), _figure(one, "macro_auc"))
        for one in _list(found, "predicted", MOST_PREDICTIONS)
    ]
    return LearningCurve(
        points=known,
        law=(law[0], law[1], law[2]) if math.isfinite(sum(law)) else None,
        predicted=tuple(one for one in predicted if math.isfinite(one[0])),
    )


def _warnings(evaluation: Any) -> tuple[str, ...]:
    texts = [text for text in _list(evaluation, "warnings", MOST_WARNINGS) if isinstance(text, str) and text]
    return tuple(text if len(text) <= LONGEST_WARNING else f"{text[: LONGEST_WARNING - 1]}…" for text in texts)


def _figure(tree: Any, *keys: str, low: float = 0.0) -> Figure:
    """A figure up to 1; NaN beyond."""
    found = get_nested(tree, *keys)
    return Figure(**{name: _number(found, name, low=low, high=1) for name in ("value", "low", "high")})


def _count(tree: Any, name: str) -> float:
    return _number(tree, name, high=MOST_FILMS)


def _number(tree: Any, *keys: str, low: float = 0.0, high: float = 1.0) -> float:
    """The number below these keys; NaN if there is none between both limits."""
    value = get_nested(tree, *keys)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number and low <= value <= high else math.nan


def _list(tree: Any, name: str, most: int) -> Sequence[Any]:
    value = get_nested(tree, name)
    return value[:most] if isinstance(value, list | tuple) else ()


def _json(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _nan_last(pair: tuple[float, str]) -> float:
    return pair[0] if math.isfinite(pair[0]) else math.inf
