"""Cases of a backend with which several processes train one model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cxrscore.contract import Array, Backend, Batch, ProcessGroup, SupportsDistributed
from cxrscore.testing.backend_optimiser import small_model
from cxrscore.testing.cases import Cases, expect, expect_within, needs
from cxrscore.testing.fixtures import WEIGHTED_BCE, at_rate, device_of, require_distributed, some_batch


class DistributedCases(Cases):
    """join()."""

    @needs(SupportsDistributed)
    def test_b53_films_count_by_their_fraction_of_the_batch(self, backend: Backend) -> None:
        """In a group of one process, gather() returns what it was given. A step on two films of a batch ``of`` three
        has 2/3 of the loss and first moments of a step on these two alone, within 1e-5, and a third of the moments with
        a clip_norm of a third of that norm: clipping comes last. With ``of`` two it equals the step on the two. After
        leave() the backend is as before."""
        group: ProcessGroup = require_distributed(backend).join(rank=0, of=1, device=device_of(backend))
        try:
            for data in (b"", bytes(range(256))):
                met = group.gather(data)
                expect(met == [data], f"gather({data!r}) of one process returned {met!r}")
            batch = some_batch(small_model(backend).spec, 2)
            loss, moments = _step(backend, batch)
            norm = 10 * float(np.sqrt(sum((value.astype(np.float64) ** 2).sum() for value in moments.values())))
            for of, limit, wanted in ((3, np.inf, 2 / 3), (3, 2 / 3 * norm / 3, 2 / 9), (2, np.inf, 1.0)):
                found, first = _step(backend, replace(batch, of=of), limit)
                what = f"of two films of {of}, clip_norm {limit:.3g}"
                expect_within(found, loss * 2 / of, 1e-5, f"the loss {what}")
                for name, value in moments.items():
                    expect_within(first[name], wanted * value, 1e-5, f"{name} {what}")
        finally:
            group.leave()
        expect_within(_step(backend, batch)[0], loss, 1e-5, "the loss after leave()")


def _step(backend: Backend, batch: Batch, limit: float = np.inf) -> tuple[float, dict[str, Array]]:
    """Loss and first moments of a model's first step, whose gradient is at most so long."""
    model = small_model(backend)
    loss = model.fit_epoch([batch], WEIGHTED_BCE, at_rate(1e-3, clip_norm=limit))
    return loss, {name: value for name, value in model.state().items() if name.startswith("adam/m/")}
