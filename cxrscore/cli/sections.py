"""Group the options of a command under headings in its help."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])
Decorator = Callable[[Any], Any]

_REST = "Options"


def section(title: str, *options: Decorator) -> Callable[[Function], Function]:
    """A decorator that adds these options to a function, under this heading."""

    def add(function: Function) -> Function:
        for option in reversed(options):
            option(function)
            function.__click_params__[-1].section = title  # type: ignore[attr-defined]
        return function

    return add


def section_of(parameter: click.Parameter) -> str:
    """The heading of an option."""
    return getattr(parameter, "section", _REST)


class SectionedCommand(click.Command):
    """A command whose help shows its options under their headings, in the given order."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if isinstance(parameter, click.Option) and (record := parameter.get_help_record(ctx)):
                rows.setdefault(section_of(parameter), []).append(record)
        for title, records in rows.items():
            with formatter.section(title):
                formatter.write_dl(records)
