"""Films of public data sets that a model was trained on: marked in the scores file, and told by score and report."""

import dataclasses
import json

import numpy as np
import pytest
from click.testing import CliRunner
from made_models import made_films, made_model
from made_parts import made_part, merged
from report_scores import made_scores
from test_merge import FILMS, PARTITIONS

from cxrscore import reporting
from cxrscore.cli import main
from cxrscore.io.strict_json import check_document
from cxrscore.reporting.summary import summarise
from cxrscore.scorefile import open_scores
from cxrscore.scoring import ScoreOptions, score_films

TOLD = "Figures are not held-out: the model was trained on NIH, and 2 of 7 films have names of NIH films."
RECORD = {"set": "NIH", "films": 2, "recognised_by": "name", "trained_on": ["NIH"], "overlap": "same"}


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Six films, two of them with names of NIH films, and a file that is none; labels.csv has a row for each film."""
    folder = made_films(tmp_path_factory.mktemp("public") / "films")
    for number in (0, 1):
        (folder / f"{number:03}.png").rename(folder / f"0000001{number}_000.png")
    rows = [f"{path.name},{row % 2},0\n" for row, path in enumerate(sorted(folder.glob("*.png")))]
    (folder / "labels.csv").write_text("film,Mass,Edema\n" + "".join(rows))
    return folder


def score(films, tmp_path, *models, **changed):
    names = [made_model(tmp_path / f"{seed}.safetensors", seed, **own) for seed, own in enumerate(models)]
    given = {"films": films, "output": tmp_path / "out.h5", "model": names, "backend": "torch", "device": "cpu"}
    result = score_films(ScoreOptions(**given, **changed))
    told = open_scores(result.output).provenance
    check_document(told, "scores", "provenance", "attributes", "provenance")
    return result, told


def test_films_of_the_training_of_a_model_are_marked(films, tmp_path):
    result, told = score(films, tmp_path, {"trained_on": ["NIH", "CheXpert"]})
    assert told["not_held_out"] == [RECORD]
    assert told["models"][0]["trained_on"] == ["NIH", "CheXpert"]
    assert result.not_held_out == (TOLD,)
    assert set(open_scores(result.output).films.split) == {0}, "single films are not claimed to have been seen"


@pytest.mark.parametrize("model", [{}, {"trained_on": ["PadChest", "my own"]}])
def test_other_models_mark_nothing(films, tmp_path, model):
    result, told = score(films, tmp_path, model)
    assert "not_held_out" not in told
    assert ("trained_on" in told["models"][0]) is bool(model)
    assert result.not_held_out == ()


def test_an_ensemble_without_paths(films, tmp_path):
    """Films are recognised before their names are left out."""
    result, told = score(films, tmp_path, {"trained_on": ["RSNA"]}, {}, anonymize_paths=True, trained_on=["SIIM"])
    record = {**RECORD, "trained_on": ["RSNA", "SIIM"], "overlap": "part"}
    assert told["not_held_out"] == [record]
    assert [one["trained_on"] for one in told["models"]] == [["RSNA", "SIIM"], ["SIIM"]]
    assert "Figures may not be held-out" in result.not_held_out[0]


def test_what_the_user_says_later_is_recorded_and_nothing_is_scored_again(films, tmp_path):
    score(films, tmp_path, {})
    before = open_scores(tmp_path / "out.h5")
    result, told = score(films, tmp_path, {}, trained_on="nih")
    assert (result.computed, told["not_held_out"], result.not_held_out) == (0, [RECORD], (TOLD,))
    assert result.notes[1:] == ("what the models were trained on is recorded anew, and no film was scored again",)
    np.testing.assert_array_equal(open_scores(tmp_path / "out.h5").prob, before.prob)
    same, _ = score(films, tmp_path, {}, trained_on="nih")
    assert (same.notes, same.labels_joined) == (result.notes[:1], False)
    _, told = score(films, tmp_path, {})
    assert "not_held_out" not in told


def test_score_says_it_in_a_line_and_report_in_page_and_json(films, tmp_path):
    made_model(tmp_path / "m.safetensors", 0, trained_on=["NIH"])
    given = [str(films), "-m", str(tmp_path / "m.safetensors"), "-o", str(tmp_path / "o.h5"), "--backend", "torch"]
    done = CliRunner().invoke(main, ["score", *given, "--heatmaps", "0", "--trained-on", "mimic,,"])
    assert (done.exit_code, "has a name of 0 characters" in done.stderr) == (1, True)
    done = CliRunner().invoke(main, ["score", *given, "--heatmaps", "0", "--trained-on", "mimic"])
    assert done.stderr.count(TOLD) == 1
    scores = open_scores(tmp_path / "o.h5")
    told = reporting.write_report(scores, tmp_path / "o.html", source="o.h5", resamples=0)
    assert told["not_held_out"] == [RECORD]
    assert (told["held_out"], told["evaluation_set"]) == (0, {"films": 6, "basis": "unknown"})
    assert TOLD in told["warnings"]
    page = (tmp_path / "o.html").read_text()
    assert page.count(TOLD) == 1
    assert page.index("that are not held-out (NIH), ") < page.index(TOLD) < page.index('id="findings"')
    assert page.count("films that the model may have seen (not held-out: NIH)") >= 2  # curves, findings
    assert "films of NIH, on which the model was trained: not a test" in page
    assert "<td>NIH, MIMIC-CXR</td>" in page


def test_a_comparison_says_which_file_has_an_advantage(films, tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    score(films, one, {})
    score(films, other, {"trained_on": ["NIH"]})
    others = [reporting.open_named_scores(other / "out.h5", None)]
    scores = open_scores(one / "out.h5")
    told = reporting.write_report(scores, tmp_path / "o.html", source="one.h5", others=others, resamples=0)
    assert told["comparison"]["not_held_out"] == ["out.h5"]
    assert "out.h5</bdi>: the model was trained on the public data set of some or all films" in (
        tmp_path / "o.html"
    ).read_text().replace("<bdi>out.h5", "out.h5")


def test_a_summary_names_each_set_once_and_survives_what_a_file_says():
    scores = made_scores()
    records = [RECORD, {**RECORD, "recognised_by": "table"}, {"set": 3, "films": None}, "odd", {**RECORD, "set": None}]
    odd = dataclasses.replace(scores, provenance={**scores.provenance, "not_held_out": records})
    found = summarise(odd)
    assert (found.assessed.basis, found.assessed.public) == ("unknown", ("NIH", "3"))
    assert [text.startswith("Figures ") for text in found.warnings].count(True) == 4
    assert any(text.startswith("Other films may be of these data sets too") for text in found.warnings)
    json.dumps(found.as_dict(), allow_nan=False)
    assert summarise(scores).assessed.basis == "held-out"


def test_films_of_partial_files_are_added_up(tmp_path):
    own = [made_part(tmp_path / f"{one.number}", FILMS, one, told={"not_held_out": [RECORD]}) for one in PARTITIONS]
    told = open_scores(merged(own, tmp_path / "out.h5").output).provenance
    assert told["not_held_out"] == [{**RECORD, "films": 6}]
