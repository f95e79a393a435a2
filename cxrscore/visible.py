"""Text of others, such as the name of a film, made safe to show to people."""

from __future__ import annotations


def visible(text: str) -> str:
    """The text with every character that does not print, or that turns its neighbours round, shown by its code: on a
    terminal it could hide what was written, or write something else."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else f"[U+{ord(c):04X}]" for c in text)
