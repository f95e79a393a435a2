"""Asking for plugins, and choosing one where none is named. What is handed out checks its own values
(cxrscore.plugin_values); the registry has the descriptors as their plugins made them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, cast

from cxrscore.contract import Backend, Dataset, Executor, Explainer, Loss, Metric, SupportsDistributed
from cxrscore.distributions import plugin_entry_points
from cxrscore.errors import BackendUnavailableError
from cxrscore.plugin_values import (
    checked_backend,
    checked_dataset,
    checked_executor,
    checked_explainer,
    checked_loss,
)
from cxrscore.plugin_values.descriptors import KINDS
from cxrscore.registry import HOOKS_WITH_REQUIREMENTS, Plugin, Registry, lacks_modules, missing_modules, plugin_table

__all__ = ["Plugin", "Registry", "missing_modules", "plugin_table"]


@functools.cache
def registry() -> Registry:
    """The plugins of this process; loaded at the first call."""
    return Registry(plugin_entry_points())


def descriptor(kind: str, name: str) -> Any:
    """A descriptor as its plugin made it, unchecked: for the conformance kit.

    Parameters
    ----------
    kind
        A word of descriptors.KINDS, such as "backend".
    name
        Its name.

    Raises
    ------
    BackendUnavailableError
        If it is a backend or an executor, and unknown, broken, or without a module that it requires.
    InputError
        If it is of another kind, and there is none of this name, or two.
    """
    hook = next(hook for hook, word in KINDS.items() if word == kind)
    if hook not in HOOKS_WITH_REQUIREMENTS:
        return registry().get(hook, kind, name)
    found = registry().get(hook, kind, name, BackendUnavailableError)
    if missing_modules(found):
        raise BackendUnavailableError(lacks_modules(kind, found))
    return found


def get_backend(name: str) -> Backend:
    """The backend of that name; BackendUnavailableError if unknown, broken, or without its framework. All that it and
    its models return is checked."""
    return checked_backend(descriptor("backend", name), registry().origin("cxrscore_backends", name))


def get_executor(name: str) -> Executor:
    """The executor of that name, checked; BackendUnavailableError if unknown, broken, or without its engine."""
    return checked_executor(descriptor("executor", name), registry().origin("cxrscore_executors", name))


def get_loss(name: str) -> Loss:
    """The loss of that name, checked; InputError if there is none, or two."""
    return checked_loss(descriptor("loss", name), registry().origin("cxrscore_losses", name))


def get_metric(name: str) -> Metric:
    """The metric of that name; InputError if there is none, or two."""
    return cast(Metric, descriptor("metric", name))


def get_explainer(name: str) -> Explainer:
    """The explainer of that name, checked; InputError if there is none, or two."""
    return checked_explainer(descriptor("explainer", name), registry().origin("cxrscore_explainers", name))


def available_backends() -> dict[str, Backend]:
    """Backends to choose from where none is named, in the order of their plugins: those whose framework is installed
    and whose name no other plugin claims."""
    plugins = registry()
    found: dict[str, Backend] = plugins.all("cxrscore_backends")
    return {
        name: backend
        for name, backend in found.items()
        if not missing_modules(backend) and not plugins.conflict("cxrscore_backends", "backend", name)
    }


def fastest_backends(architecture: str, device: str = "auto") -> list[str]:
    """Names of the installed backends that can run the architecture on such a device: cxrscore's own, the fastest
    first, then those of other distributions, as what these say of their speed is not checked."""
    kinds = {"auto": ["cuda", "cpu"] if _has_gpu() else ["cpu"]}.get(device, [device.partition(":")[0]])
    speeds = {name: b.speed for name, b in available_backends().items() if architecture in b.architectures}
    ordered: list[str] = []
    for kind in kinds:
        able = [name for name in speeds if kind in speeds[name] and name not in ordered]
        ordered += sorted(able, key=lambda name: -speeds[name][kind])
    return sorted(ordered, key=lambda name: not is_own_backend(name))


def is_own_backend(name: str) -> bool:
    """Whether cxrscore itself brings the backend of that name."""
    return registry().is_own("cxrscore_backends", name)


def default_note(backend: str, what: str) -> str:
    """What to tell a user for whom a backend was chosen: "" where it is cxrscore's own.

    Parameters
    ----------
    backend
        Its name.
    what
        What it was chosen for, such as an architecture, in words.
    """
    if is_own_backend(backend):
        return ""
    origin = registry().origin("cxrscore_backends", backend)
    return f"No backend of cxrscore itself can {what}: {origin} was chosen. Name one with --backend to decide yourself."


def default_training_backend(*, architecture: str | None = None, parallel: bool = False) -> str:
    """Name of the first backend that can train the architecture, cxrscore's own before those of others; an available
    one if there is, and, if wanted and there, one with which several processes can. Where none has the architecture,
    the first that can train. BackendUnavailableError if none can."""
    known: dict[str, Backend] = registry().all("cxrscore_backends")
    there = available_backends()
    trainers = [name for name in known if known[name].trains]
    trainers.sort(key=lambda name: (name not in there, not is_own_backend(name)))
    if not trainers:
        raise BackendUnavailableError("no installed plugin brings a backend that can train; see `cxrscore plugins`")
    having = [name for name in trainers if architecture in (None, *known[name].architectures)] or trainers
    able = [name for name in having if parallel and isinstance(known[name], SupportsDistributed)]
    return (able or having)[0]


def _has_gpu() -> bool:
    """Whether there is an NVIDIA device, detected without a framework."""
    return Path("/dev/nvidiactl").exists()


def datasets() -> list[Dataset]:
    """All label-table readers in the order in which they are asked: cxrscore's own layouts, those of plugins, and
    cxrscore's plain CSV, which takes almost anything."""
    plugins = registry()
    found = [
        checked_dataset(dataset, plugins.origin("cxrscore_datasets", name))
        for name, dataset in plugins.all("cxrscore_datasets").items()
    ]
    own = {name for name in plugins.all("cxrscore_datasets") if plugins.is_own("cxrscore_datasets", name)}
    return sorted(found, key=lambda d: 2 if d.name == "plain" else d.name not in own)
