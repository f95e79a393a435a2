"""What a backend and its models return is checked at every call, and a fault is one line."""

import contextlib
import dataclasses
import re
from types import SimpleNamespace

import numpy as np
import pytest
from foreign_plugins import registry
from numpy_backend import NumpyBackend, NumpyHead, NumpyModel

from cxrscore import contract, plugins
from cxrscore.contract import ModelSpec
from cxrscore.errors import BackendUnavailableError, InputError, OtherProcessError, PluginError
from cxrscore.plugin_values import Origin, checked_backend, lenient
from cxrscore.plugin_values.models import checked_model
from cxrscore.testing.backend_operations import _transformer
from cxrscore.testing.fixtures import WEIGHTED_BCE, at_rate, random_tensors, some_batch, some_films, spec_of

ORIGIN = Origin(kind="backend", name="mine", distribution="acme")
SPEC = spec_of("tinycnn")
FILMS = some_films(2, SPEC.size)
ABILITIES = (
    *(
        contract.AcceptsIntegerImages,
        contract.AnyBatchSize,
        contract.Trainable,
        contract.FeatureExtractor,
        contract.SupportsFeatureTraining,
        contract.SplitBackbone,
    ),
    *(contract.SupportsHeatmaps, contract.SupportsAutograd, contract.SupportsActivationRanges),
)


def raises(error):
    raise error


def build(**members):
    """A checked model; members take the place of those of the class."""
    kind = type("Mine", (NumpyModel,), members)
    backend = type("Backend", (NumpyBackend,), {"model": kind})()
    return checked_backend(backend, ORIGIN).build(SPEC, None, device="cpu")


def instead(change):
    """A method that returns ``change`` of what NumpyModel's own returns."""

    def make(name):
        own = getattr(NumpyModel, name)
        return lambda self, *args, **kwargs: change(own(self, *args, **kwargs))

    return make


def part(**changes):
    return instead(lambda parts: dataclasses.replace(parts, **{k: f(getattr(parts, k)) for k, f in changes.items()}))


def spoilt(values):
    values = np.array(values)
    values.flat[-1] = np.nan
    return values


def call(model, name):
    arguments = {
        "predict": lambda: model.predict(FILMS),
        "embed": lambda: model.embed(FILMS),
        "stem": lambda: model.stem(FILMS),
        "tensors": lambda: model.tensors(),
        "state": lambda: model.state(),
        "ranges": lambda: model.ranges(FILMS),
        "cam_parts": lambda: model.cam_parts(FILMS, [0, 2]),
        "fit_epoch": lambda: model.fit_epoch([some_batch(SPEC, 4)], WEIGHTED_BCE, at_rate(1e-3)),
        "head_gradients": lambda: model.head_gradients(np.ones((2, 9, 9, 64), np.float32), [0]),
    }
    return arguments[name]()


class Hostile(np.ndarray):
    """An array none of whose members may be touched."""

    def fails(self, *_):
        raise SystemExit(0)

    ndim = shape = dtype = property(fails)


class Tensors(dict):
    def items(self):
        raise SystemExit(0)


def test_the_tokens_that_enter_the_last_block_of_a_transformer_are_accepted_in_their_shape_only():
    spec = ModelSpec(architecture="kit_transformer", findings=("Mass",), size=32, network=_transformer())
    tokens = np.zeros((2, 17, 8), np.float32)
    for values, known in ((tokens, True), (tokens, False), (tokens[:, 1:], True), (tokens[..., 0], False)):
        members = {"stem": lambda self, films, values=values: values}
        inner = type("Mine", (NumpyModel,), members)(SPEC, random_tensors(SPEC))
        model = checked_model(inner, SPEC, None, ORIGIN, "build")
        model.spec = spec if known else ModelSpec(architecture="theirs", findings=("Mass",))
        if values is tokens:
            np.testing.assert_array_equal(model.stem(FILMS), tokens)
        else:
            with pytest.raises(
                PluginError, match=r"stem returned float32 .*expected finite float32 \[2, (17, 8|h, w, K)\]"
            ):
                model.stem(FILMS)


FAULTS = [
    ("predict", instead(lambda z: z[:, 1:]), "predict returned float32 [2, 2], expected finite float32 [2, 3]"),
    ("predict", instead(lambda z: z[:1]), "predict returned float32 [1, 3], expected"),
    ("predict", instead(lambda z: z.astype(np.float64)), "predict returned float64 [2, 3], expected"),
    ("predict", instead(lambda z: z.tolist()), "predict returned a list"),
    ("predict", instead(lambda z: None), "predict returned None"),
    ("predict", instead(spoilt), "values that are not finite in 1 of 2 rows"),
    ("predict", instead(lambda z: raises(RuntimeError("lost\ndevice"))), "predict raised RuntimeError: lost device"),
    (
        "predict",
        instead(lambda z: raises(MemoryError())),
        "predict ran out of memory (MemoryError). Use a smaller batch",
    ),
    (
        "predict",
        instead(lambda z: raises(RuntimeError("CUDA out of memory"))),
        "predict ran out of memory (RuntimeError",
    ),
    (
        "predict",
        instead(lambda z: raises(RuntimeError("core.cpp:117: libplugin.so: failed to map segment from shared object"))),
        "predict ran out of memory (RuntimeError). Use a smaller batch",
    ),
    ("embed", instead(lambda e: e[:, 1:]), "embed returned float32 [2, 63], expected finite float32 [2, 64]"),
    ("embed", instead(spoilt), "embed returned float32 [2, 64] with values that are not finite"),
    ("stem", instead(lambda e: e[..., 0]), "stem returned float32"),
    ("stem", instead(spoilt), "stem returned"),
    ("tensors", instead(lambda t: None), "tensors returned None, expected arrays by their names"),
    (
        "tensors",
        instead(lambda t: {**t, "more": t["head/bias"]}),
        "tensors returned more, which is not a tensor of this network",
    ),
    ("tensors", instead(lambda t: {"head/bias": t["head/bias"]}), "tensors returned no conv1/kernel"),
    ("tensors", instead(lambda t: {**t, "head/bias": t["head/bias"][1:]}), "head/bias of shape [2], expected [3]"),
    (
        "tensors",
        instead(lambda t: {**t, "head/bias": spoilt(t["head/bias"])}),
        "values that are not finite as head/bias",
    ),
    ("tensors", instead(lambda t: {**t, "head/bias": [1.0]}), "a list as head/bias, expected an array of numbers"),
    ("tensors", instead(lambda t: {**t, "head/bias": np.array([1, 2, 3])}), "int64 [3] as head/bias, expected float32"),
    ("state", instead(lambda s: {1: 2}), "state returned a dict"),
    ("state", instead(lambda s: {"adam/step": np.array("x")}), "state returned <U1 [] as adam/step"),
    ("ranges", instead(lambda r: {}), "ranges returned a dict, expected an array for each convolution and dense layer"),
    ("ranges", instead(lambda r: {k: v[:, ::-1] for k, v in r.items()}), "a minimum above the maximum"),
    ("ranges", instead(lambda r: {k: v[:1] for k, v in r.items()}), "ranges: conv1 returned float32 [1, 2]"),
    ("fit_epoch", instead(lambda v: None), "fit_epoch returned None, expected the mean loss, a number"),
    ("fit_epoch", instead(lambda v: np.array([v])), "fit_epoch returned float64 [1]"),
    ("fit_epoch", instead(lambda v: True), "fit_epoch returned a bool"),
    ("fit_epoch", instead(lambda v: 10**400), "fit_epoch returned an integer above all floats, expected the mean loss"),
    (
        "fit_epoch",
        lambda name: lambda self, batches, loss, optimiser: 0.5,
        "fit_epoch returned 0.5 after 0 batches, although there are more, expected the mean loss of all",
    ),
    ("predict", instead(lambda z: z.view(Hostile)[:1]), "predict returned float32 [1, 3], expected"),
    ("tensors", instead(lambda t: Tensors(t)), "tensors raised SystemExit"),
    ("cam_parts", instead(lambda p: vars(p)), "cam_parts returned a dict, expected CamParts"),
    ("cam_parts", part(logits=lambda z: z[:, :1]), "cam_parts: logits returned float32 [2, 1]"),
    ("cam_parts", part(activations=lambda a: a[:1]), "cam_parts: activations returned float32 [1, 5, 5, 64]"),
    (
        "cam_parts",
        part(activations=spoilt),
        "cam_parts: activations returned values that are not finite for 1 of 2 films",
    ),
    ("cam_parts", part(gradients=lambda g: g[:, :1]), "cam_parts: gradients returned float32 [1, 1, 1, 1, 64]"),
    ("cam_parts", part(gradients=spoilt), "cam_parts: gradients returned values that are not finite"),
    ("cam_parts", part(gradients=lambda g: g.astype(np.float64)), "cam_parts: gradients returned float64"),
    ("cam_parts", part(cam_layer=lambda cam_layer: None), "cam_parts returned None as the CAM layer"),
    ("head_gradients", instead(lambda g: g[..., :1]), "head_gradients returned float32"),
]


@pytest.mark.parametrize(("name", "make", "words"), FAULTS)
def test_a_fault_is_one_line_with_the_backend_the_call_and_what_came(name, make, words):
    model = build(**{name: make(name)})
    with pytest.raises(PluginError, match=re.escape(words)) as caught:
        call(model, name)
    assert str(caught.value).startswith("backend 'mine' (distribution acme): ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", dict.fromkeys(name for name, _, _ in FAULTS))
def test_what_the_contract_allows_passes_unchanged(name):
    own, checked = NumpyBackend().build(SPEC, None), build()
    wanted, found = call(own, name), call(checked, name)
    if isinstance(wanted, contract.CamParts):
        wanted, found = vars(wanted), vars(found)
    np.testing.assert_equal(found, wanted)


def test_an_error_that_a_backend_raises_on_purpose_passes():
    for error in (InputError("no such layer"), BackendUnavailableError("no cuda"), OtherProcessError("gone")):
        with pytest.raises(type(error), match=re.escape(str(error))):
            build(predict=lambda self, films, error=error: raises(error)).predict(FILMS)


def test_whether_any_batch_size_is_taken_is_true_or_false():
    assert contract.takes_any_batch_size(build(any_batch_size=True))
    assert not contract.takes_any_batch_size(build())
    with pytest.raises(PluginError, match="any_batch_size is 'yes'"):
        build(any_batch_size="yes")


def test_a_checked_model_has_the_abilities_of_the_model_in_it_and_no_others():
    assert [ability for ability in ABILITIES if not isinstance(build(), ability)] == []

    class Scores:
        framework, device, spec = "mine 1", "cpu", SPEC

        def tensors(self):
            return dict(random_tensors(SPEC))

        def predict(self, films):
            return np.zeros((len(films), 3), np.float32)

    backend = SimpleNamespace(**{name: getattr(NumpyBackend, name) for name in NAMES}, build=lambda *a, **k: Scores())
    checked = checked_backend(backend, ORIGIN)
    model = checked.build(SPEC, None)
    assert [ability for ability in ABILITIES if isinstance(model, ability)] == []
    abilities = contract.SupportsInt8 | contract.SupportsDistributed | contract.SupportsNativePrecisions
    assert not isinstance(checked, abilities)
    assert isinstance(checked_backend(NumpyBackend(), ORIGIN), contract.SupportsInt8)
    assert isinstance(checked_backend(NumpyBackend(), ORIGIN), contract.SupportsDistributed)
    assert isinstance(checked_backend(NumpyBackend(), ORIGIN), contract.SupportsNativePrecisions)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ("fp32", "returned 'fp32', expected fp32 and other names of fp32, bf16, int8, each once"),
        (("bf16",), "expected fp32 and other names"),
        (("fp32", "fp16"), "expected fp32 and other names"),
        (("fp32", 16), "expected fp32 and other names"),
        (("fp32", "bf16", "fp32"), "expected fp32 and other names"),
        (None, "returned None, expected fp32 and other names"),
    ],
)
def test_what_a_device_computes_natively_is_checked(found, words):
    backend = NumpyBackend()
    backend.native_precisions = lambda device: found
    with pytest.raises(PluginError) as refusal:
        checked_backend(backend, ORIGIN).native_precisions("cpu")
    assert words in str(refusal.value)
    backend.native_precisions = lambda device: ["bf16", "fp32"]
    assert checked_backend(backend, ORIGIN).native_precisions("cpu") == ("bf16", "fp32")


NAMES = ("name", "requires", "install", "architectures", "trains", "speed")


@pytest.mark.parametrize(
    ("built", "words"),
    [
        (None, "build returned None, expected a model"),
        (NumpyModel, "build returned the class NumpyModel, expected a model"),
        (SimpleNamespace(tensors=dict), "a SimpleNamespace without predict"),
        (SimpleNamespace(predict=1, tensors=dict), "a SimpleNamespace without predict"),
        (SimpleNamespace(predict=len, tensors=dict), "a model whose framework is None, expected a text"),
        (SimpleNamespace(predict=len, tensors=dict, framework="x"), "a model whose device is None"),
        (SimpleNamespace(predict=len, tensors=dict, framework="x", device="cpu"), "a model of another spec, None"),
        (
            SimpleNamespace(predict=len, tensors=dict, framework="x", device="cpu", spec=spec_of("tinycnn", size=40)),
            "a model of another spec, size 40 instead of 36",
        ),
        (raises, "build raised TypeError"),
    ],
)
def test_what_is_no_model_is_not_built(built, words):
    make = (lambda *a, **k: raises(TypeError("x"))) if built is raises else (lambda *a, **k: built)
    backend = SimpleNamespace(**{name: getattr(NumpyBackend, name) for name in NAMES}, build=make)
    with pytest.raises(PluginError, match=re.escape(words)):
        checked_backend(backend, ORIGIN).build(SPEC, None)


def test_a_network_that_a_backend_does_not_name_is_refused_before_it_is_asked():
    words = "has no network 'linear', and no plugin brings its graph; of its own it has: tinycnn, resnet50"
    with pytest.raises(InputError, match=f"backend 'plain-numpy' {words}"):
        checked_backend(NumpyBackend(), ORIGIN).build(spec_of("linear"), None)


def test_lanes_are_a_number_from_1():
    with pytest.raises(PluginError, match="a model whose lanes is 0, expected a number from 1"):
        build(lanes=0)


def test_a_lenient_model_leaves_films_that_are_not_finite_to_its_caller():
    """And no others: the activations of a film with finite logits are to be finite."""
    model = lenient(build(predict=instead(spoilt)("predict"), cam_parts=part(logits=spoilt)("cam_parts")))
    assert np.isnan(model.predict(FILMS)[-1, -1])
    assert np.isnan(model.cam_parts(FILMS, [0]).logits[-1, -1])
    both = lenient(build(cam_parts=part(logits=spoilt, activations=spoilt)("cam_parts")))
    assert np.isnan(both.cam_parts(FILMS, [0]).activations.flat[-1])
    other = lenient(build(cam_parts=part(activations=spoilt)("cam_parts")))
    with pytest.raises(PluginError, match="activations returned values that are not finite for 1 of 2 films"):
        other.cam_parts(FILMS, [0])
    raw = NumpyBackend().build(SPEC, None)
    assert lenient(raw) is raw


def test_a_buffer_that_a_model_uses_again_changes_no_earlier_answer():
    buffer = np.empty((2, 3), np.float32)

    def predict(self, films):
        buffer[...] = NumpyModel.predict(self, films)
        return buffer

    model = build(predict=predict)
    first = model.predict(FILMS)
    kept = first.copy()
    model.predict(1 - FILMS)
    np.testing.assert_array_equal(first, kept)


class TestParts:
    """The head and the tail of a model."""

    def test_they_are_checked_like_the_model(self):
        class Head(NumpyHead):
            def predict(self, films):
                return super().predict(films)[:, 1:]

        def head(self):
            found = NumpyModel.head.func(self) if hasattr(NumpyModel.head, "func") else NumpyModel.head.fget(self)
            return Head(found.spec, found.own, found.input_shape, found.learning)

        model = build(head=property(head))
        with pytest.raises(PluginError, match=re.escape("head.predict returned float32 [2, 2]")):
            model.head.predict(np.ones((2, 64), np.float32))

    def test_a_head_has_two_tensors(self):
        with pytest.raises(PluginError, match=r"head\.tensors returned"):
            _ = build(head=property(lambda self: self.tail)).head

    def test_one_that_cannot_learn_is_none(self):
        with pytest.raises(PluginError, match="tail returned a SimpleNamespace without tensors and fit_epoch"):
            _ = build(tail=property(lambda self: SimpleNamespace(predict=len))).tail


def test_an_error_of_the_films_is_no_fault_of_the_model_that_trains_on_them():
    def batches():
        yield some_batch(SPEC, 4)
        raise OSError("the store is gone")

    with pytest.raises(OSError, match="the store is gone"):
        build().fit_epoch(batches(), WEIGHTED_BCE, at_rate(1e-3))
    swallows = build(fit_epoch=lambda self, batches, loss, optimiser: swallow(batches))
    with pytest.raises(OSError, match="the store is gone"):
        swallows.fit_epoch(batches(), WEIGHTED_BCE, at_rate(1e-3))


def swallow(batches):
    with contextlib.suppress(OSError):
        list(batches)
    return 0.5


def test_a_loss_that_is_not_finite_is_for_the_caller_to_judge():
    assert np.isnan(call(build(fit_epoch=instead(lambda v: np.float32("nan"))("fit_epoch")), "fit_epoch"))


@pytest.mark.parametrize(("answer", "words"), [(None, "gather returned None"), ([b""], "gather returned a list")])
def test_a_group_answers_for_every_process(answer, words):
    group = SimpleNamespace(gather=lambda data: answer, leave=lambda: None)
    backend = type("B", (NumpyBackend,), {"join": lambda self, **given: group})()
    joined = checked_backend(backend, ORIGIN).join(rank=0, of=2, device="cpu")
    with pytest.raises(PluginError, match=rf"{words}, expected bytes from each of 2 processes"):
        joined.gather(b"x")


def test_backends_are_handed_out_checked_and_to_the_kit_as_they_are(monkeypatch):
    backend = type("Backend", (NumpyBackend,), {"name": "mine", "build": lambda self, *a, **k: None})()
    registry(monkeypatch, backends=[backend])
    with pytest.raises(PluginError, match=r"backend 'mine' \(distribution acme\): build returned None"):
        plugins.get_backend("mine").build(SPEC, None)
    assert plugins.descriptor("backend", "mine") is backend


def test_an_array_of_a_class_of_others_is_taken_as_a_plain_one():
    found = build(predict=instead(lambda z: z.view(Hostile))("predict")).predict(FILMS)
    assert type(found) is np.ndarray
    np.testing.assert_array_equal(found, build().predict(FILMS))


@pytest.mark.parametrize("name", ["predict", "embed", "stem", "ranges", "cam_parts"])
def test_a_backend_of_others_changes_no_film(name):
    def spoils(self, films, *args, **kwargs):
        found = getattr(NumpyModel, name)(self, films, *args, **kwargs)
        films[...] = 5
        return found

    before = FILMS.copy()
    call(build(**{name: spoils}), name)
    np.testing.assert_array_equal(FILMS, before)
