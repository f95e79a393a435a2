"""Writes the parts of docs/ that say what the program is and that no library of the documentation site writes.

    python tools/docs/generate.py

These are docs/reference.md, files.md and conformance.md, the code in plugins.md and networks.md, the tables and
pictures of networks.md, and the tables of weights.md. tests/docs/test_pages.py checks
that they are up to date. The result does not depend on which plugins are installed.
"""

from __future__ import annotations

import importlib
import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import files_page
import networks_page
import weights_page
from markdown_text import code, page, prose, table, wrapped

from cxrscore import errors, testing
from cxrscore.networks.operations import OPERATIONS
from cxrscore.plugin_values.descriptors import KINDS
from cxrscore.testing.cases import Case, cases

DOCS = Path(__file__).parents[2] / "docs"
ROOT = DOCS.parent

ENVIRONMENT = {
    "AWS_CHECKSUM_ALGORITHM": "Checksum of uploads to s3://. Default: sha256.",
    "CUDA_VISIBLE_DEVICES": "GPUs that the processes of `--processes` share. Default: all.",
    "CXRSCORE_BROWSER": "Chromium, Chrome or Edge for `report --pdf`: a path, or a name on PATH. Default: the first on "
    "PATH.",
    "CXRSCORE_CACHE": "Folder for downloaded weights and cached features. Default: the user cache folder of the "
    "platform.",
    "CXRSCORE_DICOMWEB_USER": "User for basic authentication at a [PACS](pacs.md#set-credentials).",
    "CXRSCORE_DICOMWEB_PASSWORD": "The password of this user.",
    "CXRSCORE_DICOMWEB_TOKEN": "Token for bearer authentication at a PACS, in place of user and password.",
    "CXRSCORE_MALLOC": "0: glibc's allocator is not configured. Default: with openvino, all threads share one arena, "
    "which needs less memory; with torch on a CPU, freed memory is also kept, which is faster and needs more.",
    "CXRSCORE_OFFLINE": "Any value: nothing is downloaded; an error names the missing file and where to put it.",
    "CXRSCORE_PLUGINS": "Plugins to load: names of plugins or distributions, separated by commas; empty: none. "
    "Default: all. Built-in losses, readers, metrics and explainers are always loaded.",
    "CXRSCORE_WEIGHTS_MIRROR": "URL of a folder of a web server that has the files of "
    "[public weights](weights.md#mirrors); downloads come from there. Default: the publishers' servers.",
    "KERAS_BACKEND": "Engine of Keras: tensorflow, torch or jax. Overrides keras.json.",
    "KERAS_HOME": "Cache of Keras, also searched for ImageNet weights. Default: ~/.keras.",
    "MLFLOW_EXPERIMENT_NAME": "Experiment of `train --mlflow`. Default: cxrscore.",
    **dict.fromkeys(
        ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"),
        "Read by MLflow: credentials of the tracking server of `train --mlflow`.",
    ),
    "OMP_NUM_THREADS": "Threads of NumPy and of the backends torch, keras and onnx. Default: one for each core.",
    "SSL_CERT_FILE": "File with the certificates of authorities that are trusted for a PACS, if neither "
    "REQUESTS_CA_BUNDLE nor CURL_CA_BUNDLE is set.",
    "TF_CPP_MIN_LOG_LEVEL": "Log lines of TensorFlow that are hidden: 0 none, 1 information, 2 also warnings, 3 also "
    "errors. Default: 3.",
    "TF_ENABLE_ONEDNN_OPTS": "0: TensorFlow computes without oneDNN. Default: with it, on all x86 processors.",
    **dict.fromkeys(
        ("RANK", "WORLD_SIZE", "LOCAL_RANK", "TORCHELASTIC_RESTART_COUNT", "MASTER_ADDR", "MASTER_PORT"),
        "Set by torchrun for distributed training ([Training](training.md)).",
    ),
}

FAULT = (
    "A bug of cxrscore or a plugin. One line names the log file with the traceback, which contains no values "
    "([Privacy](privacy.md)); please report the bug with this file. If memory, file descriptors or threads "
    "ran out, the exit code is 1 and the message says what to reduce."
)

KIT = ("BackendCases", "NetworkCases", "DatasetCases", "LossCases", "MetricCases", "ExplainerCases", "ExecutorCases")

# --- reference.md: exit codes, environment, what is built in


def reference_page() -> str:
    return page(
        "Reference",
        "Exit codes, environment variables, and what is built in. [Commands](commands.md) lists commands and options.",
        f"## Errors and exit codes\n\n{exit_codes()}",
        f"## Environment variables\n\n{table(('variable', 'meaning'), *variables())}",
        f"## What is built in\n\n{built_in()}",
    )


def exit_codes() -> str:
    rows = [("0", "", "Done."), ("2", "", "The command line is invalid.")]
    some = (
        "`score` finished, but some films or folders could not be read or scored; `export`, but not all of the films' "
        "objects or bundles could be made or stored."
    )
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
        head = ("name", "operations of networks", "installed with") if kind == "backend" else ("name", "what it is")
        sections.append(f"### {title}\n\n{table(head, *rows)}")
    return "\n\n".join(sections)


def built_in_row(descriptor: Any) -> tuple[str, ...]:
    if hasattr(descriptor, "architectures"):
        lacking = [name for name in OPERATIONS if name not in descriptor.operations]
        computed = f"all but {', '.join(lacking)}" if lacking else "all"
        return f"`{descriptor.name}`", computed, f"`{descriptor.install}`"
    return f"`{descriptor.name}`", descriptor.summary


def own_descriptors(hook: str) -> Iterator[Any]:
    """Descriptors of cxrscore's own plugins, in the order of pyproject.toml, whatever else is installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for module in project["entry-points"]["cxrscore"].values():
        yield from getattr(importlib.import_module(module), hook, list)()


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
            '"Reference" is `cxrscore.networks.reference`, in float64.'
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


# --- plugins.md and networks.md: written by hand, with the examples as they are, and with tables

BLOCK = re.compile(r"(<!-- from (?P<path>\S+?) -->\n)```(?P<language>\w*)\n.*?```", re.DOTALL)


def with_examples(text: str) -> str:
    """The text with each block of code that names a file brought up to date."""

    def fresh(found: re.Match[str]) -> str:
        return found[1] + code((ROOT / found["path"]).read_text(), found["language"])

    return BLOCK.sub(fresh, text)


REGION = re.compile(r"(<!-- table: (?P<name>[a-z -]+) -->\n\n).*?<!-- end -->", re.DOTALL)
TABLES = {
    "public weights": weights_page.weights_tables,
    "operations": networks_page.operations_table,
    "attributes": networks_page.attributes_table,
    "built-in networks": networks_page.networks_sections,
}


def with_tables(text: str) -> str:
    """The text with each part between <!-- table: NAME --> and <!-- end --> brought up to date."""
    return REGION.sub(lambda found: f"{found[1]}{TABLES[found['name']]()}\n\n<!-- end -->", text)


def pages() -> dict[Path, str]:
    """Every page and picture that is written here, by its path."""
    plugins, networks, weights = DOCS / "plugins.md", DOCS / "networks.md", DOCS / "weights.md"
    return {
        DOCS / "reference.md": reference_page(),
        DOCS / "files.md": files_page.files_page(),
        DOCS / "conformance.md": conformance_page(),
        plugins: with_examples(plugins.read_text()),
        networks: with_tables(with_examples(networks.read_text())),
        weights: with_tables(weights.read_text()),
        **networks_page.pictures(),
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text)
