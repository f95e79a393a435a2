"""The algorithm of the scores and of the maps, from a provenance in which any value may be missing or invalid."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from cxrscore.errors import InputError
from cxrscore.export.dicom.objects import Algorithm
from cxrscore.images import Preprocessing
from cxrscore.io import sha256_bytes
from cxrscore.io.strict_json import get_nested, get_text, provenance_models
from cxrscore.models.calibration import describe_probabilities

MAX_EXAMPLES = 16
"""Maximum number of models that an object names."""


def algorithm_of(provenance: Mapping[str, Any]) -> Algorithm:
    """The algorithm that a provenance names."""
    several = provenance_models(provenance)[:MAX_EXAMPLES]
    networks = dict.fromkeys(_text(one, "document", "spec", "architecture") for one in several)
    digests = [_text(one, "sha256") for one in several]
    ensemble = _text(provenance, "ensemble", "sha256")
    number = get_nested(provenance, "tta", "copies")
    parameters = {
        "backend": _text(provenance, "backend", "name"),
        "framework": _text(provenance, "backend", "framework"),
        "precision": _text(provenance, "backend", "precision"),
        "mean over models": " ".join(digests) if len(digests) > 1 else "",
        "calibration of the ensemble file": ensemble,
        "mean over augmented copies": str(number) if isinstance(number, int) and number > 1 else "",
    }
    several_models = sha256_bytes(" ".join(digests).encode()) if digests else ""
    return Algorithm(
        network=" + ".join(name for name in networks if name),
        model=ensemble or (digests[0] if len(digests) == 1 else several_models),
        parameters=(
            *(f"{name}: {text}" for name, text in parameters.items() if text),
            _printable(describe_probabilities(provenance), 1000),
        ),
        created=_time(_text(provenance, "created")),
    )


def explainer_of(provenance: Mapping[str, Any]) -> str:
    """The method of the maps, such as grad-cam; "" if unknown."""
    return _text(provenance, "explainer", "name")


def preprocessing_of(provenance: Mapping[str, Any]) -> Preprocessing | None:
    """How films became the squares of the models, of the first model; None if it is unknown, or if the models fit films
    differently, so that places of their mean map are no places of a film."""
    found = []
    for model in provenance_models(provenance):
        values = get_nested(model, "document", "preprocessing")
        try:
            found.append(Preprocessing.from_dict(values))
        except (AttributeError, InputError, TypeError, ValueError):
            return None
    return found[0] if len({one.fit for one in found}) == 1 else None


def _time(text: str) -> datetime.datetime | None:
    """A time from text; None if it is not a time with an offset to UTC."""
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else None


def _text(tree: Any, *keys: str) -> str:
    """The text below these keys, without characters that DICOM uses as control or delimiter; "" if there is none."""
    return _printable(get_text(tree, *keys), 200)


def _printable(text: str, longest: int) -> str:
    """The text, at most so many characters, without those that DICOM uses as control or delimiter."""
    return "".join(letter if letter.isprintable() and letter != "\\" else "_" for letter in text)[:longest]
