"""Films without a row and rows without a film: what is counted, when it is an error, and how the names differ."""

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from cxrscore.contract import LabelTable
from cxrscore.errors import InputError
from cxrscore.labels import LabelRules, datasets, join_labels, match_counts, match_warnings, read_joined_labels
from cxrscore.labels.unmatched import FAIL_ABOVE, WARN_ABOVE, MatchSummary, likely_cause

FILMS = [f"f{n:03}.png" for n in range(60)]
NUMBERED = [f"{n:08}_{n % 7:03}.png" for n in range(1, 61)]


def summary(rows: Sequence[str], films: Sequence[str] = FILMS, **labels: Sequence[float]) -> MatchSummary:
    given = labels or {"Mass": [0] * len(rows)}
    values = np.array(list(given.values()), np.float32).T.reshape(len(rows), len(given))
    return join_labels(LabelTable(films=tuple(rows), findings=tuple(given), labels=values), films).match


def test_the_counts_by_hand() -> None:
    found = summary(["f000.png", "f001.png", "gone.png"], FILMS[:4])
    assert (found.films, found.rows, found.unmatched_films, found.unmatched_rows) == (4, 3, 2, 1)
    assert found.share == pytest.approx(1 / 3)  # 2 of 4 films, 1 of 3 rows
    assert (found.film, found.row) == ("f002.png", "gone.png")
    assert found.record == {"films": 4, "unmatched_films": 2, "rows": 3, "unmatched_rows": 1}
    assert found.lines("t.csv") == (
        "warning: t.csv: 2 of 4 films have a row, 2 have none, such as 'f002.png'; 1 of 3 rows matches no film, such "
        "as 'gone.png'",
    )
    assert found.lines("t.csv", film_names=False) == (
        "warning: t.csv: 2 of 4 films have a row, 2 have none; 1 of 3 rows matches no film",
    )


def test_nothing_is_told_where_all_match() -> None:
    found = summary(FILMS)
    assert found.lines("t.csv") == ()
    assert match_warnings(found.record) == ()
    found.check("t.csv")


@pytest.mark.parametrize("films", [FILMS[:2], [*FILMS, *NUMBERED]])
def test_a_table_that_is_only_larger_or_smaller_is_told_and_no_warning(films: list[str]) -> None:
    found = summary(FILMS, films)
    assert found.share == 0
    (line,) = found.lines("t.csv")
    assert line.startswith("t.csv: ")
    assert "Likely cause" not in line
    assert match_warnings(found.record) == ()
    found.check("t.csv")


def shares(unmatched: int) -> MatchSummary:
    return summary([f"gone{n}x.png" for n in range(unmatched)] + FILMS[unmatched:])


def test_a_tenth_is_told_more_is_a_warning_and_more_than_half_an_error() -> None:
    assert (WARN_ABOVE, FAIL_ABOVE) == (0.1, 0.5)
    assert shares(6).lines("t.csv")[0].startswith("t.csv: 54 of 60 films have a row, 6 have none")
    assert match_warnings(shares(6).record) == ()
    assert shares(7).lines("t.csv")[0].startswith("warning: t.csv: 53 of 60 films have a row")
    (warning,) = match_warnings(shares(7).record)
    assert "53 of 60 films have a row, 7 have none; 7 of 60 rows match no film" in warning
    shares(30).check("t.csv")
    with pytest.raises(
        InputError, match=r"29 of 60 films have a row, 31 have none, such as 'f000\.png'; 31 of 60 rows"
    ):
        shares(31).check("t.csv")


def test_the_smaller_share_decides() -> None:
    """Labels for 36 of 60 films, of a table of 60 rows of which 20 have typing errors."""
    rows = [f"x{n}y.png" for n in range(20)] + FILMS[:40]
    assert summary(rows, FILMS[:40] + NUMBERED[:160]).share == pytest.approx(20 / 60)


def test_the_error_names_counts_examples_cause_and_option(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("film,Mass\n" + "".join(f"{name[:-4]}.jpg,{n % 2}\n" for n, name in enumerate(FILMS)))
    with pytest.raises(InputError) as error:
        read_joined_labels(path, datasets, FILMS)
    told = str(error.value)
    for part in (
        f"{path}: 0 of 60 films have a row, 60 have none, such as 'f000.png'; 60 of 60 rows match no film, such as "
        "'f000.jpg'. Likely cause: the table names .jpg files, the films are .png: remove the suffix in the table, a "
        "name without one matches any (60 more films would match)",
        "--allow-unmatched",
    ):
        assert part in told
    assert "\n" not in told
    with pytest.raises(InputError) as error:
        read_joined_labels(path, datasets, FILMS, film_names=False)
    assert "f000" not in str(error.value)
    joined, record = read_joined_labels(path, datasets, FILMS, LabelRules(allow_unmatched=True))
    assert record["match"] == {"films": 60, "unmatched_films": 60, "rows": 60, "unmatched_rows": 60}
    assert not any(joined.matched)


@pytest.mark.parametrize(
    ("rows", "films", "what"),
    [
        ([f[:-4] + ".jpg" for f in FILMS], FILMS, "the table names .jpg files, the films are .png: remove the suffix"),
        ([f[:-4] + ".dcm" for f in FILMS], FILMS, "the table names .dcm files, the films are .png: remove the suffix"),
        ([f + ".dcm" for f in FILMS], [f[:-4] for f in FILMS], "the films have no suffix: remove the suffix"),
        ([f[:-4] for f in FILMS], [f[:-4] + ".tif" for f in FILMS], "no suffix, the films are .tif: write the suffix"),
        ([f[:-4] + ".png" for f in FILMS], [f[:-4] + ".bmp" for f in FILMS], "the films are .bmp: write the suffix"),
        ([f"s/{f[:-4]}.JPG" for f in FILMS], FILMS, "the table names .JPG files, the films are .png"),
        ([f.upper() for f in FILMS], FILMS, "capital and small letters differ"),
        ([f.title() for f in FILMS], [f"a/b/{f}" for f in FILMS], "capital and small letters differ"),
        ([f[:-4] + ".PNG" for f in FILMS], FILMS, "the table names .PNG files, the films are .png"),
        ([f.upper()[:-4] + ".jpg" for f in FILMS], FILMS, "the films are .png and capital and small letters differ"),
        ([f"'{f}'" for f in FILMS], FILMS, "there are spaces or quotes around names"),
        ([f'"{f}' for f in FILMS], FILMS, "there are spaces or quotes around names"),
        ([f"{f[:-4]} .png" for f in FILMS], FILMS, "there are spaces or quotes around names"),
        (FILMS, [f" {f}" for f in FILMS], "there are spaces or quotes around names"),
        ([f"{n}_{n % 7}" for n in range(1, 61)], NUMBERED, "leading zeros differ"),
        ([f"{n}_{n % 7}.png" for n in range(1, 61)], NUMBERED, "leading zeros differ"),
        ([f"{n}.0" for n in range(1, 61)], [f"{n:06}.dcm" for n in range(1, 61)], "leading zeros differ"),
        (
            [f"{f[:-4]}_frontal.png" for f in FILMS],
            FILMS,
            "in the table are longer than those of the films, mostly by '_fr",
        ),
        (
            [f"frontal_{f}" for f in FILMS],
            FILMS,
            "in the table are longer than those of the films, mostly by 'frontal_'",
        ),
        (
            FILMS,
            [f"PA-{f}" for f in FILMS],
            "the names of the films are longer than those in the table, mostly by 'pa_'",
        ),
        (FILMS, [f"{f[:-4]}_1.2.{n * 7}.png" for n, f in enumerate(FILMS)], "the films are longer than those in the"),
        ([f"IMG{f[1:]}" for f in FILMS], FILMS, "the numbers in the names are the same, the text around them is not"),
        ([f"p{n}/view1.png" for n in range(60)], [f"{n}/view1.png" for n in range(60)], "the numbers in the names are"),
        ([f"p-{n}.png" for n in range(60)], [f"p_{n}.png" for n in range(60)], "hyphens, underscores or spaces differ"),
        ([f"p {n}.png" for n in range(60)], [f"p_{n}.png" for n in range(60)], "hyphens, underscores or spaces differ"),
        ([f"a%20{n}.png" for n in range(60)], [f"a {n}.png" for n in range(60)], "names are written as in a URL"),
        ([f"https://host/x/{f}?sig=1" for f in FILMS], FILMS, "names are written as in a URL"),
        ([f"C:%5Cx%5C{f}" for f in FILMS], FILMS, "names are written as in a URL"),
        ([f"e\u0301{n}.png" for n in range(60)], [f"\xe9{n}.png" for n in range(60)], "two Unicode forms"),
        ([f"a/{n}/v.png" for n in range(60)], [f"b/{n}/v.png" for n in range(60)], "but the folders differ"),
        ([f"a/{n}/v.jpg" for n in range(60)], [f"b/{n}/v.png" for n in range(60)], ".png and folders differ"),
        ([f"P{n}" for n in range(60)], [f"x/P{n}/0.png" for n in range(60)], "write / after each name for all films"),
        ([f"1.2.{n}.7" for n in range(60)], [f"1.2.{n}.7/s/0.dcm" for n in range(60)], "each with / at the end"),
        ([f"p/P{n}/IM1.dcm" for n in range(60)], [f"P{n}.dcm" for n in range(60)], "the films are named as folders"),
        (["1.23457E+17"] * 60, NUMBERED, "a spreadsheet has rounded the names in the table"),
    ],
)
def test_the_likely_cause(rows: list[str], films: list[str], what: str) -> None:
    """No name matches, and with the cause mended all would, except where the names are lost."""
    assert not any(
        join_labels(LabelTable(films=tuple(rows), findings=(), labels=np.zeros((60, 0), np.float32)), films).matched
    )
    found = likely_cause(rows, films)
    assert found is not None
    assert what in found.what
    assert found.films == (0 if "rounded" in what else 60)


def test_without_a_common_difference_there_is_no_cause() -> None:
    letters = random.Random(3)
    rows = ["".join(letters.choices("abcdefghij", k=9)) + ".png" for _ in FILMS]
    assert likely_cause(rows, FILMS) is None
    assert likely_cause([], FILMS) is None


def test_the_cause_of_most_is_told_with_how_many_would_match() -> None:
    rows = [f"{f[:-4]}.jpg" for f in FILMS[:40]] + [f.upper() for f in FILMS[40:]]
    found = likely_cause(rows, FILMS)
    assert found is not None
    assert found.what.startswith("the table names .jpg files")
    assert found.films == 40
    assert (found.row, found.film) == ("f000.jpg", "f000.png")


def test_a_finding_that_lost_its_positives_is_named() -> None:
    rows = [*FILMS[:57], "Gone1.png", "Gone2.png", "Gone3.png"]
    hernia, soft = [0.0] * 57 + [1.0] * 3, [0.0] * 57 + [0.9, 0.4, 0.4]
    mass, none = [1.0] * 60, [0.0] * 60
    found = summary(rows, FILMS, Hernia=hernia, Mass=mass, Edema=none)
    assert found.lost == (("Hernia", 3),)
    assert found.lines("t.csv")[1] == "t.csv: no film with Hernia is left: its 3 positive rows match no film"
    assert found.record["lost_findings"] == ["Hernia"]
    (warning,) = match_warnings(found.record)
    assert warning.startswith("no film with Hernia is left, because the positive rows match no film")
    assert summary(rows, FILMS, Hernia=soft).lines("t.csv")[1].endswith("its 1 positive row matches no film")
    both = summary(rows, FILMS, Hernia=hernia, Fibrosis=soft).lines("t.csv")[1]
    assert both == "t.csv: no film with Hernia (3) or Fibrosis (1) is left: the positive rows match no film"


def test_positives_outside_the_folder_are_told_but_no_warning() -> None:
    found = summary(FILMS, FILMS[:40], Hernia=[0.0] * 40 + [1.0] * 20)
    assert found.lines("t.csv")[1] == "t.csv: no film with Hernia is left: its 20 positive rows match no film"
    assert match_warnings(found.record) == ()


@pytest.mark.parametrize("record", [None, {}, {"films": 3}, {"films": "3", "rows": 1}, [], "x"])
def test_records_of_earlier_versions_say_nothing(record: object) -> None:
    assert match_counts(record) == ""
    assert match_warnings(record) == ()


def test_long_and_odd_names_are_told_short_and_printable() -> None:
    found = summary(["a" * 500 + "\x1b[31m"], ["f.png"])
    (line,) = found.lines("t.csv")
    assert len(line) < 400
    assert "\x1b" not in line


@pytest.mark.slow
@pytest.mark.parametrize(
    ("row", "film"), [("{:07}_a.jpg", "{:07}_a.png"), ("{:07}_a.jpg", "b_{:07}_c_d.png"), ("x{}y{}", "z")]
)
def test_many_names_are_compared_in_linear_time(row: str, film: str) -> None:
    """Each pair of these names compared once would take many minutes."""
    found = likely_cause([row.format(n, n % 7) for n in range(30_000)], [film.format(n) for n in range(30_000)])
    assert found is None if film == "z" else found is not None and found.films == 30_000
