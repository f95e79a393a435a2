"""The manifest of a run: films, findings and all inputs of the scores. It is fixed before the first film is scored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any

from cxrscore.errors import FileFormatError
from cxrscore.io import atomic_write_pieces, sha256_bytes
from cxrscore.io.regular import open_regular
from cxrscore.io.strict_json import parse_json
from cxrscore.io.untrusted_names import is_plain_relative_path

FORMAT = "cxrscore-run"
VERSION = 1
HEAD = 1 << 20
"""Maximum length of the first line of a manifest, bytes."""
_AT_ONCE = 4096
"""Paths that are written or hashed at a time."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The definition of a run.

    paths     N POSIX paths below the films folder, sorted
    findings  C names
    given     the other inputs of the scores, JSON-ready: SHA-256 of the models, backend, ...; for a partition of a run
              also ``partition``, the result of scorefile.partition.partition_inputs
    """

    paths: tuple[str, ...]
    findings: tuple[str, ...]
    given: Mapping[str, Any]

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """All inputs of the scores, as stored in the files: ``given``, the findings and the films."""
        own = {"findings": self.findings, "films": len(self.paths), "paths": paths_digest(self.paths)}
        inputs: dict[str, Any] = json.loads(canonical_json({**self.given, **own}))
        return inputs

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the inputs, hex."""
        return fingerprint_of(self.inputs)

    def matches(self, inputs: Mapping[str, Any]) -> bool:
        """Whether a run with these inputs has the same fingerprint."""
        return canonical_json(inputs) == canonical_json(self.inputs)

    @cached_property
    def shards(self) -> tuple[range, ...]:
        """The rows of each shard. Shards of a partition have the same size as those of the complete run."""
        total = len(self.paths)
        partition = self.given.get("partition")
        size = shard_size(partition["total_films"] if partition else total, self.given.get("batch_size", 1))
        return tuple(range(start, min(start + size, total)) for start in range(0, total, size))


@dataclass(frozen=True, kw_only=True)
class ManifestHeader:
    """The first line of a manifest file: enough to decide whether a run may resume.

    replaces  whether the user agreed that the run replaces an output of another run
    """

    inputs: Mapping[str, Any]
    replaces: bool


def shard_size(films: int, batch_size: int) -> int:
    """Films in a shard: a thousandth of the run, between 64 and 4096, in complete batches. A crash loses at most one
    shard per worker."""
    most = _most(films)
    return most - most % whole_batch(films, batch_size)


def whole_batch(films: int, batch_size: int) -> int:
    """Films in a batch of a run of so many films: a batch never crosses shards."""
    return min(batch_size, _most(films))


def _most(films: int) -> int:
    return min(max(films // 1000, 64), 4096)


def canonical_json(value: Any) -> str:
    """Canonical JSON, so that equal values have equal digests."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def fingerprint_of(inputs: Mapping[str, Any]) -> str:
    """SHA-256 of inputs, hex."""
    return sha256_bytes(canonical_json(inputs).encode())


def write_manifest(path: Path, manifest: Manifest, *, replaces: bool) -> None:
    """Writes JSON lines atomically: the head, then one path on each line. WriteError if it cannot be written."""
    head = {"format": FORMAT, "version": VERSION, "inputs": manifest.inputs, "replaces": replaces}
    lines = (f"{line}\n" for line in chain((canonical_json(head),), map(json.dumps, manifest.paths)))
    atomic_write_pieces(path, ("".join(some).encode("ascii") for some in _together(lines)))


def read_head(path: Path) -> ManifestHeader | None:
    """The head of a manifest file, None if there is no file; FileFormatError if it is not a manifest."""
    try:
        with open_regular(path) as file:
            head = parse_json(file.readline(HEAD))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise FileFormatError(
            f"{path} cannot be read as a run's manifest: {error}. Use --overwrite to start over."
        ) from error
    if not isinstance(head, dict) or (head.get("format"), head.get("version")) != (FORMAT, VERSION):
        raise FileFormatError(f"{path} is not a manifest of this version of cxrscore. Use --overwrite to start over.")
    if not isinstance(head.get("inputs"), dict):
        raise FileFormatError(f"{path} has no valid inputs of its run. Use --overwrite to start over.")
    return ManifestHeader(inputs=head["inputs"], replaces=head.get("replaces") is True)


def read_paths(path: Path) -> tuple[str, ...] | None:
    """The films of a manifest file, None if there is no file; FileFormatError if they do not match its head."""
    head = read_head(path)
    if head is None:
        return None
    try:
        with open_regular(path) as file:
            file.readline(HEAD)
            paths = tuple(json.loads(line) for line in file)
        plain = all(isinstance(one, str) and is_plain_relative_path(one) for one in paths)
        complete = plain and paths_digest(paths) == head.inputs.get("paths")
    except (OSError, ValueError, RecursionError) as error:
        raise FileFormatError(
            f"{path} cannot be read as a run's manifest: {error}. Use --overwrite to start over."
        ) from error
    if not complete:
        raise FileFormatError(
            f"{path} does not list the films of its run as paths below the films folder. Use --overwrite to start over."
        )
    return paths


def paths_digest(paths: Iterable[str]) -> str:
    """Digest of a list of films, independent of the other content of a manifest."""
    digest, between = hashlib.sha256(), ""
    for some in _together(paths):
        digest.update((between + "\0".join(some)).encode("utf-8", "surrogateescape"))
        between = "\0"
    return digest.hexdigest()


def _together(texts: Iterable[str]) -> Iterator[list[str]]:
    """The texts, many at a time: a list of a million paths is not joined to one text."""
    rest = iter(texts)
    while some := list(islice(rest, _AT_ONCE)):
        yield some


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """One text for each input that differs: ``batch_size: 8 -> 16``. For lists of films it contains their lengths, or
    words if the lengths are equal."""
    before, after = dict(_leaves(old)), dict(_leaves(new))
    keys = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    if "paths" in keys:
        keys.remove("paths")
        if "films" not in keys:
            return ["which films there are", *_changes(keys, before, after)]
    return _changes(keys, before, after)


def precision_hint(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What to do where runs differ in their precision; "" where they do not."""
    before = old.get("precision")
    if before == new.get("precision"):
        return ""
    return (
        f" `--precision auto` chooses anew on each machine: name one precision, such as --precision {before}, for the "
        "whole run."
    )


def _changes(keys: Sequence[str], before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    return [f"{key}: {before.get(key, 'nothing')} -> {after.get(key, 'nothing')}" for key in keys]


def _leaves(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", canonical_json(value)
