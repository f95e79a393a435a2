"""What losses, explainers and executors of plugins return or do is checked at every call."""

import contextlib
import re
import threading

import numpy as np
import pytest
from foreign_plugins import registry

from cxrscore import plugins
from cxrscore.contract import CamParts, Explainer, Loss, TaskBatch
from cxrscore.errors import CxrscoreError, InputError, PluginError
from cxrscore.explainers import explain, grad_cam, occlusion
from cxrscore.plugin_values import Origin, checked_executor, checked_explainer, checked_loss

FILMS = np.random.default_rng(0).random((3, 40, 40), np.float32)


def raises(error):
    raise error


def origin(kind):
    return Origin(kind=kind, name="odd", distribution="acme")


def parts(seed=0):
    rng = np.random.default_rng(seed)
    return CamParts(
        logits=rng.normal(size=(3, 4)).astype(np.float32),
        activations=rng.random((3, 5, 6, 7), np.float32),
        gradients=rng.normal(size=(1, 2, 1, 1, 7)).astype(np.float32),
        cam_layer="relu",
    )


# --- explainers


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (
            lambda parts: parts.activations,
            "from_parts returned float32 [3, 5, 6, 7], expected finite float [3, 2, 5, 6]",
        ),
        (lambda parts: grad_cam(parts)[:, :1], "from_parts returned float32 [3, 1, 5, 6]"),
        (lambda parts: grad_cam(parts)[:, :, :1], "from_parts returned float32 [3, 2, 1, 6]"),
        (lambda parts: grad_cam(parts) > 0, "from_parts returned bool"),
        (lambda parts: grad_cam(parts) * np.float32(np.nan), "values that are not finite in 3 of 3 rows"),
        (lambda parts: None, "from_parts returned None"),
        (lambda parts: raises(ValueError("odd")), "from_parts raised ValueError: odd"),
    ],
)
def test_maps_from_parts_are_those_of_the_films_and_findings(function, words):
    checked = checked_explainer(Explainer(name="odd", summary="x", from_parts=function), origin("explainer"))
    with pytest.raises(PluginError, match=re.escape(words)) as caught:
        checked.from_parts(parts())
    assert str(caught.value).startswith("explainer 'odd' (distribution acme): from_parts ")


def test_maps_in_double_precision_are_taken_as_float32():
    explainer = Explainer(name="odd", summary="x", from_parts=lambda parts: grad_cam(parts).astype(np.float64))
    found = checked_explainer(explainer, origin("explainer")).from_parts(parts())
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, grad_cam(parts()))


def test_an_explainer_changes_no_array_that_is_used_afterwards():
    def spoils(given):
        given.logits[...] = 5
        return grad_cam(given)

    own = parts()
    checked_explainer(Explainer(name="odd", summary="x", from_parts=spoils), origin("explainer")).from_parts(own)
    np.testing.assert_array_equal(own.logits, parts().logits)
    for name in ("activations", "gradients"):
        explainer = Explainer(name="odd", summary="x", from_parts=lambda given, n=name: getattr(given, n).fill(5))
        with pytest.raises(PluginError, match="read-only"):
            checked_explainer(explainer, origin("explainer")).from_parts(own)
        np.testing.assert_array_equal(getattr(own, name), getattr(parts(), name))
    explainer = Explainer(name="odd", summary="x", from_scores=lambda predict, films, findings: films.fill(5))
    with pytest.raises(PluginError, match="read-only"):
        checked_explainer(explainer, origin("explainer")).from_scores(logits, FILMS.copy(), [0])


def logits(films):
    return films.reshape(len(films), -1)[:, :4] * np.float32(1)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (
            lambda predict, films, findings: np.zeros((3, 1, 4, 4), np.float32),
            "from_scores returned float32 [3, 1, 4, 4]",
        ),
        (lambda predict, films, findings: np.full((3, 2, 4, 4), np.inf, np.float32), "values that are not finite"),
        (lambda predict, films, findings: predict(), "from_scores raised TypeError"),
    ],
)
def test_maps_from_scores_are_those_of_the_films_and_findings(function, words):
    checked = checked_explainer(Explainer(name="odd", summary="x", from_scores=function), origin("explainer"))
    with pytest.raises(PluginError, match=re.escape(words)):
        checked.from_scores(lambda films: logits(films), FILMS, [0, 1])


def test_maps_from_scores_keep_their_size():
    sides = iter((4, 5))
    function = lambda predict, films, findings: np.zeros((3, 2, *[next(sides)] * 2), np.float32)  # noqa: E731
    checked = checked_explainer(Explainer(name="odd", summary="x", from_scores=function), origin("explainer"))
    checked.from_scores(logits, FILMS, [0, 1])
    with pytest.raises(
        PluginError, match=re.escape("from_scores returned float32 [3, 2, 5, 5], expected finite float [3, 2, 4, 4]")
    ):
        checked.from_scores(logits, FILMS, [0, 1])


def test_an_error_of_the_model_is_no_fault_of_the_explainer():
    checked = checked_explainer(Explainer(name="odd", summary="x", from_scores=occlusion), origin("explainer"))
    with pytest.raises(PluginError, match=r"^backend: predict"):
        checked.from_scores(lambda films: raises(PluginError("backend: predict")), FILMS, [0])


class Parts:
    """A model whose second film has logits that are NaN."""

    framework = "mine"

    def predict(self, films):
        found = logits(films)
        found[films[:, 0, 0] == 0] = np.nan
        return found

    def cam_parts(self, films, findings, *, cam_layer=None):
        found = parts()
        for values in (found.logits, found.activations):
            values[1] = np.nan
        return found


def test_a_film_without_logits_spoils_no_other_maps():
    films = FILMS.copy()
    films[1, 0, 0] = 0
    explainer = Explainer(name="x", summary="x", from_parts=lambda p: grad_cam(p) - np.float32(p.activations.mean()))
    found, maps, _ = explain(explainer, Parts(), films, [0, 1])
    np.testing.assert_array_equal(np.isfinite(found).all(axis=1), [True, False, True])
    assert np.isfinite(maps).all()
    by_scores = Explainer(name="x", summary="x", from_scores=occlusion)
    found, maps, _ = explain(by_scores, Parts(), films, [0, 1])
    np.testing.assert_array_equal(np.isfinite(found).all(axis=1), [True, False, True])
    assert np.isfinite(maps).all()
    np.testing.assert_array_equal(maps[[0, 2]], occlusion(logits, films, [0, 1])[[0, 2]])


def test_a_film_fails_where_a_covered_one_has_no_logits():
    calls = iter(range(1000))

    class Late(Parts):
        def predict(self, films):
            found = logits(films)
            found[2 if next(calls) == 5 else 3 :] = np.nan
            return found

    found, maps, _ = explain(Explainer(name="x", summary="x", from_scores=occlusion), Late(), FILMS, [0])
    np.testing.assert_array_equal(np.isfinite(found).all(axis=1), [True, True, False])
    assert np.isfinite(maps).all()


# --- losses


def test_a_loss_is_a_scalar():
    checked = checked_loss(Loss(name="odd", function=lambda xp, z, y, w: z.sum(axis=1)), origin("loss"))
    with pytest.raises(
        PluginError, match=re.escape("loss 'odd' (distribution acme): function returned float64 [2], expected a scalar")
    ):
        checked.function(np, np.zeros((2, 3)), None, None)
    checked = checked_loss(Loss(name="odd", function=lambda xp, z, y, w: None), origin("loss"))
    with pytest.raises(PluginError, match="function returned None, expected a scalar"):
        checked.function(np, np.zeros((2, 3)), None, None)
    checked = checked_loss(Loss(name="odd", function=lambda xp, z, y, w: xp.missing), origin("loss"))
    with pytest.raises(PluginError, match="function raised AttributeError"):
        checked.function(np, np.zeros((2, 3)), None, None)
    for value in (1, 0.5, np.float32(2), np.array(3.0)):
        good = checked_loss(Loss(name="odd", function=lambda xp, z, y, w, value=value: value), origin("loss"))
        assert good.weighted(np.ones((2, 3))).function(np, None, None, None) == value


def of_logits(change):
    return lambda xp, z, y, w: change(z)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda z: 0.0, "a float, not a tensor"),
        (lambda z: np.float32(1), "float32 [] of NumPy, not a tensor"),
        (lambda z: z.sum().detach(), "a tensor that does not depend on the logits"),
        (lambda z: z.sum().long(), "a scalar of torch.int64"),
        (lambda z: z.sum() * 1j, "a scalar of torch.complex64"),
        (lambda z: z.sum(dim=1), "an array of shape [2]"),
    ],
)
def test_a_loss_of_tensors_is_a_floating_tensor_of_the_logits(function, words):
    torch = pytest.importorskip("torch")
    checked = checked_loss(Loss(name="odd", function=of_logits(function)), origin("loss"))
    with pytest.raises(PluginError, match=re.escape(f"loss 'odd' (distribution acme): function returned {words}")):
        checked.function(torch, torch.ones((2, 3), requires_grad=True), None, None)
    good = checked_loss(Loss(name="odd", function=of_logits(lambda z: z.sum())), origin("loss"))
    assert good.function(torch, torch.ones((2, 3), requires_grad=True), None, None) == 6


@pytest.mark.parametrize("value", [np.complex64(1), 10**400, np.array("x"), object()])
def test_a_loss_in_numpy_is_a_real_number(value):
    checked = checked_loss(Loss(name="odd", function=lambda xp, z, y, w: value), origin("loss"))
    with pytest.raises(PluginError, match="expected a scalar, a real number"):
        checked.function(np, np.zeros((2, 3)), None, None)


def test_a_loss_in_numpy_changes_no_array_of_the_caller():
    def spoils(xp, logits, labels, weights):
        for each in (logits, labels, weights):
            each[...] = 5
        return 1.0

    arrays = [np.zeros((2, 3)), np.zeros((2, 3)), np.ones(3)]
    checked_loss(Loss(name="odd", function=spoils), origin("loss")).function(np, *arrays)
    assert [each.sum() for each in arrays] == [0, 0, 3]


def test_losses_and_explainers_are_handed_out_checked(monkeypatch):
    odd = Loss(name="odd", function=lambda xp, z, y, w: z)
    registry(monkeypatch, losses=[odd], explainers=[Explainer(name="odd", summary="x", from_parts=len)])
    with pytest.raises(PluginError, match=r"loss 'odd' \(distribution acme\)"):
        plugins.get_loss("odd").function(np, np.zeros(2), None, None)
    with pytest.raises(PluginError, match=r"explainer 'odd' \(distribution acme\): from_parts raised TypeError"):
        plugins.get_explainer("odd").from_parts(parts())
    assert plugins.descriptor("loss", "odd") is odd


# --- executors


class Executor:
    name, summary, requires, install = "odd", "x", (), "x"

    def __init__(self, *told):
        self.told = told

    def run(self, work, done, *, processes, address=None):
        for each in self.told:
            done(*each) if isinstance(each, tuple) else each(done)


def in_a_thread(done):
    thread = threading.Thread(target=lambda: caught(done))
    thread.start()
    thread.join()


def caught(done):
    with contextlib.suppress(CxrscoreError):
        done(1, "x")


def hushed(done):
    with contextlib.suppress(ZeroDivisionError):
        done(1, "x")


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ([(1, "a")], "run returned although 1 of 2 items are not done (2), expected all items done"),
        ([(1, "a"), (1, "a")], "an item that is already done, 1, to done()"),
        ([(7, "a")], "an unknown item, 7, to done()"),
        ([([1], "a")], "a list as an item to done(), expected an integer"),
        ([(np.int64(7), "a")], "an unknown item, 7, to done()"),
        ([(np.float64(1), "a")], "float64 [] as an item to done(), expected an integer"),
        ([(1,)], "1 values to done(), expected an item and its text"),
        ([(1, None)], "None to done(), expected what the worker answered, a text"),
        ([in_a_thread], "in another thread"),
        ([lambda done: raises(OSError("no cluster"))], "run raised OSError: no cluster"),
    ],
)
def test_an_executor_tells_of_each_item_once(told, words):
    executor = checked_executor(Executor(*told), origin("executor"))
    with pytest.raises(PluginError, match=re.escape(words)) as caught:
        executor.run(TaskBatch(items=(1, 2), opener="x:y"), lambda item, text: None, processes=2)
    assert str(caught.value).startswith("executor 'odd' (distribution acme): run ")


def test_an_error_of_done_is_no_fault_of_the_executor():
    work = TaskBatch(items=(1,), opener="x:y")
    for executor in (Executor((1, "x")), Executor(hushed)):
        with pytest.raises(ZeroDivisionError):
            checked_executor(executor, origin("executor")).run(work, lambda item, text: 1 / 0, processes=1)


def test_an_executor_that_does_as_it_should_passes():
    told = []
    executor = checked_executor(Executor((np.int64(2), "b"), (1, "")), origin("executor"))
    executor.run(TaskBatch(items=(1, 2), opener="x:y"), lambda *each: told.append(each), processes=2)
    assert told == [(2, "b"), (1, "")]
    refuses = checked_executor(Executor(lambda done: raises(InputError("no address"))), origin("executor"))
    with pytest.raises(InputError, match="no address"):
        refuses.run(TaskBatch(items=(), opener="x:y"), print, processes=1)
