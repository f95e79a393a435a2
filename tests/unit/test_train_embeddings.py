"""The cache of embeddings: what is known is not worked out again, and a bad cache costs only time."""

import numpy as np
import pytest

from cxrscore.train import embeddings
from cxrscore.train.embeddings import cached_embeddings

KEY = {"base": "ab", "view": None}


@pytest.fixture
def asked():
    return []


@pytest.fixture
def compute(asked):
    """Embeddings that are the place of a film, and a note of what was asked for."""

    def of(places):
        asked.append(list(places))
        return np.array([[place, 10 * place] for place in places], np.float32)

    return of


def test_only_new_films_are_worked_out(tmp_path, asked, compute):
    first = cached_embeddings(tmp_path, KEY, ["a", "b"], compute)
    again = cached_embeddings(tmp_path, KEY, ["b", "c", "a"], compute)
    assert asked == [[0, 1], [1]]
    assert first.tolist() == [[0, 0], [1, 10]]
    assert again.tolist() == [[1, 10], [1, 10], [0, 0]]
    assert again.dtype == np.float32


def test_another_base_has_a_file_of_its_own(tmp_path, asked, compute):
    cached_embeddings(tmp_path, KEY, ["a"], compute)
    cached_embeddings(tmp_path, {**KEY, "view": 1}, ["a"], compute)
    assert asked == [[0], [0]]
    assert len(list(tmp_path.glob("*.npz"))) == 2
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in tmp_path.glob("*.npz"))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(path.read_bytes()[:100]),
        lambda path: path.write_bytes(b""),
        lambda path: np.savez(path, films=np.array(["a"]), embeddings=np.zeros((2, 2), np.float32)),
        lambda path: np.savez(path, films=np.array(["a"]), embeddings=np.zeros((1, 2))),
        lambda path: np.savez(path, other=np.zeros(1)),
    ],
)
def test_a_damaged_file_is_made_anew(tmp_path, asked, compute, spoil):
    cached_embeddings(tmp_path, KEY, ["a"], compute)
    (path,) = tmp_path.glob("*.npz")
    spoil(path)
    assert cached_embeddings(tmp_path, KEY, ["a"], compute).tolist() == [[0, 0]]
    assert asked == [[0], [0]]
    assert cached_embeddings(tmp_path, KEY, ["a"], compute).tolist() == [[0, 0]]
    assert len(asked) == 2


def test_a_folder_that_cannot_be_written_is_done_without(tmp_path, compute):
    (tmp_path / "file").write_bytes(b"")
    assert cached_embeddings(tmp_path / "file" / "below", KEY, ["a"], compute).shape == (1, 2)


def test_the_oldest_go_when_there_are_too_many(tmp_path, compute, monkeypatch):
    monkeypatch.setattr(embeddings, "KEPT", 1500)
    for view in range(6):
        cached_embeddings(tmp_path, {"view": view}, ["a"], compute)
    left = list(tmp_path.glob("*.npz"))
    assert 1 <= len(left) < 6
    assert sum(path.stat().st_size for path in left) <= 1500


def test_too_large_a_set_is_not_kept(tmp_path, compute, monkeypatch):
    monkeypatch.setattr(embeddings, "LARGEST", 7)
    cached_embeddings(tmp_path, KEY, ["a"], compute)
    assert not list(tmp_path.glob("*.npz"))
