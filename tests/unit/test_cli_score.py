"""What `cxrscore score` says at its end: nothing that is lost goes unsaid, and no name of a file does anything."""

import dataclasses
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from cxrscore import scoring
from cxrscore.cli import main
from cxrscore.errors import InputError
from cxrscore.scoring import ScoreResult

EVIL = "ward\n\x1b[2Jall films scored\u202e.png"


def ended(failed: tuple[tuple[str, str], ...], unread: tuple[str, ...] = ()) -> ScoreResult:
    return ScoreResult(
        output=Path("o.h5"),
        n_films=2,
        scored=2 - len(failed),
        failed=failed,
        computed=2,
        seconds=1.0,
        backend="stub",
        models=("ab" * 32,),
        tta=1,
        unreadable_paths=unread,
    )


@pytest.mark.parametrize(
    ("failed", "unread", "code", "words"),
    [
        ((), (), 0, "2 of 2 films scored"),
        ((("b.png", "blank"),), (), 3, "not scored: b.png: blank"),
        ((), ("ward 3 could not be read",), 3, "films may be missing: ward 3 could not be read"),
        (((EVIL, "blank"),), (), 3, "not scored: ward[U+000A][U+001B][2Jall films scored[U+202E].png: blank"),
        ((), (EVIL,), 3, "films may be missing: ward[U+000A][U+001B][2Jall"),
    ],
)
def test_what_was_not_scored_is_said(
    monkeypatch: pytest.MonkeyPatch, failed: tuple[tuple[str, str], ...], unread: tuple[str, ...], code: int, words: str
) -> None:
    monkeypatch.setattr(scoring, "score_films", lambda *given: ended(failed, unread))
    done = CliRunner().invoke(main, ["score", ".", "-o", "o.h5"])
    assert (done.exit_code, words in done.stderr) == (code, True), done.stderr


def test_notes_on_films_are_counted_by_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    noted = {"grey range taken from its pixels": 9, "orientation tag ignored": 4}
    result = dataclasses.replace(ended(()), noted_films=12, film_notes=noted)
    monkeypatch.setattr(scoring, "score_films", lambda *given: result)
    done = CliRunner().invoke(main, ["score", ".", "-o", "o.h5", "--json"])
    assert done.stderr.splitlines()[-2] == (
        "notes on 12 films: grey range taken from its pixels (9), orientation tag ignored (4); cxrscore report says "
        "what to do"
    )
    told = json.loads(done.stdout)
    assert (done.exit_code, told["noted_films"], told["film_notes"]) == (0, 12, noted)


def test_films_without_notes_need_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "score_films", lambda *given: ended(()))
    assert "notes on" not in CliRunner().invoke(main, ["score", ".", "-o", "o.h5"]).stderr


def test_films_of_one_name_are_told_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As films of the same bytes have, without paths."""
    monkeypatch.setattr(scoring, "score_films", lambda *given: ended((("ab" * 32, "empty"),) * 2))
    done = CliRunner().invoke(main, ["score", ".", "-o", "o.h5", "--json"])
    assert done.stderr.count(f"not scored: {'ab' * 32}: empty") == 2
    assert json.loads(done.stdout)["failed"] == [{"film": "ab" * 32, "message": "empty"}] * 2


def told(films: int, *words: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """What is printed of 1,500 structured reports and these films of another reason, and the films of the JSON text."""
    failed = tuple(
        (f"sr{number:04}.dcm", f"modality {('SR', 'PR', 'KO')[number % 3]}, {number} bytes") for number in range(1500)
    )
    failed += tuple((f"{number}.png", "blank") for number in range(films))
    result = dataclasses.replace(
        ended(failed, tuple(f"ward {number} could not be read" for number in range(23))),
        failed_statuses=("NOT_CHEST",) * 1500 + ("BLANK",) * films,
        other_files={"not_opened": {".csv": 2, ".txt": 1}, "no_film": {".dat": 3}, "not_supported": {"TIFF image": 2}},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "score_films", lambda *given: result)
        done = CliRunner().invoke(main, ["score", ".", "-o", "o.h5", "--json", *words])
    values = json.loads(done.stdout)
    assert values["other_files"] == result.other_files
    return done.stderr, tuple((one["film"], one["status"]) for one in values["failed"])


@pytest.mark.parametrize("few", [2, 3])
def test_many_films_of_one_reason_are_one_line(few: int) -> None:
    text, films = told(few)
    assert [line for line in text.splitlines() if line.startswith("not scored")] == [
        "not scored: 1,500 films, NOT_CHEST, such as sr0000.dcm: modality SR, 0 bytes",
        *(f"not scored: {number}.png: blank" for number in range(few)),
    ]
    assert text.count("films may be missing: ward") == 20
    assert "films may be missing: 3 more could not be read; -v names them" in text
    assert films[0] == ("sr0000.dcm", "NOT_CHEST")
    assert len(films) == 1500 + few


def test_four_films_of_one_reason_are_one_line_and_with_v_four() -> None:
    assert "not scored: 4 films, BLANK, such as 0.png: blank\n" in told(4)[0]
    text, _ = told(4, "-v")
    assert text.count("not scored: ") == 1504
    assert text.count("films may be missing: ward") == 23


def test_files_that_are_no_films_are_told_by_kind() -> None:
    line = "8 other files: 2 .csv, 1 .txt (not opened); 3 .dat (opened, no film); 2 TIFF images (not supported)"
    assert line in told(1)[0].splitlines()


def test_an_error_that_names_a_file_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: object) -> None:
        raise InputError(f"{EVIL} is no film")

    monkeypatch.setattr(scoring, "score_films", fail)
    done = CliRunner().invoke(main, ["score", ".", "-o", "o.h5"])
    assert (done.exit_code, done.stderr.count("\n"), "\x1b" in done.stderr) == (1, 1, False)
