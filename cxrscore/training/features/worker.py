"""The code of a worker process: it builds the model again and runs its frozen layers as the training process would."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from cxrscore import plugins
from cxrscore.contract import Model, ModelSpec
from cxrscore.errors import InputError
from cxrscore.images import ImageCache, Preprocessing
from cxrscore.io import atomic_write_bytes, sha256_bytes
from cxrscore.labels import Split
from cxrscore.progress import no_progress
from cxrscore.training.data import Data
from cxrscore.training.features.distributed import base_file, block_bytes, block_file
from cxrscore.training.features.source import FeatureSource, batches_of
from cxrscore.training.options import TrainOptions


def feature_task(
    folder: str,
    spec: Mapping[str, Any],
    options: Mapping[str, Any],
    store: dict[str, Any],
    copy: int | None,
    blocks: Sequence[Sequence[int]],
    by: Sequence[str],
    base: str,
) -> Callable[[int], str]:
    """The task of a worker; an item is a block of films, its result the SHA-256 of the written file.

    base  SHA-256 of the file of the model's tensors
    """
    own = Path(folder)
    model = _model(own, base, ModelSpec.from_dict(spec), TrainOptions(**options))
    outputs = FeatureSource(model, _films(ImageCache.open(store), model.spec), TrainOptions(**options), no_progress)
    if outputs.computed_by != tuple(by):
        raise InputError(
            f"a worker runs the frozen layers with {' on '.join(outputs.computed_by)}, and the process that trains "
            f"with {' on '.join(by)}: expected the same; install it alike, or name a --device that all have"
        )

    def compute(item: int) -> str:
        rows = np.concatenate(list(outputs.run(batches_of(np.array(blocks[item], np.intp)), copy)))
        data = block_bytes(rows)
        atomic_write_bytes(block_file(own, item), data)
        return sha256_bytes(data)

    return compute


def _model(folder: Path, digest: str, spec: ModelSpec, options: TrainOptions) -> Model:
    path = base_file(folder)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"a worker finds no {path}; expected a cache folder that all reach (CXRSCORE_CACHE)"
        ) from error
    if sha256_bytes(data) != digest:
        raise InputError(f"a worker finds {path} damaged: expected the file as it was written. Start again.")
    chosen: dict[str, Any] = {"device": options.device, "precision": options.precision, "seed": options.seed}
    return plugins.get_backend(options.backend).build(spec, safetensors.numpy.load(data), **chosen)


def _films(store: ImageCache, spec: ModelSpec) -> Data:
    """Films without labels and split, which are not needed to run frozen layers."""
    count = len(store.films)
    return Data(
        store=store,
        paths=("",) * count,
        labels=np.full((count, len(spec.findings)), np.nan, np.float32),
        findings=spec.findings,
        patients=(None,) * count,
        split=Split(train=(), valid=(), test=(), rule="none"),
        failed={},
        labels_file={},
        leaks=(),
        preprocessing=Preprocessing(size=spec.size),
    )
