"""Parts joined: what is refused, what is said, and what stays as it was."""

import shutil
from pathlib import Path
from typing import Any

import h5py
import pytest
from made_parts import differing, made_part, made_parts, made_whole, merged, tampered, three, with_three

from cxrscore import merge
from cxrscore.errors import FileFormatError, InputError, WriteError
from cxrscore.io.strict_json import check_document
from cxrscore.progress import no_progress
from cxrscore.scorefile import Partition, open_scores, partial_file, read_file_provenance

FILMS = 200
PARTITIONS = [Partition(number=number, count=3) for number in (1, 2, 3)]
"""Films 0 to 127, 128 to 191 and 192 to 199."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return with_three(tmp_path, FILMS)


# --- what is made


def test_blocks_of_any_size_join_to_the_same_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (1 << 15, 50, 7):
        monkeypatch.setattr(partial_file, "BLOCK", size)
        merged(three(home), home / "out.h5")
        assert differing(home / "out.h5", home / "whole.h5") == {"@provenance"}


def test_the_parts_stay_and_nothing_else_is_left(home: Path) -> None:
    before = {path.name: path.read_bytes() for path in home.iterdir()}
    result = merged(three(home), home / "new" / "out.h5")
    assert {path.name: path.read_bytes() for path in home.iterdir() if path.is_file()} == before
    assert [path.name for path in (home / "new").iterdir()] == ["out.h5"]
    assert (home / "new" / "out.h5").stat().st_mode & 0o777 == 0o600
    assert (result.films, result.failed, result.merged_files) == (FILMS, 29, 3)  # every seventh film is damaged


def test_provenance_is_joined(home: Path) -> None:
    merged(three(home)[::-1], home / "out.h5", command=("merge", "x"))
    told = open_scores(home / "out.h5").provenance
    check_document(told, "scores", "provenance", "attributes", "provenance")
    assert (told["command"], told["created"]) == (["merge", "x"], "2026-01-02T03:04:08+00:00")
    assert (told["seconds"], told["films_per_second"]) == (6.0, round(FILMS / 6, 3))
    assert (told["machine"], told["partition"], told["warnings"]) == (None, None, ["Films were added."])
    assert told["backend"] == {"name": "stub", "golden_difference": 0.128}
    assert told["films"] == {"folder": "films", "total": 200, "scored": 200, "failed": 0, "other_files": 3}
    assert told["labels"]["labelled_films"] == FILMS
    assert [(one["file"], one["partition"], one["films"]) for one in told["partial_files"]] == [
        ("part-1.h5", "1/3", 64),
        ("part-2.h5", "2/3", 64),
        ("part-3.h5", "3/3", 72),
    ]
    assert [one["machine"]["name"] for one in told["partial_files"]] == ["node0", "node64", "node128"]
    assert told["partial_files"][1]["fingerprint"] == read_file_provenance(home / "part-2.h5").fingerprint


def test_without_paths_no_file_is_named(tmp_path: Path) -> None:
    own = [made_part(tmp_path / f"{one.number}", FILMS, one, anonymize_paths=True) for one in PARTITIONS]
    told = open_scores(merged(own, tmp_path / "out.h5", command=("merge", "secret")).output).provenance
    assert told["command"] == []
    assert [one["file"] for one in told["partial_files"]] == ["", "", ""]


def test_one_part_that_is_all_is_joined_to_itself(tmp_path: Path) -> None:
    part = made_part(tmp_path / "part.h5", 70, Partition(number=1, count=1))
    merged([part], tmp_path / "out.h5")
    assert differing(tmp_path / "out.h5", made_whole(tmp_path / "whole.h5", 70)) == {"@provenance"}


def test_what_all_parts_say_of_the_models_is_held_once(home: Path) -> None:
    """It is long, and parts are many."""
    first, second, third = merge._read(three(home), no_progress)
    assert first.provenance["models"][0]["document"] == {"spec": {"size": 64}}
    assert first.provenance["models"] is second.provenance["models"] is third.provenance["models"]


# --- what does not belong together


def refused(match: str, own: list[Path], home: Path, kind: type[Exception] = InputError, **options: Any) -> None:
    before = sorted(path.name for path in home.iterdir())
    with pytest.raises(kind, match=match):
        merged(own, home / "out.h5", **options)
    assert sorted(path.name for path in home.iterdir()) == before


def test_missing_parts_are_named_with_what_makes_them(home: Path) -> None:
    one, two, three_ = three(home)
    refused(r"partition 3/3 is missing: run `cxrscore score \.\.\. --shard 3/3 -o \.\.\.`$", [one, two], home)
    refused(r"partition 1/3 is missing.*; partition 3/3 is missing", [two], home)
    refused(r"partition 1/3 is missing", [three_, two], home)
    many = made_part(home / "many.h5", 1300, Partition(number=2, count=30))
    refused(r"partition 1/30 is missing.*partition 6/30 is missing.*; and 24 more are missing$", [many], home)


def test_a_share_without_films_is_not_missing(tmp_path: Path) -> None:
    own = made_parts(tmp_path, 2, 3)
    films = [len(open_scores(path).films.path) for path in own]
    assert films == [0, 1, 1]
    assert merged(own, tmp_path / "out.h5").films == 2
    assert differing(tmp_path / "out.h5", made_whole(tmp_path / "whole.h5", 2)) == {"@provenance"}
    assert merged(own[1:], tmp_path / "other.h5").films == 2


def test_a_part_given_twice_is_refused_by_both_names(home: Path) -> None:
    shutil.copy(home / "part-2.h5", home / "copy.h5")
    refused(r"(part-2|copy)\.h5 and .*(part-2|copy)\.h5 are both partition 2/3", [*three(home), home / "copy.h5"], home)
    refused(r"part-2\.h5 and .*part-2\.h5 are the same file", [*three(home), home / "." / "part-2.h5"], home)
    (home / "link.h5").symlink_to(home / "part-1.h5")
    refused(r"part-1\.h5 and .*link\.h5 are the same file", [*three(home), home / "link.h5"], home)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"batch_size": 16},
            r"part-1\.h5 and .*other\.h5 belong to different runs: batch_size: 8 -> 16\. Score",
        ),
        ({"model": "cd" * 32}, "different runs: model: "),
        ({"told": {"labels": None}}, r"have different label tables: one of SHA-256 cdcdcdcdcdcdcdcd and none"),
        ({"told": {"labels": {"sha256": "ef" * 32}}}, "have different label tables"),
    ],
)
def test_parts_of_different_runs_are_refused(home: Path, changed: dict[str, Any], words: str) -> None:
    other = made_part(home / "other.h5", FILMS, PARTITIONS[2], **changed)
    refused(words, [*three(home)[:2], other], home)


def test_parts_of_different_divisions_are_refused(home: Path) -> None:
    half = made_part(home / "half.h5", FILMS, Partition(number=2, count=2))
    refused("were divided into different numbers of partitions: 3 and 2", [*three(home), half], home)


def test_a_film_that_came_between_is_told(home: Path) -> None:
    late = made_part(home / "late.h5", FILMS + 1, PARTITIONS[2])
    refused(
        r"different runs: films: 200 -> 201\. Films were added to or removed from the folder",
        [*three(home)[:2], late],
        home,
    )


def test_a_whole_file_is_no_part(home: Path) -> None:
    refused(r"whole\.h5 is a complete scores file, not a partial one", [*three(home), home / "whole.h5"], home)


def test_no_part_at_all_is_refused(home: Path) -> None:
    refused("no partial file is given", [], home)
    refused(r"there is no file .*none\.h5", [home / "none.h5"], home)


# --- what is damaged, or made to deceive


@pytest.mark.slow
def test_a_damaged_part_is_named_with_advice(home: Path) -> None:
    path = home / "part-2.h5"
    whole = path.read_bytes()
    for data in (whole[:5000], b"", b"no HDF5" * 100):
        path.write_bytes(data)
        refused(r"part-2\.h5.*Remove it, score this partition again", three(home), home, FileFormatError)
    found = 0
    for place in range(2000, len(whole), 499):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            merged(three(home), home / "out.h5")
            assert differing(home / "out.h5", home / "whole.h5") <= {"@provenance"}
        except InputError:
            found += 1
            assert not (home / "out.h5").exists() or differing(home / "out.h5", home / "whole.h5") == {"@provenance"}
    assert found > 10


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda own: own["partition"].update(number=3), "which does not match partition 3/3 of 200"),
        (lambda own: own["partition"].update(first_row=0), "which does not match partition 2/3 of 200"),
        (lambda own: own["partition"].update(count=0), "expected i/n"),
        (lambda own: own["partition"].update(count=True), "do not name its partition"),
        (lambda own: own["partition"].update(total_films=1 << 50), "do not name its partition"),
        (lambda own: own["partition"].update(thumbnails=-1), "do not name its partition"),
        (lambda own: own.update(partition=[1]), "do not name its partition"),
        (lambda own: own["partition"].update(paths="ab" * 32), "its fingerprint does not match its inputs"),
        (lambda own: own.update(batch_size=9), "which does not match partition 2/3 of 200"),
        (lambda own: own.update(batch_size=64), "its fingerprint does not match its inputs"),
    ],
)
def test_a_part_that_lies_about_its_share_is_refused(home: Path, change: Any, words: str) -> None:
    tampered(home / "part-2.h5", "inputs", change)
    refused(words, three(home), home, FileFormatError)


def test_films_of_another_part_are_refused(home: Path) -> None:
    """Though all else is right: the list of films is that of the run, in its order."""
    with h5py.File(home / "part-2.h5", "r+") as file:
        paths = file["films/path"][()]
        file["films/path"][:] = paths[::-1]
    refused("do not match their run", three(home), home, FileFormatError)


def test_provenance_of_another_kind_is_refused(home: Path) -> None:
    tampered(home / "part-2.h5", "provenance", lambda own: own.update(seconds="long"))
    refused(r'part-2\.h5: provenance: seconds: "long" is not of type', three(home), home, FileFormatError)


# --- the output


def test_an_output_of_the_same_run_is_replaced_and_no_other(home: Path) -> None:
    merged(three(home), home / "out.h5")
    merged(three(home), home / "out.h5")
    other = made_whole(home / "other.h5", 70).read_bytes()
    (home / "out.h5").write_bytes(other)
    with pytest.raises(InputError, match=r"out\.h5 is of another run\. Use --overwrite"):
        merged(three(home), home / "out.h5")
    (home / "out.h5").write_bytes(b"a thesis")
    with pytest.raises(InputError, match=r"out\.h5 exists and is not a scores file"):
        merged(three(home), home / "out.h5")
    assert (home / "out.h5").read_bytes() == b"a thesis"
    merged(three(home), home / "out.h5", overwrite=True)
    assert differing(home / "out.h5", home / "whole.h5") == {"@provenance"}


def test_a_part_is_not_overwritten(home: Path) -> None:
    before = (home / "part-1.h5").read_bytes()
    with pytest.raises(InputError, match="is an input of this command"):
        merged(three(home), home / "part-1.h5", overwrite=True)
    assert (home / "part-1.h5").read_bytes() == before


def test_an_output_that_cannot_be_written_is_a_write_error(home: Path) -> None:
    with pytest.raises(WriteError):
        merged(three(home), home / "part-1.h5" / "out.h5")


def test_another_process_that_merges_is_named(home: Path) -> None:
    (home / "out.h5.lock").write_text("elsewhere 17\n")
    with pytest.raises(InputError, match="process 17 on elsewhere"):
        merged(three(home), home / "out.h5")


def test_a_link_in_place_of_the_half_made_file_is_not_followed(home: Path) -> None:
    (home / "theirs").write_bytes(b"of somebody else")
    (home / ".out.h5.merging").symlink_to(home / "theirs")
    merged(three(home), home / "out.h5")
    assert (home / "theirs").read_bytes() == b"of somebody else"
    assert not (home / "out.h5").is_symlink()
