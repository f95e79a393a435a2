"""Several networks of one run: the options of each member, and the ensemble file of the finished members.

An ensemble scores a film with the mean of the calibrated probabilities of its members. What is said of this mean is
found as for one model, from the held-out predictions of all members: the logit of their mean takes the place of a
network's logit.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import cxrscore
from cxrscore import labels as lab
from cxrscore import plugins
from cxrscore.contract import Activation, Floats, ModelSpec
from cxrscore.errors import InputError
from cxrscore.io.strict_json import unicode_text
from cxrscore.models.ensemble_file import member_record, save_ensemble
from cxrscore.models.probabilities import ModelOutput, mean_logits, probabilities
from cxrscore.models.run_folder import save_run
from cxrscore.recipes import recipe_toml
from cxrscore.training.data import Data
from cxrscore.training.evaluation import HeldOut, patient_numbers, test_evaluation
from cxrscore.training.final_evaluation import calibration_of, thresholds_of
from cxrscore.training.model_metadata import (
    films_and_labels,
    model_evaluation,
    recipe_of,
    recipe_values,
    score_quantiles,
)
from cxrscore.training.options import TrainOptions


@dataclass(frozen=True, kw_only=True)
class Member:
    """A network whose model file is written.

    path, document  of the file; the document as model_metadata.model_document makes it
    held            the predictions that chose its calibration and thresholds
    test            its output for the test films; None without any
    """

    path: Path
    spec: ModelSpec
    document: dict[str, Any]
    data: Data
    held: HeldOut
    test: ModelOutput | None


def member_options(options: TrainOptions) -> tuple[TrainOptions, ...]:
    """The options of the run of each network: those of the call for one network. Of several, each has its own weights,
    its own size where none is given for all, and a file of its own beside the output."""
    names = options.architectures
    if len(names) == 1:
        return (options,)
    sizes = [options.size or plugins.film_size(name) for name in names]
    given = zip(names, options.weights_of_each, sizes, _outputs(options), strict=True)
    return tuple(
        replace(options, architecture=name, weights=weights, size=size, output=output)
        for name, weights, size, output in given
    )


def _outputs(options: TrainOptions) -> list[Path]:
    """The file of each member: model.resnet50.safetensors beside model.safetensors, and model.resnet50-2.safetensors
    for the second of that network."""
    output = options.output
    if output.name != unicode_text(output.name) or any(
        ord(letter) < 32 or letter in "\\\x7f" for letter in output.name
    ):
        raise InputError(f"output is {output}, which an ensemble file cannot name: choose a name without \\")
    found: list[Path] = []
    for name in options.architectures:
        plain = "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name)
        number = 1
        while (path := _beside(output, plain if number == 1 else f"{plain}-{number}")) in found:
            number += 1
        found.append(path)
    return found


def _beside(output: Path, word: str) -> Path:
    return output.with_name(f"{output.stem}.{word}{output.suffix or '.safetensors'}")


def write_ensemble(options: TrainOptions, members: Sequence[Member]) -> dict[str, Any]:
    """Writes the ensemble file and its run folder, after the files of its members; returns its document.

    InputError if films or labels changed while the members were trained.
    """
    _check_same_data(members)
    first, method = members[0], options.calibration_method
    held = mean_held_out(members)
    calibration = calibration_of(held.truth, held.logits, method, held.on, held.weights)
    prob = probabilities(held.logits, "sigmoid", calibration)
    crossed = held_out_probabilities([member.held for member in members], first.spec.activation, method)
    evaluated = model_evaluation(first.spec.findings, first.data, held, crossed, options, tested=_tested(members))
    leaks = dict.fromkeys(leak for member in members for leak in member.data.leaks)
    document = {
        "members": [member_record(member.path, member.spec.architecture) for member in members],
        "findings": list(first.spec.findings),
        "calibration": calibration,
        "thresholds": thresholds_of(first.spec, held.truth, prob, options.threshold_rule, held.on, held.fitted),
        "evaluation": evaluated,
        "validation": {"score_quantiles": score_quantiles(first.spec, prob)},
        "training": {
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "cxrscore": cxrscore.__version__,
            "backend": options.backend,
            "seed": options.seed,
            "recipe": recipe_values(options),
            **films_and_labels(first.data),
            "has_leakage": any(member.document["training"]["has_leakage"] for member in members),
            "leak_count": len(leaks),
        },
        "films": _films(members),
        "licence": ", ".join(dict.fromkeys(member.document["licence"] for member in members)),
    }
    save_run(options.output, [], 0, lab.split_csv(first.data.split, first.data.paths), recipe_toml(recipe_of(options)))
    save_ensemble(options.output, document)
    return document


def mean_held_out(members: Sequence[Member]) -> HeldOut:
    """Held-out predictions of the mean: its logits are those that the ensemble computes from the members' logits."""
    outputs = [
        ModelOutput(
            logits=member.held.logits, activation=member.spec.activation, calibration=member.document["calibration"]
        )
        for member in members
    ]
    fitted = np.all([member.held.fitted for member in members], axis=0)
    return replace(members[0].held, logits=mean_logits(outputs), fitted=fitted)


def held_out_probabilities(held: Sequence[HeldOut], activation: Activation, method: str) -> Floats:
    """float32 [N,C], the probabilities of the ensemble: for each fold the members and their mean are calibrated on the
    other folds, so that no film is calibrated with its own label; validation films with their own calibration."""
    prob = np.empty_like(held[0].logits)
    for own, others in held[0].turns():
        outputs = [
            ModelOutput(
                logits=one.logits, activation=activation, calibration=one.calibration(one.logits, others, method)
            )
            for one in held
        ]
        mean = mean_logits(outputs)
        prob[own] = probabilities(mean[own], "sigmoid", held[0].calibration(mean, others, method))
    return prob


def _tested(members: Sequence[Member]) -> dict[str, Any] | None:
    """The figures of the mean on the test films."""
    outputs = [member.test for member in members if member.test is not None]
    if not outputs:
        return None
    data, spec = members[0].data, members[0].spec
    rows = list(data.split.test)
    fitted = np.all([member.held.fitted for member in members], axis=0)
    patients = patient_numbers(data.patients)[rows]
    return test_evaluation(spec.findings, data.labels[rows], mean_logits(outputs), patients, fitted)


def _check_same_data(members: Sequence[Member]) -> None:
    first = members[0].data
    for member in members[1:]:
        data = member.data
        if (data.paths, data.split, data.labels_digest) != (first.paths, first.split, first.labels_digest) or [
            film.sha256 for film in data.store.films
        ] != [film.sha256 for film in first.store.films]:
            raise InputError(
                f"films or labels changed between the training of {members[0].path} and that of {member.path}, so "
                "there is no ensemble of both. Start the run again."
            )


def _films(members: Sequence[Member]) -> dict[str, list[str]]:
    """Hashes of the films that any member was trained on, and of those that were only used for validation."""
    train = list(dict.fromkeys(film for member in members for film in member.document["films"]["train"]))
    valid = dict.fromkeys(film for member in members for film in member.document["films"]["valid"])
    trained = set(train)
    return {"train": train, "valid": [film for film in valid if film not in trained]}
