"""Cases of a backend that runs network graphs: each operation, a transformer with every head, names of a plugin."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias, cast, get_args

import numpy as np

from cxrscore.contract import (
    Backend,
    FeatureExtractor,
    Floats,
    GraphBuilder,
    Head,
    Model,
    ModelSpec,
    Network,
    SplitBackbone,
    SupportsAutograd,
    SupportsHeatmaps,
    Tensors,
    Trainable,
    TrainableModel,
    TrainablePart,
)
from cxrscore.errors import BackendUnavailableError, InputError
from cxrscore.networks import reference
from cxrscore.networks.graph import FILM
from cxrscore.networks.operations import OPERATIONS
from cxrscore.networks.tensors import tail_shape, trainable_names
from cxrscore.testing.backend_training import expect_slopes, gradients_of
from cxrscore.testing.cases import Cases, expect, expect_refusal, expect_within
from cxrscore.testing.fixtures import FINDINGS, WEIGHTED_BCE, at_rate, build, random_tensors, some_batch, some_films

_SIDE = 32
_MAP = 8
"""Side of the map that enters the operation under test."""

Variant: TypeAlias = Callable[[GraphBuilder, str], str]
"""function(graph, name of a map [8,8,4]) -> name of the result, a map."""


class OperationCases(Cases):
    """Graphs: each operation that the backend lists, in small networks with random tensors."""

    def test_b59_conv2d_equals_the_reference(self, backend: Backend) -> None:
        """Networks around conv2d give the reference's logits and maps, rel. 1e-5, and its gradients, rel. 1e-3, if the
        backend trains: with strides, padding that differs before and after, a kernel of even size, groups, a depthwise
        kernel and no bias. Skipped, as each of the following, if ``operations`` lacks it or one that leads to it."""
        self._hold(backend, "conv2d")

    def test_b60_dense_equals_the_reference(self, backend: Backend) -> None:
        """As B59 for dense: over the last axis of a map and of tokens, with and without a bias."""
        self._hold(backend, "dense")

    def test_b61_batch_norm_equals_the_reference(self, backend: Backend) -> None:
        """As B59 for batch_norm with the stored statistics: with two values of epsilon."""
        self._hold(backend, "batch_norm")

    def test_b62_layer_norm_equals_the_reference(self, backend: Backend) -> None:
        """As B59 for layer_norm: over the channels of a map and of tokens, with two values of epsilon; the variance is
        the biased one."""
        self._hold(backend, "layer_norm")

    def test_b63_scale_equals_the_reference(self, backend: Backend) -> None:
        """As B59 for scale: a factor for each channel of a map and of tokens."""
        self._hold(backend, "scale")

    def test_b64_relu_equals_the_reference(self, backend: Backend) -> None:
        """As B59 for relu: with and without a maximum, of tokens, and of a value that is used again afterwards. If the
        model has head_gradients(), they equal the gradients of cam_parts() on both sides of the last ReLU."""
        self._hold(backend, "relu")

    def test_b65_gelu_equals_the_reference(self, backend: Backend) -> None:
        """As B59 for gelu: with the normal distribution function itself, not its tanh approximation."""
        self._hold(backend, "gelu")

    def test_b66_silu_equals_the_reference(self, backend: Backend) -> None:
        """As B59 for silu, x / (1 + exp(-x)): of a map and of tokens."""
        self._hold(backend, "silu")

    def test_b67_sigmoid_equals_the_reference(self, backend: Backend) -> None:
        """As B59 for sigmoid: also of values beyond -88 and 88, where exp overflows in float32."""
        self._hold(backend, "sigmoid")

    def test_b68_add_equals_the_reference(self, backend: Backend) -> None:
        """As B59 for add: of two values, and of one with itself."""
        self._hold(backend, "add")

    def test_b69_multiply_equals_the_reference(self, backend: Backend) -> None:
        """As B59 for multiply: of two maps, of one with itself, and of a map with a gate [1,1,K]."""
        self._hold(backend, "multiply")

    def test_b70_concat_equals_the_reference(self, backend: Backend) -> None:
        """As B59 for concat: of two and three maps in order, of one with itself, and of tokens."""
        self._hold(backend, "concat")

    def test_b71_max_pool_equals_the_reference(self, backend: Backend) -> None:
        """As B59 for max_pool: with padding on either side around a map of negative values, where padding never is the
        largest; and with windows that do not fill the map."""
        self._hold(backend, "max_pool")

    def test_b72_avg_pool_equals_the_reference(self, backend: Backend) -> None:
        """As B59 for avg_pool: with windows that overlap, and with windows that do not fill the map."""
        self._hold(backend, "avg_pool")

    def test_b73_global_avg_pool_equals_the_reference(self, backend: Backend) -> None:
        """As B59 for global_avg_pool, whose result is a map [1,1,K]."""
        self._hold(backend, "global_avg_pool")

    def test_b74_attention_equals_the_reference(self, backend: Backend) -> None:
        """As B59 for attention: with one, two and four heads, of three different values and of one with itself."""
        self._hold(backend, "attention")

    def test_b75_embed_tokens_equals_the_reference(self, backend: Backend) -> None:
        """As B59 for embed_tokens: with position embeddings of the map's own side, and of smaller and larger ones,
        which are interpolated (bicubic)."""
        self._hold(backend, "embed_tokens")

    def test_b76_class_token_equals_the_reference(self, backend: Backend) -> None:
        """As B59 for class_token: the first token, to which a "cls" head is applied."""
        self._hold(backend, "class_token", head="cls")

    def test_b77_patch_map_equals_the_reference(self, backend: Backend) -> None:
        """As B59 for patch_map: all tokens but the first, row by row."""
        self._hold(backend, "patch_map")

    def test_b78_a_missing_operation_is_refused(self, backend: Backend) -> None:
        """build() of a network with an operation that ``operations`` does not list raises an InputError that names the
        operation."""
        operations = getattr(backend, "operations", ())
        if not operations:
            raise unittest.SkipTest("the backend runs no graphs")
        lacking = [name for name in OPERATIONS if name not in operations]
        if not lacking:
            raise unittest.SkipTest("the backend lists every operation")
        for name in lacking:
            for variant in _VARIANTS[name]:
                spec = _spec(_network("kit_unknown", variant))
                expect_refusal(partial(build, backend, spec, None), InputError, name, f"a network with {name}")

    def test_b79_a_transformer_works_with_every_head(self, backend: Backend) -> None:
        """A transformer of two layers, whose positions are interpolated, gives the reference's logits and maps, rel.
        1e-5, with the heads gap, flatten and cls; so do embed(), the head's gradients in closed form and by automatic
        differentiation, and stem() with tail(), as far as the model has them. Logits in bf16 differ by rel. 0.1 at
        most. Training the last block changes its tensors and no others."""
        network = _transformer()
        _require_operations(backend, network)
        for head in get_args(Head):
            spec = _spec(network, head=head, trainable="last-block")
            films, tensors = some_films(3, spec.size), _tensors(spec)
            model = build(backend, spec, tensors)
            _expect_values(model, tensors, films, f"{head} head")
            _expect_split(model, films, f"{head} head")
            _expect_gradients_of_the_map(model, tensors, films, f"{head} head")
            _expect_bf16(backend, model, films, f"{head} head")
            if isinstance(model, Trainable):
                _expect_last_block_alone_changes(cast(TrainableModel, model), tensors, f"{head} head")

    def test_b80_a_plugin_names_its_tensors_as_it_likes(self, backend: Backend) -> None:
        """A network of a plugin whose nodes are called "type", "Conv", "conv", "weight", "bias" and the like scores as
        the reference. tensors() returns what build() was given, bit for bit, by these names, and build() without one of
        them raises an InputError that names it."""
        network = _oddly_named()
        _require_operations(backend, network)
        spec = _spec(network, trainable="all")
        tensors = _tensors(spec)
        model = build(backend, spec, tensors)
        found = model.tensors()
        expect(set(found) == set(tensors), f"other names: {sorted(set(found) ^ set(tensors))[:5]}")
        changed = [name for name, value in tensors.items() if not np.array_equal(found[name], value)]
        expect(not changed, f"{', '.join(changed[:5])} changed")
        _expect_values(model, tensors, some_films(3, spec.size), "odd names")
        for name in tensors:
            fewer = {other: value for other, value in tensors.items() if other != name}
            expect_refusal(partial(build, backend, spec, fewer), InputError, name, f"tensors without {name}")
        if isinstance(model, Trainable):
            cast(TrainableModel, model).fit_epoch([some_batch(spec, 3)], WEIGHTED_BCE, at_rate(1e-3))
            still = [name for name, value in model.tensors().items() if np.array_equal(value, tensors[name])]
            expect(not still, f"training all tensors left {', '.join(still[:5])} unchanged")

    def _hold(self, backend: Backend, operation: str, head: Head = "flatten") -> None:
        """Every variant of the operation, with a head that notices where on the map a value stands."""
        worst = 0.0
        for number, variant in enumerate(_VARIANTS[operation], start=1):
            network = _network(f"kit_{operation}_{number}", variant)
            _require_operations(backend, network)
            spec = _spec(network, head=head, trainable="all")
            films, tensors = some_films(3, spec.size), _tensors(spec)
            model = build(backend, spec, tensors)
            words = f"{operation}, {_described(network, operation)}"
            worst = max(worst, _expect_values(model, tensors, films, words))
            _expect_closed_form(model, films, words)
            if isinstance(model, Trainable):
                batch = some_batch(spec, 3)
                found = {WEIGHTED_BCE: gradients_of(cast(TrainableModel, model), batch, WEIGHTED_BCE)}
                expect_slopes(spec, tensors, batch, found, 1e-3)
        self.note(f"largest difference {worst:.1g} of the largest value")


# --- what is expected


def _require_operations(backend: Backend, network: Network) -> None:
    lacking = sorted(network.operations - set(getattr(backend, "operations", ())))
    if lacking:
        raise unittest.SkipTest(f"the backend does not list {', '.join(lacking)}")


def _expect_values(model: Model, tensors: Tensors, films: Floats, words: str) -> float:
    """Logits, features and maps of the reference; returns the largest difference."""
    spec = model.spec
    pairs = [("logits", model.predict(films), reference.logits(spec, tensors, films))]
    if isinstance(model, FeatureExtractor):
        pairs.append(("features", model.embed(films), reference.embedding(spec, tensors, films)))
    if isinstance(model, SupportsHeatmaps):
        maps = reference.features(spec, tensors, films)
        for layer, wanted in zip(spec.graph.cam_layers, maps, strict=True):
            parts = model.cam_parts(films, [0], cam_layer=layer)
            pairs.append((f"the map of {layer}", parts.activations, wanted))
            pairs.append((f"logits beside the map of {layer}", parts.logits, pairs[0][2]))
    return max(expect_within(found, wanted, 1e-5, f"{words}: {what}") for what, found, wanted in pairs)


def _expect_closed_form(model: Model, films: Floats, words: str) -> None:
    """Gradients at every CAM layer are those of automatic differentiation, except within 1e-6 of a kink."""
    if not (isinstance(model, SupportsHeatmaps) and isinstance(model, SupportsAutograd)):
        return
    output = model.spec.graph.by_name[model.spec.graph.output]
    kinks = [0.0, output.attributes.get("maximum") or 0.0]
    for layer in model.spec.graph.cam_layers:
        parts = model.cam_parts(films, [2, 0], cam_layer=layer)
        found = model.head_gradients(parts.activations, [2, 0], cam_layer=layer)
        smooth = np.all([np.abs(parts.activations[:, None] - kink) > 1e-6 for kink in kinks], axis=0)
        expect_within(found * smooth, parts.gradients * smooth, 1e-5, f"{words}: gradients at {layer}")


def _expect_bf16(backend: Backend, exact: Model, films: Floats, words: str) -> None:
    try:
        rough = build(backend, exact.spec, exact.tensors(), precision="bf16")
    except (InputError, BackendUnavailableError):  # B21 says what of this is allowed
        return
    found = rough.predict(films)
    expect(found.dtype == np.float32, f"{words}: logits in bf16 are {found.dtype}, expected float32")
    expect_within(found, exact.predict(films), 0.1, f"{words}: logits in bf16")


def _expect_split(model: Model, films: Floats, words: str) -> None:
    if not isinstance(model, SplitBackbone):
        return
    entered = model.stem(films)
    wanted = (len(films), *tail_shape(model.spec))
    expect(entered.shape == wanted, f"{words}: stem() gives {list(entered.shape)}, expected {list(wanted)}")
    expect_within(model.tail.predict(entered), model.predict(films), 1e-5, f"{words}: tail() of stem()")


def _expect_gradients_of_the_map(model: Model, tensors: Tensors, films: Floats, words: str) -> None:
    """A linear head: gradients times a change of the map are the change of the logits of the map."""
    if not isinstance(model, SupportsHeatmaps):
        return
    spec, findings = model.spec, [2, 0]
    parts = model.cam_parts(films, findings)
    move = np.random.default_rng(0).normal(size=parts.activations.shape)
    before, after = (reference.head(spec, tensors, parts.activations + step * move) for step in (0.0, 1.0))
    wanted = (after - before)[:, findings]
    gradients = {"gradients": parts.gradients}
    if isinstance(model, SupportsAutograd):
        gradients["head_gradients()"] = model.head_gradients(parts.activations, findings)
    for what, found in gradients.items():
        moved = (found * move[:, None]).sum(axis=(2, 3, 4))
        expect_within(moved, wanted, 1e-4, f"{words}: {what} times a change of the map")


def _expect_last_block_alone_changes(model: TrainableModel, tensors: Tensors, words: str) -> None:
    model.fit_epoch([some_batch(model.spec, 3)], WEIGHTED_BCE, at_rate(1e-3))
    changed = {name for name, value in model.tensors().items() if not np.array_equal(value, tensors[name])}
    wanted = trainable_names(model.spec)
    expect(changed <= wanted, f"{words}: {', '.join(sorted(changed - wanted)[:5])} changed and should not")
    expect(wanted <= changed, f"{words}: {', '.join(sorted(wanted - changed)[:5])} did not change")


# --- the networks


def _spec(network: Network, *, head: Head = "flatten", trainable: TrainablePart = "head") -> ModelSpec:
    return ModelSpec(
        architecture=network.name, findings=FINDINGS, size=_SIDE, head=head, trainable=trainable, network=network
    )


def _tensors(spec: ModelSpec) -> dict[str, Floats]:
    """Random ones with logits of order 1; in a map of four channels the first is mostly below 0, the last above."""
    tensors = random_tensors(spec)
    tensors["patches/bias"] = np.linspace(-3, 3, len(tensors["patches/bias"]), dtype=np.float32)
    tensors["head/kernel"] /= 4
    return tensors


def _network(name: str, variant: Variant) -> Network:
    """A convolution that gives a map [8,8,4], then the variant, whose node "vector" is for a "cls" head."""
    graph = GraphBuilder()
    given = graph.add("patches", "conv2d", FILM, filters=4, size=_SIDE // _MAP, stride=_SIDE // _MAP)
    output = variant(graph, given)
    vector = "vector" if any(node.name == "vector" for node in graph.nodes) else None
    return Network(name=name, nodes=graph.nodes, output=output, class_token=vector, stages=("patches",), size=_SIDE)


_ATTRIBUTES = {name for operation in OPERATIONS.values() for name in operation.attributes}


def _described(network: Network, operation: str) -> str:
    """The network, and the attributes of the operation under test."""
    given = [node.as_dict() for node in network.nodes if node.operation == operation and node.name != "patches"]
    words = [f"{name} {value}" for node in given for name, value in node.items() if name in _ATTRIBUTES]
    return ", ".join([network.name, *words])


def _on_map(operation: str, **attributes: Any) -> Variant:
    """The operation on the map."""
    return lambda graph, x: graph.add("tested", operation, x, **attributes)


def _on_tokens(operation: str, **attributes: Any) -> Variant:
    """The operation on tokens, which become a map again."""

    def variant(graph: GraphBuilder, x: str) -> str:
        tokens = graph.add("tokens", "embed_tokens", x, grid=_MAP)
        return graph.add("map", "patch_map", graph.add("tested", operation, tokens, **attributes))

    return variant


def _on_inputs(operation: str, count: int, **attributes: Any) -> Variant:
    """The operation on several maps, each a convolution of the map."""

    def variant(graph: GraphBuilder, x: str) -> str:
        maps = [graph.add(f"map{number}", "conv2d", x, filters=4, size=1) for number in range(count)]
        return graph.add("tested", operation, *maps, **attributes)

    return variant


def _with_itself(operation: str) -> Variant:
    """The operation on one map, given twice."""
    return lambda graph, x: graph.add("tested", operation, x, x)


def _relu_of_what_is_used_again(graph: GraphBuilder, x: str) -> str:
    """A backend that overwrites the input of a ReLU must not do so here."""
    between = graph.add("between", "conv2d", x, filters=4, size=1)
    return graph.add("sum", "add", graph.add("tested", "relu", between), between)


def _relu_of_a_sum(graph: GraphBuilder, x: str) -> str:
    """The sum may be overwritten, and its inputs may not."""
    between = graph.add("between", "conv2d", x, filters=4, size=1)
    total = graph.add("sum", "add", between, x)
    return graph.add("all", "add", graph.add("tested", "relu", total), between)


def _sigmoid_of_cubes(graph: GraphBuilder, x: str) -> str:
    """Values beyond -88 and 88, where exp is infinite in float32."""
    square = graph.add("square", "multiply", x, x)
    return graph.add("tested", "sigmoid", graph.add("cube", "multiply", square, x))


def _gate(graph: GraphBuilder, x: str) -> str:
    pooled = graph.add("pooled", "global_avg_pool", x)
    return graph.add("tested", "multiply", x, graph.add("gate", "conv2d", pooled, filters=4, size=1))


def _concat_of_tokens(graph: GraphBuilder, x: str) -> str:
    tokens = [graph.add(f"tokens{grid}", "embed_tokens", x, grid=grid) for grid in (_MAP, 2)]
    return graph.add("map", "patch_map", graph.add("tested", "concat", *tokens))


def _attention(heads: int) -> Variant:
    """Of three different values. Key biases change no weight: all scores of a query move alike."""

    def variant(graph: GraphBuilder, x: str) -> str:
        tokens = graph.add("tokens", "embed_tokens", x, grid=_MAP)
        parts = [graph.add(part, "dense", tokens, units=4, bias=part != "key") for part in ("query", "key", "value")]
        return graph.add("map", "patch_map", graph.add("tested", "attention", *parts, heads=heads))

    return variant


def _attention_to_itself(graph: GraphBuilder, x: str) -> str:
    tokens = graph.add("tokens", "embed_tokens", x, grid=_MAP)
    return graph.add("map", "patch_map", graph.add("tested", "attention", tokens, tokens, tokens, heads=2))


def _embedding(grid: int) -> Variant:
    return lambda graph, x: graph.add("map", "patch_map", graph.add("tested", "embed_tokens", x, grid=grid))


def _class_token(graph: GraphBuilder, x: str) -> str:
    tokens = graph.add("tokens", "embed_tokens", x, grid=_MAP)
    mixed = graph.add("mixed", "attention", tokens, tokens, tokens, heads=1)
    graph.add("vector", "class_token", mixed)
    return graph.add("map", "patch_map", mixed)


_VARIANTS: dict[str, tuple[Variant, ...]] = {
    "conv2d": (
        _on_map("conv2d", filters=6, size=3, padding=1),
        _on_map("conv2d", filters=6, size=3, stride=2, padding=(0, 1), bias=False),
        _on_map("conv2d", filters=5, size=3, stride=2, padding=(2, 1)),
        _on_map("conv2d", filters=5, size=4, stride=3, padding=(1, 2)),
        _on_map("conv2d", filters=3, size=2, padding=(0, 3)),
        _on_map("conv2d", filters=3, size=1, stride=2),
        _on_map("conv2d", filters=6, size=3, padding=1, groups=2),
        _on_map("conv2d", filters=4, size=3, stride=2, padding=1, groups=4, bias=False),
        _on_map("conv2d", filters=8, size=5, padding=(1, 2), groups=4),
    ),
    "dense": (_on_map("dense", units=6), _on_map("dense", units=3, bias=False), _on_tokens("dense", units=5)),
    "batch_norm": (_on_map("batch_norm"), _on_map("batch_norm", epsilon=0.3)),
    "layer_norm": (
        _on_map("layer_norm"),
        _on_map("layer_norm", epsilon=0.3),
        _on_tokens("layer_norm", epsilon=1e-5),
    ),
    "scale": (_on_map("scale"), _on_tokens("scale")),
    "relu": (
        _on_map("relu"),
        _on_map("relu", maximum=1.5),
        _on_tokens("relu", maximum=6),
        _relu_of_what_is_used_again,
        _relu_of_a_sum,
    ),
    "gelu": (_on_map("gelu"), _on_tokens("gelu")),
    "silu": (_on_map("silu"), _on_tokens("silu")),
    "sigmoid": (_on_map("sigmoid"), _on_tokens("sigmoid"), _sigmoid_of_cubes),
    "add": (_on_inputs("add", 2), _with_itself("add")),
    "multiply": (_on_inputs("multiply", 2), _with_itself("multiply"), _gate),
    "concat": (_on_inputs("concat", 2), _on_inputs("concat", 3), _with_itself("concat"), _concat_of_tokens),
    "max_pool": (
        _on_map("max_pool", size=2, stride=2),
        _on_map("max_pool", size=3, stride=2, padding=1),
        _on_map("max_pool", size=3, stride=2, padding=(0, 1)),
        _on_map("max_pool", size=3, stride=1, padding=(2, 0)),
        _on_map("max_pool", size=3, stride=3),
    ),
    "avg_pool": (
        _on_map("avg_pool", size=2, stride=2),
        _on_map("avg_pool", size=3, stride=2),
        _on_map("avg_pool", size=3, stride=3),
    ),
    "global_avg_pool": (_on_map("global_avg_pool"),),
    "attention": (*(_attention(heads) for heads in (1, 2, 4)), _attention_to_itself),
    "embed_tokens": tuple(_embedding(grid) for grid in (_MAP, 1, 3, 5, 11, 16)),
    "class_token": (_class_token,),
    "patch_map": (_embedding(_MAP),),
}


def _transformer() -> Network:
    """Patches of 8 pixels, width 8, two layers of two heads; positions of a 3 x 3 grid on a 4 x 4 map."""
    graph, width = GraphBuilder(), 8
    x = graph.add("patches", "conv2d", FILM, filters=width, size=8, stride=8)
    x = graph.add("tokens", "embed_tokens", x, grid=3)
    for layer in ("layer1", "layer2"):
        x = _transformer_layer(graph, layer, x, width)
    x = graph.add("norm", "layer_norm", x)
    vector = graph.add("vector", "class_token", x)
    return Network(
        name="kit_transformer",
        output=graph.add("map", "patch_map", x),
        nodes=graph.nodes,
        class_token=vector,
        stages=("patches", "layer1_norm1", "layer2_norm1"),
        size=_SIDE,
    )


def _transformer_layer(graph: GraphBuilder, name: str, x: str, width: int) -> str:
    normal = graph.add(f"{name}_norm1", "layer_norm", x)
    parts = [
        graph.add(f"{name}_{part}", "dense", normal, units=width, bias=part != "key")
        for part in ("query", "key", "value")
    ]
    new = graph.add(f"{name}_scale", "scale", graph.add(f"{name}_attention", "attention", *parts, heads=2))
    x = graph.add(f"{name}_add1", "add", x, new)
    normal = graph.add(f"{name}_norm2", "layer_norm", x)
    new = graph.add(f"{name}_gelu", "gelu", graph.add(f"{name}_dense1", "dense", normal, units=2 * width))
    return graph.add(f"{name}_add2", "add", x, graph.add(f"{name}_dense2", "dense", new, units=width))


_ODD_NAMES = ("type", "Conv", "conv", "weight", "bias", "train", "keys", "forward", "input", "self", "Z" * 100)
"""Names that frameworks use themselves, two that differ in case only, and the longest one."""


def _oddly_named() -> Network:
    graph = GraphBuilder()
    x = graph.add("patches", "conv2d", FILM, filters=4, size=8, stride=8)
    for name in _ODD_NAMES:
        x = graph.add(name, "conv2d", x, filters=4, size=1)
    return Network(name="kit.Odd-names_1", nodes=graph.nodes, output=x, stages=("patches", "self"), size=_SIDE)
