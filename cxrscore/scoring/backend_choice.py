"""The backend of a run, and its precision where `--precision auto` leaves it to this machine and the model files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cxrscore import plugins
from cxrscore.contract import ModelSpec, ScorePrecision, SupportsInt8
from cxrscore.errors import BackendUnavailableError, InputError
from cxrscore.models.model_file import ModelFile
from cxrscore.models.precision_effects import Machine, describe_effect, why_not_auto
from cxrscore.plugin_values import why_not
from cxrscore.scoring.options import ScoreOptions

_FASTEST_FIRST: tuple[ScorePrecision, ...] = ("int8", "bf16", "fp32")
"""Between backends; each backend has an order of its own."""


@dataclass(frozen=True, kw_only=True)
class PrecisionChoice:
    """What `--precision auto` takes.

    backend    name of the backend that computes
    precision  in which it computes
    note       the precision and the reason, one line for the user
    """

    backend: str
    precision: ScorePrecision
    note: str


def choose_precision(options: ScoreOptions, files: Sequence[ModelFile]) -> PrecisionChoice:
    """Takes the fastest precision that this machine computes natively and whose effect on every model is within the
    bound of its file; fp32 if there is none. If no backend is named, those on the fastest kind of device compete: the
    precision decides first, then the speed of the backends. Errors as chosen_backend."""
    fastest = chosen_backend(options, files)
    choices = [_choice(fastest, options, files)]
    if options.backend is None:
        kind = plugins.device_kind_of(plugins.get_backend(fastest), options.device)
        for name in _backends_of_all(options, files):
            backend = plugins.get_backend(name)
            # One that measured nothing is not asked, because the answer may load its framework.
            if name != fastest and kind in backend.speed and _has_measured(name, files):
                choices.append(_choice(name, options, files))
    best = min(choices, key=lambda choice: _FASTEST_FIRST.index(choice.precision))
    named = "" if options.backend else plugins.default_note(best.backend, f"score in {best.precision} on this device")
    return PrecisionChoice(
        backend=best.backend, precision=best.precision, note=" ".join(filter(None, (best.note, named)))
    )


def _has_measured(name: str, files: Sequence[ModelFile]) -> bool:
    """Whether each model file has an effect that this backend measured."""
    every = (file.document.get("precision_effects", {}).values() for file in files)
    return all(any(effect["backend"] == name for effect in effects) for effects in every)


def _choice(name: str, options: ScoreOptions, files: Sequence[ModelFile]) -> PrecisionChoice:
    """What this backend takes."""
    backend = plugins.get_backend(name)
    native = plugins.native_precisions(backend, options.device)
    machine = Machine(backend=name, device=plugins.device_kind_of(backend, options.device), native=native)
    reasons: dict[str, list[str]] = {}
    for precision in native[: native.index("fp32")]:
        reason = _why_not(precision, machine, files)
        if not reason:
            note = f"precision: {precision} (auto): {_effect(precision, files)}"
            return PrecisionChoice(backend=name, precision=precision, note=note)
        reasons.setdefault(reason, []).append(precision)
    found = "; ".join(f"{' and '.join(precisions)}: {reason}" for reason, precisions in reasons.items())
    if not found:
        found = f"backend {name} computes nothing faster than fp32 natively on this device"
    return PrecisionChoice(backend=name, precision="fp32", note=f"precision: fp32 (auto): {found}")


def _why_not(precision: str, machine: Machine, files: Sequence[ModelFile]) -> str:
    """Why not this precision, by the first model that it does not suit; "" if it suits all."""
    for number, file in enumerate(files, 1):
        if reason := why_not_auto(file.document, precision, machine):
            return f"model {number} of {len(files)}: {reason}" if len(files) > 1 else reason
    return ""


def _effect(precision: str, files: Sequence[ModelFile]) -> str:
    """The effect in words; of several models, of the one whose probabilities move most."""

    def moved(document: Mapping[str, Any]) -> float:
        return float(document["precision_effects"][precision]["max_difference"])

    worst = max((file.document for file in files), key=moved)
    words = describe_effect(worst["precision_effects"][precision], worst["precision_bound"])
    return f"largest effect of {len(files)} models: {words}" if len(files) > 1 else words


def chosen_backend(options: ScoreOptions, files: Sequence[ModelFile]) -> str:
    """The requested backend, else the fastest installed one that can run all models on the device: a process uses one
    framework only."""
    if options.backend is not None:
        return options.backend
    if fitting := _backends_of_all(options, files):
        return fitting[0]
    specs = _distinct_specs(files)
    wanted = [spec.architecture for spec in specs]
    able = [_capable_backends(spec, options) for spec in specs]
    if options.precision == "int8":
        raise BackendUnavailableError(
            'no installed backend computes these models in int8; OpenVINO does: pip install "cxrscore[openvino]"'
        )
    # Requested by name, so that the error names the missing package and how to install it.
    plugins.get_backend(files[0].document.get("training", {}).get("backend") or "torch")
    runs = "; ".join(f"{name!r} by {', '.join(names) or 'none'}" for name, names in zip(wanted, able, strict=True))
    there = plugins.available_backends().values()
    lacking = [reason for spec in specs for one in there if (reason := why_not(one, spec.architecture, spec.network))]
    raise InputError(
        f"no installed backend can run {' and '.join(map(repr, wanted))} ({runs}): {'; '.join(lacking)}. See `cxrscore "
        "plugins`."
    )


def _distinct_specs(files: Sequence[ModelFile]) -> list[ModelSpec]:
    return list({(file.spec.architecture, file.spec.network): file.spec for file in files}.values())


def _backends_of_all(options: ScoreOptions, files: Sequence[ModelFile]) -> list[str]:
    """The backends that can run all models with these options, the fastest first."""
    first, *others = (_capable_backends(spec, options) for spec in _distinct_specs(files))
    return [name for name in first if all(name in names for names in others)]


def _capable_backends(spec: ModelSpec, options: ScoreOptions) -> list[str]:
    """The backends that can run it with these options, the fastest first."""
    names = plugins.fastest_backends(spec, options.device)
    there = plugins.available_backends()
    return [name for name in names if options.precision != "int8" or isinstance(there[name], SupportsInt8)]
