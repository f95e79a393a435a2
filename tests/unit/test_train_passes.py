"""A whole run with a real network: how often films go through it, and that what it is told of is what it gives."""

import numpy as np
import pytest

from cxrscore import labels as lab
from cxrscore.images import ImageCache, Preprocessing
from cxrscore.metrics import auc_per_finding, macro
from cxrscore.models.model_file import load_model
from cxrscore.models.probabilities import probabilities
from cxrscore.synthetic.phantoms import make_phantoms
from cxrscore.training import TrainOptions, train_model
from cxrscore.training.data import labelled_films
from cxrscore.training.model_metadata import score_quantiles

torch_model = pytest.importorskip("cxrscore_torch.model")
FILMS, SIDE = 40, 32


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("passes")
    make_phantoms(folder, films=FILMS, patients=FILMS, side=64, seed=5)
    return folder


@pytest.fixture
def passes(monkeypatch, tmp_path):
    """Films that went through the frozen layers, and through the whole network; 0 in the beginning."""
    monkeypatch.setenv("CXRSCORE_CACHE", str(tmp_path / "cache"))
    count = {"frozen": 0, "whole": 0}

    def counting(name, part):
        inner = getattr(torch_model.TorchModel, name)

        def counted(self, films):
            count[part] += len(films)
            return inner(self, films)

        monkeypatch.setattr(torch_model.TorchModel, name, counted)

    for name, part in (("embed", "frozen"), ("stem", "frozen"), ("predict", "whole")):
        counting(name, part)
    return count


def trained(home, folder, **changed):
    small = {"backend": "torch", "device": "cpu", "architecture": "tinycnn", "weights": "none", "size": SIDE}
    options = {**small, "epochs": 3, "learning_rate": 1e-2, "threshold_rule": "youden", **changed}
    return train_model(TrainOptions(films=home / "films", output=folder / "m.safetensors", **options))


def films_of(home, folder, backend):
    """Labels and logits of the films of each part by the model as it lies on the disk, run as a whole."""
    told = labelled_films(home / "films", None)
    store = ImageCache.build(home / "films", told.paths, Preprocessing(size=SIDE), folder / "again", workers=1)
    split = lab.read_split(folder / "m.run" / "split.csv", told.paths)
    model = load_model(folder / "m.safetensors")
    built = torch_model.build(model.spec, model.tensors, device="cpu")
    columns = [told.findings.index(name) for name in model.spec.findings]
    labels = told.labels[:, columns]
    return model, {name: (labels[list(r)], built.predict(store.batch(r))) for name, r in split.parts()}


RUNS = [
    {"trainable": "head"},
    {"trainable": "head", "precision": "bf16", "calibration": "platt"},
    {"trainable": "head", "augmentations": 2, "drop_last": True, "batch_size": 4},
    {"trainable": "last-block"},
    {"trainable": "last-block", "precision": "bf16", "augmentations": 1},
    {"trainable": "all"},
]


@pytest.mark.parametrize("changed", RUNS, ids=lambda changed: " ".join(map(str, changed.values())))
def test_what_the_run_tells_is_what_the_whole_model_gives(home, tmp_path, passes, changed):
    result = trained(home, tmp_path, **changed)
    model, parts = films_of(home, tmp_path, "torch")
    truth, logits = parts["test"]
    assert result.test_auc == pytest.approx(macro(auc_per_finding(truth, logits)), abs=1e-6)
    prob = probabilities(parts["valid"][1], model.spec.activation, model.document["calibration"])
    wanted, found = score_quantiles(model.spec, prob), model.document["validation"]["score_quantiles"]
    assert found.keys() == wanted.keys()
    for name, quantiles in wanted.items():
        np.testing.assert_allclose(found[name], quantiles, atol=1e-5)


def test_each_film_goes_through_the_network_once(home, tmp_path, passes):
    trained(home, tmp_path)
    assert passes == {"frozen": FILMS, "whole": 4 + 4}  # those of the check, and of the golden probe
    trained(home, tmp_path, epochs=2, learning_rate=1e-3)
    assert passes == {"frozen": FILMS, "whole": 16}


def test_in_bf16_the_films_to_choose_and_to_test_by_go_through_it_in_float32_too(home, tmp_path, passes):
    result = trained(home, tmp_path, precision="bf16", augmentations=1)
    kept = result.films["valid"] + result.films["test"]
    padded = [-(-films // 8) * 8 for films in (result.films["train"], kept, kept)]
    assert passes["frozen"] == sum(padded)
