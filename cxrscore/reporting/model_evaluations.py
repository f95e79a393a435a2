"""What the models of a scores file record of their own figures: for the training section and the notes on top."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cxrscore.models.evaluation import Evaluation, Probe, read_evaluation, read_probe
from cxrscore.reporting.provenance import (
    MOST_PLOTTED,
    Training,
    get_nested,
    get_text,
    provenance_models,
    read_training,
)

MOST_NOTES = 30
"""Maximum number of warnings of models on the page."""


@dataclass(frozen=True, kw_only=True)
class RecordedModel:
    """A model of the scores file, or the ensemble file whose members the models are.

    name        of its file, or its place among the models
    whole       whether its figures are those of the scores: the only model, or the ensemble, and no augmented copies
    training    its epochs
    probe       how it was fitted, if it is a linear probe
    evaluation  its figures; None if its file has none
    """

    name: str
    whole: bool
    training: Training
    probe: Probe | None
    evaluation: Evaluation | None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        found = self.evaluation
        if found is None:
            return {"model": self.name}
        sticks, curve = found.yardsticks, found.curve
        return {
            "model": self.name,
            "figures_on": found.where,
            "macro_auc": found.macro_auc.as_dict(),
            "brier": found.brier.as_dict(),
            "test_macro_auc": found.test_auc.as_dict() if found.has_test else None,
            "prevalence_only": found.marks,
            "macro_auc_minus_metadata": sticks.difference.as_dict() if sticks is not None and sticks.columns else None,
            "learning_curve": "" if curve is None else curve.sentence,
            "warnings": list(found.warnings),
        }


def recorded_models(provenance: Mapping[str, Any], findings: Sequence[str]) -> tuple[RecordedModel, ...]:
    """The ensemble file, if one was named, and the first models of a scores file."""
    found, ensemble = provenance_models(provenance), get_nested(provenance, "ensemble")
    only = len(found) == 1 and ensemble is None
    records = [
        _record(model, findings, "The model" if only else f"Model {place}", whole=only)
        for place, model in enumerate(found[:MOST_PLOTTED], start=1)
    ]
    together = [] if ensemble is None else [_record(ensemble, findings, "The ensemble", whole=True)]
    return (*together, *records)


def _record(model: Any, findings: Sequence[str], name: str, *, whole: bool) -> RecordedModel:
    document = get_nested(model, "document")
    return RecordedModel(
        name=get_text(model, "file") or name,
        whole=whole,
        training=read_training(model),
        probe=read_probe(document),
        evaluation=read_evaluation(document, findings),
    )


def own_figures(models: Sequence[RecordedModel]) -> tuple[RecordedModel, ...]:
    """The models whose figures are read for these scores: the ensemble or only model if it records some, else the
    models that do."""
    evaluated = tuple(one for one in models if one.evaluation is not None)
    return tuple(one for one in evaluated if one.whole) or evaluated


def model_warnings(models: Sequence[RecordedModel]) -> tuple[str, ...]:
    """The warnings of the models, each with the models that it is of."""
    owners: dict[str, list[str]] = {}
    for model in models:
        for text in () if model.evaluation is None else model.evaluation.warnings:
            owners.setdefault(text, []).append(model.name)
    notes = [f"{_owner(names, len(models))}: {text.rstrip('.')}." for text, names in owners.items()]
    more = len(notes) - MOST_NOTES
    return tuple(notes) if more <= 0 else (*notes[:MOST_NOTES], f"Of the models: {more} more warnings in their files.")


def _owner(names: Sequence[str], models: int) -> str:
    if models == 1:
        return "Of the model"
    return "Of all models" if len(names) == models else f"Of {', '.join(names)}"


def marks(models: Sequence[RecordedModel]) -> dict[str, str]:
    """By finding: "prevalence only: 4 positive training films" of those without coefficients, in how many of the models
    if not in all."""
    whole = [model for model in models if model.whole] or models
    found = [{} if model.evaluation is None else model.evaluation.marks for model in whole]
    counted = Counter(finding for one in found for finding in one)
    words = {finding: text for one in reversed(found) for finding, text in one.items()}
    return {
        finding: text if counted[finding] == len(found) else f"{text} (in {counted[finding]} of {len(found)} models)"
        for finding, text in words.items()
    }
