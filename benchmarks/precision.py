"""int8 and bf16 on a trained model and real films: what they do to the scores, and what time they need."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from children import output_of
from inputs import FILMS, WEIGHTS, Inputs
from progress import LEAST, Section

from cxrscore.contract import Floats, Model, Ranges, SupportsActivationRanges
from cxrscore.images import Preprocessing, require_films, stream_films, to_unit
from cxrscore.int8_choice import range_of
from cxrscore.models.model_file import ModelFile, int8_model, load_model
from cxrscore.plugins import get_backend

ALL_ROUNDED = "int8, all layers rounded"


def measure(inputs: Inputs, films: int, rounds: int, section: Section) -> dict[str, Any]:
    """Trains the head and runs `quantize`, both on all labelled films; then the bare networks in turns.

    films  that a round of the bare networks has
    """
    trained, prepared = inputs.folder / "trained.safetensors", inputs.folder / "prepared.safetensors"
    train = ("train", FILMS, "-o", trained, "--weights", WEIGHTS, "--size", str(inputs.size), "--backend", "torch")
    _run((*train, "--feature-backend", "openvino"), section)
    section.say("trained")
    begun = time.perf_counter()
    _run(("quantize", trained, FILMS, "-o", prepared, "--backend", "openvino"), section)
    seconds = time.perf_counter() - begun
    section.say("quantize")
    file = load_model(prepared)
    found = {
        "effects": file.document["precision_effects"],
        "kept_layers": len(file.document["quantization"]["kept_layers"]),
        "calibration_films": file.document["quantization"]["films"],
        "quantize_seconds": seconds,
    }
    section.keep(found)
    return {**found, "cpu_seconds": _cpu_seconds(file, films, inputs.batch_size, rounds), "rounds": rounds}


def _run(words: Sequence[str | Path], section: Section) -> None:
    """Each step is long, so that it may take what is left of the section, and half of that again."""
    limit = max(LEAST, 1.5 * section.budget - section.used())
    output_of((sys.executable, "-m", "cxrscore", *words, "--device", "cpu", "--quiet"), limit)


def _cpu_seconds(file: ModelFile, films: int, batch_size: int, rounds: int) -> dict[str, float]:
    """Of a film, by precision: medians over rounds in which all take turns. The clock says less, as what others do on
    the machine changes it more."""
    squares = _squares(file, films)
    models, batches = _models(file, squares[:batch_size]), range(0, films, batch_size)
    taken: dict[str, list[float]] = {name: [] for name in models}
    for number in range(rounds + 1):
        for name, model in models.items():
            begun = time.process_time()
            for at in batches:
                model.predict(squares[at : at + batch_size])
            if number:  # the first pass compiles
                taken[name].append((time.process_time() - begun) / films)
    return {name: median(found) for name, found in taken.items()}


def _squares(file: ModelFile, films: int) -> Floats:
    """float32 [n,S,S], the first films by name."""
    how = Preprocessing.from_dict(file.document["preprocessing"])
    stream = stream_films(FILMS, require_films(FILMS).paths[:films], how, workers=1)
    return np.stack([to_unit(film.pixels) for film in islice(stream, films) if film.pixels is not None])


def _models(file: ModelFile, squares: Floats) -> dict[str, Model]:
    backend, quantization = get_backend("openvino"), file.document["quantization"]
    exact = backend.build(file.spec, file.tensors, device="cpu")
    models = {"fp32": exact, "int8": int8_model(backend, file, "cpu")}
    if "bf16" in file.document["precision_effects"]:
        models["bf16"] = backend.build(file.spec, file.tensors, device="cpu", precision="bf16")
    assert isinstance(exact, SupportsActivationRanges)
    measured: Ranges = {layer: range_of(ends, 0.0) for layer, ends in exact.ranges(squares).items()}
    kept = {layer: measured[layer] for layer in quantization["kept_layers"]}
    every = {**file.document, "quantization": {**quantization, "ranges": {**quantization["ranges"], **kept}}}
    models[ALL_ROUNDED] = int8_model(backend, replace(file, document=every), "cpu")
    return models
