"""Reads the pickles in torch files as data, with a small interpreter instead of the ``pickle`` module.

Python's own unpickler imports what a file names and calls it. This one imports and calls nothing. It knows the
opcodes that torch.save writes and builds from them only: numbers, texts, lists, tuples, dictionaries with texts as
keys, places of tensors (TensorRef), and things without any ability (InertObject). A name that is not listed here, a
call of one that is not for calling, and any other opcode end the reading with a UnsafePickleError that says which.

Opcodes: Lib/pickletools.py of CPython.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cxrscore.models.torch_names import (
    MODULES,
    OBJECTS,
    ORDERED,
    InertObject,
    PickledName,
    StorageRef,
    UnsafePickleError,
    as_dictionary,
    as_tuple,
    construct,
    is_allowed,
    items_of,
    path_of,
    storage_at,
)

MAX_PICKLE_BYTES = 64 << 20
"""Bytes of a pickle; that of a whole DenseNet121 with the source of its classes has under 1 MB."""
MAX_OPCODES = 1_000_000
"""Opcodes in one pickle; a whole DenseNet121 takes 60,000."""
MAX_INTEGER_BYTES = 16
"""Bytes; torch's magic number has ten."""
_LONGEST_NAME = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Pickle:
    """A pickle's value, the place behind it, and every storage that it names, by key."""

    value: Any
    end: int
    storages: dict[str, StorageRef]


def read_pickle(data: memoryview, at: int = 0) -> Pickle:
    """The pickle that begins there. UnsafePickleError where it is not as above."""
    reader = _Reader(data, at)
    return Pickle(value=reader.value(), end=reader.at, storages=reader.storages)


class _Reader:
    """The machine that pickles are written for: a stack, marks in it, and a memo."""

    def __init__(self, data: memoryview, at: int) -> None:
        self._data, self._start, self.at = data, at, at
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._copied = 0
        self.storages: dict[str, StorageRef] = {}

    def value(self) -> Any:
        for _ in range(MAX_OPCODES):
            code = self._take(1)[0]
            if code == _STOP:
                return self._pop()
            step = _STEPS.get(code)
            if step is None:
                raise UnsafePickleError(f"it has the opcode {bytes([code])!r}, which no checkpoint needs")
            step(self)
        raise UnsafePickleError(f"it has over {MAX_OPCODES:,} opcodes")

    # --- bytes

    def _take(self, count: int) -> memoryview:
        end = self.at + count
        if end > len(self._data):
            raise UnsafePickleError("it ends in the middle of its pickle")
        if end - self._start > MAX_PICKLE_BYTES:
            raise UnsafePickleError(f"its pickle has over {MAX_PICKLE_BYTES >> 20} MiB")
        taken, self.at = self._data[self.at : end], end
        return taken

    def number(self, layout: struct.Struct) -> Any:
        return layout.unpack(self._take(layout.size))[0]

    def words(self, length: struct.Struct, encoding: str) -> str:
        try:
            return str(self._take(self.number(length)), encoding)
        except UnicodeDecodeError as error:
            raise UnsafePickleError("it has a text that is no text") from error

    def line(self) -> str:
        length = bytes(self._data[self.at : self.at + _LONGEST_NAME]).find(b"\n")
        if length < 0:
            raise UnsafePickleError(f"it has a name without an end in {_LONGEST_NAME} bytes")
        return str(self._take(length + 1)[:length], "ascii", "replace")

    # --- stack

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise UnsafePickleError("its pickle takes from an empty stack")
        return self._stack.pop()

    def _top(self) -> Any:
        value = self._pop()
        self.push(value)
        return value

    def mark(self) -> None:
        self._marks.append(len(self._stack))

    def above_mark(self) -> list[Any]:
        if not self._marks:
            raise UnsafePickleError("its pickle goes back to a mark that it never set")
        place = self._marks.pop()
        taken = self._stack[place:]
        del self._stack[place:]
        return taken

    def tuple_of(self, count: int) -> None:
        taken = [self._pop() for _ in range(count)]
        self.push(tuple(reversed(taken)))

    def keep(self, place: int | None = None) -> None:
        place = len(self._memo) if place is None else place
        if place >= MAX_OPCODES:
            raise UnsafePickleError(f"its pickle numbers a value {place}")
        self._memo[place] = self._top()

    def recall(self, place: int) -> None:
        if place not in self._memo:
            raise UnsafePickleError(f"its pickle recalls value {place}, which it never kept")
        self.push(self._memo[place])

    # --- containers

    def extend(self, values: list[Any]) -> None:
        target = self._top()
        if not isinstance(target, list):
            raise UnsafePickleError("its pickle appends to what is no list")
        target.extend(values)

    def append(self) -> None:
        value = self._pop()
        self.extend([value])

    def update(self, values: list[Any]) -> None:
        target = self._top()
        if isinstance(target, InertObject) and not target.state:
            return  # items of a Counter or defaultdict
        if not isinstance(target, dict) or len(values) % 2:
            raise UnsafePickleError("its pickle sets items of what is no dictionary")
        target.update(items_of(list(zip(values[::2], values[1::2], strict=True))))

    def update_one(self) -> None:
        value, key = self._pop(), self._pop()
        self.update([key, value])

    def add_to_set(self) -> None:
        self.above_mark()
        if not isinstance(self._top(), InertObject):
            raise UnsafePickleError("its pickle adds to what is no set")

    # --- names and what is made of them

    def global_by_lines(self) -> None:
        self.push(is_allowed(self.line(), self.line()))

    def global_by_stack(self) -> None:
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise UnsafePickleError("its pickle names something by what is no text")
        self.push(is_allowed(module, name))

    def reduce(self) -> None:
        given, path = as_tuple(self._pop()), path_of(self._pop())
        if path == ORDERED and given and isinstance(given[0], list):
            self._copied += len(given[0])  # one list may be given to many calls: their work is counted together
        if self._copied > MAX_OPCODES:
            raise UnsafePickleError(f"it copies over {MAX_OPCODES:,} items")
        self.push(construct(path, given))

    def new_object(self) -> None:
        _, path = self._pop(), path_of(self._pop())
        if not MODULES.fullmatch(path) and path not in OBJECTS:
            raise UnsafePickleError(f"it makes an object of {path}, which is no module of a network")
        self.push(InertObject(path))

    def build(self) -> None:
        """Attributes of an object. Those of an OrderedDict (torch's _metadata) and of inert things are let go."""
        state, target = self._pop(), self._top()
        if isinstance(target, InertObject):
            if MODULES.fullmatch(target.path):
                target.state = as_dictionary(state)
        elif not isinstance(target, dict):
            raise UnsafePickleError("its pickle gives attributes to what can have none")

    def persistent(self) -> None:
        reference = as_tuple(self._pop())
        if reference[:1] == ("module",) and len(reference) > 1 and isinstance(reference[1], PickledName):
            self.push(reference[1])  # the class of a module, with its source, which stays unread
        else:
            found = storage_at(reference)
            first = self.storages.setdefault(found.key, found)
            if (found.kind, found.total) != (first.kind, first.total):
                raise UnsafePickleError(f"it has two storages of the key {found.key[:40]!r}")
            self.push(found)


_U1, _U2, _U4, _U8 = (struct.Struct(layout) for layout in ("<B", "<H", "<I", "<Q"))
_I4, _F8 = struct.Struct("<i"), struct.Struct(">d")
_STOP = ord(".")


def _protocol(reader: _Reader) -> None:
    if (version := reader.number(_U1)) > 5:
        raise UnsafePickleError(f"its pickle is of protocol {version}")


def _long(reader: _Reader) -> None:
    count = reader.number(_U1)
    if count > MAX_INTEGER_BYTES:
        raise UnsafePickleError(f"it has an integer of {count} bytes")
    reader.push(int.from_bytes(reader._take(count), "little", signed=True))


_STEPS: dict[int, Callable[[_Reader], Any]] = {
    0x80: _protocol,
    0x95: lambda r: r.number(_U8),  # FRAME: a hint for buffering
    ord("("): _Reader.mark,
    ord("0"): _Reader._pop,
    ord("1"): _Reader.above_mark,
    ord("N"): lambda r: r.push(None),
    0x88: lambda r: r.push(True),
    0x89: lambda r: r.push(False),
    ord("J"): lambda r: r.push(r.number(_I4)),
    ord("K"): lambda r: r.push(r.number(_U1)),
    ord("M"): lambda r: r.push(r.number(_U2)),
    0x8A: _long,
    ord("G"): lambda r: r.push(r.number(_F8)),
    ord("X"): lambda r: r.push(r.words(_U4, "utf-8")),
    0x8C: lambda r: r.push(r.words(_U1, "utf-8")),
    ord("T"): lambda r: r.push(r.words(_U4, "latin-1")),  # texts of Python 2
    ord("U"): lambda r: r.push(r.words(_U1, "latin-1")),
    ord("B"): lambda r: r.push(InertObject(r.words(_U4, "latin-1") and "bytes")),  # bytes are never wanted
    ord("C"): lambda r: r.push(InertObject(r.words(_U1, "latin-1") and "bytes")),
    ord(")"): lambda r: r.push(()),
    ord("t"): lambda r: r.push(tuple(r.above_mark())),
    0x85: lambda r: r.tuple_of(1),
    0x86: lambda r: r.tuple_of(2),
    0x87: lambda r: r.tuple_of(3),
    ord("]"): lambda r: r.push([]),
    ord("a"): _Reader.append,
    ord("e"): lambda r: r.extend(r.above_mark()),
    ord("}"): lambda r: r.push({}),
    ord("s"): _Reader.update_one,
    ord("u"): lambda r: r.update(r.above_mark()),
    0x8F: lambda r: r.push(InertObject("builtins.set")),
    0x90: _Reader.add_to_set,
    ord("q"): lambda r: r.keep(r.number(_U1)),
    ord("r"): lambda r: r.keep(r.number(_U4)),
    0x94: lambda r: r.keep(),
    ord("h"): lambda r: r.recall(r.number(_U1)),
    ord("j"): lambda r: r.recall(r.number(_U4)),
    ord("c"): _Reader.global_by_lines,
    0x93: _Reader.global_by_stack,
    ord("R"): _Reader.reduce,
    0x81: _Reader.new_object,
    ord("b"): _Reader.build,
    ord("Q"): _Reader.persistent,
}
"""All opcodes that are known, by code. Not among them: INST, OBJ, NEWOBJ_EX, EXT, PERSID, DUP, LONG4, those of buffers,
and those that write numbers and texts as lines."""
