"""The conformance kit: cases that every plugin must pass, the built-in ones included. It does not need pytest.

    class TestMine(BackendCases):
        @pytest.fixture
        def backend(self):
            return MyBackend()

gives pytest every case of a backend. ``run_cases(BackendCases, backend=MyBackend())`` runs them without pytest, as
``cxrscore check NAME`` does.
"""

from cxrscore.testing.backend_build import BuildCases
from cxrscore.testing.backend_heatmaps import FeatureCases, HeatmapCases
from cxrscore.testing.backend_int8 import Int8Cases
from cxrscore.testing.backend_native import NativePrecisionCases
from cxrscore.testing.backend_operations import OperationCases
from cxrscore.testing.backend_optimiser import OptimiserCases
from cxrscore.testing.backend_parallel import DistributedCases
from cxrscore.testing.backend_scores import ScoreCases
from cxrscore.testing.backend_settings import SettingsCases
from cxrscore.testing.backend_split import SplitBackboneCases
from cxrscore.testing.backend_training import TrainingCases
from cxrscore.testing.cases import Case, CaseResult, cases, run_cases
from cxrscore.testing.dataset_cases import DatasetCases
from cxrscore.testing.executor_cases import ExecutorCases
from cxrscore.testing.explainer_cases import ExplainerCases
from cxrscore.testing.loss_cases import LossCases
from cxrscore.testing.metric_cases import MetricCases
from cxrscore.testing.namespace import SHARED
from cxrscore.testing.network_cases import NetworkCases


class BackendCases(
    BuildCases,
    ScoreCases,
    FeatureCases,
    HeatmapCases,
    TrainingCases,
    OptimiserCases,
    SettingsCases,
    SplitBackboneCases,
    DistributedCases,
    Int8Cases,
    OperationCases,
    NativePrecisionCases,
):
    """Cases of a backend, B01 to B83. Fixture: ``backend``, an object that cxrscore_backends returns."""


__all__ = [
    "SHARED",
    "BackendCases",
    "Case",
    "CaseResult",
    "DatasetCases",
    "ExecutorCases",
    "ExplainerCases",
    "LossCases",
    "MetricCases",
    "NetworkCases",
    "cases",
    "run_cases",
]
