"""Look up plugins, and choose one if none is named. The returned objects check the values of the plugin
(cxrscore.plugin_values); the registry holds the unchecked descriptors."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, cast

from cxrscore.contract import (
    Backend,
    Dataset,
    Executor,
    Explainer,
    Loss,
    Metric,
    ModelSpec,
    Network,
    ScorePrecision,
    SupportsDistributed,
    SupportsNativePrecisions,
)
from cxrscore.distributions import plugin_entry_points
from cxrscore.errors import BackendUnavailableError, InputError
from cxrscore.networks.builtin import built_in
from cxrscore.option_values import comma_list
from cxrscore.plugin_values import (
    checked_backend,
    checked_dataset,
    checked_executor,
    checked_explainer,
    checked_loss,
    why_not,
)
from cxrscore.plugin_values.descriptors import KINDS
from cxrscore.progress import Log
from cxrscore.registry import HOOKS_WITH_REQUIREMENTS, Plugin, Registry, lacks_modules, missing_modules, plugin_table

__all__ = ["Plugin", "Registry", "missing_modules", "plugin_table"]


@functools.cache
def registry() -> Registry:
    """The plugins of this process, loaded at the first call."""
    return Registry(plugin_entry_points())


def descriptor(kind: str, name: str) -> Any:
    """Return a descriptor unchecked, for the conformance kit.

    Parameters
    ----------
    kind
        A value of descriptors.KINDS, such as "backend".
    name
        Name of the object.

    Raises
    ------
    BackendUnavailableError
        If a backend or executor is unknown, broken, or lacks a required module.
    InputError
        If there is no object of another kind with this name, or two.
    """
    hook = next(hook for hook, word in KINDS.items() if word == kind)
    if hook not in HOOKS_WITH_REQUIREMENTS:
        return registry().get(hook, kind, name)
    found = registry().get(hook, kind, name, BackendUnavailableError)
    if missing_modules(found):
        raise BackendUnavailableError(lacks_modules(kind, found))
    return found


def get_backend(name: str) -> Backend:
    """Return the backend of that name. It and its models check all returned values.

    Raises
    ------
    BackendUnavailableError
        If it is unknown or broken, or its framework is not installed.
    """
    return checked_backend(descriptor("backend", name), registry().origin("cxrscore_backends", name))


def get_executor(name: str) -> Executor:
    """Return the executor of that name, which checks its values; errors as of get_backend."""
    return checked_executor(descriptor("executor", name), registry().origin("cxrscore_executors", name))


def get_loss(name: str) -> Loss:
    """Return the loss of that name, which checks its values; InputError if there is none, or two."""
    return checked_loss(descriptor("loss", name), registry().origin("cxrscore_losses", name))


def get_metric(name: str) -> Metric:
    """Return the metric of that name; InputError if there is none, or two."""
    return cast(Metric, descriptor("metric", name))


def get_explainer(name: str) -> Explainer:
    """Return the explainer of that name, which checks its values; InputError if there is none, or two."""
    return checked_explainer(descriptor("explainer", name), registry().origin("cxrscore_explainers", name))


def available_backends() -> dict[str, Backend]:
    """Return the usable backends by name, in the order of their plugins: their framework is installed, and no other
    plugin has their name."""
    plugins = registry()
    found: dict[str, Backend] = plugins.all("cxrscore_backends")
    return {
        name: backend
        for name, backend in found.items()
        if not missing_modules(backend) and not plugins.conflict("cxrscore_backends", "backend", name)
    }


def plugin_networks() -> tuple[Network, ...]:
    """Return the networks that plugins bring, without those whose name two of them have."""
    found = registry()
    known: dict[str, Network] = found.all("cxrscore_networks")
    return tuple(
        network
        for name, network in known.items()
        if built_in(name) is None and not found.conflict("cxrscore_networks", "network", name)
    )


def get_network(name: str) -> Network | None:
    """Return the network of that name, of cxrscore or of a plugin; None if it can only be one of a backend's own.

    Raises
    ------
    InputError
        If two plugins bring a network of that name.
    """
    found = registry()
    known: dict[str, Network] = found.all("cxrscore_networks")
    return cast(Network, found.get("cxrscore_networks", "network", name)) if name in known else None


def require_network(name: str, backend: Backend) -> Network | None:
    """Return the network of that name, as get_network; None if it is one of the backend's own.

    Raises
    ------
    InputError
        If neither the backend nor a plugin has it, with the names of all networks; if two plugins bring one of that
        name; or if the backend lacks operations of it, with their names.
    """
    network = get_network(name)
    if network is None and name not in backend.architectures:
        of_its_own = f"; backend {backend.name!r} has {', '.join(backend.architectures)} too"
        raise InputError(
            f"no network is called {name!r}; available: {', '.join(registry().all('cxrscore_networks'))}"
            f"{of_its_own if backend.architectures else ''}. `cxrscore plugins` lists all and why one is missing."
        )
    if reason := why_not(backend, name, network):
        raise InputError(reason)
    return network


def film_size(architecture: str) -> int:
    """Return the side of the films that suits a network, in pixels: what ``train`` uses without a size. 400 for a
    network that only a backend knows; 0, "that of each", for several networks separated by commas; InputError as
    get_network."""
    if len(comma_list(architecture)) > 1:
        return 0
    network = get_network(architecture)
    return 400 if network is None else network.size


def fastest_backends(spec: ModelSpec, device: str = "auto") -> list[str]:
    """Return names of installed backends for a network and device, the fastest first.

    Backends of other distributions come last, because their speed is not verified.
    """
    kinds = ["cuda", "cpu"] if device == "auto" and _has_gpu() else [device_kind(device)]
    speeds = {
        name: b.speed for name, b in available_backends().items() if not why_not(b, spec.architecture, spec.network)
    }
    ordered: list[str] = []
    for kind in kinds:
        able = [name for name in speeds if kind in speeds[name] and name not in ordered]
        ordered += sorted(able, key=lambda name: -speeds[name][kind])
    return sorted(ordered, key=lambda name: not is_own_backend(name))


def device_kind(device: str) -> str:
    """Return "cpu" or "cuda": the kind of a device, of "auto" that of the fastest one of this machine."""
    if device == "auto":
        return "cuda" if _has_gpu() else "cpu"
    return device.partition(":")[0]


def device_kind_of(backend: Backend, device: str) -> str:
    """Return the kind of device that this backend uses: as device_kind, but "cpu" if it supports no GPU."""
    kind = device_kind(device)
    return kind if kind in backend.speed else "cpu"


def native_precisions(backend: Backend, device: str) -> tuple[ScorePrecision, ...]:
    """Return what the backend says that the device computes natively, the fastest first; fp32 if it says nothing."""
    if not isinstance(backend, SupportsNativePrecisions):
        return ("fp32",)
    return tuple(backend.native_precisions(device))


def emulation_note(backend: Backend, precision: str, device: str) -> str:
    """Return a note for the user who names a precision that the device emulates; "" if it does not, or the backend does
    not say."""
    if not isinstance(backend, SupportsNativePrecisions) or precision in native_precisions(backend, device):
        return ""
    return (
        f"this device does not compute {precision} natively, so backend {backend.name} emulates it: it may be slower "
        "than fp32, and differ more from it."
    )


def is_own_backend(name: str) -> bool:
    """Whether the backend of that name is part of cxrscore."""
    return registry().is_own("cxrscore_backends", name)


def default_note(backend: str, what: str) -> str:
    """Return a note for the user if a backend of another distribution was chosen, else "".

    Parameters
    ----------
    backend
        Name of the backend.
    what
        Its task, in words, such as an architecture.
    """
    if is_own_backend(backend):
        return ""
    origin = registry().origin("cxrscore_backends", backend)
    return f"No backend of cxrscore itself can {what}: {origin} was chosen. Name one with --backend to decide yourself."


def training_backend(named: str | None, log: Log, *, architecture: str | None = None, parallel: bool = False) -> str:
    """Return the name of the backend that trains: the named one, or the default, with a note if it is not our own.

    Parameters
    ----------
    named
        What the user names, None for the default.
    log
        Called with the note.
    architecture, parallel
        As in default_training_backend.

    Raises
    ------
    BackendUnavailableError
        If none is named and no backend trains.
    """
    if named:
        return named
    chosen = default_training_backend(architecture=architecture, parallel=parallel)
    if note := default_note(chosen, f"train {architecture}" if architecture else "train"):
        log(note)
    return chosen


def default_training_backend(*, architecture: str | None = None, parallel: bool = False) -> str:
    """Return the name of the backend that trains if none is named.

    Installed backends come before missing ones, and cxrscore's own before others.

    Parameters
    ----------
    architecture
        What it must train, one network or several separated by commas. If no backend has them, the first that trains
        is returned.
    parallel
        Prefer a backend that is SupportsDistributed.

    Raises
    ------
    BackendUnavailableError
        If no backend trains.
    """
    known: dict[str, Backend] = registry().all("cxrscore_backends")
    there = available_backends()
    trainers = [name for name in known if known[name].trains]
    trainers.sort(key=lambda name: (name not in there, not is_own_backend(name)))
    if not trainers:
        raise BackendUnavailableError("no installed plugin provides a backend that can train; see `cxrscore plugins`")
    networks = {one: get_network(one) for one in comma_list(architecture)} if architecture else {}
    able_to = [
        name for name in trainers if not any(why_not(known[name], one, graph) for one, graph in networks.items())
    ]
    having = able_to or trainers
    able = [name for name in having if parallel and isinstance(known[name], SupportsDistributed)]
    return (able or having)[0]


def _has_gpu() -> bool:
    """Whether there is an NVIDIA device, detected without a framework."""
    return Path("/dev/nvidiactl").exists()


def datasets() -> list[Dataset]:
    """Return all label table readers in the order in which they are tried: built-in layouts, those of plugins, and
    ``plain``, which takes almost any table."""
    plugins = registry()
    found = [
        checked_dataset(dataset, plugins.origin("cxrscore_datasets", name))
        for name, dataset in plugins.all("cxrscore_datasets").items()
    ]
    own = {name for name in plugins.all("cxrscore_datasets") if plugins.is_own("cxrscore_datasets", name)}
    return sorted(found, key=lambda d: 2 if d.name == "plain" else d.name not in own)
