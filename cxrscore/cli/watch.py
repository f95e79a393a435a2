"""cxrscore watch."""

from __future__ import annotations

import datetime
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cxrscore.cli.common import EXIT_SOME_FAILED, FILE, Bar, handle_errors, model_file, print_line
from cxrscore.cli.streams import results

if TYPE_CHECKING:
    from cxrscore.watching import Event


@click.command(short_help="Score films as they come, as a TOML file says.")
@click.argument("config", type=FILE)
@click.option("--once", is_flag=True, help="One round, then end: for cron, and to try a configuration.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Also print one JSON object on standard output for each event, on a line of its own.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print errors only: no line for what goes well.")
@handle_errors
def watch(*, config: Path, once: bool, as_json: bool, quiet: bool) -> int:
    """Score the films of a folder or a PACS as they come, round after round, as CONFIG (TOML) says.

    Each round lists the films, scores those that are in no scores file yet into new scores files of the output folder,
    and exports these. Stop it with Ctrl-C or SIGTERM, and start it again to go on: no film is scored twice.

    CONFIG names films, model, output, interval, options of score, and exports; examples/watch/watch.toml explains each
    key.

    Lines with the time go to standard error. With --once the exit code is 3 if a film of this round got no score, or an
    export is not done.
    """
    from cxrscore.watching import read_config
    from cxrscore.watching import watch as watch_films

    def tell(event: Event) -> None:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        if event.text:
            print_line(f"{now} {event.text}", quiet and event.kind not in _ALWAYS)
        if as_json:
            line = {"time": now, "event": event.kind, "message": event.text, **event.values}
            click.echo(json.dumps(line, allow_nan=False), file=results())
            results().flush()

    bar = Bar(quiet)
    own = read_config(config).with_models(lambda one: model_file(one, bar))
    result = watch_films(own, tell, once=once, command=tuple(sys.argv[1:]))
    return EXIT_SOME_FAILED if result.failed or result.pending_exports else 0


_ALWAYS = ("error", "export_failed", "no_films", "not_exported", "not_scored", "unreadable")
"""Events that are told with --quiet, too."""
