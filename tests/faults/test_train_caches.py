"""Training after its caches were damaged ends with the same model; after its inputs were changed it does not go on."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_models import made_model

from cxrscore.errors import InputError
from cxrscore.models.model_file import load_model
from cxrscore.synthetic.phantoms import make_phantoms
from cxrscore.training import TrainOptions, train_model

pytest.importorskip("torch")
FILMS = 40


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CXRSCORE_CACHE", str(tmp_path / "cache"))
    make_phantoms(tmp_path, films=FILMS, patients=FILMS, side=64, seed=5)
    return tmp_path


def train(home: Path, name: str = "m", said: list[str] | None = None, **changed: object) -> dict[str, bytes]:
    """The tensors that a run ends with."""
    small = {"backend": "torch", "device": "cpu", "architecture": "tinycnn", "weights": "none", "size": 32}
    options = {**small, "epochs": 2, "learning_rate": 1e-2, "workers": 2, **changed}
    output = home / f"{name}.safetensors"
    train_model(TrainOptions(films=home / "films", output=output, **options), say=(said or []).append)
    return {key: tensor.tobytes() for key, tensor in load_model(output).tensors.items()}


def cached(folder: Path) -> list[Path]:
    """The files of decoded films and of outputs, the smaller ones first: two of films, the first at 32 pixels, the
    second at the 64 of thumbnails."""
    files = [*folder.rglob("*.store"), *folder.rglob("*.rows")]
    return sorted(files, key=lambda path: (path.suffix, path.stat().st_size))


def flipped(path: Path, start: int, end: int) -> None:
    data = np.frombuffer(path.read_bytes(), np.uint8).copy()
    data[start:end] ^= 255
    path.write_bytes(data.tobytes())


def another_film(path: Path) -> None:
    """Another film of the same name, size and mtime."""
    before = path.stat()
    film = cv2.imencode(".png", np.random.default_rng(1).integers(0, 256, (32, 32), np.uint8))[1].tobytes()
    path.write_bytes(film.ljust(before.st_size, b"\0"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


@pytest.mark.parametrize("trainable", ["head", "last-block", "all"])
def test_flipped_bytes_in_any_cache_make_no_other_model(home: Path, trainable: str) -> None:
    wanted = train(home, trainable=trainable)
    files = cached(home / "cache")
    assert len(files) == (2 if trainable == "all" else 3)
    for path in files:
        flipped(path, 3000, 6000)
    said: list[str] = ["first"]
    assert train(home, "again", said, trainable=trainable) == wanted
    assert any(line.startswith("4 films and ") and "damaged in the cache" in line for line in said)
    for path in files:
        flipped(path, -60, -1)  # the index
    assert train(home, "again", trainable=trainable) == wanted


def test_views_are_made_of_whole_films(home: Path) -> None:
    wanted = train(home, augmentations=2)
    for path in cached(home / "cache"):
        flipped(path, 100, 200)
    assert train(home, "again", augmentations=2) == wanted


def test_caches_of_other_films_of_the_same_names_are_not_taken(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = train(home)
    monkeypatch.setenv("CXRSCORE_CACHE", str(home / "cache of others"))
    make_phantoms(home / "others", films=FILMS, patients=FILMS, side=64, seed=6)
    assert train(home / "others") != wanted
    monkeypatch.setenv("CXRSCORE_CACHE", str(home / "cache"))
    for mine, foreign in zip(cached(home / "cache"), cached(home / "cache of others"), strict=True):
        mine.write_bytes(foreign.read_bytes())
    assert train(home, "again") == wanted


def test_a_film_that_was_replaced_under_its_name_trains_another_model(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = train(home)
    another_film(next(iter(sorted((home / "films").glob("*.png")))))
    after = train(home, "again")
    assert after != before
    monkeypatch.setenv("CXRSCORE_CACHE", str(home / "empty"))
    assert train(home, "anew") == after


@pytest.mark.parametrize("changed", ["film", "film removed", "labels", "weights", "split", "option"])
def test_a_run_does_not_go_on_with_other_inputs_under_the_same_names(home: Path, changed: str) -> None:
    films = sorted(path.name for path in (home / "films").glob("*.png"))
    split, weights, labels = home / "split.csv", made_model(home / "base.safetensors", 0), home / "films" / "labels.csv"
    parts = ["train"] * (FILMS - 20) + ["valid"] * 10 + ["test"] * 10
    split.write_text("film,split\n" + "".join(f"{f},{p}\n" for f, p in zip(films, parts, strict=True)))
    options = {"weights": str(weights), "split": split, "trainable": "all"}
    train(home, **options)
    train(home, **options, resume=True)  # the same go on
    if changed == "film":
        another_film(home / "films" / films[0])
    elif changed == "film removed":
        (home / "films" / films[0]).unlink()
        split.write_text("".join(line for line in split.read_text().splitlines(True) if films[0] not in line))
    elif changed == "labels":
        rows = labels.read_text().splitlines(True)
        labels.write_text("".join([rows[0], *reversed(rows[1:])]))
    elif changed == "weights":
        made_model(weights, 1)
    elif changed == "split":
        split.write_text(split.read_text().replace(f"{films[0]},train", f"{films[0]},valid"))
    else:
        options["sampling"] = "balanced"
    name = {"film removed": "films", "film": "films", "weights": "base", "option": "sampling"}.get(changed, changed)
    before = (home / "m.safetensors").read_bytes()
    with pytest.raises(InputError, match=rf"is of another run \(.*{name}: .* Train without --resume to start over"):
        train(home, **options, resume=True)
    assert (home / "m.safetensors").read_bytes() == before
