"""Films from a web server and a bucket, and scores into a bucket: the numbers of the folder, whole or not at all."""

import json
import shutil

import numpy as np
import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("obstore")
pytest.importorskip("torch")
from made_models import made_films, made_model
from made_run import contents
from servers import at_first, bucket, web

from cxrscore.cli import main
from cxrscore.errors import InputError, WriteError
from cxrscore.images import Status, prefetch
from cxrscore.remote import obstore_store, retry
from cxrscore.scorefile import open_scores
from cxrscore.scoring import ScoreOptions, score_films
from cxrscore.scoring.remote_output import upload_folder

pytestmark = pytest.mark.slow

OUT = "s3://films/made/out.h5"


class StoppedError(Exception):
    """As if the process had been killed, but for its end."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("elsewhere")
    made_films(folder / "films", films=70)  # two shards
    (folder / "films" / "labels.csv").write_text("film,Mass\n000.png,1\n001.png,0\n")
    made_model(folder / "model", 1)
    score_films(options(folder, films=folder / "films", output=folder / "near.h5"))
    return folder


@pytest.fixture
def home(made, tmp_path, monkeypatch):
    monkeypatch.setenv("CXRSCORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.001)
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def cloud(home, monkeypatch):
    """A bucket that holds the films."""
    obstore_store._opened.cache_clear()
    with bucket() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        server.objects = {f"films/in/{file.name}": file.read_bytes() for file in (home / "films").iterdir()}
        yield server


def options(home, **changed):
    given = {"films": "s3://films/in", "output": OUT, "model": home / "model", "backend": "torch", "device": "cpu"}
    return ScoreOptions(**{**given, "heatmaps": 1, "thumbnails": 2, **changed})


def same_numbers(one, other):
    near, far = contents(one), contents(other)
    return {name for name in near if near[name] != far[name]} == {"@provenance"}


def stop_late(step, done, total):
    if done > 66:
        raise StoppedError


def test_films_from_a_web_server_get_the_scores_of_the_folder(home):
    with web(home / "films") as server:
        server.faults = {"003.png": at_first("503", "drop", "cut"), "004.png": at_first("cut")}
        result = score_films(options(home, films=f"{server.url}/?token=canary", output=home / "far.h5"))
    assert (result.scored, result.n_films) == (70, 71)
    assert same_numbers(home / "near.h5", home / "far.h5")
    assert open_scores(home / "far.h5").films.path == open_scores(home / "near.h5").films.path
    assert np.nansum(open_scores(home / "far.h5").truth) == 1
    assert b"canary" not in (home / "far.h5").read_bytes()


@pytest.mark.slow
def test_films_that_cannot_be_had_are_rows_without_scores(home):
    with web(home / "films") as server:
        server.faults = {"001.png": "404", "002.png": "cut", "003.png": "endless"}
        result = score_films(options(home, films=f"{server.url}/", output=home / "far.h5", no_labels=True))
    films, near = open_scores(home / "far.h5"), open_scores(home / "near.h5")
    rows = [films.films.path.index(f"00{number}.png") for number in (1, 2, 3)]
    assert [Status(films.films.status[row]).name for row in rows] == ["UNREADABLE", "UNREADABLE", "TOO_LARGE"]
    assert films.films.message[rows[1]].startswith("not received: ")
    assert np.isnan(films.prob[rows]).all()
    others = np.delete(np.arange(len(films.prob)), rows)
    # A film has another place in its batch than it had, which may change the last bits of a product.
    np.testing.assert_allclose(films.prob[others], near.prob[others], rtol=0, atol=1e-6)
    assert len(result.failed) == 4


def test_scores_go_to_a_bucket_whole_and_leave_nothing_here(home, cloud):
    result = score_films(options(home))
    assert (str(result.output), result.computed) == (OUT, 71)
    (home / "back.h5").write_bytes(cloud.objects["films/made/out.h5"])
    assert same_numbers(home / "near.h5", home / "back.h5")
    assert not list((home / "cache" / "uploads").iterdir())
    assert score_films(options(home)).computed == 0


def test_a_run_that_was_stopped_goes_on(home, cloud):
    with pytest.raises(StoppedError):
        score_films(options(home), stop_late)
    assert "films/made/out.h5" not in cloud.objects
    assert score_films(options(home)).computed == 7
    (home / "back.h5").write_bytes(cloud.objects["films/made/out.h5"])
    assert same_numbers(home / "near.h5", home / "back.h5")


@pytest.mark.slow
def test_an_outage_ends_the_run_which_then_goes_on(home, monkeypatch):
    monkeypatch.setattr(prefetch, "MAX_FAILED_IN_A_ROW", 2)
    given = {"no_labels": True, "workers": 4}
    with web(home / "films") as server:
        given["films"] = f"{server.url}/"
        server.faults = {f"06{number}.png": "503" for number in range(3, 10)}
        with pytest.raises(InputError, match="2 consecutive films were not received from http://127"):
            score_films(options(home, output=home / "far.h5", **given))
        assert not list((home / "far.h5.parts").glob("s*")), "it gave up films of the first shard"
        server.faults.clear()
        assert score_films(options(home, output=home / "far.h5", **given)).scored == 70


@pytest.mark.parametrize("first", [{}, {"overwrite": True}])
def test_an_upload_that_fails_is_made_by_the_same_command(home, cloud, first):
    if first:
        cloud.objects["films/made/out.h5"] = b"another's"
    before = dict(cloud.objects)
    cloud.faults["PUT /films/made/out.h5"] = "503"
    with pytest.raises(WriteError, match="rerun the same command to upload them"):
        score_films(options(home, **first))
    assert cloud.objects == before
    cloud.faults.clear()
    assert score_films(options(home, **first)).computed == 0
    (home / "back.h5").write_bytes(cloud.objects["films/made/out.h5"])
    assert same_numbers(home / "near.h5", home / "back.h5")


def test_what_is_there_is_not_replaced_unasked(home, cloud):
    score_films(options(home))
    before = dict(cloud.objects)
    with pytest.raises(InputError, match=r"^s3://films/made/out\.h5 is of another run; .* batch_size: 8 -> 4"):
        score_films(options(home, batch_size=4))
    assert cloud.objects == before
    assert score_films(options(home, batch_size=4, overwrite=True)).computed == 71
    assert cloud.objects != before
    assert not list((home / "cache" / "uploads").iterdir())


def test_a_run_that_was_to_replace_and_was_stopped_goes_on_without_being_asked_again(home, cloud):
    score_films(options(home))
    with pytest.raises(StoppedError):
        score_films(options(home, heatmaps=2, overwrite=True), stop_late)
    assert score_films(options(home, heatmaps=2)).computed == 7


def test_the_consent_to_replace_is_of_one_run_only(home, cloud):
    score_films(options(home))
    before = dict(cloud.objects)
    with pytest.raises(StoppedError):
        score_films(options(home, heatmaps=2, overwrite=True), stop_late)
    with pytest.raises(InputError, match=r"out\.h5 is of another run"):
        score_films(options(home, batch_size=4))
    assert cloud.objects == before


def test_labels_that_changed_are_joined_there_too(home, cloud):
    rows = ["film,Mass,Edema", *(f"{row:03}.png,1,0" for row in range(70))]
    (home / "other.csv").write_text("\n".join(rows))
    score_films(options(home))
    before = dict(cloud.objects)
    result = score_films(options(home, labels=home / "other.csv"))
    assert (result.computed, result.labels_joined, str(result.output)) == (0, True, OUT)
    assert cloud.objects != before
    assert not score_films(options(home, labels=home / "other.csv")).labels_joined
    (home / "back.h5").write_bytes(cloud.objects["films/made/out.h5"])
    assert np.nansum(open_scores(home / "back.h5").truth[:, 0]) == 70


@pytest.mark.slow
def test_another_machine_may_have_been_faster(home, cloud):
    def overtaken(step, done, total):
        if done == total and "films/made/out.h5" not in cloud.objects:
            score_films(options(home, temp_dir=home / "other"))

    assert str(score_films(options(home), overtaken).output) == OUT
    assert sum(count for line, count in cloud.asked.items() if line == "PUT /films/made/out.h5") == 1


def test_no_film_is_scored_for_an_output_that_cannot_be_written(home):
    with pytest.raises(InputError, match="read-only"):
        score_films(options(home, output="https://u:canary@127.0.0.1/out.h5"))
    assert not (home / "cache").exists()


def test_the_upload_folder_is_private_and_the_same_for_a_new_token(home):
    one = upload_folder(options(home), options(home, output="az://c/out.h5?sig=1").output)
    other = upload_folder(options(home), options(home, output="az://c/out.h5?sig=2").output)
    assert one == other
    assert one.stat().st_mode & 0o777 == 0o700


def run(*words):
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words], standalone_mode=True)
    return ended.value.code


@pytest.mark.slow
def test_commands_take_addresses_and_tell_no_secret(home, cloud, capsys, monkeypatch):
    monkeypatch.chdir(home)
    monkeypatch.setattr("sys.argv", ["cxrscore", "score", "https://u:canary@h/films/?sig=canary", "-o", OUT])
    with web(home / "films") as server:
        films = f"{server.url.replace('//', '//user:canary@')}/?token=canary"
        server.faults["002.png"] = "403"
        words = ("score", films, "-o", OUT, "-m", "model", "--backend", "torch", "--device", "cpu", "--heatmaps", 1)
        assert run(*words, "--json") == 3
        told = capsys.readouterr()
        assert json.loads(told.out)["output"] == OUT
        assert "002.png: cannot be read: access is denied" in told.err
        server.faults.clear()
        cloud.faults["PUT /films/other.h5"] = "403"
        assert run(*words[:3], "s3://films/other.h5", *words[4:]) == 74
        assert run("verify", OUT, "--films", films, "-m", "model") == 0
        assert run("verify", OUT, "--films", f"{films}&missing", "-m", films) == 2
    assert run("report", OUT, "-q") == 0
    assert (home / "out.html").is_file()
    assert run("show", OUT) == 0
    assert run("export", OUT, "-o", "out.csv", "-q") == 0
    assert run("show", "s3://films/none.h5") == 1
    assert run("score", "https://u:canary@127.0.0.1:1/films/?sig=canary", "-o", "x.h5", "-m", "model") == 1
    told = [told.out, told.err, *capsys.readouterr()]
    files = [file.read_bytes() for file in home.rglob("*") if file.is_file()] + [cloud.objects["films/made/out.h5"]]
    assert not [text for text in told if "canary" in text]
    assert not [data for data in files if b"canary" in data]
    assert open_scores(OUT).provenance["command"] == ["score", "https://h/films/", "-o", OUT]
