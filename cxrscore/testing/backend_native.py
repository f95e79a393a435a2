"""Cases of a backend that says what a device computes natively (SupportsNativePrecisions)."""

from __future__ import annotations

import unittest
from functools import partial
from typing import get_args

from cxrscore.contract import Backend, ScorePrecision, SupportsInt8, SupportsNativePrecisions
from cxrscore.errors import BackendUnavailableError
from cxrscore.testing.cases import Cases, expect, expect_refusal, needs
from cxrscore.testing.fixtures import build, device_of, smallest_spec


class NativePrecisionCases(Cases):
    """native_precisions()."""

    @needs(SupportsNativePrecisions)
    def test_b81_native_precisions_can_be_built(self, backend: Backend) -> None:
        """native_precisions() returns "fp32" and other known precisions, each once; "int8" only with build_int8(), and
        "bf16" only if build() has it. A device that does not exist raises a BackendUnavailableError that names it."""
        if not isinstance(backend, SupportsNativePrecisions):
            raise unittest.SkipTest(f"{type(backend).__name__} is not SupportsNativePrecisions")
        found = tuple(backend.native_precisions(device_of(backend)))
        known = get_args(ScorePrecision)
        fits = set(found) <= set(known) and "fp32" in found and len(set(found)) == len(found)
        expect(fits, f"native precisions are {found!r}, expected fp32 and others of {', '.join(known)}, each once")
        expect("int8" not in found or isinstance(backend, SupportsInt8), "int8 is native, but there is no build_int8")
        if "bf16" in found:
            spec = smallest_spec(backend)
            model = build(backend, spec, None, precision="bf16")
            expect(model.spec == spec, "build() in bf16 returned another network")
        expect_refusal(
            partial(backend.native_precisions, "cuda:99"), BackendUnavailableError, "cuda:99", "device cuda:99"
        )
        self.note(", ".join(found))
