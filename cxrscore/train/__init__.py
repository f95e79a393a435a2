"""One training run: films and labels in, model.safetensors and model.run/ out. Stopped, it can go on."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from cxrscore import labels as lab
from cxrscore import plugins
from cxrscore.contract import Backend, Floats
from cxrscore.errors import InputError
from cxrscore.files import locked, make_folder
from cxrscore.losses import class_weights
from cxrscore.metrics import auc_per_finding, check_rule, macro
from cxrscore.models.bundle import save_model
from cxrscore.models.imagenet import base_weights
from cxrscore.models.run_folder import save_run
from cxrscore.progress import Progress, Say, silent, unsaid
from cxrscore.recipes import recipe_toml
from cxrscore.train.checkpoint import load_checkpoint
from cxrscore.train.data import Data, read_data
from cxrscore.train.document import model_document, recipe_of
from cxrscore.train.final import final_logits
from cxrscore.train.loop import fit
from cxrscore.train.operating import check_calibration
from cxrscore.train.options import CHOICES, MONITORS, TrainOptions, TrainResult
from cxrscore.train.outputs import augmentation_of
from cxrscore.train.start import first_model, first_spec, run_inputs

__all__ = ["CHOICES", "MONITORS", "TrainOptions", "TrainResult", "train_model"]


def train_model(options: TrainOptions, progress: Progress = silent, say: Say = unsaid) -> TrainResult:
    """Trains one model and writes it. InputError, LeakError, BackendUnavailableError and WriteError as they say.

    A KeyboardInterrupt passes through and leaves the last finished epoch to go on with: see ``options.resume``.
    """
    folder = options.output.with_suffix(".run")
    make_folder(folder)
    try:
        with locked(folder / "train.lock"):
            return _train(options, folder, progress, say)
    finally:
        with suppress(OSError):  # it holds something, as a rule
            folder.rmdir()


def _train(options: TrainOptions, folder: Path, progress: Progress, say: Say) -> TrainResult:
    backend = plugins.get_backend(options.backend)
    _check_trains(backend, options)
    loss = plugins.get_loss(options.loss)
    check_rule(options.threshold_rule)
    augmentation_of(options)
    base = base_weights(options.weights, options.architecture)
    data = read_data(options, progress)
    spec = first_spec(options, data.findings, base)
    check_calibration(options.calibration, spec)
    _tell(data, say)
    inputs = run_inputs(options, data, base)
    earlier = load_checkpoint(folder, inputs) if options.resume else None
    labels = data.labels[list(data.split.train)]
    model = first_model(backend, spec, base, options, labels=labels, earlier=earlier)
    bound = loss.weighted(class_weights(labels))
    fitted = fit(model, data, bound, options, progress, say, folder=folder, inputs=inputs, earlier=earlier)
    # The model is built anew from what is saved, so that what is tested is what others will load.
    final = backend.build(spec, fitted.tensors, device=options.device, precision="fp32")
    valid, test = data.split.valid, data.split.test
    logits = final_logits(final, fitted.outputs.of_model(final), data, [*valid, *test])
    document = model_document(options, spec, data, base, final, fitted, valid_logits=logits[: len(valid)])
    save_model(options.output, fitted.tensors, document)
    split = lab.split_csv(data.split, data.paths)
    save_run(options.output, fitted.history, fitted.best_epoch, split, recipe_toml(recipe_of(options)))
    return TrainResult(
        output=options.output,
        run_folder=folder,
        films=data.sizes,
        failed=tuple(data.failed.items()),
        leaks=data.leaks,
        best_epoch=fitted.best_epoch,
        history=fitted.history,
        macro_auc=fitted.best["valid_macro_auc"],
        test_auc=_test_auc(data, logits[len(valid) :]),
    )


def _check_trains(backend: Backend, options: TrainOptions) -> None:
    """InputError for a backend that cannot do what is asked, before any film is read."""
    if not backend.trains:
        raise InputError(f"backend {backend.name!r} cannot train, only score; see `cxrscore plugins` for one that can")
    if options.architecture not in backend.architectures:
        known = ", ".join(backend.architectures)
        raise InputError(f"backend {backend.name!r} has no {options.architecture!r}; it has: {known}")
    if options.frozen_backend:
        plugins.get_backend(options.frozen_backend)


def _tell(data: Data, say: Say) -> None:
    sizes = ", ".join(f"{count} {part}" for part, count in data.sizes.items())
    say(f"films: {sizes} ({data.split.rule}); {len(data.findings)} findings")
    if data.leaks:
        say(f"LEAKED: {len(data.leaks)} leaks between the parts of the split were allowed:")
        for leak in data.leaks[:_SHOWN]:
            say(f"  {leak}")


_SHOWN = 10
"""Leaks that are told one by one."""


def _test_auc(data: Data, logits: Floats) -> float:
    """Macro AUC of the test films, looked at once; NaN without any."""
    if not data.split.test:
        return float("nan")
    return macro(auc_per_finding(data.labels[list(data.split.test)], logits))
