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


def test_an_error_that_names_a_file_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: object) -> None:
        raise InputError(f"{EVIL} is no film")

    monkeypatch.setattr(scoring, "score_films", fail)
    done = CliRunner().invoke(main, ["score", ".", "-o", "o.h5"])
    assert (done.exit_code, done.stderr.count("\n"), "\x1b" in done.stderr) == (1, 1, False)
