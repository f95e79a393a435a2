"""Ray executor of cxrscore: actors on one machine or a cluster. Importing this module does not import Ray."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cxrscore.contract import Executor, TaskBatch, hookimpl


class RayExecutor:
    """Actors hold the model and write their results to a file system that all machines share."""

    name = "ray"
    summary = "Ray actors on this machine, or on the cluster at --address"
    requires: tuple[str, ...] = ("ray",)
    install = 'pip install "cxrscore[ray]"'

    def run(
        self, work: TaskBatch, done: Callable[[int, str], None], *, processes: int, address: str | None = None
    ) -> None:
        from cxrscore_ray.actors import run

        run(work, done, processes=processes, address=address)


@hookimpl
def cxrscore_executors() -> Sequence[Executor]:
    return [RayExecutor()]
