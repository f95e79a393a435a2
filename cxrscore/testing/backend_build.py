"""Cases of a backend: its descriptor, what it builds, and the tensors that go in and come out."""

from __future__ import annotations

import math
import sys
import unittest
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from cxrscore.contract import Array, Backend, Trainable
from cxrscore.errors import BackendUnavailableError, InputError
from cxrscore.networks.operations import OPERATIONS
from cxrscore.subprocesses import run_python
from cxrscore.testing.cases import Cases, expect, expect_refusal
from cxrscore.testing.fixtures import build, known_architectures, smallest_spec, spec_of, tensors_of

FRAMEWORKS = ("torch", "tensorflow", "keras", "jax", "openvino", "onnxruntime")
"""What a hook module must not import, beside what its backend requires."""

_BLOCKED_IMPORT = """
import importlib, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[3:]:
            raise ImportError(f"the hook module imports {name}: import it inside build()")

sys.meta_path.insert(0, Blocker())
sys.path.append(sys.argv[2])
importlib.import_module(sys.argv[1])
"""


class BuildCases(Cases):
    """The descriptor, build() and tensors()."""

    def test_b01_the_descriptor_is_well_formed(self, backend: Backend) -> None:
        """``name`` is one word; ``requires`` a tuple of top-level modules; ``install`` a text; ``architectures`` and
        ``operations`` tuples of distinct names, not both empty, the operations known; ``trains`` a bool; ``speed`` a
        positive number for each kind of device."""
        for field in ("name", "install"):
            value = getattr(backend, field)
            expect(isinstance(value, str) and value, f"{field} is {value!r}, expected a text")
        expect(len(backend.name.split()) == 1, f"name is {backend.name!r}, expected one word")
        for field in ("requires", "architectures", "operations"):
            names = getattr(backend, field, ())
            fits = isinstance(names, tuple) and all(isinstance(name, str) and name for name in names)
            expect(fits and len(set(names)) == len(names), f"{field} is {names!r}, expected a tuple of distinct names")
        operations = getattr(backend, "operations", ())
        expect(backend.architectures or operations, "architectures and operations are empty, expected at least one")
        odd = [name for name in operations if name not in OPERATIONS]
        expect(not odd, f"operations names {', '.join(odd)}, expected some of {', '.join(OPERATIONS)}")
        dotted = [name for name in backend.requires if "." in name]
        expect(not dotted, f"requires names {', '.join(dotted)}, expected top-level modules")
        expect(isinstance(backend.trains, bool), f"trains is {backend.trains!r}, expected True or False")
        _expect_speed(backend.speed)

    def test_b02_the_hook_module_imports_no_framework(self, backend: Backend) -> None:
        """The module of the descriptor can be imported where torch, tensorflow, keras, jax, openvino, onnxruntime and
        the modules in ``requires`` cannot. Only build() imports them."""
        module = type(backend).__module__
        if module == "__main__":
            raise unittest.SkipTest("the descriptor stands in the script itself, wanted in a module")
        blocked = {*FRAMEWORKS, *backend.requires} - {"numpy", "pluggy", "cxrscore"}
        done = run_python(["-c", _BLOCKED_IMPORT, module, _folder_of(module), *sorted(blocked)])
        expect(done.returncode == 0, f"{module} cannot be imported: {(done.stderr.strip() or '?').splitlines()[-1]}")

    def test_b03_a_model_says_what_it_is(self, backend: Backend) -> None:
        """A model has the ``spec`` that it was built from, and texts in ``framework`` and ``device``. It is Trainable
        if and only if the descriptor ``trains``."""
        spec = smallest_spec(backend)
        model = build(backend, spec, None)
        expect(model.spec == spec, f"model.spec is {model.spec}, expected {spec}")
        for field in ("framework", "device"):
            value = getattr(model, field)
            expect(isinstance(value, str) and value, f"{field} is {value!r}, expected a text")
        learns = isinstance(model, Trainable)
        expect(
            learns == backend.trains,
            f"trains is {backend.trains}, and the model is{'' if learns else ' not'} Trainable",
        )

    def test_b04_the_same_seed_gives_the_same_weights(self, backend: Backend) -> None:
        """Without tensors, two models of one seed have identical weights, and models of two seeds different ones."""
        spec = smallest_spec(backend)
        first, again, other = (build(backend, spec, None, seed=seed).tensors() for seed in (5, 5, 6))
        expect(not _different(first, again), f"seed 5 twice gave other weights: {', '.join(_different(first, again))}")
        expect(_different(first, other), "seeds 5 and 6 gave the same weights")

    def test_b05_tensors_are_returned_bit_for_bit(self, backend: Backend) -> None:
        """tensors() returns the float32 values given to build(), bit for bit, under the same names, in every known
        architecture and with either head. The given arrays are not changed."""
        names = known_architectures(backend) or [smallest_spec(backend).architecture]
        for spec in [spec_of(names[0], head="flatten"), *(spec_of(name) for name in names)]:
            tensors = tensors_of(backend, spec)
            given = {name: value.copy() for name, value in tensors.items()}
            found = build(backend, spec, given).tensors()
            words = f"{spec.architecture}, {spec.head}"
            expect(set(found) == set(tensors), f"{words}: other names: {sorted(set(found) ^ set(tensors))[:5]}")
            kinds = {str(value.dtype) for value in found.values()}
            expect(kinds == {"float32"}, f"{words}: tensors are {', '.join(sorted(kinds))}, expected float32")
            expect(not _different(found, tensors), f"{words}: {', '.join(_different(found, tensors)[:5])} changed")
            expect(not _different(given, tensors), f"{words}: build() wrote to {', '.join(_different(given, tensors))}")

    def test_b06_tensors_are_copies(self, backend: Backend) -> None:
        """Writing to what tensors() returned, or to what build() was given, does not change the model."""
        spec = smallest_spec(backend)
        original = tensors_of(backend, spec)
        given = {name: value.copy() for name, value in original.items()}
        model = build(backend, spec, given)
        for arrays, words in ((given, "the arrays given to build()"), (model.tensors(), "what tensors() returned")):
            for value in arrays.values():
                value[...] = 7
            changed = _different(model.tensors(), original)
            expect(not changed, f"writing to {words} changed the model's {', '.join(changed[:5])}")

    def test_b07_a_missing_tensor_is_refused(self, backend: Backend) -> None:
        """build() without one of the tensors raises an InputError that names it."""
        spec = smallest_spec(backend)
        tensors = tensors_of(backend, spec)
        name = sorted(tensors)[len(tensors) // 2]
        del tensors[name]
        expect_refusal(partial(build, backend, spec, tensors), InputError, name, f"tensors without {name}")

    def test_b08_an_extra_tensor_is_refused(self, backend: Backend) -> None:
        """build() with an extra tensor raises an InputError that names it."""
        spec = smallest_spec(backend)
        tensors = tensors_of(backend, spec) | {"no_such_layer/bias": np.zeros(3, np.float32)}
        word = "no_such_layer/bias"
        expect_refusal(partial(build, backend, spec, tensors), InputError, word, f"tensors with {word}")

    def test_b09_a_misshapen_tensor_is_refused(self, backend: Backend) -> None:
        """build() with a tensor of another shape raises an InputError that names it, even if the number of values is
        right."""
        spec = smallest_spec(backend)
        tensors = tensors_of(backend, spec)
        name = max(tensors, key=lambda name: tensors[name].ndim)
        for value in (tensors[name].reshape(-1, 1), tensors[name][..., :-1], tensors[name][None]):
            wrong = tensors | {name: value}
            what = f"{name} of shape {list(value.shape)} instead of {list(tensors[name].shape)}"
            expect_refusal(partial(build, backend, spec, wrong), InputError, name, what)

    def test_b10_a_device_that_is_not_there_is_refused(self, backend: Backend) -> None:
        """build() for a device that is missing or invalid raises a BackendUnavailableError that names it."""
        spec = smallest_spec(backend)
        for device in ("cuda:99", "abacus"):
            call = partial(backend.build, spec, None, device=device)
            expect_refusal(call, BackendUnavailableError, device, f"device {device!r}")

    def test_b11_an_unknown_architecture_is_refused(self, backend: Backend) -> None:
        """build() for an architecture that is not listed raises an InputError that names it."""
        spec = replace(smallest_spec(backend), architecture="no-such-network", network=None)
        what = "architecture 'no-such-network'"
        expect_refusal(partial(build, backend, spec, None), InputError, "no-such-network", what)


def _expect_speed(speed: object) -> None:
    expect(isinstance(speed, Mapping) and speed, f"speed is {speed!r}, expected films a second by kind of device")
    for kind, value in dict(speed).items():  # type: ignore[call-overload]
        fits = isinstance(kind, str) and isinstance(value, int | float) and math.isfinite(value) and value > 0
        expect(fits, f"speed has {kind!r}: {value!r}, expected a kind of device and a positive number")


def _different(found: Mapping[str, Array], wanted: Mapping[str, Array]) -> list[str]:
    """Names of tensors that are not equal to the bit."""
    return sorted(n for n in found.keys() | wanted.keys() if not np.array_equal(found.get(n, ()), wanted.get(n, ())))


def _folder_of(module: str) -> str:
    """The folder from which the top-level package of an imported module comes."""
    top = sys.modules[module.partition(".")[0]]
    place = Path(top.__file__ or "").resolve()
    return str(place.parents[1] if place.stem == "__init__" else place.parent)
