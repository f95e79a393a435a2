"""The golden probe: float64 logits of synthetic films, held against what a backend gives."""

import numpy as np
import pytest

from cxrscore.contract import ModelSpec
from cxrscore.errors import CheckError
from cxrscore.io.strict_json import schema
from cxrscore.networks import reference as numpy_reference
from cxrscore.networks.tensors import initial_tensors
from cxrscore.synthetic.phantoms import golden_films
from cxrscore.synthetic.reference_logits import LARGEST_TOLERANCE, check_golden, golden_record, max_logit_difference

SPEC = ModelSpec(architecture="tinycnn", findings=("Mass", "Edema"), size=32)


class Off:
    """A model whose logits are off by a constant."""

    framework, device = "abacus 1", "cpu"

    def __init__(self, by, spec=SPEC):
        self.spec, self._by, self.batches = spec, by, []
        self._tensors = initial_tensors(SPEC, 0)

    def tensors(self):
        return self._tensors

    def predict(self, films):
        self.batches.append(len(films))
        return (numpy_reference.logits(SPEC, self._tensors, films) + self._by).astype(np.float32)


def test_the_error_is_measured_and_the_tolerance_ten_times_that():
    record = golden_record(Off(1e-3))
    assert record["error"] == pytest.approx(1e-3, rel=1e-2)
    assert record["tolerance"] == pytest.approx(1e-2, rel=1e-2)
    exact = numpy_reference.logits(SPEC, initial_tensors(SPEC, 0), golden_films(32, 4))
    assert np.array(record["logits"]) == pytest.approx(exact, abs=1e-8)


def test_a_small_error_leaves_room_for_others():
    assert golden_record(Off(0.0))["tolerance"] == 2e-5


def test_a_tolerance_never_allows_more_than_a_model_file_may():
    assert golden_record(Off(0.02))["tolerance"] == LARGEST_TOLERANCE
    with pytest.raises(CheckError, match=r"abacus 1 on cpu .* differ by 0\.2 .*expected at most 0\.05"):
        golden_record(Off(0.2))
    limits = schema("model")["properties"]["golden"]["properties"]["tolerance"]
    assert limits["maximum"] == LARGEST_TOLERANCE


def test_of_an_unknown_network_the_backends_own_logits_are_kept():
    model = Off(0.5, ModelSpec(architecture="abacusnet", findings=("Mass", "Edema"), size=32))
    record = golden_record(model)
    assert record["error"] is None
    assert max_logit_difference(model, record) == 0


def test_the_drift_is_the_largest_difference_in_batches_of_the_runs_size():
    record = golden_record(Off(0.0))
    model = Off(0.25)
    assert max_logit_difference(model, record, batch_size=3) == pytest.approx(0.25, rel=1e-5)
    assert model.batches == [3, 3]
    model.batches, model.any_batch_size = [], True
    assert max_logit_difference(model, record, batch_size=3) == pytest.approx(0.25, rel=1e-5)
    assert model.batches == [3, 1]


def test_a_record_without_films_says_nothing():
    with pytest.raises(CheckError, match="no logits of synthetic films"):
        max_logit_difference(Off(0.25), {"films": 0, "logits": [], "tolerance": 1e-4})


def test_too_much_drift_is_an_error_that_says_what_to_do():
    record = golden_record(Off(0.0))
    assert check_golden(Off(1e-6), record) < 2e-5
    with pytest.raises(CheckError, match=r"abacus 1 on cpu .* differ by 0.25 .*allows 2e-05.*--backend"):
        check_golden(Off(0.25), record)
    with pytest.raises(CheckError, match="nan"):
        check_golden(Off(np.nan), record)
