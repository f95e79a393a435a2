"""A network as data: named nodes in order, each an operation on earlier nodes. Any backend that has the operations can
run it, and a plugin can bring one (hook ``cxrscore_networks``)."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from cxrscore.errors import InputError
from cxrscore.networks.operations import OPERATIONS, Shape, ShapeError

FILM = "film"
"""Name of the input: the normalised film [S,S,3]."""
HEAD = "head"
"""Name of the dense layer that follows the graph."""
Normalize = Literal["imagenet-rgb", "imagenet-caffe", "unit", "signed-1024", "rad-dino"]
"""See ModelSpec."""
NORMALISATION_NAMES: tuple[str, ...] = get_args(Normalize)

MAX_NODES = 10_000
MAX_INPUTS = 1_000
"""Of one node."""
MAX_ELEMENTS = 1 << 31
"""Of all tensors of a network, and of one value: a graph may come from a file."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
_NETWORK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, kw_only=True)
class Node:
    """One step of a network.

    Parameters
    ----------
    name
        Letters, digits and underscores. Its tensors are ``name/variable``, such as "conv1/kernel".
    operation
        A key of networks.operations.OPERATIONS.
    inputs
        Names of earlier nodes, or "film".
    attributes
        By name; those with a default may be left out.
    """

    name: str
    operation: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = OPERATIONS.get(self.operation) if isinstance(self.operation, str) else None
        where = f"node {self.name!r}"
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name) or self.name in (FILM, HEAD):
            raise InputError(f"{where}: expected a name of letters, digits and underscores, other than film and head")
        if known is None:
            raise InputError(f"{where}: no operation is called {self.operation!r}; there is: {', '.join(OPERATIONS)}")
        if not isinstance(self.inputs, tuple) or not all(isinstance(name, str) for name in self.inputs):
            raise InputError(f"{where}: inputs are {self.inputs!r:.100}, expected a tuple of names")
        least, count = len(known.inputs), len(self.inputs)
        most = MAX_INPUTS if known.inputs[-1].endswith("...") else least
        if not least <= count <= most:
            expected = f"{least}" if most == least else f"{least} to {most}"
            raise InputError(f"{where}: {self.operation} has {count} inputs, expected {expected}")
        if not isinstance(self.attributes, Mapping):
            raise InputError(f"{where}: attributes are {self.attributes!r:.100}, expected values by name")
        object.__setattr__(self, "attributes", _complete(where, self.operation, self.attributes))

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; attributes that have their default are left out."""
        known = OPERATIONS[self.operation].attributes
        given = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in self.attributes.items()
            if value != known[name].default
        }
        return {"name": self.name, "operation": self.operation, "inputs": list(self.inputs), **given}


def _complete(where: str, operation: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes with their defaults, in the order of the operation."""
    known = OPERATIONS[operation].attributes
    if odd := sorted(str(name) for name in set(given) - set(known)):
        there = ", ".join(known) or "none"
        raise InputError(f"{where}: {operation} has no attribute {_listed(odd)}; it has: {there}")
    complete: dict[str, Any] = {}
    for name, attribute in known.items():
        value = given.get(name, attribute.default)
        if isinstance(value, list):
            value = tuple(value)
        if name == "padding" and isinstance(value, int):
            value = (value, value)
        if name not in given and attribute.required:
            raise InputError(f"{where}: {operation} needs the attribute {name}, {attribute.meaning}")
        optional = attribute.default is None and not attribute.required
        if value is None and optional:
            complete[name] = None
            continue
        if not attribute.fits(value):
            raise InputError(f"{where}: {name} is {value!r:.100}, expected {attribute.wanted}")
        complete[name] = attribute.cast(value)
    return complete


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """A network from the normalised film [S,S,3] to a feature map [h,w,K].

    Parameters
    ----------
    name
        As users give it: ``train --architecture NAME``.
    nodes
        In an order in which each one's inputs come before it.
    output
        The node whose map [h,w,K] the head pools or flattens, and where heat maps are taken.
    stages
        Names of the nodes at which a stage begins, in order, the first node first. The last stage is the last block:
        ``train --trainable last-block`` trains it, so its other inputs than its own nodes must be one node.
    size
        Side of the films that suits it, in pixels.
    normalize
        As in ModelSpec, of its usual weights.
    class_token
        The node whose vector [K] a "cls" head takes; None if there is none.
    summary
        One line: what it is, and where it is from.

    Raises
    ------
    InputError
        If a name is taken twice or unknown, a shape does not fit, or a node is used by nothing.
    """

    name: str
    nodes: tuple[Node, ...] = field(repr=False)
    output: str
    stages: tuple[str, ...]
    size: int = 224
    normalize: Normalize = "imagenet-rgb"
    class_token: str | None = None
    summary: str = ""

    def __post_init__(self) -> None:
        for name in ("nodes", "stages"):
            if isinstance(given := getattr(self, name), list):
                object.__setattr__(self, name, tuple(given))
        try:
            _check(self)
        except InputError as error:
            raise InputError(f"network {self.name!r}: {error}") from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Network) and (self is other or self.digest == other.digest)

    def __hash__(self) -> int:
        return hash(self.digest)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256, hex, of everything that decides the numbers: the graph without its summary."""
        content = {name: value for name, value in self.as_dict().items() if name != "summary"}
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    @functools.cached_property
    def by_name(self) -> dict[str, Node]:
        """The nodes by name."""
        return {node.name: node for node in self.nodes}

    @functools.cached_property
    def operations(self) -> frozenset[str]:
        """Names of the operations it uses."""
        return frozenset(node.operation for node in self.nodes)

    @functools.cached_property
    def _shapes(self) -> dict[int, dict[str, Shape]]:
        return {}

    def shapes(self, size: int) -> dict[str, Shape]:
        """Shape of the value of each node for films of this size, the film's included; InputError if one does not
        fit."""
        if size not in self._shapes:
            try:
                self._shapes[size] = _inferred(self, size)
            except InputError as error:
                raise InputError(f"network {self.name!r}: {error}") from None
        return self._shapes[size]

    def tensor_shapes(self, size: int) -> dict[str, Shape]:
        """Shape of each tensor by its name ``node/variable``, in the order of the nodes."""
        shapes, found = self.shapes(size), {}
        for node in self.nodes:
            inputs = [shapes[name] for name in node.inputs]
            for variable, shape in OPERATIONS[node.operation].tensors(inputs, node.attributes).items():
                found[f"{node.name}/{variable}"] = shape
        return found

    def multiply_adds(self, size: int) -> dict[str, int]:
        """Multiply-adds of each node with a kernel for one film of this size: elements of the kernel times positions of
        the output."""
        shapes = self.shapes(size)
        kernels = {
            name.rpartition("/")[0]: shape for name, shape in self.tensor_shapes(size).items() if "/kernel" in name
        }
        return {node: math.prod(kernel) * math.prod(shapes[node][:-1]) for node, kernel in kernels.items()}

    @functools.cached_property
    def stage_of(self) -> dict[str, int]:
        """Number of the stage of each node, from 0."""
        stage, found = -1, {}
        for node in self.nodes:
            stage += stage + 1 < len(self.stages) and node.name == self.stages[stage + 1]
            found[node.name] = stage
        return found

    @functools.cached_property
    def entry(self) -> str:
        """The node whose value enters the last block; "film" if there is only one stage."""
        return _entries(self)[0]

    @property
    def cam_layers(self) -> tuple[str, ...]:
        """The nodes where heat maps can be taken: the output and, if it is a ReLU, the node before it."""
        last = self.by_name[self.output]
        return (self.output, last.inputs[0]) if last.operation == "relu" else (self.output,)

    @property
    def before_last_relu(self) -> str:
        """The output or, if that is a ReLU, the node before it."""
        return self.cam_layers[-1]

    @property
    def last_relu_maximum(self) -> float | None:
        """Largest value of the output if that is a ReLU with a limit, else None."""
        maximum: float | None = self.by_name[self.output].attributes.get("maximum")
        return maximum

    def needed(self, wanted: Sequence[str], given: Sequence[str] = (FILM,)) -> list[Node]:
        """The nodes that lead from the given values to the wanted ones, in order. InputError if they do not suffice."""
        needed, found = set(wanted) - set(given), []
        for node in reversed(self.nodes):
            if node.name in needed:
                found.append(node)
                needed |= set(node.inputs) - set(given)
        if lacking := needed - {node.name for node in found}:
            raise InputError(f"network {self.name!r}: {', '.join(sorted(lacking))} is not computed from {list(given)}")
        return found[::-1]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready values, as stored in a model file for a network that is not built in."""
        return {
            "name": self.name,
            "summary": self.summary,
            "size": self.size,
            "normalize": self.normalize,
            "output": self.output,
            "class_token": self.class_token,
            "stages": list(self.stages),
            "nodes": [node.as_dict() for node in self.nodes],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Network:
        """Inverse of ``as_dict``; InputError for values that are no network."""
        try:
            if len(values["nodes"]) > MAX_NODES:
                raise InputError(f"it has {len(values['nodes'])} nodes, expected at most {MAX_NODES}")
            nodes = tuple(_node(each) for each in values["nodes"])
            return cls(**{**values, "nodes": nodes})
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"a network that cannot be read: {error}") from error


def _node(values: Mapping[str, Any]) -> Node:
    attributes = {name: value for name, value in values.items() if name not in ("name", "operation", "inputs")}
    return Node(
        name=values["name"], operation=values["operation"], inputs=tuple(values["inputs"]), attributes=attributes
    )


class GraphBuilder:
    """Collects the nodes of a network in order.

    Examples
    --------
    >>> graph = GraphBuilder()
    >>> x = graph.add("conv1", "conv2d", FILM, filters=8, size=3, stride=2, padding=1)
    >>> x = graph.add("relu", "relu", x)
    >>> Network(name="small", nodes=graph.nodes, output=x, stages=("conv1",)).shapes(64)["relu"]
    (32, 32, 8)
    """

    def __init__(self) -> None:
        self._nodes: list[Node] = []

    def add(self, name: str, operation: str, *inputs: str, **attributes: Any) -> str:
        """Append a node, and return its name. ``padding`` may be one number for both sides."""
        self._nodes.append(Node(name=name, operation=operation, inputs=inputs, attributes=attributes))
        return name

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes so far."""
        return tuple(self._nodes)


def last_uses(nodes: Sequence[Node], kept: Sequence[str] = ()) -> dict[str, tuple[str, ...]]:
    """By node: the values that no later node uses and that are not kept, to be freed after it."""
    last = {name: node.name for node in nodes for name in node.inputs}
    freed: dict[str, list[str]] = {}
    for name, user in last.items():
        if name not in kept:
            freed.setdefault(user, []).append(name)
    return {user: tuple(names) for user, names in freed.items()}


def _check(network: Network) -> None:
    if not isinstance(network.name, str) or not _NETWORK_NAME.fullmatch(network.name):
        raise InputError("expected a name of letters, digits, dots, hyphens and underscores")
    nodes = network.nodes
    if not isinstance(nodes, tuple) or not 1 <= len(nodes) <= MAX_NODES or not all(isinstance(n, Node) for n in nodes):
        raise InputError(f"expected a tuple of 1 to {MAX_NODES} nodes")
    _check_order(network)
    _check_words(network)
    _check_use(network)
    shapes = network._shapes[network.size] = _inferred(network, network.size)
    for what, name, rank in (("output", network.output, 3), ("class_token", network.class_token, 1)):
        if name is not None and len(shapes[name]) != rank:
            expected = "a map [h, w, K]" if rank == 3 else "a vector [K]"
            raise InputError(f"{what} {name!r} has shape {list(shapes[name])}, expected {expected}")
    if network.class_token and shapes[network.class_token][-1] != shapes[network.output][-1]:
        raise InputError("class_token and output have different numbers of channels")
    if len(entries := _entries(network)) > 1:
        raise InputError(f"the last block begins with {_listed(entries)}, expected the value of one node")
    for name in _ends(network):
        if network.stage_of[name] < len(network.stages) - 1 and name not in entries:
            raise InputError(f"{name!r} is computed before the last block, and does not enter it")


def _check_order(network: Network) -> None:
    earlier = {FILM}
    for node in network.nodes:
        if node.name in earlier:
            raise InputError(f"two nodes are called {node.name!r}")
        for name in node.inputs:
            if name not in earlier:
                raise InputError(
                    f"node {node.name!r} has the input {name!r}, which is no earlier node: a graph has no cycle, and "
                    "its nodes are listed in the order in which they are computed"
                )
        earlier.add(node.name)


def _check_words(network: Network) -> None:
    """Size, normalisation, and the nodes that it names."""
    if not isinstance(network.size, int) or not 32 <= network.size <= 4096:
        raise InputError(f"size is {network.size!r}, expected 32..4096 pixels")
    if network.normalize not in NORMALISATION_NAMES:
        raise InputError(f"normalize is {network.normalize!r}, expected one of {', '.join(NORMALISATION_NAMES)}")
    if not isinstance(network.summary, str):
        raise InputError("summary: expected a text")
    names = {node.name: place for place, node in enumerate(network.nodes)}
    for what, name in (("output", network.output), ("class_token", network.class_token)):
        known = isinstance(name, str) and name in names
        if not known and not (what == "class_token" and name is None):
            raise InputError(f"{what} is {name!r:.100}, which is no node")
    stages = network.stages
    if not isinstance(stages, tuple) or not all(isinstance(stage, str) for stage in stages):
        raise InputError(f"stages are {stages!r:.100}, expected a tuple of names of nodes")
    if stages[:1] != (network.nodes[0].name,):
        raise InputError(f"stages begin with {list(stages[:1])}, expected the first node, {network.nodes[0].name!r}")
    for last, stage in itertools.pairwise(stages):
        if names.get(stage, -1) <= names[last]:
            raise InputError(f"stages: {stage!r:.100} after {last!r}, expected names of nodes in their order")


def _ends(network: Network) -> list[str]:
    """The nodes that a head takes."""
    return [network.output, *([network.class_token] if network.class_token else [])]


def _check_use(network: Network) -> None:
    used = {node.name for node in network.needed(_ends(network))}
    if idle := [node.name for node in network.nodes if node.name not in used]:
        raise InputError(f"neither the output nor the class token needs {_listed(idle)}")


def _listed(names: Sequence[str]) -> str:
    """The first few names."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _entries(network: Network) -> tuple[str, ...]:
    """The values from outside that the last stage uses, without repetition."""
    last = {name for name, stage in network.stage_of.items() if stage == len(network.stages) - 1}
    users = (node for node in network.nodes if node.name in last)
    return tuple(dict.fromkeys(name for node in users for name in node.inputs if name not in last))


def _inferred(network: Network, size: int) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {FILM: (size, size, 3)}
    elements = 0
    for node in network.nodes:
        inputs = [shapes[name] for name in node.inputs]
        operation = OPERATIONS[node.operation]
        try:
            shapes[node.name] = operation.shape(inputs, node.attributes)
        except ShapeError as error:
            raise InputError(f"node {node.name!r} ({node.operation}), films of {size} pixels: {error}") from None
        elements += sum(map(math.prod, operation.tensors(inputs, node.attributes).values()))
        largest = math.prod(shapes[node.name])
        if node.operation == "attention":  # the scores of each pair of tokens
            largest = max(largest, node.attributes["heads"] * shapes[node.name][0] ** 2)
        if max(elements, largest) > MAX_ELEMENTS:
            raise InputError(f"node {node.name!r}: more than {MAX_ELEMENTS} numbers for films of {size} pixels")
    return shapes
