"""What a finished model gives the films for validation and test: by its learning part alone, and the same as whole."""

import numpy as np
import pytest
from training import SIDE, Model, some_data, some_model

from cxrscore.errors import CheckError
from cxrscore.progress import no_progress
from cxrscore.training import TrainOptions
from cxrscore.training.data_loader import TrainingData
from cxrscore.training.features import FeatureSource
from cxrscore.training.features import cache as kept_module
from cxrscore.training.final_evaluation import final_logits

DATA = some_data(train=9, valid=3, test=5)
ROWS = [*DATA.split.valid, *DATA.split.test]
WHOLE = some_model().predict(DATA.store.batch(ROWS))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CXRSCORE_CACHE", str(tmp_path))
    return tmp_path


def trained(trainable="head", model=None, **options):
    """The outputs of a run that had one epoch."""
    options = {"batch_size": 3, "size": SIDE, "epochs": 4, "trainable": trainable, "standardize": False, **options}
    feed = TrainingData(model or some_model(trainable), DATA, TrainOptions(backend="none", **options), no_progress)
    list(feed.batches(0))
    feed.logits(feed.valid, None)
    return feed.outputs


def final(outputs, model):
    return final_logits(model, outputs.for_model(model), DATA, ROWS)


@pytest.mark.parametrize("trainable", ["head", "last-block"])
@pytest.mark.parametrize("augmentations", [0, 2])
def test_films_that_went_through_the_frozen_layers_in_training_do_not_do_so_again(trainable, augmentations):
    first, last = some_model(trainable), some_model(trainable)
    found = final(trained(trainable, first, augmentations=augmentations), last)
    np.testing.assert_allclose(found, WHOLE, rtol=1e-6)
    assert first.run == (
        16 + 8 if augmentations else 24
    )  # 17 films, or a view of 9 and the other 8, in batches of eight
    assert last.run == 0
    assert [len(shape) for shape in last.scored] == [3]  # the whole model saw films once: those of the check


def test_neither_do_they_where_only_memory_has_room(monkeypatch):
    monkeypatch.setattr(kept_module, "MAX_DISK_BYTES", 0)
    last = some_model()
    np.testing.assert_allclose(final(trained(), last), WHOLE, rtol=1e-6)
    assert last.run == 0


def test_without_any_room_the_films_run_again(monkeypatch):
    monkeypatch.setattr(kept_module, "MAX_DISK_BYTES", 0)
    monkeypatch.setattr(kept_module, "MAX_MEMORY_BYTES", 0)
    last = some_model()
    np.testing.assert_allclose(final(trained(), last), WHOLE, rtol=1e-6)
    assert last.run > 0


class Rounded(Model):
    """Computes in a coarser type, as a model for training in bf16 does."""

    def stem(self, films):
        return np.round(super().stem(films), 1).astype(np.float32)


def test_what_was_embedded_in_another_precision_is_not_taken_for_a_model_in_float32():
    coarse, last = Rounded(some_model().spec), some_model()
    found = final(trained("head", coarse, precision="bf16"), last)
    np.testing.assert_allclose(found, WHOLE, rtol=1e-6)
    assert last.run == 24


def test_what_other_frozen_layers_made_is_not_taken():
    other = some_model()
    other.tensors = lambda: {"base/kernel": np.zeros(3, np.float32), **other.head.tensors()}
    last = some_model()
    final(trained("head", other), last)
    assert last.run == 24


def test_kept_outputs_that_are_not_what_the_frozen_layers_make_are_told(cache):
    coarse = Rounded(some_model().spec)  # a defect: the same name and layers, other numbers
    with pytest.raises(CheckError, match=rf"differ by 0\.0\d+ .* at most 0\.0001: .* in {cache}/outputs .*Remove"):
        final(trained("head", coarse), some_model())


def test_a_logit_that_is_no_number_is_told_too():
    model = some_model()
    model.head.predict = lambda inputs: np.full((len(inputs), 2), np.nan, np.float32)
    with pytest.raises(CheckError, match="differ by nan"):
        final(trained(), model)


def test_a_model_without_frozen_layers_scores_whole():
    last = some_model("all")
    np.testing.assert_allclose(final(trained("all"), last), WHOLE, rtol=1e-6)
    assert len(last.scored) == 1


def test_a_run_may_have_no_film_to_score():
    outputs = FeatureSource(some_model(), DATA, TrainOptions(size=SIDE), no_progress)
    assert final_logits(some_model(), outputs, DATA, []).shape == (0, 2)
