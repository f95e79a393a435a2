"""What all commands share: progress, exit codes, output, and common options."""

from __future__ import annotations

import functools
import json
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from cxrscore.cli.endings import end, fault
from cxrscore.cli.streams import command_output, results
from cxrscore.errors import InputError
from cxrscore.escape_control_chars import escape_control_characters
from cxrscore.io.outputs import RULE
from cxrscore.remote.url import RemotePath, is_url, parse_location
from cxrscore.system_resources import default_workers

EXIT_SOME_FAILED = 3
"""The run finished, but some films, or folders that may contain films, could not be read."""


class _LocalPath(click.Path):
    """A local path. A URL is rejected, and not repeated, because it may contain a password."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and is_url(value):
            self.fail("expected a local path, not a URL", param, ctx)
        return super().convert(value, param, ctx)


class _PathOrUrl(click.Path):
    """A path, or a URL such as s3://bucket/films."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str):
            try:
                value = parse_location(value)
            except InputError as error:
                self.fail(str(error), param, ctx)
        return value if isinstance(value, RemotePath) else super().convert(value, param, ctx)


def _complete_models(begun: str) -> list[CompletionItem]:
    """Names of public weights, for shell completion."""
    from cxrscore.models.public_weights import PUBLIC_WEIGHTS

    return [CompletionItem(name) for name in PUBLIC_WEIGHTS if begun and name.startswith(begun)]


class _Model(_LocalPath):
    """A local path, or the name of public weights, which stays a text: see public_models.model_path."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if _is_public(value) else super().convert(value, param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [*_complete_models(incomplete), *super().shell_complete(ctx, param, incomplete)]


class _ModelOrUrl(_PathOrUrl):
    """A path, a URL, or the name of public weights."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if _is_public(value) else super().convert(value, param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [*_complete_models(incomplete), *super().shell_complete(ctx, param, incomplete)]


def _is_public(value: Any) -> bool:
    from cxrscore.models.public_weights import public_weights

    return public_weights(value) is not None


class _CommaSeparated(click.types.StringParamType):
    """A text of an option that may be repeated: an environment variable has commas between them, not spaces, because
    names of findings have spaces."""

    envvar_list_splitter = ","


COMMA_SEPARATED = _CommaSeparated()
FILE = _LocalPath(path_type=Path, dir_okay=False)
FOLDER = _LocalPath(path_type=Path, file_okay=False)
PATH = _LocalPath(path_type=Path)
FILE_OR_URL = _PathOrUrl(path_type=Path, dir_okay=False)
PATH_OR_URL = _PathOrUrl(path_type=Path)
FOLDER_OR_URL = _PathOrUrl(path_type=Path, file_okay=False)
MODEL = _Model(path_type=Path, dir_okay=False)
MODEL_OR_URL = _ModelOrUrl(path_type=Path, dir_okay=False)


class Bar:
    """Progress on standard error: on a terminal a bar with rate and remaining time, otherwise nothing."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._shown = not quiet and sys.stderr.isatty()
        self._step = ""
        self._start = (0.0, 0)
        self._drawn = 0.0
        self._open = False

    def __call__(self, step: str, done: int, total: int) -> None:
        kind = step.split(" ", 1)[0]
        if kind != self._step:
            self._step, self._start = kind, (time.monotonic(), done)
        now = time.monotonic()
        if not self._shown or (now - self._drawn < 0.1 and done < total):
            return
        self._drawn = now
        rate = (done - self._start[1]) / max(now - self._start[0], 1e-9)
        left = f"about {_clock((total - done) / rate)} left" if rate > 0 else ""
        full = 24 * done // max(total, 1)
        line = f"\r{step:<44} [{'#' * full:<24}] {done}/{total}  {rate:.1f}/s  {left:<20}"
        self._open = done < total or kind == "epoch"
        click.echo(line, err=True, nl=not self._open)

    def line(self, text: str) -> None:
        """Print a line that remains, in place of the bar if there is one."""
        if self._open:
            click.echo(f"\r{'':<120}\r", err=True, nl=False)
        self._open = False
        print_line(text, self._quiet)

    def close(self) -> None:
        if self._open:
            click.echo("", err=True)
        self._open = False


def _clock(seconds: float) -> str:
    """Minutes and seconds, with hours if needed."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def handle_errors(function: Callable[..., int | None]) -> Callable[..., None]:
    """Turn exceptions into one line on standard error and an exit code, and reserve standard output for the result."""

    @functools.wraps(function)
    def command(*args: Any, **kwargs: Any) -> None:
        try:
            with command_output():
                code = function(*args, **kwargs)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise  # errors of the command line: click shows them with the usage
        except SystemExit as error:  # raised by a plugin or a library: the command is not finished
            code = fault(error)
        except BaseException as error:  # noqa: BLE001 - whatever the exception, the command ends with one line
            code = end(error)
        sys.exit(code or 0)

    return command


def print_line(text: str, quiet: bool = False) -> None:
    """Print one line on standard error, with control characters of file names escaped."""
    if not quiet:
        click.echo(escape_control_characters(text), err=True)


def print_failures(
    said: str,
    failed: Sequence[tuple[str, str]],
    statuses: Sequence[str] = (),
    *,
    verbose: bool = False,
    quiet: bool = False,
) -> None:
    """Print the films that failed: a few of one reason each in a line, more in one line with an example.

    said      what became of them, such as "not scored"
    failed    films and messages
    statuses  the names of their statuses, if known
    verbose   print each film
    """
    from cxrscore.status import group_failures

    known = statuses or ("",) * len(failed)
    if verbose:
        for film, message in failed:
            print_line(f"{said}: {film}: {message}", quiet)
        return
    groups = group_failures((film, status, message) for (film, message), status in zip(failed, known, strict=True))
    for group in groups[:MOST_REASONS]:
        film, message = group.films[0]
        if len(group.films) > MOST_SINGLY:
            status = f", {group.status}" if group.status else ""
            print_line(f"{said}: {len(group.films):,} films{status}, such as {film}: {message}", quiet)
            continue
        for film, message in group.films:
            print_line(f"{said}: {film}: {message}", quiet)
    if rest := groups[MOST_REASONS:]:
        films = sum(len(group.films) for group in rest)
        print_line(f"{said}: {films:,} films for {len(rest):,} other reasons", quiet)


MOST_SINGLY = 3
"""Largest number of films of one reason that are printed one by one."""
MOST_REASONS = 20
"""Largest number of reasons that are printed."""


def split_names(text: str | None) -> tuple[str, ...]:
    """Names separated by commas; none if the option is not given."""
    return () if text is None else tuple(text.split(","))


def model_file(given: Any, bar: Bar) -> Any:
    """The model file of an argument of type MODEL or MODEL_OR_URL: a path or URL as it is; of public weights that which
    is kept in the cache, downloaded and converted if need be."""
    if not isinstance(given, str):
        return given
    from cxrscore.public_models import model_path

    return model_path(given, bar.line, bar)


def complete_weights(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    """Names of public weights for shell completion."""
    from cxrscore.models.public_weights import PUBLIC_WEIGHTS

    return [name for name in PUBLIC_WEIGHTS if name.startswith(begun)]


def complete_plugins(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    """Names of installed plugins for shell completion: from their metadata, so that no framework is imported."""
    from importlib.metadata import entry_points

    names = {point.name for point in entry_points(group="cxrscore")} - {"builtin"}
    return sorted(name for name in names if name.startswith(begun))


def print_text(text: str) -> None:
    """Print on standard output; characters that its encoding lacks are escaped."""
    output = results()
    coding = output.encoding or "utf-8"
    click.echo(text.encode(coding, "backslashreplace").decode(coding), file=output)


def print_json(values: Any) -> None:
    click.echo(json.dumps(_as_json(values), indent=2, default=str, allow_nan=False), file=results())


def print_result(result: Any) -> None:
    """The result of a run, with one object for each film that failed."""
    print_json(_result_values(result))


def _result_values(result: Any) -> dict[str, Any]:
    failed = [{"film": film, "message": message} for film, message in result.failed]
    for one, status in zip(failed, getattr(result, "failed_statuses", ()), strict=False):
        one["status"] = status
    members = [_result_values(member) for member in getattr(result, "members", ())]  # of a trained ensemble
    values = {name: value for name, value in vars(result).items() if name != "failed_statuses"}
    return {**values, "failed": failed, **({"members": members} if members else {})}


def _as_json(value: Any) -> Any:
    """Replace NaN and the infinities by null, because JSON lacks them, and NumPy's numbers by Python's."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _as_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


device_option = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
_PRECISION_HELP = "Arithmetic of the network; bf16 is faster if the device supports it, but less precise."
precision_option = click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16"]),
    default="fp32",
    show_default=True,
    help=_PRECISION_HELP,
)
score_precision_option = click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16", "int8", "auto"]),
    default="fp32",
    show_default=True,
    help=f"{_PRECISION_HELP} int8 is faster still, and needs a model file made by `cxrscore quantize`. auto: the "
    "fastest one that this machine computes natively and whose effect on the scores, as `quantize` measured it, is "
    "within the bound in the model file; a line says which and why.",
)
workers_option = click.option(
    "-j",
    "--workers",
    type=click.IntRange(1),
    default=default_workers,
    help="Processes or threads that read films. [default: one per core, at most 32]",
)
executor_option = click.option(
    "--executor",
    default="local",
    show_default=True,
    help="Executor that runs the processes: local (this machine) or ray (a cluster).",
)
processes_option = click.option(
    "--processes",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Number of processes that compute. Each loads the models and uses an equal number of cores.",
)
uncertain_option = click.option(
    "--uncertain",
    metavar="RULE",
    default="unknown",
    show_default=True,
    help="What a label that the table marks as uncertain counts as: unknown, positive or negative; by finding as in "
    "negative,Atelectasis=positive,Edema=positive.",
)
blank_option = click.option(
    "--blank",
    metavar="RULE",
    default="unknown",
    show_default=True,
    help="What a blank cell counts as, if the film has a row in the table: unknown or negative; by finding as for "
    "--uncertain.",
)
film_column_option = click.option(
    "--film-column",
    metavar="NAME",
    help="Column of the label table that names the films. [default: known by its name, such as film or Image Index]",
)
patient_column_option = click.option(
    "--patient-column",
    metavar="NAME",
    help="Column of the label table that identifies the patients. [default: known by its name, such as Patient ID or "
    "MRN, else by the names of NIH, CheXpert and MIMIC-CXR films]",
)
finding_column_option = click.option(
    "--finding",
    "findings",
    metavar="NAME=COLUMN",
    type=COMMA_SEPARATED,
    multiple=True,
    help="Column of the label table with the labels of a finding of the model; repeat for several. [default: the "
    "column of the finding's name]",
)
allow_unmatched_option = click.option(
    "--allow-unmatched",
    is_flag=True,
    help="Go on if more than half of the films and more than half of the rows of the label table do not match.",
)
overwrite_option = click.option("--overwrite", is_flag=True, help=RULE)
address_option = click.option("--address", help="Address of the executor's cluster. [default: this machine only]")
trained_on_option = click.option(
    "--trained-on",
    metavar="NAMES",
    callback=lambda context, option, text: split_names(text),
    help="Public data sets that the weights were trained on, separated by commas: NIH, PadChest, CheXpert, MIMIC-CXR, "
    "Google, OpenI, RSNA, SIIM, VinDr, VinDr-PCXR, BRAX, or any other name. Figures on their films are marked as not "
    "held-out.",
)
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Print errors only: no progress and no summary.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
