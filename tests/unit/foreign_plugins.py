"""Registries with a plugin of a distribution that is not cxrscore's."""

import sys
from importlib import metadata
from types import ModuleType, SimpleNamespace

from cxrscore import hookimpl
from cxrscore.distributions import PluginEntryPoint
from cxrscore.plugins import Registry


def entry_point(name, module, owner):
    """Of a module that brings a plugin, in a distribution of this name."""
    point = metadata.EntryPoint(name, module, "cxrscore")
    vars(point)["dist"] = SimpleNamespace(name=owner, version="1.0")
    return PluginEntryPoint(point=point, own=owner == "cxrscore")


OWN = {
    "builtin": "cxrscore.builtin",
    "torch": "cxrscore_torch",
    "openvino": "cxrscore_openvino",
    "keras": "cxrscore_keras",
    "ray": "cxrscore_ray",
}


def _returns(found):
    return lambda: found


def registry(monkeypatch, name="mine", owner="acme", own=("builtin",), **descriptors):
    """A registry of cxrscore's own entry points of these names and of one plugin, which becomes that of the process.

    descriptors  by hook without its prefix, such as losses=[...]
    """
    module = ModuleType(f"plugin_of_{owner}_{name}")
    for hook, found in descriptors.items():
        vars(module)[f"cxrscore_{hook}"] = hookimpl(_returns(found))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    points = [entry_point(each, OWN[each], "cxrscore") for each in own]
    found = Registry([*points, entry_point(name, module.__name__, owner)])
    monkeypatch.setattr("cxrscore.plugins.registry", lambda: found)
    return found
