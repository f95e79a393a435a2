"""Initial weights: ImageNet weights, with their URLs, and weights of a file.

ImageNet's files are those of ``keras.applications`` (MIT licence; DenseNet authors BSD-3-Clause, ResNet authors MIT),
without the classification layer. URL and MD5 are facts published in the source of keras.applications.
"""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cxrscore.contract import Array, Normalize
from cxrscore.errors import FileFormatError, InputError
from cxrscore.io import atomic_write, make_folder, sha256_file
from cxrscore.io.entries import cache_folder
from cxrscore.io.regular import open_regular
from cxrscore.io.strict_json import unicode_text
from cxrscore.models.import_weights import Fit, ImportedCheckpoint, read_weights_of
from cxrscore.models.model_file import load_model, read_document, seen_films
from cxrscore.models.tensor_file import container_of, read_tensor_file
from cxrscore.networks.builtin import networks
from cxrscore.networks.graph import Network

_LICENCE = "keras.applications, MIT"


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file that can be downloaded: its name in the cache, its URL, and the MD5 its publisher states."""

    file: str
    url: str
    md5: str


_BASE = "https://storage.googleapis.com/tensorflow/keras-applications"


def _notop(folder: str, name: str, md5: str) -> Source:
    file = f"{name}_weights_tf_dim_ordering_tf_kernels_notop.h5"
    return Source(file=file, url=f"{_BASE}/{folder}/{file}", md5=md5)


SOURCES = {
    "densenet121": _notop("densenet", "densenet121", "30ee3e1110167f948a6b9946edeeb738"),
    "densenet169": _notop("densenet", "densenet169", "b8c4d4c20dd625c148057b9ff1c1176b"),
    "densenet201": _notop("densenet", "densenet201", "c13680b51ded0fb44dff2d8f86ac8bb1"),
    "resnet50": _notop("resnet", "resnet50", "4d473c1dd8becc155b73f8504c6f6626"),
}


@dataclass(frozen=True, kw_only=True)
class WeightsInfo:
    """Metadata of a weights file.

    normalize, fit  normalization, and how films were made square; None if unknown
    seen            film (first 16 hex digits of its SHA-256) -> "train" or "valid", of the films that the weights were
                    made with, and those that they were made from
    has_leakage  whether a leak was allowed in any of these trainings
    trained_on   public data sets that they were trained on, as far as a model file says it
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


def base_weights(choice: str, architecture: str, network: Network | None = None) -> BaseWeights | None:
    """The weights that ``--weights`` names: "none" (None is returned), "imagenet", or a path.

    network  the graph of the architecture, if it is a plugin's

    InputError if the file cannot be found or downloaded, with the name of the file and where to put it, or if it holds
    another network.
    """
    path = weights_file(choice, architecture)
    if path is None:
        return None
    if choice == "imagenet":
        return _base(path, read_tensor_file(path, _nodes()).tensors, WeightsInfo(licence=_LICENCE))
    return read_weights(path, architecture, network)


def weights_file(choice: str, architecture: str) -> Path | None:
    """The file that ``--weights`` names, None for "none"; InputError as base_weights."""
    if choice == "none":
        return None
    return imagenet_file(architecture) if choice == "imagenet" else Path(choice)


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


def _base(path: Path, tensors: Mapping[str, Array], origin: WeightsInfo, notes: tuple[str, ...] = ()) -> BaseWeights:
    bare = {name: tensor for name, tensor in tensors.items() if not name.startswith("head/")}
    name = unicode_text(path.name)
    return BaseWeights(tensors=bare, name=name, sha256=sha256_file(path), origin=origin, notes=notes)


def _check_architecture(path: Path, found: str, expected: str) -> None:
    if found != expected:
        raise InputError(
            f"{path} holds the weights of {found}, expected those of {expected}: give --architecture {found}, or "
            f"another file for --weights"
        )


def read_weights_info(choice: str, network: Network | None = None) -> WeightsInfo:
    """What is known of the weights that ``--weights`` names before their tensors are: as read_weights has it."""
    if choice in ("none", "imagenet"):
        return WeightsInfo(licence=_LICENCE if choice == "imagenet" else "unknown")
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
            f"there is no weights file at {path}. Give --weights imagenet, none, or the path of a file."
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


def imagenet_file(architecture: str) -> Path:
    """The ImageNet file of an architecture: from the cache, from Keras' own cache, or downloaded.

    A file with the name of its publisher is compared with the published MD5 and ignored if it differs.
    """
    source = SOURCES.get(architecture)
    if source is None:
        raise InputError(
            f"there are no ImageNet weights for {architecture!r}, only for {', '.join(SOURCES)}. "
            "Use --weights none, or --weights PATH."
        )
    places = weights_candidates(architecture)
    found = next((place for place in places if place.is_file() and _is_sound(place, source)), None)
    return found or _download(source, architecture)


def _is_sound(path: Path, source: Source) -> bool:
    return path.name != source.file or _md5(path) == source.md5


def _md5(path: Path) -> str:
    """The MD5 of a file, hex; "" if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError:
        return ""


def weights_candidates(architecture: str) -> list[Path]:
    """Search paths of a file, in order."""
    folder = cache_folder()
    keras_home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    file = SOURCES[architecture].file
    return [folder / f"{architecture}_imagenet_notop.safetensors", folder / file, keras_home / "models" / file]


def _download(source: Source, architecture: str) -> Path:
    target = cache_folder() / source.file
    if os.environ.get("CXRSCORE_OFFLINE"):
        damaged = f"{target} is damaged, and " if target.exists() else ""
        raise InputError(_missing_weights_error(source, architecture, f"{damaged}CXRSCORE_OFFLINE forbids downloading"))
    make_folder(target.parent)
    with atomic_write(target) as part:
        try:
            digest = _fetch(source.url, part)
        except (urllib.error.URLError, OSError) as error:
            raise InputError(
                _missing_weights_error(source, architecture, f"downloading {source.url} failed: {error}")
            ) from error
        if digest != source.md5:
            raise FileFormatError(f"{source.url} gave a file of MD5 {digest}, expected {source.md5}: not used")
    return target


def _fetch(url: str, target: Path) -> str:
    """Streams the URL into a file; returns its MD5."""
    digest = hashlib.md5(usedforsecurity=False)
    with urllib.request.urlopen(url, timeout=60) as answer, target.open("wb") as file:
        while block := answer.read(1 << 20):
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def _missing_weights_error(source: Source, architecture: str, why: str) -> str:
    return (
        f"the ImageNet weights of {architecture} are not here: {why}. Get {source.file} (MD5 {source.md5}) from "
        f"{source.url} on a machine with network and put it into {cache_folder()}, or give its path with --weights."
    )
