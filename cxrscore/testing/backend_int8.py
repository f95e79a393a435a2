"""Cases of a backend that computes in 8-bit integers (SupportsInt8), and of its models, which measure for it."""

from __future__ import annotations

import unittest
from functools import partial
from typing import Protocol, cast

import numpy as np

from cxrscore.contract import Array, Backend, Model, SupportsActivationRanges, SupportsInt8
from cxrscore.errors import InputError
from cxrscore.models.architectures import NORMALISATIONS
from cxrscore.testing.cases import Cases, expect, expect_refusal, expect_within, needs
from cxrscore.testing.fixtures import build, device_of, known_architectures, smallest_spec, some_films, tensors_of


class Int8Cases(Cases):
    """ranges() and build_int8()."""

    @needs(SupportsActivationRanges)
    def test_b54_ranges_are_those_of_each_film(self, backend: Backend) -> None:
        """ranges() gives float32 [N,2] by layer: every convolution, in the order of the network. The first row of the
        first layer is the lowest and highest value of the normalised film, within 1e-5 of the largest, and the rows
        of a film are the same, within 1e-5, whatever films are beside it; of no film there is no row."""
        model, films = _measuring(backend)
        found = model.ranges(films)
        tensors = model.tensors()
        wanted = {name.removesuffix("/kernel") for name, value in tensors.items() if value.ndim == 4}
        expect(set(found) == wanted, f"ranges of {sorted(found)}, wanted of {sorted(wanted)}")
        for layer, ends in found.items():
            fits = ends.dtype == np.float32 and ends.shape == (len(films), 2) and (ends[:, 0] <= ends[:, 1]).all()
            expect(fits, f"{layer}: {ends.dtype} {list(ends.shape)}, wanted float32 [{len(films)}, 2], low to high")
            alone = np.concatenate([model.ranges(film[None])[layer] for film in films])
            expect_within(alone, ends, 1e-5, f"{layer}, each film alone")
            expect(model.ranges(films[:0])[layer].shape == (0, 2), f"{layer}: rows for no film")
        mean, sd = (np.array(values) for values in NORMALISATIONS[model.spec.normalize])
        entering = (films[..., None] - mean) / sd
        ends = np.stack([entering.min(axis=(1, 2, 3)), entering.max(axis=(1, 2, 3))], axis=1)
        expect_within(next(iter(found.values())), ends, 1e-5, "what enters the first layer")

    @needs(SupportsActivationRanges)
    def test_b55_int8_rounds_and_is_near(self, backend: Backend) -> None:
        """build_int8() by ranges of all layers but the first, of the very films, gives float32 logits that are within
        a tenth of the largest of those in fp32, but not equal to them; a film's are the same alone. With a range a
        tenth as wide for one layer, logits are others: what is beyond is cut off. All tensors come back to the bit."""
        exact, films = _measuring(backend)
        ranges = _widest(exact, films)
        model = _int8(backend, exact, ranges)
        found, wanted = model.predict(films), exact.predict(films)
        expect(found.dtype == np.float32, f"logits are {found.dtype}, wanted float32")
        difference = expect_within(found, wanted, 0.1, "logits in int8")
        expect(not np.array_equal(found, wanted), "logits in int8 are those in fp32 to the bit: nothing was rounded")
        alone = np.concatenate([model.predict(film[None]) for film in films])
        expect_within(alone, found, 1e-5, "each film alone")
        layer, (low, high) = next(iter(ranges.items()))
        cut = _int8(backend, exact, {**ranges, layer: (low / 10, high / 10)}).predict(films)
        unlike = float(np.abs(cut - wanted).max())
        expect(unlike > 2 * float(np.abs(found - wanted).max()), f"a range a tenth as wide of {layer} changes nothing")
        kept = exact.tensors()
        changed = [name for name, value in model.tensors().items() if not np.array_equal(value, kept[name])]
        expect(not changed, f"tensors changed: {', '.join(changed[:5])}")
        self.note(f"largest difference {difference:.1g} of the largest logit")

    @needs(SupportsActivationRanges)
    def test_b56_ranges_of_another_network_are_refused(self, backend: Backend) -> None:
        """build_int8() with a range for a layer that is no convolution of the network raises an InputError that names
        it; so does one for the head."""
        exact, films = _measuring(backend)
        for layer in ("conv99", "head"):
            ranges = {**_widest(exact, films), layer: (0.0, 1.0)}
            expect_refusal(partial(_int8, backend, exact, ranges), InputError, layer, f"ranges of {layer}")


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


def _int8(backend: Backend, model: Model, ranges: dict[str, tuple[float, float]]) -> Model:
    if not isinstance(backend, SupportsInt8):
        raise unittest.SkipTest(f"{type(backend).__name__} is not SupportsInt8")
    return backend.build_int8(model.spec, model.tensors(), ranges, device=device_of(backend))
