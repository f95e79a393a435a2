"""One backend for each case of the kit, right in all but what that case demands."""

from dataclasses import replace
from types import MappingProxyType

import numpy as np
from eager_hook import EagerBackend
from graph_backend import GraphBackend
from numpy_backend import NumpyBackend, NumpyHead, NumpyModel

from cxrscore.networks.tensors import check_inputs, tensor_shapes

BAD = {}
"""By number of the case."""


class Small(NumpyBackend):
    """Only tinycnn, so that the cases are quick."""

    architectures = ("tinycnn",)


class Both(NumpyBackend):
    """For faults that show in a network with batch normalisation only."""


def fails(number, backend=Small):
    """Files a class: a backend as it is, or a model to be built by this backend."""

    def file(cls):
        BAD[number] = (
            cls if issubclass(cls, NumpyBackend | GraphBackend) else type(cls.__name__, (backend,), {"model": cls})
        )
        return cls

    return file


# --- the descriptor, build() and tensors()


@fails("B01")
class NoSpeed(Small):
    speed = MappingProxyType({"cpu": 0.0})


@fails("B02")
class Eager(EagerBackend):
    architectures = ("tinycnn",)


@fails("B03")
class Anonymous(NumpyModel):
    framework = ""


@fails("B04")
class OneSeed(Small):
    def build(self, spec, tensors, *, seed=0, **options):
        return super().build(spec, tensors, **options)


@fails("B05")
class LastBitLost(NumpyModel):
    def tensors(self):
        found = super().tensors()
        if self.spec.head == "flatten":
            found["head/kernel"] = np.nextafter(found["head/kernel"], np.float32(9))
        return found


@fails("B06")
class GivesItself(NumpyModel):
    def tensors(self):
        return dict(self.own) if self.spec.trainable == "head" else super().tensors()


class Mends(Small):
    """Changes the tensors that it is given, as far as it knows the network."""

    def build(self, spec, tensors, **options):
        if tensors is not None and spec.architecture in self.architectures:
            tensors = self.mended(tensors, tensor_shapes(spec))
        return super().build(spec, tensors, **options)


@fails("B07")
class FillsUp(Mends):
    def mended(self, tensors, shapes):
        return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()} | dict(tensors)


@fails("B08")
class DropsExtra(Mends):
    def mended(self, tensors, shapes):
        return {name: value for name, value in tensors.items() if name in shapes}


@fails("B09")
class Reshapes(Mends):
    def mended(self, tensors, shapes):
        return {name: self.fitted(value, shapes.get(name, value.shape)) for name, value in tensors.items()}

    def fitted(self, value, shape):
        return value.reshape(shape) if value.size == np.prod(shape) else value


@fails("B10")
class AnyDevice(Small):
    def build(self, spec, tensors, *, device="auto", **options):
        return super().build(spec, tensors, **options)


@fails("B11")
class AnyArchitecture(Small):
    def build(self, spec, tensors, **options):
        return super().build(replace(spec, architecture="tinycnn"), tensors, **options)


# --- scores


class Scores(NumpyModel):
    """Predicts something else than it would."""

    def predict(self, films):
        return self.instead(films, super().predict(films))


@fails("B12")
class BlackIsNothing(Scores):
    def instead(self, films, logits):
        black = films.max(axis=(1, 2), initial=0) == 0
        return np.where(black[:, None], np.float32(np.nan), logits)


@fails("B13")
class NeedsAFilm(NumpyModel):
    def predict(self, films):
        if not len(films):
            raise ValueError("no films")
        return super().predict(films)


@fails("B14")
class DependsOnTheBatch(Scores):
    def instead(self, films, logits):
        return logits + np.float32(1e-3 * (len(films) > 4))


@fails("B15")
class WritesToFilms(NumpyModel):
    def predict(self, films):
        found = super().predict(films)
        films *= 1
        return found


@fails("B16")
class LendsItsBuffer(NumpyModel):
    def embed(self, films):
        found = super().embed(films)
        buffers = vars(self).setdefault("buffers", {})
        buffer = buffers.setdefault(len(found), np.empty_like(found))
        buffer[...] = found
        return buffer


@fails("B17")
class TakesDoubles(NumpyModel):
    def predict(self, films):
        return super().predict(films.astype(np.float32) if films.dtype == np.float64 else films)


@fails("B18")
class AppliesSoftmax(Scores):
    def instead(self, films, logits):
        odds = np.exp(logits)
        return odds / odds.sum(axis=1, keepdims=True) if self.spec.activation == "softmax" else logits


@fails("B19", Both)
class AnotherResNet(Scores):
    def instead(self, films, logits):
        off = self.spec.architecture == "resnet50" and self.spec.head == "flatten"
        return logits * np.float32(1.001 if off else 1)


@fails("B20")
class CaffeInRgb(NumpyModel):
    def normalised(self, films):
        found = super().normalised(films)
        return found[..., ::-1] if self.spec.normalize == "imagenet-caffe" else found


@fails("B21")
class HalfOutside(Scores):
    def instead(self, films, logits):
        return logits.astype(np.float16) if self.bf16 else logits


@fails("B22")
class KeepsFilms(Scores):
    def instead(self, films, logits):
        vars(self).setdefault("seen", []).append(films.copy())
        return logits


@fails("B52")
class HalvesLevels(NumpyModel):
    def unit(self, films):
        return super().unit(films) * np.float32(1 if films.dtype == np.float32 else 0.5)


# --- heads and heat maps


class ShiftedHead(NumpyHead):
    def predict(self, films):
        return super().predict(films) + np.float32(1e-2)


@fails("B23")
class AnotherHead(NumpyModel):
    @property
    def head(self):
        found = super().head
        return ShiftedHead(found.spec, found.own, found.input_shape, found.learning)


@fails("B24")
class HeadOfItsOwn(NumpyModel):
    @property
    def head(self):
        found = super().head
        return NumpyHead(found.spec, found.tensors(), found.input_shape, found.learning)


class Maps(NumpyModel):
    """Gives other parts of a heat map than it would."""

    def cam_parts(self, films, findings, *, cam_layer=None):
        return self.instead(super().cam_parts(films, findings, cam_layer=cam_layer))


@fails("B25")
class LogitsOfAnotherPass(Maps):
    def instead(self, parts):
        return replace(parts, logits=parts.logits + np.float32(1e-3))


@fails("B26")
class AlwaysAfterTheRelu(Maps):
    def instead(self, parts):
        return replace(parts, activations=np.maximum(parts.activations, 0))


@fails("B27")
class SumForMean(Maps):
    def instead(self, parts):
        return replace(parts, gradients=self.wrong(parts.gradients))

    def wrong(self, gradients):
        return gradients * np.float32(25 if self.spec.head == "gap" else 1)

    def head_gradients(self, activations, findings, *, cam_layer=None):
        return self.wrong(super().head_gradients(activations, findings, cam_layer=cam_layer))


@fails("B28")
class ForgetsTheRelu(NumpyModel):
    def head_gradients(self, activations, findings, *, cam_layer=None):
        return super().head_gradients(np.ones_like(activations), findings, cam_layer=cam_layer)


@fails("B29")
class AnyTap(NumpyModel):
    def cam_parts(self, films, findings, *, cam_layer=None):
        return super().cam_parts(films, findings, cam_layer=cam_layer if cam_layer in ("relu", "conv4") else None)


@fails("B30")
class CountsFromTheEnd(NumpyModel):
    def cam_parts(self, films, findings, *, cam_layer=None):
        return super().cam_parts(films, [finding % 3 for finding in findings], cam_layer=cam_layer)


class EmbedsOnly:
    """A Model that is FeatureExtractor, and no more."""

    framework, device = NumpyModel.framework, "cpu"

    def __init__(self, model):
        self.spec, self.tensors, self._model = model.spec, model.tensors, model

    def predict(self, films):
        return self._model.predict(check_inputs(films, (self.spec.size, self.spec.size)))

    def embed(self, films):
        """In the order channel, row, column for a "flatten" head."""
        found = self._model.embed(films)
        if self.spec.head == "gap":
            return found
        return found.reshape(len(found), 25, 64).transpose(0, 2, 1).reshape(len(found), 25 * 64)


@fails("B57")
class ChannelsFirst(Small):
    trains, join = False, None

    def build(self, spec, tensors, **options):
        return EmbedsOnly(super().build(spec, tensors, **options))


@fails("B58")
class Overflows(Scores):
    """NaN from its 33rd batch on."""

    def instead(self, films, logits):
        self.batches = vars(self).get("batches", 0) + 1
        return logits * np.float32(np.nan if self.batches > 32 else 1)


# --- 8-bit integers


@fails("B54")
class RangesOfTheBatch(NumpyModel):
    def ranges(self, films):
        found = super().ranges(films)
        return {layer: np.broadcast_to(ends.max(axis=0, initial=-9), ends.shape) for layer, ends in found.items()}


@fails("B55")
class RoundsNothing(Small):
    def build_int8(self, spec, tensors, ranges, **options):
        super().build_int8(spec, tensors, ranges, **options)
        return self.build(spec, tensors, precision=options.get("precision") or "fp32")


@fails("B56")
class AnyLayer(Small):
    def build_int8(self, spec, tensors, ranges, **options):
        known = {layer: ends for layer, ends in ranges.items() if f"{layer}/kernel" in tensors}
        return super().build_int8(spec, tensors, known, **options)


@fails("B81")
class NativeOnAnyDevice(Small):
    def native_precisions(self, device="auto"):
        return ("bf16", "fp32")


@fails("B82")
class AddsInAnotherOrder(Scores):
    any_batch_size = True

    def instead(self, films, logits):
        return logits + np.float32(3e-7 * len(films))


@fails("B83")
class RestInBf16(Small):
    def build_int8(self, spec, tensors, ranges, *, precision=None, **options):
        return super().build_int8(spec, tensors, ranges, precision="bf16" if precision else None, **options)
