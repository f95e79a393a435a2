"""Convert stored DICOM values to the grey that a viewer shows, as one lookup table over all stored values.

A film has at most 65,536 different stored values, so the display chain is computed once for each of them, in float64,
and the film is then looked up in this table. What the data set says of the display is followed unless it would show
next to nothing of the film: the histogram of the pixels decides.

Sources: DICOM PS3.3 C.11.1 (modality LUT), C.11.2.1 (VOI LUT and window), C.7.5.1.1.2 (pixel padding), C.7.6.3.1.2
(photometric interpretation), C.7.6.16.2.9 and C.7.6.16.2.10 (the same of enhanced objects).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrscore.images.codecs import cv2
from cxrscore.images.dicom_pixels import Stored, photometric_interpretation
from cxrscore.images.film import FilmError, Pixels, Status
from cxrscore.images.grey_range import (
    RANGE_FROM_PIXELS,
    SMALL_SHARE,
    check_spread,
    range_note,
    range_of_bits,
    used_range,
)

Values = NDArray[np.float64]
Counts = NDArray[np.int64]

_LEVELS = 65536
_AT_ONE_END = 0.9
"""Share of pixels at black, or at white, above which a window or a LUT does not show the film, if they have more than
half of its range of values: a border around a small film has a narrow one."""
_AT_BOTH_ENDS = 0.999
"""Share of pixels at black or white above which a window or a LUT does not show the film."""
_PADDING_BELOW = 0.95
"""Share of pixels above which a padding value is none: it would leave no film."""
_COUNTED = 2**24
"""Number of pixels up to which OpenCV's histogram, in float32, counts exactly."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """A VOI window in modality values; function is LINEAR, LINEAR_EXACT or SIGMOID."""

    center: float
    width: float
    function: str


@dataclass(frozen=True, kw_only=True)
class Lut:
    """A lookup table: float64 ``table`` of whole numbers below 2**16, for the values from ``first`` on; ``top`` is the
    largest number of its bit depth."""

    first: int
    table: Values
    top: float

    def __call__(self, values: Values) -> Values:
        """Values before the first entry get the first, values after the last entry the last (PS3.3 C.11.1.1.1)."""
        places = np.clip(np.rint(values) - self.first, 0, len(self.table) - 1)
        return np.asarray(self.table[places.astype(np.intp)])


@dataclass(frozen=True, kw_only=True)
class Display:
    """How a film is displayed, for a presentation state of it.

    modality  slope and intercept, or a LUT; None if values are used as stored
    voi       the window or LUT
    inverted  whether the smallest value is white
    """

    modality: tuple[float, float] | Lut | None
    voi: Window | Lut
    inverted: bool


@dataclass(frozen=True, kw_only=True)
class _Histogram:
    """Number of pixels of each stored value from ``first`` on, without padding, and which of the values are shown
    white."""

    counts: Counts
    first: int
    inverted: bool

    def used(self, low: int, high: int) -> tuple[int, int] | None:
        """used_range; letters are brighter than all else, so those of an inverted film have low values."""
        found = used_range(self.counts, self.first, low, high)
        if found is None and self.inverted:
            turned = used_range(self.counts[::-1], low + high - (self.first + len(self.counts) - 1), low, high)
            found = None if turned is None else (low + high - turned[1], low + high - turned[0])
        return found


def displayed(stored: Stored, dataset: Any) -> tuple[Pixels, str]:
    """Displayed pixels of stored values [H,W], and a note on what was applied.

    dataset gives the elements of the modality LUT, VOI LUT, photometric interpretation and padding. uint8 where the
    values are plain 8-bit grey, else uint16 over the window or, without one, over the range of the stored bits or that
    of the film.
    """
    limits = np.iinfo(stored.values.dtype)
    histogram, outside, padding, padding_notes = _without_padding(stored, dataset)
    inverted = histogram.inverted
    table, notes, _ = _chain(histogram, stored, dataset)
    plain = stored.values.dtype == np.uint8 and stored.bits == 8 and not notes
    if inverted:
        table = 1.0 - table
        notes.append("inverted")
    table[padding] = 0
    grey = np.rint(table * 255).astype(np.uint8) if plain else np.rint(table * (_LEVELS - 1)).astype(np.uint16)
    # Looked up by the bits of a value as they are: negative values come last.
    pixels: Pixels = np.roll(grey, int(limits.min))[stored.values.view(f"u{stored.values.itemsize}")]
    if outside is not None:
        pixels[outside] = 0
        padding_notes = ["padding"]
    if notes and notes[0].startswith(RANGE_FROM_PIXELS):
        check_spread(np.asarray(pixels, np.uint16))
    return pixels, ", ".join(dict.fromkeys([*notes, *padding_notes, *stored.notes]))


def display_of(stored: Stored, dataset: Any) -> Display:
    """The steps by which displayed() shows a film."""
    histogram = _without_padding(stored, dataset)[0]
    _, _, voi = _chain(histogram, stored, dataset)
    signed = stored.values.dtype.kind == "i"
    return Display(modality=_modality_step(dataset, signed=signed), voi=voi, inverted=histogram.inverted)


def _without_padding(stored: Stored, dataset: Any) -> tuple[_Histogram, NDArray[np.bool_] | None, slice, list[str]]:
    """The histogram of a film without its padding; which pixels [H,W] are padding outside of the stored bits; which
    values are padding, as a slice of all values; and notes."""
    first = int(np.iinfo(stored.values.dtype).min)
    outside = _padding_outside_of_bits(stored, dataset)
    counts = _counts(stored.values if outside is None else stored.values[~outside][:, None])
    padding, notes = _padding(stored, dataset, counts, first)
    counts[padding] = 0
    inverted = photometric_interpretation(dataset) == "MONOCHROME1"
    return _Histogram(counts=counts, first=first, inverted=inverted), outside, padding, notes


def _counts(values: NDArray[Any]) -> Counts:
    """Number of pixels of each value that the type holds, smallest first."""
    bits = np.ascontiguousarray(values).view(f"u{values.itemsize}")
    levels = 256**values.itemsize
    step = max(_COUNTED // max(bits.shape[1], 1), 1)
    counts = np.zeros(levels, np.int64)
    for at in range(0, len(bits), step):
        counts += cv2.calcHist([bits[at : at + step]], [0], None, [levels], [0, levels]).ravel().astype(np.int64)
    return np.roll(counts, levels // 2) if values.dtype.kind == "i" else counts


# --- Padding


def _padding(stored: Stored, dataset: Any, counts: Counts, first: int) -> tuple[slice, list[str]]:
    """Which values are padding, as a slice of all values, and notes; an empty slice if there is none."""
    found = _padding_range(stored, dataset)
    none = slice(0, 0)
    if found is None or not _is_within(found, stored.nominal):
        return none, []
    values = slice(found[0] - first, found[1] + 1 - first)
    padded, total = int(counts[values].sum()), int(counts.sum())
    if padded > _PADDING_BELOW * total:
        return none, ["padding value ignored: it would leave no film"]
    return (values, ["padding"]) if padded else (none, [])


def _padding_outside_of_bits(stored: Stored, dataset: Any) -> NDArray[np.bool_] | None:
    """Which pixels [H,W] hold a padding value that needs bits above the stored ones; None if no pixel does."""
    found = _padding_range(stored, dataset)
    if found is None or stored.cells is None or _is_within(found, stored.nominal):
        return None
    cells = stored.cells.view(stored.values.dtype)
    outside = (cells >= found[0]) & (cells <= found[1])
    share = np.count_nonzero(outside) / outside.size
    return outside if 0 < share <= _PADDING_BELOW else None


def _padding_range(stored: Stored, dataset: Any) -> tuple[int, int] | None:
    """Smallest and largest padding value, in stored values."""
    value, other = dataset.get("PixelPaddingValue"), dataset.get("PixelPaddingRangeLimit")
    if not isinstance(value, int):
        return None
    ends = (value, other if isinstance(other, int) else value)
    low, high = sorted(_as_stored(end, stored.values.dtype) for end in ends)
    return low, high


def _as_stored(number: int, dtype: np.dtype[Any]) -> int:
    """A number of the data set in the type of the stored values: it may be written as signed or as unsigned."""
    limits = np.iinfo(dtype)
    return number if limits.min <= number <= limits.max else int(np.array(number % 2**limits.bits).astype(dtype))


def _is_within(inner: tuple[int, int], outer: tuple[int, int]) -> bool:
    return outer[0] <= inner[0] and inner[1] <= outer[1]


# --- Display chain


def _chain(histogram: _Histogram, stored: Stored, dataset: Any) -> tuple[Values, list[str], Window | Lut]:
    """Grey 0..1 of each stored value before inversion, with the names of the steps that changed it, and the window or
    VOI LUT that was applied."""
    limits = np.iinfo(stored.values.dtype)
    values = np.arange(limits.min, limits.max + 1, dtype=np.float64)
    values, notes = _modality_values(values, dataset)
    for step, table, voi in _voi_tables(values, dataset):
        if table is None or voi is None:
            notes.append(step)
        elif _shows_the_film(table, histogram):
            return table, [*notes, step], voi
        else:
            notes.append(f"{step} ignored: it contradicts the pixels")
    (low, high), guess, known = _range(histogram, stored, dataset)
    shown = values[low - limits.min : high + 1 - limits.min]
    first, last = float(shown.min()), float(shown.max())
    voi = Window(center=(first + last + 1) / 2, width=last - first + 1, function="LINEAR")
    return _scaled(values, first, last), [*guess, *notes, *known], voi


def _modality_values(values: Values, dataset: Any) -> tuple[Values, list[str]]:
    step = _modality_step(dataset, signed=bool(values.min() < 0))
    if isinstance(step, tuple):
        return values * step[0] + step[1], ["rescaled"]
    return (values, []) if step is None else (step(values), ["modality LUT"])


def _modality_step(dataset: Any, *, signed: bool) -> tuple[float, float] | Lut | None:
    """Slope and intercept, a LUT, or None if values are used as stored; ``signed`` if these may be negative."""
    for source in _sources(dataset, "PixelValueTransformationSequence"):
        if item := _first_lut(source.get("ModalityLUTSequence")):
            return _lut(item, dataset, signed=signed)
        if (line := _rescale(source)) is not None:
            return None if line == (1.0, 0.0) else line
    return None


def _sources(dataset: Any, group: str) -> Iterator[Any]:
    """The data set and the items of its functional groups that may hold the elements of a module; the first counts."""
    yield dataset
    for groups in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        if (item := _first(dataset.get(groups))) and (inner := _first(item.get(group))):
            yield inner


def _rescale(source: Any) -> tuple[float, float] | None:
    """Slope and intercept; both must be present."""
    slope, intercept = source.get("RescaleSlope"), source.get("RescaleIntercept")
    if slope is None or intercept is None:
        return None
    line = float(slope), float(intercept)
    if not np.isfinite(line).all() or abs(line[0]) + abs(line[1]) > 1e30:
        raise FilmError(Status.DAMAGED, "damaged: its rescale slope or intercept is out of range")
    return line


def _voi_tables(values: Values, dataset: Any) -> Iterator[tuple[str, Values | None, Window | Lut | None]]:
    """The VOI LUT and the windows of the film, in the order in which they count: what each is called, the grey 0..1 of
    each value, and itself; None twice, with the reason, for a window that means nothing."""
    for source in _sources(dataset, "FrameVOILUTSequence"):
        if item := _first_lut(source.get("VOILUTSequence")):
            lut = _lut(item, dataset, signed=bool(values.min() < 0))
            yield "VOI LUT", lut(values) / lut.top, lut
    for source in _sources(dataset, "FrameVOILUTSequence"):
        centers, widths = _numbers(source, "WindowCenter"), _numbers(source, "WindowWidth")
        function = _voi_function(source) if centers or widths else ""
        for center, width in itertools.zip_longest(centers, widths):
            fault = _fault_of_window(center, width, function)
            if fault or center is None or width is None:
                yield f"VOI window ignored: {fault}", None, None
            else:
                window = Window(center=center, width=width, function=function)
                yield "VOI window", _windowed(values, center, width, function), window


def _numbers(source: Any, keyword: str) -> list[float | None]:
    """The numbers of an element, none if it is missing or empty; NaN for what is no number."""
    try:
        value = source.get(keyword)
    except (ArithmeticError, TypeError, ValueError):  # pydicom converts text when it is asked for
        return [math.nan]
    several = hasattr(value, "__iter__") and not isinstance(value, str)
    return [_number(each) for each in (value if several else [value]) if several or each not in (None, "")]


def _number(value: Any) -> float | None:
    try:
        return None if value in (None, "") else float(value)
    except (ArithmeticError, TypeError, ValueError):
        return math.nan


def _voi_function(source: Any) -> str:
    function = str(source.get("VOILUTFunction") or "LINEAR").strip("\0 ").upper()
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise FilmError(Status.UNSUPPORTED, "VOI function, expected LINEAR, LINEAR_EXACT or SIGMOID")
    return function


def _fault_of_window(center: float | None, width: float | None, function: str) -> str:
    """Why a window means nothing, "" if it means something. Numbers of the file are not quoted but for 0."""
    if center is None or width is None:
        return "no width" if width is None else "no center"
    if math.isnan(center) or math.isnan(width):
        return "not a number"
    if width <= 0:
        return "width 0" if width == 0 else "negative width"
    if width < 1 and function == "LINEAR":
        return "width below 1"
    return "" if abs(center) < 1e30 and 1e-9 <= width < 1e30 else "out of range"


def _windowed(values: Values, center: float, width: float, function: str) -> Values:
    """Grey 0..1 by a window; PS3.3 C.11.2.1.2.1 (LINEAR), C.11.2.1.3.1 (SIGMOID), C.11.2.1.3.2 (EXACT)."""
    if function == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -700, 700))))
    if function == "LINEAR_EXACT":
        return np.clip((values - center) / width + 0.5, 0, 1)
    if width == 1:  # a step: the formula divides by width - 1
        return np.where(values > center - 0.5, 1.0, 0.0)
    return np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1)


def _shows_the_film(table: Values, histogram: _Histogram) -> bool:
    """Whether this grey of each value shows the film: nearly all of it is neither black nor white, and it uses more
    than a quarter of the grey levels, few far brighter pixels left aside."""
    here = np.flatnonzero(histogram.counts)
    if here.size == 0:
        return True
    levels, pixels = np.rint(table[here] * (_LEVELS - 1)).astype(np.intp), histogram.counts[here]
    counts = np.bincount(levels, weights=pixels, minlength=_LEVELS).astype(np.int64)
    total = int(pixels.sum())
    for end in (levels == 0, levels == _LEVELS - 1):
        if pixels[end].sum() > _AT_ONE_END * total and 2 * _span(here[end], pixels[end]) > _span(here, pixels):
            return False
    if counts[0] + counts[-1] > _AT_BOTH_ENDS * total:
        return False
    if SMALL_SHARE * (int(levels.max()) - int(levels.min()) + 1) <= _LEVELS:
        return False
    shown = _Histogram(counts=counts, first=0, inverted=histogram.inverted)
    return shown.used(0, _LEVELS - 1) is None


def _span(values: NDArray[np.intp], pixels: Counts) -> int:
    """Distance of the 1st and the 99th percentile of values in ascending order, with the number of pixels of each."""
    until = pixels.cumsum()
    low, high = values[np.searchsorted(until, [0.01 * until[-1], 0.99 * until[-1]])]
    return int(high - low)


def _range(histogram: _Histogram, stored: Stored, dataset: Any) -> tuple[tuple[int, int], list[str], list[str]]:
    """The range of stored values from black to white of a film without window, the note if it is a guess, and the note
    if it is not that of the stored bits but one that the file tells."""
    low, high = stored.nominal
    used = histogram.used(low, high)
    if used is None and low < 0 and histogram.counts.any() and not histogram.counts[: -histogram.first].any():
        used = 0, high  # of signed values, but none is negative
    if used is None:
        return (low, high), [], []
    for told, by in _told_ranges(stored, dataset):
        inside = histogram.counts[told[0] - histogram.first : told[1] + 1 - histogram.first]
        here = np.flatnonzero(inside)
        wide = here.size and SMALL_SHARE * (here[-1] - here[0] + 1) > told[1] - told[0] + 1
        if wide and inside.sum() == histogram.counts.sum():
            return told, [], [f"range of {by}: {told[0]} to {told[1]}"]
    return used, [range_note(used, low, high)], []


def _told_ranges(stored: Stored, dataset: Any) -> Iterator[tuple[tuple[int, int], str]]:
    """Ranges narrower than that of the stored bits which the file tells of."""
    signed = stored.values.dtype.kind == "i"
    if stored.precision < stored.bits and not signed:
        yield (0, 2**stored.precision - 1), "its code stream"
    ends = [dataset.get(f"{end}ImagePixelValue") for end in ("Smallest", "Largest")]
    if all(isinstance(end, int) for end in ends):
        smallest, largest = (_as_stored(end, stored.values.dtype) for end in ends)
        told = range_of_bits(smallest, largest)
        if _is_within(told, stored.nominal) and told != stored.nominal:
            yield told, "its largest pixel value"


def _scaled(values: Values, low: float, high: float) -> Values:
    if not high > low:
        raise FilmError(Status.DAMAGED, "damaged: all its values are equal")
    return np.clip((values - low) / (high - low), 0, 1)


def _lut(item: Any, dataset: Any, *, signed: bool) -> Lut:
    """The LUT of a sequence item, for values that may be negative if ``signed``. Its bit depth is that of its
    descriptor, or that of its data if these exceed it or use less than a quarter of it (12 bits in data that are said
    to have 16)."""
    entries, first, bits = (int(number) for number in item.LUTDescriptor)
    entries = entries % _LEVELS or _LEVELS  # 0 means 65,536; a reader may interpret the number as signed
    if first >= _LEVELS // 2 and signed:  # negative, but read as unsigned
        first -= _LEVELS
    data, order = item.LUTData, "<" if dataset.original_encoding[1] else ">"
    if not isinstance(data, bytes) and len(data) < entries <= 2 * len(data):  # two entries of 8 bits in a word
        data = np.asarray(data, f"{order}u2").tobytes()
    if isinstance(data, bytes):
        data = np.frombuffer(data, "u1" if len(data) < 2 * entries else f"{order}u2")
    table = np.asarray(data, dtype=np.float64)[:entries]
    if len(table) < entries or table.min() < 0 or table.max() >= _LEVELS:
        raise FilmError(Status.DAMAGED, "damaged: its lookup table does not match its descriptor")
    used = max(int(table.max()).bit_length(), 1)
    if not used <= bits <= 16 or used < bits - 1:
        bits = used
    return Lut(first=first, table=table, top=2.0**bits - 1)


def _first(sequence: Any) -> Any:
    return sequence[0] if sequence else None


def _first_lut(sequence: Any) -> Any:
    """The first LUT; None if its elements are empty, which says nothing (PS3.5 7.4.3)."""
    item = _first(sequence)
    return item if item and not any(item.get(name) is None for name in ("LUTDescriptor", "LUTData")) else None
