"""Open-i: terms of reports, films in a second table, or both in one."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from cxrscore.contract import LabelTable
from cxrscore.errors import InputError
from cxrscore.labels import datasets, join_labels, read_labels

NAN = np.nan
REPORTS = "uid,MeSH,Problems,image,indication,comparison,findings,impression"
FILMS = "uid,filename,projection"
ROWS = (
    '1,normal,normal,Xray Chest PA and Lateral,cough,None.,Clear.,"Normal, no effusion."',
    "2,Cardiomegaly/borderline;Pulmonary Artery/enlarged,Cardiomegaly;Pulmonary Artery,x,x,x,x,x",
    '3,"Pleural Effusion/left;Thickening/pleura/apex;Hernia, Hiatal","Hernia, Hiatal;Pleural Effusion;Thickening",,,,,',
    "4,No Indexing,No Indexing,,,,,",
)
PROJECTIONS = (
    "1,1_IM-0001-4001.dcm.png,Frontal",
    "1,1_IM-0001-3001.dcm.png,Lateral",
    "2,2_IM-0652-1001.dcm.png,Frontal",
    "3,3_IM-1384-1001.dcm.png,Frontal",
    "4,4_IM-2050-1001.dcm.png,Frontal",
    "9,9_IM-2407-1001.dcm.png,Frontal",
)


def two_tables(tmp_path: Path, *, packed: bool = False) -> tuple[Path, Path]:
    paths = tmp_path / "indiana_reports.csv", tmp_path / "indiana_projections.csv"
    for path, header, rows in zip(paths, (REPORTS, FILMS), (ROWS, PROJECTIONS), strict=True):
        path.write_text("\n".join([header, *rows, ""]))
    if packed:
        paths[1].with_name("indiana_projections.csv.gz").write_bytes(gzip.compress(paths[1].read_bytes()))
        paths[1].unlink()
    return paths


def positive(table: LabelTable, row: int) -> list[str]:
    return [name for name, label in zip(table.findings, table.labels[row], strict=True) if label == 1]


@pytest.mark.parametrize("given", [0, 1])
def test_either_table_is_read_with_the_other(tmp_path: Path, given: int) -> None:
    table, layout = read_labels(two_tables(tmp_path)[given], datasets)
    assert layout == "openi"
    assert table.films == tuple(row.split(",")[1] for row in PROJECTIONS[:5])
    assert table.patients == ("1", "1", "2", "3", "4")
    assert table.columns == {"view": ("", "L", "", "", "")}
    assert table.labels[:2].tolist() == [[0.0] * len(table.findings)] * 2
    assert positive(table, 2) == ["Cardiomegaly"]
    assert positive(table, 3) == ["Effusion", "Pleural_Thickening", "Hernia"]
    assert np.isnan(table.labels[4]).all()
    assert join_labels(table, ["images_normalized/2_IM-0652-1001.dcm.png"]).patients == ("2",)


def test_the_other_table_may_be_gzipped(tmp_path: Path) -> None:
    assert len(read_labels(two_tables(tmp_path, packed=True)[0], datasets)[0].films) == 5


@pytest.mark.parametrize(("kept", "missing"), [(0, "indiana_projections.csv"), (1, "indiana_reports.csv")])
def test_one_table_alone_is_not_enough(tmp_path: Path, kept: int, missing: str) -> None:
    paths = two_tables(tmp_path)
    paths[1 - kept].unlink()
    with pytest.raises(InputError, match=rf"{paths[kept].name} is one of Open-i's two tables; expected {missing}"):
        read_labels(paths[kept], datasets)


@pytest.mark.parametrize(
    ("mesh", "problems", "expected"),
    [
        ("Subcutaneous Emphysema", "Subcutaneous Emphysema", {}),
        ("Pulmonary Atelectasis/base/left", "", {"Atelectasis": 1}),
        ("", "Opacity;Calcified Granuloma", {"Lung Opacity": 1, "Granuloma": 1}),
        ("", "Thickening", {"Pleural_Thickening": NAN}),
        ("Thickening/bronchi", "Thickening", {}),
        ("Fractures, Bone/ribs;Catheters, Indwelling", "", {"Fracture": 1, "Support Devices": 1}),
        ("normal;Technical Quality of Image Unsatisfactory ", "normal", None),
        ("", "", None),
    ],
)
def test_terms(tmp_path: Path, mesh: str, problems: str, expected: dict[str, float] | None) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(f'{FILMS},MeSH,Problems\n7,7_IM-0001-1001.dcm.png,Frontal,"{mesh}","{problems}"\n')
    table, layout = read_labels(path, datasets)
    assert layout == "openi"
    labels = np.full(len(table.findings), NAN) if expected is None else np.zeros(len(table.findings))
    for name, label in (expected or {}).items():
        labels[table.findings.index(name)] = label
    assert np.array_equal(table.labels[0], labels, equal_nan=True)


def test_a_report_with_two_rows(tmp_path: Path) -> None:
    reports, _ = two_tables(tmp_path)
    reports.write_text(f"{REPORTS}\n1,normal,normal,,,,,\n1,normal,normal,,,,,\n")
    with pytest.raises(InputError, match="line 3: column uid has '1' again"):
        read_labels(reports, datasets)
    merged = tmp_path / "labels.csv"
    merged.write_text(f"{FILMS},Problems\n1,a.png,Frontal,Mass\n1,b.png,Lateral,Nodule\n")
    with pytest.raises(InputError, match="line 3: column uid has '1' again"):
        read_labels(merged, datasets)


def test_a_projection_that_open_i_does_not_have(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(f"{FILMS},Problems\n1,a.png,Oblique,Mass\n")
    with pytest.raises(InputError, match="line 2: column projection has 'Oblique', expected Frontal or Lateral"):
        read_labels(path, datasets)


def test_a_table_of_ones_own_with_these_columns(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(f"{FILMS},Mass\n1,a.png,PA,1\n")
    assert read_labels(path, datasets)[1] == "plain"
