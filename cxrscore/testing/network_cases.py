"""Cases of a network."""

from __future__ import annotations

import json
import unittest
from typing import Any

import numpy as np

from cxrscore.contract import (
    Backend,
    Model,
    ModelSpec,
    Network,
    SplitBackbone,
    SupportsFeatureTraining,
    SupportsHeatmaps,
    Tensors,
    Trainable,
)
from cxrscore.errors import InputError
from cxrscore.networks import reference
from cxrscore.networks.tensors import initial_tensors, map_shape, trainable_names
from cxrscore.plugins import available_backends, fastest_backends
from cxrscore.testing.cases import Cases, expect, expect_within, needs
from cxrscore.testing.fixtures import (
    FINDINGS,
    WEIGHTED_BCE,
    at_rate,
    build,
    random_tensors,
    require_heatmaps,
    require_trainable,
    some_batch,
    some_films,
)

_SIDES = (64, 96, 128, 192)
"""Pixels of the films, the first that give a map of 2 x 2 or more; else the network's own size."""


class NetworkCases(Cases):
    """Cases of a network, N01 to N06. Fixture: ``network``, an object that cxrscore_networks returns."""

    def backends(self, spec: ModelSpec) -> list[Backend]:
        """Backends that run the network, the first one first: the installed ones, by their speed. A case uses the
        first that has what it needs."""
        there = available_backends()
        return [there[name] for name in fastest_backends(spec, "cpu")]

    def test_n01_a_model_file_keeps_the_graph(self, network: Network) -> None:
        """Its name is one word, it has a summary, and as JSON and back it is the same network."""
        expect(len(network.name.split()) == 1, f"name is {network.name!r}, expected one word")
        expect(network.summary, "summary is empty, expected one line that says what it is")
        values = json.loads(json.dumps(network.as_dict(), allow_nan=False))
        expect(Network.from_dict(values) == network, "as JSON and back it is another network")

    def test_n02_stages_can_be_trained(self, network: Network) -> None:
        """It has two stages or more, and each has tensors that training can change, so that ``last-block`` and the
        layer decay mean something. At its own size the map has more than one place."""
        expect(len(network.stages) > 1, "it has one stage, expected two or more: the last one is the last block")
        spec = ModelSpec(
            architecture=network.name, findings=FINDINGS, size=network.size, trainable="all", network=network
        )
        able = {network.stage_of[name.split("/")[0]] for name in trainable_names(spec) if not name.startswith("head/")}
        idle = [stage for number, stage in enumerate(network.stages) if number not in able]
        expect(not idle, f"the stages {', '.join(idle)} have no tensor that training can change")
        height, width, _ = map_shape(spec)
        expect(height * width > 1, f"at {network.size} pixels its map is {height} x {width}: heat maps need places")

    def test_n03_first_values_tell_films_apart(self, network: Network) -> None:
        """With the initial tensors and ``--weights none``, features of films are finite and differ between films."""
        spec = _spec(network)
        found = reference.embedding(spec, initial_tensors(spec, 0), some_films(2, spec.size))
        expect(np.isfinite(found).all(), "features are not finite")
        difference = float(np.abs(found[0] - found[1]).max())
        expect(difference > 1e-6 * float(np.abs(found).max()), "features of two films are equal: the signal is lost")

    def test_n04_scores_equal_the_reference(self, network: Network) -> None:
        """An installed backend gives the logits of the reference, for each head: rel. 1e-5."""
        for head in ("gap", "flatten", *(["cls"] if network.class_token else [])):
            spec = _spec(network, head=head)
            films, tensors = some_films(2, spec.size), random_tensors(spec)
            model = self._model(spec)
            found = expect_within(model.predict(films), reference.logits(spec, tensors, films), 1e-5, head)
            self.note(f"{model.framework}: largest difference {found:.1g}")

    @needs(SupportsHeatmaps)
    def test_n05_heat_maps_explain_the_logit(self, network: Network) -> None:
        """At each layer for heat maps, activations equal those of the reference, rel. 1e-5. At the pooled one, with a
        head "gap", gradients times activations add up to the logit without its bias, rel. 1e-4."""
        spec = _spec(network)
        films, tensors = some_films(2, spec.size), random_tensors(spec)
        maps = reference.features(spec, tensors, films)
        model = require_heatmaps(self._model(spec))
        for layer, wanted in zip(network.cam_layers, maps, strict=True):
            parts = model.cam_parts(films, range(len(FINDINGS)), cam_layer=layer)
            expect_within(parts.activations, wanted, 1e-5, layer)
            if layer == network.output:
                total = (parts.activations[:, None] * parts.gradients).sum(axis=(2, 3, 4))
                expect_within(total, parts.logits - tensors["head/bias"], 1e-4, "gradients times activations")

    @needs(Trainable)
    def test_n06_it_trains(self, network: Network) -> None:
        """A step of an installed backend changes every tensor that may change, the last block alone or all, and no
        other, and the loss is finite. Features for training the head, and the logits of the last block after the stem,
        equal those of the reference, rel. 1e-5."""
        for part in ("last-block", "all"):
            spec = _spec(network, trainable=part)
            tensors, batch = random_tensors(spec), some_batch(spec, 4)
            model = require_trainable(self._model(spec, trains=True))
            loss = model.fit_epoch([batch], WEIGHTED_BCE, at_rate(1e-3))
            expect(np.isfinite(loss), f"{part}: the loss is {loss}")
            _expect_changes(spec, tensors, model.tensors())
            if isinstance(model, SupportsFeatureTraining):
                wanted = reference.embedding(spec, model.tensors(), batch.inputs)
                expect_within(model.embed(batch.inputs), wanted, 1e-5, "features")
            if isinstance(model, SplitBackbone) and len(network.stages) > 1:
                found = model.tail.predict(model.stem(batch.inputs))
                wanted = reference.logits(spec, model.tensors(), batch.inputs)
                expect_within(found, wanted, 1e-5, "logits of the last block")

    def _model(self, spec: ModelSpec, *, trains: bool = False) -> Model:
        able = [backend for backend in self.backends(spec) if backend.trains or not trains]
        if not able:
            kind = "that trains" if trains else "that is installed"
            raise unittest.SkipTest(f"no backend {kind} has all operations of {spec.architecture!r}")
        return build(able[0], spec, random_tensors(spec))


def _expect_changes(spec: ModelSpec, before: Tensors, after: Tensors) -> None:
    """All tensors that may change, and no other."""
    changed = {name for name, value in before.items() if not np.array_equal(after[name], value)}
    able, part = trainable_names(spec), spec.trainable
    expect(changed <= able, f"{part}: a step changed {', '.join(sorted(changed - able)[:5])}")
    expect(able <= changed, f"{part}: a step did not change {', '.join(sorted(able - changed)[:5])}")


def _spec(network: Network, **changes: Any) -> ModelSpec:
    """A spec with three findings and the smallest films of _SIDES that give a map of 2 x 2 or more."""
    for size in (*_SIDES, network.size):
        try:
            spec = ModelSpec(architecture=network.name, findings=FINDINGS, size=size, network=network, **changes)
        except InputError:
            continue
        if size == network.size or min(map_shape(spec)[:2]) > 1:
            return spec
    raise AssertionError(f"films of {network.size} pixels do not fit it, its own size")
