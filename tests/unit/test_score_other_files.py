"""Files of the folder that are no films: counted in the result, the scores file, merged files and the report."""

import json

import pytest
from corpus_bytes import archive, chest, dicom, png
from made_models import made_films, made_model

from cxrscore.merge import MergeOptions, merge_scores
from cxrscore.reporting import open_named_scores, write_report
from cxrscore.scorefile import open_scores
from cxrscore.scoring import ScoreOptions, score_films
from cxrscore.verify import verify_file

pytestmark = pytest.mark.slow

KINDS = {
    "not_opened": {".csv": 2, "DICOMDIR": 1},
    "no_film": {".dat": 1, ".smith": 1, "other suffixes": 1},
    "not_supported": {"TIFF image": 2},
}
SENTENCE = (
    "8 other files: 2 .csv, 1 DICOMDIR (not opened); 1 .dat, 1 .smith, 1 with other suffixes (opened, no film); "
    "2 TIFF images (not supported)"
)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """71 films, of which one is damaged, and five under other names and in an archive, of which two are no chests."""
    pytest.importorskip("pydicom")
    folder = tmp_path_factory.mktemp("others")
    films = folder / "films"
    made_films(films, films=70)
    made_model(folder / "model", 1)
    (films / "1.2.840.99.101").write_bytes(dicom())
    (films / "CR.1.2.276.4").write_bytes(png(chest(7)))
    (films / "SR.1.2.276.5").write_bytes(dicom(Modality="SR"))
    (films / "disc").write_bytes(archive({"./IM0001": dicom(), "a//1.2": dicom(Modality="SR"), "DICOMDIR": dicom()}))
    for name, data in {"a.csv": b"x", "b.csv": b"x", "a.dat": b"x", "a.smith": b"x", "a.1": b"x"}.items():
        (films / name).write_bytes(data)
    for name in ("a.tif", "1.2.3.tiff"):
        (films / name).write_bytes(b"II*\0")
    return folder


def scored(home, output, **changed):
    given = {"model": (home / "model",), "backend": "torch", "device": "cpu", "heatmaps": 0, "no_labels": True}
    return score_films(ScoreOptions(films=home / "films", output=home / output, **{**given, **changed}))


@pytest.fixture(scope="module")
def result(home):
    return scored(home, "out.h5")


def test_films_under_any_name_are_scored_and_all_else_is_counted(home, result):
    assert (result.n_films, result.scored) == (76, 73)
    failed = dict(zip([film for film, _ in result.failed], result.failed_statuses, strict=True))
    assert {film: failed[film] for film in failed if film != "broken.png"} == {
        "SR.1.2.276.5": "NOT_CHEST",
        "disc/a/1.2": "NOT_CHEST",
    }
    assert len(failed) == 3
    assert result.other_files == KINDS
    films = open_scores(home / "out.h5").provenance["films"]
    assert (films["other_files"], films["other_files_by_kind"]) == (8, KINDS)
    again = scored(home, "out.h5")
    assert (again.computed, again.other_files, again.failed_statuses) == (0, KINDS, result.failed_statuses)
    assert all(check.passed is not False for check in verify_file(home / "out.h5", films=home / "films"))


def test_the_report_says_which_files_are_no_films(home, result):
    named = open_named_scores(home / "out.h5", None)
    summary = write_report(named.scores, home / "out.html", source="out.h5", resamples=0)
    assert summary["other_files"] == KINDS
    page = (home / "out.html").read_text()
    assert f"; {SENTENCE}." in page
    assert page.count(SENTENCE) == 2  # also in the provenance


def test_a_file_without_kinds_is_readable(home, result):
    named = open_named_scores(home / "out.h5", None)
    del named.scores.provenance["films"]["other_files_by_kind"]
    summary = write_report(named.scores, home / "old.html", source="out.h5", resamples=0)
    assert summary["other_files"] == {}
    page = (home / "old.html").read_text()
    assert "other files:" not in page
    assert "Other files in it" in page


def test_where_names_are_hidden_no_unusual_suffix_is_shown(home):
    hidden = scored(home, "hidden.h5", anonymize_paths=True)
    kinds = {**KINDS, "no_film": {"other suffixes": 2, ".dat": 1}}
    assert hidden.other_files == kinds
    assert open_scores(home / "hidden.h5").provenance["films"]["other_files_by_kind"] == kinds
    assert "smith" not in json.dumps(open_scores(home / "hidden.h5").provenance)


def test_merged_files_count_the_folder_once(home):
    for part in ("1/2", "2/2"):
        assert scored(home, f"{part[0]}.h5", partition=part).other_files == KINDS
    merge_scores(MergeOptions(partial_files=(home / "1.h5", home / "2.h5"), output=home / "merged.h5"))
    films = open_scores(home / "merged.h5").provenance["films"]
    assert (films["total"], films["other_files"], films["other_files_by_kind"]) == (76, 8, KINDS)
