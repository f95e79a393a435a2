"""Markdown that shows the texts of a file as they are."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

from cxrscore.escape_control_chars import escape_control_characters

UNKNOWN = "not recorded"
_SPECIAL = re.compile(r"[\\`*\[\]|~]|(?<![^\W_])_|_(?![^\W_])")
"""Characters with a meaning in Markdown; an underscore between letters has none."""


def escape_markdown(text: str) -> str:
    """The text as Markdown that shows it: nothing of a file becomes a link, a tag or a cell."""
    return html.escape(_SPECIAL.sub(r"\\\g<0>", escape_control_characters(text)), quote=False)


def bullet_list(*lines: tuple[str, str]) -> str:
    """Names with their values, one a line; UNKNOWN in place of an empty value."""
    return "\n".join(f"* {name}: {escape_markdown(value) or UNKNOWN}" for name, value in lines)


def markdown_table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table; a dash in place of an empty cell."""
    lines = [head, *(tuple(escape_markdown(cell) or "-" for cell in row) for row in rows)]
    texts = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([texts[0], "|" + " --- |" * len(head), *texts[1:]])
