"""Networks as data: what is refused, with which words; shapes, stages and taps worked by hand; files and digests."""

import dataclasses
import json
import pickle

import numpy as np
import pytest

from cxrscore.contract import GraphBuilder, Network, Node
from cxrscore.errors import InputError
from cxrscore.networks import graph as graphs
from cxrscore.networks.builtin import BUILT_IN, built_in, networks
from cxrscore.networks.graph import FILM, last_uses
from cxrscore.networks.operations import OPERATIONS, ShapeError

CONV = {"filters": 4, "size": 3, "padding": 1}


def node(operation="relu", *inputs, name="it", **attributes):
    return Node(name=name, operation=operation, inputs=inputs or ("before",), attributes=attributes)


def small(**changes):
    """Two convolutions with ReLU; the second begins the last block."""
    graph = GraphBuilder()
    x = graph.add("conv1", "conv2d", FILM, stride=2, **CONV)
    x = graph.add("conv1_relu", "relu", x)
    x = graph.add("conv2", "conv2d", x, **CONV)
    graph.add("relu", "relu", x)
    given = {"name": "small", "nodes": graph.nodes, "output": "relu", "stages": ("conv1", "conv2"), "size": 32}
    return Network(**{**given, **changes})


def with_nodes(*nodes, output="end", **changes):
    first = node("conv2d", FILM, name="conv1", **CONV)
    return small(nodes=(first, *nodes), output=output, stages=("conv1",), **changes)


# --- nodes


@pytest.mark.parametrize("name", ["", "1st", "a-b", "a/b", "a b", "ä", "a\n", "film", "head", "x" * 101, None, ["a"]])
def test_a_name_that_cannot_name_tensors_is_refused(name):
    with pytest.raises(InputError, match="expected a name of letters, digits and underscores, other than film and"):
        node(name=name)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("conv3d",), "no operation is called 'conv3d'; there is: conv2d, dense"),
        (([],), r"no operation is called \[\]"),
        (("add", "a"), "add has 1 inputs, expected 2"),
        (("relu", "a", "b"), "relu has 2 inputs, expected 1"),
        (("concat", "a"), "concat has 1 inputs, expected 2 to 1000"),
        (("concat", *["a"] * 1001), "concat has 1001 inputs, expected 2 to 1000"),
        (("relu", 3), r"inputs are \(3,\), expected a tuple of names"),
    ],
)
def test_an_operation_or_inputs_that_do_not_exist_are_refused(given, words):
    with pytest.raises(InputError, match=f"node 'it': {words}"):
        node(*given)


@pytest.mark.parametrize("inputs", [None, "a", ["a"], ([],)])
def test_inputs_are_a_tuple_of_names(inputs):
    with pytest.raises(InputError, match="expected a tuple of names"):
        Node(name="it", operation="relu", inputs=inputs)


def test_many_inputs_may_be_joined():
    assert len(node("concat", *"abc").inputs) == 3


@pytest.mark.parametrize(
    ("operation", "attributes", "words"),
    [
        ("relu", {"slope": 1}, "relu has no attribute slope; it has: maximum"),
        ("gelu", {"slope": 1, 3: 4}, "gelu has no attribute 3, slope; it has: none"),
        ("conv2d", {"size": 3}, "conv2d needs the attribute filters, channels of the output"),
        ("conv2d", {"filters": None, "size": 3}, r"filters is None, expected an integer in 1\.\.65536"),
        ("conv2d", {"filters": 0, "size": 3}, "filters is 0, expected an integer"),
        ("conv2d", {"filters": True, "size": 3}, "filters is True, expected an integer"),
        ("conv2d", {"filters": 65537, "size": 3}, "filters is 65537, expected an integer"),
        ("conv2d", {"filters": 2.0, "size": 3}, r"filters is 2\.0, expected an integer"),
        ("conv2d", {**CONV, "stride": None}, "stride is None, expected an integer"),
        ("conv2d", {**CONV, "padding": -1}, r"padding is \(-1, -1\), expected an integer in 0\.\.65536, or two"),
        ("conv2d", {**CONV, "padding": (1, 2, 3)}, r"padding is \(1, 2, 3\), expected an integer"),
        ("conv2d", {**CONV, "padding": [[1], 2]}, "padding is .* expected an integer"),
        ("conv2d", {**CONV, "bias": 1}, "bias is 1, expected True or False"),
        ("relu", {"maximum": 0}, "maximum is 0, expected a number above 0"),
        ("relu", {"maximum": "6"}, "maximum is '6', expected a number above 0"),
        ("batch_norm", {"epsilon": float("nan")}, "epsilon is nan, expected a number above 0"),
        ("batch_norm", {"epsilon": float("inf")}, r"epsilon is inf, expected a number above 0 and at most 1e\+30"),
        ("batch_norm", {"epsilon": 10**400}, "epsilon is 1000"),
        ("batch_norm", {"epsilon": None}, "epsilon is None, expected a number above 0"),
    ],
)
def test_attributes_that_do_not_fit_are_refused(operation, attributes, words):
    with pytest.raises(InputError, match=f"node 'it': {words}") as refusal:
        Node(name="it", operation=operation, inputs=("a",), attributes=attributes)
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize("attributes", [None, [1], "size"])
def test_attributes_are_values_by_name(attributes):
    with pytest.raises(InputError, match="expected values by name"):
        Node(name="it", operation="relu", inputs=("a",), attributes=attributes)


def test_defaults_are_filled_in_and_not_written():
    it = node("conv2d", filters=4, size=3, padding=[0, 1])
    expected = {"filters": 4, "size": 3, "stride": 1, "padding": (0, 1), "groups": 1, "bias": True}
    assert it.attributes == expected
    assert it.as_dict() == {
        "name": "it",
        "operation": "conv2d",
        "inputs": ["before"],
        "filters": 4,
        "size": 3,
        "padding": [0, 1],
    }


def test_one_number_is_the_padding_of_both_sides():
    assert node("conv2d", filters=4, size=3, padding=2).attributes["padding"] == (2, 2)


# --- networks


@pytest.mark.parametrize("name", ["", "-a", "a b", "a/b", "../a", "x" * 101, None, 3])
def test_a_network_has_a_name_that_is_no_path(name):
    with pytest.raises(InputError, match="expected a name of letters, digits, dots, hyphens and underscores"):
        small(name=name)


def test_a_name_is_taken_once():
    with pytest.raises(InputError, match="two nodes are called 'conv1'"):
        with_nodes(node("relu", "conv1", name="conv1"))


@pytest.mark.parametrize(
    "nodes",
    [
        (node("relu", "nothing", name="end"),),
        (node("relu", "end", name="end"),),
        (node("add", "conv1", "end", name="sum"), node("relu", "sum", name="end")),
    ],
)
def test_an_input_that_is_no_earlier_node_is_refused_and_so_no_graph_has_a_cycle(nodes):
    with pytest.raises(InputError, match="which is no earlier node: a graph has no cycle"):
        with_nodes(*nodes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"nodes": ()}, "expected a tuple of 1 to 10000 nodes"),
        ({"nodes": None}, "expected a tuple of 1 to 10000 nodes"),
        ({"nodes": ("conv1",)}, "expected a tuple of 1 to 10000 nodes"),
        ({"output": "no"}, "output is 'no', which is no node"),
        ({"output": "film"}, "output is 'film', which is no node"),
        ({"output": None}, "output is None, which is no node"),
        ({"output": ["relu"]}, r"output is \['relu'\], which is no node"),
        ({"output": "conv2"}, "neither the output nor the class token needs relu"),
        ({"class_token": "no"}, "class_token is 'no', which is no node"),
        ({"class_token": ""}, "class_token is '', which is no node"),
        ({"class_token": "conv2"}, r"class_token 'conv2' has shape \[16, 16, 4\], expected a vector \[K\]"),
        ({"stages": ()}, r"stages begin with \[\], expected the first node, 'conv1'"),
        ({"stages": ("conv2",)}, r"stages begin with \['conv2'\], expected the first node, 'conv1'"),
        ({"stages": ("conv1", "no")}, "stages: 'no' after 'conv1', expected names of nodes in their order"),
        ({"stages": ("conv1", "conv2", "conv1_relu")}, "stages: 'conv1_relu' after 'conv2', expected names"),
        ({"stages": ("conv1", "conv1")}, "stages: 'conv1' after 'conv1', expected names of nodes in their order"),
        ({"stages": "conv1"}, "stages are 'conv1', expected a tuple of names of nodes"),
        ({"stages": None}, "stages are None, expected a tuple of names of nodes"),
        ({"stages": ("conv1", ["conv2"])}, "stages are .* expected a tuple of names of nodes"),
        ({"size": 31}, r"size is 31, expected 32\.\.4096 pixels"),
        ({"size": 4097}, "size is 4097"),
        ({"size": 64.0}, r"size is 64\.0"),
        ({"normalize": "z-score"}, "normalize is 'z-score', expected one of imagenet-rgb"),
        ({"summary": None}, "summary: expected a text"),
    ],
)
def test_what_is_no_network_is_refused_with_its_name(changes, words):
    with pytest.raises(InputError, match=f"^network 'small': {words}"):
        small(**changes)


def test_lists_become_tuples():
    assert small(nodes=list(small().nodes), stages=["conv1", "conv2"]) == small()


def test_a_node_that_nothing_uses_is_named():
    idle = [node("relu", "conv1", name=f"idle{number}") for number in range(7)]
    with pytest.raises(InputError, match=r"needs idle0, idle1, idle2, idle3, idle4 and 2 more$"):
        with_nodes(node("relu", "conv1", name="end"), *idle)


def test_the_output_is_a_map():
    with pytest.raises(InputError, match=r"output 'end' has shape \[1025, 4\], expected a map \[h, w, K\]"):
        with_nodes(node("embed_tokens", "conv1", name="end", grid=8))


def test_the_class_token_has_the_channels_of_the_map():
    nodes = (
        node("embed_tokens", "conv1", name="tokens", grid=8),
        node("class_token", "tokens", name="first"),
        node("dense", "first", name="vector", units=5),
        node("patch_map", "tokens", name="end"),
    )
    with pytest.raises(InputError, match="class_token and output have different numbers of channels"):
        with_nodes(*nodes, class_token="vector")


def test_the_last_block_begins_with_one_value():
    nodes = (*small().nodes[:-1], node("add", "conv2", "conv1_relu", name="end"))
    with pytest.raises(
        InputError, match="the last block begins with conv2, conv1_relu, expected the value of one node"
    ):
        small(nodes=nodes, output="end", stages=("conv1", "end"))
    assert small(nodes=nodes, output="end").entry == "conv1_relu"  # twice the same value


def test_what_a_head_takes_is_part_of_the_last_block_or_enters_it():
    nodes = (
        node("embed_tokens", "conv1", name="tokens", grid=8),
        node("patch_map", "tokens", name="end"),
        node("relu", "tokens", name="relu"),
        node("class_token", "relu", name="first"),
    )
    with pytest.raises(InputError, match="'end' is computed before the last block, and does not enter it"):
        small(nodes=(small().nodes[0], *nodes), output="end", class_token="first", stages=("conv1", "relu"))


# --- shapes


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        (
            [("conv2d", {**CONV, "groups": 3})],
            r"\(conv2d\), films of 32 pixels: 3 groups divide neither 4 channels nor 4",
        ),
        ([("conv2d", {**CONV, "filters": 6, "groups": 4})], "4 groups do not divide 6 evenly"),
        ([("conv2d", {**CONV, "filters": 6, "groups": 6})], "6 groups do not divide 4 evenly"),
        ([("conv2d", {**CONV, "size": 35})], r"a window of 35 does not fit a map of 32 with padding \[1, 1\]"),
        ([("avg_pool", {"size": 33, "stride": 1})], "a window of 33 does not fit a map of 32"),
        ([("max_pool", {"size": 2, "stride": 1, "padding": (0, 2)})], r"padding \[0, 2\] is not below the window's 2"),
        ([("global_avg_pool", {}), ("conv2d", {**CONV, "padding": 0})], "a window of 3 does not fit a map of 1"),
        ([("class_token", {})], r"its input has shape \[32, 32, 4\], expected tokens \[T, K\]"),
        ([("embed_tokens", {"grid": 2}), ("batch_norm", {})], r"has shape \[1025, 4\], expected a map \[h, w, K\]"),
        ([("embed_tokens", {"grid": 1000})], "positions of a 1000 x 1000 grid are too many to interpolate"),
    ],
)
def test_shapes_that_do_not_fit_are_told_with_the_node_and_the_size(nodes, words):
    made, last = [], "conv1"
    for number, (operation, attributes) in enumerate(nodes):
        made.append(node(operation, last, name=f"n{number}", **attributes))
        last = made[-1].name
    with pytest.raises(InputError, match=f"network 'small': node 'n.*{words}"):
        with_nodes(*made, output=last)


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        ("add", r"its inputs have shapes \[32, 32, 4\] and \[16, 16, 4\], expected equal ones"),
        ("multiply", r"\[32, 32, 4\] and \[16, 16, 4\], expected equal ones, or \[1, 1, K\] as the second"),
        ("concat", r"\[32, 32, 4\] and \[16, 16, 4\], expected equal ones but for K"),
    ],
)
def test_inputs_of_shapes_that_do_not_fit_each_other_are_told(operation, words):
    pool = node("avg_pool", "conv1", name="pool", size=2, stride=2)
    with pytest.raises(InputError, match=words):
        with_nodes(pool, node(operation, "conv1", "pool", name="end"))


def test_a_gate_is_the_second_factor():
    pool = node("global_avg_pool", "conv1", name="pool")
    assert with_nodes(pool, node("multiply", "conv1", "pool", name="end")).shapes(32)["end"] == (32, 32, 4)
    with pytest.raises(InputError, match="as the second"):
        with_nodes(pool, node("multiply", "pool", "conv1", name="end"))


def test_attention_has_inputs_of_one_shape_and_heads_that_divide_the_channels():
    tokens = node("embed_tokens", "conv1", name="tokens", grid=8)
    wide = node("dense", "tokens", name="wide", units=8)
    for inputs, heads, words in (
        (("tokens", "wide", "tokens"), 1, "query, key and value have shapes"),
        (("tokens",) * 3, 3, "3 heads do not divide 4 channels evenly"),
    ):
        between = [tokens, wide] if "wide" in inputs else [tokens]
        with pytest.raises(InputError, match=words):
            with_nodes(*between, node("attention", *inputs, name="end", heads=heads))


def shape_of(operation, *shapes, **attributes):
    return OPERATIONS[operation].shape(shapes, attributes)


def test_tokens_that_are_no_square_are_no_map():
    with pytest.raises(ShapeError, match="7 patch tokens are not a square map"):
        shape_of("patch_map", (8, 4))


def test_films_that_are_too_small_for_a_network_are_refused():
    dense = built_in("densenet121")
    assert dense.shapes(32)["relu"] == (1, 1, 1024)
    strict = with_nodes(node("avg_pool", "conv1", name="end", size=40, stride=1), size=64)
    with pytest.raises(
        InputError, match=r"network 'small': node 'end' .* films of 39 pixels: a window of 40 does not fit a map of 39"
    ):
        strict.shapes(39)


def test_windows_by_hand():
    """(9 + 0 + 1 - 3) // 2 + 1 = 4 places."""
    given = {"filters": 5, "size": 3, "stride": 2, "padding": (0, 1), "groups": 1}
    assert shape_of("conv2d", (9, 9, 4), **given) == (4, 4, 5)
    assert shape_of("avg_pool", (9, 9, 4), size=2, stride=2) == (4, 4, 4)
    assert shape_of("max_pool", (9, 9, 4), size=3, stride=2, padding=(1, 1)) == (5, 5, 4)


def test_tensors_of_operations_by_hand():
    nodes = (
        node("conv2d", "conv1", name="wide", filters=6, size=1, groups=2, bias=False),
        node("embed_tokens", "wide", name="tokens", grid=3),
        node("layer_norm", "tokens", name="norm"),
        node("scale", "norm", name="scale"),
        node("dense", "scale", name="dense", units=5),
        node("patch_map", "dense", name="map"),
        node("batch_norm", "map", name="end"),
    )
    shapes = with_nodes(*nodes).tensor_shapes(32)
    assert shapes == {
        "conv1/kernel": (3, 3, 3, 4),
        "conv1/bias": (4,),
        "wide/kernel": (1, 1, 2, 6),
        "tokens/class_token": (6,),
        "tokens/position": (10, 6),
        "norm/gamma": (6,),
        "norm/beta": (6,),
        "scale/gamma": (6,),
        "dense/kernel": (6, 5),
        "dense/bias": (5,),
        "end/gamma": (5,),
        "end/beta": (5,),
        "end/moving_mean": (5,),
        "end/moving_variance": (5,),
    }


# --- what a network says of itself


def test_stages_entry_and_taps_by_hand():
    network = small()
    assert network.stage_of == {"conv1": 0, "conv1_relu": 0, "conv2": 1, "relu": 1}
    assert network.entry == "conv1_relu"
    assert network.cam_layers == ("relu", "conv2")
    assert network.before_last_relu == "conv2"
    assert small(stages=("conv1",)).entry == FILM
    assert network.operations == {"conv2d", "relu"}


def test_without_a_relu_at_the_end_there_is_one_tap():
    network = with_nodes(node("gelu", "conv1", name="end"))
    assert network.cam_layers == ("end",)
    assert network.before_last_relu == "end"


@pytest.mark.parametrize(
    ("name", "entry", "taps"),
    [
        ("densenet121", "pool4_pool", ("relu", "bn")),
        ("densenet169", "pool4_pool", ("relu", "bn")),
        ("resnet50", "conv4_block6_out", ("conv5_block3_out", "conv5_block3_add")),
        ("resnet50v1.5", "conv4_block6_out", ("conv5_block3_out", "conv5_block3_add")),
        ("vit_b14", "layer11_add2", ("patch_map",)),
        ("tinycnn", "conv3_relu", ("relu", "conv4")),
    ],
)
def test_entry_and_taps_of_built_in_networks(name, entry, taps):
    assert (built_in(name).entry, built_in(name).cam_layers) == (entry, taps)


def test_what_is_needed_by_hand():
    network = small()
    assert [each.name for each in network.needed(["conv1_relu"])] == ["conv1", "conv1_relu"]
    assert [each.name for each in network.needed(["relu"], ["conv1_relu"])] == ["conv2", "relu"]
    assert network.needed(["relu"], ["relu"]) == []
    with pytest.raises(InputError, match=r"network 'small': film is not computed from \['conv2'\]"):
        network.needed(["conv1"], ["conv2"])
    with pytest.raises(InputError, match="no is not computed from"):
        network.needed(["no"])


def test_last_uses_by_hand():
    """The film after conv1, a value that two nodes use after the second, none that is kept."""
    nodes = (*small().nodes, node("add", "relu", "conv1_relu", name="sum"))
    freed = {"conv1": (FILM,), "conv1_relu": ("conv1",), "relu": ("conv2",), "sum": ("conv1_relu", "relu")}
    assert {user: tuple(sorted(names)) for user, names in last_uses(nodes).items()} == freed
    assert last_uses(nodes, kept=["relu", "conv1"])["sum"] == ("conv1_relu",)


# --- as values


@pytest.mark.parametrize("network", networks(), ids=lambda network: network.name)
def test_a_network_is_the_same_after_a_file(network):
    again = Network.from_dict(json.loads(json.dumps(network.as_dict())))
    assert again.nodes == network.nodes
    assert (again.digest, hash(again)) == (network.digest, hash(network))
    assert again == network
    assert all(getattr(again, field.name) == getattr(network, field.name) for field in dataclasses.fields(Network))
    assert pickle.loads(pickle.dumps(network)) == network  # noqa: S301 - our own


def test_built_in_networks_are_told_apart():
    assert len({network.digest for network in networks()}) == len(BUILT_IN)
    assert built_in("vgg") is None
    assert [network.name for network in networks()] == list(BUILT_IN)


def test_equality_is_that_of_what_decides_the_numbers():
    assert small() == small(summary="the same numbers")
    assert small() != small(stages=("conv1",))
    assert small() != small(name="other")
    assert small() != "small"
    assert small() != small(nodes=(*small().nodes[:-1], node("relu", "conv2", name="relu", maximum=6)))


def test_a_whole_number_is_the_same_as_a_float():
    """JSON, and so a digest, would tell 6 from 6.0."""
    six = [with_nodes(node("relu", "conv1", name="end", maximum=value)) for value in (6, 6.0)]
    assert six[0].digest == six[1].digest


@pytest.mark.parametrize("values", [None, [], "small", 3, {}])
def test_what_is_no_dictionary_of_a_network_is_refused(values):
    with pytest.raises(InputError, match="a network that cannot be read"):
        Network.from_dict(values)


@pytest.mark.parametrize(
    "change",
    [
        {"nodes": None},
        {"nodes": "abc"},
        {"nodes": {}},
        {"nodes": ["conv1"]},
        {"nodes": [{"name": "a"}]},
        {"nodes": [{"name": "a", "operation": "relu", "inputs": None}]},
        {"nodes": [{"name": "a", "operation": "relu", "inputs": [["film"]]}]},
        {"nodes": [{"name": ["a"], "operation": {}, "inputs": "film"}]},
        {"nodes": [{"name": "a", "operation": "conv2d", "inputs": ["film"], "filters": [3], "size": 3}]},
        {"nodes": [{"name": "a", "operation": "relu", "inputs": ["film"]}] * 10_001},
        {"stages": None},
        {"stages": {"conv1": 1}},
        {"output": {}},
        {"class_token": []},
        {"normalize": []},
        {"size": "32"},
        {"extra": 1},
    ],
)
def test_a_hostile_dictionary_is_refused_in_one_short_line(change):
    with pytest.raises(InputError) as refusal:
        Network.from_dict({**small().as_dict(), **change})
    assert len(str(refusal.value)) < 400
    assert "\n" not in str(refusal.value)


def test_a_field_that_is_left_out_is_missed():
    values = small().as_dict()
    del values["output"]
    with pytest.raises(InputError, match="output"):
        Network.from_dict(values)


def test_a_graph_that_would_fill_the_memory_is_refused_before_an_array_is_made():
    wide = node("conv2d", "conv1", name="end", filters=65536, size=1)
    assert with_nodes(wide, size=32).shapes(32)["end"] == (32, 32, 65536)
    with pytest.raises(InputError, match=f"node 'end': more than {graphs.MAX_ELEMENTS} numbers for films of 4096"):
        with_nodes(wide, size=32).shapes(4096)
    many = [
        node("dense", "conv1" if number == 0 else f"d{number - 1}", name=f"d{number}", units=30_000)
        for number in range(4)
    ]
    with pytest.raises(InputError, match="node 'd3': more than"):
        with_nodes(*many, output="d3")


def test_ten_thousand_nodes_take_no_longer_than_they_must():
    """Stages at every node: a list that is searched for each would cost a hundred million comparisons."""
    graph = GraphBuilder()
    x = graph.add("n0", "relu", FILM)
    for number in range(1, graphs.MAX_NODES):
        x = graph.add(f"n{number}", "relu", x)
    network = Network(name="long", nodes=graph.nodes, output=x, stages=tuple(n.name for n in graph.nodes), size=32)
    assert network.stage_of[x] == graphs.MAX_NODES - 1
    assert network.entry == f"n{graphs.MAX_NODES - 2}"


def test_numbers_of_numpy_are_no_attributes_but_are_told():
    with pytest.raises(InputError, match=r"filters is np\.int64\(3\), expected an integer"):
        node("conv2d", filters=np.int64(3), size=1)


def test_attention_among_too_many_tokens_is_refused():
    graph = GraphBuilder()
    x = graph.add("patches", "conv2d", FILM, filters=4, size=2, stride=2)
    x = graph.add("tokens", "embed_tokens", x, grid=2)
    x = graph.add("mixed", "attention", x, x, x, heads=2)
    small = Network(name="wide", nodes=(*graph.nodes, *_map_of(x)), output="map", stages=("patches",), size=64)
    with pytest.raises(InputError, match="node 'mixed': more than 2147483648 numbers for films of 512 pixels"):
        small.shapes(512)  # 65,537 tokens


def _map_of(tokens):
    return (Node(name="map", operation="patch_map", inputs=(tokens,)),)


def test_a_network_is_shown_by_its_name_not_by_its_nodes():
    assert "Node(" not in repr(built_in("densenet121"))
