"""What a piece of code makes Python open: files, folders, processes, connections, libraries."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_opened: list[str] | None = None


def _hook(event: str, given: tuple[Any, ...]) -> None:
    if _opened is not None and event in ("open", "os.listdir", "os.scandir", "subprocess.Popen", "socket.connect"):
        _opened.append(f"{event} {os.fsdecode(given[0]) if isinstance(given[0], str | bytes | Path) else given[0]}")
    if _opened is not None and event in ("pickle.find_class", "exec", "os.system", "os.exec", "ctypes.dlopen"):
        _opened.append(event)


sys.addaudithook(_hook)


@contextmanager
def told_what_is_opened() -> Iterator[list[str]]:
    """A list that grows during the block: "open PATH", and the like."""
    global _opened
    _opened = seen = []
    try:
        yield seen
    finally:
        _opened = None


def assert_stays_within(path: Path, seen: list[str]) -> None:
    """What a file makes us open is that file; schemas, and modules of Python, are ours."""
    ours = (str(path), str(Path(__file__).parents[1] / "schemas"), *sys.path[1:])
    assert [place for place in seen if not place.startswith(tuple(f"open {own}" for own in ours if own))] == []
