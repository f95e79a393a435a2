"""The backend against every case of cxrscore's kit that it has the abilities for."""

import pytest
from cxrscore_numpy import NumpyBackend

from cxrscore.testing import BackendCases


class TestNumpy(BackendCases):
    @pytest.fixture
    def backend(self):
        return NumpyBackend()
