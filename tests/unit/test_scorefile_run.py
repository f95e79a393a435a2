"""A run on disk: what is stored, what is refused, and how it goes on."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from made_run import FINDINGS, contents, made_file, made_run, made_shard, merge, score

from cxrscore.errors import FileFormatError, InputError, WriteError
from cxrscore.scorefile import HeatMaps, Run, Thumbnails, open_run, open_scores, shard_size
from cxrscore.scorefile.columns import create_column
from cxrscore.scorefile.layout import LAYOUT


@pytest.mark.parametrize(
    ("films", "size"), [(1, 64), (64_999, 64), (65_000, 65), (1_000_000, 1000), (4_096_000, 4096), (10**8, 4096)]
)
def test_shards_are_a_thousandth_of_the_run_within_bounds(films: int, size: int) -> None:
    assert shard_size(films, 1) == size


@pytest.mark.parametrize(
    ("films", "batch", "size"), [(65_000, 8, 64), (130_000, 8, 128), (500, 48, 48), (500, 100, 64)]
)
def test_shards_are_complete_batches_which_they_bound(films: int, batch: int, size: int) -> None:
    assert shard_size(films, batch) == size


def test_shards_cover_the_films_once_in_order(tmp_path: Path) -> None:
    run = made_run(tmp_path / "out.h5", 150)
    assert run.shards == (range(64), range(64, 128), range(128, 150))


def test_a_run_from_start_to_end(tmp_path: Path) -> None:
    run = made_run(tmp_path / "out.h5")
    assert not run.complete
    assert [run.done(k) for k in range(3)] == [False] * 3
    run.write(1, made_shard(run.shards[1]))
    assert [run.done(k) for k in range(3)] == [False, True, False]
    score(run)
    assert not run.complete
    assert merge(run) == tmp_path / "out.h5"
    assert run.complete
    assert run.done(0)
    assert [path.name for path in tmp_path.iterdir()] == ["out.h5"]
    assert run.output.stat().st_mode & 0o777 == 0o600


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    run = made_run(tmp_path / "out.h5")
    score(run)
    shards = [made_shard(rows) for rows in run.shards]
    for number, shard in enumerate(shards):
        back = run.read(number)
        np.testing.assert_array_equal(back.logit, shard.logit)
        assert list(back.message) == list(shard.message)
        np.testing.assert_array_equal(back.heat_maps.film, shard.heat_maps.film)
    scores = open_scores(merge(run))
    assert scores.findings == FINDINGS
    assert scores.films.path == run.manifest.paths
    assert scores.films.message == tuple(text for shard in shards for text in shard.message)
    assert scores.films.sha256 == tuple(text for shard in shards for text in shard.sha256)
    for name in ("logit", "prob"):
        np.testing.assert_array_equal(getattr(scores, name), np.concatenate([getattr(s, name) for s in shards]))
    for name in ("status", "width", "height"):
        np.testing.assert_array_equal(getattr(scores.films, name), np.concatenate([getattr(s, name) for s in shards]))
    for name in ("map", "film", "finding"):
        wanted = np.concatenate([getattr(s.heat_maps, name) for s in shards])
        np.testing.assert_array_equal(getattr(scores.heat_maps, name), wanted)
    np.testing.assert_array_equal(scores.films.split, np.arange(150) % 4)
    np.testing.assert_array_equal(scores.films.patient, np.arange(150) // 2)
    np.testing.assert_array_equal(scores.thresholds, np.float32([0.5, np.nan, 0.25]))
    assert np.isnan(scores.truth[0]).all()
    assert scores.truth[1].tolist() == [1, 0, 1]
    assert scores.thumbnails.pixels.shape == (2, 8, 8)
    assert scores.provenance["created"] == "2026-01-02T03:04:05+00:00"


def test_two_runs_give_equal_files(tmp_path: Path) -> None:
    first, second = (made_file(tmp_path / name / "out.h5") for name in "ab")
    assert contents(first) == contents(second)
    assert first.read_bytes() == second.read_bytes()


def test_shards_may_be_written_in_any_order_and_twice(tmp_path: Path) -> None:
    run, other = (made_run(tmp_path / "out.h5") for _ in "ab")
    for number in (2, 0, 1):
        run.write(number, made_shard(run.shards[number]))
        other.write(number, made_shard(run.shards[number]))
    assert contents(merge(run)) == contents(made_file(tmp_path / "again" / "out.h5"))
    # The slower worker finds its work done, however far it was.
    assert other.complete
    other.write(2, made_shard(other.shards[2]))
    assert merge(other) == run.output
    assert [path.name for path in tmp_path.iterdir() if path.name != "again"] == ["out.h5"]


def test_a_run_without_heat_maps_or_thumbnails(tmp_path: Path) -> None:
    run = made_run(tmp_path / "out.h5", 70)
    none = HeatMaps(map=np.zeros((0, 1, 1), np.float16), film=np.zeros(0, np.int32), finding=np.zeros(0, np.int16))
    for number, rows in enumerate(run.shards):
        run.write(number, dataclasses.replace(made_shard(rows), heat_maps=none))
    empty = Thumbnails(film=np.zeros(0, np.int32), pixels=np.zeros((0, 8, 8), np.uint8))
    scores = open_scores(merge(run, thumbnails=empty))
    assert scores.heat_maps.map.shape == (0, 1, 1)
    assert scores.thumbnails.pixels.shape == (0, 8, 8)


def test_heat_maps_may_be_missing_from_some_shards_but_not_differ_in_size(tmp_path: Path) -> None:
    run = made_run(tmp_path / "out.h5")
    score(run)
    shard = made_shard(run.shards[1])
    none = HeatMaps(map=np.zeros((0, 1, 1), np.float16), film=np.zeros(0, np.int32), finding=np.zeros(0, np.int16))
    wide = dataclasses.replace(shard.heat_maps, map=np.zeros((len(shard.heat_maps.film), 4, 4), np.float16))
    run.write(1, dataclasses.replace(shard, heat_maps=wide))
    with pytest.raises(InputError, match="different sizes"):
        merge(run)
    run.write(1, dataclasses.replace(shard, heat_maps=none))
    assert set(open_scores(merge(run)).heat_maps.film // 64) == {0, 2}


def test_long_messages_are_cut_and_odd_names_kept(tmp_path: Path) -> None:
    names = ["caf\N{LATIN SMALL LETTER E WITH ACUTE}.png", "line\nbreak.png", "raw\udcff.png"]
    run = open_run(tmp_path / "out.h5", names, FINDINGS, {})
    shard = dataclasses.replace(made_shard(range(3)), message=["x" * 1000, "", "y"])
    run.write(0, shard)
    scores = open_scores(merge(run))
    assert scores.films.path == run.manifest.paths
    assert scores.films.message == ("x" * 200, "", "y")


def test_a_provenance_larger_than_an_object_header(tmp_path: Path) -> None:
    run = made_run(tmp_path / "out.h5", 4)
    score(run)
    long = {"warnings": ["x" * 1_000_000]}
    assert open_scores(merge(run, provenance=long)).provenance == long


def test_the_manifest_lists_the_films(tmp_path: Path) -> None:
    run = made_run(tmp_path / "out.h5", 4)
    head, *paths = (tmp_path / "out.h5.parts" / "manifest.jsonl").read_text().splitlines()
    assert tuple(map(json.loads, paths)) == run.manifest.paths
    assert json.loads(head)["inputs"]["findings"] == list(FINDINGS)


def test_the_file_says_what_it_was_made_of(tmp_path: Path) -> None:
    run = made_run(tmp_path / "out.h5", 4)
    score(run)
    with h5py.File(merge(run)) as file:
        assert file.attrs["fingerprint"].decode() == run.manifest.fingerprint
        assert json.loads(file.attrs["inputs"])["preprocessing"] == {"size": 64, "fit": "stretch"}
        prob = file["scores/prob"]
        assert (prob.compression, prob.compression_opts, prob.shuffle, prob.fletcher32) == ("gzip", 1, True, True)
        assert np.isnan(prob.fillvalue)
        assert file["films/status"].fillvalue == 0
        assert [dimension.label for dimension in prob.dims] == ["film", "finding"]
        assert [dimension[0].name for dimension in prob.dims] == ["/films/path", "/labels"]


def test_unwritten_rows_read_as_unknown(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        columns = {column.path: create_column(file, column, (2,) * len(column.axes)) for column in LAYOUT}
        assert np.isnan(columns["scores/prob"][()]).all()
        assert np.isnan(columns["cam/map"][()]).all()
        assert columns["films/status"][()].tolist() == [0, 0]


# What does not fit.


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"prob": np.zeros((64, 2), np.float32)}, r"scores/prob of shape \[64, 2\], expected \[64, 3\]"),
        ({"prob": np.zeros(64, np.float32)}, r"scores/prob of shape \[64\]"),
        ({"prob": np.zeros((64, 3))}, "scores/prob of float64, expected float32"),
        ({"prob": np.full((64, 3), 1.5, np.float32)}, r"scores/prob has values outside 0\.\.1"),
        ({"status": np.full(64, 15, np.uint8)}, "films/status has values outside"),
        ({"message": [""] * 63}, r"films/message of shape \[63\], expected \[64\]"),
        ({"sha256": ["abc"] * 64}, "not SHA-256 digests"),
    ],
)
def test_a_shard_that_does_not_fit_is_refused(tmp_path: Path, changed: dict[str, object], words: str) -> None:
    run = made_run(tmp_path / "out.h5")
    with pytest.raises(InputError, match=words):
        run.write(0, dataclasses.replace(made_shard(run.shards[0]), **changed))
    assert not run.done(0)


@pytest.mark.parametrize("film", [63, 128])
def test_heat_maps_of_another_shard_are_refused(tmp_path: Path, film: int) -> None:
    run = made_run(tmp_path / "out.h5")
    shard = made_shard(run.shards[1])
    films = shard.heat_maps.film.copy()
    films[0] = film
    with pytest.raises(InputError, match="cam/film"):
        run.write(1, dataclasses.replace(shard, heat_maps=dataclasses.replace(shard.heat_maps, film=films)))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"split": np.zeros(149, np.uint8)}, r"films/split of shape \[149\], expected \[150\]"),
        ({"split": np.full(150, 4, np.uint8)}, "films/split has values outside"),
        ({"patient": np.zeros(150, np.int64)}, "films/patient of int64, expected int32"),
        ({"truth": np.full((150, 3), 1.5, np.float32)}, "truth has values outside"),
        ({"thresholds": np.zeros(2, np.float32)}, r"thresholds of shape \[2\], expected \[3\]"),
        ({"thumbnails": Thumbnails(film=np.int32([150]), pixels=np.zeros((1, 2, 2), np.uint8))}, "thumbnails/film"),
    ],
)
def test_what_does_not_fit_is_not_merged(tmp_path: Path, changed: dict[str, object], words: str) -> None:
    run = made_run(tmp_path / "out.h5")
    score(run)
    with pytest.raises(InputError, match=words):
        merge(run, **changed)
    assert not run.output.exists()


def test_shards_that_are_not_done_are_not_merged(tmp_path: Path) -> None:
    run = made_run(tmp_path / "out.h5")
    run.write(0, made_shard(run.shards[0]))
    with pytest.raises(InputError, match=r"2 of 3 shards .* the first is number 1"):
        merge(run)


def test_a_shard_file_under_another_number_is_not_done(tmp_path: Path) -> None:
    run = made_run(tmp_path / "out.h5")
    score(run)
    parts = tmp_path / "out.h5.parts"
    (parts / "s00000000.h5").replace(parts / "s00000001.h5")
    assert not run.done(1)
    with pytest.raises(FileFormatError, match="not the shard of films 64 to 128 of this run"):
        run.read(1)


def test_a_shard_of_another_run_is_not_done(tmp_path: Path) -> None:
    run, other = made_run(tmp_path / "out.h5"), made_run(tmp_path / "other.h5", model="cd" * 32)
    score(other)
    (tmp_path / "other.h5.parts" / "s00000000.h5").replace(tmp_path / "out.h5.parts" / "s00000000.h5")
    assert not run.done(0)


def test_another_process_that_merges_is_named(tmp_path: Path) -> None:
    run = made_run(tmp_path / "out.h5", 4)
    score(run)
    (tmp_path / "out.h5.lock").write_text("elsewhere 17\n")
    with pytest.raises(InputError, match="process 17 on elsewhere"):
        merge(run)


def test_nothing_to_score_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="0 films, 3 findings"):
        open_run(tmp_path / "out.h5", [], FINDINGS, {})


def test_a_folder_that_cannot_be_made_is_a_write_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(WriteError):
        made_run(tmp_path / "file" / "out.h5")


# Going on, and starting over.


def test_a_stopped_run_goes_on(tmp_path: Path) -> None:
    first = made_run(tmp_path / "out.h5")
    first.write(0, made_shard(first.shards[0]))
    again = made_run(tmp_path / "out.h5")
    assert [again.done(k) for k in range(3)] == [True, False, False]


def test_a_finished_run_is_complete_when_opened_again(tmp_path: Path) -> None:
    made_file(tmp_path / "out.h5")
    before = (tmp_path / "out.h5").read_bytes()
    run = made_run(tmp_path / "out.h5")
    assert run.complete
    assert merge(run).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out.h5"]


def test_parts_that_a_merge_left_are_cleared_away(tmp_path: Path) -> None:
    run = made_run(tmp_path / "out.h5", 4)
    score(run)
    shard = (tmp_path / "out.h5.parts" / "s00000000.h5").read_bytes()
    manifest = (tmp_path / "out.h5.parts" / "manifest.jsonl").read_bytes()
    merge(run)
    (tmp_path / "out.h5.parts").mkdir()
    (tmp_path / "out.h5.parts" / "s00000000.h5").write_bytes(shard)
    (tmp_path / "out.h5.parts" / "manifest.jsonl").write_bytes(manifest)
    assert made_run(tmp_path / "out.h5", 4).complete
    assert [path.name for path in tmp_path.iterdir()] == ["out.h5"]


def _mixed(output: Path) -> Run:
    return made_run(output, 151, preprocessing={"size": 80, "fit": "stretch"}, device="cpu")


MIXED = r'device: nothing -> "cpu"; films: 150 -> 151; preprocessing\.size: 64 -> 80\. Use --overwrite'


def test_a_run_is_not_mixed_with_the_parts_of_another(tmp_path: Path) -> None:
    run = made_run(tmp_path / "out.h5")
    score(run)
    with pytest.raises(InputError, match=MIXED) as error:
        _mixed(tmp_path / "out.h5")
    assert "model" not in str(error.value)
    assert run.done(0)


@pytest.mark.parametrize("batch_size", [True, 1.0, "1", None, {}, []])
def test_values_that_python_takes_for_equal_are_other_inputs(tmp_path: Path, batch_size: object) -> None:
    made_run(tmp_path / "out.h5", batch_size=1)
    with pytest.raises(InputError, match="batch_size: 1 -> "):
        made_run(tmp_path / "out.h5", batch_size=batch_size)


def test_a_run_does_not_take_the_place_of_another(tmp_path: Path) -> None:
    before = made_file(tmp_path / "out.h5").read_bytes()
    with pytest.raises(InputError, match=MIXED):
        _mixed(tmp_path / "out.h5")
    assert (tmp_path / "out.h5").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out.h5"]


def test_a_file_that_is_no_scores_file_is_not_replaced_unasked(tmp_path: Path) -> None:
    (tmp_path / "out.h5").write_bytes(b"a thesis")
    with pytest.raises(FileFormatError, match=r"out\.h5"):
        made_run(tmp_path / "out.h5")
    assert (tmp_path / "out.h5").read_bytes() == b"a thesis"


def test_overwriting_replaces_the_output_at_the_end_only(tmp_path: Path) -> None:
    before = made_file(tmp_path / "out.h5").read_bytes()
    run = made_run(tmp_path / "out.h5", overwrite=True, model="cd" * 32)
    score(run)
    assert (tmp_path / "out.h5").read_bytes() == before
    assert not run.complete
    merge(run)
    assert run.complete
    assert (tmp_path / "out.h5").read_bytes() != before


def test_overwriting_a_finished_run_of_the_same_inputs_does_it_again(tmp_path: Path) -> None:
    made_file(tmp_path / "out.h5")
    run = made_run(tmp_path / "out.h5", overwrite=True)
    assert not run.complete
    assert not run.done(0)


@pytest.mark.parametrize("overwrite", [True, False])
def test_the_folder_of_the_output_is_made(tmp_path: Path, overwrite: bool) -> None:
    run = made_run(tmp_path / "new" / "er" / "out.h5", 4, overwrite=overwrite)
    score(run)
    assert merge(run).is_file()


def test_overwriting_discards_the_parts_of_another_run(tmp_path: Path) -> None:
    old = made_run(tmp_path / "out.h5")
    score(old)
    run = made_run(tmp_path / "out.h5", overwrite=True, model="cd" * 32)
    assert [run.done(k) for k in range(3)] == [False] * 3
    assert sorted(path.name for path in (tmp_path / "out.h5.parts").iterdir()) == ["manifest.jsonl"]


@pytest.mark.parametrize("overwrite", [True, False])
def test_an_overwriting_run_that_was_stopped_goes_on(tmp_path: Path, overwrite: bool) -> None:
    made_file(tmp_path / "out.h5")
    run = made_run(tmp_path / "out.h5", overwrite=True, model="cd" * 32)
    run.write(1, made_shard(run.shards[1]))
    again = made_run(tmp_path / "out.h5", overwrite=overwrite, model="cd" * 32)
    assert [again.done(k) for k in range(3)] == [False, True, False]


NAN_HEAD = '{"format":"cxrscore-run","version":1,"inputs":{"a":NaN}}'


@pytest.mark.parametrize(
    "head", ["", "[]", "{", '{"format":"cxrscore-run","version":1}', '{"format":"x"}', "[" * 99_999, NAN_HEAD]
)
def test_a_damaged_manifest_is_named_and_overwritten_when_asked(tmp_path: Path, head: str) -> None:
    made_run(tmp_path / "out.h5")
    (tmp_path / "out.h5.parts" / "manifest.jsonl").write_text(head)
    with pytest.raises(FileFormatError, match=r"manifest\.jsonl.*--overwrite"):
        made_run(tmp_path / "out.h5")
    assert not made_run(tmp_path / "out.h5", overwrite=True).done(0)


def test_a_scores_file_is_read_without_libhdf5(tmp_path: Path) -> None:
    made_file(tmp_path / "out.h5")
    read = "import sys; from pathlib import Path; from cxrscore.scorefile import open_scores; import cxrscore.verify"
    code = f"{read}; print(len(open_scores(Path(sys.argv[1])).films.path), 'h5py' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "out.h5"], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["150", "False"]
