"""The command line: options -> one call -> exit code. It imports nothing heavy until a command runs."""

from __future__ import annotations

from cxrscore.search_path import drop_current_folder

drop_current_folder()  # before any other import: a module in the current folder must not replace one of cxrscore's

import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import click

from cxrscore import __version__
from cxrscore.cli.demo import demo
from cxrscore.cli.endings import exit_code, run_as_program
from cxrscore.cli.export import export
from cxrscore.cli.imports import import_file
from cxrscore.cli.marks import marks
from cxrscore.cli.merge import merge
from cxrscore.cli.notes import plugin_notes
from cxrscore.cli.paper import paper
from cxrscore.cli.plugins import check, plugins
from cxrscore.cli.quantize import quantize
from cxrscore.cli.queue import queue
from cxrscore.cli.report import report
from cxrscore.cli.score import score
from cxrscore.cli.show import show
from cxrscore.cli.train import train
from cxrscore.cli.verify import verify
from cxrscore.cli.view import view
from cxrscore.cli.watch import watch
from cxrscore.cli.weights import weights
from cxrscore.escape_control_chars import escape_control_characters


class _Program(click.Group):
    """The commands in the order of use, and how they end."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Reject arguments that are not UTF-8, for all commands: they cannot be stored in JSON, in scores files or in
        reports."""
        own = tuple(f"CXRSCORE_{name.upper()}_" for name in self.commands)
        options = ((name, value) for name, value in os.environ.items() if name.startswith(own))
        for name, word in (*(("argument", word) for word in args), *options):
            try:
                word.encode()
            except UnicodeEncodeError:
                ctx.fail(
                    f"the {name} {escape_control_characters(word)} is not UTF-8. Rename the file or folder, or link "
                    f"to it."
                )
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command line; without arguments, that of this process, whose streams and signals it then controls."""
        run = partial(super().main, args, prog_name, complete_var, standalone_mode=False, **extra)
        if not standalone_mode:
            return run()
        sys.exit(run_as_program(run, self._words()) if args is None else exit_code(run))

    def _words(self) -> frozenset[str]:
        """The names of all commands and options."""
        options = {name for one in self.commands.values() for option in one.params for name in _names(option)}
        return frozenset({*self.commands, *options, "--help", "--version"})


def _names(parameter: click.Parameter) -> list[str]:
    return [*parameter.opts, *parameter.secondary_opts] if isinstance(parameter, click.Option) else []


@click.group(
    cls=_Program,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "auto_envvar_prefix": "CXRSCORE",
        "max_content_width": 100,
    },
)
@click.version_option(__version__, prog_name="cxrscore")
def main() -> None:
    """Train, score and explain chest X-ray classifiers.

    \b
    Quick start, in a folder with films/ and films/labels.csv:
      cxrscore train --backend keras          films/ -> model.safetensors
      cxrscore score ./films -o out.h5        model.safetensors -> out.h5
      cxrscore report out.h5                  out.h5 -> out.html

    Exit codes: 0 success, 1 error, 2 usage error, 3 finished but some films have no score, 4 data leakage,
    5 a check failed, 6 backend unavailable or plugin error, 70 internal error, 74 output not writable,
    129 stopped by SIGHUP, 130 stopped by Ctrl-C, 143 stopped by SIGTERM.
    """
    click.get_current_context().with_resource(plugin_notes())


_COMMANDS = (
    *(demo, train, weights, import_file, quantize, score, watch, merge, report, view, queue, marks, show, export),
    *(paper, verify, plugins, check),
)
for _command in _COMMANDS:
    main.add_command(_command)
