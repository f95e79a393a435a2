"""cxrscore import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cxrscore.cli.common import (
    FILE,
    device_option,
    handle_errors,
    json_option,
    overwrite_option,
    print_json,
    print_line,
    quiet_option,
)


@click.command("import")
@click.argument("file", type=FILE)
@click.option(
    "-o", "--output", type=FILE, default=Path("model.safetensors"), show_default=True, help="Model file to write."
)
@click.option(
    "--findings",
    help="A name for each output, with commas between, and none for one to leave out: A,,B. "
    "[default: those in the file, or CheXNet's 14]",
)
@click.option(
    "--size",
    type=click.IntRange(32, 4096),
    default=224,
    show_default=True,
    help="Side of the films that it was trained on, pixels.",
)
@click.option("--licence", default="unknown", show_default=True, help="Licence of the weights.")
@click.option("--backend", help="What computes the golden probe. [default: the fastest of cxrscore's own]")
@device_option
@overwrite_option
@json_option
@quiet_option
@handle_errors
def import_file(*, findings: str | None, as_json: bool, quiet: bool, **options: Any) -> None:
    """Make a model file of FILE, a DenseNet121 saved by torch: CheXNet's, torchxrayvision's or one like them.

    Nothing in FILE is run. docs/imports.md says what is read, and what is changed.
    """
    from cxrscore.import_checkpoint import ImportOptions, import_model

    names = () if findings is None else tuple(findings.split(","))
    result = import_model(ImportOptions(findings=names, **options))
    for note in result.notes:
        print_line(note, quiet)
    left = f", {result.excluded_outputs} outputs left out" if result.excluded_outputs else ""
    print_line(
        f"{result.checkpoint_type}: {len(result.findings)} findings{left}, {result.thresholds} operating points", quiet
    )
    print_line(f"wrote {result.output}", quiet)
    if as_json:
        print_json(vars(result))
