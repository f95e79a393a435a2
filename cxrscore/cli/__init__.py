"""The command line: options -> one call -> exit code. It imports nothing heavy until a command runs."""

from __future__ import annotations

import click

from cxrscore import __version__
from cxrscore.cli.demo import demo
from cxrscore.cli.export import export
from cxrscore.cli.imports import import_file
from cxrscore.cli.merge import merge
from cxrscore.cli.notes import plugin_notes
from cxrscore.cli.paper import paper
from cxrscore.cli.plugins import check, plugins
from cxrscore.cli.quantize import quantize
from cxrscore.cli.report import report
from cxrscore.cli.score import score
from cxrscore.cli.show import show
from cxrscore.cli.train import train
from cxrscore.cli.verify import verify


class _InOrder(click.Group):
    """Lists its commands as they were added, which is the order in which people need them."""

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

    Exit codes: 0 done, 1 error, 2 usage, 3 finished but some films have no score, 4 patient leakage,
    5 a check failed, 6 backend unavailable or plugin at fault, 74 could not write, 130 stopped by Ctrl-C.
    """
    click.get_current_context().with_resource(plugin_notes())


_COMMANDS = (demo, train, import_file, quantize, score, merge, report, show, export, paper, verify, plugins, check)
for _command in _COMMANDS:
    main.add_command(_command)
