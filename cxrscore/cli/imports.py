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


@click.command("import", short_help="Import a DenseNet121 checkpoint of PyTorch.")
@click.argument("file", type=FILE)
@click.option(
    "-o", "--output", type=FILE, default=Path("model.safetensors"), show_default=True, help="Model file to write."
)
@click.option(
    "--findings",
    help="Names of the outputs, separated by commas; leave a name empty to exclude an output: A,,B. [default: those "
    "in the file, or the 14 of CheXNet]",
)
@click.option(
    "--size",
    type=click.IntRange(32, 4096),
    default=224,
    show_default=True,
    help="Side of the images that the network was trained on, in pixels.",
)
@click.option("--licence", default="unknown", show_default=True, help="Licence of the weights.")
@click.option("--backend", help="Backend that computes the reference logits. [default: the fastest of cxrscore's own]")
@device_option
@overwrite_option
@json_option
@quiet_option
@handle_errors
def import_file(*, findings: str | None, as_json: bool, quiet: bool, **options: Any) -> None:
    """Import FILE, a DenseNet121 checkpoint of PyTorch (CheXNet, torchxrayvision or similar), as a model file.

    No code in FILE is executed. docs/imports.md describes what is read and what is changed.
    """
    from cxrscore.import_checkpoint import ImportOptions, import_model

    names = () if findings is None else tuple(findings.split(","))
    result = import_model(ImportOptions(findings=names, **options))
    for note in result.notes:
        print_line(note, quiet)
    left = f", {result.excluded_outputs} outputs excluded" if result.excluded_outputs else ""
    print_line(
        f"{result.checkpoint_type}: {len(result.findings)} findings{left}, {result.thresholds} thresholds", quiet
    )
    print_line(f"wrote {result.output}", quiet)
    if as_json:
        print_json(vars(result))
