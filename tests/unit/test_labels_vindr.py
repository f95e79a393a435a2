"""VinDr-CXR, VinBigData and VinDr-PCXR: majority of the readers, uncertain labels, what is no label."""

from pathlib import Path

import numpy as np
import pytest
from test_labels_layouts import PCXR, VINDR, written

from cxrscore.errors import InputError
from cxrscore.labels import LabelRules, datasets, read_boxes, read_labels

NAN = np.nan
BOXES = "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max"


def test_children_by_hand(tmp_path: Path) -> None:
    # Bronchitis: 2 of 3 readers. Broncho-pneumonia: 1 of 2 (a tie), Other disease: 1 of 1.
    rows = (
        "a,R1,0.0,1.0,0.0" + ",0.0" * 12,
        "b,R1,0.0,0.0,1.0,1.0" + ",0.0" * 11,
        "a,R2,0.0,1.0" + ",0.0" * 13,
        "b,R2,0.0,0.0,0.0," + ",0.0" * 11,
        "a,R3,1.0" + ",0.0" * 14,
    )
    table, layout = read_labels(written(tmp_path, PCXR, *rows), datasets)
    assert layout == "vindr-pcxr"
    assert (table.films, table.patients) == (("a", "b"), None)
    assert table.findings == (
        *("No Finding", "Bronchitis", "Bronchopneumonia", "Other Disease", "Bronchiolitis", "Situs inversus"),
        *("Pneumonia", "Pleuropneumonia", "Diaphragmatic hernia", "Tuberculosis", "Congenital emphysema", "CPAM"),
        *("Hyaline membrane disease", "Mediastinal tumor", "Lung tumor"),
    )
    assert np.array_equal(table.labels[:, :4], [[0, 1, 0, 0], [0, 0, NAN, 1]], equal_nan=True)
    assert not table.labels[:, 4:].any()


def test_image_labels_of_vinbigdata_with_one_reader_and_a_fold(tmp_path: Path) -> None:
    path = written(tmp_path, "fold,No finding,Pleural effusion,Aortic enlargement,image_id", "1,0,1,0,a", "0,1,0,0,b")
    table, layout = read_labels(path, datasets)
    assert layout == "vindr"
    assert table.findings == ("No Finding", "Effusion", "Aortic enlargement")
    assert table.labels.tolist() == [[0, 1, 0], [1, 0, 0]]


@pytest.mark.parametrize(("word", "labels"), [("unknown", [1, 0]), ("positive", [1, NAN]), ("negative", [NAN, 0])])
def test_an_uncertain_label_is_a_vote_as_told(tmp_path: Path, word: str, labels: list[float]) -> None:
    # One reader is uncertain; the other sees the finding in film a and none in film b.
    rows = (
        f"a,R1,1{',0' * 27}",
        f"a,R2,-1{',0' * 27}",
        f"b,R1,0{',0' * 27}",
        f"b,R2,-1{',0' * 27}",
    )
    table, _ = read_labels(written(tmp_path, VINDR, *rows), datasets, LabelRules(uncertain=word))
    assert np.array_equal(table.labels[:, 0], labels, equal_nan=True)


def test_blank_labels_of_readers_are_not_made_negative(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"layout vindr-pcxr.*leave blank out"):
        read_labels(written(tmp_path, PCXR, "a,R1" + ",0" * 15), datasets, LabelRules(blank="negative"))


def test_boxes_of_children_have_rad_id_in_capitals(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        BOXES.replace("rad_id", "rad_ID"),
        "a,Bronchial thickening,3,R1,10,20,30,50",
        "a,Bronchial thickening,3,R2,11,20,30,50",
        "a,Cardiomegaly,5,R3,1,2,3,4",
        "b,No finding,36,R1,,,,",
    )
    table, layout = read_labels(path, datasets)
    assert layout == "vindr-boxes"
    assert table.findings == ("Bronchial thickening", "Cardiomegaly")
    assert table.labels.tolist() == [[1, 0], [0, 0]]
    assert [box.rater for box in read_boxes(path)] == ["R1", "R2", "R3"]


def test_classes_of_vinbigdata_without_boxes(tmp_path: Path) -> None:
    path = written(tmp_path, "image_id,class_name,class_id,rad_id", "a,Pleural effusion,10,R1", "b,No finding,14,R1")
    table, layout = read_labels(path, datasets)
    assert layout == "vindr-boxes"
    assert (table.films, table.findings, table.labels.tolist()) == (("a", "b"), ("Effusion",), [[1], [0]])


def test_a_submission_to_the_challenge_has_no_labels(tmp_path: Path) -> None:
    path = written(tmp_path, "image_id,PredictionString", "a,14 1 0 0 1 1")
    with pytest.raises(InputError, match=r"predictions .*column PredictionString.*expected labels.*train.csv"):
        read_labels(path, datasets)
