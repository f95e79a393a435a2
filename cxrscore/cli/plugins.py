"""The commands ``cxrscore plugins`` and ``cxrscore check``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cxrscore.cli.common import (
    FILE,
    FOLDER,
    MODEL,
    Bar,
    complete_plugins,
    device_option,
    handle_errors,
    json_option,
    model_file,
    precision_option,
    print_json,
    print_text,
)
from cxrscore.errors import CheckError


@click.command(short_help="List the installed plugins.")
@json_option
@handle_errors
def plugins(as_json: bool) -> None:
    """List the installed plugins, what they provide, and why a plugin does not work."""
    from cxrscore.plugins import plugin_table, registry

    found = registry().plugins
    if as_json:
        print_json([plugin.as_dict() for plugin in found])
    else:
        print_text(plugin_table(found))


@click.command(short_help="Run the conformance tests of a plugin, or compare backends.")
@click.argument("name", required=False, shell_complete=complete_plugins)
@click.option("--table", type=FILE, help="Label table that `check dataset:NAME` reads.")
@click.option("--parity", "model", type=MODEL, metavar="MODEL", help="Compare backends on this model file.")
@click.option("--backends", help="With --parity: backends, separated by commas. [default: all installed]")
@click.option("--films", type=FOLDER, help="With --parity: folder of films to compare on. [default: synthetic films]")
@device_option
@precision_option
@json_option
@handle_errors
def check(name: str | None, table: Path | None, model: Path | str | None, as_json: bool, **options: Any) -> int:
    """Run the conformance tests of a plugin, or compare backends on a model.

    NAME is a backend, or network:NAME, dataset:NAME, loss:NAME, metric:NAME, explainer:NAME, executor:NAME. The exit
    code is 5 if a case fails. Without --device, a backend is checked on the CPU.

    \b
      cxrscore check torch
      cxrscore check --parity model.safetensors --backends torch,keras
    """
    if (name is None) == (model is None):
        raise click.UsageError("give the name of a plugin, or a model file with --parity")
    if model is not None:
        return _check_parity(model_file(model, Bar(quiet=False)), as_json, **options)
    from cxrscore.conformance import check_plugin

    assert name is not None
    report = check_plugin(name, table=table, device=options["device"])
    if as_json:
        print_json(report.as_dict())
    else:
        print_text(report.text())
    return CheckError.exit_code if report.failed else 0


def _check_parity(model: Path, as_json: bool, backends: str | None, **options: Any) -> int:
    from cxrscore.compare_backends import compare_backends, installed_backends_for

    names = installed_backends_for(model) if backends is None else [name.strip() for name in backends.split(",")]
    parity = compare_backends(model, names, **options)
    if as_json:
        print_json(parity.as_dict())
    else:
        print_text(parity.text())
    return CheckError.exit_code if parity.failures else 0
