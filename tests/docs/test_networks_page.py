"""The tables and pictures of networks.md say what the graphs and operations are."""

import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from cxrscore.networks.builtin import BUILT_IN, built_in
from cxrscore.networks.graph import FILM, GraphBuilder, Network
from cxrscore.networks.operations import OPERATIONS

DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(DOCS.parent / "tools" / "docs"))
import network_pictures  # noqa: E402
import networks_page  # noqa: E402

sys.path.pop(0)


def small():
    """Two residual blocks, the first with a projection, then a gate; all in numbers that are easy to count."""
    graph = GraphBuilder()
    x = graph.add("stem", "conv2d", FILM, filters=4, size=3, stride=2, padding=1)
    x = graph.add("stem_relu", "relu", x)
    for number, side in ((1, "wide"), (2, ""), (3, "")):
        new = graph.add(f"b{number}_conv", "conv2d", x, filters=8, size=3, padding=1, groups=4 if number == 1 else 8)
        if side:
            x = graph.add("b1_wide", "conv2d", x, filters=8, size=1)
        x = graph.add(f"b{number}_relu", "relu", graph.add(f"b{number}_add", "add", x, new), maximum=6)
    gate = graph.add("gate", "sigmoid", graph.add("mean", "global_avg_pool", x))
    x = graph.add("gated", "multiply", x, gate)
    return Network(name="small", nodes=graph.nodes, output=x, stages=("stem", "b1_conv"), size=64, summary="a < b")


def test_blocks_are_found_and_folded():
    stem, last = network_pictures.stages(small())
    assert (stem.names, stem.shape, stem.is_last) == (("stem",), "32 × 32 × 4", False)
    assert [block.branches for block in stem.blocks] == [("conv 3×3, 4, stride 2 → ReLU",)]
    first, others, gate = last.blocks
    assert first.branches == ("conv 1×1, 8", "conv in 4 groups 3×3, 8")
    assert first.merge == others.merge == "add (a) and (b), ReLU ≤ 6"
    assert (others.branches, others.times) == (("", "depthwise conv 3×3, 8"), 2)
    assert gate.branches == ("mean over the map → sigmoid → multiply",)
    assert last.shape == "32 × 32 × 8"


def test_a_picture_is_one_file_of_text_and_boxes():
    text = network_pictures.picture(small())
    root = ElementTree.fromstring(text)
    words = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "× 2" in words
    assert "(b) depthwise conv 3×3, 8" in words
    assert root.find("{http://www.w3.org/2000/svg}title").text == "small: a < b"
    bottom = float(root.get("height"))
    assert all(float(element.get("y")) < bottom for element in root.iter("{http://www.w3.org/2000/svg}text"))


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_pictures_request_nothing_and_have_both_colour_schemes(name):
    text = (DOCS / "networks" / f"{name}.svg").read_text()
    assert re.findall(r"(?:href|src|url|@import|https?:)[^\s>]*", text) == ['http://www.w3.org/2000/svg"']
    assert "prefers-color-scheme: dark" in text
    assert f"networks/{name}.svg" in (DOCS / "networks.md").read_text()


@pytest.mark.parametrize(("name", "blocks"), [("densenet121", [6, 12, 24, 16]), ("resnet50", [2, 3, 5, 2])])
def test_repeated_blocks_of_built_in_networks_are_those_of_the_papers(name, blocks):
    """Tables 1 of the papers; the first block of a stage of ResNet50 has a projection and is drawn by itself."""
    drawn = [block.times for stage in network_pictures.stages(built_in(name)) for block in stage.blocks]
    assert [times for times in drawn if times > 1] == blocks


def test_layers_of_a_transformer_are_one_box():
    patches, layers, last = network_pictures.stages(built_in("vit_b14"))
    assert (len(patches.names), len(layers.names), len(last.names)) == (1, 11, 1)
    assert layers.blocks[0].branches == ("", "LN → 3 × dense 768 → attention, 12 heads → dense 768 → scale")


def test_the_operations_table_has_all_with_shapes_as_formulas():
    rows = {
        line.split("`")[1]: line.strip("| ").split(" | ") for line in networks_page.operations_table().splitlines()[2:]
    }
    assert set(rows) == set(OPERATIONS)
    assert rows["conv2d"][3] == "[⌊(h + before + after - size) / stride⌋ + 1, w likewise, filters]"
    assert rows["conv2d"][4] == "`kernel` [size, size, K / groups, filters]; `bias` [filters]"
    assert rows["embed_tokens"][3:] == ["[1 + h w, K]", "`class_token` [K]; `position` [1 + grid^2, K]"]
    assert rows["concat"][2:4] == ["any, any, ...", "[..., K1 + K2]"]


def test_the_attributes_table_has_all_with_their_defaults():
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (.*?) \|", networks_page.attributes_table(), re.MULTILINE)
    assert [row[:2] for row in rows] == [(name, each) for name, one in OPERATIONS.items() for each in one.attributes]
    assert ("conv2d", "padding", "`[0, 0]`") in rows
    assert ("attention", "heads", "required") in rows
    assert ("relu", "maximum", "`None`") in rows


def test_the_table_of_a_network_counts_what_there_is():
    """Parameters by hand: stem 3*3*3*4 + 4; blocks 3*3*1*8 + 8 each, projection 4*8 + 8."""
    assert networks_page.stage_rows(small()) == [
        ("stem", "2", "2", "112", "[32, 32, 4]"),
        ("b1_conv", "13", "8", "280", "[32, 32, 8]"),
    ]
    assert "| all | 15 | 10 | 392 |  |" in networks_page.network_section(small())
