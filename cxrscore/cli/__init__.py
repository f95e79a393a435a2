"""The command line: options -> one call -> exit code. It imports nothing heavy until a command runs."""

from __future__ import annotations

import os

import click

from cxrscore import __version__
from cxrscore.cli.demo import demo
from cxrscore.cli.export import export
from cxrscore.cli.imports import import_file
from cxrscore.cli.merge import merge
from cxrscore.cli.paper import paper
from cxrscore.cli.plugins import check, plugins
from cxrscore.cli.quantize import quantize
from cxrscore.cli.report import report
from cxrscore.cli.score import score
from cxrscore.cli.show import show
from cxrscore.cli.train import train
from cxrscore.cli.verify import verify
from cxrscore.visible import visible


class _InOrder(click.Group):
    """Lists its commands as they were added, which is the order in which people need them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuses what is not UTF-8, for all commands: it fits neither JSON, nor a scores file, nor a page."""
        own = tuple(f"CXRSCORE_{name.upper()}_" for name in self.commands)
        options = ((name, value) for name, value in os.environ.items() if name.startswith(own))
        for name, word in (*(("argument", word) for word in args), *options):
            try:
                word.encode()
            except UnicodeEncodeError:
                ctx.fail(f"the {name} {visible(word)} is not UTF-8. Rename the file or folder, or link to it.")
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=_InOrder,
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
    The three lines, in a folder that holds films/ and films/labels.csv:
      cxrscore train --backend keras          films/ -> model.safetensors
      cxrscore score ./films -o out.h5        model.safetensors -> out.h5
      cxrscore report out.h5                  out.h5 -> out.html

    Exit codes: 0 done, 1 error, 2 usage, 3 finished but some films could not be read, 4 patient leakage,
    5 a check failed, 6 backend unavailable, 74 could not write, 130 stopped by Ctrl-C.
    """


_COMMANDS = (demo, train, import_file, quantize, score, merge, report, show, export, paper, verify, plugins, check)
for _command in _COMMANDS:
    main.add_command(_command)
