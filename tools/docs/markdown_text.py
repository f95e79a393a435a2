"""Markdown, as the scripts of this folder write it."""

from __future__ import annotations

import inspect
import textwrap

NOTE = "<!-- Written by tools/docs/generate.py: change what it reads, not this page. -->"


def page(title: str, intro: str, *sections: str) -> str:
    return "\n\n".join([f"# {title}", NOTE, wrapped(intro), *sections]) + "\n"


def table(*rows: tuple[str, ...]) -> str:
    """A table; the first row is its head."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])


def code(text: str, language: str = "") -> str:
    return f"```{language}\n{text.strip()}\n```"


def wrapped(text: str, hanging: str = "") -> str:
    return textwrap.fill(text, 120, subsequent_indent=hanging, break_on_hyphens=False, break_long_words=False)


def prose(text: str | None) -> str:
    """A docstring as Markdown: code between single backquotes, indented parts as blocks of it."""
    parts = inspect.cleandoc(text or "").replace("``", "`").split("\n\n")
    return "\n\n".join(code(textwrap.dedent(part)) if part.startswith(" ") else part for part in parts)
