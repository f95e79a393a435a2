"""One training run: films and labels in, model.safetensors and model.run/ out. An interrupted run can be resumed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from cxrscore import labels as lab
from cxrscore import plugins
from cxrscore.contract import Backend, Floats, ModelSpec, Network
from cxrscore.errors import InputError
from cxrscore.images import find_same_file
from cxrscore.io import file_lock, make_folder
from cxrscore.io.outputs import check_output
from cxrscore.losses import class_weights
from cxrscore.metrics import auc_per_finding, check_rule, macro
from cxrscore.models.imagenet import BaseWeights, base_weights, given_file
from cxrscore.models.model_file import model_output, save_model
from cxrscore.models.run_folder import check_run_folder, run_folder, save_run
from cxrscore.plugin_values import why_not
from cxrscore.progress import Log, Progress, no_log, no_progress
from cxrscore.recipes import recipe_toml
from cxrscore.training.checkpoint import load_checkpoint, remove_checkpoint
from cxrscore.training.data import Data, read_data
from cxrscore.training.distributed import DistributedContext, ProcessRank, init_process_group
from cxrscore.training.features import augmentation_from_options
from cxrscore.training.final_evaluation import check_calibration, final_logits
from cxrscore.training.initialization import initial_model, initial_spec, run_inputs
from cxrscore.training.loop import FitResult, fit
from cxrscore.training.model_metadata import model_document, recipe_of
from cxrscore.training.options import CHOICES, MONITORS, TrainOptions, TrainResult

__all__ = ["CHOICES", "MONITORS", "ProcessRank", "TrainOptions", "TrainResult", "train_model"]


def train_model(
    options: TrainOptions, progress: Progress = no_progress, say: Log = no_log, *, place: ProcessRank | None = None
) -> TrainResult:
    """Trains one model and writes it. InputError, LeakError, BackendUnavailableError and WriteError as they say.

    place  where several processes do so together: which of them this one is (ProcessRank.told_by). Only the first one
    writes
           and says anything, and all return the same. An error of one ends all: the others with an OtherProcessError.

    A KeyboardInterrupt passes through; ``options.resume`` continues from the last finished epoch. If the launcher
    restarts the processes after one died, the run resumes automatically.
    """
    place = place or ProcessRank()
    trainer = partial(_trainer, options)
    kind: dict[str, Any] = {"device": options.device, "batch_norm": options.batch_norm, "alone": options.alone}
    with init_process_group(trainer, place, **kind) as processes, ExitStack() as held:
        if not processes.is_rank_zero:
            progress, say = no_progress, no_log
        folder = run_folder(options.output)
        # After a restart of the processes of one machine, the processes of other machines may report no restart.
        goes_on = not processes.all_reduce_and(not options.resume and not place.restarts)
        with processes.collective():
            if processes.is_rank_zero:
                _check_output(options)
                held.enter_context(_locked_run_folder(folder))
                if place.restarts is not None and not goes_on:  # otherwise an early restart would resume it
                    remove_checkpoint(folder)
        return _train(trainer(), options, folder, progress, say, processes, goes_on=goes_on)


def _check_output(options: TrainOptions) -> None:
    """InputError if the model file or its run folder would replace an input or files that are not of an earlier run."""
    labels = options.labels or lab.find_labels(options.films)
    inputs = [labels, options.split, given_file(options.weights), options.recipe]
    inputs.append(find_same_file(options.output, options.films))
    check_output(options.output, model_output("train"), inputs=inputs, overwrite=options.overwrite)
    check_run_folder(options.output, inputs=inputs, overwrite=options.overwrite)


@contextmanager
def _locked_run_folder(folder: Path) -> Iterator[None]:
    """Creates the folder and locks it against other runs. An empty folder is removed at the end."""
    make_folder(folder)
    try:
        with file_lock(folder / "train.lock"):
            for part in folder.glob(".*.part"):  # unfinished files of a run that was killed
                part.unlink(missing_ok=True)
            yield
    finally:
        with suppress(OSError):  # usually the folder is not empty
            folder.rmdir()


def _train(
    backend: Backend,
    options: TrainOptions,
    folder: Path,
    progress: Progress,
    say: Log,
    processes: DistributedContext,
    *,
    goes_on: bool,
) -> TrainResult:
    with processes.collective():
        loss = plugins.get_loss(options.loss)
        check_rule(options.threshold_rule)
        augmentation_from_options(options)
    base = processes.once_per_node(lambda: _base_weights(options, say, progress))
    data = processes.once_per_node(lambda: read_data(options, progress, leaks=processes.is_rank_zero))
    with processes.collective():
        spec = initial_spec(options, data.findings, base)
        check_calibration(options.calibration, spec)
        _log_data(data, say)
        inputs = run_inputs(options, data, base)
        earlier = load_checkpoint(folder, inputs) if goes_on else None
        labels = data.labels[list(data.split.train)]
        model = initial_model(backend, spec, base, options, labels=labels, earlier=earlier)
        bound = loss.weighted(class_weights(labels))
    processes.check_same({**inputs, "epochs done": earlier and len(earlier.training_state.history)})
    settings: dict[str, Any] = {"folder": folder, "inputs": inputs, "earlier": earlier, "processes": processes}
    fitted = fit(model, data, bound, options, progress, say, **settings)
    test_auc, leaks = processes.on_rank_zero_broadcast(
        lambda: (_written(backend, options, spec, data, base, fitted), data.leaks)
    )
    _tell_damage(data, fitted, say)
    return TrainResult(
        output=options.output,
        run_folder=folder,
        films=data.sizes,
        failed=tuple(data.failed.items()),
        leakage=tuple(leaks),
        best_epoch=fitted.best_epoch,
        history=fitted.history,
        macro_auc=fitted.best["valid_macro_auc"],
        test_auc=test_auc,
    )


def _base_weights(options: TrainOptions, say: Log, progress: Progress) -> BaseWeights | None:
    network = plugins.get_network(options.architecture)
    base = base_weights(options.weights, options.architecture, network, say, progress)
    for note in base.notes if base else ():
        say(note)
    return base


def _written(
    backend: Backend, options: TrainOptions, spec: ModelSpec, data: Data, base: BaseWeights | None, fitted: FitResult
) -> float:
    """Writes the model and its run files; returns its macro AUC on the test films.

    The model is rebuilt from the saved tensors, so that the test evaluates the file that users load.
    """
    final = backend.build(spec, fitted.tensors, device=options.device, precision="fp32")
    valid, test = data.split.valid, data.split.test
    logits = final_logits(final, fitted.outputs.for_model(final), data, [*valid, *test])
    document = model_document(options, spec, data, base, final, fitted, valid_logits=logits[: len(valid)])
    save_model(options.output, fitted.tensors, document)
    split = lab.split_csv(data.split, data.paths)
    save_run(
        options.output,
        fitted.history,
        fitted.best_epoch,
        split,
        recipe_toml(recipe_of(options), needs_weights=given_file(options.weights) is not None),
    )
    return _test_auc(data, logits[len(valid) :])


def _trainer(options: TrainOptions) -> Backend:
    """The backend; InputError if it does not support the options, before any film is read."""
    backend = plugins.get_backend(options.backend)
    if not backend.trains:
        raise InputError(f"backend {backend.name!r} cannot train, only score; see `cxrscore plugins` for one that can")
    network = plugins.require_network(options.architecture, backend)
    _check_known(options, backend, network)
    initial_spec(options, ("any",), None)  # the size and the head fit the network
    if options.feature_backend:
        other = plugins.get_backend(options.feature_backend)
        if reason := why_not(other, options.architecture, network):
            raise InputError(f"{reason}. Leave --feature-backend out, or name one that has it.")
    plugins.get_executor(options.executor)
    return backend


def _check_known(options: TrainOptions, backend: Backend, network: Network | None) -> None:
    """InputError for options that need the layer names of a network that only a plugin defines."""
    if network is not None:
        return
    needs = (
        (options.weights == "none", "--weights none"),
        (options.trainable != "last-block", "--trainable all or head"),
        (options.layer_decay == 1, "--layer-decay 1"),
    )
    if use := [option for holds, option in needs if not holds]:
        raise InputError(
            f"cxrscore does not know the layers of {options.architecture!r}, a network of backend {backend.name!r}: "
            f"use {', '.join(use)}"
        )


def _log_data(data: Data, say: Log) -> None:
    sizes = ", ".join(f"{count} {part}" for part, count in data.sizes.items())
    say(f"films: {sizes} ({data.split.rule}); {len(data.findings)} findings")
    if data.leaks:
        say(f"LEAKED: {len(data.leaks)} leaks between the splits were allowed:")
        for leak in data.leaks[:_SHOWN]:
            say(f"  {leak}")


def _tell_damage(data: Data, fitted: FitResult, say: Log) -> None:
    """Reports damaged entries of the cache that were recomputed: the disk may be failing."""
    films, outputs = data.store.damaged, fitted.outputs.damaged
    if films or outputs:
        say(
            f"{films} films and {outputs} outputs of frozen layers were damaged in the cache and recomputed: "
            "check the disk if this happens again"
        )


_SHOWN = 10
"""Number of leaks that are listed one by one."""


def _test_auc(data: Data, logits: Floats) -> float:
    """Macro AUC of the test films, computed once; NaN without test films."""
    if not data.split.test:
        return float("nan")
    return macro(auc_per_finding(data.labels[list(data.split.test)], logits))
