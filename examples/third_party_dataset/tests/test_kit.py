"""The reader against every case of cxrscore's kit, on a table of the layout."""

from pathlib import Path

import pytest
from cxrscore_ris import ris

from cxrscore.testing import DatasetCases


class TestRis(DatasetCases):
    @pytest.fixture
    def dataset(self):
        return ris

    @pytest.fixture
    def table(self):
        return Path(__file__).with_name("export.csv")
