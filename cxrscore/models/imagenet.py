"""Initial weights: ImageNet weights, with their URLs and their Keras .h5 format, and weights of a file.

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

import safetensors
import safetensors.numpy

from cxrscore.contract import Array, Normalize
from cxrscore.errors import FileFormatError, InputError
from cxrscore.io import atomic_write, make_folder, sha256_file
from cxrscore.io.entries import cache_folder
from cxrscore.io.hdf5.reader import HDF5File, open_guarded, read_dataset, read_names
from cxrscore.io.regular import open_regular, read_regular
from cxrscore.io.strict_json import unicode_text
from cxrscore.models.import_torch import Fit, ImportedCheckpoint, read_torch_densenet
from cxrscore.models.model_file import MAX_FILE_BYTES, load_model, read_document, seen_films
from cxrscore.models.torch_file import SUFFIXES


def read_keras_h5(path: Path) -> dict[str, Array]:
    """Neutral name -> array; FileFormatError if it is not a Keras weights file or contains anything unsafe."""
    with open_guarded(path) as file:
        above = "model_weights/" if "model_weights" in file.groups else ""
        names = _words(file, above.rstrip("/"), "layer_names")
        if names is None:
            raise FileFormatError(f"{path} is not a Keras weights file: it has no attribute layer_names")
        tensors: dict[str, Array] = {}
        for layer in names:
            for weight in _words(file, f"{above}{layer}", "weight_names") or []:
                tensors[_neutral(layer, weight)] = read_dataset(file, f"{above}{layer}/{weight}")
    return tensors


def _words(file: HDF5File, group: str, attribute: str) -> list[str] | None:
    if group not in file.groups:
        raise FileFormatError(f"{file.name} has no group {group}")
    return read_names(file, attribute, group=group)


def _neutral(layer: str, weight: str) -> str:
    """``conv1/bn`` and ``conv1/bn/gamma:0`` -> ``conv1_bn/gamma``: Keras 3 writes layer names without slashes."""
    return f"{layer.replace('/', '_')}/{weight.rsplit('/', 1)[-1].split(':')[0]}"


_LICENCE = "keras.applications, MIT"
_KERAS = (".h5", ".hdf5")


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file that can be downloaded: its name in the cache, its URL, and the MD5 its publisher states."""

    file: str
    url: str
    md5: str


_BASE = "https://storage.googleapis.com/tensorflow/keras-applications"

SOURCES = {
    "densenet121": Source(
        file="densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5",
        url=f"{_BASE}/densenet/densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5",
        md5="30ee3e1110167f948a6b9946edeeb738",
    ),
    "resnet50": Source(
        file="resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        url=f"{_BASE}/resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        md5="4d473c1dd8becc155b73f8504c6f6626",
    ),
}


@dataclass(frozen=True, kw_only=True)
class WeightsInfo:
    """Metadata of a weights file.

    normalize, fit  normalization, and how films were made square; None if unknown
    seen            film (first 16 hex digits of its SHA-256) -> "train" or "valid", of the films that the weights were
                    made with, and those that they were made from
    has_leakage  whether a leak was allowed in any of these trainings
    """

    licence: str
    normalize: Normalize | None = None
    fit: Fit | None = None
    seen: Mapping[str, str] = field(default_factory=dict)
    has_leakage: bool = False


@dataclass(frozen=True, kw_only=True)
class BaseWeights:
    """Tensors of a network without its head, by neutral name, and where they came from."""

    tensors: dict[str, Array]
    name: str
    sha256: str
    origin: WeightsInfo


def base_weights(choice: str, architecture: str) -> BaseWeights | None:
    """The weights that ``--weights`` names: "none" (None is returned), "imagenet", or a path.

    InputError if the file cannot be found or downloaded; the message names the file and where to put it.
    """
    path = weights_file(choice, architecture)
    return None if path is None else read_weights(path, licence=_LICENCE if choice == "imagenet" else "unknown")


def weights_file(choice: str, architecture: str) -> Path | None:
    """The file that ``--weights`` names, None for "none"; InputError as base_weights."""
    if choice == "none":
        return None
    return imagenet_file(architecture) if choice == "imagenet" else Path(choice)


def read_weights(path: Path, *, licence: str) -> BaseWeights:
    """A model file, a safetensors file of neutral names, a Keras .h5 weights file, or a torch checkpoint of a
    DenseNet121. licence: used if the file contains none."""
    _require(path)
    origin = WeightsInfo(licence=licence)
    if path.suffix.lower() in _KERAS:
        tensors = read_keras_h5(path)
    elif path.suffix.lower() in SUFFIXES:
        foreign = read_torch_densenet(path)
        tensors, origin = dict(foreign.base), _of_foreign(foreign, licence)
    elif read_document(path) is not None:
        model = load_model(path)
        tensors, origin = model.tensors, _of_document(model.document)
    else:
        tensors = _read_plain(path)
    bare = {name: tensor for name, tensor in tensors.items() if not name.startswith("head/")}
    return BaseWeights(tensors=bare, name=unicode_text(path.name), sha256=sha256_file(path), origin=origin)


def read_weights_info(choice: str) -> WeightsInfo:
    """What is known of the weights that ``--weights`` names before their tensors are: as read_weights has it."""
    if choice in ("none", "imagenet"):
        return WeightsInfo(licence=_LICENCE if choice == "imagenet" else "unknown")
    path = Path(choice)
    _require(path)
    if path.suffix.lower() in _KERAS:
        return WeightsInfo(licence="unknown")
    if path.suffix.lower() in SUFFIXES:
        return _of_foreign(read_torch_densenet(path), "unknown")
    document = read_document(path)
    return WeightsInfo(licence="unknown") if document is None else _of_document(document)


def _require(path: Path) -> None:
    try:
        open_regular(path).close()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"there is no weights file at {path}. Give --weights imagenet, none, or the path of a file."
        ) from None
    except OSError as error:
        raise InputError(f"cannot read the weights {path}: {error.strerror}") from error


def _of_foreign(foreign: ImportedCheckpoint, licence: str) -> WeightsInfo:
    return WeightsInfo(licence=licence, normalize=foreign.normalize, fit=foreign.fit)


def _of_document(document: Mapping[str, Any]) -> WeightsInfo:
    return WeightsInfo(
        licence=document["licence"],
        normalize=document["spec"]["normalize"],
        fit=document["preprocessing"]["fit"],
        seen=seen_films(document),
        has_leakage=document["training"]["has_leakage"],
    )


def _read_plain(path: Path) -> dict[str, Array]:
    try:
        data = read_regular(path, MAX_FILE_BYTES)
        if data is None:
            raise FileFormatError(f"{path} has more than {MAX_FILE_BYTES:,} bytes, more than weights can have")
        return safetensors.numpy.load(data)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise FileFormatError(f"{path} is not a readable safetensors file: {error}") from error


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
