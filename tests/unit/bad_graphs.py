"""Backends that run graphs and are wrong in one operation, or in one thing that concerns graphs."""

from dataclasses import replace

import numpy as np
from bad_backends import fails
from bad_learners import BAD
from graph_backend import GraphBackend, GraphModel

from cxrscore.networks import reference
from cxrscore.networks.operations import OPERATIONS
from cxrscore.networks.tensors import check_tensors

__all__ = ["BAD", "MORE", "NUMBERS_OF"]

NUMBERS_OF = {operation: f"B{number}" for number, operation in enumerate(OPERATIONS, start=59)}
"""Number of the case of each operation."""

MORE = []
"""Further backends that a case must fail: its number, and the backend."""


def backend_of(model):
    return type(model.__name__, (GraphBackend,), {"model": model})


def wrong(operation):
    """Files a backend that computes the operation by this function: as the one of its case, or as a further one."""

    def file(function):
        number = NUMBERS_OF[operation]
        made = backend_of(type(function.__name__, (GraphModel,), {"wrong": {operation: function}}))
        if number in BAD:
            MORE.append((number, made))
        else:
            BAD[number] = made
        return function

    return file


def right(own, *inputs):
    return reference.FUNCTIONS[own.node.operation](own, *inputs)


def changed(own, **attributes):
    """The node with other attributes."""
    return reference._Tensors(replace(own.node, attributes={**own.node.attributes, **attributes}), own._all)


@wrong("conv2d")
def pads_at_the_other_end(own, x):
    return right(changed(own, padding=own.node.attributes["padding"][::-1]), x)


@wrong("conv2d")
def ignores_groups(own, x):
    """Each filter sees the channels of the first group."""
    groups = own.node.attributes["groups"]
    first = x[..., : x.shape[-1] // groups]
    return right(own, np.concatenate([first] * groups, axis=-1))


@wrong("conv2d")
def is_a_true_convolution(own, x):
    kernel = own["kernel"][::-1, ::-1]
    return right(reference._Tensors(own.node, {**own._all, f"{own.node.name}/kernel": kernel}), x)


@wrong("dense")
def adds_the_bias_twice(own, x):
    return right(own, x) + own["bias"] if own.node.attributes["bias"] else right(own, x)


@wrong("dense")
def leaves_the_first_token_out(own, x):
    found = right(own, x)
    return np.concatenate([found[:, :1] * 0, found[:, 1:-1], found[:, -1:] * 0], axis=1) if x.ndim == 3 else found


@wrong("batch_norm")
def has_one_epsilon(own, x):
    return right(changed(own, epsilon=1e-3), x)


@wrong("layer_norm")
def has_the_unbiased_variance(own, x):
    count = x.shape[-1]
    beta = own["beta"]
    return (right(changed(own, epsilon=own.node.attributes["epsilon"] * (count - 1) / count), x) - beta) * np.sqrt(
        (count - 1) / count
    ) + beta


@wrong("layer_norm")
def adds_epsilon_to_the_deviation(own, x):
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / (x.std(axis=-1, keepdims=True) + own.node.attributes["epsilon"]) * own["gamma"] + own["beta"]


@wrong("scale")
def scales_by_one_more(own, x):
    return x * (1 + own["gamma"])


@wrong("relu")
def has_no_maximum(own, x):
    return np.maximum(x, 0)


@wrong("relu")
def overwrites_its_input(own, x):
    x[...] = right(own, x)
    return x


@wrong("gelu")
def is_approximated_by_tanh(own, x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


@wrong("silu")
def has_the_slope_of_gelu(own, x):
    return x * reference._sigmoid(own, 1.702 * x)


@wrong("sigmoid")
def overflows(own, x):
    with np.errstate(over="ignore", invalid="ignore"):
        odds = np.exp(x.astype(np.float32))
        return odds / (1 + odds)


@wrong("add")
def adds_one_value_once(own, x, y):
    return x if x is y else x + y


@wrong("multiply")
def gates_all_channels_alike(own, x, y):
    return x * y.mean(axis=-1, keepdims=True) if y.shape[1:3] == (1, 1) else x * y


@wrong("concat")
def joins_backwards_from_three_on(own, *values):
    return right(own, *(values if len(values) == 2 else values[::-1]))


@wrong("max_pool")
def pads_with_zeros(own, x):
    given = own.node.attributes
    return reference._windows(x, given["size"], given["stride"], given["padding"], 0.0).max(axis=(-2, -1))


@wrong("max_pool")
def pads_the_pool_at_the_other_end(own, x):
    return right(changed(own, padding=own.node.attributes["padding"][::-1]), x)


@wrong("avg_pool")
def leaves_out_the_first_rows(own, x):
    return right(own, x[:, ::-1, ::-1])[:, ::-1, ::-1]


@wrong("global_avg_pool")
def takes_the_largest(own, x):
    return x.max(axis=(1, 2), keepdims=True)


@wrong("attention")
def has_no_scale(own, q, k, v):
    return right(own, q * np.sqrt(q.shape[-1] / own.integer("heads")), k, v)


@wrong("attention")
def interleaves_its_heads(own, *parts):
    heads = own.integer("heads")

    def mixed(x, first):
        return x.reshape(*x.shape[:2], first, -1).swapaxes(2, 3).reshape(x.shape)

    found = right(own, *(mixed(part, part.shape[-1] // heads) for part in parts))
    return mixed(found, heads)


@wrong("attention")
def swaps_query_and_key(own, q, k, v):
    return right(own, k, q, v)


def _with_positions(own, x, weights):
    """Tokens with positions interpolated by these weights of a line."""
    position = own["position"]
    places = np.kron(weights, weights) @ position[1:]
    first = np.broadcast_to(own["class_token"] + position[0], (len(x), 1, x.shape[-1]))
    return np.concatenate([first, x.reshape(len(x), -1, x.shape[-1]) + places], axis=1)


@wrong("embed_tokens")
def takes_the_nearest_position(own, x):
    grid, side = own.integer("grid"), x.shape[1]
    return _with_positions(own, x, np.eye(grid)[((np.arange(side) + 0.5) * grid / side).astype(int)])


@wrong("embed_tokens")
def interpolates_linearly(own, x):
    grid, side = own.integer("grid"), x.shape[1]
    places = np.clip((np.arange(side) + 0.5) * grid / side - 0.5, 0, grid - 1)
    return _with_positions(own, x, np.maximum(0, 1 - np.abs(places[:, None] - np.arange(grid))))


@wrong("embed_tokens")
def goes_by_columns(own, x):
    return right(own, x.swapaxes(1, 2))


@wrong("class_token")
def takes_the_last_token(own, x):
    return x[:, -1]


@wrong("patch_map")
def fills_the_map_by_columns(own, x):
    return right(own, x).swapaxes(1, 2)


@wrong("patch_map")
def leaves_out_the_last_token(own, x):
    return right(own, np.roll(x, 1, axis=1))


@fails("B78")
class TakesEveryGraph(GraphBackend):
    operations = tuple(name for name in GraphBackend.operations if name != "silu")

    def build(self, spec, tensors, **options):
        spec.graph  # noqa: B018 - InputError for a network that only a backend knows
        return type("All", (GraphBackend,), {})().build(spec, tensors, **options)


@fails("B79", GraphBackend)
class ClassTokenOfThePatches(GraphModel):
    @property
    def pooled_node(self):
        return self.spec.graph.output if self.spec.architecture == "kit_transformer" else super().pooled_node


@fails("B80")
class FoldsCase(GraphBackend):
    """Knows no difference between "Conv" and "conv"."""

    def build(self, spec, tensors, **options):
        if tensors is None or spec.architecture != "kit.Odd-names_1":
            return super().build(spec, tensors, **options)
        folded = {name.lower(): value for name, value in check_tensors(spec, tensors).items()}
        return super().build(spec, {name: folded[name.lower()] for name in tensors}, **options)
