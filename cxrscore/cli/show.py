"""cxrscore show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cxrscore.cli.common import MODEL_OR_URL, Bar, handle_errors, json_option, model_file, print_json, print_text
from cxrscore.remote.url import PathOrUrl

if TYPE_CHECKING:
    from cxrscore.show import CardFormat


@click.command(short_help="Describe a scores file, model file or ensemble file; print a model card.")
@click.argument("file", type=MODEL_OR_URL)
@click.option("--model-card", is_flag=True, help="For a model file or ensemble file: print a model card.")
@click.option(
    "--model-card-format",
    type=click.Choice(["markdown", "chai-xml"]),
    help="Format of the model card, which is then printed: Markdown in the order of CLAIM, or the XML of the CHAI "
    'Applied Model Card (schema v0.2). What a person must add to the XML begins with "To be filled in by a '
    'person".  [default: markdown]',
)
@json_option
@handle_errors
def show(file: PathOrUrl | str, model_card: bool, model_card_format: CardFormat | None, as_json: bool) -> None:
    """Describe FILE: a scores file, a model file, an ensemble file, or a public classifier by its name."""
    from cxrscore.show import as_text, describe_file, read_model_card

    card = model_card or model_card_format is not None
    if card and as_json:
        raise click.UsageError("use either --model-card or --json, not both")
    file = model_file(file, Bar(quiet=False))
    if card:
        print_text(read_model_card(file, model_card_format or "markdown").removesuffix("\n"))
        return
    described = describe_file(file)
    if as_json:
        print_json(described)
    else:
        print_text(as_text(described))
