"""The command line: options -> one call -> exit code. It imports nothing heavy until a command runs."""

from __future__ import annotations

import functools
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from cxrscore import __version__
from cxrscore.errors import CxrscoreError

EXIT_SOME_FAILED = 3
"""The run finished, but some films could not be scored."""

_FILE = click.Path(path_type=Path, dir_okay=False)
_FOLDER = click.Path(path_type=Path, file_okay=False)


class Bar:
    """Progress on standard error: a bar with rate and time left on a terminal, nothing elsewhere."""

    def __init__(self, quiet: bool) -> None:
        self._shown = not quiet and sys.stderr.isatty()
        self._step = ""
        self._start = (0.0, 0)
        self._drawn = 0.0

    def __call__(self, step: str, done: int, total: int) -> None:
        kind = step.split(" ", 1)[0]
        if kind != self._step:
            self._step, self._start = kind, (time.monotonic(), done)
        now = time.monotonic()
        if not self._shown or (now - self._drawn < 0.1 and done < total):
            return
        self._drawn = now
        rate = (done - self._start[1]) / max(now - self._start[0], 1e-9)
        left = f"{(total - done) / rate:.0f} s left" if rate > 0 else ""
        full = 24 * done // max(total, 1)
        line = f"\r{step:<44} [{'#' * full:<24}] {done}/{total}  {rate:.1f}/s  {left:<12}"
        click.echo(line, err=True, nl=done >= total and kind != "epoch")

    def close(self) -> None:
        if self._shown:
            click.echo("", err=True)


def _run(function: Callable[..., int | None]) -> Callable[..., None]:
    """Turns errors into one line on standard error and their exit code."""

    @functools.wraps(function)
    def command(*args: Any, **kwargs: Any) -> None:
        try:
            code = function(*args, **kwargs)
        except CxrscoreError as error:
            click.echo(f"cxrscore: {error}", err=True)
            code = error.exit_code
        sys.exit(code or 0)

    return command


def _say(text: str, quiet: bool = False) -> None:
    if not quiet:
        click.echo(text, err=True)


def _print_json(values: Any) -> None:
    click.echo(json.dumps(_without_nan(values), indent=2, default=str, allow_nan=False))


def _without_nan(value: Any) -> Any:
    """null for NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and value != value else value


_device = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
_precision = click.option("--precision", type=click.Choice(["fp32", "bf16"]), default="fp32", show_default=True)
_workers = click.option(
    "-j",
    "--workers",
    type=click.IntRange(1),
    default=os.cpu_count() or 1,
    help="Threads that read films. [default: all cores]",
)
_quiet = click.option("-q", "--quiet", is_flag=True, help="No progress, no summary; errors only.")
_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "CXRSCORE", "max_content_width": 100}
)
@click.version_option(__version__, prog_name="cxrscore")
def main() -> None:
    """Train, score and explain chest X-ray classifiers.

    \b
    The three lines, in a folder that holds films/ and films/labels.csv:
      cxrscore train --backend keras          films/ -> model.safetensors
      cxrscore score ./films -o out.h5        model.safetensors -> out.h5
      cxrscore report out.h5                  out.h5 -> out.html

    Exit codes: 0 done, 1 error, 2 usage, 3 finished but some films failed, 4 patient leakage, 5 a check failed,
    6 backend unavailable, 74 could not write.
    """


@main.command()
@click.argument("films", type=_FOLDER, default=Path("films"))
@click.option(
    "--labels", type=_FILE, help="Label table: NIH Data_Entry or plain CSV. [default: labels.csv in or beside FILMS]"
)
@click.option("-o", "--output", type=_FILE, default=Path("model.safetensors"), show_default=True)
@click.option(
    "--backend", help="keras, torch, or another that `cxrscore plugins` lists. [default: the first installed]"
)
@click.option("--architecture", default="densenet121", show_default=True, help="densenet121, resnet50 or tinycnn.")
@click.option(
    "--weights", default="imagenet", show_default=True, help="Where to start from: imagenet, none, or a weights file."
)
@click.option(
    "--size",
    type=click.IntRange(32, 4096),
    default=400,
    show_default=True,
    help="Side of the films for the network, pixels.",
)
@click.option("--trainable", type=click.Choice(["head", "last-block", "all"]), default="head", show_default=True)
@click.option("--head", type=click.Choice(["gap", "flatten"]), default="gap", show_default=True)
@click.option("--activation", type=click.Choice(["sigmoid", "softmax"]), default="sigmoid", show_default=True)
@click.option(
    "--normalize",
    type=click.Choice(["imagenet-rgb", "imagenet-caffe", "unit"]),
    help="[default: as the weights want it]",
)
@click.option("--loss", default="weighted-bce", show_default=True)
@click.option("--epochs", type=click.IntRange(1), default=80, show_default=True)
@click.option("-b", "--batch-size", type=click.IntRange(1), default=16, show_default=True)
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), default=1e-3, show_default=True)
@click.option(
    "--patience", type=click.IntRange(1), default=10, show_default=True, help="Epochs without a better validation AUC."
)
@click.option(
    "--views",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Augmented views of each training film; 0: none.",
)
@click.option(
    "--split", type=_FILE, help="CSV with the columns film,split (train, valid, test). [default: 70/10/20 by patient]"
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@_device
@_precision
@_workers
@_json
@_quiet
@_run
def train(*, as_json: bool, quiet: bool, backend: str | None, **options: Any) -> None:
    """Train a model on FILMS (default: films) and its label table."""
    from cxrscore.plugins import available_backends
    from cxrscore.train import TrainOptions, train_model

    bar = Bar(quiet)
    chosen = backend or next(iter(available_backends()), "torch")
    result = train_model(TrainOptions(backend=chosen, **options), bar)
    bar.close()
    for path, message in result.failed.items():
        _say(f"left out: {path}: {message}", quiet)
    sizes = ", ".join(f"{count} {name}" for name, count in result.films.items())
    _say(f"{sizes} films; epoch {result.best_epoch} of {len(result.history)} chosen", quiet)
    _say(f"macro AUC: validation {result.macro_auc:.3f}, test {result.test_auc:.3f}", quiet)
    _say(f"wrote {result.output} and {result.run_folder}/", quiet)
    if as_json:
        _print_json(vars(result))


@main.command()
@click.argument("films", type=_FOLDER)
@click.option("-o", "--output", type=_FILE, required=True, help="Scores file to write, HDF5.")
@click.option("-m", "--model", type=_FILE, default=Path("model.safetensors"), show_default=True)
@click.option(
    "--labels", type=_FILE, help="Label table to join. [default: labels.csv in or beside FILMS, if there is one]"
)
@click.option("--no-labels", is_flag=True, help="Join no label table, even if one lies there.")
@click.option("--backend", help="[default: the fastest installed one that can run the model]")
@click.option("-b", "--batch-size", type=click.IntRange(1), default=8, show_default=True)
@click.option("--maps", type=click.IntRange(0), default=4, show_default=True, help="Heat maps kept of each film.")
@click.option("--explainer", default="grad-cam", show_default=True, help="One that `cxrscore plugins` lists.")
@click.option(
    "--tap", help="Layer that heat maps are taken at, e.g. bn of densenet121. [default: the last ReLU, which is pooled]"
)
@click.option("--overwrite", is_flag=True, help="Replace a scores file, or parts, of another run.")
@_device
@_precision
@_workers
@_json
@_quiet
@_run
def score(*, as_json: bool, quiet: bool, **options: Any) -> int:
    """Score every film below FILMS. Started again after a stop, the same line goes on where it was."""
    from cxrscore.score import ScoreOptions, score_films

    bar = Bar(quiet)
    result = score_films(ScoreOptions(command=tuple(sys.argv[1:]), **options), bar)
    for path, message in result.failed.items():
        _say(f"not scored: {path}: {message}", quiet)
    _say(f"{result.scored} of {result.found} films scored by backend {result.backend} in {result.seconds:.0f} s", quiet)
    _say(f"wrote {result.output}", quiet)
    if as_json:
        _print_json(vars(result))
    return EXIT_SOME_FAILED if result.failed else 0


@main.command()
@click.argument("scores", type=_FILE)
@click.option("-o", "--output", type=_FILE, help="[default: SCORES with the suffix .html]")
@click.option("--figures", type=_FOLDER, help="Also write every figure into this folder.")
@click.option("--figure-format", type=click.Choice(["png", "svg"]), default="png", show_default=True)
@_json
@_quiet
@_run
def report(
    scores: Path, output: Path | None, figures: Path | None, figure_format: Any, as_json: bool, quiet: bool
) -> None:
    """Make one self-contained HTML page of a scores file: ROC, Grad-CAM, failures, provenance."""
    from cxrscore.report import write_report
    from cxrscore.scores import open_scores

    target = output or scores.with_suffix(".html")
    summary = write_report(
        open_scores(scores), target, figures=figures, figure_format=figure_format, source=scores.name
    )
    _say(f"wrote {target}", quiet)
    if as_json:
        _print_json(summary)


@main.command()
@_json
@_run
def plugins(as_json: bool) -> None:
    """List plugins: what each brings, and why one does not work."""
    from cxrscore.plugins import missing_modules, registry

    found = registry()
    if as_json:
        _print_json([plugin.as_dict() for plugin in found.plugins])
        return
    for plugin in found.plugins:
        brings = ", ".join(
            f"{hook.removeprefix('cxrscore_')}: {' '.join(names)}"
            for hook, names in plugin.as_dict()["provides"].items()
        )
        click.echo(
            f"{plugin.name:<10} {plugin.distribution} {plugin.version:<8} {plugin.state:<10} {plugin.reason or brings}"
        )
    for name, backend in found.all("cxrscore_backends").items():
        if missing := missing_modules(backend):
            click.echo(f"backend {name} needs {', '.join(missing)}: {backend.install}")


@main.command()
@click.argument("folder", type=_FOLDER)
@click.option("--backend", help="keras, torch, ... [default: the first installed]")
@click.option(
    "--films", type=click.IntRange(60), default=240, show_default=True, help="How many synthetic films to draw."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@_json
@_quiet
@_run
def demo(folder: Path, backend: str | None, films: int, seed: int, as_json: bool, quiet: bool) -> None:
    """Draw synthetic films with labels in FOLDER, then train, score and report on them. No network needed."""
    from cxrscore.demo import run_demo

    result = run_demo(
        folder, backend=backend, films=films, seed=seed, say=lambda text: _say(text, quiet), progress=Bar(quiet)
    )
    if as_json:
        _print_json(result)
