"""Synthetic films: findings are where the boxes say, and the folder is one to train on."""

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest

from cxrscore.errors import InputError
from cxrscore.images import find_films, read_film
from cxrscore.labels import datasets, find_labels, join_labels, read_labels
from cxrscore.synthetic.phantoms import DRAWN, golden_films, make_phantoms, phantom

SIDE = 128


def test_a_phantom_comes_again_from_its_seed() -> None:
    film, boxes = phantom(5, ["Mass"], SIDE)
    again, same = phantom(5, ["Mass"], SIDE)
    assert (film.shape, film.dtype) == ((SIDE, SIDE), np.uint8)
    np.testing.assert_array_equal(film, again)
    assert boxes == same
    assert not np.array_equal(film, phantom(6, ["Mass"], SIDE)[0])


def test_lungs_are_darker_than_heart_and_belly_and_lighter_than_air() -> None:
    for seed in range(5):
        film = phantom(seed, [], SIDE)[0] / 255

        def around(x: float, y: float, film: np.ndarray = film) -> float:
            row, column = int(y * SIDE), int(x * SIDE)
            return float(film[row - 4 : row + 4, column - 4 : column + 4].mean())

        air, lungs = around(0.05, 0.05), (around(0.3, 0.45), around(0.7, 0.45))
        assert air + 0.05 < min(lungs)
        assert max(lungs) + 0.15 < min(around(0.54, 0.64), around(0.3, 0.92))


@pytest.mark.parametrize("finding", DRAWN)
def test_a_finding_changes_its_box_and_little_else(finding: str) -> None:
    ratios = []
    for seed in range(6):
        boxes = phantom(seed, [finding], SIDE)[1]
        assert [box.finding for box in boxes] == [finding]
        box = boxes[0]
        assert box.x >= 0
        assert box.y >= 0
        assert box.x + box.width <= SIDE
        assert box.y + box.height <= SIDE
        with_it = phantom(seed, [finding], SIDE)[0]
        # Where a finding is drawn depends on the seed, so healthy films have other grain: several are averaged.
        without = np.mean([phantom(k, [], SIDE, patient=seed)[0] for k in range(100, 108)], axis=0)
        change = np.abs(_levelled(with_it) - _levelled(without))
        inside = np.zeros((SIDE, SIDE), bool)
        inside[int(box.y) : int(box.y + box.height) + 1, int(box.x) : int(box.x + box.width) + 1] = True
        ratios.append(change[inside].mean() / change[~inside].mean())
    assert np.median(ratios) > 1.5


def _levelled(film: np.ndarray) -> np.ndarray:
    """Without exposure: as far from the film's median as its spread."""
    return (film - np.median(film)) / film.std()


def test_a_patient_has_one_chest_in_all_films() -> None:
    one, other = (
        np.mean([phantom(s, [], SIDE, patient=p)[0] for s in range(k, k + 6)], axis=0) for k, p in ((0, 1), (50, 1))
    )
    stranger = np.mean([phantom(s, [], SIDE, patient=2)[0] for s in range(6)], axis=0)
    same = np.corrcoef(one.ravel(), other.ravel())[0, 1]
    assert same > 0.99
    assert np.corrcoef(one.ravel(), stranger.ravel())[0, 1] < same


def test_several_findings_each_have_a_box() -> None:
    boxes = phantom(1, list(DRAWN), SIDE)[1]
    assert sorted(box.finding for box in boxes) == sorted(DRAWN)


def test_a_finding_that_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(InputError, match="no phantom has Hernia; there are: Cardiomegaly"):
        phantom(0, ["Hernia"], SIDE)


def test_folder_of_phantoms_is_one_to_train_on(tmp_path: Path) -> None:
    boxes = make_phantoms(tmp_path, films=60, patients=24, side=48, seed=3)
    films = tmp_path / "films"
    found = find_films(films)
    assert (len(found.paths), found.others.as_dict()) == (60, {"not_opened": {".csv": 2}})
    for path in found.paths:
        film = read_film(films / path)
        assert (film.status.name, film.width, film.height, film.pixels.dtype) == ("OK", 48, 48, np.uint8)
    labels = find_labels(films)
    assert labels == films / "labels.csv"
    table, layout = read_labels(labels, datasets)
    assert (layout, len(set(table.patients))) == ("nih", 24)
    joined = join_labels(table, found.paths)
    assert (joined.unmatched_films, joined.unused_rows) == (0, 0)
    marked = {(path, f) for i, path in enumerate(found.paths) for f in np.flatnonzero(joined.labels[i])}
    assert {(box.film, joined.findings.index(box.finding)) for box in boxes} == marked
    assert 10 <= (joined.labels.sum(axis=1) == 0).sum() <= 38
    assert len(labels.read_text().splitlines()[0].split(",")) == 11


def test_boxes_stand_in_the_layout_of_nih(tmp_path: Path) -> None:
    boxes = make_phantoms(tmp_path, films=10, side=48, seed=0)
    with (tmp_path / "films" / "bboxes.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert ",".join(header) == "Image Index,Finding Label,Bbox [x,y,w,h],,,"
    read = [(name, finding, *map(float, numbers)) for name, finding, *numbers in rows]
    assert read == [(box.film, box.finding, box.x, box.y, box.width, box.height) for box in boxes]


def test_the_same_seed_draws_the_same_folder(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        make_phantoms(tmp_path / name, films=6, side=32, seed=seed)
    content = {name: {p.name: p.read_bytes() for p in (tmp_path / name / "films").iterdir()} for name in "abc"}
    assert content["a"] == content["b"]
    assert content["a"] != content["c"]


@pytest.mark.parametrize("wrong", [{"films": 0}, {"films": 5, "patients": 6}, {"side": 16}])
def test_impossible_folders_are_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match="expected a film for each"):
        make_phantoms(tmp_path, **{"films": 6, "seed": 0, **wrong})


def test_golden_films_are_fixed_for_ever() -> None:
    films = golden_films(400)
    assert (films.shape, films.dtype) == ((4, 400, 400), np.float32)
    assert 0 <= films.min() < films.max() <= 1
    levels = np.rint(films.astype(np.float64) * 65535).astype(np.int64)
    np.testing.assert_array_equal(levels.astype(np.float32) / np.float32(65535), films)
    # By hand, upper left pixel of film 0: its place is 1 * 32768 // 400 = 81 of 65,536 both ways.
    grain = int(np.random.default_rng(0).integers(0, 8192, (16, 16))[0, 0])
    assert levels[0, 0, 0] == 20000 + (81 + 81) // 16 + grain
    # Model files hold what these films score: a change of a single grey makes them all fail their check.
    assert hashlib.sha256(levels.astype("<i4").tobytes()).hexdigest() == (
        "6735ed28af48a44ccb734e0d9dad5d2b980862d71b7feaa5f83dbbbee2a7589e"
    )
    np.testing.assert_array_equal(golden_films(400, 2), films[:2])
    assert len({film.tobytes() for film in golden_films(64, 8)}) == 8
