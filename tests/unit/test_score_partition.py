"""Shares of a run with real networks: what a part says, how it goes on, and that all of them are the whole."""

import shutil

import pytest
from made_models import made_films, made_model
from made_run import contents

from cxrscore import MergeOptions, Partition, ScoreOptions, merge_scores, plugins
from cxrscore.errors import InputError
from cxrscore.scorefile import open_scores, read_file_provenance
from cxrscore.scoring import score_films
from cxrscore.verify import verify_file

pytestmark = pytest.mark.slow

FILMS = 140
"""And one that is broken: three shards."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("partition")
    made_films(folder / "films", films=FILMS)
    names = sorted(path.name for path in (folder / "films").iterdir())
    lines = [f"{name},patient {row % 50},{row % 2},{'' if row % 5 else 1}" for row, name in enumerate(names) if row % 9]
    (folder / "labels.csv").write_text("\n".join(["film,patient,Mass,Edema", *lines]))
    made_model(folder / "a", 1)
    made_model(folder / "b", 2, size=48)
    return folder


@pytest.fixture
def home(made, tmp_path):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


def options(home, output, partition=None, **changed):
    given = {"model": home / "a", "backend": "torch", "device": "cpu", "heatmaps": 1, "workers": 1}
    given |= {"partition": Partition.parse(partition) if partition else None}
    return ScoreOptions(films=home / "films", output=home / output, **{**given, **changed})


def parts_of(home, of, **changed):
    parts = [home / f"part{number}.h5" for number in range(1, of + 1)]
    for number, path in enumerate(parts, 1):
        score_films(options(home, path.name, f"{number}/{of}", **changed))
    return parts


def stop_after(films):
    def stop(step, done, total):
        if done >= films:
            raise InterruptedError

    return stop


# --- which partition


@pytest.mark.parametrize(("text", "number", "of"), [("1/1", 1, 1), ("2/4", 2, 4), ("007/9", 7, 9)])
def test_a_share_is_read(text, number, of):
    assert Partition.parse(text) == Partition(number=number, count=of)


@pytest.mark.parametrize("text", ["3/2", "0/2", "1/0", "-1/2", "1", "1/2/3", "", "a/b", "1/ 2", "1/1000001", "١/٢"])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(InputError, match=r"expected i/n with 1 <= i <= n"):
        Partition.parse(text)


def test_a_partition_is_whole_batches_of_the_run():
    """150 films are 18 batches of 8 and one of 6, 40 are 5. Of 9 films, 2 partitions have less than a batch each."""
    assert [Partition(number=n, count=2).rows(150, 8) for n in (1, 2)] == [range(72), range(72, 150)]
    assert [len(Partition(number=n, count=3).rows(40, 8)) for n in (1, 2, 3)] == [8, 16, 16]
    assert [len(Partition(number=n, count=2).rows(9, 8)) for n in (1, 2)] == [4, 5]
    assert [len(Partition(number=n, count=3).rows(2, 8)) for n in (1, 2, 3)] == [0, 1, 1]


# --- all partitions are the whole


@pytest.mark.parametrize(
    "changed",
    [{}, {"model": "ab", "tta": 2, "anonymize_paths": True}, {"heatmaps": 0, "no_labels": True}, {"thumbnails": 3}],
    ids=["labels", "ensemble, TTA, anonymous paths", "no heat maps, no labels", "few small films"],
)
def test_the_parts_join_to_the_file_of_one_process(home, changed):
    if "model" in changed:
        changed = {**changed, "model": tuple(home / name for name in changed["model"])}
    score_films(options(home, "whole.h5", **changed))
    parts = parts_of(home, 2, **changed)
    result = merge_scores(MergeOptions(partial_files=tuple(parts), output=home / "out.h5"))
    whole, joined = contents(home / "whole.h5"), contents(home / "out.h5")
    assert {name for name in whole.keys() | joined.keys() if whole.get(name) != joined.get(name)} == {"@provenance"}
    assert (result.films, result.failed, result.merged_files) == (FILMS + 1, 1, 2)
    assert all(verdict.passed is not False for verdict in verify_file(home / "out.h5"))
    if not changed.get("no_labels"):
        patients = open_scores(home / "out.h5").films.patient
        assert set(patients.tolist()) == {-1, *range(50)}


def test_the_line_without_shares_finds_its_work_done(home, monkeypatch):
    merge_scores(MergeOptions(partial_files=tuple(parts_of(home, 3)), output=home / "out.h5"))
    monkeypatch.setattr(plugins, "get_backend", None)
    assert score_films(options(home, "out.h5")).computed == 0


def test_a_partition_without_films_is_a_valid_part(home):
    for path in sorted((home / "films").iterdir())[2:]:
        path.unlink()
    parts = parts_of(home, 3, labels=home / "labels.csv", allow_unmatched=True)
    assert [len(open_scores(path).films.path) for path in parts] == [0, 1, 1]
    assert all(verdict.passed is not False for verdict in verify_file(parts[0]))
    again = score_films(options(home, "part1.h5", "1/3", labels=home / "labels.csv", allow_unmatched=True))
    assert (again.n_films, again.computed, again.failed, again.partition) == (0, 0, (), "1/3")
    warning = open_scores(parts[0]).provenance["warnings"][0]
    assert warning == "This is partition 1/3 of a run: none of its 2 films."
    assert merge_scores(MergeOptions(partial_files=tuple(parts), output=home / "out.h5")).films == 2


# --- a part by itself


def test_a_part_says_what_it_is_a_part_of(home):
    score_films(options(home, "whole.h5"))
    score_films(options(home, "part.h5", "2/3"))
    scores, claim = open_scores(home / "part.h5"), read_file_provenance(home / "part.h5")
    run = read_file_provenance(home / "whole.h5").fingerprint
    assert scores.provenance["partition"] == {
        "number": 2,
        "count": 3,
        "first_row": 48,
        "total_films": FILMS + 1,
        "run_fingerprint": run,
    }
    assert scores.provenance["warnings"] == ["This is partition 2/3 of a run: films 49 to 96 of 141."]
    assert (len(scores.films.path), scores.provenance["films"]["total"]) == (48, 48)
    assert scores.provenance["labels"]["labelled_films"] == 48 - 5  # every ninth has no row: 54, 63, ... 90
    assert claim.fingerprint != run
    verdicts = verify_file(home / "part.h5", films=home / "films", model=home / "a")
    assert all(verdict.passed for verdict in verdicts), verdicts


def test_a_film_that_was_changed_in_a_part_is_found(home):
    score_films(options(home, "part.h5", "2/3"))
    (home / "films" / "070.png").write_bytes((home / "films" / "000.png").read_bytes())
    (home / "films" / "001.png").write_bytes(b"")  # of another partition
    told = next(v for v in verify_file(home / "part.h5", films=home / "films") if v.check == "bytes of the films")
    assert (told.passed, "1 have changed, such as 070.png" in told.message) == (False, True)


def test_a_part_that_was_stopped_goes_on(home):
    score_films(options(home, "whole.h5", "1/2"))
    with pytest.raises(InterruptedError):
        score_films(options(home, "part.h5", "1/2"), stop_after(70))
    assert score_films(options(home, "part.h5", "1/2")).computed == 8
    whole, part = contents(home / "whole.h5"), contents(home / "part.h5")
    assert {name for name in whole if whole[name] != part[name]} == {"@provenance"}
    assert score_films(options(home, "part.h5", "1/2")).computed == 0


def test_another_share_does_not_go_on_with_a_part(home):
    with pytest.raises(InterruptedError):
        score_films(options(home, "part.h5", "1/2"), stop_after(70))
    for partition, words in (
        ("2/2", r"partition\.number: 1 -> 2"),
        ("1/3", r"partition\.count: 2 -> 3"),
        (None, "partition.number: 1 -> n"),
    ):
        with pytest.raises(InputError, match=words):
            score_films(options(home, "part.h5", partition))
    assert score_films(options(home, "part.h5", "2/2", overwrite=True)).n_films == 69


def test_a_part_keeps_to_the_films_it_began_with(home):
    given = {"no_labels": True}
    with pytest.raises(InterruptedError):
        score_films(options(home, "part1.h5", "1/2", **given), stop_after(70))
    (home / "films" / "000 new.png").write_bytes((home / "films" / "000.png").read_bytes())
    result = score_films(options(home, "part1.h5", "1/2", **given))
    assert (result.computed, result.n_films) == (8, 72)
    assert "Partitions that start now belong to another run" in result.notes[0]
    score_films(options(home, "part2.h5", "2/2", **given))
    with pytest.raises(
        InputError, match=r"different runs: films: 141 -> 142\. Films were added to or removed from the folder"
    ):
        merge_scores(MergeOptions(partial_files=(home / "part1.h5", home / "part2.h5"), output=home / "out.h5"))


def test_labels_of_a_part_are_those_of_the_whole_folder(home):
    """Which row means a film, and the number of its patient, depend on the others."""
    with pytest.raises(InterruptedError):
        score_films(options(home, "part.h5", "1/2"), stop_after(70))
    new = home / "films" / "zz new.png"
    new.write_bytes((home / "films" / "000.png").read_bytes())
    with pytest.raises(InputError, match=r"after this partition was started.*Restore the folder.*--overwrite"):
        score_films(options(home, "part.h5", "1/2"))
    new.unlink()
    assert score_films(options(home, "part.h5", "1/2")).computed == 8


def test_a_finished_part_builds_no_network(home, monkeypatch):
    score_films(options(home, "part.h5", "2/3"))
    monkeypatch.setattr(plugins, "get_backend", None)
    again = score_films(options(home, "part.h5", "2/3"))
    assert (again.computed, again.n_films, again.partition) == (0, 48, "2/3")


def test_names_of_films_without_bytes_are_rows_of_the_whole_run(home):
    given = {"anonymize_paths": True, "no_labels": True}
    with pytest.raises(InterruptedError):
        score_films(options(home, "part.h5", "2/2", **given), stop_after(8))
    (home / "films" / "130.png").unlink()
    score_films(options(home, "part.h5", "2/2", **given))
    assert open_scores(home / "part.h5").films.path[58] == "row 130"
