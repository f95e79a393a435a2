"""The metric against every case of cxrscore's kit, and one case worked by hand."""

import numpy as np
import pytest
from cxrscore_f1 import f1

from cxrscore.testing import MetricCases


class TestF1(MetricCases):
    @pytest.fixture
    def metric(self):
        return f1


def test_by_hand():
    truth, score = np.array([1, 1, 0, 0, 1.0]), np.array([0.9, 0.2, 0.5, 0.1, 0.5])
    assert f1.function(truth, score, 0.5) == pytest.approx(2 / 3)  # TP .9 .5, FP .5, FN .2: 4 / (4 + 1 + 1)
    assert np.isnan(f1.function(truth[:0], score[:0], 0.5))
