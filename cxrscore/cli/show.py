"""cxrscore show."""

from __future__ import annotations

import click

from cxrscore.cli.common import FILE_OR_URL, ends_with_exit_code, json_option, print_json, print_text
from cxrscore.remote.place import Place


@click.command(short_help="Say what a scores file or a model is; write a model card.")
@click.argument("file", type=FILE_OR_URL)
@click.option("--card", is_flag=True, help="Of a model: print a model card, Markdown, of what the file says.")
@json_option
@ends_with_exit_code
def show(file: Place, card: bool, as_json: bool) -> None:
    """Say what FILE, a scores file or a model, is: what made it, of what, and what came out."""
    from cxrscore.show import as_text, card_of, describe_file

    if card and as_json:
        raise click.UsageError("--card is Markdown and --json is not; use one of them")
    if card:
        print_text(card_of(file))
        return
    described = describe_file(file)
    if as_json:
        print_json(described)
    else:
        print_text(as_text(described))
