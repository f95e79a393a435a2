"""Cases of an explainer."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from cxrscore.contract import Array, CamParts, Explainer, Floats, Predict
from cxrscore.errors import InputError
from cxrscore.testing.cases import Cases, expect, expect_within

FromParts = Callable[[CamParts], Floats]
FromScores = Callable[[Predict, Floats, Sequence[int]], Floats]

ROUNDS = 40
"""Calls one after the other, in which an explainer must stay what it is."""
SIDE = 60
"""Pixels of the films shown to explainers that work from scores."""


def _parts(films: int = 3, *, same_films: bool = False, same_places: bool = True) -> CamParts:
    """Of two findings, on a map of 4 x 5 places and 6 channels, none negative."""
    rng = np.random.default_rng(0)
    shape = (1 if same_films else films, 2, *((1, 1) if same_places else (4, 5)), 6)
    return CamParts(
        logits=rng.normal(size=(films, 3)).astype(np.float32),
        activations=rng.random((films, 4, 5, 6), np.float32),
        gradients=rng.normal(size=shape).astype(np.float32),
        cam_layer="relu",
    )


def _spread(parts: CamParts, *, places: bool) -> CamParts:
    """The same gradients written out for every film and, if asked for, every place."""
    n, h, w, k = parts.activations.shape
    place = (h, w) if places else parts.gradients.shape[2:4]
    return replace(parts, gradients=np.broadcast_to(parts.gradients, (n, 2, *place, k)).copy())


def _some_films(count: int = 3) -> Floats:
    return np.random.default_rng(0).random((count, SIDE, SIDE), np.float32)


def _toy(films: Floats) -> Floats:
    """Logits of three findings, linear in the film: brightness of upper left, of lower right, of all turned dark."""
    half = SIDE // 2
    parts = (films[:, :half, :half], films[:, half:, half:], -films)
    return np.stack([part.mean(axis=(1, 2)) for part in parts], axis=1).astype(np.float32)


class ExplainerCases(Cases):
    """Cases of an explainer, E01 to E10. Fixture: ``explainer``, an object that cxrscore_explainers returns."""

    def test_e01_the_descriptor_is_well_formed(self, explainer: Explainer) -> None:
        """It is an ``Explainer`` whose ``name`` is one word, with a summary and one of from_parts and from_scores."""
        expect(isinstance(explainer, Explainer), f"it is a {type(explainer).__name__}, expected an Explainer")
        name = explainer.name
        expect(isinstance(name, str) and len(name.split()) == 1, f"name is {name!r}, expected one word")
        expect(isinstance(explainer.summary, str) and explainer.summary, "summary is empty, expected a few words")
        expect(callable(explainer.from_parts or explainer.from_scores), "it holds no function")

    def test_e02_maps_have_shape_dtype_and_range(self, explainer: Explainer) -> None:
        """It returns finite float32 [N,F,h,w]; from parts, h and w are those of the activations."""
        for words, found in _maps(explainer):
            expect(found.dtype == np.float32, f"{words}: maps are {found.dtype}, expected float32")
            fits = found.ndim == 4 and found.shape[:2] == (3, 2) and found.size
            place = "4, 5" if explainer.from_parts else "h, w"
            expect(fits, f"{words}: maps have shape {list(found.shape)}, expected [3, 2, {place}]")
            if explainer.from_parts:
                expect(
                    found.shape[2:] == (4, 5), f"{words}: maps have shape {list(found.shape)}, expected [3, 2, 4, 5]"
                )
            expect(np.isfinite(found).all(), f"{words}: maps are not finite")

    def test_e03_inputs_are_not_modified(self, explainer: Explainer) -> None:
        """It accepts read-only arrays and does not write to them."""
        parts, films = _parts(), _some_films()
        arrays = (parts.logits, parts.activations, parts.gradients, films)
        original = [values.copy() for values in arrays]
        for writeable in (False, True):
            for values in arrays:
                values.flags.writeable = writeable
            _explained(explainer, parts, films, _toy)
        changed = [not np.array_equal(values, wanted) for values, wanted in zip(arrays, original, strict=True)]
        expect(not any(changed), "an array that it was given was changed")

    def test_e04_no_influence_gives_an_empty_map(self, explainer: Explainer) -> None:
        """Gradients of 0, or a predict() with the same logits for every film, give maps of 0."""
        parts = _parts()
        still = replace(parts, gradients=np.zeros_like(parts.gradients))
        found = _explained(explainer, still, _some_films(), lambda films: np.ones((len(films), 3), np.float32))
        largest = float(np.abs(found).max())
        expect(largest <= 1e-6, f"the largest value of the map is {largest:g}, expected 0")

    def test_e05_gradients_may_broadcast(self, explainer: Explainer) -> None:
        """From parts: gradients given once for all films, or once for all positions, give the same maps as the same
        gradients in full, rel. 1e-5. An explainer that is defined only for a mean may raise an InputError for gradients
        by position."""
        function = _from_parts(explainer)
        for parts in (_parts(same_films=True), _parts()):
            wanted = function(parts)
            expect_within(function(_spread(parts, places=False)), wanted, 1e-5, "written out over films")
            try:
                found = function(_spread(parts, places=True))
            except InputError:
                continue
            expect_within(found, wanted, 1e-5, "written out over places")

    def test_e06_a_map_depends_on_its_film_and_finding_only(self, explainer: Explainer) -> None:
        """The map of a film and a finding does not depend on the other films or on the order of findings, rel. 1e-5."""
        parts, films = _parts(), _some_films()
        together = _explained(explainer, parts, films, _toy)
        for film in range(3):
            one = slice(film, film + 1)
            alone = replace(
                parts, logits=parts.logits[one], activations=parts.activations[one], gradients=parts.gradients[one]
            )
            expect_within(_explained(explainer, alone, films[one], _toy), together[one], 1e-5, f"film {film} alone")
        turned = replace(parts, gradients=parts.gradients[:, ::-1].copy())
        found = _explained(explainer, turned, films, _toy, findings=(1, 0))
        expect_within(found[:, ::-1], together, 1e-5, "findings in another order")

    def test_e07_predict_gets_the_given_number_of_films(self, explainer: Explainer) -> None:
        """From scores: predict() is called with float32 films of the size and number that the explainer got."""
        function = _from_scores(explainer)
        seen: set[tuple[str, tuple[int, ...]]] = set()

        def predict(films: Floats) -> Floats:
            seen.add((str(films.dtype), films.shape))
            return _toy(films)

        function(predict, _some_films(), [0, 1])
        wanted = {("float32", (3, SIDE, SIDE))}
        expect(seen == wanted, f"predict() was called with {sorted(seen)}, expected {sorted(wanted)}")

    def test_e08_maps_are_positive_where_the_film_supports_the_finding(self, explainer: Explainer) -> None:
        """If one position raises the logit and the others do nothing, the map is positive and largest there."""
        activations = np.zeros((1, 4, 6, 2), np.float32)
        activations[0, 1, 2, 0] = 3.0
        gradients = np.array([0.5, 0.0], np.float32).reshape(1, 1, 1, 1, 2)
        parts = CamParts(
            logits=np.ones((1, 1), np.float32), activations=activations, gradients=gradients, cam_layer="relu"
        )
        film = np.full((1, SIDE, SIDE), 0.2, np.float32)
        film[:, : SIDE // 2, : SIDE // 2] = 0.9
        found = _explained(explainer, parts, film, _toy, findings=(0,))[0, 0]
        row, column = np.unravel_index(found.argmax(), found.shape)
        inside = row < found.shape[0] / 2 and column < found.shape[1] / 2
        met = f"the largest value is {found.max():g} at {row}, {column} of {list(found.shape)}"
        expect(inside and found.max() > 0, f"{met}, expected a positive one in the upper left quarter")

    def test_e09_maps_are_always_finite(self, explainer: Explainer) -> None:
        """From parts: maps are finite for activations that are all 0, negative, or up to 1e4 with gradients up to 1e2.
        From scores: for films all black or all white, and logits up to 1e4."""
        parts, films = _parts(), _some_films()
        cases = {
            "activations of 0": (replace(parts, activations=np.zeros_like(parts.activations)), np.zeros_like(films), 1),
            "activations below 0": (replace(parts, activations=-parts.activations), np.ones_like(films), 1),
            "large activations": (_large(parts), films, 1e4),
        }
        for words, (given, shown, factor) in cases.items():
            found = _explained(explainer, given, shown, lambda films, f=factor: _toy(films) * np.float32(f))  # type: ignore[misc]
            odd = int((~np.isfinite(found)).sum())
            expect(not odd, f"{words}: {odd} of {found.size} values of the maps are not finite")

    def test_e10_forty_calls_give_the_same_maps(self, explainer: Explainer) -> None:
        """Called 40 times with the same input, it returns the same maps."""
        parts, films = _parts(), _some_films()
        first = _explained(explainer, parts, films, _toy).copy()
        for number in range(1, ROUNDS):
            found = _explained(explainer, parts, films, _toy)
            expect(np.array_equal(found, first), f"the maps of call {number + 1} are not those of the first")


def _large(parts: CamParts) -> CamParts:
    return replace(parts, activations=parts.activations * np.float32(1e4), gradients=parts.gradients * np.float32(1e2))


def _explained(
    explainer: Explainer, parts: CamParts, films: Floats, predict: Predict, findings: tuple[int, ...] = (0, 1)
) -> Array:
    if explainer.from_parts is not None:
        return explainer.from_parts(parts)
    return _from_scores(explainer)(predict, films, findings)


def _maps(explainer: Explainer) -> list[tuple[str, Floats]]:
    """Of three films and two findings, by what was given; gradients by place only where the explainer takes them."""
    if explainer.from_parts is None:
        return [("from scores", _from_scores(explainer)(_toy, _some_films(), (0, 1)))]
    found = [("gradients of a mean", explainer.from_parts(_parts()))]
    try:
        found.append(("gradients by place", explainer.from_parts(_parts(same_places=False))))
    except InputError:
        return found
    return found


def _from_parts(explainer: Explainer) -> FromParts:
    if explainer.from_parts is None:
        raise unittest.SkipTest(f"{explainer.name} works from scores, not from parts")
    return explainer.from_parts


def _from_scores(explainer: Explainer) -> FromScores:
    if explainer.from_scores is None:
        raise unittest.SkipTest(f"{explainer.name} works from parts, not from scores")
    return explainer.from_scores
