"""cxrscore show."""

from __future__ import annotations

import click

from cxrscore.cli.common import FILE_OR_URL, handle_errors, json_option, print_json, print_text
from cxrscore.remote.url import PathOrUrl


@click.command(short_help="Say what a scores file or a model is; write a model card.")
@click.argument("file", type=FILE_OR_URL)
@click.option("--model-card", is_flag=True, help="Of a model: print a model card, Markdown, of what the file says.")
@json_option
@handle_errors
def show(file: PathOrUrl, model_card: bool, as_json: bool) -> None:
    """Say what FILE, a scores file or a model, is: what made it, of what, and what came out."""
    from cxrscore.show import as_text, describe_file, read_model_card

    if model_card and as_json:
        raise click.UsageError("--model-card is Markdown and --json is not; use one of them")
    if model_card:
        print_text(read_model_card(file))
        return
    described = describe_file(file)
    if as_json:
        print_json(described)
    else:
        print_text(as_text(described))
