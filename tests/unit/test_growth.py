"""What keeps a run of a million films small: one list of paths, columns as arrays, tasks that are made as needed."""

import hashlib
import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from types import SimpleNamespace

import numpy as np
import pytest

from cxrscore.images import FoundFilms, digest_column, digests, film_states
from cxrscore.images.digests import FilmStates
from cxrscore.io.untrusted_names import is_plain_relative_path
from cxrscore.reporting import ranking
from cxrscore.scorefile import join, manifest, manifest_films, open_run
from cxrscore.scorefile.columns import decode_texts, encode_rows, encode_texts, longest_text
from cxrscore.scoring import ScoreOptions
from cxrscore.scoring.file_list import resume_file_list
from cxrscore.scoring.film_splits import FilmSplits
from cxrscore.system_resources import MOST_WAITING, bounded_map

PATHS = tuple(f"ward/{row:06}.png" for row in range(9000))
"""More than are written or hashed at a time."""


def test_tasks_are_made_as_their_results_are_taken() -> None:
    taken = itertools.count()
    with ThreadPoolExecutor(2) as pool:
        found = bounded_map(pool, lambda item: 2 * item, taken)  # endless: pool.map would return no result
        assert [next(found) for _ in range(3)] == [0, 2, 4]
    assert next(taken) == MOST_WAITING + 3


def test_the_films_of_a_task_get_their_own_digests_in_order(tmp_path: Path) -> None:
    paths = [f"{row}.png" for row in range(3 * digests._TOGETHER + 1)]
    for path in paths:
        (tmp_path / path).write_bytes(path.encode())
    (tmp_path / paths[5]).unlink()
    found = digest_column(tmp_path, paths, workers=3, records=False).tolist()
    wanted = [hashlib.sha256(path.encode()).hexdigest().encode() for path in paths]
    wanted[5] = b""
    assert found == wanted
    sizes = film_states(tmp_path, paths).states["size"].tolist()
    assert sizes == [-1 if row == 5 else len(path) for row, path in enumerate(paths)]


def test_a_film_is_unchanged_only_with_the_same_old_state() -> None:
    """By hand: the margin is 2 s, and a ctime of whole hundredths of a second counts as coarse."""
    second = 1_000_000_000
    states = np.zeros(5, digests._STATE)
    states["size"], states["mtime_ns"], states["ctime_ns"] = 9, second + 1, second + 1
    states["size"][1] = -1  # not there
    states["ctime_ns"][2] = 9 * second + 1  # one second before
    states["ctime_ns"][3] = 2 * second  # coarse
    later = states.copy()
    later["inode"][4] = 7
    then = FilmStates(10 * second, states)
    assert then.unchanged(FilmStates(20 * second, later)).tolist() == [True, False, False, False, False]
    assert then.of_rows(np.array([4, 0])).unchanged(FilmStates(0, states[[4, 0]])).tolist() == [True, True]


def test_a_resumed_run_has_one_list_of_paths(tmp_path: Path) -> None:
    options = ScoreOptions(films=tmp_path, output=tmp_path / "out.h5", model=tmp_path / "m")
    open_run(options.file, PATHS, ["Mass"], {})
    assert manifest_films(options.file) == PATHS
    found = FoundFilms(paths=PATHS)
    resumed = resume_file_list(options, found)
    assert resumed.paths is found.paths
    assert resumed.changes(found.paths) == ()
    fewer = FoundFilms(paths=PATHS[1:])
    assert resume_file_list(options, fewer).paths == PATHS
    assert [note.partition(" ")[0] for note in resume_file_list(options, fewer).changes(fewer.paths)] == ["1"]


def test_a_manifest_in_pieces_is_that_of_one_text() -> None:
    assert manifest.paths_digest(PATHS) == hashlib.sha256("\0".join(PATHS).encode()).hexdigest()
    assert manifest.paths_digest([]) == hashlib.sha256(b"").hexdigest()


def test_texts_that_are_repeated_are_one_object() -> None:
    texts = decode_texts(np.array([b"png", b"dicom", b"png"] * 2000))
    assert texts == ("png", "dicom", "png") * 2000
    assert len({id(text) for text in texts}) == 2
    assert decode_texts(encode_texts(PATHS)) == PATHS


def test_texts_are_encoded_some_rows_at_a_time() -> None:
    texts = ("a", "\u00e9\u00e9", "odd\udcff", "")
    assert longest_text(texts) == 4
    assert encode_rows(texts, range(1, 4), 4).tolist() == ["\u00e9\u00e9".encode(), b"odd\xff", b""]
    assert (longest_text([]), longest_text([""])) == (1, 1)


def test_training_by_one_model_comes_before_validation_by_another() -> None:
    a, b, c = (letter * 16 for letter in "abc")
    files = [SimpleNamespace(seen={a: "train", b: "valid"}), SimpleNamespace(seen={a: "valid", b: "train"})]
    splits = FilmSplits(files)  # type: ignore[arg-type]
    hashes = [4 * a, 4 * b, 4 * c, ""]
    assert splits.of(hashes).tolist() == splits.of(np.array(hashes, "S64")).tolist() == [1, 1, 0, 0]
    assert FilmSplits([]).of(hashes).tolist() == [0, 0, 0, 0]


def plain_by_pathlib(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(path.parts) and path.as_posix() == name and not path.is_absolute() and ".." not in path.parts


def test_plain_paths_are_those_that_joining_leaves_as_they_are() -> None:
    parts = ("", ".", "..", "a", "b.png", "...", " ")
    for count in range(1, 5):
        for chosen in itertools.product(parts, repeat=count):
            name = "/".join(chosen)
            assert is_plain_relative_path(name) == plain_by_pathlib(name), name


@pytest.mark.parametrize("films", [[0, 0, 2, 3, 3, 5], [3, 0, 2, 5, 0, 3]], ids=["sorted", "unsorted"])
def test_the_heat_maps_of_a_block_are_among_those_near_its_rows(films: list[int]) -> None:
    of_films = np.array(films, np.int32)
    known = join.FinishedFile.__new__(join.FinishedFile)
    known.__dict__["map_film"] = of_films
    near = known.maps_within(2, 4)
    assert sorted(of_films[near][(of_films[near] >= 2) & (of_films[near] <= 4)].tolist()) == [2, 3, 3]
    assert (near == slice(2, 5)) == (films == sorted(films))


def test_scores_are_ranked_block_by_block_as_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The probabilities of A are calibrated, those of B are not, which only the last block shows."""
    logit = np.array([[1, 0], [2, 0], [-1, 0], [0, 0], [3, 0.5]], np.float32)
    prob = (1 / (1 + np.exp(-logit * np.array([2, 1])))).astype(np.float32)
    model = {"document": {"spec": {"activation": "sigmoid"}, "calibration": {"slope": [2, 2], "intercept": [0, 0]}}}
    scores = SimpleNamespace(findings=("A", "B"), logit=logit, prob=prob, provenance={"models": [model]})
    together = ranking.ranking_scores(scores)
    np.testing.assert_allclose(together, logit * np.array([2, 1]), rtol=1e-6)
    monkeypatch.setattr(ranking, "_ROWS", 2)
    np.testing.assert_array_equal(ranking.ranking_scores(scores), together)
