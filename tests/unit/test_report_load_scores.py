"""Tables of anybody's scores, labels that come later, and what tables tell of films."""

import csv
import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from report_scores import FINDINGS, made_scores

from cxrscore.cli import main
from cxrscore.errors import InputError, LabelWarning
from cxrscore.images import Status
from cxrscore.labels import LabelRules
from cxrscore.reporting.compare import compare
from cxrscore.reporting.load_scores import open_named_scores, read_columns, read_score_table, with_labels
from cxrscore.reporting.summary import summarise
from cxrscore.reporting.tables import provenance_table


def table(folder: Path, text: str, name: str = "scores.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_by_hand(tmp_path: Path) -> None:
    path = table(
        tmp_path, "Image Index,prob_Mass,prob_Pleural Effusion,note\na.png,0.5,1,x\nb.png,0.25,,y\nc.png,0,0.1,\n"
    )
    scores = read_score_table(path)
    assert scores.findings == ("Mass", "Effusion")
    assert scores.films.path == ("a.png", "b.png", "c.png")
    assert scores.films.status.tolist() == [Status.OK, Status.OK, Status.OK]
    assert scores.prob.dtype == np.float64
    np.testing.assert_array_equal(scores.prob, [[0.5, 1], [0.25, np.nan], [0, 0.1]])
    assert np.isnan(scores.prob_uncalibrated).all()
    assert scores.logit[0].tolist() == [0, math.inf]
    assert np.isnan(scores.truth).all()
    assert summarise(scores).warnings == (
        "Effusion: the table has no score for 1 of 3 films. They are left out of the figures of this finding only.",
    )


def test_a_film_without_any_score_is_not_scored(tmp_path: Path) -> None:
    scores = read_score_table(table(tmp_path, "film,Mass,Edema\na,0.1,\nb,,\nc,,1\n"))
    assert scores.films.status.tolist() == [Status.OK, Status.NOT_WRITTEN, Status.OK]
    assert scores.films.message[1] == "the table has no score"


def test_the_second_probabilities_of_an_export_are_no_findings(tmp_path: Path) -> None:
    text = "film,prob_Mass,logit_Mass,prob_uncalibrated_Mass,truth_Mass\na,0.25,1,0.75,0\n"
    scores = read_score_table(table(tmp_path, text))
    assert (scores.findings, scores.prob.tolist()) == (("Mass",), [[0.25]])
    alone = read_score_table(table(tmp_path, "film,prob_uncalibrated_Mass\na,0.75\n"))
    assert alone.findings == ("uncalibrated_Mass",)


def test_each_finding_is_judged_on_all_films_that_have_its_score(tmp_path: Path) -> None:
    rows = [f"f{row},{row / 10},{'' if row < 6 else row / 10}" for row in range(10)]
    scores = read_score_table(table(tmp_path, "film,Mass,Edema\n" + "\n".join(rows) + "\n"))
    labels = table(
        tmp_path, "film,Mass,Edema\n" + "".join(f"f{row},{row % 2},{row % 2}\n" for row in range(10)), "l.csv"
    )
    found = summarise(with_labels(scores, labels, "scores.csv")[0])
    assert [(one.positives, one.negatives) for one in found.findings] == [(5, 5), (2, 2)]
    # Of Mass, 1 3 5 7 9 against 0 2 4 6 8: 1 + 2 + 3 + 4 + 5 of 25 pairs; of Edema, 7 9 against 6 8: 3 of 4.
    assert [one.auc for one in found.findings] == [15 / 25, 3 / 4]
    assert any(text.startswith("Edema: the table has no score for 6 of 10 films") for text in found.warnings)
    assert found.negative_baseline == 7 / 14


def test_a_comparison_uses_films_that_have_both_scores(tmp_path: Path) -> None:
    labels = table(tmp_path, "film,Mass\n" + "".join(f"f{row},{row % 2}\n" for row in range(8)), "l.csv")
    whole = table(tmp_path, "film,Mass,Edema\n" + "".join(f"f{row},{row / 8},0.5\n" for row in range(8)))
    cells = [f"f{row},{'' if row == 7 else 1 - row / 8},0.5\n" for row in range(8)]
    less = table(tmp_path, "film,Mass,Edema\n" + "".join(cells), "less.csv")
    found = compare([open_named_scores(path, labels) for path in (whole, less)])
    assert found is not None
    one = found.others[0].findings[0]
    # On films 0 to 6: 1 3 5 against 0 2 4 6 wins 1 + 2 + 3 of 12 pairs; turned round, 6 of 12, too.
    assert (one.positives, one.negatives, one.first, one.other) == (3, 4, 0.5, 0.5)


def test_columns_named_as_findings_will_do(tmp_path: Path) -> None:
    assert read_score_table(table(tmp_path, "film,Mass,Edema\na,0.1,0.2\n")).findings == ("Mass", "Edema")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,Mass\na,0.1\n", "no column for the film"),
        ("film,Mass\na,1.5\n", "line 2: column Mass has '1.5', expected a probability"),
        ("film,Mass\na,nan\n", "expected a probability"),
        ("film,Mass\na,yes\n", "expected a probability"),
        ("film\na\n", "one column of probabilities"),
        ("film,Effusion,Pleural Effusion\na,0,1\n", "one column of probabilities"),
        ("film,Mass\na,0.1\nb,0.1\na,0.2\n", "names the film a more than once"),
    ],
)
def test_other_tables_are_refused(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        read_score_table(table(tmp_path, text))


def test_labels_and_patients_come_from_a_table(tmp_path: Path) -> None:
    scores = read_score_table(table(tmp_path, "film,Mass\na.png,0.5\nb.png,0.25\nc.png,0.1\n"))
    labels = table(tmp_path, "film,patient,Mass,Edema\nb.png,7,1,0\nc.png,8,0,0\na.png,7,,0\n", "labels.csv")
    joined = with_labels(scores, labels, "scores.csv")[0]
    np.testing.assert_array_equal(joined.truth[:, 0], [np.nan, 1, 0])
    assert joined.films.patient.tolist() == [0, 0, 1]
    assert joined.provenance["labels"]["labelled_films"] == 3
    summary = summarise(joined)
    assert summary.assessed.basis == "unknown"
    assert [words.partition(".")[0] for words in summary.warnings] == ["The training films of the model are unknown"]


def test_blank_labels_of_a_table_count_as_asked(tmp_path: Path) -> None:
    scores = table(tmp_path, "film,Mass\na.png,0.5\nb.png,0.25\nc.png,0.1\n")
    labels = table(tmp_path, "film,Mass\na.png,1\nb.png,\n", "labels.csv")
    found = open_named_scores(scores, labels, blank="negative").scores
    np.testing.assert_array_equal(found.truth[:, 0], [1, 0, np.nan])
    assert found.provenance["labels"]["blank"] == "negative"
    assert ("Labels read with", "blank cells: negative") in dict(provenance_table(found.provenance))["Films and labels"]
    with pytest.raises(InputError, match="and none is named: expected labels"):
        open_named_scores(scores, blank="negative")
    with pytest.raises(InputError, match="uncertain is 'perhaps', expected unknown, positive, negative"):
        open_named_scores(scores, labels, uncertain="perhaps")


def test_soft_labels_are_told_and_counted_by_their_class(tmp_path: Path) -> None:
    scores = read_score_table(table(tmp_path, "film,Mass\na.png,0.5\nb.png,0.25\nc.png,0.1\nd.png,0.3\n"))
    labels = table(tmp_path, "film,Mass\na.png,0.75\nb.png,0.5\nc.png,0.25\nd.png,0\n", "labels.csv")
    summary = summarise(with_labels(scores, labels, "scores.csv")[0])
    (finding,) = summary.findings
    assert (finding.positives, finding.negatives, finding.auc) == (1, 2, 1.0)
    # By hand: the mean of 0.25^2, 0.25^2, 0.15^2 and 0.3^2.
    assert finding.brier == pytest.approx((0.0625 + 0.0625 + 0.0225 + 0.09) / 4)
    assert any(words.startswith("3 of 4 labels are soft, between 0 and 1.") for words in summary.warnings)


def test_a_table_without_patients_leaves_those_of_the_file(tmp_path: Path) -> None:
    scores = read_score_table(table(tmp_path, "film,Mass\na.png,0.5\nb.png,0.25\n"))
    own = np.array([4, 4], np.int32)
    scores = dataclasses.replace(scores, films=dataclasses.replace(scores.films, patient=own))
    labels = table(tmp_path, "film,Mass\nb.png,1\na.png,0\n", "labels.csv")
    assert with_labels(scores, labels, "scores.csv")[0].films.patient.tolist() == [4, 4]


def some_scores(tmp_path: Path) -> Path:
    lines = [f"f{n}.png,0.{n % 9 + 1}" for n in range(20)]
    return table(tmp_path, "film,Mass\n" + "\n".join(lines) + "\n")


def some_labels(tmp_path: Path, wrong: int, name: str = "g{}.png") -> Path:
    """Labels of twenty films, of which the first have another name."""
    lines = [f"{name if n < wrong else 'f{}.png'},{n % 2}".format(n) for n in range(20)]
    return table(tmp_path, "film,Mass\n" + "\n".join(lines) + "\n", "labels.csv")


def test_rows_without_a_film_are_told_up_to_a_tenth(tmp_path: Path) -> None:
    found = open_named_scores(some_scores(tmp_path), some_labels(tmp_path, 2))
    (note,) = found.notes
    assert note.startswith(
        "labels.csv: 18 of 20 films have a row, 2 have none, such as 'f0.png'; 2 of 20 rows match no"
    )
    summary = summarise(found.scores)
    assert summary.as_dict()["label_match"] == {"films": 20, "unmatched_films": 2, "rows": 20, "unmatched_rows": 2}
    assert not [one for one in summary.warnings if "match" in one]
    facts = dict(provenance_table(found.scores.provenance))["Films and labels"]
    assert ("Columns", "film = film; patient = unknown; finding = Mass") in facts
    assert ("Labels matched", "18 of 20 films have a row, 2 have none; 2 of 20 rows match no film") in facts


def test_more_than_a_tenth_is_a_warning_of_the_command_and_on_top_of_the_page(tmp_path: Path) -> None:
    with pytest.warns(LabelWarning, match=r"17 of 20 films have a row, 3 have none, such as 'f0\.png'; 3 of 20 rows"):
        found = open_named_scores(some_scores(tmp_path), some_labels(tmp_path, 3))
    assert found.notes == ()
    (warning,) = [one for one in summarise(found.scores).warnings if "match" in one]
    assert warning.startswith(
        "The names of films and label table match in part: 17 of 20 films have a row, 3 have none;"
    )
    assert "f0.png" not in str(found.scores.provenance)


def test_more_than_half_is_an_error_unless_allowed(tmp_path: Path) -> None:
    scores, labels = some_scores(tmp_path), some_labels(tmp_path, 12, "f{}.jpg")
    with pytest.raises(InputError, match=r"the table names \.jpg files, the films are \.png.*--allow-unmatched"):
        open_named_scores(scores, labels)
    with pytest.warns(LabelWarning, match="8 of 20 films have a row"):
        assert np.isfinite(open_named_scores(scores, labels, allow_unmatched=True).scores.truth).sum() == 8


def test_films_without_paths_cannot_be_joined(tmp_path: Path) -> None:
    scores = made_scores()
    private = dataclasses.replace(scores, films=dataclasses.replace(scores.films, path=scores.films.sha256))
    labels = table(tmp_path, "film,sex,Mass\na.png,F,1\n", "labels.csv")
    with pytest.raises(InputError, match=r"names its films by hashes \(score --anonymize-paths\)"):
        with_labels(private, labels, "out.h5")
    with pytest.raises(InputError, match="Score without --anonymize-paths"):
        read_columns(labels, private, "out.h5")


def test_columns_need_no_finding(tmp_path: Path) -> None:
    scores = read_score_table(table(tmp_path, "film,Mass\na.png,0.5\nb.png,0.25\n"))
    about = table(tmp_path, "film,Sex,Age,scanner,patient\nb.png,female,061Y,GE,9\nz.png,M,2,Philips,8\n", "about.csv")
    found = read_columns(about, scores, "scores.csv")
    assert dict(found) == {"sex": ("", "F"), "age": ("", "61"), "scanner": ("", "GE")}
    with pytest.raises(InputError, match=r"has no row for any film of scores.csv, which are named like 'a.png'"):
        read_columns(table(tmp_path, "film,sex\nq.png,F\n", "other.csv"), scores, "scores.csv")
    with pytest.raises(InputError, match="no column that is known to name the films"):
        read_columns(table(tmp_path, "who,sex\nq.png,F\n", "other.csv"), scores, "scores.csv")


def test_the_film_column_of_the_label_table_names_the_films_of_groups_too(tmp_path: Path) -> None:
    scores = read_score_table(table(tmp_path, "film,Mass\na.png,0.5\nb.png,0.25\n"))
    labels = table(tmp_path, "Bild,Mass,ward\na.png,1,ICU\nb.png,0,ER\n", "labels.csv")
    labelled, _ = with_labels(scores, labels, "scores.csv", LabelRules(film_column="Bild"))
    assert dict(read_columns(labels, labelled, "scores.csv")) == {"Mass": ("1", "0"), "ward": ("ICU", "ER")}
    about = table(tmp_path, "film,Bild\nb.png,a.png\n", "about.csv")
    assert dict(read_columns(about, labelled, "scores.csv")) == {"Bild": ("", "a.png")}


def test_by_needs_groups(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["report", str(tmp_path / "a.h5"), "--group-by", "sex"])
    assert result.exit_code == 2
    assert "--groups" in result.output


@pytest.mark.slow
@pytest.mark.shared
def test_the_peers_scores_give_the_areas_that_are_known(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data" / "nih442"
    page = tmp_path / "peer.html"
    arguments = [
        str(folder / "peer_preds.csv"),
        "--labels",
        str(folder / "labels.csv"),
        "-o",
        str(page),
        "--json",
        "-q",
    ]
    result = CliRunner().invoke(main, ["report", *arguments, "--groups", str(folder / "labels.csv")])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["macro_auc"] == pytest.approx(0.78, abs=0.005)
    assert [one["column"] for one in told["subgroups"]] == ["sex", "age", "view"]
    with (folder / "peer_preds.csv").open() as scores, (folder / "labels.csv").open() as labels:
        words = {row["Image Index"]: row["Finding Labels"].split("|") for row in csv.DictReader(labels)}
        rows = list(csv.DictReader(scores))
    for finding, one in zip(FINDINGS, told["findings"], strict=True):
        ones = [float(row[f"prob_{finding}"]) for row in rows if finding in words[row["Image Index"]]]
        zeros = [float(row[f"prob_{finding}"]) for row in rows if finding not in words[row["Image Index"]]]
        above = [(p > q) + (p == q) / 2 for p in np.float32(ones) for q in np.float32(zeros)]
        assert one["auc"] == pytest.approx(np.mean(above), abs=1e-9)
        assert (one["finding"], one["positives"], one["negatives"]) == (finding, len(ones), len(zeros))
    html = page.read_text(encoding="utf-8")
    assert "no heat maps" in html
    assert html.count("The training films of the model are unknown.") == 1


def test_an_h5_goes_by_its_suffix(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        open_named_scores(table(tmp_path, "film,Mass\na,0.5\n", "scores.h5"))
    assert open_named_scores(table(tmp_path, "film,Mass\na,0.5\n")).name == "scores.csv"


def test_a_label_table_of_other_findings_is_said(tmp_path: Path) -> None:
    scores = read_score_table(table(tmp_path, "film,prob_Mass,prob_Edema\na.png,0.5,1\n"))
    labels = table(tmp_path, "film,Bone,Skull\na.png,1,0\n", "labels.csv")
    with pytest.warns(
        LabelWarning, match=r"labels.csv \(Bone, Skull\) and the model \(Mass, Edema\) have no finding in common"
    ):
        with_labels(scores, labels, "scores.csv")
