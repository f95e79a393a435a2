"""What all contenders are given: real films in a folder, and one network in the form that each of them reads."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cxrscore.contract import Array, Floats, ModelSpec, Tensors
from cxrscore.images import Preprocessing, preprocess, read_film, to_unit
from cxrscore.labels.findings import FINDINGS
from cxrscore.models.imagenet import read_weights
from cxrscore.models.model_file import load_model, save_model
from cxrscore.networks.densenet import BLOCKS
from cxrscore.networks.tensors import initial_tensors

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("CXRSCORE_SHARED", ROOT.parent / "shared"))
FILMS = SHARED / "data" / "nih442" / "films"
WEIGHTS = SHARED / "weights" / "densenet121_imagenet_notop.safetensors"
NO_PEERS = "its environment is not installed (make bench, without PEERS=no)"


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Where all of it lies, below one folder that goes when the run ends."""

    folder: Path
    size: int
    batch_size: int
    peers: Path | None = None
    """The Python of the peers' environment; None where it is not installed."""
    lacks: Mapping[str, str] = field(default_factory=dict)
    """Precisions that are not on this machine, with the reason: record.lacking."""

    def why_not(self, theirs: bool) -> str:
        """Why a contender of the peers' environment cannot take part; empty if nothing is known against it."""
        return NO_PEERS if theirs and self.peers is None else ""

    @property
    def model(self) -> Path:
        return self.folder / "model.safetensors"

    @property
    def int8(self) -> Path:
        """The same model with ranges for 8-bit integers; not there where this cxrscore computes in none."""
        return self.folder / "int8.safetensors"

    @property
    def onnx(self) -> Path:
        """The network as an ONNX file; not there without the peers' environment."""
        return self.folder / "network.onnx"

    @property
    def small(self) -> Path:
        return self.folder / "small.safetensors"

    def films(self, count: int) -> Path:
        """A folder of so many films: the first real ones by name, full size, again and again if they are fewer."""
        folder = self.folder / f"films{count}"
        if not folder.exists():
            folder.mkdir()
            real = sorted(FILMS.iterdir())
            for number in range(count):
                _placed(real[number % len(real)], folder / f"{number:06}{real[number % len(real)].suffix}")
        return folder

    def labelled(self, count: int) -> Path:
        """A folder of so many different films under their own names, by which labels.csv knows them."""
        folder = self.folder / "labelled"
        folder.mkdir()
        for film in sorted(FILMS.iterdir())[:count]:
            _placed(film, folder / film.name)
        return folder


def _placed(film: Path, there: Path) -> None:
    try:
        os.link(film, there)
    except OSError:  # another file system
        shutil.copyfile(film, there)


def prepare(inputs: Inputs) -> None:
    """Model files, the same network for torch, Keras and ONNX Runtime, and a film's square for pytorch-grad-cam."""
    spec = ModelSpec(architecture="densenet121", findings=FINDINGS, size=inputs.size)
    tensors = initial_tensors(spec, 0, read_weights(WEIGHTS, "densenet121").tensors)
    save_model(inputs.model, tensors, _document(spec, tensors))
    small = ModelSpec(architecture="tinycnn", findings=FINDINGS, size=224)
    drawn = initial_tensors(small, 0)
    save_model(inputs.small, drawn, _document(small, drawn))
    tensors = load_model(inputs.model).tensors
    np.savez(inputs.folder / "network.npz", **_torchvision(tensors))
    np.savez(inputs.folder / "keras.npz", **tensors)
    np.save(inputs.folder / "square.npy", first_square(inputs))
    (inputs.folder / "answers").mkdir()


def first_square(inputs: Inputs) -> Floats:
    """float32 [S,S] of the first film, as cxrscore's network sees it."""
    how = load_model(inputs.model).document["preprocessing"]
    pixels = read_film(next(iter(sorted(inputs.films(1).iterdir())))).pixels
    assert pixels is not None
    return to_unit(preprocess(pixels, Preprocessing.from_dict(how)))


def quantize_command(inputs: Inputs) -> list[str] | None:
    """Measures ranges on a few films, which say nothing of accuracy and cost as much as any; None without int8."""
    if importlib.util.find_spec("cxrscore.quantize") is None or "int8" in inputs.lacks:
        return None
    films, output = str(inputs.films(2 * inputs.batch_size)), str(inputs.int8)
    words = ["quantize", str(inputs.model), films, "-o", output, "--backend", "openvino", "--device", "cpu", "--quiet"]
    return [sys.executable, "-m", "cxrscore", *words]


def onnx_command(inputs: Inputs) -> list[str] | None:
    """Writes the network as an ONNX file, by torch in the peers' environment; None without that."""
    if inputs.peers is None:
        return None
    script = ROOT / "benchmarks" / "peers" / "onnx_export.py"
    return [str(inputs.peers), str(script), str(inputs.folder / "network.npz"), str(inputs.size), str(inputs.onnx)]


def _torchvision(tensors: Tensors) -> dict[str, Array]:
    """The tensors under torchvision's names and with torch's axes."""
    names = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
    found = {"classifier.weight": tensors["head/kernel"].T, "classifier.bias": tensors["head/bias"]}
    for theirs, ours in _layers():
        if ours.endswith("conv"):
            found[f"{theirs}.weight"] = tensors[f"{ours}/kernel"].transpose(3, 2, 0, 1)
        else:
            found |= {f"{theirs}.{name}": tensors[f"{ours}/{own}"] for own, name in names.items()}
    return {name: np.ascontiguousarray(tensor) for name, tensor in found.items()}


def _layers() -> Iterator[tuple[str, str]]:
    """torchvision's name of each layer of the base, and ours."""
    yield from (("features.conv0", "conv1_conv"), ("features.norm0", "conv1_bn"), ("features.norm5", "bn"))
    blocks = BLOCKS["densenet121"]
    for block, layers in enumerate(blocks, start=1):
        for layer in range(1, layers + 1):
            theirs, ours = f"features.denseblock{block}.denselayer{layer}", f"conv{block + 1}_block{layer}"
            for number, (norm, conv) in enumerate((("0_bn", "1_conv"), ("1_bn", "2_conv")), start=1):
                yield from ((f"{theirs}.norm{number}", f"{ours}_{norm}"), (f"{theirs}.conv{number}", f"{ours}_{conv}"))
        if block < len(blocks):
            for part in ("norm", "conv"):
                yield f"features.transition{block}.{part}", f"pool{block + 1}_{'bn' if part == 'norm' else 'conv'}"


def _document(spec: ModelSpec, tensors: Tensors) -> dict[str, Any]:
    """That of a model which nobody trained: its scores mean nothing, and cost as much as any."""
    sys.path.insert(0, str(ROOT / "tests"))
    from made_model import document, golden

    return document(spec, golden=golden(spec, tensors))
