"""Keras 3 backend of cxrscore, on the engine that KERAS_BACKEND or keras.json selects.

Importing this module imports no framework.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from cxrscore.contract import Backend, Model, ModelSpec, Precision, ScorePrecision, Tensors, hookimpl
from cxrscore.errors import BackendUnavailableError
from cxrscore.networks.operations import OPERATIONS
from cxrscore_keras.environment import import_keras, set_defaults


class KerasBackend:
    """Runs on the devices of its engine (tensorflow, torch or jax); bf16 by the dtype policy mixed_bfloat16."""

    name = "keras"
    requires: tuple[str, ...] = ("keras",)
    install = 'pip install "cxrscore[keras]"'
    architectures: tuple[str, ...] = ()
    operations: tuple[str, ...] = tuple(OPERATIONS)
    trains = True
    speed: Mapping[str, float] = {"cpu": 0.9, "cuda": 0.9}

    def build(
        self,
        spec: ModelSpec,
        tensors: Tensors | None,
        *,
        device: str = "auto",
        precision: Precision = "fp32",
        seed: int = 0,
    ) -> Model:
        with self._starting():
            from cxrscore_keras.model import build
        return build(spec, tensors, device=device, precision=precision, seed=seed)

    def native_precisions(self, device: str = "auto") -> Sequence[ScorePrecision]:
        with self._starting():
            from cxrscore_keras.model import native_precisions
        return native_precisions(device)

    @contextmanager
    def _starting(self) -> Iterator[None]:
        """The import of Keras, quietly; BackendUnavailableError if it fails."""
        set_defaults()
        try:
            import_keras()
            yield
        except (ImportError, ValueError) as error:  # an engine that is not installed, or an invalid name
            raise BackendUnavailableError(
                f"Keras does not start: {error}. It needs an engine: install one with {self.install}, "
                "or name the installed one in KERAS_BACKEND (tensorflow, torch or jax)."
            ) from error


@hookimpl
def cxrscore_backends() -> Sequence[Backend]:
    return [KerasBackend()]
