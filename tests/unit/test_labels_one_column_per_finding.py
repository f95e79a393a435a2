"""The 14 findings of NIH as columns: course files and those of CheXNet-Keras."""

from pathlib import Path

import numpy as np
import pytest
from test_labels_layouts import FOURTEEN, ZEROS, written

from cxrscore.errors import InputError
from cxrscore.labels import FINDINGS, datasets, read_labels


def test_course_by_hand(tmp_path: Path) -> None:
    # The courses have the columns in another order, with blanks for underscores.
    names = sorted(name.replace("_", " ") for name in FINDINGS)
    path = written(tmp_path, f"Image,{','.join(names)},PatientId", f"00008270_015.png,1,{ZEROS},8270")
    table, layout = read_labels(path, datasets)
    assert (layout, table.films, table.patients) == ("course", ("00008270_015.png",), ("8270",))
    assert table.findings == tuple(sorted(FINDINGS, key=lambda name: name.replace("_", " ")))
    np.testing.assert_array_equal(table.labels, [[1, *[0] * 13]])


@pytest.mark.parametrize(
    ("films", "patients"),
    [
        (("00000001_000.png", "x/00030805_012.png"), ("1", "30805")),
        (("00000001_000.png", "other.png"), ("1", "")),
        (("a.png", "b.png"), None),
    ],
)
def test_chexnet_patients_are_told_by_the_names_of_films(
    tmp_path: Path, films: tuple[str, ...], patients: tuple[str, ...] | None
) -> None:
    path = written(tmp_path, f"Image Index,{FOURTEEN}", *(f"{film},1,{ZEROS}" for film in films))
    table, layout = read_labels(path, datasets)
    assert (layout, table.patients, table.findings) == ("chexnet", patients, FINDINGS)


def test_a_patient_column_is_believed_before_the_name(tmp_path: Path) -> None:
    path = written(tmp_path, f"Image Index,Patient ID,{FOURTEEN}", f"00000001_000.png,p7,1,{ZEROS}")
    assert read_labels(path, datasets)[0].patients == ("p7",)


def test_thirteen_columns_are_a_plain_table(tmp_path: Path) -> None:
    path = written(tmp_path, f"Image Index,{FOURTEEN.removesuffix(',Hernia')}", f"00000001_000.png,{ZEROS}")
    assert read_labels(path, datasets)[1] == "plain"


def test_errors_name_row_and_column(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 2: column Atelectasis has '-2', expected 0, 1 or nothing"):
        read_labels(written(tmp_path, f"Image Index,{FOURTEEN}", f"a.png,-2,{ZEROS}"), datasets)
