"""One training run: films and labels in, model.safetensors and model.run/ out; of several networks one model file each
and an ensemble file. An interrupted run can be resumed."""

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
from cxrscore.io.atomic import cannot_write
from cxrscore.io.outputs import check_output
from cxrscore.labels.public_sets import describe_not_held_out, films_not_held_out
from cxrscore.losses import class_weights
from cxrscore.metrics import check_rule
from cxrscore.models.ensemble_file import ensemble_output
from cxrscore.models.imagenet import BaseWeights, base_weights, given_file
from cxrscore.models.model_file import save_model
from cxrscore.models.probabilities import ModelOutput
from cxrscore.models.run_folder import check_run_folder, run_folder, save_run
from cxrscore.plugin_values import why_not
from cxrscore.progress import Log, Progress, no_log, no_progress
from cxrscore.recipes import recipe_toml
from cxrscore.synthetic.reference_logits import FILMS
from cxrscore.training.checkpoint import Checkpoint, load_checkpoint, remove_checkpoint
from cxrscore.training.data import Data, read_data
from cxrscore.training.distributed import DistributedContext, ProcessRank, init_process_group
from cxrscore.training.ensemble import Member, member_options, write_ensemble
from cxrscore.training.evaluation import HeldOut, patient_numbers, test_evaluation
from cxrscore.training.features import FeatureSource, augmentation_from_options
from cxrscore.training.final_evaluation import check_calibration, final_logits
from cxrscore.training.initialization import head_for_loss, initial_model, initial_spec, run_inputs
from cxrscore.training.learning_curve import measure_learning_curve
from cxrscore.training.loop import FitResult, fit
from cxrscore.training.model_metadata import MemberNumber, model_document, model_evaluation, recipe_of, sets_of_weights
from cxrscore.training.options import CHOICES, MONITORS, TrainOptions, TrainResult
from cxrscore.training.probe import ProbeFit, can_probe, enough_films, solve_probe, without_weightless
from cxrscore.training.tracking import Tracker, open_tracker

__all__ = ["CHOICES", "MONITORS", "ProcessRank", "TrainOptions", "TrainResult", "train_model"]


def train_model(
    options: TrainOptions, progress: Progress = no_progress, say: Log = no_log, *, place: ProcessRank | None = None
) -> TrainResult:
    """Trains one model and writes it, or several networks and their ensemble. InputError, LeakError,
    BackendUnavailableError and WriteError as they say.

    place  where several processes do so together: which of them this one is (ProcessRank.from_environment). Only the
           first one writes and says anything, and all return the same. An error of one ends all: the others with an
           OtherProcessError.

    options.mlflow  checked before any film is read: WriteError if it does not answer. A fault while the finished run is
                    logged is in the result's ``mlflow_error``.

    A KeyboardInterrupt passes through; ``options.resume`` continues from the last finished epoch. If the launcher
    restarts the processes after one died, the run resumes automatically.
    """
    place = place or ProcessRank()
    members = member_options(options)
    outputs = tuple(dict.fromkeys((options.output, *(one.output for one in members))))
    trainer = partial(_trainer, members)
    kind: dict[str, Any] = {"device": options.device, "batch_norm": options.batch_norm, "alone": options.alone}
    with init_process_group(trainer, place, **kind) as processes, ExitStack() as held:
        if not processes.is_rank_zero:
            progress, say = no_progress, no_log
        folders = [run_folder(output) for output in outputs]
        # After a restart of the processes of one machine, the processes of other machines may report no restart.
        goes_on = not processes.all_reduce_and(not options.resume and not place.restarts)
        tracker: Tracker | None = None
        with processes.collective():
            if processes.is_rank_zero:
                for output in outputs:
                    _check_output(options, output)
                tracker = open_tracker(options)
                for folder in folders:
                    held.enter_context(_locked_run_folder(folder))
                # Otherwise an early restart would resume it, or a later member the run before.
                if not goes_on and (place.restarts is not None or len(members) > 1):
                    for folder in folders:
                        remove_checkpoint(folder)
        work = _Work(backend=trainer(), progress=progress, say=say, processes=processes, goes_on=goes_on)
        alone = len(members) == 1
        result = _train(work, options)[0] if alone else _train_ensemble(work, options, members)
        return result if options.mlflow is None else _logged(work, tracker, members, options, result)


def _logged(
    work: _Work, tracker: Tracker | None, members: Sequence[TrainOptions], options: TrainOptions, result: TrainResult
) -> TrainResult:
    """The result with its MLflow run, which rank 0 logs."""

    def log() -> tuple[str, str]:
        return ("", "") if tracker is None else tracker.log(options, members, result)

    run, error = work.processes.on_rank_zero_broadcast(log)
    if tracker is not None and not error:
        work.say(f"logged to MLflow, {tracker.place}: run {run}")
    return replace(result, mlflow_run=run, mlflow_error=error)


def _check_output(options: TrainOptions, output: Path) -> None:
    """InputError if a model file or its run folder would replace an input or files that are not of an earlier run."""
    weights = [given_file(entry) for entry in options.weights_of_each]
    inputs = [options.labels or lab.find_labels(options.films), options.split, *weights, options.recipe]
    inputs.append(find_same_file(output, options.films))
    check_output(output, ensemble_output(), inputs=inputs, overwrite=options.overwrite)
    check_run_folder(output, inputs=inputs, overwrite=options.overwrite)


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


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What the trainings of all members of a run share."""

    backend: Backend
    progress: Progress
    say: Log
    processes: DistributedContext
    goes_on: bool


def _train(
    work: _Work, options: TrainOptions, number: MemberNumber | None = None, ensemble: Path | None = None
) -> tuple[TrainResult, Member | None]:
    """Trains one network and writes its model file; the Member is that of rank 0, None in other processes.

    number    which member of an ensemble it is
    ensemble  the file of that ensemble
    """
    backend, progress, say, processes = work.backend, work.progress, work.say, work.processes
    folder = run_folder(options.output)
    with processes.collective():
        loss = plugins.get_loss(options.loss)
        check_rule(options.threshold_rule)
        augmentation_from_options(options)
    base = processes.once_per_node(lambda: _base_weights(options, say, progress))
    data = processes.once_per_node(lambda: read_data(options, progress, leaks=processes.is_rank_zero))
    seed = options.seed + (0 if number is None else number.index)  # two members of one network must differ
    with processes.collective():
        spec = initial_spec(options, data.findings, base)
        check_calibration(options.calibration_method, spec)
        if number is None or not number.index:
            _log_data(data, say)
            _log_emulation(options, backend, say)
        if number is not None:
            say(f"network {number.index + 1} of {number.count}: {options.architecture}, {options.size} pixels")
        _log_public_films(sets_of_weights(options, base), data, say)
        inputs = run_inputs(options, data, base, seed)
        earlier = load_checkpoint(folder, inputs) if work.goes_on else None
    run = _Run(
        backend=backend,
        options=options,
        spec=spec,
        data=data,
        base=base,
        loss=loss,
        folder=folder,
        inputs=inputs,
        seed=seed,
        earlier=earlier,
        progress=progress,
        say=say,
        processes=processes,
    )
    fitted = run.fitted()
    member: Member | None = None

    def write() -> tuple[dict[str, Any], Sequence[str]]:
        nonlocal member
        if ensemble is not None:  # an earlier one must not name a member that is replaced
            _remove(ensemble)
        member = _written(backend, options, spec, data, base, fitted, number)
        return member.document["evaluation"], data.leaks

    evaluated, leaks = processes.on_rank_zero_broadcast(write)
    _tell_damage(data, fitted, say)
    result = TrainResult(
        output=options.output,
        run_folder=folder,
        films=data.sizes,
        failed=tuple(data.failed.items()),
        leakage=tuple(leaks),
        best_epoch=fitted.best_epoch,
        history=fitted.history,
        excluded_findings=data.excluded_findings,
        label_match=dict(data.labels_file.get("match", {})),
        **_of_evaluation(evaluated),
    )
    return result, member


def _train_ensemble(work: _Work, options: TrainOptions, members: Sequence[TrainOptions]) -> TrainResult:
    """Trains the members one after the other, and writes the ensemble file last."""
    processes = work.processes
    # A fault of the last one must not show after the first one was trained and replaced that of an earlier run.
    processes.once_per_node(lambda: _check_weights(members, work.say, work.progress))
    results: list[TrainResult] = []
    written: list[Member] = []
    for index, own in enumerate(members):
        number = MemberNumber(index=index, count=len(members))
        result, member = _train(work, own, number, options.output)
        results.append(result)
        written += [] if member is None else [member]

    evaluated = processes.on_rank_zero_broadcast(lambda: write_ensemble(options, written)["evaluation"])
    return replace(
        results[0],
        output=options.output,
        run_folder=run_folder(options.output),
        leakage=tuple(dict.fromkeys(leak for result in results for leak in result.leakage)),
        best_epoch=0,
        history=[],
        members=tuple(results),
        **_of_evaluation(evaluated),
    )


def _of_evaluation(evaluated: dict[str, Any]) -> dict[str, Any]:
    """The fields of a result that come from the document's "evaluation" of a model or an ensemble."""
    return {
        "evaluated_on": evaluated["on"],
        "macro_auc": _macro_auc(evaluated),
        "test_auc": _macro_auc(evaluated["test"]),
        "warnings": tuple(evaluated["warnings"]),
        "evaluation": evaluated,
    }


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def _macro_auc(figures: dict[str, Any] | None) -> float:
    value = None if figures is None else figures["macro_auc"]["value"]
    return float("nan") if value is None else float(value)


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
    seed: int
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
        if self.options.initial_head == "probe" or enough_films(self._counted_labels, least).any():
            return True
        self.say(f"no finding has {least} positive and {least} negative training films: the head starts from zero")
        return False

    def _probe(self) -> FitResult:
        """A linear probe of the training films; every process solves the same one."""
        options = _probe_options(self.options)
        with self.processes.collective():
            spec = replace(self.spec, trainable="head")
            model = initial_model(self.backend, spec, self.base, options, labels=self._labels, seed=self.seed)
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
                self.backend,
                self.spec,
                self.base,
                options,
                labels=self._labels,
                seed=self.seed,
                earlier=earlier,
                head=head,
            )
            bound = self.loss.weighted(weights)
        settings: dict[str, Any] = {"folder": self.folder, "inputs": self.inputs, "earlier": earlier}
        return fit(model, self.data, bound, options, self.progress, self.say, processes=self.processes, **settings)

    @property
    def _labels(self) -> Floats:
        """Labels of the training films."""
        return self.data.labels[list(self.data.split.train)]

    @property
    def _counted_labels(self) -> Floats:
        """Those of films whose weight is above 0."""
        return without_weightless(self._labels, self.data.weights_of(self.data.split.train))


def _probe_options(options: TrainOptions) -> TrainOptions:
    """The options of a run, for the features of a linear probe: those of the films as they are."""
    changed: dict[str, Any] = {"trainable": "head", "augmentations": 0, "initial_head": "zero", "layer_decay": 1.0}
    return replace(options, **changed, solver="adam", learning_curve=False)


def _no_probe(options: TrainOptions) -> str:
    instead = "--solver adam" if options.probe else "--initial-head zero"
    return f"backend {options.backend!r} gives no features of {options.architecture!r} to solve a head: use {instead}"


def _base_weights(options: TrainOptions, say: Log, progress: Progress) -> BaseWeights | None:
    network = plugins.get_network(options.architecture)
    base = base_weights(options.weights, options.architecture, network, say, progress)
    for note in base.notes if base else ():
        say(note)
    return base


def _check_weights(members: Sequence[TrainOptions], say: Log, progress: Progress) -> None:
    """Reads the initial weights of all networks, which also downloads them; the error of any that cannot be used."""
    for own in members:
        base_weights(own.weights, own.architecture, plugins.get_network(own.architecture), say, progress)


def _written(
    backend: Backend,
    options: TrainOptions,
    spec: ModelSpec,
    data: Data,
    base: BaseWeights | None,
    fitted: FitResult,
    number: MemberNumber | None,
) -> Member:
    """Writes the model and its run files.

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
        tested = test_evaluation(spec.findings, data.labels[test], logits[len(chosen) :], patients, held.fitted)
    prob = held.probabilities(spec.activation, options.calibration_method)
    curve = _learning_curve(options, data, fitted.probe)
    evaluated = model_evaluation(spec.findings, data, held, prob, options, tested=tested, learning_curve=curve)
    document = model_document(options, spec, data, base, final, fitted, held=held, evaluated=evaluated, member=number)
    save_model(options.output, fitted.tensors, document)
    split = lab.split_csv(data.split, data.paths)
    recipe = recipe_toml(recipe_of(options), needs_weights=given_file(options.weights) is not None)
    save_run(options.output, fitted.history, fitted.best_epoch, split, recipe)
    scored = None
    if test:
        calibration = document["calibration"]
        scored = ModelOutput(logits=logits[len(chosen) :], activation=spec.activation, calibration=calibration)
    return Member(path=options.output, spec=spec, document=document, data=data, held=held, test=scored)


def _learning_curve(options: TrainOptions, data: Data, probe: ProbeFit | None) -> dict[str, Any] | None:
    if probe is None or not options.learning_curve:
        return None
    return measure_learning_curve(
        probe.features,
        data.labels[probe.rows],
        probe.folds,
        fitted=probe.fitted,
        patients=[data.patients[row] for row in probe.rows],
        weights=data.weights_of(probe.rows),
        seed=options.seed,
    )


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
        weights=data.weights_of(probe.rows),
    )


def _log_emulation(options: TrainOptions, backend: Backend, say: Log) -> None:
    """Says that the device emulates the precision, if it does."""
    if options.precision != "fp32" and (note := plugins.emulation_note(backend, options.precision, options.device)):
        say(note)


def _trainer(members: Sequence[TrainOptions]) -> Backend:
    """The backend; InputError if it does not support the options of a member, before any film is read."""
    backend = plugins.get_backend(members[0].backend)
    if not backend.trains:
        raise InputError(f"backend {backend.name!r} cannot train, only score; see `cxrscore plugins` for one that can")
    for options in members:
        _check_member(options, backend)
    plugins.get_executor(members[0].executor)
    return backend


def _check_member(options: TrainOptions, backend: Backend) -> None:
    """InputError if the backend does not support the options of a network."""
    network = plugins.require_network(options.architecture, backend)
    _check_known(options, backend, network)
    initial_spec(options, ("any",), None)  # the size and the head fit the network
    if options.feature_backend:
        other = plugins.get_backend(options.feature_backend)
        if reason := why_not(other, options.architecture, network):
            raise InputError(f"{reason}. Leave --feature-backend out, or name one that has it.")


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
    for note in (*data.folder_notes, *data.notes):
        say(note)
    if data.excluded_findings:
        names = ", ".join(data.excluded_findings)
        say(f"left out, because no training film is positive or none is negative: {names}")
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
