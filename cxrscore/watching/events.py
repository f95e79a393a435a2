"""What a watch tells while it runs: one event after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that happened.

    kind    one word for programs, such as "scored"
    text    one line for people; "" if they need not know
    values  JSON-ready
    """

    kind: str
    text: str
    values: Mapping[str, Any] = field(default_factory=dict)


Tell: TypeAlias = Callable[[Event], None]
