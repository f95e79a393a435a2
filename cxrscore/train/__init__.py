"""One training run: films and labels in, model.safetensors and model.run/ out. Stopped, it can go on."""

from __future__ import annotations

from typing import Any

from cxrscore import labels as lab
from cxrscore import plugins
from cxrscore.contract import Backend, Model, ModelSpec
from cxrscore.errors import InputError
from cxrscore.files import sha256_bytes
from cxrscore.losses import class_weights
from cxrscore.metrics import auc_per_finding, check_rule, macro
from cxrscore.models.architectures import initial_tensors
from cxrscore.models.bundle import save_model
from cxrscore.models.imagenet import BaseWeights, base_weights
from cxrscore.models.run_folder import save_run
from cxrscore.progress import Progress, silent
from cxrscore.recipes import recipe_toml
from cxrscore.train.checkpoint import Checkpoint, load_checkpoint, remove_checkpoint
from cxrscore.train.data import Data, read_data
from cxrscore.train.document import model_document, recipe_of
from cxrscore.train.feed import predict
from cxrscore.train.loop import fit
from cxrscore.train.operating import check_calibration
from cxrscore.train.options import CHOICES, MONITORS, TrainOptions, TrainResult

__all__ = ["CHOICES", "MONITORS", "TrainOptions", "TrainResult", "train_model"]

_NORMALIZE = {"densenet121": "imagenet-rgb", "resnet50": "imagenet-caffe"}
"""What the ImageNet weights of an architecture were trained with."""


def train_model(options: TrainOptions, progress: Progress = silent) -> TrainResult:
    """Trains one model and writes it. InputError, LeakError, BackendUnavailableError and WriteError as they say."""
    backend = plugins.get_backend(options.backend)
    loss = plugins.get_loss(options.loss)
    check_rule(options.threshold_rule)
    base = base_weights(options.weights, options.architecture)
    data = read_data(options, progress)
    spec = _spec(options, data.findings, base)
    check_calibration(options.calibration, spec)
    folder, inputs = options.output.with_suffix(".run"), _inputs(options, data, base)
    earlier = load_checkpoint(folder, inputs) if options.resume else None
    model = _build(backend, spec, base, options, earlier)
    bound = loss.weighted(class_weights(data.labels[list(data.split.train)]))
    fitted = fit(model, data, bound, options, progress, folder=folder, inputs=inputs, earlier=earlier)
    # The model is built anew from what is saved, so that what is tested is what others will load.
    final = backend.build(spec, fitted.tensors, device=options.device, precision="fp32")
    test_auc = _test(final, data)
    save_model(options.output, fitted.tensors, model_document(options, spec, data, base, final, fitted))
    split = lab.split_csv(data.split, data.paths)
    save_run(options.output, fitted.history, fitted.best_epoch, split, recipe_toml(recipe_of(options)))
    remove_checkpoint(folder)
    return TrainResult(
        output=options.output,
        run_folder=folder,
        films={name: len(getattr(data.split, name)) for name in ("train", "valid", "test")},
        failed=data.failed,
        leaks=data.leaks,
        best_epoch=fitted.best_epoch,
        history=fitted.history,
        macro_auc=fitted.best["valid_macro_auc"],
        test_auc=test_auc,
    )


def _spec(options: TrainOptions, findings: tuple[str, ...], base: BaseWeights | None) -> ModelSpec:
    natural = _NORMALIZE.get(options.architecture, "imagenet-rgb") if base is not None else "imagenet-rgb"
    values = {name: getattr(options, name) for name in ("architecture", "size", "head", "activation", "trainable")}
    return ModelSpec.from_dict({**values, "normalize": options.normalize or natural, "findings": findings})


def _inputs(options: TrainOptions, data: Data, base: BaseWeights | None) -> dict[str, Any]:
    """What two runs must have in common for one to go on with the other: all but how long to train."""
    recipe = {name: value for name, value in recipe_of(options).items() if name not in _FREE}
    films = "\0".join(film.sha256 for film in data.store.films)
    return {
        **recipe,
        "base": "" if base is None else base.sha256,
        "labels": data.labels_file["sha256"],
        "split": sha256_bytes(lab.split_csv(data.split, data.paths).encode()),
        "films": sha256_bytes(films.encode()),
    }


_FREE = ("epochs", "patience", "resume", "workers")
"""Options that may change when a run goes on."""


def _build(
    backend: Backend, spec: ModelSpec, base: BaseWeights | None, options: TrainOptions, earlier: Checkpoint | None
) -> Model:
    if spec.architecture not in backend.architectures:
        raise InputError(
            f"backend {backend.name!r} has no {spec.architecture!r}; it has: {', '.join(backend.architectures)}"
        )
    precision: Any = options.precision
    chosen: dict[str, Any] = {"device": options.device, "precision": precision, "seed": options.seed}
    tensors = None if base is None else initial_tensors(spec, options.seed, base.tensors)
    if earlier is None:
        return backend.build(spec, tensors, **chosen)
    tensors = tensors or backend.build(spec, None, **chosen).tensors()
    return backend.build(spec, {**tensors, **earlier.tensors}, **chosen)


def _test(model: Model, data: Data) -> float:
    """Macro AUC of the test films, looked at once; NaN without any."""
    if not data.split.test:
        return float("nan")
    logits = predict(model, data.store, data.split.test)
    return macro(auc_per_finding(data.labels[list(data.split.test)], logits))
