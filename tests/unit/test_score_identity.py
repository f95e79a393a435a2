"""A result answers for the bytes of films, labels and models that a call names, never for their names alone."""

import hashlib
import os
import shutil
import zipfile
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from made_models import made_films, made_model
from made_run import contents, made_run, made_shard
from servers import web

from cxrscore import MergeOptions, merge_scores
from cxrscore.errors import FileFormatError, InputError, WriteError
from cxrscore.io import sha256_file
from cxrscore.scorefile import Partition, open_scores
from cxrscore.scoring import ScoreOptions, reuse, score_films

FILMS = 70
"""Two shards: 64 films, and 7 with the one that is none."""


class StoppedError(Exception):
    """As if the process had been killed, but for its end."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("identity")
    made_films(folder / "films", films=FILMS)
    made_model(folder / "model", 1)
    rows = [f"{row:03}.png,p{row // 2},{row % 2},{row % 3 % 2}" for row in range(FILMS)]
    (folder / "one.csv").write_text("\n".join(["film,patient_id,Mass,Edema", *rows]) + "\n")
    rows = [f"{row:03}.png,p{row // 3},{1 - row % 2},{row % 3 % 2}" for row in range(FILMS)]
    (folder / "other.csv").write_text("\n".join(["film,patient_id,Mass,Edema", *rows]) + "\n")
    return folder


@pytest.fixture
def home(made, tmp_path, monkeypatch):
    shutil.copytree(made, tmp_path / "home")
    monkeypatch.setenv("CXRSCORE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "home"


def options(home, output="out.h5", **changed):
    given = {"films": home / "films", "model": home / "model", "backend": "torch", "device": "cpu", "heatmaps": 1}
    return ScoreOptions(**{**given, "output": home / output, "workers": 1, **changed})


def replace_film(path: Path, seed=9) -> None:
    """Another film of the same size in bytes, with the times of the old one."""
    before = path.stat()
    noise = cv2.resize(
        np.random.default_rng(seed).integers(0, 256, (6, 5), dtype=np.uint8), (50, 60), interpolation=cv2.INTER_CUBIC
    )
    data = cv2.imencode(".png", noise)[1].tobytes()
    path.write_bytes(data + bytes(max(0, before.st_size - len(data))))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def stop_in_the_second_shard(given):
    def stop(step, done, total):
        if done > 66:
            raise StoppedError

    with pytest.raises(StoppedError):
        score_films(given, stop)


def differing(one, other):
    near, far = contents(one), contents(other)
    return {name for name in near | far if near.get(name) != far.get(name)}


# --- a finished file


def test_a_film_that_was_replaced_under_its_name_is_noticed(home):
    score_films(options(home))
    replace_film(home / "films" / "003.png")
    with pytest.raises(InputError, match=r"scores of other films: 1 of 71 have changed .*\(003\.png\).*--overwrite"):
        score_films(options(home))
    again = score_films(options(home, overwrite=True))
    assert again.computed == 71
    row = open_scores(home / "out.h5").films.path.index("003.png")
    assert open_scores(home / "out.h5").films.sha256[row] == sha256_file(home / "films" / "003.png")


def test_a_folder_with_the_same_names_is_another_one(home):
    score_films(options(home))
    (home / "films").rename(home / "hospital a")
    shutil.copytree(home / "hospital a", home / "films")
    assert score_films(options(home)).computed == 0  # a copy has the same bytes
    for row in range(FILMS):
        replace_film(home / "films" / f"{row:03}.png", seed=row + 100)
    with pytest.raises(InputError, match=r"70 of 71 have changed .*and 67 more"):
        score_films(options(home))


def test_names_stay_out_of_the_message_where_no_names_may_be_told(home):
    score_films(options(home, anonymize_paths=True))
    assert score_films(options(home, anonymize_paths=True)).computed == 0
    replace_film(home / "films" / "003.png")
    with pytest.raises(InputError, match="1 of 71 have changed") as met:
        score_films(options(home, anonymize_paths=True))
    assert "003" not in str(met.value)


def test_a_film_that_can_be_read_now_is_another_one(home):
    """Its decoder crashed, or its disk did not answer, when the others were scored."""
    (home / "films" / "broken.png").unlink()
    (home / "films" / "gone.zip").write_bytes(b"")
    with zipfile.ZipFile(home / "films" / "gone.zip", "w") as archive:
        archive.write(home / "films" / "001.png", "a.png")
    whole = (home / "films" / "gone.zip").read_bytes()
    (home / "films" / "gone.zip").write_bytes(whole.replace(b"IDAT", b"IDAX", 1))
    assert dict(score_films(options(home)).failed).keys() == {"gone.zip/a.png"}
    assert score_films(options(home)).computed == 0
    (home / "films" / "gone.zip").write_bytes(whole)
    with pytest.raises(InputError, match=r"1 of 71 have changed .*\(gone\.zip/a\.png\)"):
        score_films(options(home))


def test_a_rerun_reads_no_film_that_is_recorded_as_unchanged_and_all_of_them_with_rehash(home, monkeypatch):
    # The copies are younger than the margin, so that nothing would be recorded.
    monkeypatch.setattr("cxrscore.images.digests.MARGIN_NS", -(10**18))
    score_films(options(home))
    read = []

    def hashed(file, name):
        read.append(file.name)
        return hashlib.sha256()

    monkeypatch.setattr("hashlib.file_digest", hashed)
    score_films(options(home))
    assert not [name for name in read if "films" in str(name)]
    with pytest.raises(InputError, match="71 of 71 have changed"):  # as what stands in for the hash gives another one
        score_films(options(home, rehash=True))
    assert len(read) == 71


@pytest.mark.parametrize("labels", ["one.csv", "other.csv", None])
@pytest.mark.parametrize("first", ["one.csv", None])
def test_other_labels_are_joined_to_a_finished_file_without_scoring(home, monkeypatch, first, labels):
    def given(output, name):
        return options(home, output, labels=name and home / name, no_labels=name is None)

    score_films(given("out.h5", first))
    score_films(given("wanted.h5", labels))
    monkeypatch.setattr("cxrscore.scoring.compute_shards", None)
    monkeypatch.setattr("cxrscore.plugins.get_backend", None)
    result = score_films(given("out.h5", labels))
    assert result.computed == 0
    assert result.labels_joined == (first != labels)
    if first != labels:
        note = result.notes[-1]
        assert f"then {first or 'none'}, now {labels or 'none'}" in note
    assert differing(home / "out.h5", home / "wanted.h5") == {"@provenance"}
    told = open_scores(home / "out.h5").provenance
    assert (told["labels"] or {}).get("file") == labels
    assert ("labels_joined" in told) == (first != labels)
    assert told["backend"] == open_scores(home / "wanted.h5").provenance["backend"]
    assert not (home / "out.h5.parts").exists()


def test_a_table_that_was_changed_under_its_name_is_another_one(home):
    given = options(home, labels=home / "one.csv")
    score_films(given)
    shutil.copy(home / "other.csv", home / "one.csv")
    assert score_films(given).labels_joined
    assert not score_films(given).labels_joined
    truth = open_scores(home / "out.h5").truth
    assert truth[:3, 0].tolist() == [1.0, 0.0, 1.0]


def test_labels_of_a_share_are_joined_again(home):
    given = {"partition": Partition(number=2, count=2)}
    score_films(options(home, labels=home / "one.csv", **given))
    result = score_films(options(home, labels=home / "other.csv", **given))
    assert (result.computed, result.labels_joined) == (0, True)
    score_films(options(home, "wanted.h5", labels=home / "other.csv", **given))
    assert differing(home / "out.h5", home / "wanted.h5") == {"@provenance"}


def test_labels_without_names_stay_without_names(home):
    given = {"anonymize_paths": True}
    score_films(options(home, labels=home / "one.csv", **given))
    assert score_films(options(home, labels=home / "other.csv", **given)).labels_joined
    assert b"other.csv" not in (home / "out.h5").read_bytes()
    assert open_scores(home / "out.h5").provenance["labels"]["file"] == ""


@pytest.mark.slow
def test_a_warning_that_no_finding_is_labelled_goes_when_other_labels_are_joined(home):
    (home / "german.csv").write_text((home / "one.csv").read_text().replace("Mass,Edema", "Masse,Oedem"))
    for anonymous in (False, True):
        given = {"labels": home / "german.csv", "anonymize_paths": anonymous, "overwrite": True}
        told = score_films(options(home, **given)).notes
        (warning,) = open_scores(home / "out.h5").provenance["warnings"]
        assert told[-1] == warning
        assert ("german.csv" in warning) == (not anonymous)
        given |= {"overwrite": False}
        assert score_films(options(home, **given)).notes == told
        read = score_films(options(home, **given, findings=("Mass=Masse",)))
        assert read.labels_joined
        assert "the labels have changed (" in read.notes[-1]
        assert ", read in another way)" in read.notes[-1]
        assert open_scores(home / "out.h5").provenance["warnings"] == []


def with_other_names(home, rows):
    """The table with names that match no film in the first rows."""
    header, *lines = (home / "one.csv").read_text().splitlines()
    lines = [line.replace(".png", ".jpg") if number < rows else line for number, line in enumerate(lines)]
    (home / "wrong.csv").write_text("\n".join([header, *lines]) + "\n")
    return home / "wrong.csv"


def stored_match(home):
    return open_scores(home / "out.h5").provenance["labels"]["match"]


def test_rows_that_match_no_film_are_told_whenever_the_labels_are_joined(home):
    wrong = with_other_names(home, 2)
    first = score_films(options(home, labels=wrong))
    count = {"films": FILMS + 1, "unmatched_films": 3, "rows": FILMS, "unmatched_rows": 2}
    assert first.label_match == stored_match(home) == count
    table, note = first.notes
    assert table == "wrong.csv (layout plain): film = film; patient = patient_id; findings = Mass, Edema"
    assert f"{FILMS - 2} of {FILMS + 1} films have a row, 3 have none, such as '000.png'" in note
    assert "the table names .jpg files, the films are .png" in note
    again = score_films(options(home, labels=wrong))
    assert (again.notes, again.labels_joined) == ((table, note), False)
    assert score_films(options(home, labels=home / "one.csv")).labels_joined
    assert stored_match(home)["unmatched_films"] == 1
    assert note in score_films(options(home, labels=wrong)).notes
    assert stored_match(home) == count
    assert b"000.jpg" not in (home / "out.h5").read_bytes()


def test_labels_that_match_less_than_half_end_it_before_a_film_is_scored(home, monkeypatch):
    wrong = with_other_names(home, FILMS // 2 + 1)
    with monkeypatch.context() as patched:
        patched.setattr("cxrscore.scoring.compute_shards", None)
        with pytest.raises(InputError, match=r"wrong\.csv: .*--allow-unmatched"):
            score_films(options(home, labels=wrong))
    score_films(options(home))
    with pytest.raises(InputError, match="--allow-unmatched"):
        score_films(options(home, labels=wrong))
    assert score_films(options(home, labels=wrong, allow_unmatched=True)).labels_joined


def test_no_film_is_named_where_no_names_may_be_told(home):
    wrong = with_other_names(home, 2)
    table, note = score_films(options(home, labels=wrong, anonymize_paths=True)).notes
    assert table.startswith("label table (layout plain): film = film")
    assert "3 have none" in note
    assert not {word for word in ("000.", "wrong.csv") if word in table + note}
    stored = (home / "out.h5").read_bytes()
    assert b"000.png" not in stored
    assert b"000.jpg" not in stored
    with pytest.raises(InputError) as error:
        score_films(options(home, labels=with_other_names(home, FILMS), anonymize_paths=True))
    assert "000." not in str(error.value)


def test_the_counts_of_partitions_are_those_of_the_run(home):
    wrong = with_other_names(home, 2)
    parts = []
    for number in (1, 2):
        parts.append(home / f"part{number}.h5")
        given = options(home, parts[-1].name, labels=wrong, partition=Partition(number=number, count=2))
        assert score_films(given).label_match["unmatched_rows"] == 2
    merge_scores(MergeOptions(partial_files=tuple(parts), output=home / "out.h5"))
    assert stored_match(home) == {"films": FILMS + 1, "unmatched_films": 3, "rows": FILMS, "unmatched_rows": 2}


def test_a_finished_file_that_is_damaged_is_no_answer(home):
    score_films(options(home, heatmaps=0))
    with h5py.File(home / "out.h5") as file:
        place = file["scores/prob"].id.get_chunk_info(0).byte_offset
    data = bytearray((home / "out.h5").read_bytes())
    data[place + 8] ^= 1
    (home / "out.h5").write_bytes(data)
    with pytest.raises(FileFormatError, match=r"scores/prob"):
        score_films(options(home, heatmaps=0))


# --- a run that was stopped


def test_a_changed_film_of_a_stopped_run_is_scored_again_with_its_shard(home):
    stop_in_the_second_shard(options(home))
    replace_film(home / "films" / "003.png")
    result = score_films(options(home))
    assert result.computed == 71
    (note,) = result.notes
    assert note == "1 film has changed since it was scored (003.png): 64 films of the same shards were scored again"
    score_films(options(home, "wanted.h5"))
    assert differing(home / "out.h5", home / "wanted.h5") == {"@provenance"}


def test_an_unchanged_film_of_a_stopped_run_is_not_scored_again(home):
    stop_in_the_second_shard(options(home))
    result = score_films(options(home))
    assert (result.computed, result.notes) == (7, ())


def test_a_stopped_run_does_not_go_on_with_another_folder_of_the_same_names(home):
    stop_in_the_second_shard(options(home))
    for row in range(FILMS):
        replace_film(home / "films" / f"{row:03}.png", seed=row + 100)
    assert score_films(options(home)).computed == 71
    score_films(options(home, "wanted.h5"))
    assert differing(home / "out.h5", home / "wanted.h5") == {"@provenance"}


def test_other_labels_of_a_stopped_run_are_joined_at_its_end(home):
    stop_in_the_second_shard(options(home, labels=home / "one.csv"))
    assert score_films(options(home, labels=home / "other.csv")).computed == 7
    score_films(options(home, "wanted.h5", labels=home / "other.csv"))
    assert differing(home / "out.h5", home / "wanted.h5") == {"@provenance"}


# --- while a run goes on


def test_a_film_that_changes_after_it_was_scored_is_scored_again(home):
    done = []

    def change(step, count, total):
        if step == "scoring" and count > 66 and not done:
            done.append(replace_film(home / "films" / "003.png"))

    result = score_films(options(home), change)
    assert result.computed == 71 + 64
    (note,) = result.notes
    assert "(003.png): 64 films of the same shards were scored again" in note
    score_films(options(home, "wanted.h5"))
    assert differing(home / "out.h5", home / "wanted.h5") == {"@provenance"}


def test_films_that_do_not_stop_changing_end_the_run(home):
    seeds = iter(range(100))

    def change(step, count, total):
        if step == "scoring" and count == total:
            replace_film(home / "films" / "003.png", seed=next(seeds))

    with pytest.raises(InputError, match=r"being changed while they are scored.*3 times.*rerun the same command"):
        score_films(options(home), change)
    assert not (home / "out.h5").exists()
    assert score_films(options(home)).computed == 64


def test_a_film_that_is_removed_after_it_was_scored_keeps_its_scores(home):
    def remove(step, count, total):
        if step == "scoring" and count > 66:
            (home / "films" / "003.png").unlink(missing_ok=True)

    result = score_films(options(home), remove)
    assert (result.computed, result.notes, len(result.failed)) == (71, (), 1)


# --- elsewhere, and messages


def test_films_of_a_web_server_are_received_again_before_a_result_is_used(home):
    pytest.importorskip("fsspec")
    with web(home / "films") as server:
        given = options(home, films=f"{server.url}/", no_labels=True)
        score_films(given)
        assert score_films(given).computed == 0
        replace_film(home / "films" / "003.png")
        with pytest.raises(InputError, match=r"1 of 71 have changed .*\(003\.png\)"):
            score_films(given)


def test_the_error_says_what_became_of_the_shards(tmp_path):
    run = made_run(tmp_path / "out.h5", 150)
    run.write(0, made_shard(run.shards[0]))
    (tmp_path / "out.h5.parts" / "s00000001.h5").mkdir()
    with pytest.raises(WriteError, match=r"Finished shards are saved: rerun the same command to resume"):
        run.write(1, made_shard(run.shards[1]))
    shutil.rmtree(tmp_path / "out.h5.parts")
    with pytest.raises(WriteError, match=r"out\.h5\.parts no longer exists, so its scores are lost") as met:
        run.write(1, made_shard(run.shards[1]))
    assert "kept" not in str(met.value)


def test_a_film_is_named_up_to_three(home):
    given = options(home)
    assert reuse._examples(given, ["a"]) == " (a)"
    assert reuse._examples(given, ["a", "b", "c"]) == " (a, b, c)"
    assert reuse._examples(given, ["a", "b", "c", "d"]) == " (a, b, c and 1 more)"
