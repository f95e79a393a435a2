"""Networks of plugins: found by name, refused with a reason before a film is read, and with a size of their own."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from foreign_plugins import OWN, entry_point, registry
from made_model import document

import cxrscore
from cxrscore import hookimpl, plugins
from cxrscore.cli import main
from cxrscore.contract import ModelSpec
from cxrscore.errors import InputError
from cxrscore.models.model_file import load_model, save_model
from cxrscore.networks.builtin import BUILT_IN, built_in
from cxrscore.networks.graph import FILM, GraphBuilder, Network
from cxrscore.networks.operations import OPERATIONS
from cxrscore.networks.tensors import initial_tensors
from cxrscore.plugins import Registry, plugin_table
from cxrscore.scoring import ScoreOptions
from cxrscore.scoring.file_list import FileList
from cxrscore.scoring.run_context import prepare_worker
from cxrscore.synthetic.phantoms import make_phantoms
from cxrscore.training import TrainOptions, train_model


def network(name="mine", last="silu", **values):
    graph = GraphBuilder()
    x = graph.add("conv1", "conv2d", FILM, filters=4, size=3, stride=2)
    x = graph.add("conv2", "conv2d", x, filters=4, size=3)
    x = graph.add("last", last, x)
    stages = values.pop("stages", ("conv1", "conv2"))
    return Network(name=name, nodes=graph.nodes, output=x, stages=stages, summary="small", size=96, **values)


def test_it_is_found_listed_and_has_its_size(monkeypatch):
    found = registry(monkeypatch, networks=[network()])
    assert plugins.get_network("mine") == network()
    assert plugins.get_network("linear") is None
    assert [plugins.film_size(name) for name in ("mine", "vit_b14", "densenet121", "linear")] == [96, 518, 400, 400]
    assert found.plugins[1].as_dict()["provides"] == {"cxrscore_networks": ["mine"]}
    assert plugin_table(found.plugins).splitlines()[-1].endswith("networks: mine")


def test_a_name_of_cxrscore_stays_its_own(monkeypatch):
    found = registry(monkeypatch, networks=[network("tinycnn")])
    assert found.plugins[1].state == "name conflict"
    assert found.plugins[1].reason == "network 'tinycnn' of acme is excluded: cxrscore has one of this name"
    assert plugins.get_network("tinycnn") is built_in("tinycnn")


def module(monkeypatch, distribution, hook):
    """An entry point of a distribution whose plugin has this hook."""
    made = ModuleType(f"networks_of_{distribution}")
    vars(made)["cxrscore_networks"] = hookimpl(hook)
    monkeypatch.setitem(sys.modules, made.__name__, made)
    return entry_point(distribution, made.__name__, distribution)


def test_two_of_one_name_are_an_error_when_one_is_asked_for(monkeypatch):
    points = [module(monkeypatch, owner, lambda: [network()]) for owner in ("acme", "beta")]
    found = Registry([entry_point("builtin", OWN["builtin"], "cxrscore"), *points])
    monkeypatch.setattr("cxrscore.plugins.registry", lambda: found)
    with pytest.raises(InputError, match="two distributions provide a network called 'mine': acme and beta"):
        plugins.get_network("mine")
    assert plugins.get_network("tinycnn")


@pytest.mark.parametrize(
    ("hook", "reason"),
    [
        (lambda: [network(stages=("conv2",))], "network 'mine': stages begin with .'conv2'., expected the first node"),
        (lambda: [network(last="exec")], "node 'last': no operation is called 'exec'"),
        (lambda: [network().as_dict()], "returned a dict in its list, expected a Network"),
        (lambda: network(), "expected a list of descriptors"),
        (lambda: [network(), network()], "more than one descriptor called mine"),
    ],
    ids=["stages", "operation", "no network", "no list", "twice"],
)
def test_a_network_that_is_none_breaks_its_plugin_alone(monkeypatch, hook, reason):
    good = module(monkeypatch, "good", lambda: [network("other")])
    found = Registry([module(monkeypatch, "acme", hook), good])
    states = {plugin.name: plugin for plugin in found.plugins}
    assert (states["acme"].state, states["good"].state) == ("broken", "ok")
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(states["acme"].reason)


BACKEND = SimpleNamespace(name="some", architectures=("linear",), operations=("conv2d", "relu"))


def test_an_unknown_network_is_answered_with_all_names(monkeypatch):
    registry(monkeypatch, networks=[network()])
    with pytest.raises(InputError) as refused:
        plugins.require_network("mein", BACKEND)
    assert str(refused.value) == (
        f"no network is called 'mein'; available: {', '.join(BUILT_IN)}, mine; backend 'some' has linear too. "
        "`cxrscore plugins` lists all and why one is missing."
    )
    assert plugins.require_network("linear", BACKEND) is None


def test_operations_that_a_backend_lacks_are_named(monkeypatch):
    registry(monkeypatch, networks=[network()])
    with pytest.raises(InputError, match="backend 'some' cannot run 'mine': it lacks the operation silu"):
        plugins.require_network("mine", BACKEND)
    with pytest.raises(InputError, match="lacks the operations add, attention, class_token, dense, "):
        plugins.require_network("vit_b14", BACKEND)
    assert plugins.require_network("mine", SimpleNamespace(**{**vars(BACKEND), "operations": tuple(OPERATIONS)}))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"architecture": "mein"}, "no network is called 'mein'"),
        ({"architecture": "mine", "head": "cls"}, "mine has no class token, so no head 'cls': use gap or flatten"),
        ({"architecture": "large", "size": 32}, "a window of 40 does not fit a map of 32"),
    ],
)
def test_what_does_not_fit_is_refused_before_films_are_looked_for(monkeypatch, tmp_path, options, reason):
    pytest.importorskip("torch")
    graph = GraphBuilder()
    x = graph.add("conv1", "conv2d", FILM, filters=4, size=40, stride=8)
    large = Network(name="large", nodes=graph.nodes, output=x, stages=("conv1",))
    registry(monkeypatch, own=("builtin", "torch"), networks=[network(), large])
    given = {"films": tmp_path / "nowhere", "output": tmp_path / "m.safetensors", "backend": "torch", "weights": "none"}
    with pytest.raises(InputError, match=reason):
        train_model(TrainOptions(**given, **options))


def transformer():
    """Two blocks of dense layers on the tokens of an 8 x 8 map: the last block is entered by tokens [65, 4]."""
    graph = GraphBuilder()
    x = graph.add("patches", "conv2d", FILM, filters=4, size=8, stride=8)
    x = graph.add("tokens", "embed_tokens", x, grid=8)
    for name in ("first", "last"):
        x = graph.add(f"{name}_add", "add", x, graph.add(name, "dense", x, units=4))
    token, output = graph.add("token", "class_token", x), graph.add("map", "patch_map", x)
    stages = ("patches", "first", "last")
    return Network(name="mine", nodes=graph.nodes, output=output, stages=stages, size=64, class_token=token)


@pytest.mark.parametrize("head", ["gap", "cls"])
def test_the_last_block_of_a_transformer_is_trained(monkeypatch, tmp_path, head):
    pytest.importorskip("torch")
    registry(monkeypatch, own=("builtin", "torch"), networks=[transformer()])
    make_phantoms(tmp_path, films=20, patients=20, side=64, seed=1)
    output = tmp_path / "m.safetensors"
    given = {"architecture": "mine", "weights": "none", "backend": "torch", "head": head, "initial_head": "random"}
    train_model(TrainOptions(films=tmp_path / "films", output=output, trainable="last-block", epochs=1, **given))
    model = load_model(output)
    first = initial_tensors(model.spec, 0)
    changed = {name for name, value in model.tensors.items() if not np.array_equal(value, first[name])}
    assert changed == {"last/kernel", "last/bias", "head/kernel", "head/bias"}


def test_train_takes_the_size_of_the_network(monkeypatch, tmp_path):
    pytest.importorskip("torch")
    registry(monkeypatch, own=("builtin", "torch"), networks=[network()])
    seen = []

    def told(options, *args, **kwargs):
        seen.append(options.size)
        raise InputError("no further")

    monkeypatch.setattr("cxrscore.training.train_model", told)
    (tmp_path / "small.toml").write_text("size = 48\n")
    recipe = ["--recipe", str(tmp_path / "small.toml")]
    mine = ["train", str(tmp_path), "--architecture", "mine"]
    for words in (mine, [*mine, "--size", "64"], [*mine, *recipe], ["train", str(tmp_path)]):
        assert "no further" in CliRunner().invoke(main, words).stderr
    for options in ({}, {"size": 64}, {"recipe": tmp_path / "small.toml"}):
        with pytest.raises(InputError, match="no further"):
            cxrscore.train(tmp_path, architecture="mine", **options)
    assert seen == [96, 64, 48, 400, 96, 64, 48]


class Poor:
    """A backend that lacks silu."""

    name, requires, install, architectures = "poor", (), "pip install poor", ()
    operations, trains, speed = ("conv2d", "relu"), True, {"cpu": 1.0}

    def build(self, spec, tensors, **options):
        pytest.fail("it cannot be built")


def test_score_says_which_operations_are_lacking(monkeypatch, tmp_path):
    registry(monkeypatch, backends=[Poor()])
    spec = ModelSpec(architecture="mine", findings=("Mass",), size=64, network=network())
    made = document(spec)
    path = tmp_path / "model.safetensors"
    save_model(path, initial_tensors(spec, 0), {**made, "training": {**made["training"], "backend": "poor"}})
    (tmp_path / "films").mkdir()
    for named, reason in ((None, "no installed backend can run 'mine'"), ("poor", "backend 'poor' cannot run 'mine'")):
        given = ScoreOptions(films=tmp_path / "films", output=tmp_path / "out.h5", model=path, backend=named)
        with pytest.raises(InputError, match=f"{reason}.*lacks the operation silu"):
            prepare_worker(given, FileList(paths=(), run_paths=(), partition=None))
