"""Whether it runs at all: the commands of a user, on this device, each a process of its own."""

from __future__ import annotations

import functools
import importlib.util
import json
from typing import Any

from gpu_sections.job import Job, NotRunError, Steps

FEW_CASES = ("B04", "B12", "B14", "B19", "B33")
"""Of the conformance kit, in miniature: all of them take a minute."""


def steps(job: Job) -> Steps:
    parts = ("head", "last-block", "all")
    return {
        "score": functools.partial(_score, job),
        **{f"train {part}": functools.partial(_train, job, part) for part in parts},
        "check torch": functools.partial(_check, job, "torch"),
        "check keras on torch": functools.partial(_check, job, "keras", engine="torch"),
        "check keras on jax": functools.partial(_check, job, "keras", engine="jax"),
    }


def _score(job: Job) -> dict[str, Any]:
    output = job.work / "commands.h5"
    words = ("score", job.films, "-o", output, "-m", job.model, "--backend", "torch", "--device", job.device)
    _, seconds = job.cxrscore(*words, "--quiet")
    from cxrscore import open_scores

    scores = open_scores(output)
    return {"films": len(scores.prob), "scored": int((scores.prob[:, 0] >= 0).sum()), "seconds": seconds}


def _train(job: Job, trainable: str) -> dict[str, Any]:
    """Two epochs of the films of the kit: their number is that of a test, not of a training."""
    from cxrscore import load_model

    document = load_model(job.model)
    spec, output = document.spec, job.work / f"{trainable}.safetensors"
    imagenet = job.kit / "weights.safetensors"
    weights = imagenet if imagenet.is_file() else "none"
    words = ("train", job.films, "-o", output, "--backend", "torch", "--device", job.device, "--trainable", trainable)
    more = ("--architecture", spec.architecture, "--size", spec.size, "--weights", weights)
    _, seconds = job.cxrscore(*words, *more, "--epochs", 2, "--batch-size", 8, "--quiet")
    history = load_model(output).document["training"]["history"]
    losses = [row["train_loss"] for row in history]
    return {"seconds": seconds, "epochs": len(history), "first_loss": losses[0], "last_loss": losses[-1]}


def _check(job: Job, backend: str, engine: str | None = None) -> dict[str, Any]:
    """The conformance kit. Cases that fail are named: a tolerance may be too strict for a GPU."""
    for module in filter(None, ("keras" if engine else None, engine)):
        if importlib.util.find_spec(module) is None:
            raise NotRunError(f"{module} is not installed")
    if job.small and engine:
        raise NotRunError("left out in miniature")
    if job.small:
        return _check_few(job, backend)
    environment = {"KERAS_BACKEND": engine} if engine else {}
    words = ("check", backend, "--device", job.device, "--json")
    out, seconds = job.cxrscore(*words, most=60, codes=(0, 5), **environment)  # 5: some cases failed
    return _counts(json.loads(out)["cases"], seconds)


def _check_few(job: Job, backend: str) -> dict[str, Any]:
    from cxrscore import plugins, testing
    from cxrscore.testing.fixtures import checked_on

    with checked_on(job.device):
        found = testing.run_cases(testing.BackendCases, only=FEW_CASES, backend=plugins.descriptor("backend", backend))
    return _counts([one.as_dict() for one in found], sum(one.seconds for one in found))


def _counts(cases: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    states = [case["status"] for case in cases]
    failed = [f"{case['number']}: {case['reason'][:160]}" for case in cases if case["status"] == "failed"]
    counts = {state: states.count(state) for state in ("passed", "failed", "skipped")}
    return {**counts, "failed_cases": failed, "seconds": seconds}
