"""Convert stored DICOM values to the grey that a viewer shows, as one lookup table over all stored values.

A film has at most 65,536 different stored values, so the display chain is computed once for each of them, in float64,
and the film is then looked up in this table.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrscore.images.film import FilmError, Pixels, Status

Values = NDArray[np.float64]


def displayed(stored: NDArray[Any], dataset: Any) -> tuple[Pixels, str]:
    """Displayed pixels of stored values [H,W] (8 or 16 bits, signed or not), and a note on what was applied.

    dataset gives the elements of the modality LUT, VOI LUT and photometric interpretation. uint8 where the values
    are plain 8-bit grey, else uint16 over the window or, without one, over the range of the stored bits.
    """
    limits = np.iinfo(stored.dtype)
    table, notes = _chain(np.arange(limits.min, limits.max + 1, dtype=np.float64), dataset, signed=limits.min < 0)
    plain = stored.dtype == np.uint8 and int(dataset.BitsStored) == 8 and not notes
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        table = 1.0 - table
        notes.append("inverted")
    grey = np.rint(table * 255).astype(np.uint8) if plain else np.rint(table * 65535).astype(np.uint16)
    return grey[stored.astype(np.int32) - limits.min], ", ".join(notes)


def _chain(values: Values, dataset: Any, *, signed: bool) -> tuple[Values, list[str]]:
    """Grey 0..1 of each stored value before inversion, with the names of the steps that changed it."""
    notes = []
    bits = int(dataset.BitsStored)
    low, high = (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if signed else (0.0, 2.0**bits - 1)
    first, last = int(low - values[0]), int(high - values[0])
    if item := _first(dataset.get("ModalityLUTSequence")):
        values, _ = _lookup(values, item, dataset)
        notes.append("modality LUT")
    elif (line := _rescale(dataset)) != (1.0, 0.0):
        values = values * line[0] + line[1]
        notes.append("rescaled")
    if item := _first(dataset.get("VOILUTSequence")):
        values, top = _lookup(values, item, dataset)
        return values / top, [*notes, "VOI LUT"]
    if dataset.get("WindowCenter") is not None and dataset.get("WindowWidth") is not None:
        return _windowed(values, dataset), [*notes, "VOI window"]
    shown = values[first : last + 1]
    return _scaled(values, shown.min(), shown.max()), notes


def _rescale(dataset: Any) -> tuple[float, float]:
    """Slope and intercept; both must be present."""
    slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    if slope is None or intercept is None:
        return 1.0, 0.0
    line = float(slope), float(intercept)
    if not np.isfinite(line).all() or abs(line[0]) + abs(line[1]) > 1e30:
        raise FilmError(Status.DAMAGED, "damaged: its rescale slope or intercept is out of range")
    return line


def _windowed(values: Values, dataset: Any) -> Values:
    """Grey 0..1 by the first window; PS3.3 C.11.2.1.2.1 (LINEAR), C.11.2.1.3.1 (SIGMOID), C.11.2.1.3.2 (EXACT)."""
    center, width = _number(dataset.WindowCenter), _number(dataset.WindowWidth)
    function = str(dataset.get("VOILUTFunction") or "LINEAR").upper()
    if not abs(center) < 1e30 or not (1 if function == "LINEAR" else 1e-9) <= width < 1e30:
        raise FilmError(Status.DAMAGED, "damaged: its VOI window is out of range")
    if function == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -700, 700))))
    if function == "LINEAR_EXACT":
        return np.clip((values - center) / width + 0.5, 0, 1)
    if function != "LINEAR":
        raise FilmError(Status.UNSUPPORTED, "VOI function, expected LINEAR, LINEAR_EXACT or SIGMOID")
    if width == 1:  # a step: the formula divides by width - 1
        return np.where(values > center - 0.5, 1.0, 0.0)
    return np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1)


def _scaled(values: Values, low: float, high: float) -> Values:
    if not high > low:
        raise FilmError(Status.DAMAGED, "damaged: all its values are equal")
    return np.clip((values - low) / (high - low), 0, 1)


def _lookup(values: Values, item: Any, dataset: Any) -> tuple[Values, float]:
    """Values from the LUT of a sequence item, and the largest value of its bit depth.

    Values before the first entry get the first, values after the last entry get the last (PS3.3 C.11.1.1.1).
    """
    entries, first, bits = (int(number) for number in item.LUTDescriptor)
    entries = entries % 65536 or 65536  # 0 means 65,536; a reader may interpret the number as signed
    data = item.LUTData
    if isinstance(data, bytes):
        order = "<" if dataset.original_encoding[1] else ">"
        data = np.frombuffer(data, "u1" if len(data) < 2 * entries else f"{order}u2")
    table = np.asarray(data, dtype=np.float64)[:entries]
    top = float(2**bits - 1)
    if len(table) < entries or not 8 <= bits <= 16 or table.max() > top:
        raise FilmError(Status.DAMAGED, "damaged: its lookup table does not match its descriptor")
    return table[np.clip(np.rint(values) - first, 0, entries - 1).astype(np.intp)], top


def _first(sequence: Any) -> Any:
    return sequence[0] if sequence else None


def _number(value: Any) -> float:
    """The first of one or more numbers."""
    return float(value if isinstance(value, (int, float, str)) or not hasattr(value, "__getitem__") else value[0])
