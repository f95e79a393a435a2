"""A network that only a plugin knows is trained and scored, and what cxrscore cannot do with it is refused early."""

import numpy as np
import pytest
from click.testing import CliRunner
from foreign_plugins import registry

from cxrscore import plugins
from cxrscore.cli import main
from cxrscore.errors import InputError
from cxrscore.scorefile import open_scores
from cxrscore.synthetic.phantoms import make_phantoms
from cxrscore.training import TrainOptions, train_model
from cxrscore.verify import verify_file

SIZE = 32


class Linear:
    """Logits linear in the mean grey of each quarter of a film; it learns by one step of gradient descent a batch."""

    framework, device = "mine 1", "cpu"

    def __init__(self, spec, tensors):
        self.spec, self.own = spec, {name: np.array(value, np.float32) for name, value in tensors.items()}

    def tensors(self):
        return {name: value.copy() for name, value in self.own.items()}

    def quarters(self, films):
        half = self.spec.size // 2
        return films.reshape(len(films), 2, half, 2, half).mean(axis=(2, 4)).reshape(len(films), 4)

    def predict(self, films):
        return self.quarters(films) @ self.own["head/kernel"] + self.own["head/bias"]

    def fit_epoch(self, batches, loss, optimiser):
        values = []
        for batch in batches:
            logits = self.predict(batch.inputs)
            slope = np.nan_to_num(1 / (1 + np.exp(-logits)) - batch.labels)
            self.own["head/kernel"] -= optimiser.learning_rate * self.quarters(batch.inputs).T @ slope
            values.append(float(loss.function(np, logits, batch.labels, loss.weights)))
        return float(np.mean(values))

    def state(self):
        return {"adam/step": np.int64(1)}

    def restore(self, state):
        pass


class Mine:
    name, requires, install = "mine", ("numpy",), "pip install mine"
    architectures, trains, speed = ("linear",), True, {"cpu": 1.0}
    names = ("head/kernel", "head/bias")

    def build(self, spec, tensors, *, device="auto", precision="fp32", seed=0):
        shapes = ((4, len(spec.findings)), (len(spec.findings),))
        rng = np.random.default_rng(seed)
        drawn = {name: rng.normal(0, 0.01, shape) for name, shape in zip(self.names, shapes, strict=True)}
        return Linear(spec, drawn if tensors is None else tensors)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("linear")
    make_phantoms(folder, films=40, patients=30, side=64, seed=1)
    return folder


@pytest.fixture(autouse=True)
def backend(monkeypatch, tmp_path):
    monkeypatch.setenv("CXRSCORE_CACHE", str(tmp_path / "cache"))
    registry(monkeypatch, backends=[Mine()])


def options(home, tmp_path, **changed):
    given = {
        "backend": "mine",
        "architecture": "linear",
        "weights": "none",
        "trainable": "all",
        "size": SIZE,
        "epochs": 2,
    }
    return TrainOptions(films=home / "films", output=tmp_path / "m.safetensors", workers=1, **{**given, **changed})


def command(*words):
    done = CliRunner().invoke(main, list(map(str, words)))
    assert (done.exit_code, done.exception) in ((0, None), (0, SystemExit(0))) or done.exit_code == 0, done.output
    return done


def test_it_is_trained_and_scored_without_a_backend_named_and_a_note_says_by_what(home, tmp_path):
    model, out = tmp_path / "m.safetensors", tmp_path / "out.h5"
    small = ("--weights", "none", "--trainable", "all", "--size", SIZE, "--epochs", 2, "--learning-rate", 0.1)
    done = command("train", home / "films", "-o", model, "--architecture", "linear", *small)
    chosen = "backend 'mine' (distribution acme) was chosen"
    assert f"No backend of cxrscore itself can train linear: {chosen}" in done.stderr
    done = command("score", home / "films", "-m", model, "-o", out, "-j", 1)
    assert f"No backend of cxrscore itself can score linear on this device: {chosen}" in done.stderr
    scores = open_scores(out)
    assert np.isfinite(scores.logit).all()
    assert scores.logit.std() > 0  # its head began at zero, and has learned
    for file in (model, out):
        assert all(check.passed is not False for check in verify_file(file))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"weights": "imagenet"}, "a network of backend 'mine': use --weights none"),
        ({"trainable": "last-block"}, "use --trainable all or head"),
        ({"layer_decay": 0.5}, "use --layer-decay 1"),
        ({"weights": "imagenet", "layer_decay": 0.5}, "use --weights none, --layer-decay 1"),
        ({"architecture": "cubic"}, "no network is called 'cubic'; available: .*; backend 'mine' has linear too"),
    ],
)
def test_what_needs_knowledge_of_its_layers_is_refused_before_a_film_is_read(
    home, tmp_path, monkeypatch, changed, words
):
    monkeypatch.setattr("cxrscore.training.read_data", lambda *given, **more: pytest.fail("films were read"))
    with pytest.raises(InputError, match=words):
        train_model(options(home, tmp_path, **changed))


def test_a_frozen_backend_without_the_network_is_refused_before_a_film_is_read(home, tmp_path, monkeypatch):
    registry(monkeypatch, own=("builtin", "openvino"), backends=[Mine()])
    monkeypatch.setattr(plugins, "missing_modules", lambda descriptor: [])
    monkeypatch.setattr("cxrscore.training.read_data", lambda *given, **more: pytest.fail("films were read"))
    with pytest.raises(InputError, match=r"'openvino' has no network 'linear', .*graph\. Leave --feature-backend out"):
        train_model(options(home, tmp_path, trainable="head", feature_backend="openvino"))


def test_a_network_without_a_dense_layer_by_that_name_begins_as_it_is_drawn(home, tmp_path, monkeypatch):
    monkeypatch.setattr(Mine, "names", ("mine/kernel", "mine/bias"))
    with pytest.raises(
        InputError, match=r"the network 'linear' has no tensor head/kernel .* use --initial-head random"
    ):
        train_model(options(home, tmp_path))
    monkeypatch.setattr(Linear, "predict", lambda self, films: self.quarters(films) @ self.own["mine/kernel"])
    monkeypatch.setattr(Linear, "fit_epoch", lambda self, batches, loss, optimiser: 0.0 * len(list(batches)))
    train_model(options(home, tmp_path, initial_head="random"))
    with pytest.raises(InputError, match=r"no tensor head/bias .* use --initial-bias zero"):
        train_model(options(home, tmp_path, initial_head="random", initial_bias="prevalence"))
