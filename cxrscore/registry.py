"""The plugins of a process, and conflicts between their names. Each plugin is loaded separately: if one fails, the
others still load.

A plugin is an entry point of the group ``cxrscore`` that names a module with hook implementations. CXRSCORE_PLUGINS
restricts which are loaded: unset = all, empty = none, comma-separated names of plugins or of their distributions =
those (cxrscore's own losses, readers, metrics and explainers are always loaded).
"""

from __future__ import annotations

import difflib
import inspect
import os
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import metadata, util
from pathlib import Path
from typing import Any, Literal

import pluggy

from cxrscore.contract import GROUP, Backend, Executor, Hooks
from cxrscore.distributions import PluginEntryPoint
from cxrscore.errors import CxrscoreError, InputError
from cxrscore.escape_control_chars import error_message, error_words
from cxrscore.interrupts import is_interrupt
from cxrscore.plugin_values import Origin
from cxrscore.plugin_values.descriptors import HOOKS, KINDS, check_descriptors

HOOKS_WITH_REQUIREMENTS = ("cxrscore_backends", "cxrscore_executors")
"""Hooks whose descriptors name required modules."""

State = Literal["ok", "broken", "excluded", "name conflict", "unavailable"]


@dataclass(kw_only=True)
class Plugin:
    """One entry point and its state.

    own     whether cxrscore itself provides it
    state   "ok"; "excluded" by CXRSCORE_PLUGINS; "broken", it could not be loaded; "name conflict", another plugin has
            its name, or all names of its objects; "unavailable", all its objects lack a required module
    reason  why it is not ok, or which of its objects cannot be used; else ""
    """

    name: str
    distribution: str
    version: str
    own: bool = False
    state: State = "ok"
    reason: str = ""
    hooks: tuple[str, ...] = ()
    provides: dict[str, list[Any]] = field(default_factory=dict, repr=False)

    def fail(self, reason: str, state: State = "broken") -> None:
        self.state, self.reason, self.provides = state, reason, {}

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, for ``cxrscore plugins --json``."""
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

    def __init__(self, found: Iterable[PluginEntryPoint]) -> None:
        self._manager = pluggy.PluginManager(GROUP)
        self._manager.add_hookspecs(Hooks)
        self.plugins: list[Plugin] = []
        for one in sorted(found, key=_own_first):
            self._load(one)

    def _load(self, found: PluginEntryPoint) -> None:
        plugin = Plugin(name=found.point.name, distribution=found.distribution, version=found.version, own=found.own)
        self.plugins.append(plugin)
        if found.impostor:
            plugin.fail(_IMPOSTOR, "name conflict")
        elif not _is_wanted(found):
            plugin.fail("CXRSCORE_PLUGINS does not name it", "excluded")
        elif rival := self._rival(plugin):
            plugin.fail(_taken_by(rival, "plugin", plugin.name, plugin), "name conflict")
        else:
            self._register(plugin, found.point)

    def _rival(self, plugin: Plugin) -> Plugin | None:
        others = (p for p in self.plugins if p is not plugin and p.name == plugin.name and p.state != "excluded")
        return next(others, None)

    def _register(self, plugin: Plugin, entry_point: metadata.EntryPoint) -> None:
        try:
            module = entry_point.load()
            self._check_hooks(module)
            self._manager.register(module, name=plugin.name)
            self._manager.check_pending()
            self._collect(plugin)
            self._note_unusable(plugin)
        except BaseException as error:
            if is_interrupt(error):
                raise
            plugin.fail(_explain(error, entry_point))
            if self._manager.has_plugin(plugin.name):
                self._manager.unregister(name=plugin.name)

    def _check_hooks(self, module: Any) -> None:
        """InputError unless the module is new, and contains at least one marked function, all of them hooks without
        arguments."""
        if other := self._manager.get_name(module):
            raise InputError(f"plugin {other!r} is this module, too; one entry point is enough")
        marked = {
            options.get("specname") or name: getattr(module, name)
            for name in dir(module)
            if (options := self._manager.parse_hookimpl_opts(module, name))
        }
        if not marked:
            raise InputError("it provides nothing: none of its functions is marked with @cxrscore.hookimpl")
        for name, function in marked.items():
            if name not in HOOKS:
                suggestion = difflib.get_close_matches(name, HOOKS, n=1)
                meant = f"did you mean {suggestion[0]}?" if suggestion else f"the hooks are {', '.join(HOOKS)}"
                raise InputError(f"no hook is called {name}; {meant}")
            if parameters := ", ".join(inspect.signature(function).parameters):
                raise InputError(f"{name}({parameters}) takes arguments, expected a function that takes none")

    def _collect(self, plugin: Plugin) -> None:
        """Call the plugin's hooks one by one, and check what they return."""
        callers = self._manager.get_hookcallers(self._manager.get_plugin(plugin.name)) or []
        plugin.hooks = tuple(sorted(caller.name for caller in callers))
        for caller in callers:
            implementation = next(i for i in caller.get_hookimpls() if i.plugin_name == plugin.name)
            plugin.provides[caller.name] = check_descriptors(caller.name, implementation.function())

    def _note_unusable(self, plugin: Plugin) -> None:
        """Record which objects of a loaded plugin cannot be used: duplicate names, missing required modules. Objects
        with a name of cxrscore's own are dropped, so that these work as without the plugin."""
        notes: list[tuple[State, str]] = []
        brought = list(_provided_names(plugin))
        for hook, descriptor in brought:
            kind = KINDS[hook]
            if other := self._holder(hook, descriptor.name, plugin):
                notes.append(("name conflict", _taken_by(other, kind, descriptor.name, plugin)))
                if other.own:
                    plugin.provides[hook] = [one for one in plugin.provides[hook] if one is not descriptor]
            elif hook in HOOKS_WITH_REQUIREMENTS and missing_modules(descriptor):
                notes.append(("unavailable", lacks_modules(kind, descriptor)))
        plugin.reason = " ".join(reason for _, reason in notes)
        if notes and len(notes) == len(brought):
            plugin.state = notes[0][0]

    def _holder(self, hook: str, name: str, plugin: Plugin) -> Plugin | None:
        """Another plugin with this name: one that provides it, or one of cxrscore's own plugins with this name (as for
        its backends and executors), which may be broken."""
        others = [p for p in self._owners(hook, name) if p is not plugin]
        if hook in HOOKS_WITH_REQUIREMENTS and not plugin.own:
            others += [p for p in self.plugins if p.own and p.name == name and p.state != "excluded"]
        return next(iter(others), None)

    def _owners(self, hook: str, name: str) -> list[Plugin]:
        return [p for p in self.plugins if any(d.name == name for d in p.provides.get(hook, ()))]

    def is_own(self, hook: str, name: str) -> bool:
        """Whether cxrscore itself provides the descriptor of that name."""
        return any(plugin.own for plugin in self._owners(hook, name))

    def origin(self, hook: str, name: str) -> Origin:
        """The origin of the descriptor of that name."""
        owner = self._owners(hook, name)[0]
        return Origin(kind=KINDS[hook], name=name, distribution=owner.distribution, own=owner.own)

    def all(self, hook: str) -> dict[str, Any]:
        """Descriptors of a hook by name, without those of broken plugins. The first one is used; a second one of the
        same name is an error only when that name is looked up (see get)."""
        found: dict[str, Any] = {}
        for plugin in self.plugins:
            for descriptor in plugin.provides.get(hook, ()):
                found.setdefault(descriptor.name, descriptor)
        return found

    def conflict(self, hook: str, kind: str, name: str) -> str:
        """Why two plugins have this name; "" if only one has it."""
        owners = self._owners(hook, name)
        if len(owners) > 1:
            return _two_of_one_name(kind, name, owners[0].distribution, owners[1].distribution)
        if owners and owners[0].own:
            return ""
        return next((p.reason for p in self.plugins if p.name == name and p.state == "name conflict"), "")

    def get(self, hook: str, kind: str, name: str, error: type[CxrscoreError] = InputError) -> Any:
        """The descriptor of that name; raises ``error`` with the reason if there is none, or two."""
        if reason := self.conflict(hook, kind, name):
            raise error(reason)
        if not self._owners(hook, name):
            raise error(self._unknown(hook, kind, name))
        return self.all(hook)[name]

    def _unknown(self, hook: str, kind: str, name: str) -> str:
        for plugin in self.plugins:
            if plugin.name == name and plugin.state != "ok":
                return f"{kind} {name!r} of {plugin.distribution} is {plugin.state}: {plugin.reason}"
        known = ", ".join(self.all(hook)) or "none"
        others = "".join(f", but a {KINDS[other]} is" for other in KINDS if name in self.all(other))
        return (
            f"no {kind} is called {name!r}{others}; available: {known}. "
            "`cxrscore plugins` lists all and why one is missing."
        )


_IMPOSTOR = (
    "its distribution has the name cxrscore, but does not contain this package: it is not loaded. Uninstall it,"
    "or ask its authors for another name"
)


def _own_first(found: PluginEntryPoint) -> tuple[bool, str, str]:
    return not found.own, found.distribution, found.point.name


def _is_wanted(found: PluginEntryPoint) -> bool:
    chosen = os.environ.get("CXRSCORE_PLUGINS")
    if chosen is None or (found.own and found.point.name == "builtin"):
        return True
    return bool({found.distribution, found.point.name} & set(chosen.replace(" ", "").split(",")))


def _taken_by(holder: Plugin, kind: str, name: str, plugin: Plugin) -> str:
    """Why a plugin cannot have a name that another one has."""
    if holder.own:
        return f"{kind} {name!r} of {plugin.distribution} is excluded: cxrscore has one of this name"
    return _two_of_one_name(kind, name, holder.distribution, plugin.distribution)


def _two_of_one_name(kind: str, name: str, first: str, second: str) -> str:
    return (
        f"two distributions provide a {kind} called {name!r}: {first} and {second}. "
        f"Uninstall one, or leave it out by naming those to load, as in CXRSCORE_PLUGINS={first}"
    )


def _explain(error: BaseException, entry_point: metadata.EntryPoint) -> str:
    """For plugin authors: the file and line, or else the module, and the error."""
    module = entry_point.module
    if isinstance(error, InputError):
        return f"{module}: {error_message(error)}"
    if isinstance(error, ModuleNotFoundError) and error.name == module:
        owner = entry_point.dist.name if entry_point.dist else "its distribution"
        return f"there is no module {module}; install {owner} again"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if _is_part_of(Path(f.filename), module)]
    place = f"{_short(frames[-1].filename)}, line {frames[-1].lineno}" if frames else module
    advice = ""
    if isinstance(error, ModuleNotFoundError):
        advice = ". Install it; or, if the plugin is yours, import it inside build() and name it in requires"
    return f"{place}: {error_words(error)}{advice}"


def _is_part_of(file: Path, module: str) -> bool:
    package = module.partition(".")[0]
    return file.stem == package or package in file.parts


def _short(filename: str) -> str:
    """The file with its folder, which is the package if there is one."""
    return "/".join(Path(filename).parts[-2:])


def _provided_names(plugin: Plugin) -> Iterator[tuple[str, Any]]:
    for hook, found in plugin.provides.items():
        for descriptor in found:
            yield hook, descriptor


def plugin_table(plugins: Sequence[Plugin]) -> str:
    """Plugins as a table: name, distribution, version, state; then the objects of each by hook, and why it is not
    ok."""
    rows: list[tuple[str, ...]] = [("name", "distribution", "version", "state", "brings")]
    for plugin in plugins:
        names = {hook.removeprefix("cxrscore_"): found for hook, found in plugin.as_dict()["provides"].items()}
        lines = [f"{hook}: {', '.join(found)}" for hook, found in names.items() if found]
        first, *more = [*lines, *([plugin.reason] if plugin.reason else [])] or [""]
        rows.append((plugin.name, plugin.distribution, plugin.version, plugin.state, first))
        rows += [("", "", "", "", line) for line in more]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join("  ".join([*map(str.ljust, row, widths), row[4]]).rstrip() for row in rows)


def missing_modules(descriptor: Backend | Executor) -> list[str]:
    """Modules that a backend or executor requires and that are not installed; imports none of them."""
    return [name for name in descriptor.requires if not _is_installed(name.partition(".")[0])]


def _is_installed(module: str) -> bool:
    return sys.modules.get(module) is not None or util.find_spec(module) is not None


def lacks_modules(kind: str, descriptor: Backend | Executor) -> str:
    """The error for missing modules, with the command that installs them."""
    missing = ", ".join(missing_modules(descriptor))
    return f"{kind} {descriptor.name!r} needs {missing}, which is not installed. Install it with: {descriptor.install}"
