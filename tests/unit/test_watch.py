"""A watch scores each film once: whatever comes, goes, changes or fails between its rounds."""

import dataclasses
import errno
import os
import shutil
import sqlite3
import time

import made_watch
import pytest
from made_watch import FUTURE, killed_at, made_config, made_films, made_up, rounds, scored

from cxrscore.errors import FileFormatError, InputError, LockLostError, WriteError
from cxrscore.remote import read_remote
from cxrscore.scorefile import open_scores
from cxrscore.watching import exports, selection, watcher
from cxrscore.watching.known_films import INDEX

CSV = '[[export]]\nto = "csv"\noutput = "csv"\n'


@pytest.fixture
def home(tmp_path, monkeypatch):
    made_up(monkeypatch)
    return tmp_path


def of_kind(told, kind):
    return [one for one in told if one["kind"] == kind]


def test_each_round_scores_what_is_new_into_files_of_limited_size(home):
    config = made_config(home, films_per_file=2)
    made_films(home, "a", "b", "sub/c")
    result, told = rounds(config)
    assert (result.files, result.scored, result.failed) == (2, 3, 0)
    made_films(home, "d")
    assert rounds(config)[0].files == 1
    assert rounds(config)[0].files == 0
    files = sorted(config.output.glob("*.h5"))
    assert [open_scores(file).films.path for file in files] == [("a.png", "b.png"), ("sub/c.png",), ("d.png",)]
    assert [file.name[-7:] for file in files] == ["0001.h5", "0002.h5", "0003.h5"]
    assert [one["file"] for one in of_kind(told, "scored")] == [file.name for file in files[:2]]


def test_the_same_bytes_under_another_name_are_counted_and_not_scored(home):
    config = made_config(home)
    made_films(home, "a")
    made_films(home, "copy", "copy2", content="a")
    result, _ = rounds(config)
    assert (result.scored, result.duplicates) == (1, 2)
    made_films(home, "copy3", content="a")
    assert (rounds(config)[0].duplicates, rounds(config)[0].duplicates) == (1, 0)
    assert scored(config) == {"a.png": 1}


@pytest.mark.parametrize("hidden", [False, True])
def test_a_new_content_under_a_known_name_is_a_new_film(home, hidden):
    config = made_config(home, f"[score]\nanonymize_paths = {str(hidden).lower()}\n")
    made_films(home, "a")
    rounds(config)
    made_films(home, "a", content="a new content")
    assert rounds(config)[0].scored == 1
    made_films(home, "a", content="a")  # the first content again
    result, _ = rounds(config)
    assert (result.scored, result.duplicates) == (0, 1)
    assert len(list(config.output.glob("*.h5"))) == 2
    assert any(path == "a.png" for path in scored(config)) is not hidden


def test_a_touched_film_is_read_and_not_scored_again(home):
    config = made_config(home)
    made_films(home, "a")
    rounds(config)
    os.utime(home / "films" / "a.png")
    result, _ = rounds(config)
    assert (result.scored, result.duplicates) == (0, 0)


def test_an_unchanged_film_is_not_read(home, monkeypatch):
    made_up(monkeypatch, FUTURE)
    config = made_config(home)
    made_films(home, "a")
    rounds(config)
    monkeypatch.setattr(selection, "film_digest", lambda path: 1 / 0)
    assert rounds(config)[0].files == 0


def test_a_film_that_is_still_being_copied_waits(home, monkeypatch):
    made_up(monkeypatch, FUTURE)
    config = made_config(home, min_age=1000)
    made_films(home, "a", "b")

    def grow():
        made_films(home, "b", content="b and more")

    assert rounds(config)[0].waiting == 2
    rounds(config, 2, after_1=grow)
    assert scored(config) == {"a.png": 1}
    old = os.stat(home / "films" / "b.png").st_mtime - 2000
    os.utime(home / "films" / "b.png", (old, old))  # a program may set this time, but not that of the last change
    assert rounds(config)[0].waiting == 1


def test_what_cannot_be_read_is_tried_again_up_to_a_bound_and_what_is_damaged_is_not(home, monkeypatch):
    made_up(monkeypatch, FUTURE)
    # Ages later, so that no pause holds a retry back.
    monkeypatch.setattr(watcher, "Selection", lambda *given: selection.Selection(*given, clock=lambda: 5e9))
    config = made_config(home, retries=2)
    made_films(home, "a", content="? not received")
    made_films(home, "b", content="! damaged")
    result, told = rounds(config)
    assert (result.failed, len(of_kind(told, "not_scored"))) == (2, 2)
    assert [rounds(config)[0].failed for _ in range(2)] == [1, 1]
    result, _ = rounds(config)
    assert (result.failed, result.given_up) == (0, 1)
    assert scored(config) == {"a.png": 3, "b.png": 1}


def test_a_film_that_could_not_be_read_is_scored_when_its_bytes_have_changed(home):
    config = made_config(home, retries=0)
    made_films(home, "a", content="? not received")
    assert rounds(config)[0].failed == 1
    made_films(home, "a", content="now it is there")
    assert rounds(config)[0].scored == 1


def test_a_removed_index_is_made_anew_from_the_scores_files(home):
    config = made_config(home, films_per_file=1)
    made_films(home, "a", "b")
    rounds(config)
    (config.output / INDEX).write_bytes(b"no database" * 1000)
    _, told = rounds(config)
    assert "damaged" in of_kind(told, "index_rebuilt")[0]["text"]
    (config.output / INDEX).unlink()
    assert rounds(config)[0].files == 0
    assert scored(config) == {"a.png": 1, "b.png": 1}


def test_without_the_index_anonymized_films_are_known_by_their_bytes(home):
    config = made_config(home, "[score]\nanonymize_paths = true\n")
    made_films(home, "a", "b")
    rounds(config)
    (config.output / INDEX).unlink()
    assert rounds(config)[0].scored == 0
    assert b"a.png" not in (config.output / INDEX).read_bytes()


def test_so_are_those_at_a_url(home, monkeypatch):
    fsspec = pytest.importorskip("fsspec")
    store = fsspec.filesystem("memory")
    store.pipe("/watched/a.png", b"a")
    monkeypatch.setattr(made_watch, "read_text", lambda place: read_remote(place, 99).decode())
    config = made_config(home, "[score]\nanonymize_paths = true\n", films="memory://watched")
    assert [rounds(config)[0].scored for _ in range(2)] == [1, 0]
    (config.output / INDEX).unlink()
    store.pipe("/watched/b.png", b"b")
    result, _ = rounds(config)
    assert (result.scored, result.duplicates) == (1, 1)
    assert rounds(config)[0].scored == 0


@pytest.mark.parametrize("hidden", [False, True])
def test_the_films_of_a_removed_scores_file_are_scored_again(home, hidden):
    config = made_config(home, f"[score]\nanonymize_paths = {str(hidden).lower()}\n", films_per_file=1)
    made_films(home, "a", "b")
    rounds(config)
    next(config.output.glob("*0001.h5")).unlink()
    result, told = rounds(config)
    assert result.scored == 1
    assert "gone" in of_kind(told, "index_rebuilt")[0]["text"]


def test_scores_with_other_options_count_and_are_told(home):
    made_films(home, "a")
    rounds(made_config(home, "[score]\nheatmaps = 1\n"))
    result, told = rounds(made_config(home, "[score]\nheatmaps = 2\n"))
    assert (result.files, of_kind(told, "other_inputs")[0]["inputs"]) == (0, ["heatmaps"])


def test_a_run_that_was_begun_with_other_options_is_scored_anew(home, monkeypatch):
    config = made_config(home, "[score]\nheatmaps = 1\n")
    made_films(home, *map(str, range(70)))
    with monkeypatch.context() as context:
        context.setattr(made_watch, "_shard", lambda options, paths, rows: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            rounds(config)
    assert list(config.output.glob("*.parts"))
    result, told = rounds(made_config(home, "[score]\nheatmaps = 2\n"))
    assert (result.scored, len(of_kind(told, "discarded"))) == (70, 1)
    assert not list(config.output.glob("*.parts"))


def test_exports_follow_each_file_and_are_tried_again_until_they_are_done(home, monkeypatch):
    config = made_config(home, CSV, films_per_file=1)
    made_films(home, "a", "b")
    real, tries = exports.export_scores, []

    def down(scores, options):
        tries.append(options.output.name)
        raise WriteError("the server is down")

    monkeypatch.setattr(exports, "export_scores", down)
    result, told = rounds(config)
    assert (result.scored, result.pending_exports, len(tries)) == (2, 2, 1)  # once a round, then it waits
    assert "the server is down" in of_kind(told, "export_failed")[0]["text"]
    monkeypatch.setattr(exports, "export_scores", lambda *given: 1 / 0)
    assert "ZeroDivisionError" in of_kind(rounds(config)[1], "export_failed")[0]["text"]
    monkeypatch.setattr(exports, "export_scores", real)
    result, told = rounds(config)
    assert (result.pending_exports, len(of_kind(told, "exported"))) == (0, 2)
    assert sorted(path.name[-8:] for path in (home / "csv").iterdir()) == ["0001.csv", "0002.csv"]
    assert of_kind(rounds(config)[1], "exported") == []


def test_an_export_that_lacks_films_is_tried_again_after_a_pause_and_up_to_a_bound(home, monkeypatch):
    config = made_config(home, CSV, retries=2)
    made_films(home, "a")
    real, made, times = exports.export_scores, [], [0.0]

    def incomplete(scores, options):
        made.append(times[0])
        return dataclasses.replace(real(scores, options), failed=[("a.png", "its source is down")])

    monkeypatch.setattr(exports, "export_scores", incomplete)
    monkeypatch.setattr(exports.time, "time", lambda: time.time_ns() / 1e9 + times[0])
    result, told = rounds(config)
    assert (result.pending_exports, of_kind(told, "exported")[0]["tried_again"]) == (1, True)
    assert "a.png: its source is down" in of_kind(told, "not_exported")[0]["text"]
    for pause in (
        100,
        130,
        140,
        230,
        300,
        1000,
    ):  # 2 and 4 intervals of 60 s after each try, whose file has the true time
        times[0] = pause
        rounds(config)
    assert made == [0, 130, 300]
    assert rounds(config)[0].pending_exports == 0


def test_an_export_of_a_file_without_a_film_for_it_is_done(home):
    config = made_config(home, '[[export]]\nto = "dicom"\noutput = "dicom"\n')
    made_films(home, "a")  # no DICOM film, so there is nothing to refer to
    result, told = rounds(config)
    assert (result.pending_exports, [one["failed"] for one in of_kind(told, "exported")]) == (0, [0])
    assert [one["kind"] for one in rounds(config)[1]] == ["started", "round"]


def test_a_new_export_is_made_of_all_scores_files(home):
    made_films(home, "a")
    rounds(made_config(home))
    assert len(of_kind(rounds(made_config(home, CSV))[1], "exported")) == 1
    assert (
        len(
            of_kind(
                rounds(made_config(home, CSV.replace('"csv"\n', '"other"\n', 2).replace('to = "other"', 'to = "csv"')))[
                    1
                ],
                "exported",
            )
        )
        == 1
    )


def test_a_folder_that_is_empty_or_gone_is_told_and_waited_for(home):
    config = made_config(home)
    made_films(home, "a")
    rounds(config)

    def lose():
        (home / "films").rename(home / "elsewhere")

    def empty():
        (home / "films").mkdir()

    def back():
        (home / "films").rmdir()
        (home / "elsewhere").rename(home / "films")
        made_films(home, "b")

    _, told = rounds(config, 4, after_1=lose, after_2=empty, after_3=back)
    assert [one["kind"] for one in told] == ["started", "round", "error", "no_films", "round", "scored", "round"]
    assert scored(config) == {"a.png": 1, "b.png": 1}
    shutil.rmtree(home / "films")
    with pytest.raises(InputError, match="is not a folder"):
        rounds(config)


def test_an_output_folder_that_is_gone_is_waited_for_and_another_in_its_place_ends_the_watch(home):
    config = made_config(home)
    made_films(home, "a")
    out, aside = config.output, home / "aside"

    def lose():
        out.rename(aside)
        made_films(home, "b")

    _, told = rounds(config, 3, after_1=lose, after_2=lambda: aside.rename(out))
    assert of_kind(told, "error")[0]["text"].endswith("is gone or empty: is its disk mounted? Trying again in 60 s.")
    assert scored(config) == {"a.png": 1, "b.png": 1}

    def replace():
        out.rename(aside)
        out.mkdir()
        (out / "of another watch").touch()

    with pytest.raises(LockLostError, match="Start the watch again"):
        rounds(config, 3, after_1=replace)


def test_a_second_watch_is_refused_and_a_damaged_scores_file_is_named(home):
    config = made_config(home)
    made_films(home, "a")

    def second():
        with pytest.raises(InputError, match=f"is held by process {os.getpid()}"):
            rounds(config)

    rounds(config, 2, after_1=second)
    next(config.output.glob("*.h5")).write_bytes(b"damaged")
    with pytest.raises(FileFormatError, match=r"0001\.h5"):
        rounds(config)


def test_a_full_disk_is_told_and_the_run_goes_on_when_there_is_room(home, monkeypatch):
    config, real = made_config(home), watcher.score_listed
    made_films(home, "a")

    def full(*given):
        monkeypatch.setattr(watcher, "score_listed", real)
        raise WriteError("cannot write out.h5: No space left on device.")

    monkeypatch.setattr(watcher, "score_listed", full)
    _, told = rounds(config, 2)
    assert "No space left" in of_kind(told, "error")[0]["text"]
    assert scored(config) == {"a.png": 1}


def test_an_error_of_the_system_is_told_without_the_name_of_a_file(home, monkeypatch):
    config, real = made_config(home), watcher.find_films
    made_films(home, "a")

    def stale(*given, **options):
        monkeypatch.setattr(watcher, "find_films", real)
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), "/films/canary.png")

    monkeypatch.setattr(watcher, "find_films", stale)
    _, told = rounds(config, 2)
    assert "Stale file handle" in of_kind(told, "error")[0]["text"]
    assert "canary" not in str(told)
    assert scored(config) == {"a.png": 1}


def _drop_table(index):
    with sqlite3.connect(index) as database:
        database.execute("DROP TABLE paths")
    database.close()


def _replace(index):
    index.rename(index.with_name("aside"))
    index.write_bytes(b"")


@pytest.mark.parametrize("damage", [_drop_table, os.unlink, _replace], ids=["table", "removed", "replaced"])
def test_an_index_that_breaks_while_the_watch_runs_is_made_anew(home, damage):
    config = made_config(home)
    made_films(home, "a")

    def break_index():
        damage(config.output / INDEX)
        made_films(home, "b")

    _, told = rounds(config, 3, after_1=break_index)
    assert "cannot use the index" in of_kind(told, "error")[0]["text"]
    assert scored(config) == {"a.png": 1, "b.png": 1}


def test_with_anonymized_paths_no_file_and_no_line_names_a_film(home):
    config = made_config(home, f"[score]\nanonymize_paths = true\n{CSV}")
    made_films(home, "canary-a", "canary-folder/b")
    made_films(home, "canary-bad", content="! damaged")
    made_films(home, "canary-lost", content="? not received")
    (home / "films" / "canary-link.png").symlink_to(home / "nowhere")
    _, told = rounds(config)
    assert {"scored", "not_scored", "unreadable", "exported"} <= {one["kind"] for one in told}
    written = [path for path in home.rglob("*") if path.is_file() and home / "films" not in path.parents]
    assert len(written) > 4
    assert not [path for path in written if b"canary" in path.read_bytes() or "canary" in path.name]
    assert "canary" not in str(told)


@pytest.mark.slow
def test_a_watch_that_is_killed_anywhere_scores_each_film_once_and_makes_each_export(home):
    kills = 0
    for number in range(1, 400, 8):
        place = home / str(number)
        place.mkdir()
        config = made_config(place, CSV, films_per_file=2)
        made_films(place, "a", "b", "c")
        if not killed_at(config, number):
            break
        kills += 1
        rounds(config)
        assert scored(config) == {"a.png": 1, "b.png": 1, "c.png": 1}, number
        assert len(list((place / "csv").glob("*.csv"))) == len(list(config.output.glob("*.h5"))) == 2
        assert not [
            path for path in config.output.rglob("*") if path.name.endswith((".parts", ".done", ".lock", ".part"))
        ]
    assert kills > 10
