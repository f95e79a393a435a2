"""Computes, in a process of its own, what a backend is compared with: ``peer.py WHO FOLDER``.

WHO "applications": features by keras.applications itself, with its own preprocess_input: no line of a plugin runs.
WHO a backend's name: what that backend makes of the same tensors, films and batches.

Every FOLDER/NAME.job.npz gets its FOLDER/NAME.out.npz.
"""

import functools
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cxrscore.contract import Batch, ModelSpec
from cxrscore.losses import losses
from cxrscore.testing.fixtures import at_rate

TENSOR = "tensor:"


@functools.cache
def _application(architecture: str) -> tuple[Any, Callable[[np.ndarray], np.ndarray]]:
    """The network without top, and what keras.applications does to RGB pixels 0..255 before it."""
    import keras

    family = "densenet" if architecture.startswith("densenet") else "resnet"
    name = architecture.replace("densenet", "DenseNet").replace("resnet", "ResNet")
    build, normalise = getattr(keras.applications, name), getattr(keras.applications, family).preprocess_input
    return build(include_top=False, weights=None, input_shape=(None, None, 3)), normalise


def _applications(job: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    import keras

    model, normalise = _application(str(job["architecture"]))
    for layer in model.layers:
        for variable in layer.weights:
            variable.assign(job[f"{TENSOR}{layer.name}/{variable.name}"])
    colour = np.repeat(255 * job["films"][..., None], 3, axis=-1)
    return {"features": keras.ops.convert_to_numpy(model(normalise(colour), training=False))}


def _backend(name: str, job: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    backend = importlib.import_module(f"cxrscore_{name}").cxrscore_backends()[0]
    spec = ModelSpec.from_dict(json.loads(str(job["spec"])))
    tensors = {key.removeprefix(TENSOR): value for key, value in job.items() if key.startswith(TENSOR)}
    model = backend.build(spec, tensors, device="cpu")
    out = {"logits": model.predict(job["films"])}
    if "labels" in job:
        loss = losses[0].weighted(job["weights"])
        batch = Batch(inputs=job["films"], labels=job["labels"])
        settings = json.loads(str(job["settings"])) if "settings" in job else {"learning_rate": 1e-3}
        out["losses"] = np.array([model.fit_epoch([batch], loss, at_rate(**settings)) for _ in range(5)])
        out |= {TENSOR + key: value for key, value in (model.tensors() | model.state()).items()}
    return out


def main(who: str, folder: Path) -> None:
    for path in sorted(folder.glob("*.job.npz")):
        job = dict(np.load(path))
        out = _applications(job) if who == "applications" else _backend(who, job)
        np.savez(path.with_name(path.name.replace(".job.", ".out.")), **out)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
