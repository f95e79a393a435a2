"""The kit passes built-in networks, and fails each network or backend that is wrong in one thing in just that case."""

import dataclasses

import numpy as np
import pytest

from cxrscore.networks.builtin import built_in
from cxrscore.networks.graph import FILM, GraphBuilder, Network
from cxrscore.testing import NetworkCases, cases, run_cases
from cxrscore.testing.fixtures import random_tensors
from cxrscore.testing.network_cases import _spec

torch = pytest.importorskip("cxrscore_torch")
pytest.importorskip("torch")


class Wrong:
    """The torch backend, whose models are changed."""

    trains = True

    def __init__(self, **methods):
        self._methods = methods

    def build(self, spec, tensors, **options):
        (own,) = torch.cxrscore_backends()
        model = own.build(spec, tensors, **options)
        for name, change in self._methods.items():
            vars(model)[name] = _changed(getattr(model, name), change)
        return model


def _changed(method, change):
    return lambda *args, **options: change(method(*args, **options))


class TorchNetworkCases(NetworkCases):
    wrong = Wrong()

    def backends(self, spec):
        return [self.wrong]


def without_signal():
    """Batch normalisation divides by 1e7, and a sigmoid adds a half: features of all films are equal in float32."""
    graph = GraphBuilder()
    x = graph.add("conv1", "conv2d", FILM, filters=4, size=3, stride=2)
    x = graph.add("conv2", "conv2d", x, filters=4, size=3)
    x = graph.add("last", "sigmoid", graph.add("norm", "batch_norm", x, epsilon=1e14))
    return Network(name="flat", nodes=graph.nodes, output=x, stages=("conv1", "conv2"), summary="all equal")


TINY = built_in("tinycnn")


def doubled(parts):
    return dataclasses.replace(parts, gradients=2 * parts.gradients)


def still(tensors):
    """Tensors of which one never learns."""
    return {**tensors, "conv4/bias": random_tensors(_spec(TINY))["conv4/bias"]}


BAD = {
    "N01": (dataclasses.replace(TINY, summary=""), Wrong()),
    "N02": (dataclasses.replace(TINY, name="mine", stages=("conv1", "relu")), Wrong()),
    "N03": (without_signal(), Wrong()),
    "N04": (TINY, Wrong(predict=lambda logits: logits + np.float32(1e-3))),
    "N05": (TINY, Wrong(cam_parts=doubled)),
    "N06": (TINY, Wrong(fit_epoch=lambda loss: float("nan"))),
}


def outcomes(network, backend):
    kit = type("Kit", (TorchNetworkCases,), {"wrong": backend})
    return {one.number: (one.status, one.reason) for one in run_cases(kit, network=network)}


def test_every_case_has_a_network_or_backend_that_it_fails():
    assert set(BAD) == {case.number for case in cases(NetworkCases)}


@pytest.mark.parametrize("number", BAD)
def test_what_is_bad_fails_in_its_case_and_in_no_other(number):
    found = outcomes(*BAD[number])
    assert {each: why for each, why in found.items() if why[0] != "passed"}.keys() == {number}, found
    assert found[number][0] == "failed"
    assert found[number][1]


def test_a_tensor_that_does_not_learn_is_named():
    found = outcomes(TINY, Wrong(tensors=still))
    assert found["N06"] == ("failed", "last-block: a step did not change conv4/bias")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tinycnn", "resnet50v1.5", "densenet121"])
def test_built_in_networks_pass(name):
    assert {status for status, _ in outcomes(built_in(name), Wrong()).values()} == {"passed"}


def test_without_a_backend_cases_are_skipped():
    kit = type("Kit", (NetworkCases,), {"backends": lambda self, spec: []})
    found = {one.number: one.status for one in run_cases(kit, network=TINY)}
    assert found == {"N01": "passed", "N02": "passed", "N03": "passed"} | dict.fromkeys(
        ("N04", "N05", "N06"), "skipped"
    )
