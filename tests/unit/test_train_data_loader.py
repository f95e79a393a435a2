"""What training is fed with: order, views, rates, and outputs of frozen layers that are worked out once."""

from dataclasses import replace

import numpy as np
import pytest
from training import SIDE, some_data, some_model

from cxrscore.errors import InputError
from cxrscore.images import augment
from cxrscore.progress import no_progress
from cxrscore.training import TrainOptions
from cxrscore.training.data_loader import TrainingData
from cxrscore.training.features import augmentation_from_options, split_trainable
from cxrscore.training.features import cache as kept_module


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CXRSCORE_CACHE", str(tmp_path))
    return tmp_path


def feed(trainable="all", model=None, data=None, progress=no_progress, **options):
    options = {"batch_size": 3, "size": SIDE, "epochs": 4, "trainable": trainable, "standardize": False, **options}
    model = model or some_model(trainable)
    return TrainingData(model, data or some_data(), TrainOptions(backend="none", **options), progress)


def rows_of(batches, data):
    """Which films a feed of whole films gave, by their pixels."""
    films = data.store.batch(range(len(data.paths)))
    return [int(np.flatnonzero((films == film).all(axis=(1, 2)))[0]) for b in batches for film in b.inputs]


def test_every_training_film_comes_once_with_its_labels_in_another_order_each_epoch():
    data = some_data()
    given = feed(data=data)
    first, second = list(given.batches(0)), list(given.batches(1))
    assert [len(batch.inputs) for batch in first] == [3, 3, 1]
    assert sorted(rows_of(first, data)) == list(range(7))
    assert rows_of(first, data) != rows_of(second, data)
    labels = np.concatenate([batch.labels for batch in first])
    np.testing.assert_array_equal(labels, data.labels[rows_of(first, data)])
    assert rows_of(list(given.batches(0)), data) == rows_of(first, data)


def test_the_last_batch_can_be_dropped():
    data = some_data(train=7, valid=5)
    given = feed(data=data, drop_last=True)
    assert [len(batch.inputs) for batch in given.batches(0)] == [3, 3]
    assert given.valid.tolist() == [7, 8, 9]
    assert given.train.tolist() == list(range(7))  # an epoch leaves out another one each time
    with pytest.raises(InputError, match="2 films fill no batch of 3"):
        feed(data=some_data(valid=2), drop_last=True)


def test_rates_go_with_the_steps_of_all_epochs():
    given = feed(schedule="cosine", warmup=1.0)
    rates = [batch.rate for epoch in range(4) for batch in given.batches(epoch)]
    assert rates[:3] == pytest.approx([1 / 3, 2 / 3, 1])
    assert rates[3] == 1
    assert rates[-1] == pytest.approx((1 + np.cos(np.pi * 8 / 9)) / 2)
    assert given.rate(0) == pytest.approx(1e-5)
    assert given.rate(3) == pytest.approx(1e-5 * rates[-1])


def test_balanced_samples_come_from_the_labels():
    data = some_data(train=8)
    data.labels[:] = 0
    data.labels[0] = 1  # one film of eight: seven times as rare, so it weighs sqrt(7), 2.2 draws of 8
    drawn = [rows_of(feed(data=data, sampling="balanced").batches(epoch), data) for epoch in range(4)]
    assert all(epoch.count(0) in (2, 3) and len(epoch) == 8 for epoch in drawn)


def test_films_of_weight_0_are_not_drawn():
    data = some_data()
    weights = np.array([2, 0, 2, 0, 2, 0, 1, 1, 1, 1.0])  # seven training films, three for validation
    given = feed(data=replace(data, sample_weights=weights))
    rows = rows_of([batch for epoch in range(20) for batch in given.batches(epoch)], data)
    count = np.bincount(rows, minlength=7) / 20
    # By hand: weights of sum 7 for seven draws.
    assert count.tolist() == pytest.approx([2, 0, 2, 0, 2, 0, 1])
    assert given.valid.tolist() == [7, 8, 9]


def test_views_are_cycled_and_differ_from_the_film_as_the_limits_say():
    data = some_data()
    given = feed(data=data, augmentations=2, rotation=0.0, zoom=0.0, shift=0.2)
    epochs = [np.concatenate([b.inputs for b in given.batches(epoch)]) for epoch in range(3)]
    sums = [sorted(films.sum(axis=(1, 2)).tolist()) for films in epochs]
    assert sums[0] == sums[2] != sums[1]
    options = TrainOptions(rotation=0.0, zoom=0.0, shift=0.2)
    assert augmentation_from_options(options).as_dict() == {**vars(augmentation_from_options(options))}
    seed = int(np.random.SeedSequence((0, 5, 1)).generate_state(1)[0])
    wanted = augment(data.store.unit(5), augmentation_from_options(options), seed)
    assert any((film == wanted).all() for film in epochs[1])
    still = feed(data=data, augmentations=1, rotation=0.0, zoom=0.0, shift=0.0)
    assert sorted(rows_of(still.batches(0), data)) == list(range(7))
    with pytest.raises(InputError, match="zoom is 1"):
        feed(zoom=1.0)


@pytest.mark.parametrize(("trainable", "shape"), [("head", (4,)), ("last-block", (2, 2, 1))])
def test_frozen_layers_run_once_for_each_film(trainable, shape, cache):
    model = some_model(trainable)
    given = feed(trainable, model)
    assert given.learner is {"head": model.head, "last-block": model.tail}[trainable]
    assert given.is_cached(0)
    batches = [batch for epoch in range(3) for batch in given.batches(epoch)]
    given.logits(given.valid, None)
    assert {batch.inputs.shape[1:] for batch in batches} == {shape}
    assert {batch.inputs.dtype for batch in batches} == {np.dtype(np.float32)}
    assert model.run == 16  # ten films in batches of eight, the last one padded
    again = some_model(trainable)
    list(feed(trainable, again).batches(0))
    assert again.run == 0  # from the disk
    assert len(list((cache / "outputs").iterdir())) == 1


def test_outputs_are_those_of_the_films_to_the_bit():
    data, model = some_data(), some_model("last-block")
    given = feed("last-block", model, data)
    for batch in given.batches(0):
        for inputs in batch.inputs:
            assert any((model.stem(data.store.batch([row]))[0] == inputs).all() for row in range(7))


def test_outputs_of_another_base_view_seed_or_limit_are_others(cache):
    for options in ({}, {"augmentations": 1}, {"augmentations": 1, "seed": 1}, {"augmentations": 1, "rotation": 1.0}):
        list(feed("head", **options).batches(0))
    other = some_model()
    other.tensors = lambda: {"base/kernel": np.zeros(3, np.float32), **other.head.tensors()}
    list(feed("head", other).batches(0))
    assert len(list((cache / "outputs").iterdir())) == 5
    list(feed("last-block").batches(0))
    assert len(list((cache / "outputs").iterdir())) == 6


def test_a_view_is_made_when_its_epoch_comes():
    model = some_model()
    given = feed("head", model, augmentations=3)
    runs = []
    for epoch in range(4):
        list(given.batches(epoch))
        runs.append(model.run)
    assert runs == [8, 16, 24, 24]


def test_without_room_the_frozen_layers_run_in_every_epoch(monkeypatch):
    with_room = np.concatenate([batch.inputs for batch in feed("last-block").batches(0)])
    monkeypatch.setattr(kept_module, "MAX_DISK_BYTES", 0)
    monkeypatch.setattr(kept_module, "MAX_MEMORY_BYTES", 0)
    model = some_model("last-block")
    given = feed("last-block", model, data=some_data(), seed=0)
    monkeypatch.setenv("CXRSCORE_CACHE", "/dev/null/none")
    assert not given.is_cached(0)
    before = model.run
    without = np.concatenate([batch.inputs for batch in given.batches(0)])
    assert model.run > before
    np.testing.assert_array_equal(without, with_room)


def test_what_a_backend_cannot_divide_is_trained_whole_and_what_cannot_learn_is_refused():
    whole = some_model("last-block")
    options = TrainOptions(trainable="last-block", backend="plain")
    assert split_trainable(whole, options)[0] is whole.tail
    assert split_trainable(whole.head, options) == (whole.head, None)
    with pytest.raises(InputError, match="'plain' cannot train"):
        split_trainable(object(), options)


def test_a_head_learns_from_standardised_embeddings_and_its_tensors_are_for_the_others():
    data, model = some_data(train=9, valid=3), some_model("head")
    given = feed("head", model=model, data=data, standardize=True)
    raw = feed("head", model=model, data=data)
    learned, bare = (np.concatenate([b.inputs for b in f.batches(0)]) for f in (given, raw))
    np.testing.assert_allclose(learned.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(learned.std(axis=0), 1, atol=1e-4)
    kernel = np.random.default_rng(0).normal(size=(bare.shape[1], 2)).astype(np.float32)
    given.learner.tensors = lambda: {"head/kernel": kernel, "head/bias": np.ones(2, np.float32)}
    folded = given.tensors()
    wanted = learned @ kernel + 1
    np.testing.assert_allclose(bare @ folded["head/kernel"] + folded["head/bias"], wanted, atol=1e-3)
    assert feed("last-block", data=data, standardize=True).tensors().keys() == {"head/bias"}


def test_logits_are_in_the_order_of_the_films_whatever_the_batches():
    data = some_data(train=19, valid=3)
    for trainable in ("all", "head", "last-block"):
        given = feed(trainable, data=data)
        found = given.logits(given.train, None)
        wanted = data.store.batch(range(19)).mean(axis=(1, 2))
        assert found[:, 0] == pytest.approx(wanted, abs=1e-6)
        assert found.shape == (19, 2)
