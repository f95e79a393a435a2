"""One training run: films and labels in, model.safetensors and model.run/ out. An interrupted run can be resumed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cxrscore import labels as lab
from cxrscore import plugins
from cxrscore.contract import Backend, Floats, Loss, ModelSpec, Network
from cxrscore.errors import InputError
from cxrscore.images import find_same_file
from cxrscore.io import file_lock, make_folder
from cxrscore.io.outputs import check_output
from cxrscore.labels.public_sets import describe_not_held_out, films_not_held_out
from cxrscore.losses import class_weights
from cxrscore.metrics import check_rule
from cxrscore.models.imagenet import BaseWeights, base_weights, given_file
from cxrscore.models.model_file import model_output, save_model
from cxrscore.models.run_folder import check_run_folder, run_folder, save_run
from cxrscore.plugin_values import why_not
from cxrscore.progress import Log, Progress, no_log, no_progress
from cxrscore.recipes import recipe_toml
from cxrscore.synthetic.reference_logits import FILMS
from cxrscore.training.checkpoint import Checkpoint, load_checkpoint, remove_checkpoint
from cxrscore.training.data import Data, read_data
from cxrscore.training.distributed import DistributedContext, ProcessRank, init_process_group
from cxrscore.training.evaluation import HeldOut, patient_numbers, test_evaluation
from cxrscore.training.features import FeatureSource, augmentation_from_options
from cxrscore.training.final_evaluation import check_calibration, final_logits
from cxrscore.training.initialization import head_for_loss, initial_model, initial_spec, run_inputs
from cxrscore.training.loop import FitResult, fit
from cxrscore.training.model_metadata import model_document, recipe_of, sets_of_weights
from cxrscore.training.options import CHOICES, MONITORS, TrainOptions, TrainResult
from cxrscore.training.probe import can_probe, enough_films, solve_probe

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
        check_calibration(options.calibration_method, spec)
        _log_data(data, say)
        _log_public_films(sets_of_weights(options, base), data, say)
        inputs = run_inputs(options, data, base)
        earlier = load_checkpoint(folder, inputs) if goes_on else None
    run = _Run(
        backend=backend,
        options=options,
        spec=spec,
        data=data,
        base=base,
        loss=loss,
        folder=folder,
        inputs=inputs,
        earlier=earlier,
        progress=progress,
        say=say,
        processes=processes,
    )
    fitted = run.fitted()
    figures, leaks = processes.on_rank_zero_broadcast(
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
        evaluated_on=figures["on"],
        macro_auc=_or_nan(figures["macro_auc"]),
        test_auc=_or_nan(figures["test"]),
        excluded_findings=data.excluded_findings,
        warnings=tuple(figures["warnings"]),
    )


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


@dataclass(frozen=True, kw_only=True)
class _Run:
    """A run that has read its films: what its training needs."""

    backend: Backend
    options: TrainOptions
    spec: ModelSpec
    data: Data
    base: BaseWeights | None
    loss: Loss
    folder: Path
    inputs: dict[str, Any]
    earlier: Checkpoint | None
    progress: Progress
    say: Log
    processes: DistributedContext

    def fitted(self) -> FitResult:
        """The trained tensors: a solved linear probe, or those of the epoch loop, which may start from one."""
        finished = self.earlier and len(self.earlier.training_state.history)
        self.processes.check_same({**self.inputs, "epochs done": finished})
        if self.options.probe:
            return self._probe()
        return self._epochs(self._probe() if finished is None and self._starts_from_probe() else None)

    def _starts_from_probe(self) -> bool:
        """Whether the epoch loop starts from a probe: not by default if too few films of every finding are labelled."""
        if self.options.first_head != "probe":
            return False
        least = self.options.min_positives
        if self.options.initial_head == "probe" or enough_films(self._labels, least).any():
            return True
        self.say(f"no finding has {least} positive and {least} negative training films: the head starts from zero")
        return False

    def _probe(self) -> FitResult:
        """A linear probe of the training films; every process solves the same one."""
        options = _probe_options(self.options)
        with self.processes.collective():
            spec = replace(self.spec, trainable="head")
            model = initial_model(self.backend, spec, self.base, options, labels=self._labels)
            if not can_probe(model):
                raise InputError(_no_probe(self.options))
            source = FeatureSource(model, self.data, options, self.progress)
        self.processes.once_per_node(partial(source.is_cached, None))
        with self.processes.collective():
            probe = solve_probe(source, self.data, self.options, self.say)
        return FitResult(tensors={**model.tensors(), **probe.head}, outputs=source, probe=probe)

    def _epochs(self, start: FitResult | None) -> FitResult:
        options, earlier, weights = self.options, self.earlier, class_weights(self._labels)
        head = None
        if start is not None and start.probe is not None:
            head = head_for_loss(start.probe.head, options.loss, weights)
        with self.processes.collective():
            model = initial_model(
                self.backend, self.spec, self.base, options, labels=self._labels, earlier=earlier, head=head
            )
            bound = self.loss.weighted(weights)
        settings: dict[str, Any] = {"folder": self.folder, "inputs": self.inputs, "earlier": earlier}
        return fit(model, self.data, bound, options, self.progress, self.say, processes=self.processes, **settings)

    @property
    def _labels(self) -> Floats:
        """Labels of the training films."""
        return self.data.labels[list(self.data.split.train)]


def _probe_options(options: TrainOptions) -> TrainOptions:
    """The options of a run, for the features of a linear probe: those of the films as they are."""
    return replace(options, trainable="head", augmentations=0, initial_head="zero", solver="adam", layer_decay=1.0)


def _no_probe(options: TrainOptions) -> str:
    instead = "--solver adam" if options.probe else "--initial-head zero"
    return f"backend {options.backend!r} gives no features of {options.architecture!r} to solve a head: use {instead}"


def _base_weights(options: TrainOptions, say: Log, progress: Progress) -> BaseWeights | None:
    network = plugins.get_network(options.architecture)
    base = base_weights(options.weights, options.architecture, network, say, progress)
    for note in base.notes if base else ():
        say(note)
    return base


def _written(
    backend: Backend, options: TrainOptions, spec: ModelSpec, data: Data, base: BaseWeights | None, fitted: FitResult
) -> dict[str, Any]:
    """Writes the model and its run files; returns its figures, JSON-ready.

    The model is rebuilt from the saved tensors, so that the test evaluates the file that users load.
    """
    final = backend.build(spec, fitted.tensors, device=options.device, precision="fp32")
    # Of a probe, a few training films, to compare the complete model with the features.
    chosen = data.split.valid if fitted.probe is None else data.split.train[:FILMS]
    test = list(data.split.test)
    logits = final_logits(final, fitted.outputs.for_model(final), data, [*chosen, *test])
    held = _held_out(data, fitted, logits[: len(chosen)])
    tested = None
    if test:
        patients = patient_numbers([data.patients[row] for row in test])
        tested = test_evaluation(spec.findings, data.labels[test], logits[len(chosen) :], patients)
    document = model_document(options, spec, data, base, final, fitted, held=held, test=tested)
    save_model(options.output, fitted.tensors, document)
    split = lab.split_csv(data.split, data.paths)
    recipe = recipe_toml(recipe_of(options), needs_weights=given_file(options.weights) is not None)
    save_run(options.output, fitted.history, fitted.best_epoch, split, recipe)
    return {
        "on": held.on,
        "macro_auc": document["evaluation"]["macro_auc"]["value"],
        "test": tested and tested["macro_auc"]["value"],
        "warnings": [],
    }


def _held_out(data: Data, fitted: FitResult, valid_logits: Floats) -> HeldOut:
    """Out-of-fold predictions of the training films, or the logits [n,C] of the validation films."""
    probe = fitted.probe
    if probe is None:
        rows = list(data.split.valid)
        return HeldOut(
            truth=data.labels[rows],
            logits=valid_logits,
            patients=patient_numbers([data.patients[row] for row in rows]),
            on="valid",
            fitted=np.ones(len(data.findings), np.bool_),
        )
    return HeldOut(
        truth=data.labels[probe.rows],
        logits=probe.logits,
        patients=patient_numbers([data.patients[row] for row in probe.rows]),
        on="folds",
        fitted=probe.fitted,
        folds=probe.folds,
        weights=None if data.sample_weights is None else data.sample_weights[probe.rows],
    )


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


def _log_public_films(sets: Sequence[str], data: Data, say: Log) -> None:
    """Says which films are of data sets that the initial weights were trained on: no split makes these held-out."""
    films = len(data.paths)
    for record in films_not_held_out(data.paths, sets, data.labels_file.get("dataset", ""), (True,) * films):
        say(describe_not_held_out(record, films, "the network of the initial weights"))


def _log_data(data: Data, say: Log) -> None:
    sizes = ", ".join(f"{count} {part}" for part, count in data.sizes.items())
    say(f"films: {sizes} ({data.split.rule}); {len(data.findings)} findings")
    for note in data.notes:
        say(note)
    if data.excluded_findings:
        names = ", ".join(data.excluded_findings)
        say(f"left out, because all known labels of their training films are equal: {names}")
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
