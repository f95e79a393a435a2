"""score --precision auto: what it takes on a machine, for these models, and what it says and stores."""

import json
from types import MappingProxyType, SimpleNamespace

import pytest
from click.testing import CliRunner
from made_effects import BOUND, EFFECT, QUANTIZATION
from made_models import made_films, made_model

import cxrscore
from cxrscore import plugins, training
from cxrscore.cli import main
from cxrscore.errors import InputError, OtherRunError
from cxrscore.images import FoundFilms
from cxrscore.merge import MergeOptions, merge_scores
from cxrscore.scorefile import read_provenance
from cxrscore.scoring import ScoreOptions, backend_choice, build_models, score_films, score_listed
from cxrscore.scoring.backend_choice import choose_precision
from cxrscore.scoring.run_context import load_models
from cxrscore.training import TrainOptions

ALL = ("int8", "bf16", "fp32")


def model(path, seed=1, **effects):
    """A model file with these effects: bf16={...} replaces fields of EFFECT."""
    found = {precision: {**EFFECT, **changed} for precision, changed in effects.items()}
    bounded = {"precision_effects": found, "precision_bound": BOUND} if found else {}
    return made_model(path, seed, **bounded, **({"quantization": QUANTIZATION} if "int8" in found else {}))


@pytest.fixture
def machine(monkeypatch):
    """machine(name=precisions, ...): the backends of the machine, the fastest first, and what they compute natively.
    Without any: those that are installed, which all compute ``every`` natively."""

    def set_up(every=(), **natives):
        monkeypatch.setattr(plugins, "native_precisions", lambda backend, device: natives.get(backend.name, every))
        if not natives:
            return
        monkeypatch.setattr(backend_choice, "_capable_backends", lambda spec, options: list(natives))
        speed = MappingProxyType({"cpu": 1.0})
        monkeypatch.setattr(plugins, "get_backend", lambda name: SimpleNamespace(name=name, speed=speed))
        monkeypatch.setattr(plugins, "default_note", lambda name, what: "")
        monkeypatch.setattr(plugins, "device_kind", lambda device: "cpu")

    return set_up


def chosen(*models, **changed):
    options = ScoreOptions(films="films", output="o.h5", model=models, precision="auto", **changed)
    found = choose_precision(options, load_models(options))
    return found.backend, found.precision, found.note


def test_the_fastest_precision_within_its_bound_is_taken(tmp_path, machine):
    machine(openvino=ALL)
    within = "on 300 films, probabilities differ from fp32 by at most 0.02 (bound 0.02), the macro AUC of 133 films"
    found = chosen(model(tmp_path / "m", int8={}, bf16={}))
    assert found[:2] == ("openvino", "int8")
    assert found[2] == f"precision: int8 (auto): {within} changes by -0.0020 (bound -0.002)"
    found = chosen(model(tmp_path / "m", int8={"max_difference": 0.5}, bf16={}))
    assert found[:2] == ("openvino", "bf16")
    assert found[2].startswith(f"precision: bf16 (auto): {within}")
    machine(openvino=("bf16", "int8", "fp32"))  # a backend whose int8 is slower
    assert chosen(model(tmp_path / "m", int8={}, bf16={}))[1] == "bf16"


def test_fp32_is_taken_otherwise_and_the_reasons_are_said(tmp_path, machine):
    machine(openvino=ALL)
    unknown = "the model file has no measured effect (`cxrscore quantize MODEL FILMS -o NEW_MODEL` measures it)"
    expected = ("openvino", "fp32", f"precision: fp32 (auto): int8 and bf16: {unknown}")
    assert chosen(model(tmp_path / "m")) == expected
    beyond = "probabilities move by up to 0.3, more than the bound 0.02"
    found = chosen(model(tmp_path / "m", bf16={"max_difference": 0.3}))
    assert found[2] == f"precision: fp32 (auto): int8: {unknown}; bf16: {beyond}"


def test_what_is_not_native_is_not_used_and_what_is_slower_neither(tmp_path, machine):
    both = model(tmp_path / "m", int8={}, bf16={})
    for natives in (("fp32",), ("fp32", "int8", "bf16")):
        machine(openvino=natives)
        expected = "precision: fp32 (auto): backend openvino computes nothing faster than fp32 natively on this device"
        assert chosen(both) == ("openvino", "fp32", expected)
    machine(openvino=("int8", "fp32"))
    assert chosen(both)[1] == "int8"
    assert chosen(model(tmp_path / "m", bf16={}))[1] == "fp32"


def test_every_model_must_allow_it(tmp_path, machine):
    machine(openvino=ALL)
    one = model(tmp_path / "a", 1, int8={}, bf16={"max_difference": 0.004})
    two = model(tmp_path / "b", 2, int8={"max_difference": 0.03}, bf16={"max_difference": 0.008})
    found = chosen(one, two)
    assert found[1] == "bf16"
    assert found[2].startswith("precision: bf16 (auto): largest effect of 2 models: on 300 films, probabilities differ")
    assert "by at most 0.008 (bound" in found[2]
    assert (
        "int8: model 2 of 2: probabilities move by up to 0.03"
        in chosen(one, model(tmp_path / "b", 2, int8={"max_difference": 0.03}))[2]
    )


def test_the_backend_that_measured_computes(tmp_path, machine):
    machine(openvino=ALL, torch=("bf16", "fp32"))
    by_torch = model(tmp_path / "m", bf16={"backend": "torch"})
    assert chosen(by_torch)[:2] == ("torch", "bf16")  # rather than the faster backend in fp32
    found = chosen(by_torch, backend="openvino")
    assert found[:2] == ("openvino", "fp32")
    assert "bf16: its effect was measured with backend torch, not with openvino" in found[2]
    # The precision decides before the backend.
    assert chosen(model(tmp_path / "m", bf16={"backend": "torch"}, int8={}))[:2] == ("openvino", "int8")
    assert chosen(model(tmp_path / "m", bf16={}))[:2] == ("openvino", "bf16")
    assert chosen(model(tmp_path / "m", bf16={}), backend="torch")[:2] == ("torch", "fp32")


def test_a_backend_that_measured_nothing_is_not_asked(tmp_path, machine, monkeypatch):
    """The answer may load a framework, which takes seconds."""
    machine(openvino=ALL, torch=("bf16", "fp32"))
    asked = []
    natives = plugins.native_precisions
    monkeypatch.setattr(
        plugins, "native_precisions", lambda backend, device: asked.append(backend.name) or natives(backend, device)
    )
    chosen(model(tmp_path / "m", bf16={"max_difference": 0.5}))
    assert asked == ["openvino"]


def test_a_backend_that_does_not_say_has_fp32_only():
    class Silent:
        name = "silent"

    assert plugins.native_precisions(Silent(), "auto") == ("fp32",)
    assert plugins.emulation_note(Silent(), "bf16", "auto") == ""  # what it does not say is not known


def test_a_precision_that_is_emulated_is_said():
    class Slow:
        name = "slow"

        def native_precisions(self, device):
            return ("bf16", "fp32") if device == "cuda" else ("fp32",)

    assert plugins.emulation_note(Slow(), "bf16", "cuda") == plugins.emulation_note(Slow(), "fp32", "cpu") == ""
    assert "does not compute bf16 natively, so backend slow emulates it" in plugins.emulation_note(
        Slow(), "bf16", "cpu"
    )


def test_training_says_it_too(tmp_path, machine):
    machine(("fp32",))
    backend = plugins.get_backend("torch")
    for precision, number in (("bf16", 1), ("fp32", 0)):
        said = []
        options = TrainOptions(films=tmp_path, output=tmp_path / "m", backend="torch", precision=precision)
        training._log_emulation(options, backend, said.append)
        assert len(said) == number
        assert all("backend torch emulates it" in note for note in said)


# --- whole runs


@pytest.fixture
def home(tmp_path, monkeypatch):
    """films/, and a model "m" whose effect in bf16 torch has measured."""
    monkeypatch.setenv("CXRSCORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    made_films(tmp_path / "films", films=3)
    (tmp_path / "films" / "broken.png").unlink()
    model(tmp_path / "m", bf16={"backend": "torch", "native": ["bf16", "fp32"]})
    return tmp_path


def options(**changed):
    given = {"films": "films", "output": "o.h5", "model": "m", "backend": "torch", "device": "cpu", "heatmaps": 0}
    return ScoreOptions(**{**given, "precision": "auto", "no_labels": True, "workers": 1, "batch_size": 1, **changed})


@pytest.mark.slow
def test_the_choice_is_said_and_stored_and_a_finished_file_keeps_it(home, machine):
    machine(("bf16", "fp32"))
    given = ["score", "films", "-o", "o.h5", "-m", "m", "--backend", "torch", "--precision", "auto", "--json"]
    done = CliRunner().invoke(main, given)
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    (note,) = (one for one in told["notes"] if one.startswith("precision: bf16 (auto): on 300 films"))
    assert told["precision"] == "bf16"
    assert note in done.stderr
    assert "3 of 3 films scored by backend torch in bf16 in " in done.stderr
    stored = read_provenance(home / "o.h5")["backend"]
    assert (stored["precision"], stored["precision_note"]) == ("bf16", note)
    machine(("fp32",))  # the same command on another machine
    again = score_films(options(batch_size=8, heatmaps=14))
    assert (again.computed, again.precision) == (0, "bf16")
    assert again.notes == ("precision: bf16, as in the finished file",)
    with pytest.raises(OtherRunError, match='differs in precision: "bf16" -> "fp32"'):
        score_films(options(batch_size=8, heatmaps=14, precision="fp32"))


@pytest.mark.slow
def test_runs_and_parts_of_machines_that_choose_differently_are_not_mixed(home, machine, monkeypatch):
    machine(("bf16", "fp32"))
    score_films(options(output="1.h5", partition="1/2"))
    with monkeypatch.context() as patch:
        patch.setattr("cxrscore.scoring.merge_shards", lambda *given: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            score_films(options())
    machine(("fp32",))
    score_films(options(output="2.h5", partition="2/2"))
    hint = r"`--precision auto` chooses anew on each machine: name one precision, such as --precision bf16, for the"
    with pytest.raises(OtherRunError, match=rf'differs in precision: "bf16" -> "fp32"\..* {hint} whole run'):
        score_films(options())
    with pytest.raises(InputError, match=rf"belong to different runs: precision: .* {hint} whole run"):
        merge_scores(MergeOptions(partial_files=("1.h5", "2.h5"), output="all.h5"))
    assert score_films(options(precision="bf16")).precision == "bf16"  # resumes


@pytest.mark.slow
def test_models_that_are_loaded_once_keep_their_precision(home, machine):
    machine(("bf16", "fp32"))
    loaded = build_models(options())
    machine(("fp32",))
    result = score_listed(options(), FoundFilms(paths=("000.png",)), loaded)
    assert (loaded.precision, result.precision) == ("bf16", "bf16")
    assert loaded.precision_note in result.notes
    with cxrscore.load("m", backend="torch", device="cpu", precision="auto") as classifier:
        assert (classifier.precision, classifier.precision_note[:23]) == ("fp32", "precision: fp32 (auto):")


@pytest.mark.slow
def test_a_named_precision_that_is_emulated_is_said_and_stored(home, monkeypatch):
    monkeypatch.setattr("cxrscore_torch.model.processor_has", frozenset)
    result = score_films(options(precision="bf16"))
    (note,) = result.notes
    assert note.startswith("this device does not compute bf16 natively, so backend torch emulates it")
    assert read_provenance(home / "o.h5")["backend"]["precision_note"] == note


@pytest.mark.slow
def test_a_worker_chooses_for_all(home):
    from cxrscore.system_resources import processor_has

    result = score_films(options(processes=2))
    assert result.precision == ("bf16" if "bf16" in processor_has() else "fp32")
    assert any(note.startswith(f"precision: {result.precision} (auto): ") for note in result.notes)
