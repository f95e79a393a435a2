"""cxrscore view."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click

from cxrscore.cli.common import (
    FILE,
    FILE_OR_URL,
    PATH_OR_URL,
    complete_plugins,
    handle_errors,
    json_option,
    print_json,
    print_line,
    print_text,
    quiet_option,
)
from cxrscore.remote.url import PathOrUrl


@click.command(short_help="Look at films and scores in a browser.")
@click.argument("scores", type=FILE_OR_URL, nargs=-1, required=True)
@click.option(
    "--films",
    type=PATH_OR_URL,
    help="The folder that was scored, an archive with the same paths, or a URL. Without it only the thumbnails in the "
    "scores file are shown.",
)
@click.option(
    "--bounding-boxes", type=FILE, help="Table of bounding boxes (NIH, VinDr-CXR or RSNA) to draw on the films."
)
@click.option(
    "-m",
    "--model",
    type=FILE,
    multiple=True,
    help="The model file that made the scores, to compute heat maps that SCORES does not have. Repeat for several.",
)
@click.option(
    "--backend",
    shell_complete=complete_plugins,
    help="Backend that computes these maps. [default: the fastest of cxrscore's own that can run the models]",
)
@click.option(
    "--marks",
    type=FILE,
    help="Marks file, which is created by the first mark. [default: NAME.marks.sqlite beside the first file of SCORES]",
)
@click.option("--reader", metavar="NAME", help="Name of the reader, who else is asked before the first mark.")
@click.option(
    "--blinded",
    is_flag=True,
    help="Hide scores, labels, heat maps and the marks of others until the reader has marked a film.",
)
@click.option("--queue", type=FILE, help="Table of `cxrscore queue`: the films to read, in this order.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port of the server. [default: a free one]")
@click.option("--no-browser", is_flag=True, help="Print the address only; open no browser.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Name or address at which the server listens. Other than this machine itself only with --certificate and "
    "--key, or with --insecure.",
)
@click.option("--certificate", type=FILE, help="Certificate in PEM format, for https.")
@click.option("--key", type=FILE, help="Its key in PEM format, without password.")
@click.option(
    "--insecure",
    is_flag=True,
    help="Serve other machines without encryption: whoever reads the network sees films and the address.",
)
@click.option("-v", "--verbose", is_flag=True, help="Print a line for each request, without addresses.")
@json_option
@quiet_option
@handle_errors
def view(
    *,
    scores: tuple[PathOrUrl, ...],
    no_browser: bool,
    verbose: bool,
    as_json: bool,
    quiet: bool,
    model: tuple[Path, ...],
    **options: Any,
) -> None:
    """Show the films of SCORES in a browser: sort, filter, look at heat maps, mark.

    SCORES are files of `cxrscore score`. The list has the films of the first file; of others it shows where they
    differ. The server answers this machine only, until Ctrl-C. Marks are
    saved in a marks file; no other file is changed.
    """
    from cxrscore.viewer.server import ViewOptions, open_browser, serve

    with tempfile.TemporaryDirectory(prefix="cxrscore-") as folder:

        def ready(address: str) -> None:
            print_json({"address": address}) if as_json else print_text(address)
            print_line("Open this address in a browser of this machine. Ctrl-C ends the server.", quiet)
            if not no_browser:
                open_browser(address, Path(folder))

        serve(ViewOptions(scores=scores, model=model, **options), ready, print_line if verbose else None)
