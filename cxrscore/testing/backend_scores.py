"""Cases of a backend: the scores of films."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import unittest
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np

from cxrscore.contract import (
    AcceptsIntegerImages,
    AnyBatchSize,
    Array,
    Backend,
    FeatureExtractor,
    Floats,
    Model,
    Normalize,
    SupportsHeatmaps,
)
from cxrscore.errors import BackendUnavailableError, InputError
from cxrscore.networks import reference as numpy_reference
from cxrscore.testing.cases import Cases, expect, expect_refusal, expect_within, needs
from cxrscore.testing.fixtures import (
    build,
    known_architectures,
    random_tensors,
    require_any_batch_size,
    require_integer_images,
    require_reference,
    smallest_spec,
    some_films,
    spec_of,
    tensors_of,
)

_ROUNDS = 40
"""Batches one after the other, in which a model must stay what it is."""
_STATM = Path("/proc/self/statm")
MIB = 2**20


def _small_model(backend: Backend) -> Model:
    """The small model that most cases look at."""
    spec = smallest_spec(backend)
    return build(backend, spec, tensors_of(backend, spec))


def _results(model: Model, films: Floats) -> Iterator[tuple[str, Floats]]:
    """Every array that the model gives for films, as far as it has the abilities."""
    yield "predict", model.predict(films)
    if isinstance(model, FeatureExtractor):
        yield "embed", model.embed(films)
    yield from _parts(model, films)


def _parts(model: Model, films: Array) -> Iterator[tuple[str, Floats]]:
    if isinstance(model, SupportsHeatmaps):
        parts = model.cam_parts(films, [0])
        yield "cam_parts: logits", parts.logits
        yield "cam_parts: activations", parts.activations


class ScoreCases(Cases):
    """predict(), embed() and cam_parts()."""

    def test_b12_scores_have_shape_dtype_and_range(self, backend: Backend) -> None:
        """predict() returns finite float32 [N,C], for noise and for films that are all black or all white."""
        model = _small_model(backend)
        side = model.spec.size
        films = np.concatenate([some_films(1, side), np.zeros((1, side, side)), np.ones((1, side, side))])
        found = model.predict(films.astype(np.float32))
        expect(isinstance(found, np.ndarray), f"predict() returned a {type(found).__name__}, expected a NumPy array")
        expect(found.shape == (3, 3), f"logits have shape {list(found.shape)}, expected [3, 3]")
        expect(found.dtype == np.float32, f"logits are {found.dtype}, expected float32")
        expect(np.isfinite(found).all(), f"logits are not finite: {found.tolist()}")

    def test_b13_zero_films_give_zero_rows(self, backend: Backend) -> None:
        """For float32 [0,S,S], predict(), embed() and cam_parts() return arrays without rows."""
        model = _small_model(backend)
        some = {what: found.shape for what, found in _results(model, some_films(1, model.spec.size))}
        for what, found in _results(model, some_films(0, model.spec.size)):
            wanted = (0, *some[what][1:])
            expect(found.shape == wanted, f"{what} of no film has shape {list(found.shape)}, expected {list(wanted)}")

    def test_b14_a_film_does_not_depend_on_the_others(self, backend: Backend) -> None:
        """The logits of a film are the same, rel. 1e-5, alone, in a batch, in another order, beside other films, and at
        a second call."""
        model = _small_model(backend)
        films = some_films(5, model.spec.size)
        together = model.predict(films)
        others = np.concatenate([films[:2], np.ones_like(films[2:])])
        found = {
            "each film alone": np.concatenate([model.predict(film[None]) for film in films]),
            "in reverse order": model.predict(films[::-1].copy())[::-1],
            "beside white films": np.concatenate([model.predict(others)[:2], together[2:]]),
            "once more": model.predict(films),
        }
        differences = [expect_within(logits, together, 1e-5, words) for words, logits in found.items()]
        self.note(f"largest difference {max(differences):.1g} of the largest logit")

    def test_b15_films_are_not_modified(self, backend: Backend) -> None:
        """predict(), embed() and cam_parts() accept read-only films and do not change them."""
        model = _small_model(backend)
        films = some_films(2, model.spec.size)
        original = films.copy()
        films.flags.writeable = False
        list(_results(model, films))
        films.flags.writeable = True
        list(_results(model, films))
        expect(np.array_equal(films, original), "the films were changed")

    def test_b16_results_are_not_shared(self, backend: Backend) -> None:
        """Later calls do not change what predict(), embed() and cam_parts() returned, and writing to it changes no
        later result."""
        model = _small_model(backend)
        films = some_films(2, model.spec.size)
        first = dict(_results(model, films))
        original = {what: found.copy() for what, found in first.items()}
        list(_results(model, some_films(2, model.spec.size, seed=1)))
        for what, found in first.items():
            expect(np.array_equal(found, original[what]), f"{what}: a later call changed what an earlier one returned")
            found[...] = 7
        for what, found in _results(model, films):
            expect_within(found, original[what], 1e-5, f"{what}, after writing to an earlier result")

    def test_b17_films_of_another_shape_or_dtype_are_refused(self, backend: Backend) -> None:
        """predict() of anything but float32 [N,S,S], or uint8 and uint16 if the model is AcceptsIntegerImages, raises
        an InputError that says float32."""
        model = _small_model(backend)
        side, taken = model.spec.size, isinstance(model, AcceptsIntegerImages)
        shapes = ((2, side + 4, side + 4), (side, side), (2, side, side, 1))
        wrong = [np.zeros(shape, kind) for shape in shapes for kind in (np.float32, np.uint8)]
        wrong += [np.zeros((2, side, side), kind) for kind in (np.float64, np.int32, *(() if taken else (np.uint8,)))]
        for films in wrong:
            what = f"films {films.dtype} {list(films.shape)}"
            expect_refusal(partial(model.predict, films), InputError, "float32", what)

    def test_b18_softmax_is_left_to_the_core(self, backend: Backend) -> None:
        """A spec with ``activation`` "softmax" gives the same logits as one with "sigmoid"."""
        model = _small_model(backend)
        twin = build(backend, replace(model.spec, activation="softmax"), model.tensors())
        films = some_films(2, model.spec.size)
        expect_within(twin.predict(films), model.predict(films), 1e-6, "logits of the softmax spec")

    def test_b19_every_architecture_equals_the_reference(self, backend: Backend) -> None:
        """For densenet121, resnet50 and tinycnn, if listed, the logits with either head equal those of
        cxrscore.networks.reference (float64 NumPy), rel. 1e-5."""
        require_reference(smallest_spec(backend))
        measured = []
        for name in known_architectures(backend):
            for spec in (spec_of(name), spec_of(name, head="flatten")):
                films, tensors = some_films(3, spec.size), random_tensors(spec)
                found = build(backend, spec, tensors).predict(films)
                words = f"{name} {spec.head}"
                difference = expect_within(found, numpy_reference.logits(spec, tensors, films), 1e-5, words)
                measured.append(f"{words} {difference:.1g}")
        self.note(f"largest difference by network: {', '.join(measured)}")

    def test_b20_every_normalisation_equals_the_reference(self, backend: Backend) -> None:
        """For each ``normalize`` ("imagenet-rgb", "imagenet-caffe", "unit", "signed-1024", "rad-dino"), the logits of
        the smallest network equal the reference, rel. 1e-5: the model normalises films itself."""
        measured = []
        for normalize in get_args(Normalize):
            spec = require_reference(smallest_spec(backend, normalize=normalize))
            films, tensors = some_films(3, spec.size), random_tensors(spec)
            found = build(backend, spec, tensors).predict(films)
            measured.append(expect_within(found, numpy_reference.logits(spec, tensors, films), 1e-5, normalize))
        self.note(f"largest difference {max(measured):.1g} of the largest logit")

    def test_b21_bf16_is_close_and_results_are_float32(self, backend: Backend) -> None:
        """With ``precision`` "bf16", results and tensors are still float32, and logits differ by rel. 0.1 at most. A
        backend without bf16 raises an InputError or a BackendUnavailableError."""
        exact = _small_model(backend)
        try:
            rough = build(backend, exact.spec, exact.tensors(), precision="bf16")
        except (InputError, BackendUnavailableError) as refusal:
            raise unittest.SkipTest(f"no bf16: {refusal}") from refusal
        films = some_films(4, exact.spec.size)
        for what, found in [*_results(rough, films), *rough.tensors().items()]:
            expect(found.dtype == np.float32, f"{what} is {found.dtype}, expected float32")
        difference = expect_within(rough.predict(films), exact.predict(films), 0.1, "logits in bf16")
        self.note(f"largest difference {difference:.1g} of the largest logit")

    def test_b22_memory_is_flat_over_200_films(self, backend: Backend) -> None:
        """After a warm-up, scoring 200 films in batches of 8, with heat maps, adds at most a quarter of the memory that
        these films take."""
        if not _STATM.exists():
            raise unittest.SkipTest(f"{_STATM} is not there, so the size of the process cannot be read")
        spec = replace(smallest_spec(backend), size=160)
        model = build(backend, spec, None)
        _score(model, 5)
        before = _resident()
        _score(model, 25)
        grown, bound = _resident() - before, 200 * spec.size**2 * 4 / 4
        self.note(f"{grown / MIB:+.1f} MiB, bound {bound / MIB:.0f} MiB")
        expect(grown <= bound, f"200 films left the process {grown / MIB:.0f} MiB larger, expected {bound / MIB:.0f}")

    def test_b58_forty_batches_give_constant_results(self, backend: Backend) -> None:
        """Over 40 batches, predict(), embed() and cam_parts() return finite values, and the same for the same films,
        rel. 1e-5. Only training changes a model."""
        model = _small_model(backend)
        films = [some_films(2, model.spec.size, seed) for seed in range(2)]
        wanted = [{what: found.copy() for what, found in _results(model, one)} for one in films]
        for number in range(len(films), _ROUNDS):
            place = number % len(films)
            for what, found in _results(model, films[place]):
                words = f"{what} of batch {number + 1}"
                expect(np.isfinite(found).all(), f"{words}: values are not finite")
                expect_within(found, wanted[place][what], 1e-5, words)

    @needs(AcceptsIntegerImages)
    def test_b52_integer_films_equal_float_films(self, backend: Backend) -> None:
        """For uint8 and uint16 films, predict() and cam_parts() return what they return for the films divided by 255 or
        65535 in float32, rel. 1e-6, in one thread and in ``lanes`` (1 or more) threads at once."""
        model = _small_model(backend)
        lanes = require_integer_images(model).lanes
        expect(lanes >= 1, f"lanes is {lanes}, expected 1 or more")
        for most in (255, 65535):
            films = [_integer_films(2, model.spec.size, seed, most) for seed in range(lanes)]
            wanted = [dict(_scored(model, np.divide(one, np.float32(most), dtype=np.float32))) for one in films]
            with ThreadPoolExecutor(lanes) as pool:
                together = [*pool.map(lambda one: dict(_scored(model, one)), films)]
            for found in (together, [dict(_scored(model, one)) for one in films]):
                for mine, exact in zip(found, wanted, strict=True):
                    for what, values in exact.items():
                        expect_within(mine[what], values, 1e-6, f"{what} of levels up to {most}")

    @needs(AnyBatchSize)
    def test_b82_results_do_not_depend_on_the_batch_size(self, backend: Backend) -> None:
        """If ``any_batch_size`` is true, predict(), embed() and cam_parts() return the same for a film, bit for bit, in
        batches of 1 to 17 films: a run that is divided otherwise then has the same scores."""
        model = _small_model(backend)
        if not require_any_batch_size(model).any_batch_size:
            raise unittest.SkipTest(f"{type(model).__name__} says that its any_batch_size is false")
        films = some_films(17, model.spec.size)
        together = dict(_results(model, films))
        for size in (1, 2, 3, 8, 9, 16):
            starts = range(0, len(films), size)
            parts = [dict(_results(model, films[start : start + size])) for start in starts]
            for what, wanted in together.items():
                found = np.concatenate([part[what] for part in parts])
                expect(
                    np.array_equal(found, wanted), f"{what} in batches of {size} is not that of 17 films, to the bit"
                )


def _integer_films(count: int, side: int, seed: int, most: int) -> Array:
    return (some_films(count, side, seed) * np.float32(most)).astype(np.uint8 if most == 255 else np.uint16)


def _scored(model: Model, films: Array) -> Iterator[tuple[str, Floats]]:
    yield "predict", model.predict(films)
    yield from _parts(model, films)


def _score(model: Model, batches: int) -> None:
    for seed in range(batches):
        list(_results(model, some_films(8, model.spec.size, seed)))


def _resident() -> int:
    """Bytes of this process in memory, after what it has freed was given back to the system."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):  # a C library without it keeps a little more
        ctypes.CDLL(None).malloc_trim(0)
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
