"""Pictures of networks, drawn from their graphs: one box for each block, repeated blocks folded.

A block begins where only one value leads from the nodes before to those after it: so a residual block or a dense layer
is one block, and the nodes of a chain are drawn on one line. Nothing here knows a network by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from cxrscore.networks.graph import Network, Node

WIDTH, MARGIN, PAD = 760, 16, 10
LINE = 17
"""Pixels from one line of text to the next."""
CHARS = 92
"""Characters of a line in a box."""
MARKS = "abcdefgh"
"""Names of the branches of a block."""
LABELS: dict[str, Callable[[Any], str]] = {
    "conv2d": lambda a: f"{_kind(a)} {a['size']}×{a['size']}, {a['filters']}{_step(a)}",
    "dense": lambda a: f"dense {a['units']}",
    "batch_norm": lambda a: "BN",
    "layer_norm": lambda a: "LN",
    "relu": lambda a: "ReLU" if a["maximum"] is None else f"ReLU ≤ {a['maximum']:g}",
    "gelu": lambda a: "GELU",
    "silu": lambda a: "SiLU",
    "max_pool": lambda a: f"max pool {a['size']}×{a['size']}{_step(a)}",
    "avg_pool": lambda a: f"mean pool {a['size']}×{a['size']}{_step(a)}",
    "global_avg_pool": lambda a: "mean over the map",
    "attention": lambda a: f"attention, {a['heads']} heads",
    "embed_tokens": lambda a: "class token + positions",
    "class_token": lambda a: "class token",
    "patch_map": lambda a: "patch tokens as a map",
}
STYLE = """
svg { font: 12.5px system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; }
.card { fill: #ffffff; stroke: #c8ccd4; } .stage { fill: #eef1f8; stroke: #aab4cc; }
.last { fill: #e3efe5; stroke: #8fb596; }
.box { fill: #ffffff; stroke: #7884a0; } text { fill: #1c2230; } .small { fill: #525c70; font-size: 11.5px; }
.bold { font-weight: 600; } .line { fill: none; stroke: #525c70; stroke-width: 1.3; } .tip { fill: #525c70; }
@media (prefers-color-scheme: dark) {
.card { fill: #1b1f28; stroke: #4a5264; } .stage { fill: #262c3a; stroke: #56617c; }
.last { fill: #243329; stroke: #58785e; }
.box { fill: #1b1f28; stroke: #8b96b0; } text { fill: #e6e9f0; } .small { fill: #aeb7c8; } .line { stroke: #aeb7c8; }
.tip { fill: #aeb7c8; } }
"""


def _kind(attributes: Any) -> str:
    groups = attributes["groups"]
    return (
        "conv" if groups == 1 else "depthwise conv" if groups == attributes["filters"] else f"conv in {groups} groups"
    )


def _step(attributes: Any) -> str:
    return f", stride {attributes['stride']}" if attributes["stride"] > 1 else ""


def label(node: Node) -> str:
    """A node in a few words."""
    return LABELS.get(node.operation, lambda a: node.operation)(node.attributes)


# --- what is drawn: stages, in them blocks, in them branches


@dataclass(frozen=True)
class Block:
    """Nodes from one value to one value.

    branches  lines of labels, "" for the value itself; merge: how they are joined, "" if there is one branch only
    """

    branches: tuple[str, ...]
    merge: str
    times: int = 1


@dataclass(frozen=True)
class Stage:
    """names: first nodes of the stages that are alike; shape: of the value that leaves it."""

    names: tuple[str, ...]
    blocks: tuple[Block, ...]
    shape: str
    is_last: bool


def stages(network: Network) -> list[Stage]:
    """The stages in order; consecutive ones that are alike are one."""
    shapes, found = network.shapes(network.size), []
    groups: list[list[Node]] = [[] for _ in network.stages]
    for node in network.nodes:
        groups[network.stage_of[node.name]].append(node)
    for number, nodes in enumerate(groups):
        blocks = tuple(folded(_chained(segments(network, nodes))))
        last = number == len(groups) - 1
        leaving = network.output if last else next(n.name for n in reversed(nodes) if _leaves(network, n, nodes))
        one = Stage((network.stages[number],), blocks, " × ".join(map(str, shapes[leaving])), last)
        if found and (found[-1].blocks, found[-1].shape, found[-1].is_last) == (blocks, one.shape, last):
            one = Stage((*found.pop().names, *one.names), blocks, one.shape, last)
        found.append(one)
    return found


def _leaves(network: Network, node: Node, nodes: Sequence[Node]) -> bool:
    names = {each.name for each in nodes}
    return any(node.name in user.inputs for user in network.nodes if user.name not in names)


def segments(network: Network, nodes: Sequence[Node]) -> list[list[Node]]:
    """The nodes of a stage, cut wherever one value alone leads on."""
    place = {node.name: number for number, node in enumerate(network.nodes)}
    last_use = {name: place[node.name] for node in network.nodes for name in node.inputs}
    found: list[list[Node]] = [[]]
    for node in nodes:
        found[-1].append(node)
        here = place[node.name]
        live = [name for name, use in last_use.items() if place.get(name, -1) < here < use]
        if not live and here != len(network.nodes) - 1:
            found.append([])
    return [each for each in found if each]


def _chained(parts: Sequence[Sequence[Node]]) -> list[Block]:
    """Each segment as a block; neighbouring single nodes are one block, as are those after a merge."""
    blocks: list[Block] = []
    chain: list[Node] = []
    for part in parts:
        if len(part) == 1:
            chain.append(part[0])
            continue
        blocks += _close(chain, blocks)
        chain = []
        blocks.append(_block(part))
    return blocks + _close(chain, blocks)


def _close(chain: list[Node], before: list[Block]) -> list[Block]:
    """The chain as a block; an activation directly after a merge belongs to the merge."""
    if chain and before and before[-1].merge and chain[0].operation in ("relu", "gelu", "silu"):
        before[-1] = Block(before[-1].branches, f"{before[-1].merge}, {label(chain[0])}")
        chain = chain[1:]
    return [Block((_line(chain),), "")] if chain else []


def _block(nodes: Sequence[Node]) -> Block:
    """A segment: its branches, if its last node joins values that were computed separately, else one line."""
    *inner, last = nodes
    by_name = {node.name: node for node in inner}

    def before(name: str) -> set[str]:
        node = by_name.get(name)
        return {name}.union(*map(before, node.inputs)) if node else set()

    sets = [before(name) for name in last.inputs]
    if last.operation in ("add", "concat") and sum(map(len, sets)) == len(inner):
        lines = [_line([node for node in inner if node.name in names]) for names in sets]
        return Block(tuple(lines), f"{last.operation} {' and '.join(f'({MARKS[each]})' for each in range(len(lines)))}")
    return Block((_line(nodes),), "")


def _line(nodes: Sequence[Node]) -> str:
    """Labels in order, with an arrow where a node takes the value before it; equal ones with the same input are
    one."""
    line, count = "", 1
    for number, node in enumerate(nodes):
        earlier = nodes[number - 1] if number else None
        following = nodes[number + 1] if number + 1 < len(nodes) else None
        if following and (label(following), following.inputs) == (label(node), node.inputs):
            count += 1
            continue
        words = label(node) if count == 1 else f"{count} × {label(node)}"
        if earlier:
            line += " → " if earlier.name in node.inputs or count > 1 else ", "
        line, count = line + words, 1
    return line


def folded(blocks: Sequence[Block]) -> list[Block]:
    """Neighbouring blocks that are alike as one, with how often it occurs."""
    found: list[Block] = []
    for block in blocks:
        if found and (found[-1].branches, found[-1].merge) == (block.branches, block.merge):
            found[-1] = Block(block.branches, block.merge, found[-1].times + 1)
        else:
            found.append(block)
    return found


# --- how it is drawn


def picture(network: Network) -> str:
    """The SVG of a network. It has a background of its own, light or dark as the reader's system is."""
    body: list[str] = []
    y = MARGIN + 8
    body.append(_text(MARGIN + PAD, y + 8, network.name, "bold"))
    body.append(_text(WIDTH - MARGIN - PAD, y + 8, f"film {network.size} × {network.size} × 3", "small", "end"))
    y += 22
    for stage in stages(network):
        height = _stage_height(stage)
        body += [_arrow(y), *_stage(stage, y + 16, height)]
        y += 16 + height
    body += [_arrow(y), _text(WIDTH // 2, y + 30, _heads(network), "small", "middle")]
    height = y + 30 + MARGIN
    title = escape(f"{network.name}: {network.summary}")
    frame = f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>'
    top = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    return "\n".join([f'{top} role="img"><title>{title}</title>', f"<style>{STYLE}</style>", frame, *body, "</svg>\n"])


def _heads(network: Network) -> str:
    token = ", or dense on the class token (cls)" if network.class_token else ""
    return f"head: mean over the map, then dense (gap); or dense on the whole map (flatten){token}"


def _stage_height(stage: Stage) -> int:
    return 24 + sum(_block_height(block) + 8 for block in stage.blocks) + 4


def _block_height(block: Block) -> int:
    return 12 + LINE * sum(map(len, _rows(block)))


def _rows(block: Block) -> list[list[str]]:
    """The lines of text of each branch, and of the merge."""
    rows = [_wrapped(branch or "unchanged") for branch in block.branches]
    return [*rows, [block.merge]] if block.merge else rows


def _wrapped(line: str) -> list[str]:
    lines = [""]
    for word in line.split(" → "):
        longer = f"{lines[-1]} → {word}" if lines[-1] else word
        if len(longer) > CHARS:
            lines.append(f"→ {word}")
        else:
            lines[-1] = longer
    return lines


def _stage(stage: Stage, y: int, height: int) -> list[str]:
    title = f"{'last block' if stage.is_last else 'stage'}: {stage.names[0]}"
    if len(stage.names) > 1:
        title = f"{len(stage.names)} stages: {stage.names[0]} … {stage.names[-1]}"
    kind = "last" if stage.is_last else "stage"
    inner = WIDTH - 2 * MARGIN
    found = [f'<rect class="{kind}" x="{MARGIN}" y="{y}" width="{inner}" height="{height}" rx="6"/>']
    found.append(_text(MARGIN + PAD, y + 17, title, "bold"))
    found.append(_text(WIDTH - MARGIN - PAD, y + 17, f"→ {stage.shape}", "small", "end"))
    at = y + 24
    for block in stage.blocks:
        found += _box(block, at)
        at += _block_height(block) + 8
    return found


def _box(block: Block, y: int) -> list[str]:
    x, width, height = MARGIN + PAD, WIDTH - 2 * MARGIN - 2 * PAD - 56, _block_height(block)
    found = [f'<rect class="box" x="{x}" y="{y}" width="{width}" height="{height}" rx="4"/>']
    at = y + 6
    for number, rows in enumerate(_rows(block)):
        several = block.merge and number < len(block.branches)
        for place, row in enumerate(rows):
            lead = f"({MARKS[number]}) " if several and not place else ""
            found.append(_text(x + 8 + (18 if several and place else 0), at + 13, lead + row))
            at += LINE
    if block.times > 1:
        found.append(_text(WIDTH - MARGIN - PAD - 8, y + height // 2 + 5, f"× {block.times}", "bold", "end"))
    return found


def _arrow(y: int) -> str:
    x = WIDTH // 2
    return f'<path class="line" d="M{x} {y}v10"/><path class="tip" d="M{x - 4} {y + 9}h8l-4 6z"/>'


def _text(x: int, y: int, words: str, kind: str = "", anchor: str = "start") -> str:
    style = f' class="{kind}"' if kind else ""
    return f'<text{style} x="{x}" y="{y}" text-anchor="{anchor}">{escape(words)}</text>'
