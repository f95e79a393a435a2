"""The loss against every case of cxrscore's kit."""

import pytest
from cxrscore_gce import gce

from cxrscore.testing import LossCases


class TestGce(LossCases):
    @pytest.fixture
    def loss(self):
        return gce
