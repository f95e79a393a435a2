"""A model file as an ONNX file, for runtimes without cxrscore: docs/onnx.md."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cxrscore
from cxrscore.errors import InputError
from cxrscore.io import atomic_write_bytes
from cxrscore.io.outputs import OutputKind, check_output, output_kind_with_marks
from cxrscore.io.regular import is_hdf5
from cxrscore.models.model_file import ModelFile, load_model
from cxrscore.networks.onnx import OPSET, onnx_classifier, serialised
from cxrscore.remote import convert_paths

SUMMARY = "A chest X-ray classifier for research, not a medical device; written by cxrscore export."
ONNX_OUTPUT: OutputKind = output_kind_with_marks("an ONNX file of `cxrscore export`", SUMMARY.encode())


@dataclass(frozen=True, kw_only=True)
class OnnxOptions:
    """Options of ``export_onnx``, named as those of ``cxrscore export``.

    Parameters
    ----------
    model
        Model file to read.
    output
        ONNX file to write.
    feature_map
        Whether the file also has the output ``feature_map`` [N,K,h,w].
    overwrite
        Replace any regular file, not only an earlier output of this command.
    """

    model: Path
    output: Path
    feature_map: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        convert_paths(self, local=["model", "output"])


@dataclass(frozen=True, kw_only=True)
class OnnxResult:
    """What was written: the file, its length in bytes, the version of its operators, and the names of its outputs."""

    output: Path
    bytes: int
    opset: int
    outputs: tuple[str, ...]


def export_onnx(options: OnnxOptions) -> OnnxResult:
    """Write a model file as an ONNX file, completely or not at all.

    Its input is ``films``, float32 [N,S,S] in 0..1. Its outputs are ``logits`` [N,C], ``probabilities`` [N,C] with the
    calibration of the model, ``heatmaps`` [N,C,h,w] by Grad-CAM and, if asked for, ``feature_map`` [N,K,h,w].

    Parameters
    ----------
    options
        The model file, the output, and what it holds.

    Returns
    -------
    OnnxResult

    Raises
    ------
    InputError
        If the file is no model file, only a backend knows its network, the package ``onnx`` is missing, the ONNX file
        would exceed 2 GiB, or the output must not be replaced.
    WriteError
        If the file cannot be written.
    """
    check_output(options.output, ONNX_OUTPUT, inputs=[options.model], overwrite=options.overwrite)
    data, names = onnx_bytes(options.model, feature_map=options.feature_map)
    atomic_write_bytes(options.output, data)
    return OnnxResult(output=options.output, bytes=len(data), opset=OPSET, outputs=names)


def onnx_bytes(path: Path, *, feature_map: bool = False) -> tuple[bytes, tuple[str, ...]]:
    """The bytes of the ONNX file of a model file, and the names of its outputs; InputError as export_onnx."""
    if path.is_file() and is_hdf5(path):
        raise InputError(
            f"{path} is a scores file (HDF5), expected a model file (.safetensors): ONNX is a format of models"
        )
    file = load_model(path)
    if file.spec.network is None:
        raise InputError(
            f"{path}: cxrscore does not know the layers of {file.spec.architecture!r}, which only a backend computes, "
            "so it cannot write them as ONNX"
        )
    model = onnx_classifier(
        file.spec,
        file.tensors,
        calibration=file.document["calibration"],
        feature_map=feature_map,
        metadata=dict(_metadata(file)),
        producer_version=cxrscore.__version__,
        summary=SUMMARY,
    )
    data, names = serialised(model), tuple(output.name for output in model.graph.output)
    del model
    importlib.import_module("onnx").checker.check_model(data, full_check=True)
    return data, names


def _metadata(file: ModelFile) -> Iterator[tuple[str, str]]:
    """What a program that runs the model must know, as texts, and as JSON where there is more than one value."""
    document: dict[str, Any] = file.document
    yield "architecture", file.spec.architecture
    yield "findings", json.dumps(list(file.spec.findings))
    for name in ("preprocessing", "thresholds", "calibration"):
        yield name, json.dumps(document[name])
    yield "activation", file.spec.activation
    yield "heatmaps", json.dumps({"method": "grad-cam", "layer": file.spec.graph.output})
    yield "licence", document["licence"]
    yield "model_sha256", file.sha256
    yield "cxrscore", cxrscore.__version__
