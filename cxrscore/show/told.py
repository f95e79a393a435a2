"""Looking things up in documents of others, where any key may be missing or of another kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def told(tree: Any, *keys: str) -> Any:
    """The value below these keys, one after the other; None where there is none."""
    for key in keys:
        if not isinstance(tree, Mapping):
            return None
        tree = tree.get(key)
    return tree


def word(tree: Any, *keys: str) -> str:
    """The text or number below these keys as a text; "" where there is neither."""
    value = told(tree, *keys)
    return str(value) if isinstance(value, str | int | float) else ""
