"""Cases of a backend that computes in 8-bit integers (SupportsInt8), and of its models, which measure for it."""

from __future__ import annotations

import unittest
from collections.abc import Mapping
from functools import partial
from typing import Protocol, cast

import numpy as np

from cxrscore.contract import Array, Backend, Model, Precision, SupportsActivationRanges, SupportsInt8
from cxrscore.errors import BackendUnavailableError, InputError
from cxrscore.networks.graph import HEAD
from cxrscore.networks.tensors import NORMALISATIONS
from cxrscore.testing.cases import Cases, expect, expect_refusal, expect_within, needs
from cxrscore.testing.fixtures import build, device_of, known_architectures, smallest_spec, some_films, tensors_of


class Int8Cases(Cases):
    """ranges() and build_int8()."""

    @needs(SupportsActivationRanges)
    def test_b54_ranges_are_per_film(self, backend: Backend) -> None:
        """ranges() returns float32 [N,2] for every convolution and dense layer but the head, in the order of the
        network. The first row of the first layer is the lowest and highest value of the normalised film, rel. 1e-5. The
        rows of a film do not depend on the other films, within 1e-5; no films give no rows."""
        model, films = _measuring(backend)
        found = model.ranges(films)
        tensors = model.tensors()
        wanted = {name.removesuffix("/kernel") for name in tensors if name.endswith("/kernel")} - {HEAD}
        expect(set(found) == wanted, f"ranges of {sorted(found)}, expected of {sorted(wanted)}")
        for layer, ends in found.items():
            fits = ends.dtype == np.float32 and ends.shape == (len(films), 2) and (ends[:, 0] <= ends[:, 1]).all()
            expect(fits, f"{layer}: {ends.dtype} {list(ends.shape)}, expected float32 [{len(films)}, 2], low to high")
            alone = np.concatenate([model.ranges(film[None])[layer] for film in films])
            expect_within(alone, ends, 1e-5, f"{layer}, each film alone")
            expect(model.ranges(films[:0])[layer].shape == (0, 2), f"{layer}: rows for no film")
        mean, sd = (np.array(values) for values in NORMALISATIONS[model.spec.normalize])
        entering = (films[..., None] - mean) / sd
        ends = np.stack([entering.min(axis=(1, 2, 3)), entering.max(axis=(1, 2, 3))], axis=1)
        expect_within(next(iter(found.values())), ends, 1e-5, "what enters the first layer")

    @needs(SupportsActivationRanges)
    def test_b55_int8_is_close_but_not_equal(self, backend: Backend) -> None:
        """build_int8() with ranges of all layers but the first, measured on the same films, gives float32 logits that
        differ from those in fp32, by rel. 0.1 at most, and that are the same for a film alone. A range ten times
        narrower for one layer changes them, as values beyond are clipped. All tensors are returned bit for bit."""
        exact, films = _measuring(backend)
        ranges = _widest(exact, films)
        model = _int8(backend, exact, ranges)
        found, wanted = model.predict(films), exact.predict(films)
        expect(found.dtype == np.float32, f"logits are {found.dtype}, expected float32")
        difference = expect_within(found, wanted, 0.1, "logits in int8")
        expect(not np.array_equal(found, wanted), "logits in int8 are those in fp32 to the bit: nothing was rounded")
        alone = np.concatenate([model.predict(film[None]) for film in films])
        expect_within(alone, found, 1e-5, "each film alone")
        layer, (low, high) = next(iter(ranges.items()))
        cut = _int8(backend, exact, {**ranges, layer: (low / 10, high / 10)}).predict(films)
        unlike = float(np.abs(cut - wanted).max())
        expect(unlike > 2 * float(np.abs(found - wanted).max()), f"a range a tenth as wide of {layer} changes nothing")
        original = exact.tensors()
        changed = [name for name, value in model.tensors().items() if not np.array_equal(value, original[name])]
        expect(not changed, f"tensors changed: {', '.join(changed[:5])}")
        self.note(f"largest difference {difference:.1g} of the largest logit")

    @needs(SupportsActivationRanges)
    def test_b56_ranges_of_another_network_are_refused(self, backend: Backend) -> None:
        """build_int8() with a range for a layer that is no convolution or dense layer of the network, or for the head,
        raises an InputError that names it."""
        exact, films = _measuring(backend)
        for layer in ("conv99", HEAD):
            ranges = {**_widest(exact, films), layer: (0.0, 1.0)}
            expect_refusal(partial(_int8, backend, exact, ranges), InputError, layer, f"ranges of {layer}")

    @needs(SupportsActivationRanges)
    def test_b83_the_rest_of_int8_has_the_precision_asked_for(self, backend: Backend) -> None:
        """build_int8() with ``precision`` "fp32" and no ranges gives the logits of build(), rel. 1e-5. With ranges and
        "fp32" or "bf16" they differ from those in fp32 by rel. 0.1 at most, and "bf16" changes them. A backend without
        bf16 raises an InputError or a BackendUnavailableError for it, as build() does."""
        exact, films = _measuring(backend)
        ranges, wanted = _widest(exact, films), exact.predict(films)
        expect_within(
            _int8(backend, exact, {}, "fp32").predict(films), wanted, 1e-5, "logits with no layer in int8, in fp32"
        )
        fine = _int8(backend, exact, ranges, "fp32").predict(films)
        difference = expect_within(fine, wanted, 0.1, "logits in int8 and fp32")
        self.note(f"largest difference {difference:.1g} of the largest logit in fp32")
        try:
            build(backend, exact.spec, exact.tensors(), precision="bf16")
        except (InputError, BackendUnavailableError) as refusal:
            rough = partial(_int8, backend, exact, ranges, "bf16")
            expect_refusal(rough, type(refusal), "", "int8 with bf16, which build() refuses")
            return
        rough_logits = _int8(backend, exact, ranges, "bf16").predict(films)
        expect_within(rough_logits, wanted, 0.1, "logits in int8 and bf16")
        expect(not np.array_equal(rough_logits, fine), "logits in int8 and bf16 are those in int8 and fp32 to the bit")


class _MeasuringModel(Model, SupportsActivationRanges, Protocol):
    """Both in one."""


def _measuring(backend: Backend) -> tuple[_MeasuringModel, Array]:
    """A small model with films; skips the case where it has no ability to measure."""
    spec = smallest_spec(backend)
    model = build(backend, spec, tensors_of(backend, spec))
    if not isinstance(model, SupportsActivationRanges):
        raise unittest.SkipTest(f"{type(model).__name__} is not SupportsActivationRanges")
    if not known_architectures(backend):
        raise unittest.SkipTest("the kit has no reference for an architecture of this backend")
    return cast(_MeasuringModel, model), some_films(4, spec.size)


def _widest(model: _MeasuringModel, films: Array) -> dict[str, tuple[float, float]]:
    """Of all layers but the first."""
    _, *layers = model.ranges(films).items()
    return {layer: (float(ends[:, 0].min()), float(ends[:, 1].max())) for layer, ends in layers}


def _int8(
    backend: Backend, model: Model, ranges: Mapping[str, tuple[float, float]], precision: Precision | None = None
) -> Model:
    if not isinstance(backend, SupportsInt8):
        raise unittest.SkipTest(f"{type(backend).__name__} is not SupportsInt8")
    return backend.build_int8(model.spec, model.tensors(), ranges, device=device_of(backend), precision=precision)
