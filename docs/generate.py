"""Writes the pages of this folder that say what the program is: from its docstrings, options, schemas and examples.

    python docs/generate.py

tests/unit/test_docs.py demands that they are up to date. Nothing here depends on what else is installed.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import files_page
from markdown_text import code, page, prose, table, wrapped

from cxrscore import contract, errors, testing
from cxrscore.cli import main
from cxrscore.models import architectures
from cxrscore.plugin_values.descriptors import HOOKS, KINDS
from cxrscore.testing.cases import Case, cases

DOCS = Path(__file__).parent
ROOT = DOCS.parent

ENVIRONMENT = {
    "AWS_CHECKSUM_ALGORITHM": "The checksum that goes along with an upload to s3://. Unset: sha256.",
    "CUDA_VISIBLE_DEVICES": "GPUs among which the processes of `--processes` take turns. Unset: all that there are.",
    "CXRSCORE_CACHE": "Folder for downloaded weights and for what training keeps (docs/training.md). Unset: the "
    "platform's user cache folder.",
    "CXRSCORE_MALLOC": "0: glibc's allocator is left as it is. Else the openvino backend has all threads take memory "
    "from one place, which makes the process smaller, and the torch backend, on a CPU, has it keep what is freed as "
    "well, which makes scoring faster and the process larger.",
    "CXRSCORE_OFFLINE": "Set to anything: nothing is downloaded; an error says which file is wanted, and where.",
    "CXRSCORE_PLUGINS": "Which plugins are loaded: unset, all; empty, none; else their names, or the names of their "
    "distributions, with commas between. cxrscore's own losses, readers, metrics and explainers always are.",
    "KERAS_BACKEND": "The engine under Keras: tensorflow, torch or jax. Keras reads it, before keras.json.",
    "KERAS_HOME": "Keras' own cache, in which ImageNet weights are looked for, too. Unset: ~/.keras.",
    **dict.fromkeys(
        ("RANK", "WORLD_SIZE", "LOCAL_RANK", "TORCHELASTIC_RESTART_COUNT", "MASTER_ADDR", "MASTER_PORT"),
        "Set by torchrun, for `train` by several processes (docs/training.md).",
    ),
}

COMMANDS = """`-h` or `--help` shows what follows; `cxrscore --version` the version. Every option can also be set in the
environment, as `CXRSCORE_COMMAND_OPTION`: `CXRSCORE_TRAIN_SIZE=224`. Every command has `--json`: the result as JSON on
standard output, and all else on standard error. Nothing but the result goes to standard output: what plugins, libraries
and child processes write there goes to standard error. If standard output is full, closed, or a pipe that nobody reads
any more, the command says so and ends with exit code 74. Messages that standard error cannot take are dropped.

In bash, `eval "$(_CXRSCORE_COMPLETE=bash_source cxrscore)"` makes the tab key complete commands, options, files and
backends; zsh and fish have `zsh_source` and `fish_source`."""

FAULT = (
    "An unexpected error: a fault of cxrscore or of a plugin. One line names the log file that holds the traceback, "
    "without values ([what is in it](privacy.md#log-files)); please report it as a bug, with that file. If memory, "
    "file descriptors or threads ran out, the exit code is 1 instead, and the line says what to lower."
)

CONTRACT = {
    "What a hook returns": ("Backend", "SupportsInt8", "Dataset", "Loss", "Metric", "Explainer", "Executor"),
    "What a backend builds": (
        "Model",
        "Trainable",
        "TrainableModel",
        "FeatureExtractor",
        "SupportsFeatureTraining",
        "AcceptsIntegerImages",
        "SplitBackbone",
    ),
    "What its models may tell": ("SupportsHeatmaps", "SupportsAutograd", "SupportsActivationRanges"),
    "Several processes": ("SupportsDistributed", "ProcessGroup"),
    "What passes between": ("ModelSpec", "Batch", "Optimiser", "CamParts", "LabelTable", "TaskBatch"),
}
"""The public classes of contract.py, in the order in which an author meets them."""

KIT = ("BackendCases", "DatasetCases", "LossCases", "MetricCases", "ExplainerCases", "ExecutorCases")

# --- reference.md: commands, exit codes, environment, what is built in


def reference_page() -> str:
    commands = "\n\n".join(command_section(name, command) for name, command in main.commands.items())
    return page(
        "Reference",
        "Commands, exit codes, environment variables, and what is built in.",
        f"## Commands\n\n{COMMANDS}\n\n{commands}",
        f"## Errors and exit codes\n\n{exit_codes()}",
        f"## Environment variables\n\n{table(('variable', 'meaning'), *variables())}",
        f"## What is built in\n\n{built_in()}",
    )


def command_section(name: str, command: click.Command) -> str:
    arguments = [parameter for parameter in command.params if isinstance(parameter, click.Argument)]
    usage = " ".join(a.human_readable_name if a.required else f"[{a.human_readable_name}]" for a in arguments)
    options = [option_line(parameter) for parameter in command.params if isinstance(parameter, click.Option)]
    head = f"### cxrscore {name} {usage}".rstrip()
    return "\n\n".join([head, command_text(command.help), "\n".join(options)])


def command_text(text: str | None) -> str:
    """The help of a command; what click leaves as it is, after a backspace, becomes code."""
    parts = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(code(textwrap.dedent(p.lstrip("\b\n")), "sh") if p.startswith("\b") else p for p in parts)


def option_line(option: click.Option) -> str:
    names = ", ".join(option.opts) + "".join(f"/{name}" for name in option.secondary_opts)
    value = "" if option.is_flag else f" {metavar(option)}"
    told = f" Default: `{option.default}`." if option.show_default and option.default is not None else ""
    needed = " Required." if option.required else ""
    help_text = (option.help or "").replace("[default:", "Default:").replace("]", ".")
    return wrapped(f"* `{names}{value}`: {help_text}{told}{needed}", hanging="  ")


def metavar(option: click.Option) -> str:
    if option.metavar:
        return option.metavar
    kind = option.type
    if isinstance(kind, click.Choice):
        return "|".join(map(str, kind.choices))
    if isinstance(kind, click.Path):
        return "FOLDER" if not kind.file_okay else "FILE"
    return "NUMBER" if isinstance(kind, click.types.IntParamType | click.types.FloatParamType) else "TEXT"


def exit_codes() -> str:
    rows = [("0", "", "Done."), ("2", "", "Usage: the command line itself is wrong.")]
    some = (
        "`score` finished, but some films have no score, or places where films may be could not be read; `export`, but "
        "some have no "
    )
    rows += [("3", "", f"{some}report.")]
    rows += [("70", "", FAULT)]
    rows += [("129", "", "Stopped by SIGHUP, as when a terminal closes; as 130.")]
    rows += [("130", "", "Stopped by Ctrl-C; what was written before is whole.")]
    rows += [("143", "", "Stopped by SIGTERM, as batch systems send it; as 130.")]
    rows += [(str(e.exit_code), f"`{e.__name__}`", prose(e.__doc__)) for e in error_classes()]
    return table(
        ("exit code", "error class in `cxrscore.errors`", "meaning"), *sorted(rows, key=lambda row: int(row[0]))
    )


def error_classes() -> list[type[errors.CxrscoreError]]:
    found = [value for value in vars(errors).values() if inspect.isclass(value)]
    return [value for value in found if issubclass(value, errors.CxrscoreError)]


def variables() -> list[tuple[str, str]]:
    return [(f"`{name}`", meaning) for name, meaning in ENVIRONMENT.items()]


def built_in() -> str:
    sections = []
    for hook, kind in KINDS.items():
        rows = [built_in_row(descriptor) for descriptor in own_descriptors(hook)]
        title = hook.removeprefix("cxrscore_").capitalize()
        head = ("name", "architectures", "installed with") if kind == "backend" else ("name", "what it is")
        sections.append(f"### {title}\n\n{table(head, *rows)}")
    return "\n\n".join(sections)


def built_in_row(descriptor: Any) -> tuple[str, ...]:
    if hasattr(descriptor, "architectures"):
        return f"`{descriptor.name}`", ", ".join(descriptor.architectures), f"`{descriptor.install}`"
    return f"`{descriptor.name}`", descriptor.summary


def own_descriptors(hook: str) -> Iterator[Any]:
    """Descriptors of cxrscore's own plugins, in the order of pyproject.toml, whatever else is installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for module in project["entry-points"]["cxrscore"].values():
        yield from getattr(importlib.import_module(module), hook, list)()


# --- contract.md: what a plugin author implements


def contract_page() -> str:
    hooks = "\n\n".join(f"### {name}\n\n{code(hook_stub(name), 'python')}" for name in HOOKS)
    groups = [f"## {title}\n\n{stubs(contract, names)}" for title, names in CONTRACT.items()]
    helpers = [name for name, value in vars(architectures).items() if public_function(architectures, name, value)]
    letters = prose(contract.__doc__).split("\n\n", 1)[1]
    return page(
        "The contract",
        "What a plugin author implements, as it stands in `cxrscore/contract.py`. [Plugins](plugins.md) leads through "
        "it by example, [Conformance](conformance.md) says what is checked.",
        letters,
        f"## Hooks\n\n{prose(contract.Hooks.__doc__)}\n\n{hooks}",
        *groups,
        f"## Helpers for backends\n\n{prose(architectures.__doc__)}\n\nA backend of these networks finds in "
        f"`cxrscore.models.architectures`:\n\n{stubs(architectures, helpers)}",
    )


def hook_stub(name: str) -> str:
    """The hook as an author writes it."""
    return stub(contract, f"Hooks.{name}").replace("@hookspec", "@hookimpl").replace("(self)", "()")


def public_function(module: Any, name: str, value: Any) -> bool:
    return inspect.isfunction(value) and not name.startswith("_") and value.__module__ == module.__name__


def stubs(module: Any, names: Any) -> str:
    return "\n\n".join(f"### {name}\n\n{code(stub(module, name), 'python')}" for name in names)


def stub(module: Any, path: str) -> str:
    """A class or function of a module as it is written there, without the bodies of its functions."""
    home = inspect.getmodule(vars(module)[path.partition(".")[0]])  # contract.py has some of its names from spec.py
    source = inspect.getsource(home or module)
    node: Any = ast.parse(source)
    for name in path.split("."):
        node = next(child for child in node.body if getattr(child, "name", "") == name)
    return textwrap.dedent("\n".join(stub_lines(source.splitlines(), node)))


def stub_lines(lines: list[str], node: Any) -> Iterator[str]:
    """The lines of the node: all but what functions do, and what is private."""
    documented = ast.get_docstring(node) is not None
    yield from (lines[decorator.lineno - 1] for decorator in node.decorator_list)
    yield from lines[node.lineno - 1 : node.body[0].end_lineno if documented else node.body[0].lineno - 1]
    if not isinstance(node, ast.ClassDef):
        if not documented:
            yield lines[node.body[0].lineno - 1]
        return
    end = node.body[0].end_lineno
    for child in node.body[1 if documented else 0 :]:
        if isinstance(child, ast.FunctionDef):
            if not child.name.startswith("_"):
                yield from ["", *stub_lines(lines, child)]
        else:
            yield from [""] * (child.lineno > end + 1)
            yield from lines[child.lineno - 1 : child.end_lineno]
        end = child.end_lineno


# --- conformance.md: the cases of the kit


def conformance_page() -> str:
    sections = [kit_section(getattr(testing, name)) for name in KIT]
    return page(
        "Conformance",
        "The numbered cases that every plugin is held to, cxrscore's own included. Their texts are the specification; "
        "a number stays with its case from release to release. `cxrscore check NAME` runs them, "
        "[Plugins](plugins.md) shows how a test suite does.",
        f"A loss may use these functions of the array namespace:\n\n{wrapped(', '.join(map(quoted, testing.SHARED)))}.",
        *sections,
    )


def quoted(name: str) -> str:
    return f"`{name}`"


def kit_section(cls: type) -> str:
    """The cases of a class, by the classes it is put together from, if it is."""
    parts = [part for part in cls.__bases__ if cases(part)]
    listed = [f"### {(part.__doc__ or '').removesuffix('.')}\n\n{case_texts(part)}" for part in parts]
    return "\n\n".join([f"## {cls.__name__}", prose(cls.__doc__), *(listed or [case_texts(cls)])])


def case_texts(cls: type) -> str:
    return "\n\n".join(map(case_text, cases(cls)))


def case_text(case: Case) -> str:
    ability = f"_{case.ability} only._ " if case.ability else ""
    return wrapped(f"**{case.number} {case.title}.** {ability}{case.text.replace('``', '`')}")


# --- plugins.md: written by hand, with the examples as they are

BLOCK = re.compile(r"(<!-- from (?P<path>\S+?) -->\n)```(?P<language>\w*)\n.*?```", re.DOTALL)


def with_examples(text: str) -> str:
    """The text with each block of code that names a file brought up to date."""

    def fresh(found: re.Match[str]) -> str:
        return found[1] + code((ROOT / found["path"]).read_text(), found["language"])

    return BLOCK.sub(fresh, text)


def pages() -> dict[Path, str]:
    """Every page that is written here, by its path."""
    plugins = DOCS / "plugins.md"
    return {
        DOCS / "reference.md": reference_page(),
        DOCS / "contract.md": contract_page(),
        DOCS / "files.md": files_page.files_page(),
        DOCS / "conformance.md": conformance_page(),
        plugins: with_examples(plugins.read_text()),
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text)
