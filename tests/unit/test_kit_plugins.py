"""The kit passes cxrscore's own losses, explainers, metrics and readers, and fails each that is wrong in one thing in
just that case."""

import importlib.util

import pytest
from bad_plugins import BAD
from kit_tables import TABLES
from numpy_backend import NumpyBackend

from cxrscore.explainers import explainers
from cxrscore.labels import datasets
from cxrscore.losses import losses
from cxrscore.metrics import metrics
from cxrscore.testing import DatasetCases, ExplainerCases, LossCases, MetricCases, cases, run_cases


class NumpyLossCases(LossCases):
    """Put through the NumPy backend, so that no framework need be installed; the conformance tests do more."""

    def learners(self):
        return [NumpyBackend()]


class TestLosses(NumpyLossCases):
    @pytest.fixture(params=losses, ids=lambda loss: loss.name)
    def loss(self, request):
        return request.param

    def test_l07_right_answers_cost_less(self, loss):
        if loss.name != "paper-equation-7":
            super().test_l07_right_answers_cost_less(loss)
            return
        with pytest.raises(AssertionError, match="right answers cost"):  # the error of the printed equation
            super().test_l07_right_answers_cost_less(loss)


class TestExplainers(ExplainerCases):
    @pytest.fixture(params=explainers, ids=lambda explainer: explainer.name)
    def explainer(self, request):
        return request.param


class TestMetrics(MetricCases):
    @pytest.fixture(params=metrics, ids=lambda metric: metric.name)
    def metric(self, request):
        return request.param


class TestDatasets(DatasetCases):
    @pytest.fixture(params=datasets, ids=lambda dataset: dataset.name)
    def dataset(self, request):
        return request.param

    @pytest.fixture
    def table(self, dataset, tmp_path):
        path = tmp_path / "labels.csv"
        path.write_text(TABLES[dataset.name])
        return path


KITS = {"loss": NumpyLossCases, "explainer": ExplainerCases, "metric": MetricCases, "dataset": DatasetCases}
HELD_TO = {case.number: kind for kind, kit in KITS.items() for case in cases(kit)}


def test_every_case_has_a_plugin_that_it_fails():
    assert set(BAD) == set(HELD_TO)


@pytest.mark.parametrize("number", HELD_TO)
def test_a_bad_plugin_fails_in_its_case_and_in_no_other(number, tmp_path):
    kind = HELD_TO[number]
    kit, fixtures = KITS[kind], {kind: BAD[number]}
    if kind == "dataset":
        fixtures["table"] = tmp_path / "labels.csv"
        fixtures["table"].write_text(TABLES["nih"])
    if number == "L09":  # a fault that only automatic differentiation shows
        if importlib.util.find_spec("torch") is None:
            pytest.skip("torch is not installed: nothing to differentiate with")
        kit = TorchLossCases
    failed = {o.number: o.reason for o in run_cases(kit, **fixtures) if o.status == "failed"}
    assert set(failed) == {number}, failed
    assert failed[number]


class TorchLossCases(LossCases):
    def learners(self):
        return importlib.import_module("cxrscore_torch").cxrscore_backends()
