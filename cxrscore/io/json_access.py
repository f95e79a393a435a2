"""Looking things up in documents of others, where any key may be missing or of another kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def get_nested(tree: Any, *keys: str) -> Any:
    """The value below these keys, one after the other; None where there is none."""
    for key in keys:
        if not isinstance(tree, Mapping):
            return None
        tree = tree.get(key)
    return tree


def get_text(tree: Any, *keys: str) -> str:
    """The text or number below these keys as a text; "" where there is neither."""
    value = get_nested(tree, *keys)
    return str(value) if isinstance(value, str | int | float) else ""


def get_texts(tree: Any, *keys: str) -> list[str]:
    """The list of texts and numbers below these keys; empty where there is none."""
    value = get_nested(tree, *keys)
    return [str(part) for part in value if isinstance(part, str | int | float)] if isinstance(value, list) else []


def provenance_models(provenance: Mapping[str, Any]) -> list[Any]:
    """What a scores file tells of each model that scored: one, or several whose scores were averaged."""
    several = get_nested(provenance, "models")
    return several if isinstance(several, list) else []


def software_versions(training: Mapping[str, Any]) -> list[str]:
    """Versions of what computed a model, each with its name; that of the framework begins with it."""
    found = get_nested(training, "versions")
    items = found.items() if isinstance(found, Mapping) else ()
    return [str(value) if name == "framework" else f"{name} {value}" for name, value in items]
