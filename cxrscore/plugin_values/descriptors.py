"""Return values of the hooks in contract.py. Descriptors come from other distributions, and all are checked whenever
one is looked up: one invalid descriptor would make the others unusable."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cxrscore.errors import InputError
from cxrscore.networks.graph import Network


def _is_texts(value: object) -> bool:
    return isinstance(value, tuple | list) and all(isinstance(text, str) and text for text in value)


def _is_speeds(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(speed, int | float) for speed in value.values())


_Fit = tuple[str, Callable[[Any], bool]]
_NAME: _Fit = ("a text", lambda value: isinstance(value, str) and bool(value))
_TEXT: _Fit = ("a text", lambda value: isinstance(value, str))
_TEXTS: _Fit = ("a tuple of texts", _is_texts)
_FLAG: _Fit = ("True or False", lambda value: isinstance(value, bool))
_SPEEDS: _Fit = ("a number for each kind of device", _is_speeds)
_FUNCTION: _Fit = ("a function", callable)
_MAYBE_FUNCTION: _Fit = ("a function or None", lambda value: value is None or callable(value))

KINDS = {
    "cxrscore_backends": "backend",
    "cxrscore_networks": "network",
    "cxrscore_datasets": "dataset",
    "cxrscore_losses": "loss",
    "cxrscore_metrics": "metric",
    "cxrscore_explainers": "explainer",
    "cxrscore_executors": "executor",
}
"""Word for one descriptor of each hook."""

HOOKS: dict[str, dict[str, _Fit]] = {
    "cxrscore_backends": {
        "name": _NAME,
        "requires": _TEXTS,
        "install": _TEXT,
        "architectures": _TEXTS,
        "trains": _FLAG,
        "speed": _SPEEDS,
        "build": _FUNCTION,
    },
    "cxrscore_networks": {"name": _NAME},
    "cxrscore_datasets": {"name": _NAME, "summary": _TEXT, "recognises": _FUNCTION, "read": _FUNCTION},
    "cxrscore_losses": {"name": _NAME, "function": _FUNCTION},
    "cxrscore_metrics": {"name": _NAME, "summary": _TEXT, "function": _FUNCTION, "needs_threshold": _FLAG},
    "cxrscore_explainers": {
        "name": _NAME,
        "summary": _TEXT,
        "from_parts": _MAYBE_FUNCTION,
        "from_scores": _MAYBE_FUNCTION,
    },
    "cxrscore_executors": {
        "name": _NAME,
        "summary": _TEXT,
        "requires": _TEXTS,
        "install": _TEXT,
        "run": _FUNCTION,
    },
}
"""The hooks, and the attributes of their descriptors with the required types."""


def check_descriptors(hook: str, returned: object) -> list[Any]:
    """What a hook returned, as a list; InputError unless it is a list of descriptors with all required attributes."""
    if not isinstance(returned, Iterable) or isinstance(returned, str | Mapping):
        raise InputError(f"{hook} returned {_kind(returned)}, expected a list of descriptors")
    found = list(returned)
    for descriptor in found:
        if hook == "cxrscore_networks" and not isinstance(descriptor, Network):
            raise InputError(f"{hook} returned {_kind(descriptor)} in its list, expected a Network")
        if missing := [name for name in HOOKS[hook] if not hasattr(descriptor, name)]:
            raise InputError(f"{hook} returned {_kind(descriptor)} in its list, which lacks {', '.join(missing)}")
        for name, (wanted, fits) in HOOKS[hook].items():
            if not fits(value := getattr(descriptor, name)):
                raise InputError(f"{hook} returned a descriptor whose {name} is {value!r}, expected {wanted}")
        if hook == "cxrscore_backends" and not _is_texts(operations := getattr(descriptor, "operations", ())):
            raise InputError(f"{hook} returned a descriptor whose operations is {operations!r}, expected {_TEXTS[0]}")
    names = [descriptor.name for descriptor in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{hook} returned more than one descriptor called {', '.join(twice)}")
    return found


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
