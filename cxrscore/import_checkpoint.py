"""Import a classifier that another program trained as a model file, with reference logits and its origin."""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import cxrscore
from cxrscore import plugins
from cxrscore.contract import Floats, Model, ModelSpec, Normalize
from cxrscore.errors import InputError
from cxrscore.images import Preprocessing
from cxrscore.io import sha256_file
from cxrscore.io.outputs import check_output
from cxrscore.io.strict_json import unicode_text
from cxrscore.labels.chexpert import OBSERVATIONS
from cxrscore.labels.findings import FINDINGS, canonical
from cxrscore.labels.public_sets import public_set_names
from cxrscore.models.ensemble_file import is_ensemble
from cxrscore.models.import_weights import ImportedCheckpoint, OutputLayer, read_weights_of
from cxrscore.models.model_file import model_output, read_document, save_model
from cxrscore.models.public_weights import XRV_OUTPUTS
from cxrscore.remote import convert_paths
from cxrscore.synthetic.reference_logits import golden_record

ORDERS = {"nih14": FINDINGS, "chexpert14": OBSERVATIONS, "xrv18": XRV_OUTPUTS}
"""Usual orders of outputs, by the word of ``--findings`` for them."""
_SOURCES = {"nih14": "NIH ChestX-ray14", "chexpert14": "CheXpert", "xrv18": "torchxrayvision"}
_IMAGENET = 1000


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """Options of ``import_model``, named as those of ``cxrscore import``.

    Parameters
    ----------
    file
        Weights of another program: a checkpoint of torch, safetensors, or a file of Keras. No code in it is run.
    output
        Model file to write.
    findings
        A name for each output of the network, in its order, "" for an output to exclude; or one word for a usual
        order: "nih14", "chexpert14" or "xrv18". Empty: the names in the file.
    key
        Entry or prefix of the copy of the network to import, such as "ema.module"; empty: the plain copy.
    size
        Side of the films that the network was trained on, in pixels. None: the usual one of the network, 518 for
        vit_b14, 512 for torchxrayvision's ResNet50, 224 for all others.
    normalize
        Normalization of films, as in ModelSpec. None: the one that goes with the names in the file.
    licence
        Licence of the weights.
    operating_points
        The probability of each output that decides between positive and negative, in the order of the outputs, NaN for
        an output without one. Empty: those in the file (op_threshs).
    rescale_to_thresholds
        Rescale the probabilities of each finding piecewise, such that its threshold becomes 0.5, as
        torchxrayvision does.
    trained_on
        Names of the public data sets that the network was trained on, such as "NIH": films of these are not held-out.
    name
        Name of the weights, for the model's document; None: that of the file.
    backend
        Backend that computes the reference logits; None: the fastest installed one that has the network.
    device
        "auto", "cpu", "cuda" or "cuda:N".
    overwrite
        Replace any regular file, not only an earlier model file.
    """

    file: Path
    output: Path = Path("model.safetensors")
    findings: tuple[str, ...] = ()
    key: str = ""
    size: int | None = None
    normalize: Normalize | None = None
    licence: str = "unknown"
    operating_points: tuple[float, ...] = ()
    rescale_to_thresholds: bool = False
    trained_on: tuple[str, ...] = ()
    name: str | None = None
    backend: str | None = None
    device: str = "auto"
    overwrite: bool = False

    def __post_init__(self) -> None:
        convert_paths(self, local=["file", "output"])
        object.__setattr__(self, "trained_on", public_set_names(self.trained_on))


@dataclass(frozen=True, kw_only=True)
class ImportResult:
    """Result of an import. ``checkpoint_type`` is the program whose names the file uses; ``excluded_outputs`` counts
    outputs without a name, ``thresholds`` findings with a threshold; ``rescaled`` says whether probabilities are
    rescaled by these; ``notes`` are messages for the user."""

    output: Path
    architecture: str
    checkpoint_type: str
    findings: tuple[str, ...]
    excluded_outputs: int
    thresholds: int
    rescaled: bool
    backend: str
    notes: tuple[str, ...] = ()


def import_model(options: ImportOptions) -> ImportResult:
    """Import weights of another program as a model file, without running any code in them.

    Parameters
    ----------
    options
        The checkpoint, the output, and their settings.

    Returns
    -------
    ImportResult
        The model file and its findings.

    Raises
    ------
    InputError
        If the names of findings do not match the outputs, or the network is not supported.
    FileFormatError
        If the file is damaged or of another format.
    BackendUnavailableError
        If no installed backend can run the network.
    WriteError
        If the model file cannot be written.
    """
    check_output(options.output, model_output("import"), inputs=[options.file], overwrite=options.overwrite)
    if is_ensemble(options.file):
        read_document(options.file)  # says that one network is expected, and which files hold one
    foreign = read_weights_of(options.file, key=options.key, networks=plugins.plugin_networks())
    layer = _require_head(options, foreign)
    names = _outputs(options, foreign, len(layer.bias))
    named = [place for place, name in enumerate(names) if name]
    network = foreign.network
    spec = ModelSpec(
        architecture=network.name,
        findings=tuple(names[place] for place in named),
        size=options.size or foreign.size,
        normalize=options.normalize or foreign.normalize,
        head=foreign.head,
        activation=layer.activation,
        trainable="all",
        network=network,
    )
    tensors: dict[str, Floats] = {
        **foreign.base,
        "head/kernel": np.ascontiguousarray(layer.kernel[:, named]),
        "head/bias": layer.bias[named],
    }
    backend = options.backend or next(iter(plugins.fastest_backends(spec, options.device)), "torch")
    model = plugins.get_backend(backend).build(spec, tensors, device=options.device)
    note = "" if options.backend else plugins.default_note(backend, f"run {spec.architecture} on this device")
    document = _document(options, foreign, names, spec, model, backend)
    save_model(options.output, tensors, document)
    return ImportResult(
        output=options.output,
        architecture=network.name,
        checkpoint_type=foreign.kind,
        findings=spec.findings,
        excluded_outputs=len(names) - len(named),
        thresholds=len(document["thresholds"]),
        rescaled=options.rescale_to_thresholds,
        backend=backend,
        notes=(*foreign.notes, *((note,) if note else ())),
    )


def _require_head(options: ImportOptions, foreign: ImportedCheckpoint) -> OutputLayer:
    if foreign.layer is None:
        name = foreign.network.name
        raise InputError(
            f"{options.file} holds the backbone of {name} and no head, so it scores nothing. Train a head: "
            f"`cxrscore train --architecture {name} --weights {options.file}`"
        )
    return foreign.layer


def _outputs(options: ImportOptions, foreign: ImportedCheckpoint, count: int) -> tuple[str, ...]:
    """A canonical name for each of ``count`` outputs, "" for outputs to exclude."""
    names = options.findings or foreign.outputs
    if names is None:
        raise InputError(f"{options.file} {_nameless(foreign, count)}")
    if len(names) == 1 and names[0].strip() in ORDERS:
        names = ORDERS[names[0].strip()]
    if len(names) != count:
        given = f"{len(names)} names of findings are given"
        if len(names) == 1:
            given = f"{names[0][:80]!r} names one finding. Words for usual orders: {', '.join(ORDERS)}"
        raise InputError(f"{options.file} has {count} outputs, but {given}")
    return tuple(canonical(name.strip()) for name in names)


def _nameless(foreign: ImportedCheckpoint, count: int) -> str:
    if count == _IMAGENET:
        return (
            "scores the 1000 classes of ImageNet, and no finding. To train findings from it, use "
            f"`cxrscore train --architecture {foreign.network.name} --weights` with this file."
        )
    hints = [
        f" If it was trained on {_SOURCES[word]}'s: --findings {word}, for --findings '{','.join(order)}'."
        for word, order in ORDERS.items()
        if len(order) == count
    ]
    return (
        f"names none of its {count} outputs. Give --findings, {count} names separated by commas, in the order of the "
        f"outputs, with an empty name for an output that was not trained.{''.join(hints)}"
    )


def _document(
    options: ImportOptions,
    foreign: ImportedCheckpoint,
    names: tuple[str, ...],
    spec: ModelSpec,
    model: Model,
    backend: str,
) -> dict[str, Any]:
    """Metadata as in schemas/model.schema.json; fields that only a training run can fill are empty or 0."""
    name = options.name or unicode_text(options.file.name)
    source = {"name": name, "sha256": sha256_file(options.file), "licence": options.licence}
    points = _operating_points(options, foreign, names)
    trained_on = {"trained_on": list(options.trained_on)} if options.trained_on else {}
    return {
        "spec": spec.as_dict(),
        "preprocessing": Preprocessing(size=spec.size, fit=foreign.fit).as_dict(),
        "thresholds": _thresholds(options, points),
        "calibration": _rescaling(options, spec, points),
        "training": {
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "cxrscore": cxrscore.__version__,
            "backend": backend,
            "versions": {"framework": model.framework, "numpy": np.__version__},
            "seed": 0,
            "recipe": {},
            "weights": source,
            "imported": {"checkpoint_type": foreign.kind, "n_outputs": len(names)},
            "history": [],
            "best_epoch": 0,
            "monitor": "",
            "split": {"train": 0, "valid": 0, "test": 0, "rule": "not known", "sha256": ""},
            "patients": 0,
            "labels": {"file": "", "dataset": "", "sha256": ""},
            "has_leakage": False,
            "leak_count": 0,
        },
        "films": {"train": [], "valid": []},
        "validation": {"loss": None, "macro_auc": None, "auc": dict.fromkeys(spec.findings)},
        "golden": golden_record(model),
        "licence": options.licence,
        **trained_on,
    }


def _operating_points(options: ImportOptions, foreign: ImportedCheckpoint, names: tuple[str, ...]) -> dict[str, float]:
    """The threshold of each finding that has one in 0..1: a probability before any rescaling."""
    points = options.operating_points or foreign.points or (math.nan,) * len(names)
    if len(points) != len(names):
        raise InputError(f"{options.file} has {len(names)} outputs and {len(points)} thresholds (op_threshs)")
    return {name: float(f"{point:.9g}") for name, point in zip(names, points, strict=True) if name and 0 <= point <= 1}


def _thresholds(options: ImportOptions, points: dict[str, float]) -> dict[str, dict[str, Any]]:
    rule = "op_threshs that were given" if options.operating_points else "op_threshs of the imported file"
    half = options.rescale_to_thresholds
    return {
        name: {
            "prob": 0.5 if half and 0 < point < 1 else point,
            "rule": f"{rule}, rescaled to 0.5" if half and 0 < point < 1 else rule,
            "chosen_on": "imported",
        }
        for name, point in points.items()
    }


def _rescaling(options: ImportOptions, spec: ModelSpec, points: dict[str, float]) -> dict[str, Any] | None:
    """The document's calibration that rescales probabilities, None without."""
    if not options.rescale_to_thresholds:
        return None
    if spec.activation != "sigmoid":
        raise InputError(f"{options.file}: probabilities of {spec.activation} are not rescaled, expected sigmoid")
    inside = {name: point for name, point in points.items() if 0 < point < 1}
    if not inside:
        raise InputError(
            f"{options.file} has no thresholds (op_threshs) between 0 and 1 to rescale by. Give them as "
            "--operating-points, or leave out --rescale-to-thresholds"
        )
    count = len(spec.findings)
    return {
        "method": "op-thresholds",
        "slope": [1.0] * count,
        "intercept": [0.0] * count,
        "fitted_on": "imported",
        "half_at": [inside.get(name, 0.5) for name in spec.findings],
    }
