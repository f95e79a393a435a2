"""Show plugin warnings as lines on standard error."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import click

from cxrscore.errors import LabelWarning, PluginWarning
from cxrscore.escape_control_chars import escape_control_characters


@contextmanager
def plugin_notes() -> Iterator[None]:
    """In the block, a PluginWarning or a LabelWarning is shown as one line; other warnings are shown as usual."""
    with warnings.catch_warnings():
        others = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, PluginWarning | LabelWarning):
                click.echo(f"cxrscore: {escape_control_characters(str(message))}", err=True)
            else:
                others(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield
