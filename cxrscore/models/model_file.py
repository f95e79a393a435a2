"""model.safetensors: the tensors under neutral names, and one JSON document with all metadata.

One file for every backend; reading it executes no code.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import safetensors
import safetensors.numpy

from cxrscore.contract import Array, Backend, Model, ModelSpec, Ranges, SupportsInt8, Tensors
from cxrscore.errors import FileFormatError, InputError
from cxrscore.io import atomic_write_bytes, sha256_bytes
from cxrscore.io.outputs import OutputKind
from cxrscore.io.regular import open_regular, read_regular
from cxrscore.io.strict_json import check_document, parse_json
from cxrscore.models.public_weights import similar_names
from cxrscore.remote import StrPath, local_path

FORMAT = "cxrscore-model"
ENSEMBLE_FORMAT = "cxrscore-ensemble"
"""Format of a file that names several model files: models.ensemble_file."""
VERSION = 1
KEY = "cxrscore"
"""Metadata key of the JSON document."""
CHECKSUM = "cxrscore-sha256"
"""Metadata key of the SHA-256 of the document and the tensors, hex."""
MAX_FILE_BYTES = 4 << 30
"""Bytes; a larger model file is refused unread."""
MAX_DOCUMENT_BYTES = 64 << 20
"""Characters; room for the hashes of three million films."""
_LENGTH = struct.Struct("<Q")
_HASH = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, kw_only=True)
class EnsembleFile:
    """An ensemble file, which names its member files; models.ensemble_file reads and writes it.

    Attributes
    ----------
    path : Path
        Of the file.
    document : dict
        The JSON document (schemas/ensemble.schema.json).
    sha256 : str
        Of the bytes of the file, hex.
    """

    path: Path
    document: dict[str, Any]
    sha256: str


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """A model file in memory.

    Attributes
    ----------
    path : Path
        Of the file.
    spec : ModelSpec
        The network and its findings.
    tensors : dict of str to array
        Tensors by neutral name; kernels are HWIO.
    document : dict
        The JSON document (schemas/model.schema.json); its "spec" is also ``spec``.
    sha256 : str
        Of the bytes of the file, hex.
    member_of : EnsembleFile or None
        The ensemble file that was named instead of this file; None: this file was named.
    """

    path: Path
    spec: ModelSpec
    tensors: dict[str, Array]
    document: dict[str, Any]
    sha256: str
    member_of: EnsembleFile | None = None

    @property
    def seen(self) -> dict[str, str]:
        """Film (first 16 hex digits of its SHA-256) -> "train" or "valid", of the films it was made with."""
        return seen_films(self.document)


def seen_films(document: Mapping[str, Any]) -> dict[str, str]:
    """As ModelFile.seen, of the document alone."""
    films: Mapping[str, list[str]] = document.get("films", {})
    return {digest: split for split in ("valid", "train") for digest in films.get(split, [])}


def model_output(maker: Literal["train", "import", "quantize"]) -> OutputKind:
    """The model files that one command writes, recognised by their documents."""

    def recognises(path: Path) -> bool:
        document = read_document(path)
        if document is None:
            return False
        imported = "import" if document["training"].get("imported") else "train"
        measured = document.get("quantization") or document.get("precision_effects")
        return maker == ("quantize" if measured else imported)

    return OutputKind(name=f"a model file of `cxrscore {maker}`", recognises=recognises)


def save_model(path: StrPath, tensors: Tensors, document: Mapping[str, Any]) -> None:
    """Writes a model file atomically.

    Parameters
    ----------
    path : path
        File to write.
    tensors : mapping of str to array
        Tensors by neutral name.
    document : mapping
        The JSON document, without "format" and "version".

    Raises
    ------
    WriteError
        If the file cannot be written.
    FileFormatError
        If the document does not follow schemas/model.schema.json.
    """
    path = local_path(path, "path")
    full_document = {"format": FORMAT, "version": VERSION, **document}
    _check_document(path, full_document)
    text = json.dumps(full_document, allow_nan=False)
    _document(path, text)
    atomic_write_bytes(path, model_bytes(text, tensors))


def model_bytes(text: str, tensors: Tensors) -> bytes:
    """A document and its tensors as the bytes of a file; equal content gives equal bytes."""
    # safetensors writes the memory of an array, which is wrong for a transposed one.
    rows = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    data = safetensors.numpy.save(rows, metadata={KEY: text, CHECKSUM: checksum(text, rows)})
    # It also writes metadata in any order.
    (length,) = _LENGTH.unpack_from(data)
    header = json.loads(data[_LENGTH.size : _LENGTH.size + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    sorted_text = json.dumps(header, separators=(",", ":")).encode()
    sorted_text += b" " * (-len(sorted_text) % 8)  # the tensors begin at a multiple of 8
    return _LENGTH.pack(len(sorted_text)) + sorted_text + data[_LENGTH.size + length :]


def checksum(text: str, tensors: Tensors) -> str:
    """SHA-256 of a document and its tensors, to detect damage in a file that is still readable."""
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\n{name} {tensor.dtype.str} {tensor.shape}\n".encode())
        digest.update(np.ascontiguousarray(tensor).data)
    return digest.hexdigest()


def load_model(path: StrPath) -> ModelFile:
    """Reads a model file, for its tensors and its document. To score films use cxrscore.load.

    Parameters
    ----------
    path : path
        Of the file.

    Returns
    -------
    ModelFile

    Raises
    ------
    InputError
        If there is no file.
    FileFormatError
        If it is not a model file, or was changed after it was written.

    Examples
    --------
    >>> cxrscore.load_model("model.safetensors").spec.findings  # doctest: +SKIP
    ('Atelectasis', 'Cardiomegaly')
    """
    path = local_path(path, "path")
    data = read_bytes(path)
    metadata = read_metadata(path)
    document = _document(path, metadata.get(KEY))
    spec = _spec(path, document["spec"])
    try:
        tensors = safetensors.numpy.load(data)
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise FileFormatError(f"{path} is not a readable safetensors file: {error}") from error
    if CHECKSUM not in metadata:
        raise FileFormatError(f"{path} has no checksum: it was not written by `cxrscore train`, or by an earlier one")
    check_unchanged(path, metadata, tensors)
    return ModelFile(
        path=path,
        spec=spec,
        tensors=tensors,
        document=document,
        sha256=sha256_bytes(data),
    )


def check_unchanged(path: Path, metadata: Mapping[str, str], tensors: Tensors) -> None:
    """FileFormatError unless document and tensors have the checksum that the metadata names."""
    if metadata.get(CHECKSUM) != checksum(metadata[KEY], tensors):
        raise FileFormatError(
            f"{path} was changed after it was written: its checksum does not match. Copy it again from its source."
        )


_OTHERS = "Weights of PyTorch, Hugging Face or Keras become a model file by `cxrscore import`"


def _spec(path: Path, values: Mapping[str, Any]) -> ModelSpec:
    """The spec with its graph; FileFormatError if the graph that the file brings is none, or fits neither films nor
    head."""
    try:
        return ModelSpec.from_dict(values)
    except InputError as error:
        raise FileFormatError(f"{path}: {error}") from error


def read_document(path: Path) -> dict[str, Any] | None:
    """The document without tensors, checked by its schema but not by the checksum; None for a safetensors file without
    a document. FileFormatError as load_model."""
    text = read_metadata(path).get(KEY)
    return None if text is None else _document(path, text)


def read_bytes(path: Path, most: int = MAX_FILE_BYTES) -> bytes:
    """The bytes of a model file or an ensemble file; errors as load_model, also for more than ``most`` bytes."""
    try:
        data = read_regular(path, most)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"there is no model at {path}. Train one with `cxrscore train`, or name one with --model."
            f"{similar_names(path)}"
        ) from None
    except OSError as error:
        raise InputError(f"cannot read the model {path}: {error.strerror}") from error
    if data is None:
        raise FileFormatError(f"{path} has more than {most:,} bytes, more than a model can have")
    return data


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file; FileFormatError if it is none."""
    try:
        # Open during the read, because safetensors would block on a pipe.
        with open_regular(path), safetensors.safe_open(path, framework="numpy") as file:
            return file.metadata() or {}
    except (safetensors.SafetensorError, OSError) as error:
        hint = "" if _begins_well(path) else f". {_OTHERS}"
        raise FileFormatError(f"{path} is not a readable safetensors file: {error}{hint}") from error


def _begins_well(path: Path) -> bool:
    """Whether it begins as safetensors files do, such as one that was cut."""
    try:
        with open_regular(path) as file:
            return file.read(9)[8:] == b"{"
    except OSError:
        return True


def _document(path: Path, text: str | None) -> dict[str, Any]:
    if text is None:
        raise FileFormatError(
            f"{path} holds tensors but no {KEY} document: it was not written by `cxrscore train`. {_OTHERS}"
        )
    return _checked(path, parse_document(path, text))


def parse_document(path: Path, text: str) -> Any:
    """The text of a document as JSON, of any form; FileFormatError if it is too long or no JSON."""
    if len(text) > MAX_DOCUMENT_BYTES:
        raise FileFormatError(f"{path}: its {KEY} document has {len(text)} characters, more than one can have")
    try:
        return parse_json(text)
    except ValueError as error:
        raise FileFormatError(f"{path}: its {KEY} document is not JSON that can be used: {error}") from error


def _checked(path: Path, document: Any) -> dict[str, Any]:
    if isinstance(document, dict) and document.get("format") == ENSEMBLE_FORMAT:
        raise FileFormatError(
            f"{path} is an ensemble of several networks, and one network is expected here. Name one of its member "
            f"files, which lie beside it: `cxrscore show {path}` lists them."
        )
    check_format(path, document, FORMAT, VERSION)
    _check_document(path, document)
    return cast(dict[str, Any], document)


def check_format(path: Path, document: Any, expected: str, version: int) -> None:
    """FileFormatError unless the document is of this format and version."""
    if not isinstance(document, dict) or document.get("format") != expected:
        raise FileFormatError(f"{path}: its document is not of format {expected!r}")
    if document.get("version") != version:
        raise FileFormatError(
            f"{path} is of format version {document.get('version')}; this cxrscore reads {version}. Use the cxrscore "
            "that wrote it, or train again."
        )


def _check_document(path: Path, document: Mapping[str, Any]) -> None:
    """FileFormatError unless the document follows its schema."""
    check_with_films(path, document, "model")
    _check_lengths(path, document)
    _check_effects(path, document)


def check_with_films(path: Path, document: Mapping[str, Any], schema: str) -> None:
    """FileFormatError unless the document follows a schema with hashes of films under "films". These are checked
    separately, because there may be a hundred thousand."""
    films = document.get("films")
    if not isinstance(films, dict) or any(not _are_hashes(films.get(name)) for name in ("train", "valid")):
        raise FileFormatError(f"{path}: films: expected lists of hashes of 16 hex digits under train and valid")
    check_document({**document, "films": {**films, "train": [], "valid": []}}, schema, str(path))


def _check_lengths(path: Path, document: Mapping[str, Any]) -> None:
    """What has a value a finding must have as many as there are."""
    count, golden = len(document["spec"]["findings"]), document["golden"]
    if golden["films"] != len(golden["logits"]):
        raise FileFormatError(
            f"{path}: golden.films is {golden['films']}, and there are {len(golden['logits'])} logits"
        )
    check_calibration_lengths(path, document["calibration"], count)
    for row, values in enumerate(golden["logits"]):
        _check_length(path, f"golden.logits.{row}", values, count)
    if "logit_shift" in (quantization := document.get("quantization") or {}):
        _check_length(path, "quantization.logit_shift", quantization["logit_shift"], count)


def _check_effects(path: Path, document: Mapping[str, Any]) -> None:
    """Effects of precisions need a bound, one of int8 needs ranges, and films and AUCs must fit each other."""
    effects = document.get("precision_effects", {})
    if bool(effects) != ("precision_bound" in document):
        raise FileFormatError(f"{path}: expected precision_effects and precision_bound together, or neither of them")
    if "int8" in effects and "quantization" not in document:
        raise FileFormatError(f"{path}: precision_effects.int8 is there, but no quantization with ranges for int8")
    for precision, effect in effects.items():
        where = f"{path}: precision_effects.{precision}"
        if (effect["macro_auc_before"] is None) != (effect["macro_auc_after"] is None):
            raise FileFormatError(f"{where} has one macro AUC, expected two or none")
        if effect["mean_difference"] > effect["max_difference"]:
            raise FileFormatError(f"{where} has a mean difference above the largest one")


def check_calibration_lengths(path: Path, calibration: Mapping[str, Any] | None, count: int) -> None:
    """FileFormatError unless a calibration has a value for each of ``count`` findings."""
    for name in ("slope", "intercept", "prevalence", "half_at"):
        if calibration and name in calibration:
            _check_length(path, f"calibration.{name}", calibration[name], count)


def _check_length(path: Path, name: str, values: Sequence[Any], count: int) -> None:
    if len(values) != count:
        raise FileFormatError(f"{path}: {name} has {len(values)} values for {count} findings")


def _are_hashes(values: Any) -> bool:
    """Whether this is a list of hashes of films."""
    return isinstance(values, list) and all(isinstance(v, str) and _HASH.fullmatch(v) for v in values)


def int8_model(backend: Backend, file: ModelFile, device: str) -> Model:
    """The model of this file in int8; InputError if the backend has no int8 support, or the file no ranges."""
    if not isinstance(backend, SupportsInt8):
        raise InputError(f"backend {backend.name!r} does not compute in int8; openvino does")
    ranges, quantization = _ranges(file), file.document["quantization"]
    tensors = dict(file.tensors)
    if shift := quantization.get("logit_shift"):
        tensors["head/bias"] = tensors["head/bias"] + np.asarray(shift, np.float32)
    # Files of earlier versions name no precision, and some backends take none.
    given = {"precision": quantization["precision"]} if quantization.get("precision") else {}
    return backend.build_int8(file.spec, tensors, ranges, device=device, **given)


def _ranges(file: ModelFile) -> Ranges:
    quantization = file.document.get("quantization")
    if quantization is None:
        raise InputError(
            f"{file.path} has no activation ranges for int8. Measure them on films like those to score: "
            "`cxrscore quantize MODEL FILMS -o NEW_MODEL`, and score with the new file."
        )
    return {layer: (low, high) for layer, (low, high) in quantization["ranges"].items()}
