"""Pickles as torch writes them, opcode by opcode, and both kinds of file around them."""

import io
import pickle
import struct
import zipfile
from typing import Any

MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
SYSTEM = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}


# --- pickles, written by hand


def text(word: str) -> bytes:
    return b"X" + struct.pack("<I", len(word)) + word.encode()


def name(module: str, word: str) -> bytes:
    return f"c{module}\n{word}\n".encode()


def call(module: str, word: str, *given: bytes) -> bytes:
    return name(module, word) + b"(" + b"".join(given) + b"tR"


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value) if -(1 << 31) <= value < 1 << 31 else b"\x8a\x08" + struct.pack("<q", value)


def row(*values: int) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def storage(count: int = 4, key: str = "0", kind: str = "FloatStorage", module: str = "torch") -> bytes:
    return b"(" + text("storage") + name(module, kind) + text(key) + text("cpu") + number(count) + b"tQ"


def tensor(held: bytes, offset: int = 0, size: tuple[int, ...] = (4,), stride: tuple[int, ...] = (1,)) -> bytes:
    parts = (held, number(offset), row(*size), row(*stride), b"\x89", b"N")
    return call("torch._utils", "_rebuild_tensor_v2", *parts)


def state(*values: bytes) -> bytes:
    """A state_dict of these values."""
    return b"\x80\x02}" + b"".join(text(f"w{i}") + value + b"s" for i, value in enumerate(values)) + b"."


def module(**parts: bytes) -> bytes:
    """A whole network with these parts."""
    inside = b"".join(text(word) + value + b"s" for word, value in parts.items())
    return b"\x80\x02" + name("torch.nn.modules.container", "Sequential") + b")\x81}" + inside + b"b."


# --- files that hold them


def zipped(pickled: bytes, packing: int = zipfile.ZIP_STORED, **members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", packing) as archive:
        whole = {"data.pkl": pickled, "byteorder": b"little", "data/0": bytes(16)}
        for word, held in {**whole, **{key.replace("_", "/"): value for key, value in members.items()}}.items():
            archive.writestr(f"archive/{word}", held)
    return out.getvalue()


def legacy(pickled: bytes, keys: Any = ("0",), rows: bytes = struct.pack("<Q", 4) + bytes(16), **system: Any) -> bytes:
    head = MAGIC + pickle.dumps(1001, 2) + pickle.dumps({**SYSTEM, **system}, 2)
    return head + pickled + pickle.dumps(list(keys) if isinstance(keys, tuple) else keys, 2) + rows
