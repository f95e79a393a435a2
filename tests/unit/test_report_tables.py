"""The worded tables of a report, and the look-ups in a provenance that may hold anything."""

import base64
import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
from few_scores import few_scores
from report_scores import FAILED, FINDINGS, made_scores

from cxrscore.images import Status
from cxrscore.reporting import tables
from cxrscore.reporting.drawn import csv_uri
from cxrscore.reporting.provenance import get_nested, get_number, get_text, get_texts, read_training


def test_failed_films_keep_their_reason_and_message() -> None:
    scores = made_scores()
    found = tables.failures(scores)
    wanted = [(scores.films.path[row], code.name.lower().replace("_", " "), words) for row, code, words in FAILED]
    rows = [(path, group.reason, message) for group in found.groups for path, message in group.films]
    assert (rows, found.total) == (wanted, 5)
    assert dict(found.reasons)["not an image"] == 1


def failures_of(messages: list[str]) -> tables.Failures:
    scores = made_scores(len(messages))
    status = np.full(len(messages), Status.NOT_CHEST, np.uint8)
    films = dataclasses.replace(scores.films, status=status, message=messages)
    return tables.failures(dataclasses.replace(scores, films=films))


def test_films_that_failed_for_one_reason_are_one_group() -> None:
    found = failures_of([f"modality SR, {number} bytes" for number in range(597)] + ["modality KO"] * 3)
    assert [(len(group.films), group.total, group.more) for group in found.groups] == [(20, 597, 577), (3, 3, 0)]
    assert found.groups[0].films[1] == (made_scores(600).films.path[1], "modality SR, 1 bytes")
    assert (found.listed, found.total, found.reasons) == (600, 600, (("not chest", 600),))


def test_the_table_of_failed_films_is_cut_and_counts_on() -> None:
    found = failures_of([f"reason {'x' * (number % 550)}" for number in range(600)])
    assert sum(len(group.films) for group in found.groups) == 500
    assert (found.listed, found.total) == (500, 600)


def test_a_status_of_a_later_version_is_shown_by_its_number() -> None:
    assert (tables.status_words(8), tables.status_words(0), tables.status_words(200)) == (
        "several frames",
        "not written",
        "status 200",
    )


def test_highest_films_against_a_plain_sort() -> None:
    scores = made_scores()
    scored = [row for row in range(200) if scores.films.status[row] == Status.OK]
    for column, one in enumerate(tables.highest_films(scores)):
        ranked = sorted(scored, key=lambda row: -scores.prob[row, column])[:3]
        wanted = [(scores.films.path[row], float(scores.prob[row, column]), "") for row in ranked]
        assert [(film.path, film.prob, film.times) for film in one.films] == wanted
        assert [film.seen for film in one.films] == [
            "seen in training" if row < 40 else "seen in validation" if row < 60 else "" for row in ranked
        ]
        assert [film.thumbnail is not None for film in one.films] == [row % 2 == 0 for row in ranked]
        np.testing.assert_array_equal([film.truth for film in one.films], scores.truth[ranked, column])
        reached = sum(scores.prob[row, column] >= scores.thresholds[column] for row in scored)
        assert one.above == (None if FINDINGS[column] == "Hernia" else reached)
        assert one.scored == 195


def test_thumbnails_of_the_highest_films_are_small_and_few(monkeypatch: pytest.MonkeyPatch) -> None:
    films = [film for one in tables.highest_films(made_scores()) for film in one.films]
    assert {film.thumbnail.shape for film in films if film.thumbnail is not None} == {(85, 85, 3)}
    monkeypatch.setattr(tables, "MAX_PICTURES", 2)
    films = [film for one in tables.highest_films(made_scores()) for film in one.films]
    assert len({film.path for film in films if film.thumbnail is not None}) == 2


@pytest.mark.parametrize(
    ("truth", "label"), [(1, "positive"), (0.7, "positive"), (0.1, "negative"), (0.5, ""), (float("nan"), "")]
)
def test_soft_labels_are_named_as_the_metrics_count_them(truth: float, label: str) -> None:
    film = tables.highest_films(made_scores())[0].films[0]
    assert dataclasses.replace(film, truth=truth).label == label


def test_the_highest_films_as_a_table_to_save() -> None:
    scores = few_scores(paths=["a.png", "=b.png"], prob=[[0.25, 0.5], [0.1, 0.9]])
    names, *rows = tables.highest_rows(tables.highest_films(scores))
    first = dict(zip(names, rows[0], strict=True))
    assert [row[:3] for row in rows] == [
        ("Mass", 1, "a.png"), ("Mass", 2, "=b.png"), ("Edema", 1, "=b.png"), ("Edema", 2, "a.png"),
    ]  # fmt: skip
    assert (first["probability"], first["label"], first["split"]) == (0.25, "positive", "")
    assert (first["threshold"], first["films_at_or_above"], first["films_scored"]) == (pytest.approx(0.2), 1, 2)
    saved = base64.b64decode(csv_uri([names, *rows]).partition(",")[2]).decode("utf-8-sig").splitlines()
    assert saved[0].startswith("finding,rank,film,probability,label,split,prevalence")
    assert saved[2].startswith("Mass,2,'=b.png,0.1")
    assert saved[3].split(",")[6] == ""  # no prevalence is recorded


def test_facts_tell_what_is_known_and_nothing_else() -> None:
    told = {name: dict(rows) for name, rows in tables.provenance_table(made_scores().provenance)}
    assert told["Run"]["Heat maps"] == "grad-cam, layer relu"
    assert told["Model"]["Input"] == "400 pixels a side"
    assert told["Training"]["Split"] == "train 40, valid 20, test 140, rule by patient"
    assert told["Training"]["Best epoch"] == "20, by validation macro AUC"
    assert tables.provenance_table({}) == ()
    assert tables.provenance_table({}, "rescaled (7)") == (
        ("Films and labels", (("Films read with", "rescaled (7)"),)),
    )
    assert tables.provenance_table({"models": [{"file": "m"}]}) == (
        ("Run", (("Probabilities", "Probabilities are of unknown calibration."),)),
        ("Model", (("File", "m"),)),
    )


def test_raw_provenance_is_ascii_and_cut() -> None:
    assert json.loads("\n".join(tables.raw_json({"a": "\u202e"}))) == {"a": "\u202e"}
    assert "\u202e" not in "".join(tables.raw_json({"a": "\u202e"}))
    lines = tables.raw_json({"a": "x" * 300_000})
    assert sum(map(len, lines)) < 201_000
    assert lines[-1].startswith("... truncated")


@pytest.mark.parametrize("tree", [None, 3, "word", [1], {}, {"a": None}, {"a": "b"}, {"a": [{"b": 1}]}])
def test_look_ups_below_what_is_not_there(tree: Any) -> None:
    assert get_nested(tree, "a", "b", "c") is None
    assert get_text(tree, "a", "b", "c") == ""
    assert get_texts(tree, "a", "b", "c") == ()
    assert math.isnan(get_number(tree, "a", "b", "c"))


def test_numbers_are_numbers() -> None:
    told = {"int": 3, "float": 0.5, "word": "3", "yes": True, "huge": 10**400}
    assert (get_number(told, "int"), get_number(told, "float")) == (3.0, 0.5)
    assert all(math.isnan(get_number(told, key)) for key in ("word", "yes", "huge"))


def test_a_history_of_anything() -> None:
    told = {"history": [{"epoch": 1, "train_loss": 0.5}, {"epoch": "two"}, "three", None], "best_epoch": "x"}
    found = read_training({"document": {"training": told}})
    assert [epoch.number for epoch in found.epochs] == [1]
    assert math.isnan(found.epochs[0].valid_loss)
    assert (found.best_epoch, found.has_leakage, found.monitor) == (None, False, "")
    assert read_training({"document": {"training": {"history": {"epoch": 1}}}}).epochs == ()
