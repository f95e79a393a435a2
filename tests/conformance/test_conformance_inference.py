"""What every backend of ours that does not train promises beyond the kit."""

from dataclasses import replace

import numpy as np
import pytest

from cxrscore.contract import FeatureExtractor, ModelSpec, SupportsFeatureTraining, SupportsHeatmaps, Trainable
from cxrscore.testing.fixtures import some_films

TINY = ModelSpec(architecture="tinycnn", findings=("Mass", "Nodule", "Edema"), size=36)


@pytest.fixture(autouse=True)
def only_for_inference(backend):
    if backend.name not in ("onnx", "openvino"):
        pytest.skip("only for onnx and openvino")


def test_it_scores_embeds_and_explains_but_does_not_train(backend):
    model = backend.build(TINY, None)
    assert not backend.trains
    assert not isinstance(model, Trainable)
    assert not isinstance(model, SupportsFeatureTraining)
    assert isinstance(model, FeatureExtractor)
    assert isinstance(model, SupportsHeatmaps)


@pytest.mark.parametrize("head", ["gap", "flatten"])
def test_what_it_embeds_is_what_the_head_takes(backend, head):
    model = backend.build(replace(TINY, head=head), None)
    films, dense = some_films(3, TINY.size), model.tensors()
    logits = model.embed(films) @ dense["head/kernel"] + dense["head/bias"]
    np.testing.assert_allclose(logits, model.predict(films), rtol=1e-6, atol=1e-6)  # a product may add in another order
