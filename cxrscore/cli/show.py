"""cxrscore show."""

from __future__ import annotations

import click

from cxrscore.cli.common import MODEL_OR_URL, Bar, handle_errors, json_option, model_file, print_json, print_text
from cxrscore.remote.url import PathOrUrl


@click.command(short_help="Describe a scores file or a model file; print a model card.")
@click.argument("file", type=MODEL_OR_URL)
@click.option("--model-card", is_flag=True, help="For a model file: print a model card in Markdown.")
@json_option
@handle_errors
def show(file: PathOrUrl | str, model_card: bool, as_json: bool) -> None:
    """Describe FILE, a scores file, a model file or a public classifier: its origin, its settings and its contents."""
    from cxrscore.show import as_text, describe_file, read_model_card

    if model_card and as_json:
        raise click.UsageError("use either --model-card or --json, not both")
    file = model_file(file, Bar(quiet=False))
    if model_card:
        print_text(read_model_card(file))
        return
    described = describe_file(file)
    if as_json:
        print_json(described)
    else:
        print_text(as_text(described))
