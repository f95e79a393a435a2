"""What a scores file must say of the models that made it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def leaked(provenance: Mapping[str, Any]) -> bool:
    """Whether films or patients stood in two parts of the split when a model of these scores was trained."""
    models = provenance.get("models") or [provenance.get("model")]
    return any(_look(model, "document", "training", "leaked") is True for model in models)


def _look(tree: Any, *keys: str) -> Any:
    for key in keys:
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree
