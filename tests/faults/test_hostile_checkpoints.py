"""Checkpoints of torch made by an enemy: nothing is called, imported or opened, and memory and time stay small."""

import io
import pickle
import random
import struct
import sys
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_hostile_models import told_what_is_opened
from torch_pickles import MAGIC, call, legacy, module, name, number, state, storage, tensor, text, zipped

from cxrscore.errors import CxrscoreError, FileFormatError
from cxrscore.models.import_weights import read_weights_of
from cxrscore.models.torch_file import read_torch

SOUND = state(tensor(storage()))


class Calls:
    """What pickles as a call."""

    def __init__(self, function: Callable[..., Any], *given: Any) -> None:
        self.made = function, given

    def __reduce__(self) -> Any:
        return self.made


def gadgets() -> dict[str, bytes]:
    found = {
        "os.system": call("os", "system", text("touch canary")),
        "posix.system": call("posix", "system", text("touch canary")),
        "builtins.eval": call("builtins", "eval", text("open('canary', 'w')")),
        "__builtin__.exec": call("__builtin__", "exec", text("open('canary', 'w')")),
        "builtins.getattr": call("builtins", "getattr", name("builtins", "set"), text("__class__")),
        "builtins.open": call("builtins", "open", text("canary"), text("w")),
        "subprocess.Popen": call("subprocess", "Popen", text("id")),
        "numpy.load": call("numpy", "load", text("canary")),
        "numpy.fromfile": call("numpy", "fromfile", text("canary")),
        "torch.load": call("torch", "load", text("canary")),
        "torch.hub.load": call("torch.hub", "load", text("evil/repo"), text("x")),
        "torch.serialization.load": call("torch.serialization", "load", text("canary")),
        "torch.jit.load": call("torch.jit", "load", text("canary")),
        "torch.storage._load_from_bytes": call("torch.storage", "_load_from_bytes", text("x")),
        "torch._utils._rebuild_device_tensor_from_numpy": call("torch._utils", "_rebuild_device_tensor_from_numpy"),
        "collections.deque": call("collections", "deque"),
        "operator.attrgetter": call("operator", "attrgetter", text("a")),
        "copyreg._reconstructor": call("copyreg", "_reconstructor"),
        "torchx.nn.Module": call("torchx.nn", "Module"),
        "torch.nn.Module": call("torch.nn", "Module"),
        "torchxrayvision.models.get_weights": call("torchxrayvision.models", "get_weights", text("x")),
        "torch.nn.functional.relu": call("torch.nn.functional", "relu", text("x")),
        "torch.FloatStorage": call("torch", "FloatStorage", number(1 << 30)),
        "torch.float32": call("torch", "float32"),
    }
    by_stack = text("os") + text("system") + b"\x93" + text("touch canary") + b"\x85R"
    dotted = text("collections") + text("OrderedDict.__init__.__globals__") + b"\x93)R"
    return {**found, "os.system by STACK_GLOBAL": by_stack, "attributes by STACK_GLOBAL": dotted}


GADGETS = gadgets()
OPCODES = {
    "INST": b"(" + text("touch canary") + b"ios\nsystem\n",
    "OBJ": b"(" + name("torch.nn", "Module") + b"o",
    "NEWOBJ_EX": name("torch.nn", "Module") + b")}\x92",
    "EXT1": b"\x82\x01",
    "EXT4": b"\x84\x01\x00\x00\x00",
    "PERSID": b"Pstorage\n",
    "LONG4": b"\x8b\x00\x00\x00\x40",
    "LONG1 of 255 bytes": b"\x8a\xff" + bytes(255),
    "INT as a line": b"I" + b"9" * 100_000 + b"\n",
    "DUP": b"N2",
    "BYTEARRAY8 of 2^62 bytes": b"\x96" + struct.pack("<Q", 1 << 62),
    "BINUNICODE8 of 2^62 bytes": b"\x8d" + struct.pack("<Q", 1 << 62),
    "BINUNICODE of 4 GB": b"X\xff\xff\xff\xff",
    "NEXT_BUFFER": b"\x97",
    "unknown": b"\xff",
    "REDUCE of nothing": b"R",
    "REDUCE of a number": b"NNR",
    "REDUCE with a list": name("collections", "OrderedDict") + b"]R",
    "NEWOBJ of a function": name("torch._utils", "_rebuild_tensor_v2") + b")\x81",
    "NEWOBJ of a set": name("builtins", "set") + b")\x81",
    "BUILD of a name": name("torch.nn", "Module") + b"}b",
    "BUILD of a number": b"K\x01}b",
    "BUILD with slots": name("torch.nn", "Module") + b")\x81N}\x86b",
    "APPENDS to a dictionary": b"}(Ne",
    "SETITEMS of a list": b"](NNu",
    "SETITEMS of odd number": b"}(Nu",
    "a mark never set": b"t",
    "a stack below the mark": b"N(0",
    "a memo never kept": b"h\x07",
    "a memo of 4 billion": b"Nr\xff\xff\xff\xff",
    "protocol 9": b"\x80\x09",
    "a text that is no UTF-8": b"X\x01\x00\x00\x00\xff",
    "a name without end": b"c" + b"a" * 10_000,
    "a module of another persistent id": b"(" + text("module") + text("os") + b"tQ",
    "a persistent id that is a text": text("storage") + b"Q",
    "a persistent id of one word": text("storage") + b"\x85Q",
}
TENSORS = {
    "beyond its storage": tensor(storage(), size=(5,)),
    "begins beyond its storage": tensor(storage(), offset=4, size=(1,)),
    "begins before its storage": tensor(storage(), offset=-1),
    "of strides beyond its storage": tensor(storage(), size=(2, 2), stride=(4, 1)),
    "of strides that are negative": tensor(storage(), stride=(-1,)),
    "of strides that repeat numbers": tensor(storage(), size=(1 << 30,), stride=(0,)),
    "of 2^120 numbers": tensor(storage(), size=(1 << 30,) * 4, stride=(0,) * 4),
    "of negative size": tensor(storage(), size=(-4,)),
    "of more strides than axes": tensor(storage(), stride=(1, 1)),
    "of nine axes": tensor(storage(), size=(1,) * 9, stride=(1,) * 9),
    "of no numbers": tensor(storage(), size=(1 << 30, 0), stride=(1, 1)),
    "without a storage": tensor(b"N"),
    "of another tensor": tensor(tensor(storage())),
    "of a storage larger than the file": tensor(storage(1 << 31)),
    "of a storage of negative size": tensor(storage(-4)),
    "of a storage that is not there": tensor(storage(key="7")),
    "of a storage outside": tensor(storage(key="../../../../etc/passwd")),
    "of a storage of another kind": tensor(storage(kind="DoubleStorage")),
    "of a storage of objects": tensor(storage(kind="ObjectStorage")),
    "of a storage of another module": tensor(storage(module="os")),
    "that is a text": text("w"),
    "with no arguments": call("torch._utils", "_rebuild_tensor_v2"),
    "a parameter of nothing": call("torch._utils", "_rebuild_parameter", b"N"),
}
FILES: dict[str, bytes] = {
    "nothing": b"",
    "text": b"root:x:0:0:root:/root:/bin/bash\n",
    "a zip archive of nothing": b"PK\x05\x06" + bytes(18),
    "a zip archive that was cut": zipped(SOUND)[:-30],
    "a zip archive of packed members": zipped(SOUND, zipfile.ZIP_DEFLATED),
    "a zip archive in which a bomb is packed": zipped(SOUND, zipfile.ZIP_DEFLATED, bomb=bytes(1 << 20)),
    "a zip archive with a comment": zipped(SOUND)[:-2] + b"\x02\x00hi",
    "a zip archive of two pickles": zipped(SOUND, other_data=b"", **{"x_data.pkl": SOUND}),
    "a zip archive with a changed byte": zipped(SOUND).replace(b"_rebuild_tensor_v2", b"_rebuild_tensor_v3", 1),
    "a TorchScript program": zipped(SOUND, **{"constants.pkl": SOUND}),
    "big-endian numbers in a zip archive": zipped(SOUND, byteorder=b"big"),
    "big-endian numbers": legacy(SOUND, little_endian=False),
    "another protocol": (MAGIC + pickle.dumps(1002, 2)) + legacy(SOUND)[len(MAGIC) + 6 :],
    "another magic number": pickle.dumps(0x1950A86A20F9469CFC6D, 2) + legacy(SOUND)[len(MAGIC) :],
    "system that is a list": MAGIC + pickle.dumps(1001, 2) + pickle.dumps([], 2),
    "keys that are no list": legacy(SOUND, keys={"0": 1}),
    "keys that are numbers": legacy(SOUND, keys=[0]),
    "keys of storages that no tensor names": legacy(SOUND, keys=["9"]),
    "a storage that was cut": legacy(SOUND)[:-1],
    "no storage at all": legacy(SOUND, keys=[], rows=b""),
    "a storage of 2^64 numbers": legacy(SOUND, rows=b"\xff" * 8 + bytes(16)),
    "a storage of 2^61 numbers": legacy(SOUND, rows=struct.pack("<Q", 1 << 61) + bytes(16)),
    "a tar archive": bytes(257) + b"ustar" + bytes(250),
    "two storages of one key": zipped(state(tensor(storage()), tensor(storage(kind="IntStorage")))),
    "a number": zipped(b"\x80\x02K\x01."),
    "a list of tensors": zipped(b"\x80\x02]" + tensor(storage()) + b"a."),
    "no tensor": zipped(b"\x80\x02}."),
    "a network without tensors": zipped(module()),
    "a pickle that never stops": zipped(SOUND[:-1]),
    "a million steps": zipped(b"\x80\x02" + b"N0" * 600_000 + SOUND[2:]),
    **{f"{word} called": zipped(state(told)) for word, told in GADGETS.items()},
    **{f"{word} called, old format": legacy(state(told)) for word, told in GADGETS.items()},
    **{
        f"{word} in the list of keys": legacy(SOUND, rows=b"")[: -len(pickle.dumps(["0"], 2))]
        + b"\x80\x02"
        + told
        + b"."
        for word, told in GADGETS.items()
    },
    **{f"opcode: {word}": zipped(state(told)) for word, told in OPCODES.items()},
    **{f"a tensor {word}": zipped(state(told)) for word, told in TENSORS.items()},
    **{f"a tensor {word}, old format": legacy(state(told)) for word, told in TENSORS.items()},
}
"""Each is refused with a FileFormatError that names the file."""


def test_the_file_that_all_others_are_changed_from_is_sound(tmp_path: Path) -> None:
    for data in (zipped(SOUND), legacy(SOUND)):
        (tmp_path / "a.pth").write_bytes(data)
        assert read_torch(tmp_path / "a.pth").tensors["w0"].tolist() == [0, 0, 0, 0]


def test_what_older_torches_and_pythons_wrote(tmp_path: Path) -> None:
    """Texts of Python 2, an OrderedDict made of pairs, and a storage that is a part of another."""
    part = storage()[:-2] + b"(" + text("7") + number(1) + number(2) + b"ttQ"
    pair = b"U\x01w" + tensor(part, size=(2,)) + b"\x86"
    pickled = b"\x80\x02" + call("collections", "OrderedDict", b"]" + pair + b"a") + b"."
    (tmp_path / "a.pth").write_bytes(legacy(pickled, rows=struct.pack("<Q4f", 4, 1, 2, 3, 4)))
    assert read_torch(tmp_path / "a.pth").tensors["w"].tolist() == [2, 3]


@pytest.mark.parametrize("told", FILES)
def test_a_hostile_checkpoint_is_refused_and_nothing_else_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pth"
    path.write_bytes(FILES[told])
    imported = set(sys.modules)
    with told_what_is_opened() as seen, pytest.raises(FileFormatError, match=r"evil\.pth") as refused:
        read_torch(path)
    assert set(seen) == {f"open {path}"}
    assert set(sys.modules) == imported
    assert [place.name for place in tmp_path.iterdir()] == ["evil.pth"]
    assert len(str(refused.value)) < 600


def test_the_name_that_was_refused_is_told(tmp_path: Path) -> None:
    path = tmp_path / "evil.pth"
    path.write_bytes(zipped(pickle.dumps({"w": Calls(eval, "1")}, 2)))
    with pytest.raises(FileFormatError, match=r"'__builtin__\.eval', which no checkpoint of weights needs"):
        read_torch(path)


def test_a_program_of_torch_script_is_told_as_such(tmp_path: Path) -> None:
    path = tmp_path / "script.pt"
    with zipfile.ZipFile(path, "w") as archive:  # as torch.jit.save writes it: the code is packed
        archive.writestr("script/data.pkl", SOUND)
        archive.writestr("script/code/__torch__.py", "class Module: pass", zipfile.ZIP_DEFLATED)
    with pytest.raises(FileFormatError, match=r"it is a TorchScript program, not weights\. Save the state_dict"):
        read_torch(path)


def test_attributes_of_a_network_stay_words(tmp_path: Path) -> None:
    """No __setstate__, __class__ or __dict__ is what it would be to Python."""
    words = ("__class__", "__dict__", "__setstate__", "__reduce__", "path", "state")
    parts = {word: text("x") for word in words} | {"_parameters": b"}" + text("w") + tensor(storage()) + b"s"}
    # Networks of torch before 1.3 hold the result of this call; it is not made.
    parts["_backend"] = call("torch.nn.backends.thnn", "_get_thnn_function_backend")
    path = tmp_path / "a.pth"
    path.write_bytes(zipped(module(**parts)))
    found = read_torch(path)
    assert found.metadata == dict.fromkeys(words, "x")
    assert list(found.tensors) == ["w"]
    assert found.module == "torch.nn.modules.container.Sequential"


# --- bombs: small files that would grow


def laughs(depth: int) -> bytes:
    """A list of two lists of two lists ..."""
    first = b"\x80\x02]q\x00"
    return (
        first + b"".join(b"](h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1]) for i in range(depth)) + b"."
    )


def loop() -> bytes:
    """A network within itself, ten thousand times over."""
    inner = b"".join(text(str(i)) + b"h\x01" for i in range(10_000))
    head = name("torch.nn.modules.container", "Sequential") + b")\x81q\x01}"
    return b"\x80\x02" + head + text("_modules") + b"}(" + inner + b"usb."


def wide() -> bytes:
    """Nine thousand modules that share one dictionary of twenty thousand parameters."""
    shared = b"}q\x02(" + b"".join(text(str(i)) + b"N" for i in range(20_000)) + b"u0"
    one = name("torch.nn.modules.container", "Sequential") + b"q\x03)\x81}" + text("_parameters") + b"h\x02sb"
    more = b"".join(text(str(i)) + b"h\x03)\x81}" + text("_parameters") + b"h\x02sb" for i in range(9_000))
    top = b"h\x03)\x81}" + text("_modules") + b"}(" + more + b"usb"
    return b"\x80\x02" + shared + one + b"0" + top + b"."


def shared_rows() -> bytes:
    """Thousands of tensors upon one storage, each as large as it."""
    first = tensor(storage(4_000_000) + b"q\x01", size=(2000, 2000), stride=(2000, 1))
    return state(first, *(tensor(b"h\x01", size=(2000, 2000), stride=(1, 2000)) for _ in range(5_000)))


def pairs() -> bytes:
    """One list of pairs made into a dictionary again and again."""
    held = b"](" + b"".join(text(str(i)) + b"N\x86" for i in range(50_000)) + b"e\x85q\x01"
    again = (name("collections", "OrderedDict") + b"q\x02h\x01R0") + b"h\x02h\x01R0" * 50_000
    return b"\x80\x02" + held + again + SOUND[2:]


def deep(code: bytes) -> bytes:
    return b"\x80\x02]" + code * 400_000 + b"."


def colliding_keys() -> bytes:
    """Numbers whose hashes are alike, as keys of a dictionary."""
    keys = b"".join(b"\x8a\x10" + (i * ((1 << 61) - 1)).to_bytes(16, "little") + b"N" for i in range(100_000))
    return b"\x80\x02}(" + keys + b"u."


BOMBS: dict[str, bytes] = {
    "lists of lists": laughs(60),
    "a network within itself": loop(),
    "modules that share their parameters": wide(),
    "one list made into dictionaries": pairs(),
    "tuples in tuples": deep(b"\x85"),
    "lists in lists": b"\x80\x02" + b"]" * 300_000 + b"a" * 299_999 + b".",
    "keys that collide": colliding_keys(),
    "marks": b"\x80\x02" + b"(" * 900_000 + SOUND[2:-1] + b".",
}


@pytest.mark.parametrize("told", BOMBS)
def test_a_bomb_does_not_go_off(tmp_path: Path, told: str) -> None:
    path = tmp_path / "bomb.pth"
    path.write_bytes(zipped(BOMBS[told]))
    assert expect_small(path, 150 << 20) == "FileFormatError" or told == "marks"


def test_tensors_upon_one_storage_are_not_copied(tmp_path: Path) -> None:
    path = tmp_path / "rows.pth"
    path.write_bytes(zipped(shared_rows(), data_0=bytes(16_000_000)))
    assert expect_small(path, 100 << 20) == "InputError"


def expect_small(path: Path, most: int) -> str:
    """The error with which the file ends; reading it takes under so many bytes, and seconds of a core as here."""
    tracemalloc.start()
    began = time.process_time()
    try:
        read_weights_of(path)
        end = ""
    except CxrscoreError as error:
        end = type(error).__name__
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < most, f"{peak >> 20} MiB"
    assert time.process_time() - began < 60
    return end


# --- bytes that nobody thought of


def sound_files() -> dict[str, bytes]:
    """A small network whole and as a state_dict, as torch itself writes them."""
    torch = pytest.importorskip("torch")
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    found: dict[str, bytes] = {}
    for kind, held in {"whole": network, "state": {"state_dict": network.state_dict(), "epoch": 3}}.items():
        for zip_format in (True, False):
            out = io.BytesIO()
            torch.save(held, out, _use_new_zipfile_serialization=zip_format)
            found[f"{kind} {'zip' if zip_format else 'legacy'}"] = out.getvalue()
    return found


def changed(data: bytes, rng: random.Random) -> bytes:
    """Some bytes set, taken out, repeated or cut."""
    held = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        if len(held) < 16:
            break
        at, length = rng.randrange(len(held)), rng.randrange(1, 9)
        way = rng.randrange(5)
        if way == 0:
            held[at] = rng.randrange(256)
        elif way == 1:
            held[at] ^= 1 << rng.randrange(8)
        elif way == 2:
            del held[at : at + length]
        elif way == 3:
            held[at:at] = held[rng.randrange(len(held)) :][:length]
        else:
            del held[at:]
    return bytes(held)


@pytest.mark.slow
def test_only_documented_errors_leave(tmp_path: Path) -> None:
    rng, ends = random.Random(5), {"read": 0, "refused": 0}
    files = sound_files()
    with zipfile.ZipFile(io.BytesIO(files["whole zip"])) as archive:
        members = {word.split("/", 1)[1]: archive.read(word) for word in archive.namelist()}
    path = tmp_path / "a.pth"
    for turn in range(4000):
        kind = (*files, "pickle alone")[turn % 5]
        if kind == "pickle alone":
            # An archive has checksums: the pickle is changed before they are made.
            pickled = changed(members["data.pkl"], rng)
            data = zipped(
                pickled, **{word.replace("/", "_"): held for word, held in members.items() if "data/" in word}
            )
        else:
            data = changed(files[kind], rng)
        path.write_bytes(data)
        try:
            read_torch(path)
            ends["read"] += 1
        except FileFormatError:
            ends["refused"] += 1
    assert min(ends.values()) > 100, ends
