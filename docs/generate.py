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
from cxrscore.descriptors import HOOKS, KINDS
from cxrscore.models import architectures
from cxrscore.testing.cases import Case, cases

DOCS = Path(__file__).parent
ROOT = DOCS.parent

ENVIRONMENT = {
    "AWS_CHECKSUM_ALGORITHM": "Checksum of uploads to s3://. Default: sha256.",
    "CUDA_VISIBLE_DEVICES": "GPUs that the processes of `--processes` share. Default: all.",
    "CXRSCORE_CACHE": "Folder for downloaded weights and cached features. Default: the user cache folder of the "
    "platform.",
    "CXRSCORE_MALLOC": "0: glibc's allocator is not configured. Default: with openvino, all threads share one arena, "
    "which needs less memory; with torch on a CPU, freed memory is also kept, which is faster and needs more.",
    "CXRSCORE_OFFLINE": "Any value: nothing is downloaded; an error names the missing file and where to put it.",
    "CXRSCORE_PLUGINS": "Plugins to load: names of plugins or distributions, separated by commas; empty: none. "
    "Default: all. Built-in losses, readers, metrics and explainers are always loaded.",
    "KERAS_BACKEND": "Engine of Keras: tensorflow, torch or jax. Overrides keras.json.",
    "KERAS_HOME": "Cache of Keras, also searched for ImageNet weights. Default: ~/.keras.",
    **dict.fromkeys(
        ("RANK", "WORLD_SIZE", "LOCAL_RANK", "TORCHELASTIC_RESTART_COUNT", "MASTER_ADDR", "MASTER_PORT"),
        "Set by torchrun for distributed training ([Training](training.md)).",
    ),
}

COMMANDS = """`-h` or `--help` prints this text; `cxrscore --version` the version.

* Every option can be set in the environment as `CXRSCORE_COMMAND_OPTION`: `CXRSCORE_TRAIN_SIZE=224`.
* Only the result goes to standard output, with `--json` as JSON. Progress, messages, and the output of plugins and
  libraries go to standard error.
* If standard output is full or closed, the exit code is 74.
* For tab completion in bash, run `eval "$(_CXRSCORE_COMPLETE=bash_source cxrscore)"`; for zsh and fish use `zsh_source`
  and `fish_source`."""

FAULT = (
    "A bug of cxrscore or a plugin. One line names the log file with the traceback, which contains no values "
    "([Privacy](privacy.md)); please report the bug with this file. If memory, file descriptors or threads "
    "ran out, the exit code is 1 and the message says what to reduce."
)

CONTRACT = {
    "What hooks return": ("Dataset", "Metric", "Loss", "Explainer", "Backend", "Executor"),
    "Models": (
        "Model",
        "Trainable",
        "TrainableModel",
        "FeatureExtractor",
        "SupportsFeatureTraining",
        "AcceptsIntegerImages",
        "SplitBackbone",
        "SupportsHeatmaps",
        "SupportsAutograd",
        "SupportsActivationRanges",
    ),
    "Optional abilities of a backend": ("SupportsInt8", "SupportsDistributed", "ProcessGroup"),
    "Data": ("LabelTable", "ModelSpec", "Batch", "Optimiser", "CamParts", "TaskBatch"),
}
"""The public classes of contract.py, in the order in which a plugin author needs them."""

HELPERS = """`cxrscore.models.architectures` knows the layers, tensor names and shapes of the built-in networks:
densenet121 and resnet50 as in keras.applications, and tinycnn, a plain network of four 3x3 convolutions with ReLU for
demos and tests. A backend that runs them can use these functions."""

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
    default = f" Default: `{option.default}`." if option.show_default and option.default is not None else ""
    needed = " Required." if option.required else ""
    help_text = (option.help or "").replace("[default:", "Default:").replace("]", ".")
    return wrapped(f"* `{names}{value}`: {help_text}{default}{needed}", hanging="  ")


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
    rows = [("0", "", "Done."), ("2", "", "The command line is invalid.")]
    some = "`score` finished, but some films or folders could not be read or scored; `export`, but some have no report."
    rows += [("3", "", some)]
    rows += [("70", "", FAULT)]
    rows += [("129", "", "Stopped by SIGHUP, such as a closed terminal; as 130.")]
    rows += [("130", "", "Stopped by Ctrl-C. Files that were written are complete.")]
    rows += [("143", "", "Stopped by SIGTERM, such as from a batch system; as 130.")]
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
    hooks = "\n\n\n".join(map(hook_stub, HOOKS))
    groups = [f"## {title}\n\n{stubs(contract, names)}" for title, names in CONTRACT.items()]
    found = [name for name, value in vars(architectures).items() if public_function(architectures, name, value)]
    helpers = table(("function", "what it does"), *map(helper_row, found))
    letters = prose(contract.__doc__).split("\n\n", 1)[1]
    return page(
        "The contract",
        "The interfaces that a plugin implements, from `cxrscore/contract.py`. [Plugins](plugins.md) shows complete "
        "examples; [Conformance](conformance.md) lists what `cxrscore check` tests. Import the names from "
        "`cxrscore.contract`.",
        letters,
        f"## Hooks\n\n{prose(contract.Hooks.__doc__)}\n\n{code(hooks, 'python')}",
        *groups,
        f"## Helpers for backends\n\n{HELPERS}\n\n{helpers}",
    )


def helper_row(name: str) -> tuple[str, str]:
    """A function with the names of its parameters, and the first paragraph of its docstring."""
    function = getattr(architectures, name)
    words = prose(function.__doc__).split("\n\n")[0]
    return f"`{name}({', '.join(inspect.signature(function).parameters)})`", words


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
    shared = wrapped(", ".join(map(quoted, testing.SHARED)))
    return page(
        "Conformance",
        "The numbered cases that every plugin must pass, the built-in ones included. [Plugins](plugins.md) shows how "
        "to run them. A case keeps its number from release to release. A case marked with an ability, such as "
        "_Trainable_, is skipped for models or backends without it.",
        wrapped(
            '"rel. 1e-5" means: the largest difference is at most 1e-5 of the largest absolute value expected. '
            '"Reference" is `cxrscore.models.numpy_reference`, in float64.'
        ),
        *sections,
        f"## Functions that a loss may use\n\nFrom `xp`, as listed in `cxrscore.testing.SHARED`:\n\n{shared}.",
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
    ability = f"_{case.ability}._ " if case.ability else ""
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
