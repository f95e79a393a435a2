"""Ranges for int8, effects of int8 and bf16: how they are measured, what is written, and when nothing is."""

import hashlib
import json
import shutil
from dataclasses import replace
from itertools import combinations, cycle
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from made_models import FINDINGS, made_films, made_model

from cxrscore import quantize
from cxrscore.cli import main
from cxrscore.errors import BackendUnavailableError, CheckError, FileFormatError, InputError
from cxrscore.int8_choice import Trial, choose_int8, costliest_layers, kept_layers, range_of
from cxrscore.models.model_file import load_model, save_model
from cxrscore.progress import no_progress
from cxrscore.quantize import QuantizeOptions, quantize_model
from cxrscore.scoring import ScoreOptions, score_films

pytestmark = pytest.mark.slow

pytest.importorskip("openvino")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """films/, a model, and its quantised twin "a8"."""
    folder = tmp_path_factory.mktemp("quantize")
    made_films(folder / "films")
    made_model(folder / "a", 1, trained_on=["NIH"])
    quantize_model(options(folder, folder / "a8"))
    return folder


@pytest.fixture
def native(monkeypatch):
    """native(precision, ...) makes every backend say that the device computes these natively."""
    return lambda *found: monkeypatch.setattr("cxrscore.plugins.native_precisions", lambda *given: found)


def options(home, output, **changed):
    return QuantizeOptions(**{"model": home / "a", "films": home / "films", "output": output, **changed})


def score(home, output, model, **changed):
    given = {"films": home / "films", "precision": "int8", "backend": "openvino", "batch_size": 4, **changed}
    score_films(ScoreOptions(output=output, model=home / model, no_labels=True, **given))
    with h5py.File(output) as file:
        hashes, logits = file["films/sha256"][:].tolist(), file["scores/logit"][:]
    return {digest: row for digest, row in zip(hashes, logits, strict=True) if np.isfinite(row).all()}


def test_the_new_file_is_the_old_one_with_ranges(home):
    old, new = load_model(home / "a"), load_model(home / "a8")
    assert all(np.array_equal(new.tensors[name], value) for name, value in old.tensors.items())
    told = new.document["quantization"]
    added = {name: new.document[name] for name in ("quantization", "precision_effects", "precision_bound")}
    assert {**old.document, **added} == new.document
    assert list(told["ranges"]) == ["conv2", "conv3", "conv4"]
    assert all(0 <= low < high for low, high in told["ranges"].values())
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (home / "films").glob("0*.png")]
    assert told["films"] + new.document["precision_effects"]["int8"]["films"] == len(hashes)
    assert told["model"] == old.sha256
    taken = {
        hashlib.sha256("\n".join(some).encode()).hexdigest() for some in combinations(sorted(hashes), told["films"])
    }
    assert told["fingerprint"] in taken
    assert len(told["logit_shift"]) == len(FINDINGS)


def test_scores_are_near_and_do_not_depend_on_the_folder(home, tmp_path):
    found = score(home, tmp_path / "all.h5", "a8")
    exact = score(home, tmp_path / "exact.h5", "a8", precision="fp32")
    same = score(home, tmp_path / "same.h5", "a", precision="fp32")
    (tmp_path / "few").mkdir()
    shutil.copy(home / "films" / "003.png", tmp_path / "few")
    few = score(home, tmp_path / "few.h5", "a8", films=tmp_path / "few")
    assert all(np.array_equal(found[digest], logits) for digest, logits in few.items())
    assert all(np.array_equal(same[digest], logits) for digest, logits in exact.items())
    apart = max(float(np.abs(found[digest] - exact[digest]).max()) for digest in found)
    assert 0 < apart < 0.1


def test_int8_without_ranges_says_how_to_get_them(home, tmp_path):
    with pytest.raises(InputError, match=r"no activation ranges .*cxrscore quantize"):
        score(home, tmp_path / "o.h5", "a")


def test_a_backend_without_int8_is_named(home, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="'torch' does not compute in int8; openvino does"):
        score(home, tmp_path / "o.h5", "a8", backend="torch")


def test_a_backend_without_int8_measures_bf16_alone(home, tmp_path, native):
    native("bf16", "fp32")
    result = quantize_model(options(home, tmp_path / "b", backend="torch", max_difference=0.5, max_auc_loss=0))
    assert (result.quantization, set(result.precision_effects)) == (None, {"bf16"})
    assert result.notes == ("backend torch does not compute in int8: only the effect of bf16 was measured",)
    document = load_model(tmp_path / "b").document
    assert "quantization" not in document
    assert document["precision_bound"] == {"max_difference": 0.5, "max_auc_loss": 0}
    effect = document["precision_effects"]["bf16"]
    assert (effect["backend"], effect["device"], effect["native"]) == ("torch", "cpu", ["bf16", "fp32"])
    assert effect["framework"].startswith("torch ")
    assert 0 < effect["max_difference"] < 0.02
    result = quantize_model(options(home, tmp_path / "b", backend="torch"))  # the output of this command is replaced
    assert result.precision_bound == {"max_difference": 0.02, "max_auc_loss": 0.002}


def test_other_effects_of_the_file_stay(home, tmp_path, native):
    native("bf16", "fp32")
    quantize_model(options(home, tmp_path / "b", model=home / "a8", backend="torch"))
    old, new = load_model(home / "a8").document, load_model(tmp_path / "b").document
    assert new["precision_effects"]["int8"] == old["precision_effects"]["int8"]
    assert (new["precision_effects"]["bf16"]["backend"], new["quantization"]) == ("torch", old["quantization"])


def test_bf16_is_not_measured_where_it_is_not_native(home, tmp_path, native):
    native("fp32")
    result = quantize_model(options(home, tmp_path / "b"))
    assert set(result.precision_effects) == {"int8"}
    assert result.precision_effects["int8"]["native"] == ["fp32"]
    assert "backend openvino does not compute it natively on this device" in result.notes[0]
    with pytest.raises(BackendUnavailableError, match="no backend of torch computes in int8, or in bf16 natively"):
        quantize_model(options(home, tmp_path / "c", backend="torch"))


def test_without_int8_the_fastest_backend_with_native_bf16_measures(home, tmp_path, native, monkeypatch):
    native("bf16", "fp32")
    monkeypatch.setattr("cxrscore.plugins.fastest_backends", lambda *given: ["torch"])
    assert quantize_model(options(home, tmp_path / "b")).backend == "torch"


@pytest.mark.parametrize("value", [-0.1, 1.5, "much", True])
def test_a_bound_is_a_number_from_0_to_1(home, tmp_path, value):
    with pytest.raises(InputError, match=r"max_difference is .*, expected a number from 0 to 1"):
        options(home, tmp_path / "b", max_difference=value)


def test_where_no_backend_is_named_one_with_int8_is_taken(home, tmp_path, monkeypatch):
    assert score(home, tmp_path / "o.h5", "a8", backend=None)
    monkeypatch.setattr("cxrscore.plugins.fastest_backends", lambda *given: ["torch"])
    with pytest.raises(BackendUnavailableError, match=r"cxrscore\[openvino\]"):
        score(home, tmp_path / "p.h5", "a8", backend=None)


def test_a_loss_of_auc_writes_nothing(home, tmp_path, monkeypatch):
    aucs = cycle((0.8, 0.7949))
    monkeypatch.setattr(quantize, "_macro_auc", lambda *given: next(aucs))
    with pytest.raises(CheckError, match=r"0\.7949 instead of 0\.8000"):
        quantize_model(options(home, tmp_path / "b"))
    assert not (tmp_path / "b").exists()


def test_the_films_that_are_compared_by_hand(home):
    """Four films; the first was trained on and the last has no label. Of the two others, int8 turns the order."""
    file = load_model(home / "a")
    document = {**file.document, "calibration": None, "films": {"train": ["0" * 16], "valid": []}}
    file = replace(file, spec=replace(file.spec, findings=("Mass",)), document=document)
    exact = quantize._Pass(
        rows=[0, 1, 2, 3],
        hashes=[str(number) * 64 for number in range(4)],
        logits=np.array([[0.0], [0.0], [1.0], [0.0]], np.float32),
        ranges={},
    )
    truth = np.array([[1], [0], [1], [np.nan]], np.float32)
    found = quantize._effect(file, exact, np.array([[0.0], [2.0], [1.0], [0.0]], np.float32), truth)
    moved = 1 / (1 + np.exp(-2.0)) - 0.5  # 0.381 in one of four films
    assert found["max_difference"] == pytest.approx(moved, abs=1e-3)
    assert found["mean_difference"] == pytest.approx(moved / 4, abs=1e-3)
    assert (found["films"], found["labelled_films"], found["macro_auc_before"], found["macro_auc_after"]) == (
        4,
        2,
        1.0,
        0.0,
    )


def test_a_range_by_hand():
    """The means of the lowest and highest values are -1 and 2; the lowest and highest of all are -3 and 5."""
    ends = np.array([[0, 1], [0, 5], [-3, 0]], np.float32)
    assert range_of(ends, 0.0) == (-1.0, 2.0)
    assert range_of(ends, 0.6) == (-1.8, 3.0)
    assert range_of(np.array([[0, 2], [0, 2]], np.float32), 0.6) == (0.0, 2.0)


def test_films_that_cannot_be_read_are_counted(home, tmp_path):
    assert quantize_model(options(home, tmp_path / "b")).failed == 1
    (tmp_path / "broken.png").write_bytes(b"not a film")
    with pytest.raises(InputError, match="none of 1 films"):
        quantize_model(QuantizeOptions(model=home / "a", films=tmp_path, output=tmp_path / "c"))


def test_the_command_says_what_it_costs(home, tmp_path):
    given = ["quantize", str(home / "a"), str(home / "films"), "-o", str(tmp_path / "b"), "--json"]
    done = CliRunner().invoke(main, given)
    assert done.exit_code == 0, done.stderr
    assert "int8, 2 films: max |dp| 0.0" in done.stderr
    assert "the effect on the AUC is unknown" in done.stderr
    own = load_model(tmp_path / "b").document["precision_effects"]["int8"]["native"]
    verdict = "may use int8" if "int8" in own else "does not use int8: this device does not compute it natively"
    assert f"`score --precision auto` {verdict}\n" in done.stderr
    told = json.loads(done.stdout)
    bounded = CliRunner().invoke(main, [*given, "--max-difference", "0"])
    assert "`score --precision auto` does not use int8: probabilities move by up to 0.0" in bounded.stderr
    assert ", more than the bound 0\n" in bounded.stderr
    assert (told["backend"], set(told["quantization"]["ranges"])) == ("openvino", {"conv2", "conv3", "conv4"})
    assert len(load_model(home / "a").spec.findings) == len(FINDINGS)


class Abacus:
    """A network of one finding without a calibration. Rounding a layer adds its errors [n] to the logits 0 of films;
    ``rest`` is what computing all else in bf16 adds."""

    def __init__(self, errors, rest, costs=None):
        self.errors, self.rest = errors, np.array(rest, np.float32)
        self.costs = costs or dict.fromkeys(errors, 1)
        self.built = []

    def trial(self, native=True):
        count = len(self.rest)
        graph = SimpleNamespace(multiply_adds=lambda size: self.costs)
        return Trial(
            file=SimpleNamespace(
                spec=SimpleNamespace(activation="sigmoid", graph=graph, size=8), document={"calibration": None}
            ),
            extremes={layer: np.array([[0.0, 1.0]] * count, np.float32) for layer in self.errors},
            native=native,
            build=self.build,
            exact=np.zeros((count, 1), np.float32),
            score=lambda logits, wanted: logits[:wanted],
        )

    def build(self, ranges, precision):
        self.built.append((set(ranges), precision))
        total = sum((np.array(self.errors[layer], np.float32) for layer in ranges), np.zeros_like(self.rest))
        return (total + (0 if precision == "fp32" else self.rest))[:, None]

    def choice(self, bound, native=True):
        return choose_int8(self.trial(native), bound, no_progress)


def test_the_shift_and_the_precision_by_hand():
    """Logits 0 and 0. In bf16 they become 0.1 and 0.3: the shift is -0.2, and 0.1 is left, 0.025 of a probability."""
    off = 1 / (1 + np.exp(-0.1)) - 0.5
    network = Abacus({"conv2": [0.0, 0.0]}, [0.1, 0.3])
    fast = network.choice(bound=0.04)
    assert (fast.precision, fast.logit_shift, fast.kept_layers) == (None, (pytest.approx(-0.2),), ())
    assert fast.max_difference == pytest.approx(off, rel=1e-4)
    assert len(network.built) == 1
    assert network.choice(bound=0.03).precision is None  # 0.025 is beyond 0.8 * 0.03, but within 0.03
    exact = network.choice(bound=0.02)
    assert (exact.precision, exact.logit_shift, exact.max_difference) == ("fp32", (0.0,), 0.0)
    assert network.choice(bound=0.02, native=False).precision is None  # there it is fp32 by itself
    assert Abacus({"conv2": [-1.0, 1.0]}, [0.0, 0.0]).choice(bound=0.02).precision is None


def test_layers_that_cost_most_are_kept():
    """Ten layers as fast as each other, of which a fifth may be kept: two. b and e, rounded, move the logits most."""
    errors = {name: [0.001, -0.001] for name in "abcdefghij"} | {"e": [0.2, -0.2], "b": [0.1, -0.1]}
    network = Abacus(errors, [0.0, 0.0])
    assert costliest_layers(network.trial(), no_progress)[:2] == ["e", "b"]
    found = network.choice(bound=0.02)
    assert (found.kept_layers, found.precision) == (("e", "b"), None)
    assert set(found.ranges) == set("acdfghij")
    assert found.max_difference == pytest.approx(1 / (1 + np.exp(-0.008)) - 0.5, rel=1e-3)
    one = network.choice(bound=0.035)  # 0.108 is left without e, 0.027 of a probability
    assert one.kept_layers == ("e",)


def test_as_many_layers_may_be_others():
    """Of 100 multiply-adds, 10 keep c alone; 20 keep b, which moves the logits more, and no longer c."""
    costs = {"a": 75, "b": 15, "c": 10}
    network = Abacus({"a": [0.0, 0.0], "b": [0.2, -0.2], "c": [0.1, -0.1]}, [0.0, 0.0], costs)
    assert network.choice(bound=0.035).kept_layers == ("b",)


def test_no_more_is_kept_than_its_share():
    counts = {"a": 5, "b": 50, "c": 10, "d": 35}
    assert kept_layers(["b", "c", "a"], counts, 0.2) == ("c", "a")
    assert kept_layers(["b", "c", "a"], counts, 0.0) == ()


def test_multiply_adds_by_hand(home):
    """tinycnn's first layer: the kernel's elements, for each place of its output."""
    spec = load_model(home / "a").spec
    counts, shapes = spec.graph.multiply_adds(spec.size), spec.graph.shapes(spec.size)
    height, width, channels = shapes["conv2"]
    before = spec.graph.tensor_shapes(spec.size)["conv2/kernel"][2]
    assert counts["conv2"] == height * width * channels * before * 3 * 3
    assert set(counts) == {node.name for node in spec.graph.nodes if node.operation in ("conv2d", "dense")}


def test_the_shift_is_added_to_the_logits(home, tmp_path):
    file = load_model(home / "a8")
    document = json.loads(json.dumps(file.document))
    document["quantization"]["logit_shift"] = [value + 1 for value in document["quantization"]["logit_shift"]]
    save_model(tmp_path / "b8", file.tensors, document)
    before, after = score(home, tmp_path / "a.h5", "a8"), score(home, tmp_path / "b.h5", tmp_path / "b8")
    assert all(np.allclose(after[digest], logits + 1, atol=1e-5) for digest, logits in before.items())
    document["quantization"]["logit_shift"].pop()
    with pytest.raises(FileFormatError, match=r"quantization\.logit_shift has .* values"):
        save_model(tmp_path / "c8", file.tensors, document)
