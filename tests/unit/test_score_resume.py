"""A run that is stopped goes on with the films it began with; one that is done answers without a framework."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
from made_models import made_films, made_model
from made_run import contents

from cxrscore import plugins
from cxrscore.errors import FileFormatError, InputError
from cxrscore.images import Status
from cxrscore.io import sha256_bytes
from cxrscore.scorefile import manifest_films, open_scores
from cxrscore.scoring import ScoreOptions, score_films

pytestmark = pytest.mark.slow


class StoppedError(Exception):
    """As if the process had been killed, but for its end."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resume")
    made_films(folder / "films", films=70)  # two shards
    made_model(folder / "a", 1)
    made_model(folder / "b", 2, size=48)
    return folder


@pytest.fixture
def home(made, tmp_path):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


def options(home, output="out.h5", **changed):
    given = {"model": (home / "a", home / "b"), "backend": "torch", "device": "cpu", "tta": 2, "heatmaps": 1}
    return ScoreOptions(films=home / "films", output=home / output, **{**given, **changed})


def stop_in_the_second_shard(given):
    def stop(step, done, total):
        if done > 66:
            raise StoppedError

    with pytest.raises(StoppedError):
        score_films(given, stop)
    assert [path.name for path in given.output.parent.glob("out.h5.parts/s*")] == ["s00000000.h5"]


def test_an_ensemble_that_was_stopped_ends_as_if_undisturbed(home):
    score_films(options(home, "whole.h5"))
    stop_in_the_second_shard(options(home))
    assert score_films(options(home)).computed == 7
    whole, resumed = contents(home / "whole.h5"), contents(home / "out.h5")
    assert {name for name in whole if whole[name] != resumed[name]} == {"@provenance"}


@pytest.mark.parametrize(
    ("changed", "words"),
    [({"tta": 3}, r"tta\.copies: 2 -> 3"), ({"seed": 1}, r"tta\.seed: 0 -> 1"), ({"model": "ba"}, "models: ")],
)
def test_a_run_of_other_models_or_views_is_not_mixed_in(home, changed, words):
    stop_in_the_second_shard(options(home))
    if "model" in changed:
        changed = {"model": tuple(home / name for name in changed["model"])}
    with pytest.raises(InputError, match=words):
        score_films(options(home, **changed))


def test_a_run_keeps_to_the_films_it_began_with(home):
    stop_in_the_second_shard(options(home))
    began = manifest_films(home / "out.h5")
    (home / "films" / "zz new.png").write_bytes((home / "films" / "000.png").read_bytes())
    for gone in ("001.png", "069.png"):  # of the first shard, which is done, and of the second
        (home / "films" / gone).unlink()
    result = score_films(options(home))
    assert [note.split(" the folder")[0] for note in result.notes] == [
        "1 film was added to",
        "2 films were removed from",
    ]
    scores = open_scores(home / "out.h5")
    assert scores.films.path == began
    assert "zz new.png" not in began
    status = dict(zip(scores.films.path, scores.films.status.tolist(), strict=True))
    assert (status["001.png"], status["069.png"]) == (Status.OK, Status.UNREADABLE)
    assert [film for film, _ in result.failed] == ["069.png", "broken.png"]
    assert scores.provenance["warnings"] == list(result.notes)
    assert scores.provenance["films"]["total"] == 71


def test_films_of_the_same_bytes_fail_one_by_one_without_paths(home):
    for name in ("e1.png", "e2.png", "e3.png"):
        (home / "films" / name).touch()
    result = score_films(options(home, tta=1, heatmaps=0, model=home / "a", anonymize_paths=True))
    assert (result.n_films, result.scored, len(result.failed)) == (74, 70, 4)
    empty = [name for name, message in result.failed if message == "file of zero bytes"]
    assert empty == [sha256_bytes(b"")] * 3


def test_a_finished_file_of_other_films_is_not_taken_for_the_answer(home):
    score_films(options(home, heatmaps=0, tta=1))
    (home / "films" / "zz new.png").write_bytes((home / "films" / "000.png").read_bytes())
    with pytest.raises(InputError, match=r"films: 71 -> 72\. Use --overwrite"):
        score_films(options(home, heatmaps=0, tta=1))
    (home / "films" / "000.png").unlink()
    with pytest.raises(InputError, match=r"differs in which films there are\. Use --overwrite"):
        score_films(options(home, heatmaps=0, tta=1))
    assert score_films(options(home, heatmaps=0, tta=1, overwrite=True)).computed == 71


def test_overwrite_takes_the_films_that_are_there(home):
    stop_in_the_second_shard(options(home))
    (home / "films" / "zz new.png").write_bytes((home / "films" / "000.png").read_bytes())
    result = score_films(options(home, overwrite=True))
    assert (result.computed, result.notes) == (72, ())


def test_a_run_of_another_folder_is_not_gone_on_with(home):
    stop_in_the_second_shard(options(home))
    shutil.rmtree(home / "films")
    made_films(home / "films", films=3)
    with pytest.raises(InputError, match=r"is of other films: 67 of its 71 are not below .*--overwrite"):
        score_films(options(home))


@pytest.mark.parametrize("damage", [b'"another.png"\n', b"{\n", b"7\n", b"\xff\n"])
def test_a_damaged_list_of_films_is_told(home, damage):
    stop_in_the_second_shard(options(home))
    with (home / "out.h5.parts" / "manifest.jsonl").open("ab") as file:
        file.write(damage)
    with pytest.raises(FileFormatError, match=r"manifest.*--overwrite"):
        score_films(options(home))
    assert score_films(options(home, overwrite=True)).computed == 71


def test_a_finished_run_builds_no_network(home, monkeypatch):
    first = score_films(options(home))

    def refuse(name):
        raise AssertionError("a backend was asked for")

    monkeypatch.setattr(plugins, "get_backend", refuse)
    for changed in ({}, {"backend": None, "device": "auto"}):
        again = score_films(options(home, **changed))
        assert (again.computed, again.backend, again.failed) == (0, "torch", first.failed)
        assert (again.n_films, again.scored, again.models) == (first.n_films, first.scored, first.models)
    for changed in ({"device": "cuda"}, {"backend": "keras"}, {"tta": 1}, {"overwrite": True}):
        with pytest.raises(AssertionError, match="was asked for"):
            score_films(options(home, **changed))


@pytest.mark.parametrize("left", ["out.h5.parts", ".out.h5.parts.done"])
def test_what_a_stopped_merge_left_is_cleared_all_the_same(home, left):
    score_films(options(home, heatmaps=0, tta=1))
    (home / left).mkdir()
    assert score_films(options(home, heatmaps=0, tta=1)).computed == 0
    assert not (home / left).exists()


def test_a_second_call_loads_no_framework(home):
    words = ["score", "films", "-o", "out.h5", "-m", "a", "-m", "b", "--heatmaps", "0", "-q"]
    code = (
        f"import sys\nfrom cxrscore.cli import main\ntry:\n    main({words})\nexcept SystemExit as end:\n"
        "    print(end.code, sorted({'torch', 'keras', 'tensorflow', 'openvino', 'jax'} & set(sys.modules)))\n"
    )
    told = [subprocess.run([sys.executable, "-c", code], cwd=home, capture_output=True, text=True) for _ in range(2)]
    assert told[0].stdout.startswith("3 ['"), told[0].stderr
    assert told[1].stdout == "3 []\n", told[1].stderr


def test_columns_of_a_shard_without_the_others(home):
    from made_run import made_run
    from made_run import score as score_made

    run = made_run(home / "made.h5")
    score_made(run)
    whole, found = run.read(1), run.read_columns(1, "films/status", "scores/prob")
    assert set(found) == {"films/status", "scores/prob"}
    np.testing.assert_array_equal(found["films/status"], whole.status)
    np.testing.assert_array_equal(found["scores/prob"], whole.prob)
