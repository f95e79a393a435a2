"""ModelSpec and its network: one that cxrscore brings is looked up, that of a plugin travels with the spec."""

import json
from dataclasses import replace

import pytest

from cxrscore.contract import GraphBuilder, ModelSpec, Network
from cxrscore.errors import InputError
from cxrscore.networks.builtin import built_in
from cxrscore.networks.graph import FILM

TINY = ModelSpec(architecture="tinycnn", findings=("Mass", "Edema"), size=32)


def graph_of(name="mine", *, pool=2):
    graph = GraphBuilder()
    x = graph.add("conv", "conv2d", FILM, filters=4, size=3, padding=1)
    x = graph.add("pool", "avg_pool", x, size=pool, stride=pool)
    return Network(name=name, nodes=graph.nodes, output=x, stages=("conv",), size=64)


def spec_of(network, **changes):
    given = {"architecture": network.name, "findings": ("Mass",), "size": 32, "network": network}
    return ModelSpec(**{**given, **changes})


def test_a_built_in_network_is_looked_up_and_not_written():
    assert TINY.network is built_in("tinycnn")
    assert TINY.graph is TINY.network
    assert "network" not in TINY.as_dict()
    assert ModelSpec.from_dict(json.loads(json.dumps(TINY.as_dict()))) == TINY


def test_a_file_written_before_there_were_graphs_is_read():
    values = TINY.as_dict()
    assert set(values) == {"architecture", "findings", "size", "normalize", "head", "activation", "trainable"}


def test_the_graph_of_a_plugin_travels_with_the_spec():
    spec = spec_of(graph_of())
    again = ModelSpec.from_dict(json.loads(json.dumps(spec.as_dict())))
    assert again == spec
    assert hash(again) == hash(spec)
    assert again.graph.nodes == graph_of().nodes
    assert spec != spec_of(graph_of(pool=4))


def test_a_network_that_only_a_backend_knows_has_no_graph():
    spec = ModelSpec(architecture="vgg", findings=("Mass",))
    assert spec.network is None
    assert ModelSpec.from_dict(spec.as_dict()) == spec
    with pytest.raises(InputError, match="cxrscore does not know the layers of 'vgg': only its backend does"):
        _ = spec.graph


@pytest.mark.parametrize(
    ("network", "architecture"),
    [(graph_of(), "yours"), (graph_of("tinycnn"), "tinycnn"), (built_in("tinycnn"), "mine")],
)
def test_a_graph_of_another_name_or_of_other_layers_than_ours_is_refused(network, architecture):
    with pytest.raises(InputError, match=f"the graph of network '{network.name}' is not that of '{architecture}'"):
        spec_of(network, architecture=architecture)


def test_our_own_graph_may_be_given():
    assert spec_of(built_in("tinycnn"), findings=TINY.findings) == TINY


def test_another_architecture_needs_another_graph():
    with pytest.raises(InputError, match="the graph of network 'tinycnn' is not that of 'resnet50'"):
        replace(TINY, architecture="resnet50")
    assert replace(TINY, architecture="resnet50", network=None).network is built_in("resnet50")


def test_a_cls_head_needs_a_class_token():
    with pytest.raises(InputError, match="tinycnn has no class token, so no head 'cls': use gap or flatten"):
        replace(TINY, head="cls")
    assert replace(TINY, architecture="vit_b14", network=None, head="cls").graph.class_token == "class_token"


def test_films_that_do_not_fit_the_network_are_refused():
    with pytest.raises(InputError, match=r"network 'mine': node 'pool' .* films of 32 pixels: a window of 40"):
        spec_of(Network(**{**vars_of(graph_of(pool=40)), "size": 64}))


def vars_of(network):
    return {name: getattr(network, name) for name in ("name", "nodes", "output", "stages")}


@pytest.mark.parametrize("network", ["mine", {"name": "mine"}, 3])
def test_a_graph_is_a_network(network):
    with pytest.raises(InputError, match="expected the name of a network, and its graph"):
        ModelSpec(architecture="mine", findings=("Mass",), network=network)


@pytest.mark.parametrize("architecture", [None, ["tinycnn"], 3])
def test_an_architecture_is_a_name(architecture):
    with pytest.raises(InputError, match="expected the name of a network"):
        ModelSpec(architecture=architecture, findings=("Mass",))


@pytest.mark.parametrize("network", [[1], "x", 3, {}, {"name": "mine"}])
def test_a_file_with_what_is_no_graph_is_refused(network):
    with pytest.raises(InputError, match="a network that cannot be read"):
        ModelSpec.from_dict({**spec_of(graph_of()).as_dict(), "network": network})


def test_fields_are_known_and_all_there():
    with pytest.raises(InputError, match="model spec has unknown fields: graph"):
        ModelSpec.from_dict({**TINY.as_dict(), "graph": {}})
    values = TINY.as_dict()
    del values["size"]
    with pytest.raises(InputError, match="model spec lacks fields: size"):
        ModelSpec.from_dict(values)
