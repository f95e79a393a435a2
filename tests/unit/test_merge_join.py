"""Finished scores files of different films become the file that one run would have written, sorted by path."""

import hashlib

import numpy as np
import pytest
from made_run import FINDINGS, contents

from cxrscore.errors import FileFormatError, InputError
from cxrscore.merge import MergeOptions, merge_scores
from cxrscore.scorefile import HeatMaps, Shard, Thumbnails, join, open_run, open_scores, read_file_provenance
from cxrscore.verify import verify_file

GIVEN = {"model": "ab" * 32, "batch_size": 8}
PATHS = [f"{number:02}.png" for number in range(12)]


def numbers(path, content):
    return np.frombuffer(hashlib.sha256((path + content).encode()).digest(), np.uint8).astype(np.float32) / 256


def made(output, paths, content="", *, created="2026-01-02T03:04:05+00:00", hidden=False, patients=False, **changed):
    """A finished file in which all that there is of a film depends on its path: two heat maps, and a thumbnail."""
    paths = sorted(paths)
    rows = np.array([numbers(path, content) for path in paths], np.float32)
    bad = np.array([path.startswith("bad") for path in paths])
    prob = np.where(bad[:, None], np.nan, rows[:, :3]).astype(np.float32)
    logit = np.log(prob / (1 - prob)).astype(np.float32)
    good = np.flatnonzero(~bad)
    hashes = ["" if path.startswith("bad") else hashlib.sha256(path.encode()).hexdigest() for path in paths]
    inputs = {**GIVEN, "anonymize_paths": hidden, **changed}
    run = open_run(output, paths, FINDINGS, inputs)
    maps = HeatMaps(
        map=np.repeat(rows[good, :6].reshape(-1, 2, 3), 2, axis=0).astype(np.float16),
        film=np.repeat(good, 2).astype(np.int32),
        finding=np.tile([2, 0], len(good)).astype(np.int16),
    )
    shard = Shard(
        logit=logit,
        prob=prob,
        prob_uncalibrated=prob,
        status=np.where(bad, 11, 1).astype(np.uint8),
        message=[f"of {path}" for path in paths],
        kind=["png"] * len(paths),
        modality=[""] * len(paths),
        view=[path[:1] for path in paths],
        sha256=hashes,
        width=np.full(len(paths), 64, np.uint32),
        height=np.full(len(paths), 64, np.uint32),
        heat_maps=maps,
    )
    run.write(0, shard)
    names = [sha or f"row {row}" for row, sha in enumerate(hashes)]
    run.merge(
        split=np.zeros(len(paths), np.uint8),
        patient=np.arange(len(paths), dtype=np.int32) if patients else np.full(len(paths), -1, np.int32),
        truth=np.where(rows[:, :3] > 0.5, 1, 0).astype(np.float32),
        thresholds=np.array([0.5, np.nan, 0.25], np.float32),
        thumbnails=Thumbnails(
            film=good.astype(np.int32),
            pixels=np.repeat((rows[good, 7] * 255).astype(np.uint8), 16).reshape(-1, 4, 4),
        ),
        provenance={"created": created, "seconds": 2.0, "warnings": [f"of {output.stem}"]},
        names=names if hidden else None,
    )
    return output


def joined(home, *names, **options):
    files = [home / name for name in names]
    return merge_scores(MergeOptions(partial_files=files, output=home / "all.h5", overwrite=True, **options))


@pytest.fixture(params=[1 << 15, 5], ids=["one block", "blocks of 5"])
def block(request, monkeypatch):
    monkeypatch.setattr(join, "BLOCK", request.param)


def test_joined_files_are_as_those_of_one_run(tmp_path, block):
    made(tmp_path / "whole.h5", [*PATHS, "bad.png"])
    made(tmp_path / "b.h5", [*PATHS[1::3], "bad.png"])
    made(tmp_path / "a.h5", PATHS[::3], created="2026-01-03T00:00:00+00:00")
    made(tmp_path / "c.h5", PATHS[2::3])
    result = joined(tmp_path, "a.h5", "b.h5", "c.h5")
    assert (result.films, result.failed, result.merged_files, result.dropped) == (13, 1, 3, 0)
    whole, found = contents(tmp_path / "whole.h5"), contents(tmp_path / "all.h5")
    own = {"@provenance", "@inputs", "@fingerprint"}
    assert {name for name in whole if whole[name] != found[name]} == own
    verdicts = {one.check: one.passed for one in verify_file(tmp_path / "all.h5")}
    assert [verdicts[name] for name in ("fingerprint", "list of films", "every film has a row")] == [True] * 3
    provenance = open_scores(tmp_path / "all.h5").provenance
    assert [one["file"] for one in provenance["partial_files"]] == ["b.h5", "c.h5", "a.h5"]
    assert [one["failed"] for one in provenance["partial_files"]] == [1, 0, 0]
    assert provenance["warnings"] == ["of b", "of c", "of a"]
    assert read_file_provenance(tmp_path / "all.h5").fingerprint == result.run


def test_one_file_is_joined_to_itself(tmp_path):
    made(tmp_path / "a.h5", PATHS)
    assert joined(tmp_path, "a.h5").films == 12
    whole, found = contents(tmp_path / "a.h5"), contents(tmp_path / "all.h5")
    assert {name for name in whole if whole[name] != found[name]} <= {"@provenance", "@inputs", "@fingerprint"}


def test_a_film_in_two_files_is_named_or_the_last_one_is_kept(tmp_path, block):
    made(tmp_path / "new.h5", PATHS[3:6], "new", created="2026-02-01T00:00:00+00:00")
    made(tmp_path / "old.h5", PATHS[:4])
    with pytest.raises(InputError, match=r"old\.h5 and .*new\.h5 both have the film 03\.png.*--keep last"):
        joined(tmp_path, "new.h5", "old.h5")
    result = joined(tmp_path, "new.h5", "old.h5", keep="last")
    assert (result.films, result.dropped) == (6, 1)
    scores = open_scores(tmp_path / "all.h5")
    assert scores.films.path == tuple(PATHS[:6])
    content = ["", "", "", "new", "new", "new"]
    wanted = [numbers(path, one) for path, one in zip(PATHS[:6], content, strict=True)]
    np.testing.assert_array_equal(scores.prob, np.array(wanted)[:, :3])
    assert scores.heat_maps.film.tolist() == np.repeat(np.arange(6), 2).tolist()
    np.testing.assert_array_equal(scores.heat_maps.map[6].ravel(), wanted[3][:6].astype(np.float16))
    assert scores.thumbnails.film.tolist() == [0, 1, 2, 3, 4, 5]
    assert scores.thumbnails.pixels[:, 0, 0].tolist() == [int(one[7] * 255) for one in wanted]


def test_anonymized_films_are_known_by_their_bytes_and_the_others_by_their_rows(tmp_path, block):
    made(tmp_path / "a.h5", ["bad.png", *PATHS[:2]], hidden=True)
    made(tmp_path / "b.h5", ["bad.png", *PATHS[1:3]], hidden=True, created="2026-02-01T00:00:00+00:00")
    result = joined(tmp_path, "a.h5", "b.h5", keep="last")
    assert (result.films, result.failed, result.dropped) == (5, 2, 1)
    films = open_scores(tmp_path / "all.h5").films
    assert films.path[:3] == films.sha256[:3]
    assert films.path[3:] == ("row 3", "row 4")
    assert b"a.h5" not in (tmp_path / "all.h5").read_bytes()


def test_patients_of_several_files_are_unknown(tmp_path):
    made(tmp_path / "a.h5", PATHS[:2], patients=True)
    made(tmp_path / "b.h5", PATHS[2:4], patients=True)
    made(tmp_path / "c.h5", PATHS[4:6])
    joined(tmp_path, "a.h5", "c.h5")
    assert open_scores(tmp_path / "all.h5").films.patient.tolist() == [0, 1, -1, -1]
    joined(tmp_path, "a.h5", "b.h5")
    scores = open_scores(tmp_path / "all.h5")
    assert scores.films.patient.tolist() == [-1] * 4
    assert scores.provenance["warnings"][-1].startswith("Patients are unknown")


def test_what_does_not_belong_together_is_refused(tmp_path):
    made(tmp_path / "a.h5", PATHS[:2])
    made(tmp_path / "b.h5", PATHS[2:4], batch_size=16)
    with pytest.raises(InputError, match=r"different models or options: batch_size: 8 -> 16"):
        joined(tmp_path, "a.h5", "b.h5")
    with pytest.raises(InputError, match="without --virtual"):
        joined(tmp_path, "a.h5", "b.h5", virtual=True)
    with pytest.raises(InputError, match="keep is 'first', expected one of error, last"):
        joined(tmp_path, "a.h5", "b.h5", keep="first")
    (tmp_path / "e.h5").write_bytes(b"no scores")
    for other, message in (("none.h5", r"no file .*none\.h5"), ("e.h5", r"e\.h5 is not a readable HDF5 file")):
        with pytest.raises(InputError, match=message):
            joined(tmp_path, "a.h5", other)
    made(tmp_path / "c.h5", PATHS[4:6])
    merge_scores(MergeOptions(partial_files=[tmp_path / "a.h5", tmp_path / "c.h5"], output=tmp_path / "two.h5"))
    made(tmp_path / "d.h5", PATHS[6:8])
    with pytest.raises(InputError, match="is of another run"):
        merge_scores(MergeOptions(partial_files=[tmp_path / "a.h5", tmp_path / "d.h5"], output=tmp_path / "two.h5"))


def test_a_file_that_is_replaced_in_between_is_not_mixed_in(tmp_path):
    files = [made(tmp_path / "a.h5", PATHS[:2]), made(tmp_path / "b.h5", PATHS[2:4])]
    plan = join.plan_join([join.read_finished(path) for path in files], "error")
    files[1].unlink()
    made(files[1], PATHS[4:6])
    with pytest.raises(FileFormatError, match=r"b\.h5 was replaced while it was joined"):
        list(join.joined_blocks(plan))
