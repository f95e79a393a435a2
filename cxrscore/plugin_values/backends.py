"""Checks of backends and of their process groups against the contract."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, cast, get_args

from cxrscore.contract import (
    Backend,
    Model,
    ModelSpec,
    Network,
    ProcessGroup,
    ScorePrecision,
    SupportsDistributed,
    SupportsInt8,
    SupportsNativePrecisions,
    Tensors,
)
from cxrscore.errors import InputError
from cxrscore.plugin_values.models import checked_model
from cxrscore.plugin_values.origin import Origin, describe


class CheckedBackend:
    """Wrap a backend so that its models are checked.

    Parameters
    ----------
    backend
        As ``cxrscore_backends`` returns it.
    origin
        Origin of the backend.
    """

    def __init__(self, backend: Any, origin: Origin) -> None:
        self._inner, self._origin = backend, origin
        self.name: str = backend.name
        self.requires: tuple[str, ...] = tuple(backend.requires)
        self.install: str = backend.install
        self.architectures: tuple[str, ...] = tuple(backend.architectures)
        self.operations: tuple[str, ...] = tuple(getattr(backend, "operations", ()))
        self.trains: bool = backend.trains
        self.speed: Mapping[str, float] = backend.speed

    def build(self, spec: ModelSpec, tensors: Tensors | None, **options: Any) -> Model:
        """See contract.Backend. InputError for a network that the backend cannot run."""
        if reason := why_not(self, spec.architecture, spec.network):
            raise InputError(reason)
        with self._origin.calling("build"):
            model = self._inner.build(spec, tensors, **options)
        return checked_model(model, spec, tensors, self._origin, "build")


class _SupportsInt8(CheckedBackend):
    def build_int8(self, spec: ModelSpec, tensors: Tensors, ranges: Any, **options: Any) -> Model:
        """See contract.SupportsInt8."""
        with self._origin.calling("build_int8"):
            model = self._inner.build_int8(spec, tensors, ranges, **options)
        return checked_model(model, spec, tensors, self._origin, "build_int8")


class _SupportsDistributed(CheckedBackend):
    def join(self, *, rank: int, of: int, device: str) -> ProcessGroup:
        """See contract.SupportsDistributed."""
        with self._origin.calling("join"):
            group = self._inner.join(rank=rank, of=of, device=device)
        missing = [name for name in ("gather", "leave") if not callable(getattr(group, name, None))]
        if missing:
            raise self._origin.fault("join", f"{describe(group)} without {' and '.join(missing)}", "a Group")
        return _CheckedGroup(group, of, self._origin)


class _SupportsNativePrecisions(CheckedBackend):
    def native_precisions(self, device: str = "auto") -> tuple[ScorePrecision, ...]:
        """See contract.SupportsNativePrecisions."""
        with self._origin.calling("native_precisions"):
            found = self._inner.native_precisions(device)
        known = get_args(ScorePrecision) if isinstance(self, SupportsInt8) else ("fp32", "bf16")
        named = isinstance(found, list | tuple) and all(isinstance(one, str) and one in known for one in found)
        if not named or "fp32" not in found or len(set(found)) < len(found):
            wanted = f"fp32 and other names of {', '.join(known)}, each once"
            raise self._origin.fault("native_precisions", f"{found!r:.60}", wanted)
        return tuple(found)


class _CheckedGroup:
    def __init__(self, group: ProcessGroup, of: int, origin: Origin) -> None:
        self._group, self._of, self._origin = group, of, origin

    def gather(self, data: bytes) -> list[bytes]:
        with self._origin.calling("gather"):
            found = self._group.gather(data)
        texts = isinstance(found, list | tuple) and all(isinstance(each, bytes) for each in found)
        if not texts or len(found) != self._of:
            raise self._origin.fault("gather", describe(found), f"bytes from each of {self._of} processes")
        return list(found)

    def leave(self) -> None:
        with self._origin.calling("leave"):
            self._group.leave()


def why_not(backend: Backend, architecture: str, network: Network | None) -> str:
    """Why the backend cannot run a network: the operations that it lacks; "" if it can.

    network: its graph; None if only a backend knows it.
    """
    if architecture in backend.architectures:
        return ""
    operations = getattr(backend, "operations", ())
    if network is None:
        of_its_own = f"; of its own it has: {', '.join(backend.architectures)}" if backend.architectures else ""
        return f"backend {backend.name!r} has no network {architecture!r}, and no plugin brings its graph{of_its_own}"
    if lacking := sorted(network.operations - set(operations)):
        words = "the operation" if len(lacking) == 1 else "the operations"
        return f"backend {backend.name!r} cannot run {architecture!r}: it lacks {words} {', '.join(lacking)}"
    return ""


def checked_backend(backend: Backend, origin: Origin) -> Backend:
    """The backend, with all values of its models checked; its optional interfaces are unchanged."""
    bases = [
        own
        for protocol, own in (
            (SupportsInt8, _SupportsInt8),
            (SupportsDistributed, _SupportsDistributed),
            (SupportsNativePrecisions, _SupportsNativePrecisions),
        )
        if isinstance(backend, protocol)
    ]
    made: Any = _class_of(tuple(bases))(backend, origin)
    return cast(Backend, made)


@functools.cache
def _class_of(abilities: tuple[type[CheckedBackend], ...]) -> type[CheckedBackend]:
    return type("CheckedBackend", abilities, {}) if abilities else CheckedBackend
