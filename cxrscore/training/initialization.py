"""Initialization of a run: the network, its first tensors, and the inputs that a resumed run must have in common."""

from __future__ import annotations

from typing import Any

import numpy as np

from cxrscore import labels as lab
from cxrscore import plugins
from cxrscore.contract import Activation, Backend, Floats, Model, ModelSpec, Tensors
from cxrscore.errors import InputError
from cxrscore.io import sha256_bytes
from cxrscore.models.imagenet import BaseWeights
from cxrscore.networks.tensors import initial_tensors
from cxrscore.training.checkpoint import Checkpoint
from cxrscore.training.data import Data
from cxrscore.training.model_metadata import recipe_of
from cxrscore.training.options import TrainOptions
from cxrscore.training.probe import prevalence

_CHANGEABLE_ON_RESUME = ("patience", "checkpoint_policy", "threshold_rule", "calibration", "workers")
"""Options that may change when a run is resumed."""
_FILES = ("weights", "split")
"""Options that name files, whose bytes must be the same."""


def initial_spec(options: TrainOptions, findings: tuple[str, ...], base: BaseWeights | None) -> ModelSpec:
    """The network to train, as ``options`` define it. Without an option for normalization: that of the file of the base
    weights, else that of the network's usual weights; without weights ImageNet's."""
    network = plugins.get_network(options.architecture)
    natural = network.normalize if network is not None and base is not None else "imagenet-rgb"
    natural = (base and base.origin.normalize) or natural
    values = {name: getattr(options, name) for name in ("architecture", "size", "head", "activation", "trainable")}
    normalize: Any = options.normalize or natural
    return ModelSpec(**values, normalize=normalize, findings=findings, network=network)


def run_inputs(options: TrainOptions, data: Data, base: BaseWeights | None, seed: int | None = None) -> dict[str, Any]:
    """The inputs that a resumed run must have in common with the earlier one: all except the number of epochs and the
    choices at the end. With a schedule that depends on the number of epochs, that number counts too. Files are compared
    by content, never by name. seed: of tensors that are drawn, if it is not that of the options."""
    free = (
        (*_CHANGEABLE_ON_RESUME, *_FILES)
        if options.schedule == "cosine"
        else (*_CHANGEABLE_ON_RESUME, *_FILES, "epochs")
    )
    recipe = {name: value for name, value in recipe_of(options).items() if name not in free}
    films = "\0".join(film.sha256 for film in data.store.films)
    return {
        **recipe,
        **({} if seed in (None, options.seed) else {"seed of the network": seed}),
        "base": "" if base is None else base.sha256,
        "labels": data.labels_file["sha256"],
        "values of the labels": data.labels_digest,
        "split": sha256_bytes(lab.split_csv(data.split, data.paths).encode()),
        "films": sha256_bytes(films.encode()),
    }


def initial_model(
    backend: Backend,
    spec: ModelSpec,
    base: BaseWeights | None,
    options: TrainOptions,
    *,
    labels: Floats,
    seed: int,
    earlier: Checkpoint | None = None,
    head: Tensors | None = None,
) -> Model:
    """The model at the start of training: from an earlier checkpoint if there is one, else from the base weights.

    labels  float32 [N,C], of the training films
    seed    of tensors that are drawn
    head    tensors of the dense layer, if it is solved already
    """
    precision: Any = options.precision
    chosen: dict[str, Any] = {"device": options.device, "precision": precision, "seed": seed}
    tensors: Tensors | None = None if base is None else initial_tensors(spec, seed, base.tensors)
    if earlier is None and not head and (options.initial_head, options.initial_bias) == ("random", "zero"):
        return backend.build(spec, tensors, **chosen)
    if tensors is None:
        tensors = backend.build(spec, None, **chosen).tensors()
    changed = dict(earlier.tensors) if earlier else head or initial_head_tensors(options, spec, labels, tensors)
    return backend.build(spec, {**tensors, **changed}, **chosen)


def initial_head_tensors(options: TrainOptions, spec: ModelSpec, labels: Floats, tensors: Tensors) -> dict[str, Any]:
    """Initial tensors of the dense layer that replace those of the backend. InputError if the network has no dense
    layer."""
    first: dict[str, Any] = {}
    if options.first_head != "random":
        _need_head(spec, tensors, "head/kernel", "--initial-head random")
        first["head/kernel"] = np.zeros(tensors["head/kernel"].shape, np.float32)
    if options.initial_bias == "prevalence":
        _need_head(spec, tensors, "head/bias", "--initial-bias zero")
        first["head/bias"] = prevalence_bias(labels, spec.activation)
    return first


def head_for_loss(head: Tensors, loss: str, weights: Floats) -> dict[str, Any]:
    """The head of a linear probe, which minimises the plain log loss, as the start for another loss.

    With class weights [2,C], the loss "weighted-bce" has its minimum where the logit is higher by log(w_p / w_n), so
    the bias is moved by that much: training would otherwise begin with a jump of all biases.
    """
    if loss != "weighted-bce":
        return dict(head)
    return {**head, "head/bias": np.asarray(head["head/bias"] + np.log(weights[0] / weights[1]), np.float32)}


def _need_head(spec: ModelSpec, tensors: Tensors, name: str, instead: str) -> None:
    if name not in tensors:
        raise InputError(f"the network {spec.architecture!r} has no tensor {name} to initialize: use {instead}")


def prevalence_bias(labels: Floats, activation: Activation) -> Floats:
    """float32 [C]: the bias with which an untrained head predicts the prevalence p of each finding among its known
    labels [N,C]: log(p / (1 - p)), or log p with softmax. (Lin et al., Focal Loss, ICCV 2017, section 3.3, for one
    p.) A prevalence of 0 or 1 is corrected by half a film; without labels it is 1/2.
    """
    share = prevalence(labels)
    bias = np.log(share) if activation == "softmax" else np.log(share / (1 - share))
    return np.asarray(bias, np.float32)
