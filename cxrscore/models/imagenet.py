"""Initial weights: ImageNet weights, public weights by name, and weights of a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cxrscore.contract import Array, Normalize
from cxrscore.errors import InputError
from cxrscore.io import sha256_file
from cxrscore.io.regular import open_regular
from cxrscore.io.strict_json import unicode_text
from cxrscore.models.import_weights import Fit, ImportedCheckpoint, read_weights_of
from cxrscore.models.model_file import load_model, read_document, seen_films
from cxrscore.models.public_weights import (
    KERAS_LICENCE,
    PUBLIC_WEIGHTS,
    PublicWeights,
    fetch_weights,
    public_weights,
    similar_names,
)
from cxrscore.models.tensor_file import container_of, read_tensor_file
from cxrscore.networks.builtin import networks
from cxrscore.networks.graph import Network
from cxrscore.progress import Log, Progress, no_log, no_progress


@dataclass(frozen=True, kw_only=True)
class WeightsInfo:
    """Metadata of a weights file.

    normalize, fit  normalization, and how films were made square; None if unknown
    seen            film (first 16 hex digits of its SHA-256) -> "train" or "valid", of the films that the weights were
                    made with, and those that they were made from
    has_leakage  whether a leak was allowed in any of these trainings
    trained_on   public data sets of films that they were trained on, as far as it is known
    """

    licence: str
    normalize: Normalize | None = None
    fit: Fit | None = None
    seen: Mapping[str, str] = field(default_factory=dict)
    has_leakage: bool = False
    trained_on: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class BaseWeights:
    """Tensors of a network without its head, by neutral name, and where they came from; ``notes`` are messages for the
    user."""

    tensors: dict[str, Array]
    name: str
    sha256: str
    origin: WeightsInfo
    notes: tuple[str, ...] = ()


def base_weights(
    choice: str,
    architecture: str,
    network: Network | None = None,
    say: Log = no_log,
    progress: Progress = no_progress,
) -> BaseWeights | None:
    """The weights that ``--weights`` names: "none" (None is returned), "imagenet", public weights, or a path.

    network  the graph of the architecture, if it is a plugin's
    say      called with size, licence and source before a download; progress as in fetch_weights

    InputError if the file cannot be found or downloaded, with the name of the file and where to put it, or if it holds
    another network.
    """
    path = weights_file(choice, architecture, say, progress)
    if path is None:
        return None
    entry = _entry(choice, architecture)
    if entry is None:
        return read_weights(path, architecture, network)
    name = unicode_text(path.name) if choice == "imagenet" else entry.name
    if entry.publisher == "keras.applications":
        return _base(path, read_tensor_file(path, _nodes()).tensors, _of_entry(entry), name=name)
    foreign = _foreign(path, None)
    _check_architecture(path, foreign.network.name, architecture)
    return _base(path, foreign.base, _of_entry(entry), name=name)


def weights_file(choice: str, architecture: str, say: Log = no_log, progress: Progress = no_progress) -> Path | None:
    """The file that ``--weights`` names, None for "none"; InputError as base_weights."""
    if choice == "none":
        return None
    entry = _entry(choice, architecture)
    if entry is None:
        return Path(choice)
    if entry.architecture != architecture:
        raise InputError(
            f"{choice} are weights of {entry.architecture}, expected those of {architecture}: give --architecture "
            f"{entry.architecture}, or other --weights"
        )
    name = f"imagenet of {architecture}" if choice == "imagenet" else ""
    return fetch_weights(entry, say, progress, name=name).path


def read_weights(path: Path, architecture: str, network: Network | None = None) -> BaseWeights:
    """A model file, or any file of weights that models.import_weights reads. InputError if it holds another network
    than the one of this name. network: see base_weights."""
    _require(path)
    if (document := _model_document(path)) is not None:
        _check_architecture(path, document["spec"]["architecture"], architecture)
        return _base(path, load_model(path).tensors, _of_document(document))
    foreign = _foreign(path, network)
    _check_architecture(path, foreign.network.name, architecture)
    return _base(path, foreign.base, _of_foreign(foreign), foreign.notes)


def given_file(choice: str) -> Path | None:
    """The file of the user that ``--weights`` names; None for a word or the name of public weights."""
    return None if choice in ("imagenet", "none") or public_weights(choice) is not None else Path(choice)


def _entry(choice: str, architecture: str) -> PublicWeights | None:
    """The public weights that ``--weights`` names; None for a path."""
    if choice != "imagenet":
        return public_weights(choice)
    entry = PUBLIC_WEIGHTS.get(f"keras-{architecture}")
    if entry is None:
        known = [name.removeprefix("keras-") for name in PUBLIC_WEIGHTS if name.startswith("keras-")]
        others = [name for name, other in PUBLIC_WEIGHTS.items() if other.architecture == architecture]
        more = f", such as {others[0]}" if others else ""
        raise InputError(
            f"there are no ImageNet weights for {architecture!r}, only for {', '.join(known)}. Use --weights none, "
            f"--weights PATH, or a name that `cxrscore weights` lists{more}."
        )
    return entry


def _of_entry(entry: PublicWeights) -> WeightsInfo:
    films = entry.trained_on if entry.of_films else ()
    return WeightsInfo(licence=entry.licence, normalize=entry.normalize, fit=entry.fit, trained_on=films)


def _base(
    path: Path, tensors: Mapping[str, Array], origin: WeightsInfo, notes: tuple[str, ...] = (), *, name: str = ""
) -> BaseWeights:
    bare = {name: tensor for name, tensor in tensors.items() if not name.startswith("head/")}
    name = name or unicode_text(path.name)
    return BaseWeights(tensors=bare, name=name, sha256=sha256_file(path), origin=origin, notes=notes)


def _check_architecture(path: Path, found: str, expected: str) -> None:
    if found != expected:
        raise InputError(
            f"{path} holds the weights of {found}, expected those of {expected}: give --architecture {found}, or "
            f"another file for --weights"
        )


def read_weights_info(choice: str, network: Network | None = None) -> WeightsInfo:
    """What is known of the weights that ``--weights`` names before their tensors are: as read_weights has it. Nothing
    is downloaded."""
    if choice in ("none", "imagenet"):
        return WeightsInfo(licence=KERAS_LICENCE if choice == "imagenet" else "unknown")
    if (entry := public_weights(choice)) is not None:
        return _of_entry(entry)
    path = Path(choice)
    _require(path)
    document = _model_document(path)
    return _of_foreign(_foreign(path, network)) if document is None else _of_document(document)


def _model_document(path: Path) -> dict[str, Any] | None:
    """The document of a model file; None for another file of weights."""
    return read_document(path) if container_of(path) == "safetensors" else None


def _foreign(path: Path, network: Network | None) -> ImportedCheckpoint:
    return read_weights_of(path, networks=() if network is None else (network,), backbone_only=True)


def _nodes() -> frozenset[str]:
    return frozenset(node.name for network in networks() for node in network.nodes)


def _require(path: Path) -> None:
    try:
        open_regular(path).close()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"there is no weights file at {path}. Give --weights imagenet, none, a name that `cxrscore weights` lists, "
            f"or the path of a file.{similar_names(path)}"
        ) from None
    except OSError as error:
        raise InputError(f"cannot read the weights {path}: {error.strerror}") from error


def _of_foreign(foreign: ImportedCheckpoint) -> WeightsInfo:
    return WeightsInfo(licence="unknown", normalize=foreign.normalize, fit=foreign.fit)


def _of_document(document: Mapping[str, Any]) -> WeightsInfo:
    return WeightsInfo(
        licence=document["licence"],
        normalize=document["spec"]["normalize"],
        fit=document["preprocessing"]["fit"],
        seen=seen_films(document),
        has_leakage=document["training"]["has_leakage"],
        trained_on=tuple(document.get("trained_on", ())),
    )
