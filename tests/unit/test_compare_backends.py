"""Parity: figures by hand, and what counts as a fault."""

import numpy as np
import pytest
from made_model import document

from cxrscore.compare_backends import BackendPair, BackendRun, Parity, compare_backends, min_correlation
from cxrscore.contract import ModelSpec
from cxrscore.errors import BackendUnavailableError, InputError
from cxrscore.models.model_file import save_model


def maps(*rows):
    """[1,F,1,w]"""
    return np.array([[[row] for row in rows]], np.float32)


def test_the_smallest_correlation_by_hand():
    a = maps([0, 1, 2], [1, 0, 0])
    b = maps([5, 7, 9], [0, 1, 0])  # the first a scaled copy; the second: -1/2
    assert min_correlation(a, b) == pytest.approx(-0.5)
    assert min_correlation(a[:, :1], b[:, :1]) == pytest.approx(1)


def test_maps_that_are_constant_in_both_have_no_correlation():
    assert min_correlation(maps([0, 0]), maps([0, 0])) is None
    assert min_correlation(np.zeros((0, 0, 0, 0)), np.zeros((0, 0, 0, 0))) is None
    assert min_correlation(maps([0, 0]), maps([0, 1])) == 0


def ran(backend, drift):
    return BackendRun(backend=backend, framework="abacus 1", device="cpu", films=4, max_logit_difference=drift)


def pair(logit=0.0, correlation=1.0):
    return BackendPair(
        backends=("a", "b"), max_prob_difference=0.0, max_logit_difference=logit, min_heatmap_correlation=correlation
    )


def test_within_bounds_there_is_no_fault():
    found = Parity(tolerance=1e-4, runs=[ran("a", 1e-4), ran("b", None)], pairs=[pair(2e-4), pair(0, None)])
    assert found.failures == []
    assert found.as_dict()["failures"] == []


@pytest.mark.parametrize(
    ("found", "word"),
    [
        (Parity(tolerance=1e-4, runs=[ran("a", 2e-4)]), "a is 0.0002 from the logits in the model file"),
        (Parity(tolerance=1e-4, runs=[ran("a", np.nan)]), "a is nan"),
        (Parity(tolerance=1e-4, pairs=[pair(3e-4)]), "a and b differ by 0.0003"),
        (Parity(tolerance=None, pairs=[pair(9, 0.9)]), "correlate by 0.9"),
    ],
)
def test_what_is_out_of_bounds_is_said(found, word):
    (fault,) = found.failures
    assert word in fault
    assert f"FAILED: {fault}" in found.text()


def test_bf16_is_held_to_no_logit():
    assert Parity(tolerance=None, runs=[ran("a", 9)], pairs=[pair(9)]).failures == []


@pytest.mark.parametrize("names", [[], ["torch", "torch"]])
def test_backends_are_named_once(tmp_path, names):
    with pytest.raises(InputError, match="different names"):
        compare_backends(tmp_path / "none", names)


def test_an_unknown_backend_is_named_before_anything_runs(tmp_path):
    save_model(tmp_path / "m", {"a": np.zeros(1)}, document(ModelSpec(architecture="tinycnn", findings=("Mass",))))
    with pytest.raises(BackendUnavailableError, match="abacus"):
        compare_backends(tmp_path / "m", ["abacus"])
