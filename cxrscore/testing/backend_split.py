"""Cases of a backend whose models come in two parts: frozen layers, run once, and the last block, which learns."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from cxrscore.contract import Backend, SplitBackbone, TrainableModel
from cxrscore.errors import InputError
from cxrscore.networks.tensors import tail_names, tail_shape
from cxrscore.testing.cases import Cases, expect, expect_close, expect_refusal, expect_within, needs
from cxrscore.testing.fixtures import (
    WEIGHTED_BCE,
    at_rate,
    build,
    require_split_backbone,
    require_trainable,
    smallest_spec,
    some_batch,
    some_films,
    tensors_of,
)


class SplitBackboneCases(Cases):
    """stem() and tail."""

    @needs(SplitBackbone)
    def test_b50_stem_and_tail_equal_the_model(self, backend: Backend) -> None:
        """With either head, stem() returns float32 [N,h,w,K] of the shape networks.tensors.tail_shape(). ``tail``
        is Trainable; its predict() of that equals the model's, rel. 1e-5; its tensors are those of the last block and
        the head; an input of another shape raises an InputError."""
        for head in ("gap", "flatten"):
            spec = smallest_spec(backend, head=head)
            model, films = build(backend, spec, tensors_of(backend, spec)), some_films(3, spec.size)
            entered, tail = require_split_backbone(model).stem(films), require_split_backbone(model).tail
            met = f"{head}: stem() returned {entered.dtype} {list(entered.shape)}"
            expect(entered.dtype == np.float32 and entered.ndim == 4, f"{met}, expected float32 [N,h,w,K]")
            expect(isinstance(tail, TrainableModel), f"{head}: {type(tail).__name__} is not TrainableModel")
            expect_within(tail.predict(entered), model.predict(films), 1e-5, f"{head}: logits of the tail")
            if spec.network is not None:
                wanted = [len(films), *tail_shape(spec)]
                expect(list(entered.shape) == wanted, f"{met}, expected {wanted}")
                other = sorted(set(tail.tensors()) ^ tail_names(spec))
                expect(not other, f"{head}: the tail lacks, or has too many: {', '.join(other[:5])}")
            short = entered[:, 1:].copy()
            expect_refusal(partial(tail.predict, short), InputError, "float32", f"{head}: input {list(short.shape)}")

    @needs(SplitBackbone)
    def test_b51_training_the_tail_equals_training_the_model(self, backend: Backend) -> None:
        """Three steps of the tail of a model with ``trainable`` "head", on outputs of stem(), with layer decay, weight
        decay and clipping, give the losses, tensors and optimiser of three steps of a model with ``trainable``
        "last-block" on the same films, within 1e-5. The first model still trains its head only."""
        spec = smallest_spec(backend, trainable="last-block")
        tensors = tensors_of(backend, spec)
        model = build(backend, replace(spec, trainable="head"), tensors)
        tail, stem = require_split_backbone(model).tail, require_split_backbone(model).stem
        whole = require_trainable(build(backend, spec, tensors))
        settings = at_rate(1e-2, layer_decay=0.5, weight_decay=0.1, clip_norm=0.5)
        for step, share in enumerate((1.0, 0.5, 0.25), start=1):
            batch = replace(some_batch(spec, 3, seed=step), rate=share)
            wanted = whole.fit_epoch([batch], WEIGHTED_BCE, settings)
            found = tail.fit_epoch([replace(batch, inputs=stem(batch.inputs))], WEIGHTED_BCE, settings)
            expect_close(found, wanted, 1e-5, f"the loss before step {step}")
        learned = {name: value.copy() for name, value in model.tensors().items()}
        for name, value in whole.tensors().items():
            expect_close(learned[name], value, 1e-5, f"{name} of the model after its tail has learned")
        state = tail.state()
        other = sorted(set(state) ^ set(whole.state()))
        expect(not other, f"the state of the tail lacks, or has too many: {', '.join(other[:5])}")
        for name, value in whole.state().items():
            expect_close(state[name], value, 1e-5, f"{name} of the tail")
        require_trainable(model).fit_epoch([some_batch(spec, 3)], WEIGHTED_BCE, at_rate(1e-2))
        changed = {name for name, value in model.tensors().items() if not np.array_equal(value, learned[name])}
        heads = {name for name in changed if name.startswith("head/")}
        expect(changed == heads != set(), f"a step of the head then changed {', '.join(sorted(changed)) or 'nothing'}")
