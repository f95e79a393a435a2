"""Checks of models: every returned value must satisfy the contract.

A checked model has the optional interfaces of the wrapped model, and no others: its class combines one class per
interface (``isinstance`` with the contract's protocols gives the same result for both).
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

import numpy as np

from cxrscore.contract import (
    AcceptsIntegerImages,
    AnyBatchSize,
    Array,
    Batch,
    CamParts,
    FeatureExtractor,
    Floats,
    Loss,
    Model,
    ModelSpec,
    Optimiser,
    SplitBackbone,
    SupportsActivationRanges,
    SupportsAutograd,
    SupportsFeatureTraining,
    SupportsHeatmaps,
    Tensors,
    Trainable,
)
from cxrscore.networks.tensors import tail_shape, tensor_shapes
from cxrscore.plugin_values.origin import (
    Callbacks,
    Origin,
    all_finite,
    checked_array,
    class_of,
    describe,
    plain_array,
)
from cxrscore.types import finite_rows

_Shapes = dict[str, tuple[int, ...]]
_Model = TypeVar("_Model")
_HEAD = ("head/kernel", "head/bias")


class CheckedModel:
    """A wrapped model of a backend. Attributes without a check are those of the wrapped model.

    Parameters
    ----------
    model
        As ``build`` returned it.
    spec
        The requested network.
    origin
        The backend.
    shapes
        Shapes of its tensors by name; empty if they are not known.
    call
        The call that returned it, for messages: ``build``, ``head``, ``tail``.

    Raises
    ------
    PluginError
        If it is not a model of this spec.
    """

    def __init__(self, model: Any, spec: ModelSpec, origin: Origin, shapes: _Shapes, *, call: str = "build") -> None:
        _check_members(origin, call, model, ("predict", "tensors"))
        self._inner, self._origin, self._shapes, self._call = model, origin, shapes, call
        self._lenient = False
        self._parts: dict[str, CheckedModel] = {}
        self._embedded: int | None = None
        self._stemmed: tuple[int, ...] = ()
        self._layers: tuple[str, ...] = ()
        self.spec = spec

    def __getattr__(self, name: str) -> Any:
        if "_inner" not in vars(self):  # during copying
            raise AttributeError(name)
        return getattr(self._inner, name)

    def predict(self, films: Any) -> Floats:
        """See contract.Model; a copy, so that a buffer that the model uses again does not change the result."""
        call = self._named("predict")
        with self._origin.calling(call):
            logits = self._inner.predict(self._given(films))
        return np.array(self._logits(call, logits, len(films)))

    def tensors(self) -> dict[str, Array]:
        """See contract.Model; the same names and shapes at every call."""
        call = self._named("tensors")
        with self._origin.calling(call):
            found = self._inner.tensors()
        tensors = _named_arrays(self._origin, call, found)
        wrong = next((name for name, value in tensors.items() if not np.issubdtype(value.dtype, np.floating)), None)
        if wrong is not None:
            raise self._origin.fault(call, f"{describe(tensors[wrong])} as {wrong}", "float32")
        self._check_shapes(call, {name: value.shape for name, value in tensors.items()})
        return tensors

    def _check_shapes(self, call: str, found: _Shapes) -> None:
        wanted = self._shapes or found
        self._shapes = wanted
        faults = [f"no {name}" for name in wanted if name not in found]
        faults += [f"{name}, which is not a tensor of this network" for name in found if name not in wanted]
        faults += [
            f"{name} of shape {list(shape)}, expected {list(wanted[name])}"
            for name, shape in found.items()
            if name in wanted and shape != wanted[name]
        ]
        if faults:
            raise self._origin.fault(call, "; ".join(faults[:3]), "the tensors of the network as built")

    def _named(self, call: str) -> str:
        return call if self._call.startswith("build") else f"{self._call}.{call}"

    def _given(self, films: Any) -> Any:
        """The input of a backend of another distribution: a copy, because the films are used again and the backend may
        change them."""
        return films if self._origin.own or not isinstance(films, np.ndarray) else films.copy()

    def _logits(self, call: str, logits: object, films: int) -> Floats:
        shape = (films, len(self.spec.findings))
        return checked_array(self._origin, call, logits, shape, finite=not self._lenient)


def lenient(model: _Model) -> _Model:
    """The same model, but ``predict`` and ``cam_parts`` may return values that are not finite for some films: only the
    caller checks them. An unchecked model is returned unchanged."""
    if not isinstance(model, CheckedModel):
        return model
    other = object.__new__(type(model))
    vars(other).update(vars(model), _lenient=True)
    return other


class _AcceptsIntegerImages(CheckedModel):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        lanes = self._inner.lanes
        if not isinstance(lanes, int) or isinstance(lanes, bool) or lanes < 1:
            raise self._origin.fault("build", f"a model whose lanes is {lanes!r}", "a number from 1")
        self.lanes: int = lanes


class _AnyBatchSize(CheckedModel):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        fits = self._inner.any_batch_size
        if not isinstance(fits, bool):
            raise self._origin.fault("build", f"a model whose any_batch_size is {fits!r}", "true or false")
        self.any_batch_size: bool = fits


class _Trainable(CheckedModel):
    def fit_epoch(self, batches: Iterable[Batch], loss: Loss, optimiser: Optimiser) -> float:
        """See contract.Trainable. The loss may be NaN or infinite: the caller decides what to do."""
        call, core = self._named("fit_epoch"), Callbacks()
        source, count = iter(batches), itertools.count()
        given = (batch for batch, _ in zip(source, count, strict=False))
        with self._origin.calling(call, core):
            value = _mean_loss(self._origin, call, self._inner.fit_epoch(core.iterable(given), loss, optimiser))
        if math.isfinite(value) and next(source, None) is not None:
            met = f"{value:g} after {next(count)} batches, although there are more"
            raise self._origin.fault(call, met, "the mean loss of all batches")
        return value

    def state(self) -> dict[str, Array]:
        """See contract.Trainable."""
        call = self._named("state")
        with self._origin.calling(call):
            found = self._inner.state()
        return _named_arrays(self._origin, call, found)

    def restore(self, state: Tensors) -> None:
        """See contract.Trainable."""
        with self._origin.calling(self._named("restore")):
            self._inner.restore(state)


class _FeatureExtractor(CheckedModel):
    def embed(self, films: Floats) -> Floats:
        """See contract.FeatureExtractor; a copy, of the same length K at every call."""
        with self._origin.calling("embed"):
            found = self._inner.embed(self._given(films))
        kernel = self._shapes.get("head/kernel")
        if self._embedded is None and kernel is not None:
            self._embedded = kernel[0]
        checked = checked_array(self._origin, "embed", found, (len(films), self._embedded or "K"))
        self._embedded = checked.shape[1]
        return np.array(checked)


class _SupportsFeatureTraining(_FeatureExtractor):
    @property
    def head(self) -> CheckedModel:
        """See contract.SupportsFeatureTraining."""
        part = _part(self, "head")
        if set(shapes := {name: tensor.shape for name, tensor in part.tensors().items()}) != set(_HEAD):
            raise self._origin.fault("head.tensors", f"{', '.join(sorted(shapes)) or 'none'}", " and ".join(_HEAD))
        return part


class _SplitBackbone(CheckedModel):
    def stem(self, films: Floats) -> Floats:
        """See contract.SplitBackbone."""
        with self._origin.calling("stem"):
            found = self._inner.stem(self._given(films))
        shape: tuple[int | str, ...] = self._stemmed
        if not shape and self.spec.network is not None:
            shape = tail_shape(self.spec)
        if not shape:  # a map, or the tokens of a transformer
            array = plain_array(found)
            shape = ("T", "K") if array is not None and array.ndim == 3 else ("h", "w", "K")
        checked = checked_array(self._origin, "stem", found, (len(films), *shape))
        self._stemmed = checked.shape[1:]
        return checked

    @property
    def tail(self) -> CheckedModel:
        """See contract.SplitBackbone."""
        return _part(self, "tail")


class _SupportsHeatmaps(CheckedModel):
    def cam_parts(self, films: Any, findings: Sequence[int], *, cam_layer: str | None = None) -> CamParts:
        """See contract.SupportsHeatmaps."""
        with self._origin.calling("cam_parts"):
            parts = self._inner.cam_parts(self._given(films), tuple(findings), cam_layer=cam_layer)
            return self._cam_parts(parts, len(films), len(findings), cam_layer)

    def _cam_parts(self, parts: Any, count: int, findings: int, cam_layer: str | None) -> CamParts:
        origin: Origin = self._origin
        if not isinstance(parts, CamParts):
            raise origin.fault("cam_parts", describe(parts), "CamParts")
        if not isinstance(parts.cam_layer, str) or not parts.cam_layer or cam_layer not in (None, parts.cam_layer):
            raise origin.fault(
                "cam_parts",
                f"{parts.cam_layer!r} as the CAM layer",
                repr(cam_layer) if cam_layer else "the name of a layer",
            )
        logits = self._logits("cam_parts: logits", parts.logits, count)
        finite = finite_rows(logits)
        call = "cam_parts: activations"
        activations = checked_array(origin, call, parts.activations, (count, "h", "w", "K"), finite=False)
        _check_finite_rows(origin, call, activations, finite)
        _, h, w, k = activations.shape
        call, shape = "cam_parts: gradients", ((count, 1), findings, (h, 1), (w, 1), k)
        gradients = checked_array(origin, call, parts.gradients, shape, finite=False)
        if gradients.shape[2:4] not in ((h, w), (1, 1)):
            raise origin.fault(call, describe(gradients), f"{h} x {w} positions, or 1 x 1 for all positions")
        _check_finite_rows(origin, call, gradients, finite if len(gradients) == count else np.ones(1, bool))
        return CamParts(logits=logits, activations=activations, gradients=gradients, cam_layer=parts.cam_layer)


class _SupportsAutograd(CheckedModel):
    def head_gradients(self, activations: Floats, findings: Sequence[int], *, cam_layer: str | None = None) -> Floats:
        """See contract.SupportsAutograd."""
        with self._origin.calling("head_gradients"):
            found = self._inner.head_gradients(self._given(activations), tuple(findings), cam_layer=cam_layer)
        n, *rest = activations.shape
        return checked_array(self._origin, "head_gradients", found, (n, len(findings), *rest))


class _SupportsActivationRanges(CheckedModel):
    def ranges(self, films: Floats) -> dict[str, Floats]:
        """See contract.SupportsActivationRanges; the same layers at every call."""
        with self._origin.calling("ranges"):
            found = self._inner.ranges(self._given(films))
        if not isinstance(found, Mapping) or not found or not all(isinstance(name, str) for name in found):
            raise self._origin.fault(
                "ranges", describe(found), "an array for each convolution and dense layer, by its name"
            )
        self._layers = self._layers or tuple(found)
        if tuple(found) != self._layers:
            raise self._origin.fault(
                "ranges", f"the layers {', '.join(found)}", f"{', '.join(self._layers)}, as before"
            )
        checked = {
            name: checked_array(self._origin, f"ranges: {name}", ends, (len(films), 2)) for name, ends in found.items()
        }
        for name, ends in checked.items():
            if (ends[:, 0] > ends[:, 1]).any():
                raise self._origin.fault(f"ranges: {name}", "a minimum above the maximum", "lowest, highest")
        return checked


def _mean_loss(origin: Origin, call: str, value: Any) -> float:
    """What fit_epoch returned, as a float; it may be NaN or infinite."""
    array = np.asarray(value) if issubclass(class_of(value), np.generic) else plain_array(value)
    number = array.item() if array is not None and array.ndim == 0 else value
    if not isinstance(number, int | float) or isinstance(number, bool):
        raise origin.fault(call, describe(value), "the mean loss, a number")
    try:
        return float(number)
    except OverflowError:
        raise origin.fault(call, "an integer above all floats", "the mean loss, a number") from None


def _check_finite_rows(origin: Origin, call: str, values: Array, finite: Array) -> None:
    """PluginError if a row contains values that are not finite, unless its logits are not finite either."""
    if all_finite(values):
        return
    odd = int((~finite_rows(values) & finite).sum())
    if odd:
        raise origin.fault(call, f"values that are not finite for {odd} of {len(values)} films", "finite ones")


def _part(model: CheckedModel, name: str) -> CheckedModel:
    """The head or tail of a model."""
    if name not in model._parts:
        with model._origin.calling(name):
            part = getattr(model._inner, name)
        _check_members(model._origin, name, part, ("predict", "tensors", "fit_epoch", "state", "restore"))
        shapes = {each: shape for each, shape in model._shapes.items() if each in _HEAD} if name == "head" else {}
        model._parts[name] = _checked(part, model.spec, model._origin, shapes, call=name)
    return model._parts[name]


def _check_members(origin: Origin, call: str, value: object, names: Sequence[str]) -> None:
    """PluginError unless the value is an object with these methods."""
    if value is None or isinstance(value, type):
        raise origin.fault(call, describe(value), "a model")
    with origin.calling(call):
        missing = [name for name in names if not callable(getattr(value, name, None))]
    if missing:
        raise origin.fault(call, f"{describe(value)} without {' and '.join(missing)}", "a model with it")


def _named_arrays(origin: Origin, call: str, found: object) -> dict[str, Array]:
    """Finite numbers by name, each as an array."""
    with origin.calling(call):
        return _arrays_of(origin, call, found)


def _arrays_of(origin: Origin, call: str, found: object) -> dict[str, Array]:
    if not isinstance(found, Mapping) or not found or not all(isinstance(name, str) for name in found):
        raise origin.fault(call, "no tensor" if found == {} else describe(found), "arrays by their names")
    arrays = {}
    for name, value in found.items():
        array = np.asarray(value) if issubclass(class_of(value), np.generic) else plain_array(value)
        if array is None or array.dtype.kind not in "fiu":
            raise origin.fault(call, f"{describe(value)} as {name}", "an array of numbers")
        arrays[name] = array
        if not all_finite(arrays[name]):
            raise origin.fault(call, f"values that are not finite as {name}", "finite ones")
    return arrays


_ABILITIES: tuple[tuple[Any, type[CheckedModel]], ...] = (
    (AcceptsIntegerImages, _AcceptsIntegerImages),
    (AnyBatchSize, _AnyBatchSize),
    (Trainable, _Trainable),
    (SupportsFeatureTraining, _SupportsFeatureTraining),
    (FeatureExtractor, _FeatureExtractor),
    (SplitBackbone, _SplitBackbone),
    (SupportsHeatmaps, _SupportsHeatmaps),
    (SupportsAutograd, _SupportsAutograd),
    (SupportsActivationRanges, _SupportsActivationRanges),
)


@functools.cache
def _class_of(abilities: tuple[type[CheckedModel], ...]) -> type[CheckedModel]:
    return type("CheckedModel", abilities, {}) if abilities else CheckedModel


def _checked(model: Any, spec: ModelSpec, origin: Origin, shapes: _Shapes, *, call: str = "build") -> CheckedModel:
    """The model, checked, with all its optional interfaces."""
    with origin.calling(call):
        found = [own for protocol, own in _ABILITIES if isinstance(model, protocol)]
    if _SupportsFeatureTraining in found:
        found.remove(_FeatureExtractor)
    return _class_of(tuple(found))(model, spec, origin, shapes, call=call)


def checked_model(model: Any, spec: ModelSpec, tensors: Tensors | None, origin: Origin, call: str) -> Model:
    """Wrap a model that a backend has built, so that all its results are checked.

    Parameters
    ----------
    model
        What ``build`` or ``build_int8`` returned.
    spec, tensors
        The requested network and tensors.
    origin
        The backend.
    call
        "build" or "build_int8".

    Raises
    ------
    PluginError
        If it is not a model of this spec.
    """
    _check_members(origin, call, model, ("predict", "tensors"))
    with origin.calling(call):
        about = {name: getattr(model, name, None) for name in ("spec", "framework", "device")}
    for name in ("framework", "device"):
        if not isinstance(about[name], str) or not about[name]:
            raise origin.fault(call, f"a model whose {name} is {about[name]!r}", "a text")
    if about["spec"] != spec:
        raise origin.fault(call, f"a model of another spec, {_difference(about['spec'], spec)}", "the requested one")
    return cast(Model, _checked(model, spec, origin, _shapes_of(spec, tensors), call=call))


def _difference(found: object, wanted: ModelSpec) -> str:
    if not isinstance(found, ModelSpec):
        return describe(found)
    own, other = found.as_dict(), wanted.as_dict()
    name = next(name for name in own if own[name] != other[name])
    return f"{name} {own[name]!r} instead of {other[name]!r}"


def _shapes_of(spec: ModelSpec, tensors: Tensors | None) -> _Shapes:
    if tensors is not None:
        return {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    return tensor_shapes(spec) if spec.network is not None else {}
