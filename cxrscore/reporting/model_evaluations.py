"""What the models of a scores file record of their own figures: for the training section and the notes on top."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cxrscore.models.evaluation import Evaluation, Probe, read_evaluation, read_probe
from cxrscore.reporting.provenance import MOST_PLOTTED, Training, get_text, provenance_models, read_training

MOST_NOTES = 30
"""Maximum number of warnings of models on the page."""


@dataclass(frozen=True, kw_only=True)
class RecordedModel:
    """A model of the scores file.

    name        of its file, or its place among the models
    training    its epochs
    probe       how it was fitted, if it is a linear probe
    evaluation  its figures; None if its file has none
    """

    name: str
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
    """The first models of a scores file."""
    found = provenance_models(provenance)[:MOST_PLOTTED]
    return tuple(
        RecordedModel(
            name=get_text(model, "file") or (f"Model {place}" if len(found) > 1 else "The model"),
            training=read_training(model),
            probe=read_probe(document := _document(model)),
            evaluation=read_evaluation(document, findings),
        )
        for place, model in enumerate(found, start=1)
    )


def model_warnings(models: Sequence[RecordedModel]) -> tuple[str, ...]:
    """The warnings of the models, each with the models that it is of."""
    owners: dict[str, list[str]] = {}
    for model in models:
        for text in () if model.evaluation is None else model.evaluation.warnings:
            owners.setdefault(text, []).append(model.name)
    notes = [f"{_owner(names, len(models))}: {text}" for text, names in owners.items()]
    more = len(notes) - MOST_NOTES
    return tuple(notes) if more <= 0 else (*notes[:MOST_NOTES], f"Of the models: {more} more warnings in their files.")


def _owner(names: Sequence[str], models: int) -> str:
    if models == 1:
        return "Of the model"
    return "Of all models" if len(names) == models else f"Of {', '.join(names)}"


def marks(models: Sequence[RecordedModel]) -> dict[str, str]:
    """By finding: "prevalence only: 4 positive training films" of those without coefficients, in how many of the models
    if not in all."""
    found = [{} if model.evaluation is None else model.evaluation.marks for model in models]
    counted = Counter(finding for one in found for finding in one)
    words = {finding: text for one in reversed(found) for finding, text in one.items()}
    return {
        finding: text if counted[finding] == len(found) else f"{text} (in {counted[finding]} of {len(found)} models)"
        for finding, text in words.items()
    }


def _document(model: Any) -> Any:
    return model.get("document") if isinstance(model, Mapping) else None
