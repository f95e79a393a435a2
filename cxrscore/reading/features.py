"""Features of films by the frozen backbone of a model, from the cache that training uses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from cxrscore import plugins
from cxrscore.contract import FeatureExtractor, Floats, Model
from cxrscore.errors import InputError
from cxrscore.images import ImageCache, Preprocessing, Status
from cxrscore.io.entries import cache_folder
from cxrscore.io.untrusted_names import is_plain_relative_path
from cxrscore.models.model_file import ModelFile, load_model
from cxrscore.plugin_values import why_not
from cxrscore.progress import Progress, no_progress
from cxrscore.training.features import (
    FORWARD,
    cached_features,
    feature_cache_folder,
    feature_key,
    forward,
    frozen_digest,
)

_HEAD = ("head/kernel", "head/bias")


class _Extractor(Model, FeatureExtractor, Protocol):
    """A model that has features."""


@dataclass(frozen=True, kw_only=True)
class FilmFeatures:
    """Computes features.

    films    the folder of the films
    model    the model file whose backbone is used
    backend  its backend; None: the fastest installed one that has features
    """

    films: Path
    model: Path
    backend: str | None = None
    device: str = "auto"
    workers: int = 1
    progress: Progress = no_progress

    def __call__(self, paths: Sequence[str], sha256: Sequence[str]) -> Floats:
        """Features float32 [N,K] of the films of these paths below the folder; NaN for films that cannot be read, or
        are no longer those of these digests.

        InputError if no film can be read, or no installed backend has features of the model.
        """
        file = load_model(self.model)
        plain = [place for place, path in enumerate(paths) if is_plain_relative_path(path)]
        preprocessing = Preprocessing.from_dict(file.document["preprocessing"])
        store = ImageCache.build(
            self.films,
            [paths[place] for place in plain],
            preprocessing,
            cache_folder() / "films",
            workers=self.workers,
            progress=lambda done: self.progress("reading films", done, len(plain)),
        )
        rows = [
            row
            for row, (film, place) in enumerate(zip(store.films, plain, strict=True))
            if film.status == Status.OK and film.sha256 == sha256[place]
        ]
        if not rows:
            raise InputError(
                f"none of the {len(paths):,} films can be read below {self.films}, or they have changed. Give the "
                "folder that was scored; the films of a scores file with anonymized paths cannot be found."
            )
        model = self._built(file)

        def compute(places: Sequence[int]) -> Iterator[Floats]:
            batches = [places[start : start + FORWARD] for start in range(0, len(places), FORWARD)]
            films = (np.stack([store.unit(rows[place]) for place in batch]) for batch in batches)
            done = 0
            for found in forward(model.embed, films, FORWARD):
                done += len(found)
                self.progress("running the frozen layers", done, len(places))
                yield found

        by = (model.framework, model.device.partition(":")[0], "fp32")
        key = feature_key(file.spec, frozen_digest(file.tensors, _HEAD), by, preprocessing)
        cached = cached_features(
            feature_cache_folder(), key, [store.films[row].sha256 for row in rows], compute, sets=1
        )
        found = compute(range(len(rows))) if cached is None else iter([cached.take(np.arange(len(rows)))])
        known = np.concatenate(list(found))
        features = np.full((len(paths), known.shape[1]), np.nan, np.float32)
        features[[plain[row] for row in rows]] = known
        return features

    def _built(self, file: ModelFile) -> _Extractor:
        """The model, by a backend that has features of it."""
        names = plugins.fastest_backends(file.spec, self.device) if self.backend is None else [self.backend]
        for name in names:
            backend = plugins.get_backend(name)
            if self.backend is not None and (reason := why_not(backend, file.spec.architecture, file.spec.network)):
                raise InputError(reason)
            model: Any = backend.build(file.spec, file.tensors, device=self.device)
            if isinstance(model, FeatureExtractor):
                return cast(_Extractor, model)
        tried = ", ".join(names) or "none"
        raise InputError(f"no installed backend has features of {file.path} (tried: {tried}). See `cxrscore plugins`.")
