"""Frozen layers run by worker processes, through an executor. The code of a worker is in ``worker``.

A work item is a block of films, and a block consists of the same batches as in one process, so the features are equal.
A worker writes the features of a block atomically into a file; the files are read in the order of the films, and each
is removed after reading. They are in a temporary folder, which is removed at the end.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from cxrscore import plugins
from cxrscore.contract import Floats, Model, TaskBatch
from cxrscore.errors import WorkerError, WriteError
from cxrscore.io import atomic_write_bytes, make_folder, sha256_bytes
from cxrscore.training.features.cache import BLOCKS
from cxrscore.training.options import TrainOptions

BLOCK = 256
"""Maximum number of films in a block."""
_BYTES = 1 << 26
"""Of the outputs in a block, at most, unless a single batch has more."""
_EACH = 4
"""Blocks per process, if there are enough films, so that all processes end at about the same time."""
_OF_THE_DRIVER = (
    "films",
    "labels",
    "split",
    "output",
    "resume",
    "overwrite",
    "recipe",
    "allow_leakage",
    "executor",
    "processes",
    "address",
    "mlflow",
)
"""Options that workers do not use."""

Rows = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class DistributedFeatureExtractor:
    """The inputs of the frozen layers of a model.

    store  FilmStore.reference() of the films
    copy   number of the augmented copy; None: the films without augmentation
    by     framework and kind of device of the process that trains, which must be those of the workers
    """

    model: Model
    options: TrainOptions
    store: dict[str, Any]
    copy: int | None
    by: tuple[str, str]

    def outputs(
        self, folder: Path, batches: Sequence[Rows], like: Floats, report_done: Callable[[int], None]
    ) -> Iterator[Floats]:
        """Features of films, given by their rows in the store, float32 [n,...], block by block, after all are computed.

        folder  where the extraction makes its own
        like    outputs of any films, for their shape
        report_done  is called with the number of films that are done

        WriteError where the disk will not have the blocks, before anything is given; what else ends a worker, as it
        says.
        """
        blocks = _blocks(batches, like[0].nbytes, self.options.processes)
        with _private_folder(folder) as own:
            digests = self._compute(own, blocks, report_done)
            for item, rows in enumerate(blocks):
                yield _read(block_file(own, item), digests[item], (len(rows), *like.shape[1:]))

    def _compute(self, own: Path, blocks: Sequence[Rows], report_done: Callable[[int], None]) -> dict[int, str]:
        """Lets workers compute all blocks; returns the SHA-256 of each, "" if its worker died before it reported."""
        digests: dict[int, str] = {}

        def count(item: int, digest: str) -> None:
            digests[item] = digest
            report_done(sum(len(blocks[each]) for each in digests))

        options = self.options
        tensors = {name: np.asarray(tensor, order="C") for name, tensor in self.model.tensors().items()}
        base = safetensors.numpy.save(tensors)
        atomic_write_bytes(base_file(own), base)
        work = TaskBatch(
            items=tuple(range(len(blocks))),
            opener="cxrscore.training.features.worker:feature_task",
            arguments={**self._arguments(own, blocks), "base": sha256_bytes(base)},
            device=options.device,
            is_done=lambda item: block_file(own, item).is_file(),
        )
        plugins.get_executor(options.executor).run(work, count, processes=options.processes, address=options.address)
        return digests

    def _arguments(self, own: Path, blocks: Sequence[Rows]) -> dict[str, Any]:
        options = self.options
        if not options.address:
            options = replace(options, workers=max(1, options.workers // options.processes))
        return {
            "folder": str(own.absolute()),
            "spec": self.model.spec.as_dict(),
            "options": {name: value for name, value in asdict(options).items() if name not in _OF_THE_DRIVER},
            "store": self.store,
            "copy": self.copy,
            "blocks": [rows.tolist() for rows in blocks],
            "by": list(self.by),
        }


def base_file(folder: Path) -> Path:
    """The tensors of the model, in the folder of an extraction."""
    return folder / "base.safetensors"


def block_file(folder: Path, item: int) -> Path:
    """The file of a block, see block_bytes."""
    return folder / f"block-{item:06}.rows"


def block_bytes(rows: Floats) -> bytes:
    """The content of the file of a block: float32 rows, then their SHA-256."""
    data = np.ascontiguousarray(rows, np.float32).tobytes()
    return data + bytes.fromhex(sha256_bytes(data))


def _blocks(batches: Sequence[Rows], row: int, processes: int) -> list[Rows]:
    """Groups batches into blocks. row: bytes of the features of a film."""
    size = len(batches[0])
    films = min(BLOCK, _BYTES // row)
    step = max(1, min(films // size, -(-len(batches) // (_EACH * processes))))
    return [np.concatenate(batches[start : start + step]) for start in range(0, len(batches), step)]


@contextmanager
def _private_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder, removed at the end; WriteError if it cannot be created."""
    make_folder(folder)
    try:
        own = Path(tempfile.mkdtemp(prefix=BLOCKS, dir=folder))
    except OSError as error:
        raise WriteError(f"cannot make a folder in {folder}: {error.strerror or error}") from error
    try:
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)


def _read(path: Path, digest: str, shape: tuple[int, ...]) -> Floats:
    """The outputs [n,...] in a file, which is then removed."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WorkerError(f"cannot read {path}, which a worker has written: {error.strerror or error}") from error
    size = 4 * math.prod(shape)
    rows = data[:size]
    if data[size:].hex() != sha256_bytes(rows) or digest not in ("", sha256_bytes(data)):
        raise WorkerError(f"{path} is not what a worker has written: {len(data)} bytes, expected {size + 32}")
    path.unlink(missing_ok=True)
    return np.frombuffer(rows, np.float32).reshape(shape)
