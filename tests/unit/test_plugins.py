"""Plugins fail alone: broken, misspelt, of one name; each is listed with its reason and raises only when asked for."""

import importlib
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import pytest
from foreign_plugins import entry_point

from cxrscore import plugins
from cxrscore.contract import Loss, ModelSpec, hookimpl
from cxrscore.errors import BackendUnavailableError, InputError
from cxrscore.plugins import Registry, missing_modules

TINY = ModelSpec(architecture="tinycnn", findings=("Mass",), size=32)


@pytest.fixture
def plugin(monkeypatch):
    """Makes an importable module with these attributes and returns its entry point."""

    def make(name, distribution="acme", **members):
        module = ModuleType(f"plugin_of_{distribution}_{name}")
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return entry_point(name, module.__name__, distribution)

    return make


def one_loss(name="mine"):
    @hookimpl
    def cxrscore_losses():
        return [Loss(name=name, function=lambda xp, logits, labels, weights: 0)]

    return cxrscore_losses


def builtin():
    return entry_point("builtin", "cxrscore.builtin", "cxrscore")


def test_a_plugin_brings_its_descriptors(plugin):
    found = Registry([builtin(), plugin("good", cxrscore_losses=one_loss())])
    assert [p.state for p in found.plugins] == ["ok", "ok"]
    assert found.get("cxrscore_losses", "loss", "mine").name == "mine"
    assert "weighted-bce" in found.all("cxrscore_losses")


def test_one_that_raises_at_import_is_listed_and_stops_no_other(plugin):
    found = Registry(
        [entry_point("broken", "no_such_module_anywhere", "acme"), plugin("good", cxrscore_losses=one_loss())]
    )
    assert {p.name: p.state for p in found.plugins} == {"broken": "broken", "good": "ok"}
    with pytest.raises(InputError, match=r"broken.*no_such_module_anywhere"):
        found.get("cxrscore_losses", "loss", "broken")


def test_a_misspelt_hook_is_named(plugin):
    @hookimpl
    def cxrscore_looses():
        return []

    found = Registry([plugin("typo", cxrscore_looses=cxrscore_looses), plugin("good", cxrscore_losses=one_loss())])
    assert "cxrscore_looses" in found.plugins[1].reason or "cxrscore_looses" in found.plugins[0].reason
    assert found.get("cxrscore_losses", "loss", "mine")


def test_a_wrong_signature_is_named(plugin):
    @hookimpl
    def cxrscore_losses(surprise):
        return []

    found = Registry([plugin("bad", cxrscore_losses=cxrscore_losses)])
    assert found.plugins[0].state == "broken"
    assert "surprise" in found.plugins[0].reason


def test_a_descriptor_that_lacks_parts_is_named(plugin):
    @hookimpl
    def cxrscore_backends():
        return [SimpleNamespace(name="half")]

    found = Registry([plugin("half", cxrscore_backends=cxrscore_backends)])
    assert "requires" in found.plugins[0].reason


def test_two_of_one_name_name_both_distributions(plugin):
    points = [plugin("a", "acme", cxrscore_losses=one_loss("x")), plugin("b", "zenith", cxrscore_losses=one_loss("x"))]
    found = Registry(points)
    with pytest.raises(InputError, match=r"acme and zenith"):
        found.get("cxrscore_losses", "loss", "x")


def test_a_taken_plugin_name_goes_to_cxrscore_first_and_says_so_when_asked(plugin):
    found = Registry([plugin("builtin", "acme", cxrscore_losses=one_loss("x")), builtin()])
    assert found.plugins[0].distribution == "cxrscore"
    assert found.plugins[1].state == "name conflict"
    assert "weighted-bce" in found.all("cxrscore_losses")


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(InputError, match=r"no loss is called 'nope'; available: weighted-bce"):
        Registry([builtin()]).get("cxrscore_losses", "loss", "nope")


def test_plugins_can_be_left_out(plugin, monkeypatch):
    monkeypatch.setenv("CXRSCORE_PLUGINS", "")
    found = Registry([builtin(), plugin("good", cxrscore_losses=one_loss())])
    assert {p.name: p.state for p in found.plugins} == {"good": "excluded", "builtin": "ok"}
    monkeypatch.setenv("CXRSCORE_PLUGINS", "good, other")
    assert Registry([plugin("good", cxrscore_losses=one_loss())]).plugins[0].state == "ok"


def test_a_missing_framework_is_told_without_importing_it(plugin):
    backend = SimpleNamespace(
        name="far",
        requires=("json", "no_such_framework"),
        install="pip install far",
        architectures=(),
        speed={},
        build=None,
    )
    assert missing_modules(backend) == ["no_such_framework"]
    with pytest.raises(BackendUnavailableError, match="no backend is called 'far'"):
        Registry([]).get("cxrscore_backends", "backend", "far", BackendUnavailableError)


@pytest.mark.parametrize("name", ["torch", "keras", "openvino", "onnx", "ray"])
def test_our_own_hooks_import_no_framework(name):
    before = set(sys.modules)
    importlib.import_module(f"cxrscore_{name}")
    new = {module.split(".")[0] for module in set(sys.modules) - before}
    assert not new & {"torch", "keras", "tensorflow", "jax", "openvino", "onnx", "onnxruntime", "ray"}


def named(name, speed, architectures=("tinycnn",)):
    return SimpleNamespace(
        name=name,
        requires=(),
        install="",
        architectures=architectures,
        trains=False,
        speed=speed,
        build=lambda *a, **k: None,
    )


@pytest.mark.parametrize(
    ("device", "wanted"),
    [("cpu", ["swift", "plain"]), ("cuda:1", ["gpu", "plain"]), ("auto", ["swift", "plain"])],
)
def test_the_fastest_backend_for_the_device_comes_first(plugin, monkeypatch, device, wanted):
    @hookimpl
    def cxrscore_backends():
        return [
            named("plain", {"cpu": 1.0, "cuda": 1.0}),
            named("swift", {"cpu": 2.0}),
            named("gpu", {"cuda": 3.0}),
            named("other", {"cpu": 9.0}, ("vgg",)),
        ]

    found = Registry([plugin("p", cxrscore_backends=cxrscore_backends)])
    monkeypatch.setattr(plugins, "registry", lambda: found)
    monkeypatch.setattr(plugins, "_has_gpu", lambda: False)
    assert plugins.fastest_backends(TINY, device) == wanted


def test_with_a_gpu_those_that_use_it_come_first(plugin, monkeypatch):
    @hookimpl
    def cxrscore_backends():
        return [named("swift", {"cpu": 2.0}), named("plain", {"cpu": 1.0, "cuda": 1.0})]

    found = Registry([plugin("p", cxrscore_backends=cxrscore_backends)])
    monkeypatch.setattr(plugins, "registry", lambda: found)
    monkeypatch.setattr(plugins, "_has_gpu", lambda: True)
    assert plugins.fastest_backends(TINY) == ["plain", "swift"]


def some_backends(*names, requires=(), trains=True):
    @hookimpl
    def cxrscore_backends():
        return [
            SimpleNamespace(**{**vars(named(name, {"cpu": 1.0})), "requires": requires, "trains": trains})
            for name in names
        ]

    return cxrscore_backends


def test_a_name_that_two_claim_is_not_chosen_by_itself(plugin, monkeypatch):
    points = [
        plugin("a", "acme", cxrscore_backends=some_backends("x", "y")),
        plugin("b", cxrscore_backends=some_backends("x")),
    ]
    found = Registry(points)
    monkeypatch.setattr(plugins, "registry", lambda: found)
    assert plugins.fastest_backends(TINY, "cpu") == ["y"]
    assert plugins.default_training_backend() == "y"


def test_what_works_of_a_plugin_is_ok_and_the_rest_is_told(plugin):
    missing = some_backends("far", requires=("no_such_framework",))
    found = Registry([builtin(), plugin("both", cxrscore_backends=missing, cxrscore_losses=one_loss("mine"))])
    assert found.plugins[1].state == "ok"
    assert "backend 'far' needs no_such_framework" in found.plugins[1].reason
    assert found.get("cxrscore_losses", "loss", "mine")
    assert Registry([plugin("far", cxrscore_backends=missing)]).plugins[0].state == "unavailable"


def test_one_module_under_two_names_breaks_the_second_only(plugin):
    first = plugin("first", cxrscore_losses=one_loss("mine"))
    found = Registry([first, entry_point("second", first.point.value, "acme")])
    assert [p.state for p in found.plugins] == ["ok", "broken"]
    assert "plugin 'first' is this module, too" in found.plugins[1].reason
    assert found.get("cxrscore_losses", "loss", "mine")


def test_a_hook_that_raises_leaves_nothing_behind(plugin):
    @hookimpl
    def cxrscore_metrics():
        raise RuntimeError("two\nlines")

    found = Registry([plugin("bad", cxrscore_losses=one_loss("mine"), cxrscore_metrics=cxrscore_metrics)])
    assert found.plugins[0].reason.endswith("RuntimeError: two lines")
    assert "mine" not in found.all("cxrscore_losses")
    assert not found.plugins[0].provides


def test_a_descriptor_of_a_wrong_kind_is_named(plugin):
    @hookimpl
    def cxrscore_backends():
        return [named("x", None)]

    found = Registry([plugin("bad", cxrscore_backends=cxrscore_backends)])
    assert "speed is None, expected a number for each kind of device" in found.plugins[0].reason


def test_a_name_of_another_kind_is_told():
    with pytest.raises(InputError, match="no metric is called 'focal', but a loss is; available: auc"):
        Registry([builtin()]).get("cxrscore_metrics", "metric", "focal")


# --- names of cxrscore's own


def own(name):
    return entry_point(name, {"builtin": "cxrscore.builtin"}.get(name, f"cxrscore_{name}"), "cxrscore")


def test_a_loss_of_our_own_stays_whatever_else_is_installed(plugin):
    found = Registry([plugin("a", "acme", cxrscore_losses=one_loss("bce")), builtin()])
    assert found.plugins[1].state == "name conflict"
    assert found.plugins[1].reason == "loss 'bce' of acme is excluded: cxrscore has one of this name"
    assert found.get("cxrscore_losses", "loss", "bce") is Registry([builtin()]).get("cxrscore_losses", "loss", "bce")


def test_what_else_the_plugin_brings_can_be_used(plugin):
    @hookimpl
    def cxrscore_losses():
        return [*one_loss("bce")(), *one_loss("mine")()]

    found = Registry([builtin(), plugin("a", cxrscore_losses=cxrscore_losses)])
    assert (found.plugins[1].state, found.plugins[1].as_dict()["provides"]) == ("ok", {"cxrscore_losses": ["mine"]})
    assert "loss 'bce' of acme is excluded" in found.plugins[1].reason
    assert found.get("cxrscore_losses", "loss", "mine")


@pytest.mark.parametrize("name", ["openvino", "mine"])
def test_a_backend_of_our_own_name_takes_nothing(plugin, monkeypatch, name):
    """Whether the plugin is called so, or what it brings."""
    rival = plugin(name, "acme", cxrscore_backends=some_backends("openvino"))
    found = Registry([own("openvino"), rival])
    monkeypatch.setattr(plugins, "registry", lambda: found)
    monkeypatch.setattr("cxrscore.registry.missing_modules", lambda descriptor: [])
    assert [plugin.state for plugin in found.plugins] == ["ok", "name conflict"]
    assert type(found.get("cxrscore_backends", "backend", "openvino")).__module__ == "cxrscore_openvino"
    assert found.is_own("cxrscore_backends", "openvino")


def test_a_plugin_of_our_own_that_is_broken_keeps_its_name(plugin):
    broken = entry_point("torch", "no_such_module_anywhere", "cxrscore")
    found = Registry([broken, plugin("mine", cxrscore_backends=some_backends("torch"))])
    assert [plugin.state for plugin in found.plugins] == ["broken", "name conflict"]
    with pytest.raises(InputError, match="backend 'torch' of cxrscore is broken"):
        found.get("cxrscore_backends", "backend", "torch")


def test_a_name_of_our_own_goes_to_another_where_the_user_leaves_ours_out(plugin, monkeypatch):
    monkeypatch.setenv("CXRSCORE_PLUGINS", "mine")
    found = Registry([own("openvino"), plugin("mine", cxrscore_backends=some_backends("openvino"))])
    assert [plugin.state for plugin in found.plugins] == ["excluded", "ok"]
    assert not found.is_own("cxrscore_backends", "openvino")


# --- what is chosen where none is named


@pytest.fixture
def beside_ours(plugin, monkeypatch):
    """A registry of two of our own backends, whose frameworks count as installed, and one of acme's."""

    def make(**changes):
        @hookimpl
        def cxrscore_backends():
            return [SimpleNamespace(**{**vars(named("swift", {"cpu": 1e9})), "trains": True, **changes})]

        found = Registry([own("openvino"), own("torch"), plugin("p", cxrscore_backends=cxrscore_backends)])
        monkeypatch.setattr(plugins, "registry", lambda: found)
        monkeypatch.setattr(plugins, "missing_modules", lambda descriptor: [])
        return found

    return make


def test_our_own_backends_come_first_however_fast_another_says_it_is(beside_ours):
    beside_ours()
    assert plugins.fastest_backends(TINY, "cpu") == ["openvino", "torch", "swift"]
    assert plugins.default_training_backend() == "torch"
    assert plugins.default_note("torch", "score tinycnn") == ""


def test_what_only_another_backend_can_run_it_runs_and_that_is_told(beside_ours):
    beside_ours(architectures=("linear",))
    assert plugins.fastest_backends(replace(TINY, architecture="linear", network=None), "cpu") == ["swift"]
    assert plugins.default_training_backend(architecture="linear") == "swift"
    assert plugins.default_training_backend(architecture="tinycnn") == "torch"
    assert plugins.default_note("swift", "train linear") == (
        "No backend of cxrscore itself can train linear: backend 'swift' (distribution acme) was chosen. "
        "Name one with --backend to decide yourself."
    )


def test_a_trainer_that_is_there_comes_before_ours_without_its_framework(beside_ours, monkeypatch):
    beside_ours()
    monkeypatch.setattr(plugins, "missing_modules", lambda backend: list(backend.requires))
    assert plugins.default_training_backend() == "swift"
