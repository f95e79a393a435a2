"""One plugin through the kit by its name: which kit, which report."""

import json

import pytest
from bad_learners import BAD
from numpy_backend import NumpyBackend

from cxrscore import conformance
from cxrscore.conformance import check_plugin
from cxrscore.errors import BackendUnavailableError, InputError
from cxrscore.testing import BackendCases, DatasetCases, ExplainerCases, MetricCases, cases
from cxrscore.testing.backend_operations import OperationCases
from cxrscore.testing.fixtures import device_of

TABLE = "film,Mass\na.png,0\nb.png,1\n"


@pytest.mark.parametrize(
    ("name", "kit"), [("metric:auc", MetricCases), ("explainer:cam", ExplainerCases), ("dataset:plain", DatasetCases)]
)
def test_each_kind_has_its_kit(name, kit, tmp_path):
    table = None
    if name.startswith("dataset"):
        table = tmp_path / "labels.csv"
        table.write_text(TABLE)
    report = check_plugin(name, table=table)
    assert [outcome.number for outcome in report.outcomes] == [case.number for case in cases(kit)]
    assert report.failed == ()
    assert (f"{report.kind}:{report.name}", report.framework) == (name, "")


@pytest.fixture
def backend(monkeypatch):
    """backend(descriptor) makes it the one that is found under any name."""

    def give(descriptor):
        monkeypatch.setattr(conformance, "descriptor", lambda kind, name: descriptor)

    return give


@pytest.mark.slow
def test_a_backend_says_what_it_computes_with_and_what_fails(backend):
    backend(BAD["B18"]())
    steps = []
    report = check_plugin("mine", progress=lambda *step: steps.append(step))
    assert report.kind == "backend"
    assert report.framework == NumpyBackend.model.framework
    assert [outcome.number for outcome in report.failed] == ["B18"]
    found = json.loads(json.dumps(report.as_dict()))
    skipped = 3 + len(cases(OperationCases))  # it runs no graphs, and its batches are filled up
    assert (found["failed"], found["skipped"]) == (1, skipped)
    assert found["passed"] == len(cases(BackendCases)) - 1 - skipped
    assert steps[-1] == ("cases", len(cases(BackendCases)), len(cases(BackendCases)))
    lines = report.text().splitlines()
    assert lines[17].startswith("B18 failed  softmax is left to the core: logits of the softmax spec: differs by ")
    assert lines[-1] == f"backend mine ({report.framework}): {found['passed']} passed, 1 failed, {skipped} skipped"


@pytest.mark.slow
def test_a_backend_that_builds_nothing_has_a_report_all_the_same(backend):
    class Broken(NumpyBackend):
        def build(self, spec, tensors, **options):
            raise RuntimeError("no")

    backend(Broken())
    report = check_plugin("mine")
    assert report.framework == ""
    assert {outcome.reason for outcome in report.failed if outcome.number == "B03"} == {"RuntimeError: no"}


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("nope", BackendUnavailableError, "no backend is called 'nope'"),
        ("loss:nope", InputError, "no loss is called 'nope'"),
        (
            "film:x",
            InputError,
            "'film' is not a type of plugin; the types are: backend, network, dataset, loss, metric, explainer",
        ),
        ("dataset:nih", InputError, "--table FILE"),
    ],
)
def test_what_cannot_be_checked_is_told(name, error, words):
    with pytest.raises(error, match=words):
        check_plugin(name)


def test_a_table_is_for_datasets_only(tmp_path):
    with pytest.raises(InputError, match="only a dataset is checked on a label table"):
        check_plugin("metric:auc", table=tmp_path)


def test_a_backend_is_checked_on_the_device_that_is_asked_for(backend, monkeypatch):
    found = []
    monkeypatch.setattr(
        conformance, "run_cases", lambda kit, **fixtures: found.append(device_of(fixtures["backend"])) or []
    )
    backend(NumpyBackend())
    for device in ("auto", "cuda:1", "auto"):
        check_plugin("mine", device=device)
    assert found == ["cpu", "cuda:1", "cpu"]


def test_only_a_backend_is_checked_on_a_device():
    with pytest.raises(InputError, match="only a backend is checked on a device, not a metric"):
        check_plugin("metric:auc", device="cuda")
