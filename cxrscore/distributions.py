"""Find the installed distributions that provide plugins, and the one that is cxrscore itself."""

from __future__ import annotations

import json
import re
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

NAME = "cxrscore"
"""Name of cxrscore's distribution, and of the entry-point group."""
_PACKAGE = Path(__file__).resolve().parent


@dataclass(frozen=True, kw_only=True)
class PluginEntryPoint:
    """An entry point of a plugin.

    Parameters
    ----------
    point
        The entry point.
    own
        Whether cxrscore itself provides it.
    impostor
        Whether its distribution has the name cxrscore but is another one.
    """

    point: metadata.EntryPoint
    own: bool = False
    impostor: bool = False

    @property
    def distribution(self) -> str:
        """Name of the distribution."""
        return self.point.dist.name if self.point.dist else "unknown"

    @property
    def version(self) -> str:
        """Version of the distribution."""
        return self.point.dist.version if self.point.dist else ""


def plugin_entry_points() -> list[PluginEntryPoint]:
    """The entry points of all installed distributions.

    importlib.metadata.entry_points() uses only the first distribution of each name. Here all distributions with the
    name cxrscore are read, so that a foreign one that comes first on the path hides nothing.
    """
    claimants: list[metadata.Distribution] = []
    others: dict[str, metadata.Distribution] = {}
    for dist in filter(_points, metadata.distributions()):  # the names are read only then, because it takes longer
        if normalised(dist.name) == NAME:
            claimants.append(dist)
        else:
            others.setdefault(normalised(dist.name), dist)
    return [*owned(claimants), *(PluginEntryPoint(point=point) for dist in others.values() for point in _points(dist))]


def owned(claimants: Sequence[metadata.Distribution]) -> Iterator[PluginEntryPoint]:
    """The entry points of distributions with the name cxrscore. One of them contains this package; entry points that
    the others repeat are skipped."""
    ranked = sorted(claimants, key=_evidence, reverse=True)  # stable: among equal ones, the first on the path
    known: set[tuple[str, str]] = set()
    for place, dist in enumerate(ranked):
        for point in _points(dist):
            if (point.name, point.value) not in known:
                known.add((point.name, point.value))
                yield PluginEntryPoint(point=point, own=place == 0, impostor=place > 0)


def normalised(name: str) -> str:
    """A distribution's name, normalised as in package indexes."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _points(dist: metadata.Distribution) -> list[metadata.EntryPoint]:
    return [point for point in dist.entry_points if point.group == NAME]


def _evidence(dist: metadata.Distribution) -> int:
    """2: its files contain this package; 1: they contain a package of this name in another folder, as when a source
    tree on PYTHONPATH comes before the installed one; 0: they contain none."""
    packages = {path.resolve() for path in _packages(dist)}
    return 2 if _PACKAGE in packages else int(bool(packages))


def _packages(dist: metadata.Distribution) -> Iterator[Path]:
    """Folders of packages with the name cxrscore that the distribution installed, or that it points to (pip install
    -e)."""
    for file in dist.files or ():
        if file.as_posix() == f"{NAME}/__init__.py":
            yield Path(str(dist.locate_file(file))).parent
        elif file.suffix == ".pth":
            yield from _below(_lines(Path(str(dist.locate_file(file)))))
    yield from _below(_editable(dist))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []


def _editable(dist: metadata.Distribution) -> list[str]:
    """The source folder of an editable installation."""
    try:
        origin = json.loads(dist.read_text("direct_url.json") or "{}")
        url = urllib.parse.urlsplit(origin["url"])
        editable = url.scheme == "file" and origin["dir_info"]["editable"] is True
    except (ValueError, KeyError, TypeError, OSError):
        return []
    return [urllib.request.url2pathname(url.path)] * editable


def _below(folders: Iterable[str]) -> Iterator[Path]:
    for folder in folders:
        if folder and not folder.startswith("import") and (Path(folder) / NAME / "__init__.py").is_file():
            yield Path(folder) / NAME
