"""Every backend trains by the same steps as the others. What one backend must do by itself is in the kit."""

import json
from dataclasses import replace

import numpy as np
import pytest

from cxrscore.contract import Batch, GraphBuilder, Loss, ModelSpec, Network
from cxrscore.networks.graph import FILM
from cxrscore.networks.tensors import initial_tensors, tail_names, tail_shape, trainable_names
from cxrscore.plugin_values import Origin, checked_backend
from cxrscore.testing.fixtures import WEIGHTED_BCE, WEIGHTS, at_rate, random_tensors, some_batch, spec_of

pytestmark = pytest.mark.usefixtures("trains")

TINY = spec_of("tinycnn", trainable="all")


def weighted_bce(logit, labels, weights):
    """By hand: sum over findings, mean over films; unknown labels count nothing."""
    p = 1 / (1 + np.exp(-logit))
    terms = -np.where(labels == 1, weights[0] * np.log(p), weights[1] * np.log(1 - p))
    return np.where(np.isnan(labels), 0, terms).sum() / len(labels)


def weighted_bce_gradient(logit, labels, weights):
    """d weighted_bce / d logit: w_n p for a negative, w_p (p - 1) for a positive, over the films."""
    p = 1 / (1 + np.exp(-logit))
    slope = np.where(labels == 1, weights[0] * (p - 1), weights[1] * p)
    return np.where(np.isnan(labels), 0, slope) / len(labels)


def adam(value, gradient, m, v, step, rate):
    """One step of Kingma and Ba, Adam, ICLR 2015, in the efficient order of the end of section 2."""
    m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
    paced = rate * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
    return value - paced * m / (np.sqrt(v) + 1e-7), m, v


def changed(before, after):
    return {name for name in before if not np.array_equal(before[name], after[name])}


def largest_difference(found, wanted):
    return max(np.abs(found[name] - wanted[name]).max() for name in wanted)


def test_the_head_makes_the_steps_of_adam(backend):
    """Four steps on embeddings, against loss, gradient and optimiser by hand in float64.

    The embeddings are small, so that epsilon counts: where it is added is part of what must be equal.
    """
    head = backend.build(TINY, None, device="cpu").head
    rng = np.random.default_rng(0)
    labels = some_batch(TINY, 5).labels
    embeddings = (rng.random((5, 64)) * np.logspace(-8, 0, 64)).astype(np.float32)
    value = {name: tensor.astype(np.float64) for name, tensor in head.tensors().items()}
    m, v = ({name: np.zeros_like(tensor) for name, tensor in value.items()} for _ in range(2))
    for step in range(1, 5):
        logits = embeddings @ value["head/kernel"] + value["head/bias"]
        slope = weighted_bce_gradient(logits, labels, WEIGHTS)
        wanted_loss = weighted_bce(logits, labels, WEIGHTS)
        gradients = {"head/kernel": embeddings.T @ slope, "head/bias": slope.sum(axis=0)}
        for name, g in gradients.items():
            value[name], m[name], v[name] = adam(value[name], g, m[name], v[name], step, 0.01)
        found_loss = head.fit_epoch([Batch(inputs=embeddings, labels=labels)], WEIGHTED_BCE, at_rate(0.01))
        assert found_loss == pytest.approx(wanted_loss, rel=1e-5)
    assert largest_difference(head.tensors(), value) <= 1e-5
    assert head.state()["adam/step"] == 4
    assert largest_difference(head.state(), {f"adam/m/{name}": m[name] for name in m}) <= 1e-6


def test_five_steps_equal_those_of_the_other_backend(backend, other, peer):
    """All of the small network; then the other's tensors and optimiser are taken over and both go on alike."""
    tensors, batch = initial_tensors(TINY, 0), some_batch(TINY, 4)
    job = {f"tensor:{name}": value for name, value in tensors.items()}
    job |= {"spec": json.dumps(TINY.as_dict()), "films": batch.inputs, "labels": batch.labels, "weights": WEIGHTS}
    theirs = peer(other, it=job)["it"]
    learned = {name.removeprefix("tensor:"): value for name, value in theirs.items() if name.startswith("tensor:")}
    state = {name: learned.pop(name) for name in list(learned) if name.startswith("adam/")}

    model = backend.build(TINY, tensors, device="cpu")
    np.testing.assert_allclose(model.predict(batch.inputs), theirs["logits"], atol=1e-5)
    ours = [model.fit_epoch([batch], WEIGHTED_BCE, at_rate(1e-3)) for _ in range(5)]
    np.testing.assert_allclose(ours, theirs["losses"], rtol=1e-4)
    assert largest_difference(model.tensors(), learned) <= 1e-4
    assert largest_difference(model.state(), state) <= 1e-4

    taken_over = backend.build(TINY, learned, device="cpu")
    taken_over.restore(state)
    for each in (model, taken_over):
        each.fit_epoch([batch], WEIGHTED_BCE, at_rate(1e-3))
    assert largest_difference(taken_over.tensors(), model.tensors()) <= 1e-4


@pytest.mark.slow
def test_a_network_with_batch_normalisation_learns_all_but_its_statistics(backend):
    spec = spec_of("resnet50", size=32, trainable="last-block")
    tensors, batch = random_tensors(spec), some_batch(spec, 2)
    model = backend.build(spec, tensors, device="cpu")
    wanted = weighted_bce(model.predict(batch.inputs).astype(np.float64), batch.labels, WEIGHTS)
    assert model.fit_epoch([batch], WEIGHTED_BCE, at_rate(1e-4)) == pytest.approx(wanted, rel=1e-4)
    assert changed(tensors, model.tensors()) == trainable_names(spec)
    assert any(name.endswith("gamma") for name in trainable_names(spec))


BY_BATCH = {"learning_rate": 0.0, "clip_norm": 1.0, "batch_norm": "batch"}
"""At a rate of 0: the first step of Adam goes by the sign of gradients, and would make more of rounding than of all
else."""


@pytest.mark.slow
def test_steps_by_the_statistics_of_the_batch_equal_those_of_the_other_backend(backend, other, peer):
    """The last block of a network with batch normalisation, as the model and as the tail of a model: the losses, and
    the statistics after five steps."""
    spec = spec_of("densenet121", trainable="last-block")
    tensors, batch = random_tensors(spec), some_batch(spec, 4)
    job = {f"tensor:{name}": value for name, value in tensors.items()}
    job |= {"spec": json.dumps(spec.as_dict()), "films": batch.inputs, "labels": batch.labels, "weights": WEIGHTS}
    theirs = peer(other, it={**job, "settings": json.dumps(BY_BATCH)})["it"]

    model = backend.build(replace(spec, trainable="head"), tensors, device="cpu")
    entered = replace(batch, inputs=model.stem(batch.inputs))
    ours = [model.tail.fit_epoch([entered], WEIGHTED_BCE, at_rate(**BY_BATCH)) for _ in range(5)]
    np.testing.assert_allclose(ours, theirs["losses"], rtol=1e-4)
    learned = model.tensors()
    assert largest_difference(learned, {name: theirs[f"tensor:{name}"] for name in tensors}) <= 1e-5
    assert changed(tensors, learned) == tail_names(spec) - trainable_names(spec)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["densenet121", "resnet50"])
def test_a_deep_network_is_its_stem_and_its_tail(backend, architecture):
    spec = spec_of(architecture)
    model, films = backend.build(spec, random_tensors(spec), device="cpu"), some_batch(spec, 2).inputs
    entered = model.stem(films)
    assert entered.shape == (2, *tail_shape(spec))
    assert entered.min() < 0 if architecture == "densenet121" else entered.min() >= 0
    np.testing.assert_allclose(model.tail.predict(entered), model.predict(films), atol=1e-5)


@pytest.mark.parametrize("head", ["gap", "flatten", "cls"])
@pytest.mark.parametrize(
    "stages", [("conv",), ("conv", "relu"), ("conv", "tokens"), ("conv", "norm")], ids=lambda stages: stages[-1]
)
def test_the_last_block_may_begin_anywhere(backend, stages, head):
    """Also with the film, with the last ReLU, after the output of the network, and with tokens: as the core sees it."""
    graph = GraphBuilder()
    x = graph.add("conv", "conv2d", FILM, filters=4, size=8, stride=8)
    output = "relu" if stages[-1] != "norm" else "map"
    x = graph.add("tokens", "embed_tokens", graph.add("relu", "relu", x), grid=4)
    x = graph.add("norm", "layer_norm", x)
    graph.add("first", "class_token", x)
    if output == "map":
        graph.add("map", "patch_map", x)
    network = Network(name="odd", nodes=graph.nodes, output=output, stages=stages, class_token="first", size=32)
    spec = ModelSpec(architecture="odd", findings=("Mass", "Edema", "Hernia"), size=32, head=head, network=network)
    core = checked_backend(backend, Origin(kind="backend", name=backend.name, distribution="cxrscore"))
    films = some_batch(spec, 3).inputs
    losses = []
    for trainable in ("head", "last-block"):
        model = core.build(replace(spec, trainable=trainable), random_tensors(spec), device="cpu")
        learner, given = (model.tail, model.stem(films)) if trainable == "head" else (model, films)
        assert given.shape == (3, *tail_shape(spec)) if trainable == "head" else given is films
        np.testing.assert_allclose(learner.predict(given), model.predict(films), atol=1e-5)
        batch = replace(some_batch(spec, 3), inputs=given)
        losses.append([learner.fit_epoch([batch], WEIGHTED_BCE, at_rate(1e-2)) for _ in range(3)])
    np.testing.assert_allclose(*losses, rtol=1e-4)


def test_a_loss_may_read_the_number_of_films(backend):
    """Batches of two sizes: a framework that traces must not hand the loss an unknown number of films."""
    seen = []

    def per_film(xp, logits, labels, weights):
        seen.append(logits.shape[0])
        return xp.sum(logits * logits) / logits.shape[0]

    model = backend.build(TINY, None, device="cpu")
    model.fit_epoch([some_batch(TINY, 4), some_batch(TINY, 2)], Loss(name="square", function=per_film), at_rate(1e-3))
    assert set(seen) == {4, 2}


@pytest.mark.parametrize("part", ["all", "tail", "head"])
def test_a_model_in_bf16_learns_in_tensors_of_float32(backend, part):
    """A batch is learned by heart about as well as in float32, by steps that bfloat16 weights could not take: there
    1e-4 is nothing beside a weight of 0.1."""
    losses, tensors = {}, {}
    for precision in ("fp32", "bf16"):
        model = backend.build(TINY, None, device="cpu", precision=precision)
        learner, batch = model, some_batch(TINY, 4)
        if part != "all":
            learner, frozen = {"tail": (model.tail, model.stem), "head": (model.head, model.embed)}[part]
            batch = replace(batch, inputs=frozen(batch.inputs))
        losses[precision] = [learner.fit_epoch([batch], WEIGHTED_BCE, at_rate(1e-4)) for _ in range(20)]
        tensors[precision] = learner.tensors()
    assert losses["bf16"][-1] < losses["bf16"][0]
    np.testing.assert_allclose(losses["bf16"], losses["fp32"], rtol=0.02)
    assert {tensor.dtype for tensor in tensors["bf16"].values()} == {np.dtype(np.float32)}
    assert changed(tensors["fp32"], tensors["bf16"])
