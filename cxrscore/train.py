"""One training run: films and labels in, model.safetensors and model.run/ out."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import cxrscore
from cxrscore import labels as lab
from cxrscore import plugins
from cxrscore.contract import Backend, Batch, Embedding, Floats, Loss, Model, ModelSpec, Trainable, TrainableModel
from cxrscore.errors import InputError
from cxrscore.files import sha256_bytes
from cxrscore.films import Augmentation, FilmStore, Preprocessing, Status, augment, require_films
from cxrscore.losses import class_weights
from cxrscore.metrics import auc_per_finding, macro
from cxrscore.models.architectures import initial_tensors
from cxrscore.models.bundle import save_model
from cxrscore.models.imagenet import BaseWeights, base_weights, cache_folder
from cxrscore.models.run_folder import save_run
from cxrscore.progress import Progress, silent
from cxrscore.recipes import recipe_toml
from cxrscore.testing.golden import golden_record

_FORWARD = 8
"""Films in a batch where nothing is learned: on a CPU larger batches only cost memory."""

_NORMALIZE = {"densenet121": "imagenet-rgb", "resnet50": "imagenet-caffe"}
"""What the ImageNet weights of an architecture were trained with."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """All that decides a training run; what ``cxrscore train`` takes, under the same names.

    films, labels  folder of films; label table (None: labels.csv in or beside the folder)
    split          CSV with the columns film,split; None: 70/10/20 by patient, drawn with ``seed``
    views          augmented views of each training film (0: none); with a frozen base they are embedded once
                   and cycled through by epoch, else a new one is drawn each epoch
    patience       epochs without a better macro AUC on the validation films after which training stops
    """

    films: Path = Path("films")
    labels: Path | None = None
    output: Path = Path("model.safetensors")
    backend: str = "keras"
    architecture: str = "densenet121"
    weights: str = "imagenet"
    size: int = 400
    normalize: str | None = None
    head: str = "gap"
    activation: str = "sigmoid"
    trainable: str = "head"
    loss: str = "weighted-bce"
    epochs: int = 80
    batch_size: int = 16
    learning_rate: float = 1e-3
    patience: int = 10
    views: int = 0
    split: Path | None = None
    seed: int = 0
    device: str = "auto"
    precision: str = "fp32"
    workers: int = 2


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a run ended with. macro_auc is that of the validation films at the chosen epoch, test_auc that of the
    test films, looked at once; NaN where no finding has both classes."""

    output: Path
    run_folder: Path
    films: dict[str, int]
    failed: dict[str, str]
    best_epoch: int
    history: list[dict[str, float]]
    macro_auc: float
    test_auc: float


@dataclass(frozen=True, kw_only=True)
class _Data:
    """Films of the run that could be read, their labels, and the split as indexes into the store."""

    store: FilmStore
    paths: tuple[str, ...]
    labels: Floats
    findings: tuple[str, ...]
    patients: tuple[str | None, ...]
    split: lab.Split
    failed: dict[str, str]
    labels_file: dict[str, str]

    def hashes(self, rows: tuple[int, ...]) -> list[str]:
        return [self.store.films[row].sha256[:16] for row in rows]


def train_model(options: TrainOptions, progress: Progress = silent) -> TrainResult:
    """Trains one model and writes it. InputError, LeakError, BackendUnavailableError and WriteError as they say."""
    backend = plugins.get_backend(options.backend)
    loss = plugins.get_loss(options.loss)
    base = base_weights(options.weights, options.architecture)
    data = _read_data(options, progress)
    spec = _spec(options, data.findings, base)
    model = _build(backend, spec, base, options)
    best = _fit(model, data, loss.weighted(class_weights(data.labels[list(data.split.train)])), options, progress)
    # The model is built anew from what is saved, so that what is tested is what others will load.
    final = backend.build(spec, best.tensors, device=options.device, precision="fp32")
    test_auc = _test(final, data)
    document = _document(options, spec, data, base, final, best)
    save_model(options.output, best.tensors, document)
    run_folder = save_run(
        options.output, best.history, best.epoch, lab.split_csv(data.split, data.paths), recipe_toml(_public(options))
    )
    return TrainResult(
        output=options.output,
        run_folder=run_folder,
        films={name: len(getattr(data.split, name)) for name in ("train", "valid", "test")},
        failed=data.failed,
        best_epoch=best.epoch,
        history=best.history,
        macro_auc=best.macro_auc,
        test_auc=test_auc,
    )


def _read_data(options: TrainOptions, progress: Progress) -> _Data:
    found = require_films(options.films)
    table_path = options.labels or lab.find_labels(options.films)
    if table_path is None:
        raise InputError(f"there is no labels.csv in or beside {options.films}. Name the label table with --labels.")
    joined, labels_file = lab.joined_labels(table_path, plugins.datasets(), found.paths)
    labelled = [row for row in range(len(found.paths)) if not np.isnan(joined.labels[row]).all()]
    if not labelled:
        raise InputError(
            f"no film below {options.films} has a label in {table_path}; films are named like {found.paths[0]!r}: "
            "does the table name them so?"
        )
    paths = tuple(found.paths[row] for row in labelled)
    patients = tuple(joined.patients[row] for row in labelled)
    labels = joined.labels[labelled]
    store = FilmStore.build(
        options.films,
        paths,
        Preprocessing(size=options.size),
        cache_folder() / "films",
        workers=options.workers,
        progress=lambda done: progress("reading films", done, len(paths)),
    )
    split = _split(options, paths, patients, labels, store)
    lab.check_leaks(split, patients, [film.sha256 for film in store.films], paths)
    return _Data(
        store=store,
        paths=paths,
        labels=labels,
        findings=joined.findings,
        patients=patients,
        split=split,
        failed={path: film.message for path, film in zip(paths, store.films, strict=True) if film.status != Status.OK},
        labels_file=labels_file,
    )


def _split(
    options: TrainOptions, paths: tuple[str, ...], patients: tuple[str | None, ...], labels: Floats, store: FilmStore
) -> lab.Split:
    """The given or drawn split, without the films that could not be read."""
    if options.split is not None:
        split = lab.read_split(options.split, paths)
    else:
        split = lab.split_by_patient(patients, labels, seed=options.seed)
    readable = set(store.rows)
    train, valid, test = (tuple(r for r in rows if r in readable) for rows in (split.train, split.valid, split.test))
    if not train or not valid:
        raise InputError("training needs at least one readable film in each of the splits train and valid")
    return replace(split, train=train, valid=valid, test=test)


def _spec(options: TrainOptions, findings: tuple[str, ...], base: BaseWeights | None) -> ModelSpec:
    natural = _NORMALIZE.get(options.architecture, "imagenet-rgb") if base is not None else "imagenet-rgb"
    values = {name: getattr(options, name) for name in ("architecture", "size", "head", "activation", "trainable")}
    return ModelSpec.from_dict({**values, "normalize": options.normalize or natural, "findings": findings})


def _build(backend: Backend, spec: ModelSpec, base: BaseWeights | None, options: TrainOptions) -> Model:
    if spec.architecture not in backend.architectures:
        raise InputError(
            f"backend {backend.name!r} has no {spec.architecture!r}; it has: {', '.join(backend.architectures)}"
        )
    tensors = None if base is None else initial_tensors(spec, options.seed, base.tensors)
    precision: Any = options.precision
    return backend.build(spec, tensors, device=options.device, precision=precision, seed=options.seed)


@dataclass(frozen=True, kw_only=True)
class _Best:
    tensors: dict[str, Any]
    epoch: int
    history: list[dict[str, float]]
    macro_auc: float
    valid_loss: float
    valid_auc: list[float]


class _Feed:
    """Batches for training and inputs for validation: embeddings if the base is frozen, else films."""

    def __init__(self, model: Model, data: _Data, options: TrainOptions, progress: Progress) -> None:
        self._data, self._options = data, options
        self._model = model
        self.train, self.valid = (np.array(rows) for rows in (data.split.train, data.split.valid))
        self.learner: TrainableModel = _learner(model, options)
        self._embedded = self.learner is not model
        if self._embedded:
            self._views = [self._embed(view, progress) for view in range(max(options.views, 1))]

    def _film(self, row: int, view: int) -> Floats:
        film = self._data.store.unit(row)
        if not self._options.views:
            return film
        return augment(film, Augmentation(), seed=_seed(self._options.seed, row, view))

    def _embed(self, view: int, progress: Progress) -> Floats:
        films = (self._film(row, view) for row in self.train)
        name = f"embedding view {view + 1}" if self._options.views else "embedding"
        return _in_batches(self._embedding, films, len(self.train), _FORWARD, progress, name)

    @property
    def _embedding(self) -> Callable[[Floats], Floats]:
        assert isinstance(self._model, Embedding)
        return self._model.embed

    def valid_inputs(self, progress: Progress) -> Floats | None:
        """Embeddings of the validation films, or None where the model takes films."""
        if not self._embedded:
            return None
        films = (self._data.store.unit(row) for row in self.valid)
        return _in_batches(self._embedding, films, len(self.valid), _FORWARD, progress, "embedding valid")

    def batches(self, epoch: int) -> Iterator[Batch]:
        """The training films in an order drawn from seed and epoch."""
        order = np.random.default_rng([self._options.seed, epoch]).permutation(len(self.train))
        for start in range(0, len(order), self._options.batch_size):
            chosen = order[start : start + self._options.batch_size]
            if self._embedded:
                inputs = self._views[epoch % len(self._views)][chosen]
            else:
                inputs = np.stack([self._film(row, epoch) for row in self.train[chosen]])
            yield Batch(inputs=inputs, labels=self._data.labels[self.train[chosen]])


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


def _learner(model: Model, options: TrainOptions) -> Any:
    if options.trainable == "head" and isinstance(model, Embedding):
        return model.head
    if not isinstance(model, Trainable):
        raise InputError(f"backend {options.backend!r} cannot train; use another, or score with it")
    return model


def _in_batches(
    function: Callable[[Floats], Floats], films: Iterator[Floats], count: int, size: int, progress: Progress, step: str
) -> Floats:
    """function of films in batches of one constant size, the last one padded, so that shapes never change."""
    parts: list[Floats] = []
    for start in range(0, count, size):
        batch = np.stack([next(films) for _ in range(min(size, count - start))])
        padded = np.concatenate([batch, np.zeros((size - len(batch), *batch.shape[1:]), np.float32)])
        parts.append(function(padded)[: len(batch)])
        progress(step, min(start + size, count), count)
    return np.concatenate(parts)


def _predict(model: Model, store: FilmStore, rows: tuple[int, ...]) -> Floats:
    films = (store.unit(row) for row in rows)
    return _in_batches(model.predict, films, len(rows), _FORWARD, silent, "")


def _fit(model: Model, data: _Data, loss: Loss, options: TrainOptions, progress: Progress) -> _Best:
    """The epoch loop: early stopping on the validation macro AUC, the best epoch's tensors kept."""
    feed = _Feed(model, data, options, progress)
    valid_inputs, truth = feed.valid_inputs(progress), data.labels[list(data.split.valid)]
    tensors, best, history = model.tensors(), None, []
    for epoch in range(options.epochs):
        started = time.monotonic()
        train_loss = feed.learner.fit_epoch(feed.batches(epoch), loss, options.learning_rate)
        if not np.isfinite(train_loss):
            raise InputError(f"the loss is {train_loss} in epoch {epoch + 1}; try a smaller --learning-rate")
        if valid_inputs is None:
            logits = _predict(model, data.store, data.split.valid)
        else:
            logits = feed.learner.predict(valid_inputs)
        valid_loss, aucs = float(loss.function(np, logits, truth, loss.weights)), auc_per_finding(truth, logits)
        score = macro(aucs)
        row = {"epoch": epoch + 1, "train_loss": train_loss, "valid_loss": valid_loss, "valid_macro_auc": score}
        history.append({**row, "seconds": round(time.monotonic() - started, 3)})
        progress(f"epoch {epoch + 1}: loss {train_loss:.3f}, valid AUC {score:.3f}", epoch + 1, options.epochs)
        if best is None or _rank(score, valid_loss) > _rank(best.macro_auc, best.valid_loss):
            best = _Best(
                tensors={**tensors, **feed.learner.tensors()},
                epoch=epoch + 1,
                history=history,
                macro_auc=score,
                valid_loss=valid_loss,
                valid_auc=list(aucs),
            )
        elif epoch + 1 - best.epoch >= options.patience:
            break
    if best is None:
        raise InputError(f"epochs is {options.epochs}, wanted at least 1")
    return best


def _rank(score: float, valid_loss: float) -> tuple[float, float]:
    """Higher AUC first; where no finding has both classes, lower loss."""
    return (-1.0 if np.isnan(score) else score, -valid_loss)


def _test(model: Model, data: _Data) -> float:
    if not data.split.test:
        return float("nan")
    logits = _predict(model, data.store, data.split.test)
    return macro(auc_per_finding(data.labels[list(data.split.test)], logits))


def _document(
    options: TrainOptions, spec: ModelSpec, data: _Data, base: BaseWeights | None, model: Model, best: _Best
) -> dict[str, Any]:
    """The JSON document of the model file (schemas/model.schema.json)."""
    source = {"name": "none", "sha256": "", "licence": ""} if base is None else {**asdict(base), "tensors": None}
    source.pop("tensors", None)
    split = {name: len(getattr(data.split, name)) for name in ("train", "valid", "test")}
    digest = sha256_bytes(lab.split_csv(data.split, data.paths).encode())
    return {
        "spec": spec.as_dict(),
        "preprocessing": Preprocessing(size=spec.size).as_dict(),
        "thresholds": {},
        "training": {
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "cxrscore": cxrscore.__version__,
            "backend": options.backend,
            "versions": {"framework": model.framework, "numpy": np.__version__},
            "seed": options.seed,
            "recipe": {k: v if isinstance(v, int | float | str) else None for k, v in _public(options).items()},
            "weights": source,
            "history": [{**_no_nan(row), "epoch": int(row["epoch"])} for row in best.history],
            "best_epoch": best.epoch,
            "monitor": "valid_macro_auc",
            "split": {**split, "rule": data.split.rule, "sha256": digest},
            "patients": len({p for p in data.patients if p is not None}),
            "labels": data.labels_file,
            "leaked": False,
        },
        "films": {"train": data.hashes(data.split.train), "valid": data.hashes(data.split.valid)},
        "validation": _no_nan({"loss": best.valid_loss, "macro_auc": best.macro_auc})
        | {"auc": _no_nan(dict(zip(spec.findings, best.valid_auc, strict=True)))},
        "golden": golden_record(model),
        "licence": source["licence"] or "yours",
    }


def _public(options: TrainOptions) -> dict[str, Any]:
    """The recipe without the folders of this machine."""
    kept = {k: v for k, v in asdict(options).items() if k not in ("films", "labels", "output", "split")}
    return {**kept, "weights": Path(options.weights).name}


def _no_nan(values: dict[str, Any]) -> dict[str, float | None]:
    return {name: None if np.isnan(value) else float(value) for name, value in values.items()}
