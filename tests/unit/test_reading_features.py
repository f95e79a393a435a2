"""Features of films for the queue are those of the model, and of the cache of training."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
from made_model import document, golden

import cxrscore
from cxrscore.contract import ModelSpec
from cxrscore.errors import InputError
from cxrscore.io import sha256_file
from cxrscore.models.model_file import save_model
from cxrscore.networks.tensors import initial_tensors
from cxrscore.reading import FilmFeatures
from cxrscore.synthetic.phantoms import make_phantoms


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CXRSCORE_CACHE", str(tmp_path / "cache"))
    make_phantoms(tmp_path, films=5, patients=5, side=48, seed=1)
    spec = ModelSpec(architecture="tinycnn", findings=("Mass",), size=32)
    tensors = initial_tensors(spec, 0)
    save_model(tmp_path / "model.safetensors", tensors, document(spec, golden=golden(spec, tensors)))
    return tmp_path


def test_features_of_films(home: Path) -> None:
    paths = sorted(path.name for path in (home / "films").glob("*.png"))
    digests = [sha256_file(home / "films" / path) for path in paths]
    model, films = home / "model.safetensors", home / "films"
    features = FilmFeatures(films=films, model=model, backend="torch", device="cpu")
    found = features(paths, digests)
    expected = cxrscore.load(model, backend="torch", device="cpu").features([films / path for path in paths]).values
    np.testing.assert_allclose(found, expected, atol=1e-6)

    (films / paths[1]).write_bytes((films / paths[0]).read_bytes())  # changed since it was scored
    (films / paths[2]).unlink()
    again = features([*paths, "../films/x.png", "/etc/passwd"], [*digests, "0" * 64, "0" * 64])
    np.testing.assert_array_equal(np.isnan(again).all(axis=1), [False, True, True, False, False, True, True])
    np.testing.assert_array_equal(again[[0, 3, 4]], found[[0, 3, 4]])


def test_films_elsewhere(home: Path) -> None:
    features = FilmFeatures(films=home / "cache", model=home / "model.safetensors", backend="torch", device="cpu")
    with pytest.raises(InputError, match="none of the 1 films can be read below"):
        features(["a.png"], ["0" * 64])


@pytest.mark.slow
def test_the_cache_is_that_of_training(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of which training has the features needs no network."""
    from cxrscore.training import TrainOptions, train_model

    options = TrainOptions(
        films=home / "films",
        labels=None,
        output=home / "new.safetensors",
        backend="torch",
        device="cpu",
        architecture="tinycnn",
        weights=str(home / "model.safetensors"),
        size=32,
        min_positives=1,
        folds=2,
        test=0.0,
    )
    train_model(options)
    paths = sorted(path.name for path in (home / "films").glob("*.png"))
    steps: list[str] = []
    features = FilmFeatures(
        films=home / "films",
        model=home / "new.safetensors",
        backend="torch",
        device="cpu",
        progress=lambda step, done, total: steps.append(step),
    )
    assert np.isfinite(features(paths, [sha256_file(home / "films" / path) for path in paths])).all()
    assert "running the frozen layers" not in steps
