"""Scores as a pandas data frame: the columns of an export, with films as the index."""

import csv
import io
import sys

import numpy as np
import pytest
from made_run import FINDINGS, made_file

import cxrscore
from cxrscore.errors import InputError
from cxrscore.export import ExportOptions, export_scores

pandas = pytest.importorskip("pandas")


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    return cxrscore.open_scores(made_file(tmp_path_factory.mktemp("frame") / "out.h5", films=20))


def test_the_frame_has_a_row_for_each_film(scores):
    frame = scores.to_dataframe()
    assert frame.index.name == "film"
    assert frame.index.tolist() == list(scores.films.path)
    assert frame.loc[scores.films.path[0], "status"] == "DAMAGED"
    assert frame.columns.tolist()[:10] == [
        "status",
        "message",
        "sha256",
        "kind",
        "modality",
        "view",
        "width",
        "height",
        "patient",
        "split",
    ]
    for place, finding in enumerate(FINDINGS):
        for name, matrix in (("prob", scores.prob), ("logit", scores.logit), ("truth", scores.truth)):
            column = frame[f"{name}_{finding}"]
            assert column.dtype == np.float32
            np.testing.assert_array_equal(column, matrix[:, place])
    assert frame.patient.tolist() == scores.films.patient.tolist()


def test_the_columns_are_those_of_an_export(scores, tmp_path):
    export_scores(scores, ExportOptions(output=tmp_path / "s.csv", every_column=True))
    header = next(csv.reader(io.StringIO((tmp_path / "s.csv").read_text())))
    assert ["film", *scores.to_dataframe().columns] == header


def test_without_pandas_the_error_names_the_extra(scores, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match=r'needs pandas, .*pip install "cxrscore\[pandas\]"'):
        scores.to_dataframe()
