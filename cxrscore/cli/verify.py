"""cxrscore verify."""

from __future__ import annotations

from pathlib import Path

import click

from cxrscore.cli.common import (
    FOLDER_OR_URL,
    MODEL,
    MODEL_OR_URL,
    Bar,
    handle_errors,
    json_option,
    model_file,
    print_json,
    print_text,
)
from cxrscore.errors import CheckError
from cxrscore.escape_control_chars import escape_control_characters
from cxrscore.remote.url import PathOrUrl

_WORDS = {True: "ok", False: "FAILED", None: "-"}


@click.command(short_help="Check the integrity of a scores file or a model file.")
@click.argument("file", type=MODEL_OR_URL)
@click.option("--films", type=FOLDER_OR_URL, help="Folder that was scored. Its films are hashed again.")
@click.option(
    "-m",
    "--model",
    type=MODEL,
    multiple=True,
    help="Model that computed the scores. It is hashed again. Repeat for an ensemble.",
)
@json_option
@handle_errors
def verify(file: PathOrUrl | str, films: PathOrUrl | None, model: tuple[Path | str, ...], as_json: bool) -> int:
    """Check the integrity of FILE, a scores file or a model file. The exit code is 5 if a check fails."""
    from cxrscore.verify import as_dicts, verify_file

    bar = Bar(quiet=False)
    models = tuple(model_file(one, bar) for one in model)
    verdicts = verify_file(model_file(file, bar), films=films, model=models)
    if as_json:
        print_json(as_dicts(verdicts))
    else:
        for verdict in verdicts:
            print_text(f"{_WORDS[verdict.passed]:<7} {verdict.check}: {escape_control_characters(verdict.message)}")
    return CheckError.exit_code if any(verdict.passed is False for verdict in verdicts) else 0
