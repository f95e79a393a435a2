"""What is fuzzed: sound files to start from, how they are changed, and what may come of them."""

from __future__ import annotations

import io
import json
import random
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import cv2
import h5py
import numpy as np
import safetensors.numpy
from corpus_bytes import (
    BASELINE,
    EXPLICIT_BIG,
    JPEG_2000,
    JPEG_LS,
    LOSSLESS,
    RUN_LENGTH,
    archive,
    chest,
    chunk,
    dicom,
    exif,
    frame,
    jpeg,
    lookup_table,
    png,
    with_segment,
)
from made_ensemble import made_document
from made_model import document
from made_run import GIVEN, made_file

from cxrscore.contract import ModelSpec
from cxrscore.errors import InputError
from cxrscore.images import Film, Status, decode_film, find_films, read_film
from cxrscore.models.ensemble_file import load_ensemble
from cxrscore.models.import_weights import read_weights_of
from cxrscore.models.model_file import CHECKSUM, KEY, checksum, load_model, model_bytes
from cxrscore.models.tensor_file import read_tensor_file
from cxrscore.networks.tensors import check_tensors, initial_tensors
from cxrscore.scorefile import open_scores, read_file_provenance
from cxrscore.scorefile.manifest import read_head

_NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_TALL = 40
"""Rows of the small films; small, so that a change hits something that matters."""


class Kind:
    """A kind of input; its share is larger the faster it is."""

    name: ClassVar[str]
    suffix: ClassVar[str]
    share: ClassVar[int] = 10

    def __init__(self) -> None:
        self._sound = self.sound()

    def sound(self) -> list[bytes]:
        """Files to start from."""
        raise NotImplementedError

    def run(self, data: bytes, folder: Path) -> str:
        """Reads an input; a word for what came of it. Whatever else it raises is a fault."""
        raise NotImplementedError

    def repaired(self, rng: random.Random, data: bytes) -> bytes:
        """The changed bytes, with what would get them refused at once made right."""
        return data

    def input(self, seed: int, number: int) -> bytes:
        rng = random.Random(f"{seed} {self.name} {number}")
        data = bytearray(rng.choice(self._sound))
        for _ in range(rng.choice((1, 1, 2, 3, 8))):
            rng.choice(_CHANGES)(rng, data, self._sound)
        return self.repaired(rng, bytes(data))


# --- changes


def _place(rng: random.Random, data: bytearray) -> int:
    """Anywhere, but every second time near the start, where headers are."""
    return rng.randrange(min(len(data), 600) if rng.random() < 0.5 else len(data)) if data else 0


def _flip(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    if data:
        data[_place(rng, data)] ^= 1 << rng.randrange(8)


def _overwrite(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    at = _place(rng, data)
    data[at : at + 8] = rng.randbytes(len(data[at : at + rng.randint(1, 8)]))


def _number(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    at, size = _place(rng, data), rng.choice((1, 2, 4, 8))
    value = (rng.choice(_NUMBERS) & (256**size - 1)).to_bytes(size, rng.choice(("little", "big")))
    data[at : at + size] = value


def _drop(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    at = _place(rng, data)
    del data[at : at + rng.choice((1, 2, 4, 16, 300))]


def _repeat(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    at, size = _place(rng, data), rng.choice((1, 4, 16, 300))
    data[at:at] = data[at : at + size]


def _blank(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    at, size = _place(rng, data), rng.choice((4, 16, 64))
    data[at : at + size] = bytes(len(data[at : at + size]))


def _cut(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    if rng.random() < 0.3:
        del data[_place(rng, data) :]


def _splice(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    other = rng.choice(others)
    start, at = rng.randrange(len(other)), _place(rng, data)
    data[at : at + 64] = other[start : start + rng.choice((8, 64, 500))]


_CHANGES: tuple[Callable[[random.Random, bytearray, Sequence[bytes]], None], ...] = (
    *(_flip, _flip, _overwrite, _number, _number, _drop, _repeat, _blank, _cut, _splice),
)


# --- films


def _film(film: Film) -> str:
    assert film.status not in (Status.NOT_WRITTEN, Status.CRASHED, Status.TIMED_OUT, Status.MODEL_FAILED)
    assert (film.pixels is not None) == (film.status == Status.OK)
    assert film.message or film.status == Status.OK
    if film.pixels is not None:
        assert film.pixels.shape == (film.height, film.width)
        assert film.pixels.dtype in (np.uint8, np.uint16)
    return film.status.name


class _Films(Kind):
    def run(self, data: bytes, folder: Path) -> str:
        return _film(decode_film(data))


class Png(_Films):
    name, suffix = "png", ".png"
    share = 25

    def sound(self) -> list[bytes]:
        film = chest()[:_TALL]
        levels = chunk(b"PLTE", bytes(np.repeat(np.arange(256, dtype=np.uint8), 3)))
        return [
            png(film),
            png(film.astype(np.uint16) * 257, depth=16),
            png(film >> 7, depth=1),
            png(film, interlace=True),
            png(film, colour=3, before=levels + chunk(b"tRNS", bytes(256))),
            png(np.dstack([film] * 4), colour=6, parts=3),
            png(np.dstack([film, film]), colour=4, before=chunk(b"tEXt", b"a\0b") + chunk(b"gAMA", bytes(4))),
        ]

    def repaired(self, rng: random.Random, data: bytes) -> bytes:
        """Checksums made right, every second time; else nearly all ends there."""
        fixed, at = bytearray(data), 8
        while rng.random() < 0.99 and at + 12 <= len(fixed):
            (length,) = struct.unpack_from(">I", fixed, at)
            end = at + 8 + length
            if end + 4 > len(fixed):
                break
            struct.pack_into(">I", fixed, end, zlib.crc32(fixed[at + 4 : end]))
            at = end + 4
        return bytes(fixed) if rng.random() < 0.7 else data


class Jpeg(_Films):
    name, suffix = "jpeg", ".jpg"
    share = 25

    def sound(self) -> list[bytes]:
        film = chest()[:_TALL]
        return [
            jpeg(film),
            jpeg(film, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
            jpeg(film, cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
            jpeg(cv2.cvtColor(film, cv2.COLOR_GRAY2BGR)),
            with_segment(jpeg(film), 0xE1, exif(6)),
        ]

    def repaired(self, rng: random.Random, data: bytes) -> bytes:
        return data if data.endswith(b"\xff\xd9") or rng.random() < 0.5 else data + b"\xff\xd9"


class Dicom(_Films):
    name, suffix = "dicom", ".dcm"
    share = 20

    def sound(self) -> list[bytes]:
        film, table = chest()[:_TALL], lookup_table(range(256), 8)
        deep = film.astype(np.uint16) * 16
        return [
            dicom(film, WindowCenter=100, WindowWidth=90, RescaleSlope=1.5, RescaleIntercept=-3),
            dicom(deep, bits=12, PhotometricInterpretation="MONOCHROME1", VOILUTSequence=table),
            dicom(deep, bits=12, syntax=EXPLICIT_BIG, ModalityLUTSequence=table),
            dicom(film, bare=True, BodyPartExamined="CHEST", ViewPosition="PA"),
            *(dicom(syntax=s, frame=frame(s)) for s in (RUN_LENGTH, BASELINE, LOSSLESS, JPEG_LS, JPEG_2000)),
        ]


class Zip(Kind):
    name, suffix = "zip", ".zip"
    share = 5

    def sound(self) -> list[bytes]:
        members = {"a/film.png": png(chest()[:_TALL]), "IM1": dicom(chest()[:_TALL]), "notes.txt": b"words"}
        return [archive(members), archive(members, packed=False)]

    def run(self, data: bytes, folder: Path) -> str:
        (folder / "x.zip").write_bytes(data)
        found = find_films(folder)
        ends = {_film(read_film(folder / path)) for path in found.paths[:5]}
        return " ".join(sorted(ends)) or ("named as unreadable" if found.unreadable else "nothing found")


# --- scores and models


def _refused(path: Path, error: InputError) -> str:
    """Every refusal names its file."""
    assert str(path) in str(error), error
    return type(error).__name__


class Scores(Kind):
    name, suffix = "h5", ".h5"

    def sound(self) -> list[bytes]:
        with tempfile.TemporaryDirectory() as folder:
            return [made_file(Path(folder) / f"{films}.h5", films).read_bytes() for films in (3, 70)]

    def run(self, data: bytes, folder: Path) -> str:
        (folder / "x.h5").write_bytes(data)
        try:
            scores = open_scores(folder / "x.h5")
            read_file_provenance(folder / "x.h5")
        except InputError as error:
            return _refused(folder / "x.h5", error)
        assert scores.logit.shape == (len(scores.films.path), len(scores.findings))
        return "read"


class Weights(Kind):
    """Of Keras: .h5 with names in attributes as older and as newer h5py writes them, and .weights.h5."""

    name, suffix = "keras", ".h5"
    share = 3

    def sound(self) -> list[bytes]:
        return [*(_keras_file(named) for named in (list, np.array)), _numbered_file()]

    def run(self, data: bytes, folder: Path) -> str:
        path = folder / f"x{self.suffix}"
        path.write_bytes(data)
        try:
            read_tensor_file(path, frozenset({"conv1"}))
        except InputError as error:
            return _refused(path, error)
        return "read"


class KerasArchive(Weights):
    """Of Keras 3: a zip archive of the weights and a configuration; one of them is changed, or the archive is."""

    name, suffix = "kerasarchive", ".keras"

    def sound(self) -> list[bytes]:
        return [_keras_archive(json.dumps(_CONFIG).encode(), _numbered_file())]

    def repaired(self, rng: random.Random, data: bytes) -> bytes:
        """Mostly another change altogether: of a member before its checksum is made."""
        config, weights = bytearray(json.dumps(_CONFIG).encode()), bytearray(_numbered_file())
        change = rng.random()
        if change < 0.2:
            return data
        if change < 0.6:
            rng.choice(_CHANGES)(rng, weights, [bytes(weights)])
        elif change < 0.75:
            rng.choice(_CHANGES)(rng, config, [bytes(config)])
        else:
            tree = json.loads(config)
            _change_value(rng, tree)
            config = bytearray(json.dumps(tree).encode())
        return _keras_archive(bytes(config), bytes(weights))


def _keras_archive(config: bytes, weights: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in (("metadata.json", b"{}"), ("config.json", config), ("model.weights.h5", weights)):
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


class ForeignTensors(Kind):
    """A network in safetensors without a document, under names with a prefix, with entries that are none of its."""

    name, suffix = "tensors", ".safetensors"
    share = 2

    def sound(self) -> list[bytes]:
        tensors = initial_tensors(ModelSpec(architecture="tinycnn", findings=("Mass", "Edema"), size=32), 0)
        found = {f"net.{name}": value.astype(np.float16) for name, value in tensors.items()}
        more = {"loss.pos_weight": np.ones(2, np.float32), "features.conv0.weight": np.ones((2, 1, 7, 7), np.float32)}
        return [safetensors.numpy.save(found | more)]

    def repaired(self, rng: random.Random, data: bytes) -> bytes:
        """Every second time another change altogether, of a value in the header."""
        if rng.random() < 0.5:
            return data
        header, tensors = _split_safetensors(self._sound[0])
        _change_value(rng, header)
        return _joined_safetensors(header, tensors)

    def run(self, data: bytes, folder: Path) -> str:
        path = folder / "x.safetensors"
        path.write_bytes(data)
        try:
            read_weights_of(path)
        except InputError as error:
            return _refused(path, error)
        return "read"


_CONFIG = {
    "class_name": "Functional",
    "config": {
        "layers": [
            {"class_name": "Conv2D", "config": {"name": "conv1", "activation": "relu"}},
            {"class_name": "BatchNormalization", "config": {"name": "bn", "epsilon": 0.001}},
        ]
    },
}


def _numbered_file() -> bytes:
    """As Keras 3 writes .weights.h5, with one layer that has no name."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for layer, shapes in {"conv2d": [(3, 3, 1, 2), (2,)], "batch_normalization": [(2,)] * 4}.items():
            group = file.create_group(f"layers/{layer}/vars")
            if layer == "conv2d":
                group.attrs["name"] = "conv1"
            for number, shape in enumerate(shapes):
                group[str(number)] = np.ones(shape, np.float32)
    return buffer.getvalue()


def _keras_file(named: Callable[[list[bytes]], Any]) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["layer_names"] = named([b"conv1", b"conv1/bn"])
        for layer, weights in {"conv1": [b"conv1/kernel:0"], "conv1/bn": [b"bn/gamma:0", b"bn/beta:0"]}.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = named(weights)
            for weight in weights:
                group[weight.decode()] = np.arange(18, dtype=np.float32).reshape(2, 9)
    return buffer.getvalue()


class Manifest(Kind):
    name, suffix = "manifest", ".jsonl"
    share = 2

    def sound(self) -> list[bytes]:
        head = {"format": "cxrscore-run", "version": 1, "inputs": {**GIVEN, "films": 2}, "replaces": False}
        return [json.dumps(head).encode() + b'\n"a.png"\n"b.png"\n']

    def run(self, data: bytes, folder: Path) -> str:
        (folder / "x.jsonl").write_bytes(data)
        try:
            read_head(folder / "x.jsonl")
        except InputError as error:
            return _refused(folder / "x.jsonl", error)
        return "read"


class Model(Kind):
    name, suffix = "safetensors", ".safetensors"

    def sound(self) -> list[bytes]:
        spec = ModelSpec(architecture="tinycnn", findings=("Mass", "Edema"), size=32)
        made = document(spec, golden={"films": 1, "logits": [[0.5, 1.0]], "error": 1e-6, "tolerance": 1e-4})
        text = json.dumps({"format": "cxrscore-model", "version": 1, **made})
        tensors = {name: value for name, value in initial_tensors(spec, 0).items() if value.size < 2000}
        return [model_bytes(text, tensors)]

    def repaired(self, rng: random.Random, data: bytes) -> bytes:
        """Every second time another change altogether: of a value in the header or in the document. Mostly the checksum
        is made right; else nearly all ends there."""
        changed = data if rng.random() < 0.5 else self._changed_values(rng)
        return changed if rng.random() < 0.3 else _summed(changed)

    def _changed_values(self, rng: random.Random) -> bytes:
        header, tensors = _split_safetensors(self._sound[0])
        if rng.random() < 0.7:
            inner = json.loads(header["__metadata__"][KEY])
            _change_value(rng, inner)
            header["__metadata__"][KEY] = json.dumps(inner)
        else:
            _change_value(rng, header)
        return _joined_safetensors(header, tensors)

    def run(self, data: bytes, folder: Path) -> str:
        path = folder / "x.safetensors"
        path.write_bytes(data)
        try:
            model = load_model(path)
        except InputError as error:
            return _refused(path, error)
        try:
            check_tensors(model.spec, model.tensors)
        except InputError:
            return "read, of other tensors"
        return "read"


class Ensemble(Model):
    name = "ensemble"

    def sound(self) -> list[bytes]:
        members = [{"file": f"{name}.st", "sha256": "0" * 64, "architecture": "tinycnn"} for name in "ab"]
        made = made_document(members=members)
        return [model_bytes(json.dumps({"format": "cxrscore-ensemble", "version": 1, **made}), {})]

    def run(self, data: bytes, folder: Path) -> str:
        path = folder / "x.safetensors"
        path.write_bytes(data)
        try:
            load_ensemble(path)
        except InputError as error:
            return _refused(path, error)
        return "read"


def _split_safetensors(data: bytes) -> tuple[Any, bytes]:
    """The header of a safetensors file, and the bytes of its tensors."""
    (length,) = struct.unpack_from("<Q", data)
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def _joined_safetensors(header: Any, tensors: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + tensors


def _summed(data: bytes) -> bytes:
    """With the right checksum, if it is still a file of tensors that has one."""
    try:
        tensors = safetensors.numpy.load(data)
        told = _split_safetensors(data)[0]["__metadata__"]
        return data.replace(told[CHECKSUM].encode(), checksum(told[KEY], tensors).encode())
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError, AttributeError):
        return data


_VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 2**31, 2**63, 2**64, 1e308, -0.5, "", "x", "é\0", "../../etc/passwd", [], {}, [[]]),
    *([None], {"a": 1}, "x" * 10_000, list(range(1000))),
)


def _change_value(rng: random.Random, tree: Any) -> None:
    """Replaces, removes, doubles or renames something in a JSON tree."""
    places = list(_places(tree))
    parent, key = rng.choice(places)
    if rng.random() < 0.2:
        del parent[key]
    elif isinstance(parent, dict) and rng.random() < 0.2:
        parent[rng.choice(("x", "", "a" * 300, str(key).upper()))] = parent.pop(key)
    elif rng.random() < 0.2:
        other, place = rng.choice(places)
        parent[key] = json.loads(json.dumps(other[place]))
    else:
        parent[key] = rng.choice(_VALUES)


def _places(tree: Any) -> Any:
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
        yield tree, key
        if isinstance(tree[key], dict | list):
            yield from _places(tree[key])


_ALL = (Png, Jpeg, Dicom, Zip, Scores, Weights, KerasArchive, ForeignTensors, Manifest, Model, Ensemble)
KINDS: dict[str, type[Kind]] = {kind.name: kind for kind in _ALL}
