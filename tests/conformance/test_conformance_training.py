"""Every backend trains what the contract says, by the same steps as the others."""

import json
from dataclasses import replace

import numpy as np
import numpy_tinycnn
import pytest

from cxrscore.contract import Batch, Loss, ModelSpec
from cxrscore.errors import InputError
from cxrscore.losses import losses
from cxrscore.models.architectures import initial_tensors, trainable_names

TINY = ModelSpec(architecture="tinycnn", findings=("Mass", "Nodule", "Edema"), size=36, trainable="all")
WEIGHTS = np.array([[0.9, 0.7, 0.5], [0.1, 0.3, 0.5]], np.float32)
WEIGHTED = next(loss for loss in losses if loss.name == "weighted-bce").weighted(WEIGHTS)


def some_batch(count, size=TINY.size, seed=0):
    """Films, and labels of which about one in four is unknown."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(np.array([0, 1, 1, np.nan], np.float32), (count, 3))
    return Batch(inputs=rng.random((count, size, size), np.float32), labels=labels)


def some_batches():
    """The last one smaller, as at the end of an epoch."""
    return [some_batch(4, seed=1), some_batch(4, seed=2), some_batch(2, seed=3)]


def changed(before, after):
    return {name for name in before if not np.array_equal(before[name], after[name])}


def largest_difference(found, wanted):
    return max(np.abs(found[name] - wanted[name]).max() for name in wanted)


def new_model(backend, spec=TINY, seed=0):
    return backend.build(spec, None, device="cpu", seed=seed)


# --- the numbers


def test_the_loss_is_the_mean_over_films_before_each_step(backend):
    model = new_model(backend)
    tensors = model.tensors()
    batches = some_batches()
    found = model.fit_epoch(batches, WEIGHTED, 0.0)
    losses_by_hand = [
        numpy_tinycnn.weighted_bce(numpy_tinycnn.logits(tensors, batch.inputs), batch.labels, WEIGHTS)
        for batch in batches
    ]
    assert isinstance(found, float)
    assert found == pytest.approx(np.average(losses_by_hand, weights=[4, 4, 2]), rel=1e-5)
    assert not changed(tensors, model.tensors())


@pytest.mark.parametrize("head", ["gap", "flatten"])
def test_gradients_equal_finite_differences(backend, head):
    """After one step Adam's first moment is a tenth of the gradient; the reference is float64 NumPy."""
    spec = replace(TINY, head=head)
    model = new_model(backend, spec)
    tensors = {name: value.astype(np.float64) for name, value in model.tensors().items()}
    batch = some_batch(3)
    model.fit_epoch([batch], WEIGHTED, 1e-3)
    state = model.state()

    def loss_of(tensors):
        logits = numpy_tinycnn.logits(tensors, batch.inputs, head=head)
        return numpy_tinycnn.weighted_bce(logits, batch.labels, WEIGHTS)

    rng = np.random.default_rng(0)
    for name in sorted(trainable_names(spec)):
        place = tuple(rng.integers(side) for side in tensors[name].shape)
        sides = []
        for move in (1e-6, -1e-6):
            moved = {**tensors, name: tensors[name].copy()}
            moved[name][place] += move
            sides.append(loss_of(moved))
        slope = (sides[0] - sides[1]) / 2e-6
        assert state[f"adam/m/{name}"][place] / 0.1 == pytest.approx(slope, rel=1e-3, abs=1e-6), name


def test_the_head_makes_the_steps_of_adam(backend):
    """Four steps on embeddings, against gradient and optimiser by hand in float64.

    The embeddings are small, so that epsilon counts: where it is added is part of what must be equal.
    """
    model = new_model(backend)
    head = model.head
    rng = np.random.default_rng(0)
    labels = some_batch(5).labels
    embeddings = (rng.random((5, 64)) * np.logspace(-8, 0, 64)).astype(np.float32)
    value = {name: tensor.astype(np.float64) for name, tensor in head.tensors().items()}
    m, v = ({name: np.zeros_like(tensor) for name, tensor in value.items()} for _ in range(2))
    for step in range(1, 5):
        logits = embeddings @ value["head/kernel"] + value["head/bias"]
        slope = numpy_tinycnn.weighted_bce_gradient(logits, labels, WEIGHTS)
        wanted_loss = numpy_tinycnn.weighted_bce(logits, labels, WEIGHTS)
        gradients = {"head/kernel": embeddings.T @ slope, "head/bias": slope.sum(axis=0)}
        for name, g in gradients.items():
            value[name], m[name], v[name] = numpy_tinycnn.adam(value[name], g, m[name], v[name], step, 0.01)
        found_loss = head.fit_epoch([Batch(inputs=embeddings, labels=labels)], WEIGHTED, 0.01)
        assert found_loss == pytest.approx(wanted_loss, rel=1e-5)
    assert largest_difference(head.tensors(), value) <= 1e-5
    assert head.state()["adam/step"] == 4
    assert largest_difference(head.state(), {f"adam/m/{name}": m[name] for name in m}) <= 1e-6


def test_five_steps_equal_those_of_the_other_backend(backend, other, peer):
    """All of the small network; then the other's tensors and optimiser are taken over and both go on alike."""
    tensors, batch = initial_tensors(TINY, 0), some_batch(4)
    job = {f"tensor:{name}": value for name, value in tensors.items()}
    job |= {"spec": json.dumps(TINY.as_dict()), "films": batch.inputs, "labels": batch.labels, "weights": WEIGHTS}
    theirs = peer(other, it=job)["it"]
    learned = {name.removeprefix("tensor:"): value for name, value in theirs.items() if name.startswith("tensor:")}
    state = {name: learned.pop(name) for name in list(learned) if name.startswith("adam/")}

    model = backend.build(TINY, tensors, device="cpu")
    np.testing.assert_allclose(model.predict(batch.inputs), theirs["logits"], atol=1e-5)
    ours = [model.fit_epoch([batch], WEIGHTED, 1e-3) for _ in range(5)]
    np.testing.assert_allclose(ours, theirs["losses"], rtol=1e-4)
    assert largest_difference(model.tensors(), learned) <= 1e-4
    assert largest_difference(model.state(), state) <= 1e-4

    taken_over = backend.build(TINY, learned, device="cpu")
    taken_over.restore(state)
    for each in (model, taken_over):
        each.fit_epoch([batch], WEIGHTED, 1e-3)
    assert largest_difference(taken_over.tensors(), model.tensors()) <= 1e-4


def test_a_loss_falls_when_there_is_something_to_learn(backend):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.array([[0.0], [1.0]], np.float32), 3, axis=1).repeat(4, axis=0)
    films = (0.3 * rng.random((8, TINY.size, TINY.size)) + 0.5 * labels[:, :1, None]).astype(np.float32)
    model = new_model(backend)
    history = [model.fit_epoch([Batch(inputs=films, labels=labels)], WEIGHTED, 3e-3) for _ in range(30)]
    assert history[-1] < 0.2 * history[0]


# --- what is changed and what is not


@pytest.mark.parametrize("part", ["head", "last-block", "all"])
def test_only_what_is_trainable_changes(backend, part):
    spec = replace(TINY, trainable=part)
    model = new_model(backend, spec)
    before = model.tensors()
    model.fit_epoch([some_batch(4)], WEIGHTED, 1e-3)
    assert changed(before, model.tensors()) == trainable_names(spec)


@pytest.mark.slow
def test_batch_normalisation_keeps_its_statistics_but_learns(backend):
    """And the loss in training is that of the logits that predict gives: the statistics used are the stored ones."""
    spec = replace(TINY, architecture="resnet50", size=32, trainable="last-block")
    tensors = initial_tensors(spec, 0)
    tensors["head/kernel"] /= 1000  # the sums of random blocks grow large
    model = backend.build(spec, tensors, device="cpu")
    batch = some_batch(2, size=32)
    wanted = numpy_tinycnn.weighted_bce(model.predict(batch.inputs).astype(np.float64), batch.labels, WEIGHTS)
    found = model.fit_epoch([batch], WEIGHTED, 1e-4)
    assert found == pytest.approx(wanted, rel=1e-4)
    after = model.tensors()
    assert changed(tensors, after) == trainable_names(spec)
    assert any(name.endswith("gamma") for name in trainable_names(spec))


def test_unknown_labels_teach_nothing(backend):
    model = new_model(backend)
    before = model.tensors()
    unknown = replace(some_batch(3), labels=np.full((3, 3), np.nan, np.float32))
    assert model.fit_epoch([unknown], WEIGHTED, 1e-2) == 0.0
    assert not changed(before, model.tensors())


def test_batches_are_left_as_they_are(backend):
    model = new_model(backend)
    batch = some_batch(3)
    films, labels = batch.inputs.copy(), batch.labels.copy()
    batch.inputs.flags.writeable = batch.labels.flags.writeable = False
    model.fit_epoch([batch], WEIGHTED, 1e-2)
    assert np.array_equal(batch.inputs, films)
    assert np.array_equal(batch.labels, labels, equal_nan=True)


def test_given_tensors_are_not_trained_in_place(backend):
    tensors = initial_tensors(TINY, 0)
    kept = {name: value.copy() for name, value in tensors.items()}
    model = backend.build(TINY, tensors, device="cpu")
    taken = model.tensors()
    model.fit_epoch([some_batch(3)], WEIGHTED, 1e-2)
    assert not changed(kept, tensors)
    assert not changed(kept, taken)


def test_head_and_model_share_their_tensors(backend):
    model = new_model(backend)
    films = some_batch(3).inputs
    before = model.predict(films)
    head_batch = Batch(inputs=model.embed(films), labels=some_batch(3).labels)
    model.head.fit_epoch([head_batch], WEIGHTED, 1e-2)
    assert np.abs(model.predict(films) - before).max() > 1e-4
    assert np.array_equal(model.tensors()["head/kernel"], model.head.tensors()["head/kernel"])
    np.testing.assert_allclose(model.head.predict(model.embed(films)), model.predict(films), atol=1e-6)


# --- losses


def test_a_loss_without_weights_is_given_ones(backend):
    model = new_model(backend)
    bare = replace(WEIGHTED, weights=None)
    batch = some_batch(3)
    wanted = numpy_tinycnn.weighted_bce(model.predict(batch.inputs).astype(np.float64), batch.labels, np.ones((2, 3)))
    assert model.fit_epoch([batch], bare, 0.0) == pytest.approx(wanted, rel=1e-5)


def test_another_loss_takes_over_and_the_optimiser_goes_on(backend):
    """Losses of equal name but other weights are other losses."""
    model = new_model(backend)
    batch = some_batch(3)
    model.fit_epoch([batch], WEIGHTED, 1e-3)
    doubled = WEIGHTED.weighted(2 * WEIGHTS)
    logits = model.predict(batch.inputs).astype(np.float64)
    wanted = numpy_tinycnn.weighted_bce(logits, batch.labels, 2 * WEIGHTS)
    assert model.fit_epoch([batch], doubled, 1e-3) == pytest.approx(wanted, rel=1e-5)
    assert model.state()["adam/step"] == 2


def test_a_loss_may_read_the_number_of_films(backend):
    """Batches of two sizes: a framework that traces must not hand the loss an unknown number of films."""
    seen = []

    def per_film(xp, logits, labels, weights):
        seen.append(logits.shape[0])
        return xp.sum(logits * logits) / logits.shape[0]

    loss = Loss(name="square", function=per_film)
    new_model(backend).fit_epoch(some_batches(), loss, 1e-3)
    assert set(seen) == {4, 2}


# --- the optimiser's state


def test_state_and_tensors_are_all_that_is_needed_to_go_on(backend):
    straight = new_model(backend)
    straight.fit_epoch(some_batches(), WEIGHTED, 1e-3)
    resumed = backend.build(TINY, straight.tensors(), device="cpu")
    state = straight.state()
    resumed.restore(state)
    for model in (straight, resumed):
        model.fit_epoch(some_batches(), WEIGHTED, 2e-3)
    assert largest_difference(resumed.tensors(), straight.tensors()) <= 1e-6
    assert largest_difference(resumed.state(), straight.state()) <= 1e-6
    assert state["adam/step"] == 3
    assert straight.state()["adam/step"] == 6


def test_the_state_has_neutral_names_and_shapes_from_the_start(backend):
    spec = replace(TINY, trainable="last-block")
    model = new_model(backend, spec)
    state, tensors = model.state(), model.tensors()
    assert set(state) == {"adam/step"} | {f"adam/{moment}/{name}" for moment in "mv" for name in trainable_names(spec)}
    for name, value in state.items():
        assert value.shape == (() if name == "adam/step" else tensors[name[len("adam/m/") :]].shape)
        assert not value.any()


def test_a_state_that_does_not_fit_is_refused(backend):
    model = new_model(backend)
    state = model.state()
    misshapen = {**state, "adam/m/head/bias": np.zeros(4, np.float32)}
    lacking = {name: value for name, value in state.items() if name != "adam/step"}
    for wrong in (misshapen, lacking, {**state, "adam/m/conv9/bias": np.zeros(4, np.float32)}):
        with pytest.raises(InputError, match="optimiser state"):
            model.restore(wrong)


# --- wrong use


def test_an_epoch_without_films_is_refused(backend):
    with pytest.raises(InputError, match="no batch"):
        new_model(backend).fit_epoch([], WEIGHTED, 1e-3)


def test_labels_of_another_shape_are_refused(backend):
    batch = replace(some_batch(3), labels=np.zeros((3, 1), np.float32))
    with pytest.raises(InputError, match="wanted"):
        new_model(backend).fit_epoch([batch], WEIGHTED, 1e-3)
