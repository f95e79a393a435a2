"""Cases of a backend whose models have a separate head (SupportsFeatureTraining) or give heat maps
(SupportsHeatmaps)."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from cxrscore.contract import (
    Array,
    Backend,
    Batch,
    CamParts,
    FeatureExtractor,
    Floats,
    Model,
    ModelSpec,
    SupportsAutograd,
    SupportsFeatureTraining,
    SupportsHeatmaps,
    Tensors,
    TrainableModel,
)
from cxrscore.errors import InputError
from cxrscore.networks import reference as numpy_reference
from cxrscore.networks.tensors import cam_layers, map_shape
from cxrscore.testing.cases import Cases, expect, expect_close, expect_refusal, expect_within, needs
from cxrscore.testing.fixtures import (
    HEADS,
    WEIGHTED_BCE,
    at_rate,
    build,
    embeds,
    known_architectures,
    random_tensors,
    require_autograd,
    require_features,
    require_heatmaps,
    require_reference,
    smallest_spec,
    some_films,
    some_labels,
    spec_of,
    tensors_of,
)


def _both_heads(backend: Backend) -> Iterator[Model]:
    """The small model with either head."""
    for head in HEADS:
        spec = smallest_spec(backend, head=head)
        yield build(backend, spec, tensors_of(backend, spec))


class FeatureCases(Cases):
    """Features: embed() and head."""

    @needs(SupportsFeatureTraining)
    def test_b23_the_head_on_features_equals_the_model(self, backend: Backend) -> None:
        """embed() returns float32 [N,K], the input of the dense layer; for a "flatten" head in the order row, column,
        channel. ``head`` is Trainable; its predict() of the features equals that of the model, rel. 1e-5; its tensors
        are head/kernel and head/bias; features of another length raise an InputError."""
        for model in _both_heads(backend):
            spec, films = model.spec, some_films(3, model.spec.size)
            found, head = require_features(model).embed(films), require_features(model).head
            expect(found.dtype == np.float32, f"{spec.head}: embeddings are {found.dtype}, expected float32")
            expect(isinstance(head, TrainableModel), f"{spec.head}: {type(head).__name__} is not TrainableModel")
            expect_within(head.predict(found), model.predict(films), 1e-5, f"{spec.head}: logits of the head")
            names = sorted(head.tensors())
            expect(names == ["head/bias", "head/kernel"], f"{spec.head}: the head has the tensors {names}")
            short = found[:, :-1].copy()
            what = f"{spec.head}: embeddings {list(short.shape)}"
            expect_refusal(partial(head.predict, short), InputError, "float32", what)
            _expect_embedding_of_the_reference(spec, model.tensors(), films, found)

    @needs(SupportsFeatureTraining)
    def test_b24_the_head_shares_its_tensors_with_the_model(self, backend: Backend) -> None:
        """Training the head alone changes the logits of the model, and both still have the same tensors."""
        spec = smallest_spec(backend)
        model = build(backend, spec, tensors_of(backend, spec))
        films, head = some_films(3, spec.size), require_features(model).head
        before = model.predict(films)
        batch = Batch(inputs=require_features(model).embed(films), labels=some_labels(3))
        head.fit_epoch([batch], WEIGHTED_BCE, at_rate(1e-2))
        moved = np.abs(model.predict(films) - before).max()
        expect(moved > 1e-4, f"training the head moved the model's logits by {moved:.1g}: the two share no tensor")
        whole = model.tensors()
        for name, value in head.tensors().items():
            expect(np.array_equal(value, whole[name]), f"{name} of the head is not that of the model")

    @needs(FeatureExtractor)
    def test_b57_features_through_the_dense_layer_give_the_logits(self, backend: Backend) -> None:
        """For either head, embed() returns finite float32 [N,K]. Multiplied by head/kernel [K,C], plus head/bias, they
        equal predict(), rel. 1e-5. This also holds for a model without ``head``, whose features another backend may
        train on."""
        for model in _both_heads(backend):
            spec, films, tensors = model.spec, some_films(3, model.spec.size), model.tensors()
            if not {"head/kernel", "head/bias"} <= set(tensors):
                raise unittest.SkipTest("the network has no head/kernel and head/bias")
            found, kernel = embeds(model).embed(films), tensors["head/kernel"]
            expect(found.dtype == np.float32, f"{spec.head}: embeddings are {found.dtype}, expected float32")
            wanted = [len(films), len(kernel)]
            expect(
                list(found.shape) == wanted,
                f"{spec.head}: embeddings have shape {list(found.shape)}, expected {wanted}",
            )
            expect(np.isfinite(found).all(), f"{spec.head}: embeddings are not finite")
            logits = found.astype(np.float64) @ kernel + tensors["head/bias"]
            expect_within(logits, model.predict(films), 1e-5, f"{spec.head}: logits of the embeddings")


def _expect_embedding_of_the_reference(spec: ModelSpec, tensors: Tensors, films: Floats, found: Array) -> None:
    """Where there is a reference."""
    if spec.network is not None:
        wanted = numpy_reference.embedding(spec, tensors, films)
        expect_within(found, wanted, 1e-4, f"{spec.head}: embeddings")


class HeatmapCases(Cases):
    """Heat maps: cam_parts() and head_gradients()."""

    @needs(SupportsHeatmaps)
    def test_b25_heat_map_inputs_match_the_logits(self, backend: Backend) -> None:
        """cam_parts() of F findings returns float32 logits [N,C] equal to predict(), rel. 1e-5; activations [N,h,w,K];
        gradients [N or 1,F,h,w,K] or [N or 1,F,1,1,K]; and the name of the CAM layer: the requested one, else the one
        that is pooled."""
        for model in _both_heads(backend):
            films = some_films(3, model.spec.size)
            for cam_layer in (None, *_cam_layers(model.spec)):
                parts = require_heatmaps(model).cam_parts(films, [2, 0], cam_layer=cam_layer)
                words = f"{model.spec.head}, layer {cam_layer}"
                _expect_parts(model.spec, parts, words)
                expect_within(parts.logits, model.predict(films), 1e-5, f"{words}: logits")
                wanted = cam_layer or (*_cam_layers(model.spec), parts.cam_layer)[0]
                expect(
                    parts.cam_layer == wanted,
                    f"{words}: the parts name the CAM layer {parts.cam_layer!r}, expected {wanted!r}",
                )

    @needs(SupportsHeatmaps)
    def test_b26_activations_equal_the_reference(self, backend: Backend) -> None:
        """In every known architecture that is listed, the activations of both CAM layers, after the last ReLU and
        before it ("bn" of densenet121), equal the reference, rel. 1e-4."""
        measured = []
        for name in known_architectures(backend) or [require_reference(smallest_spec(backend)).architecture]:
            spec = spec_of(name)
            films, tensors = some_films(2, spec.size), random_tensors(spec)
            model = require_heatmaps(build(backend, spec, tensors))
            maps = numpy_reference.features(spec, tensors, films)
            for cam_layer, wanted in zip(cam_layers(spec), maps, strict=True):
                found = model.cam_parts(films, [0], cam_layer=cam_layer).activations
                measured.append(
                    f"{name} {cam_layer} {expect_within(found, wanted, 1e-4, f'{name}, layer {cam_layer}'):.1g}"
                )
        self.note(f"largest difference: {', '.join(measured)}")

    @needs(SupportsHeatmaps)
    def test_b27_gradients_of_the_map_equal_finite_differences(self, backend: Backend) -> None:
        """With either head and at both CAM layers, gradients equal finite differences of the reference's head at an
        activation that is not 0, rel. 1e-4. Before the last ReLU they are 0 where the activation is negative."""
        require_reference(smallest_spec(backend))
        for model in _both_heads(backend):
            for cam_layer in _cam_layers(model.spec):
                parts = require_heatmaps(model).cam_parts(some_films(2, model.spec.size), [2, 0], cam_layer=cam_layer)
                logits = _head_at(model.spec, model.tensors(), cam_layer)
                _expect_slopes(parts, [2, 0], logits, f"{model.spec.head}, layer {cam_layer}")

    @needs(SupportsAutograd)
    def test_b28_the_closed_form_equals_automatic_differentiation(self, backend: Backend) -> None:
        """head_gradients() of the activations from cam_parts() equals its gradients, rel. 1e-5, with either head and at
        both CAM layers, except where the activation is within 1e-6 of 0."""
        differences = []
        for model in _both_heads(backend):
            for cam_layer in _cam_layers(model.spec) or (None,):
                head_gradients = require_autograd(model).head_gradients
                parts = require_heatmaps(model).cam_parts(some_films(2, model.spec.size), [2, 0], cam_layer=cam_layer)
                found = head_gradients(parts.activations, [2, 0], cam_layer=cam_layer)
                smooth = np.abs(parts.activations[:, None]) > 1e-6
                words = f"{model.spec.head}, layer {parts.cam_layer}"
                differences.append(expect_within(found * smooth, parts.gradients * smooth, 1e-5, words))
        self.note(f"largest difference {max(differences):.1g} of the largest gradient")

    @needs(SupportsHeatmaps)
    def test_b29_an_unknown_layer_is_refused(self, backend: Backend) -> None:
        """cam_parts() at a CAM layer that the network does not have raises an InputError that names it."""
        model, films = _explainable(backend)
        cam_layer = "no_such_layer"
        expect_refusal(
            partial(model.cam_parts, films, [0], cam_layer=cam_layer), InputError, cam_layer, f"layer {cam_layer!r}"
        )

    @needs(SupportsHeatmaps)
    def test_b30_an_unknown_finding_is_refused(self, backend: Backend) -> None:
        """cam_parts() of a finding outside 0..C-1, negative ones included, raises an InputError that names it."""
        model, films = _explainable(backend)
        for finding in (3, -1):
            call = partial(model.cam_parts, films, [finding])
            expect_refusal(call, InputError, str(finding), f"finding {finding} of 0..2")


def _explainable(backend: Backend) -> tuple[SupportsHeatmaps, Floats]:
    spec = smallest_spec(backend)
    return require_heatmaps(build(backend, spec, tensors_of(backend, spec))), some_films(1, spec.size)


def _cam_layers(spec: ModelSpec) -> tuple[str, ...]:
    """Those that the kit knows: after the last ReLU, before it."""
    return cam_layers(spec) if spec.network is not None else ()


def _expect_parts(spec: ModelSpec, parts: CamParts, words: str) -> None:
    """Shapes and dtypes for three films and two findings."""
    for name in ("logits", "activations", "gradients"):
        expect(getattr(parts, name).dtype == np.float32, f"{words}: {name} are not float32")
    shape = parts.activations.shape
    expect(len(shape) == 4 and shape[0] == 3, f"{words}: activations have shape {list(shape)}, expected [3, h, w, K]")
    if spec.network is not None:
        side = map_shape(spec)[0]
        expect(shape[1:3] == (side, side), f"{words}: the map is {shape[1]} x {shape[2]}, expected {side} x {side}")
    wanted = {(films, 2, *place, shape[3]) for films in (1, 3) for place in ((1, 1), shape[1:3])}
    found = parts.gradients.shape
    expect(found in wanted, f"{words}: gradients have shape {list(found)}, expected one of {sorted(map(list, wanted))}")


def _head_at(spec: ModelSpec, tensors: Tensors, cam_layer: str) -> Callable[[Array], Array]:
    """Logits of activations at the CAM layer, by the reference."""
    if cam_layer == cam_layers(spec)[0]:
        return lambda activations: numpy_reference.head(spec, tensors, activations)
    limit = spec.graph.last_relu_maximum
    return lambda activations: numpy_reference.head(spec, tensors, np.clip(activations, 0, limit))


def _expect_slopes(parts: CamParts, findings: list[int], logits: Callable[[Array], Array], words: str) -> None:
    """At 12 places of each film; a step that crosses no kink, where the logit is straight."""
    activations = parts.activations.astype(np.float64)
    gradients = np.broadcast_to(parts.gradients, (len(activations), len(findings), *activations.shape[1:]))
    step, rng = 1e-3, np.random.default_rng(0)
    for film, map_ in enumerate(activations):
        places = np.argwhere(np.abs(map_) > 2 * step)
        for row, column, channel in rng.choice(places, 12):
            sides = []
            for move in (step, -step):
                moved = map_.copy()
                moved[row, column, channel] += move
                sides.append(logits(moved[None])[0, findings])
            found, slope = gradients[film, :, row, column, channel], (sides[0] - sides[1]) / (2 * step)
            where = f"{words}, film {film}, place {row}, {column}, channel {channel}"
            expect_close(found, slope, 1e-4 * float(np.abs(gradients).max()), where)
