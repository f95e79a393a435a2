"""How labels are read: uncertain and blank cells by finding, the choice of findings, and the column of weights."""

from pathlib import Path

import numpy as np
import pytest

from cxrscore.contract import Dataset, LabelTable
from cxrscore.errors import InputError
from cxrscore.labels import LabelRules, datasets, read_joined_labels, read_labels, unusual_findings
from cxrscore.labels.chexpert import OBSERVATIONS

NAN = float("nan")


def written(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def chexpert(tmp_path: Path, *rows: dict[str, str], extra: str = "") -> Path:
    """A CheXpert table of one film per row; each row names the cells that are not blank."""
    lines = [f"Path,Sex,Age,Frontal/Lateral,AP/PA,{','.join(OBSERVATIONS)}{extra and ',' + extra}"]
    for number, row in enumerate(rows):
        cells = ",".join(row.get(name, "") for name in (*OBSERVATIONS, *([extra] if extra else ())))
        lines.append(f"train/patient{number:05d}/study1/view1_frontal.jpg,Male,60,Frontal,AP,{cells}")
    return written(tmp_path, *lines)


def column(table: LabelTable, finding: str) -> list[float]:
    return [float(value) for value in table.labels[:, table.findings.index(finding)]]


ROWS = (
    {"Atelectasis": "-1.0", "Edema": "-1.0", "Pleural Effusion": "-1.0"},
    {"Atelectasis": "1.0", "Edema": "0.0"},
    {"No Finding": "1.0"},
)


@pytest.mark.parametrize(
    ("uncertain", "atelectasis", "edema", "effusion"),
    [
        ("unknown", [NAN, 1, 0], [NAN, 0, 0], [NAN, NAN, 0]),
        # The mixed policy of Irvin et al. 2019.
        ("negative,Atelectasis=positive,Edema=positive", [1, 1, 0], [1, 0, 0], [0, NAN, 0]),
        ("Atelectasis=positive,edema=negative", [1, 1, 0], [0, 0, 0], [NAN, NAN, 0]),
        ("positive, Pleural Effusion=unknown", [1, 1, 0], [1, 0, 0], [NAN, NAN, 0]),
    ],
)
def test_uncertain_by_finding(tmp_path, uncertain, atelectasis, edema, effusion):
    table, _ = read_labels(chexpert(tmp_path, *ROWS), datasets, LabelRules(uncertain=uncertain))
    np.testing.assert_array_equal(column(table, "Atelectasis"), atelectasis)
    np.testing.assert_array_equal(column(table, "Edema"), edema)
    np.testing.assert_array_equal(column(table, "Effusion"), effusion)


def test_blank_is_negative_and_uncertain_stays_unknown(tmp_path):
    path = chexpert(tmp_path, *ROWS)
    table, _ = read_labels(path, datasets, LabelRules(blank="negative"))
    np.testing.assert_array_equal(column(table, "Atelectasis"), [NAN, 1, 0])
    np.testing.assert_array_equal(column(table, "Effusion"), [NAN, 0, 0])
    np.testing.assert_array_equal(column(table, "Fracture"), [0, 0, 0])
    some, _ = read_labels(path, datasets, LabelRules(blank="Fracture=negative", uncertain="positive"))
    np.testing.assert_array_equal(column(some, "Effusion"), [1, NAN, 0])
    np.testing.assert_array_equal(column(some, "Fracture"), [0, 0, 0])
    np.testing.assert_array_equal(column(some, "Support Devices"), [NAN, NAN, NAN])


def test_only_films_with_a_row_get_a_blank_as_negative(tmp_path):
    path = written(tmp_path, "film,Mass,Edema", "a.png,1,", "b.png,,")
    joined, record = read_joined_labels(path, datasets, ["a.png", "b.png", "c.png"], LabelRules(blank="negative"))
    np.testing.assert_array_equal(joined.labels, [[1, 0], [0, 0], [NAN, NAN]])
    assert record["blank"] == "negative"
    assert "uncertain" not in record


def test_an_empty_cell_of_nih_is_a_blank(tmp_path):
    path = written(tmp_path, "Image Index,Finding Labels", "a.png,Mass", "b.png,")
    table, _ = read_labels(path, datasets, LabelRules(blank="Mass=negative"))
    np.testing.assert_array_equal(column(table, "Mass"), [1, 0])
    np.testing.assert_array_equal(column(table, "Edema"), [0, NAN])


def test_a_layout_that_is_unknown_for_other_reasons_has_no_blanks(tmp_path):
    path = written(tmp_path, "ImageID,Labels", "a.png,['unchanged']")
    with pytest.raises(InputError, match=r"has the layout padchest.*leave blank out"):
        read_labels(path, datasets, LabelRules(blank="negative"))
    read_labels(path, datasets, LabelRules(blank="unknown"))


def test_a_reader_of_a_plugin_is_read_as_it_is(tmp_path):
    labels = np.array([[1, NAN]], np.float32)
    made = LabelTable(films=("a.png",), findings=("Mass", "Edema"), labels=labels)
    mine = Dataset(name="mine", summary="", recognises=lambda columns: True, read=lambda path: made)
    path = written(tmp_path, "film,Mass", "a.png,1")
    table, _ = read_labels(path, [mine], LabelRules(uncertain="positive", blank="Edema=negative"))
    assert table.labels.tolist() == [[1, 0]]
    np.testing.assert_array_equal(labels, [[1, NAN]])


@pytest.mark.parametrize("option", ["uncertain", "blank"])
def test_a_finding_that_the_table_lacks_is_named(tmp_path, option):
    rules = LabelRules(**{option: "Atelectasia=negative"})
    message = rf"{option} names the finding 'Atelectasia', which .*labels.csv lacks \(did you mean 'Atelectasis'\?\)"
    with pytest.raises(InputError, match=f"{message}; it has No Finding, Enlarged Cardiomediastinum, "):
        read_labels(chexpert(tmp_path, *ROWS), datasets, rules)
    with pytest.raises(InputError, match=f"{option} names the finding 'Atelectasia'.*it has Mass$"):
        read_labels(written(tmp_path, "film,Mass", "a.png,1"), datasets, rules)


def test_findings_are_chosen_in_the_order_asked(tmp_path):
    path = chexpert(tmp_path, *ROWS)
    table, _ = read_labels(path, datasets, LabelRules(findings=("Pleural Effusion", "Atelectasis")))
    assert table.findings == ("Effusion", "Atelectasis")
    np.testing.assert_array_equal(table.labels, [[NAN, NAN], [NAN, 1], [0, 0]])
    with pytest.raises(InputError, match=r"findings names the finding 'Mas'.*it has No Finding"):
        read_labels(path, datasets, LabelRules(findings=("Mas",)))


def test_the_other_columns_of_a_generic_table_are_texts(tmp_path):
    path = written(tmp_path, "film,male,Mass,stage,fold,Tube", "a.png,1,1,3,0,0.25", "b.png,0,0,4,1,")
    table, _ = read_labels(path, datasets, LabelRules(findings=("Tube", "Mass")))
    assert table.findings == ("Tube", "Mass")
    np.testing.assert_array_equal(table.labels, [[0.25, 1], [NAN, 0]])
    assert table.columns == {"male": ("1", "0"), "stage": ("3", "4"), "fold": ("0", "1")}
    with pytest.raises(InputError, match=r"findings names the finding 'Tub'.*did you mean 'Tube'"):
        read_labels(path, datasets, LabelRules(findings=("Mass", "Tub")))
    with pytest.raises(InputError, match="line 2: column stage has '3', expected 0, 1 or nothing"):
        read_labels(path, datasets, LabelRules(findings=("stage",)))
    # A rule may name a finding of the table that is not chosen.
    read_labels(path, datasets, LabelRules(findings=("Mass",), blank="Tube=negative"))


def test_a_model_is_evaluated_on_its_findings_whatever_else_the_table_has(tmp_path):
    path = written(tmp_path, "film,patient,Mass,weight,opinion", "a.png,p1,0.25,71.5,yes", "b.png,p2,,3,no")
    table, _ = read_labels(path, datasets, LabelRules(model=("Edema", "Mass")))
    assert (table.findings, table.patients, table.columns) == (("Mass",), ("p1", "p2"), {})
    np.testing.assert_array_equal(table.labels, [[0.25], [NAN]])
    blank = LabelRules(model=("Edema", "Mass"), blank="Mass=negative,opinion=unknown")
    assert read_labels(path, datasets, blank)[0].labels.tolist() == [[0.25], [0]]
    with pytest.raises(InputError, match="blank names the finding 'Hernia'"):
        read_labels(path, datasets, LabelRules(model=("Mass",), blank="Hernia=negative"))
    assert read_labels(path, datasets, LabelRules(model=("opinion",)))[0].labels.tolist() == [[1], [0]]
    assert read_labels(path, datasets, LabelRules(model=("Edema",)))[0].findings == ("Mass",)


def test_findings_that_no_public_table_names():
    assert unusual_findings("plain", ("Mass", "male", "Support Devices", "Scoliosis", "fold")) == ("male", "fold")
    assert unusual_findings("course", ("male",)) == ()


def test_a_column_of_weights_is_no_finding(tmp_path):
    path = written(tmp_path, "film,Mass,w", "a.png,1,0.5", "b.png,0,2.5")
    table, _ = read_labels(path, datasets, LabelRules(weight_column="w"))
    assert (table.findings, table.columns) == (("Mass",), {"w": ("0.5", "2.5")})
    mostly = written(tmp_path, "film,Mass,w", *(f"{i}.png,1,0.5" for i in range(18)), "b.png,0,2.5", "c.png,0,")
    with pytest.raises(InputError, match=r"column w has '2\.5'"):  # more probably a typing slip than another number
        read_labels(mostly, datasets)


def test_a_column_of_weights_in_the_table_of_a_data_set(tmp_path):
    path = chexpert(tmp_path, {"Edema": "1.0", "trust": "3"}, {"Edema": "0.0", "trust": "1"}, extra="trust")
    joined, record = read_joined_labels(
        path, datasets, ["patient00001/study1/view1_frontal.jpg", "x.png"], LabelRules(weight_column="trust")
    )
    assert joined.columns["trust"] == ("1", "")
    assert record["weight_column"] == "trust"


@pytest.mark.parametrize(
    ("lines", "column", "message"),
    [
        (
            ("film,Mass,weight", "a.png,1,1"),
            "wieght",
            r"names the column 'wieght', .* lacks \(did you mean 'weight'\?\)",
        ),
        (("film,Mass,Edema", "a.png,1,1"), "Mass", None),  # left out of the findings: Edema remains
        (("Image Index,Finding Labels,Mass", "a.png,Mass,1"), "Mass", "names the column 'Mass' .*which is a finding"),
        (
            ("image_id,rad_id,Aortic enlargement,Pleural effusion", "a,R1,0,1"),
            "rad_id",
            "a table with one row per film.*layout vindr",
        ),
    ],
)
def test_columns_that_cannot_be_weights(tmp_path, lines, column, message):
    path = written(tmp_path, *lines)
    if message is None:
        assert read_labels(path, datasets, LabelRules(weight_column=column))[0].findings == ("Edema",)
        return
    with pytest.raises(InputError, match=message):
        read_labels(path, datasets, LabelRules(weight_column=column))
