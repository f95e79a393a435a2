"""The command ``cxrscore weights`` and its subcommand ``fetch``."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from cxrscore.cli.common import (
    Bar,
    complete_weights,
    handle_errors,
    json_option,
    print_json,
    print_text,
    quiet_option,
)

if TYPE_CHECKING:
    from cxrscore.models.public_weights import PublicWeights

_WIDTH = 100


@click.group(invoke_without_command=True, short_help="List public weights, or download them.")
@json_option
@click.pass_context
def weights(context: click.Context, as_json: bool) -> None:
    """List the public weights that cxrscore knows by name.

    A classifier scores films at once; from a backbone, `train` makes one. Names are taken where files are taken, and
    the file is then downloaded once:

    \b
      cxrscore score ./films -o out.h5 -m densenet121-res224-all
      cxrscore train ./films --weights rad-dino
    """
    if context.invoked_subcommand is None:
        _list(as_json)
    elif as_json:
        raise click.UsageError(f"put --json after {context.invoked_subcommand}")


@handle_errors
def _list(as_json: bool) -> None:
    from cxrscore.models.public_weights import PUBLIC_WEIGHTS

    if as_json:
        print_json([entry.as_dict() for entry in PUBLIC_WEIGHTS.values()])
    else:
        print_text("\n\n".join("\n".join(_lines(entry)) for entry in PUBLIC_WEIGHTS.values()))


def _lines(entry: PublicWeights) -> Iterator[str]:
    from cxrscore.models.public_weights import cached_file

    found = cached_file(entry)
    kind = f"{len(entry.findings)} findings" if entry.outputs else "backbone without findings"
    yield f"{entry.name}: {entry.architecture}, films of {entry.size} pixels, {kind}"
    rows = {
        "findings": ", ".join(entry.findings),
        "trained on": ", ".join(entry.trained_on),
        "licence": entry.licence,
        "source": entry.url,
        "in cache": "no" if found is None else str(found),
    }
    for name, text in rows.items():
        if text:
            yield from textwrap.wrap(
                text,
                _WIDTH,
                initial_indent=f"  {name:<12}",
                subsequent_indent=" " * 14,
                break_long_words=False,
                break_on_hyphens=False,
            )


@weights.command(short_help="Download public weights into the cache.")
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=complete_weights)
@json_option
@quiet_option
@handle_errors
def fetch(names: tuple[str, ...], as_json: bool, quiet: bool) -> None:
    """Download the weights NAME into the cache, unless they are there, and check them.

    Size, licence and source are printed before a download starts. A stopped download is resumed by the same command.
    CXRSCORE_WEIGHTS_MIRROR names a mirror, and CXRSCORE_CACHE the folder.
    """
    from cxrscore.models.public_weights import fetch_weights, known_weights

    fetched = []
    for entry in [known_weights(name) for name in names]:
        bar = Bar(quiet)
        one = fetch_weights(entry, bar.line, bar)
        bar.line(f"{entry.name}: {'wrote' if one.downloaded else 'already at'} {one.path}")
        fetched.append(one)
    if as_json:
        print_json(
            [
                {
                    "name": one.entry.name,
                    "path": str(one.path),
                    "sha256": one.sha256,
                    "downloaded": one.downloaded,
                    "licence": one.entry.licence,
                    "url": one.entry.url,
                }
                for one in fetched
            ]
        )
