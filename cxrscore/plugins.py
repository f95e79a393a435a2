"""Finding, listing and asking for plugins. Each is loaded in its own try: one that fails stops no other.

A plugin is an entry point of the group ``cxrscore`` that names a module with hook implementations.
CXRSCORE_PLUGINS restricts which are loaded: unset = all, empty = none, a comma-separated list = those
(cxrscore's own losses, readers and metrics are always there).
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib import metadata, util
from pathlib import Path
from typing import Any, Literal, cast

import pluggy

from cxrscore.contract import GROUP, Backend, Dataset, Explainer, Hooks, Loss, Metric
from cxrscore.errors import BackendUnavailableError, CxrscoreError, InputError

State = Literal["ok", "broken", "left out", "name taken"]

_NEEDED: dict[str, tuple[str, ...]] = {
    "cxrscore_backends": ("name", "requires", "install", "architectures", "speed", "build"),
    "cxrscore_datasets": ("name", "summary", "recognises", "read"),
    "cxrscore_losses": ("name", "function"),
    "cxrscore_metrics": ("name", "summary", "function"),
    "cxrscore_explainers": ("name", "summary", "from_parts", "from_scores"),
}
"""The attributes that descriptors of each hook must have."""


@dataclass(kw_only=True)
class Plugin:
    """One entry point and what became of it."""

    name: str
    distribution: str
    version: str
    state: State = "ok"
    reason: str = ""
    hooks: tuple[str, ...] = ()
    provides: dict[str, list[Any]] = field(default_factory=dict, repr=False)

    def fail(self, reason: str, state: State = "broken") -> None:
        self.state, self.reason, self.provides = state, reason, {}

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, as ``cxrscore plugins --json`` prints it."""
        provided = {hook: [d.name for d in found] for hook, found in self.provides.items()}
        return {
            "name": self.name,
            "distribution": self.distribution,
            "version": self.version,
            "state": self.state,
            "reason": self.reason,
            "hooks": list(self.hooks),
            "provides": provided,
        }


class Registry:
    """All plugins of this process, loaded once."""

    def __init__(self, entry_points: Iterable[metadata.EntryPoint]) -> None:
        self._manager = pluggy.PluginManager(GROUP)
        self._manager.add_hookspecs(Hooks)
        self.plugins: list[Plugin] = []
        for entry_point in sorted(entry_points, key=_first_party_first):
            self._load(entry_point)

    def _load(self, entry_point: metadata.EntryPoint) -> None:
        dist = entry_point.dist
        plugin = Plugin(
            name=entry_point.name,
            distribution=dist.name if dist else "unknown",
            version=dist.version if dist else "",
        )
        self.plugins.append(plugin)
        if not _wanted(entry_point):
            plugin.fail("CXRSCORE_PLUGINS does not name it", "left out")
        elif rival := self._rival(plugin):
            plugin.fail(_two_of_one_name("plugin", plugin.name, rival.distribution, plugin.distribution), "name taken")
        else:
            self._register(plugin, entry_point)

    def _rival(self, plugin: Plugin) -> Plugin | None:
        others = (p for p in self.plugins if p is not plugin and p.name == plugin.name and p.state != "left out")
        return next(others, None)

    def _register(self, plugin: Plugin, entry_point: metadata.EntryPoint) -> None:
        module: Any = None
        try:
            module = entry_point.load()
            self._manager.register(module, name=plugin.name)
            self._manager.check_pending()
            self._collect(plugin)
        except Exception as error:  # noqa: BLE001 - a foreign module may raise anything, and must fail alone
            plugin.fail(_explain(error, entry_point))
            if module is not None and self._manager.is_registered(module):
                self._manager.unregister(module)

    def _collect(self, plugin: Plugin) -> None:
        """Calls the plugin's hooks, one by one, and checks what they return."""
        callers = self._manager.get_hookcallers(self._manager.get_plugin(plugin.name)) or []
        plugin.hooks = tuple(sorted(caller.name for caller in callers))
        for caller in callers:
            implementation = next(i for i in caller.get_hookimpls() if i.plugin_name == plugin.name)
            found: list[Any] = list(cast(Iterable[Any], implementation.function()))
            for descriptor in found:
                _check_descriptor(caller.name, descriptor)
            plugin.provides[caller.name] = found

    def all(self, hook: str) -> dict[str, Any]:
        """Descriptors of a hook by name, those of broken plugins left out. First come, first served; a second
        of the same name is an error only when that name is asked for (see get)."""
        found: dict[str, Any] = {}
        for plugin in self.plugins:
            for descriptor in plugin.provides.get(hook, ()):
                found.setdefault(descriptor.name, descriptor)
        return found

    def get(self, hook: str, kind: str, name: str, error: type[CxrscoreError] = InputError) -> Any:
        """The descriptor of that name; raises ``error`` saying why there is none, or why there are two."""
        owners = [p for p in self.plugins if any(d.name == name for d in p.provides.get(hook, ()))]
        if len(owners) > 1:
            raise error(_two_of_one_name(kind, name, owners[0].distribution, owners[1].distribution))
        if taken := next((p for p in self.plugins if p.name == name and p.state == "name taken"), None):
            raise error(taken.reason)
        if not owners:
            raise error(self._unknown(hook, kind, name))
        return self.all(hook)[name]

    def _unknown(self, hook: str, kind: str, name: str) -> str:
        for plugin in self.plugins:
            if plugin.name == name and plugin.state != "ok":
                return f"{kind} {name!r} of {plugin.distribution} is {plugin.state}: {plugin.reason}"
        known = ", ".join(self.all(hook)) or "none"
        return f"no {kind} is called {name!r}; there is: {known}. `cxrscore plugins` lists all and why one is missing."


def _first_party_first(entry_point: metadata.EntryPoint) -> tuple[bool, str, str]:
    owner = entry_point.dist.name if entry_point.dist else ""
    return owner != GROUP, owner, entry_point.name


def _wanted(entry_point: metadata.EntryPoint) -> bool:
    chosen = os.environ.get("CXRSCORE_PLUGINS")
    return chosen is None or entry_point.name == "builtin" or entry_point.name in chosen.replace(" ", "").split(",")


def _two_of_one_name(kind: str, name: str, first: str, second: str) -> str:
    return (
        f"two distributions bring a {kind} called {name!r}: {first} and {second}. "
        "Uninstall one, or name the plugins to load in CXRSCORE_PLUGINS."
    )


def _explain(error: Exception, entry_point: metadata.EntryPoint) -> str:
    """What a plugin author needs: which module, which hook, what fault."""
    return f"{entry_point.value}: {type(error).__name__}: {error}"


def _check_descriptor(hook: str, descriptor: Any) -> None:
    missing = [name for name in _NEEDED[hook] if not hasattr(descriptor, name)]
    if missing:
        raise TypeError(f"{hook} returned {descriptor!r}, which lacks {', '.join(missing)}")


@functools.cache
def registry() -> Registry:
    """The plugins of this process; loaded at the first call."""
    return Registry(metadata.entry_points(group=GROUP))


def missing_modules(backend: Backend) -> list[str]:
    """Modules that the backend requires and that are not installed; imports none of them."""
    return [name for name in backend.requires if util.find_spec(name) is None]


def get_backend(name: str) -> Backend:
    """The backend of that name; BackendUnavailableError if unknown, broken, or without its framework."""
    backend = cast(Backend, registry().get("cxrscore_backends", "backend", name, BackendUnavailableError))
    if missing := missing_modules(backend):
        raise BackendUnavailableError(
            f"backend {name!r} needs {', '.join(missing)}, which is not installed. Install it with: {backend.install}"
        )
    return backend


def available_backends() -> dict[str, Backend]:
    """Backends whose framework is installed, by name, in the order of their plugins."""
    found: dict[str, Backend] = registry().all("cxrscore_backends")
    return {name: backend for name, backend in found.items() if not missing_modules(backend)}


def fastest_backends(architecture: str, device: str = "auto") -> list[str]:
    """Names of the installed backends that can run the architecture on such a device, the fastest first."""
    kinds = {"auto": ["cuda", "cpu"] if _has_gpu() else ["cpu"]}.get(device, [device.partition(":")[0]])
    speeds = {name: b.speed for name, b in available_backends().items() if architecture in b.architectures}
    ordered: list[str] = []
    for kind in kinds:
        able = [name for name in speeds if kind in speeds[name] and name not in ordered]
        ordered += sorted(able, key=lambda name: -speeds[name][kind])
    return ordered


def _has_gpu() -> bool:
    """Whether there is an NVIDIA device, told without a framework."""
    return Path("/dev/nvidiactl").exists()


def datasets() -> list[Dataset]:
    """All label-table readers; cxrscore's plain CSV, which takes almost anything, last."""
    found: dict[str, Dataset] = registry().all("cxrscore_datasets")
    return sorted(found.values(), key=lambda d: d.name == "plain")


def _getter(hook: str, kind: str) -> Callable[[str], Any]:
    def get(name: str) -> Any:
        return registry().get(hook, kind, name)

    get.__doc__ = f"The {kind} of that name; InputError if there is none, or two."
    return get


get_loss: Callable[[str], Loss] = _getter("cxrscore_losses", "loss")
get_metric: Callable[[str], Metric] = _getter("cxrscore_metrics", "metric")
get_explainer: Callable[[str], Explainer] = _getter("cxrscore_explainers", "explainer")
