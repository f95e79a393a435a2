"""The generated parts of networks.md: tables of the operations and of the built-in networks, and their pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import network_pictures
from markdown_text import table

from cxrscore.networks.builtin import networks
from cxrscore.networks.graph import Network
from cxrscore.networks.operations import OPERATIONS, Attribute, Operation

PICTURES = Path(__file__).parents[2] / "docs" / "networks"


class Symbol(int):
    """An integer with a name, which arithmetic keeps: with it, functions of shapes give formulas."""

    name: str

    def __new__(cls, value: int, name: str) -> Symbol:
        found = super().__new__(cls, value)
        found.name = name
        return found

    def __add__(self, other: int) -> Symbol:
        return (
            self
            if type(other) is int and other == 0
            else Symbol(int(self) + int(other), f"{name_of(self)} + {name_of(other)}")
        )

    def __radd__(self, other: int) -> Symbol:
        return self if other == 0 else Symbol(int(other) + int(self), f"{name_of(other)} + {name_of(self)}")

    def __sub__(self, other: int) -> Symbol:
        return Symbol(int(self) - int(other), f"{name_of(self)} - {name_of(other)}")

    def __mul__(self, other: int) -> Symbol:
        return Symbol(int(self) * int(other), f"{name_of(self)} {name_of(other)}")

    def __pow__(self, other: int) -> Symbol:
        return Symbol(int(self) ** int(other), f"{name_of(self)}^{other}")

    def __floordiv__(self, other: int) -> Symbol:
        inner = f"({self.name})" if " " in self.name else self.name
        ratio = f"{inner} / {name_of(other)}"
        return Symbol(int(self) // int(other), f"⌊{ratio}⌋" if int(self) % int(other) else ratio)


def name_of(value: int) -> str:
    return value.name if isinstance(value, Symbol) else str(value)


MAP = (Symbol(10, "h"), Symbol(10, "w"), Symbol(12, "K"))  # sides that a stride of 2 does not divide, as in general
INPUTS: dict[str, tuple[int, ...]] = {"map": MAP, "tokens": (Symbol(10, "T"), Symbol(12, "K"))}
"""A shape for each kind of input; "any" is shown by a map."""
VALUES: dict[str, Any] = {
    "filters": Symbol(6, "filters"),
    "units": Symbol(6, "units"),
    "size": Symbol(3, "size"),
    "stride": Symbol(2, "stride"),
    "grid": Symbol(4, "grid"),
    "heads": Symbol(3, "heads"),
    "groups": Symbol(3, "groups"),
    "padding": (Symbol(1, "before"), Symbol(1, "after")),
    "bias": True,
    "epsilon": 1.0,
    "maximum": None,
}
IRREGULAR = {"patch_map": "√(T - 1), √(T - 1), K"}
"""Shapes that are no formula of +, -, * and /."""


def operations_table() -> str:
    """What each operation takes, gives and holds."""
    rows = [
        (f"`{name}`", _text(one.summary), _input_kinds(one), _output(name, one), _tensors(one))
        for name, one in OPERATIONS.items()
    ]
    return table(("operation", "value", "inputs", "output", "tensors"), *rows)


def attributes_table() -> str:
    """The attributes of each operation with their defaults."""
    rows = [
        (f"`{name}`", f"`{attribute}`", _default(one), _text(one.meaning), _text(one.wanted))
        for name, operation in OPERATIONS.items()
        for attribute, one in operation.attributes.items()
    ]
    return table(("operation", "attribute", "default", "meaning", "expected"), *rows)


def _text(words: str) -> str:
    """Markdown would read these as emphasis."""
    return words.replace("*", "\\*").replace("_", "\\_")


def _default(attribute: Attribute) -> str:
    if attribute.required:
        return "required"
    return f"`{list(attribute.default) if isinstance(attribute.default, tuple) else attribute.default}`"


def _input_kinds(operation: Operation) -> str:
    return ", ".join(kind.replace("...", ", ...") for kind in operation.inputs)


def _shapes(operation: Operation) -> list[tuple[int, ...]]:
    """Shapes of inputs; those of values joined along the last axis differ in it."""
    kinds = [kind.removesuffix("...") for kind in operation.inputs]
    found = [INPUTS.get(kind, MAP) for kind in kinds]
    if operation.inputs[-1].endswith("..."):
        found = [(*shape[:-1], Symbol(12, f"K{number}")) for number, shape in enumerate(found, start=1)]
    return found


def _output(name: str, operation: Operation) -> str:
    if name in IRREGULAR:
        return f"[{IRREGULAR[name]}]"
    axes = [name_of(axis) for axis in operation.shape(_shapes(operation), VALUES)]
    if len(axes[0]) > 1 and axes[0].replace("h", "w", 1) == axes[1]:
        axes[1] = "w likewise"
    whole = f"[{', '.join(axes)}]"
    return whole.replace("[h, w, ", "[..., ") if "any" in operation.inputs else whole


def _tensors(operation: Operation) -> str:
    found = operation.tensors(_shapes(operation), VALUES)
    return "; ".join(f"`{variable}` [{', '.join(map(name_of, shape))}]" for variable, shape in found.items())


# --- the built-in networks


def networks_sections() -> str:
    return "\n\n".join(map(network_section, networks()))


def network_section(network: Network) -> str:
    shapes = network.shapes(network.size)
    layers = " or ".join(f"`{name}`" for name in network.cam_layers)
    token = f" Class token: `{network.class_token}`." if network.class_token else ""
    rows = [
        (f"`{first}`" if first == last else f"`{first}` to `{last}`, each", *facts)
        for first, last, *facts in _alike(stage_rows(network))
    ]
    tensors = network.tensor_shapes(network.size)
    total = ("all", str(len(network.nodes)), str(len(tensors)), f"{_numbers(tensors.items()):,}", "")
    facts = (
        f"{network.summary}. Films of {network.size} pixels, normalised as `{network.normalize}`. Output: "
        f"`{network.output}`, {_axes(shapes[network.output])}. Heat maps: {layers}.{token}"
    )
    head = ("stage", "nodes", "tensors", "parameters", f"output at {network.size} pixels")
    picture = f"![The graph of {network.name} as a picture: {network.summary}](networks/{network.name}.svg)"
    return f"### {network.name}\n\n{facts}\n\n{table(head, *rows, total)}\n\n{picture}"


def stage_rows(network: Network) -> list[tuple[str, ...]]:
    """By stage: its name, numbers of nodes, tensors and parameters, and the shape of its last node's value."""
    shapes, tensors = network.shapes(network.size), network.tensor_shapes(network.size)
    found = []
    for number, name in enumerate(network.stages):
        nodes = [node.name for node in network.nodes if network.stage_of[node.name] == number]
        own = [(key, shape) for key, shape in tensors.items() if key.rpartition("/")[0] in set(nodes)]
        last = network.output if number == len(network.stages) - 1 else nodes[-1]
        found.append((name, str(len(nodes)), str(len(own)), f"{_numbers(own):,}", _axes(shapes[last])))
    return found


def _alike(rows: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Neighbouring stages with the same facts as one row: name of the first, name of the last, and the facts."""
    found: list[tuple[str, ...]] = []
    for name, *facts in rows:
        if found and found[-1][2:] == tuple(facts):
            found[-1] = (found[-1][0], name, *facts)
        else:
            found.append((name, name, *facts))
    return found


def _numbers(tensors: Any) -> int:
    """Numbers that training can change: all but the statistics of batch normalisation."""
    return sum(math.prod(shape) for name, shape in tensors if "/moving_" not in name)


def _axes(shape: Sequence[int]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def pictures() -> dict[Path, str]:
    """The picture of each built-in network by its path."""
    return {PICTURES / f"{network.name}.svg": network_pictures.picture(network) for network in networks()}
