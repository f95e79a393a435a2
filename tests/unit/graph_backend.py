"""A backend of NumPy alone that runs every graph, correct: what the kit's cases of operations must pass, and what the
bad backends of these are made of.

Its functions are those of the reference, in float64. It learns by finite differences, so only small networks can learn.
"""

import numpy as np
from numpy_backend import Learner, NumpyBackend

from cxrscore.contract import CamParts
from cxrscore.errors import BackendUnavailableError, InputError
from cxrscore.networks import reference
from cxrscore.networks.graph import FILM
from cxrscore.networks.operations import OPERATIONS
from cxrscore.networks.tensors import (
    check_cam_layer,
    check_inputs,
    check_tensors,
    closed_form,
    initial_tensors,
    trainable_names,
)

STEP = 1e-5


class GraphModel:
    """A Model that is FeatureExtractor and SupportsHeatmaps.

    ``wrong`` holds functions that replace those of their operations where that operation is what the kit tests.
    """

    framework, device = f"numpy {np.__version__}", "cpu"
    wrong = {}  # noqa: RUF012 - never written

    def __init__(self, spec, tensors):
        self.spec, self.own = spec, tensors
        self.input_shape = (spec.size, spec.size)

    def tensors(self):
        return {name: value.copy() for name, value in self.own.items()}

    def function(self, operation):
        tested = self.spec.architecture.startswith(f"kit_{operation}_")
        return self.wrong.get(operation, reference.FUNCTIONS[operation]) if tested else reference.FUNCTIONS[operation]

    def values(self, films, wanted):
        """The values of these nodes of films, float64."""
        normal = reference.normalised(check_inputs(films, self.input_shape), self.spec.normalize)
        own = {name: value.astype(np.float64) for name, value in self.own.items()}
        values = {FILM: normal}
        for node in self.spec.graph.needed(wanted):
            inputs = [values[name] for name in node.inputs]
            values[node.name] = self.function(node.operation)(reference._Tensors(node, own), *inputs)
        return [values[name] for name in wanted]

    def pooled(self, films):
        return reference.pool(self.spec, *self.values(films, [self.pooled_node]))

    @property
    def pooled_node(self):
        return self.spec.graph.class_token if self.spec.head == "cls" else self.spec.graph.output

    def predict(self, films):
        return reference.dense_head(self.own, self.pooled(films)).astype(np.float32)

    def embed(self, films):
        return self.pooled(films).astype(np.float32)

    def cam_parts(self, films, findings, *, cam_layer=None):
        cam_layer = check_cam_layer(self.spec, cam_layer)
        pooled, found = self.values(films, [self.pooled_node, cam_layer])
        activations = found.astype(np.float32)
        return CamParts(
            logits=reference.dense_head(self.own, reference.pool(self.spec, pooled)).astype(np.float32),
            activations=activations,
            gradients=closed_form(self.spec, self.own["head/kernel"], findings, activations, cam_layer),
            cam_layer=cam_layer,
        )


class LearningGraph(GraphModel, Learner):
    """It is Trainable, too."""

    def __init__(self, spec, tensors):
        GraphModel.__init__(self, spec, tensors)
        Learner.__init__(self, spec, tensors, self.input_shape, trainable_names(spec))

    predict, tensors = GraphModel.predict, GraphModel.tensors
    scores = GraphModel.predict

    def gradients(self, films, slope):
        """Of the sum of logits times slope."""
        found = self.dense_back(self.pooled(films), slope.astype(np.float64))
        for name in set(self.learning) - set(found):
            found[name] = np.zeros(self.own[name].shape)
            exact = self.own[name]
            for place in np.ndindex(exact.shape):
                sides = []
                for move in (STEP, -STEP):
                    self.own[name] = exact.astype(np.float64)
                    self.own[name][place] += move
                    sides.append(np.sum(slope * reference.dense_head(self.own, self.pooled(films))))
                found[name][place] = (sides[0] - sides[1]) / (2 * STEP)
            self.own[name] = exact
        return {name: value.astype(np.float32) for name, value in found.items()}


class GraphBackend:
    """Runs every graph on the CPU in float32."""

    name, requires, install = "plain-graphs", (), "pip install cxrscore"
    architectures, operations = (), tuple(OPERATIONS)
    trains = False
    speed = NumpyBackend.speed
    model = GraphModel

    def build(self, spec, tensors, *, device="auto", precision="fp32", seed=0):
        if device not in ("auto", "cpu") or precision != "fp32":
            raise BackendUnavailableError(f"{self.name} has no {precision} on {device}")
        if lacking := sorted(spec.graph.operations - set(self.operations)):
            raise InputError(f"{self.name} has no {', '.join(lacking)}")
        values = initial_tensors(spec, seed) if tensors is None else check_tensors(spec, tensors)
        return self.model(spec, {name: value.copy() for name, value in values.items()})


class LearningGraphs(GraphBackend):
    trains, model = True, LearningGraph
