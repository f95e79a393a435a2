"""The range of grey values that a film uses, where the one that it declares is far wider.

Many exports write values of 12 bits into 16 without a word. Shown over the range of 16 bits, such a film is black.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cxrscore.images.codecs import cv2
from cxrscore.images.film import FilmError, Pixels, Status

RANGE_FROM_PIXELS = "grey range taken from its pixels"
"""Start of the note of a film whose range is a guess."""

SMALL_SHARE = 4
"""A film that uses less than one part in so many of its declared range is spread over the range that it uses."""
_FAR_PIXELS = 0.005
"""Share of pixels that may lie far above all others, as a bright marker does."""
_BETWEEN = 0.0001
"""Share of pixels that may lie between those and all others."""
_BURNED_IN = 0.05
"""The share that may lie far above if nearly all of these pixels have one value, as burned-in letters do."""
_OF_ONE_VALUE = 0.9
_SMOOTHED = 1 / 16
"""Number of pixels at the edges of such letters, as a share of those far above, that may lie between."""
_LEAST_LEVELS = 64
_EVERY = 16
"""Rows of which one is looked at first."""
_BLANK_BELOW = 1.0
"""Standard deviation, in grey levels of 255, below which a film counts as blank."""
_SUFFICES = 5.0
"""Standard deviation of one of _EVERY rows from which that of all pixels exceeds _BLANK_BELOW, 4.0, and a margin."""
_NOISE_BELOW = 5.0
"""The same for a film that was spread, without noise."""
_COARSE = 64
"""Pixels a side of the film on which noise has averaged out."""


def used_range(counts: NDArray[np.int64], first: int, low: int, high: int) -> tuple[int, int] | None:
    """The range of values over which to spread a film, if it uses less than a quarter of the declared one; else None.

    Parameters
    ----------
    counts : int [K]
        Number of pixels of each value from ``first`` on; pixels that are no part of the film are left out.
    first : int
        Value of ``counts[0]``.
    low, high : int
        The declared range, such as 0 and 65535.

    Returns
    -------
    tuple of int or None
        The range of the smallest bit depth that holds the values, 0 to 2^k - 1 (or -2^j to 2^k - 1 if there are
        negative ones), if they use a quarter of that; else their smallest and largest value. None also for a blank
        film: fewer than 32 levels, which vary by less than one of 255 grey levels of the declared range. Half a percent
        of the pixels, or 5 percent of one value, may lie far above it: burned-in letters do not hide the range.

    Examples
    --------
    >>> import numpy as np
    >>> used_range(np.bincount([0, 900, 2000, 3900]), 0, 0, 65535)
    (0, 4095)
    >>> used_range(np.bincount([0, 900, 2000, 3900]), 0, 0, 4095) is None
    True
    """
    values = np.flatnonzero(counts) + first
    if values.size == 0:
        return None
    smallest, largest = int(values[0]), _without_far_pixels(counts, first, int(values[-1]))
    if SMALL_SHARE * (largest - smallest + 1) > high - low + 1 or _is_blank(
        counts[: largest - first + 1], largest - smallest, high - low
    ):
        return None
    depth = range_of_bits(smallest, largest)
    if SMALL_SHARE * (largest - smallest + 1) >= depth[1] - depth[0] + 1:
        return (max(depth[0], low), depth[1]) if depth[1] - depth[0] < high - low else None
    return smallest, largest


def range_of_bits(smallest: int, largest: int) -> tuple[int, int]:
    """The range 0 to 2^k - 1, or -2^j to 2^k - 1 if there are negative values, that just holds these values.

    Examples
    --------
    >>> range_of_bits(3, 3071), range_of_bits(-1024, 3071)
    ((0, 4095), (-1024, 4095))
    """
    low = -(2 ** (-smallest - 1).bit_length()) if smallest < 0 else 0
    return low, 2 ** max(largest, 0).bit_length() - 1


def _is_blank(counts: NDArray[np.int64], used: int, declared: int) -> bool:
    """Whether a film has few levels and varies by less than one of 255 grey levels of its declared range."""
    if used >= _LEAST_LEVELS // 2:
        return False
    values = np.flatnonzero(counts)
    weights = counts[values] / counts[values].sum()
    variance = float((weights * (values - (weights * values).sum()) ** 2).sum())
    return bool(variance**0.5 * 255 / declared < _BLANK_BELOW)


def _without_far_pixels(counts: NDArray[np.int64], first: int, largest: int) -> int:
    """The largest value, apart from few pixels at least twice as bright as all others."""
    start = max(-first, 0)
    from_zero = counts[start:]
    above = from_zero[::-1].cumsum()[::-1]
    total = max(int(counts.sum()), 1)
    offset = max(first, 0)
    for bits in range(_LEAST_LEVELS.bit_length() - 1, largest.bit_length()):
        border, next_border = 2**bits - offset, 2 ** (bits + 1) - offset
        if border <= 0 or next_border >= len(above):
            continue
        if _are_far(from_zero[border:], next_border - border, total):
            return int(np.flatnonzero(from_zero[:border])[-1]) + offset if from_zero[:border].any() else largest
    return largest


def _are_far(counts: NDArray[np.int64], width: int, total: int) -> bool:
    """Whether the pixels of these values, of which the first ``width`` lie between a film and all else, are few and
    far above it."""
    far, between = int(counts.sum()), int(counts[:width].sum())
    if far <= _FAR_PIXELS * total and between <= _BETWEEN * total:
        return True
    burned_in = int(counts.max()) >= _OF_ONE_VALUE * far
    return burned_in and far <= _BURNED_IN * total and between <= max(_SMOOTHED * far, _BETWEEN * total)


def range_note(used: tuple[int, int], low: int, high: int) -> str:
    """The note of a film that was spread over the range that its pixels use."""
    return f"{RANGE_FROM_PIXELS}: {used[0]} to {used[1]} of {low} to {high}"


def spread(pixels: Pixels, used: tuple[int, int]) -> NDArray[np.uint16]:
    """The film with this range spread over 0 to 65535; values outside of it become black or white."""
    low, high = used
    table = np.arange(np.iinfo(pixels.dtype).max + 1, dtype=np.float64)
    levels = np.rint(np.clip((table - low) / (high - low), 0, 1) * 65535).astype(np.uint16)
    return np.asarray(levels[pixels])


def in_used_range(pixels: Pixels, declared: int | None = None) -> tuple[Pixels, str]:
    """The film [H,W] spread over the range that it uses, with a note; as it is if it uses a quarter of its range.

    declared: the largest value by what the film says of itself, such as 4095 of a film of 12 bits: the film is spread
    over 0 to this value, without a note. None, or below the largest value of the pixels: the largest of their type.
    Raises FilmError if the range is a guess and the film shows noise only.
    """
    levels = int(np.iinfo(pixels.dtype).max) + 1
    if declared is None and _uses_a_quarter(pixels, levels):
        return pixels, ""
    counts = cv2.calcHist([pixels], [0], None, [levels], [0, levels]).ravel().astype(np.int64)
    top = levels - 1 if declared is None or counts[declared + 1 :].any() else declared
    used = used_range(counts, 0, 0, top)
    if used is None:
        return (pixels if top == levels - 1 else spread(pixels, (0, top))), ""
    shown = spread(pixels, used)
    check_spread(shown)
    return shown, range_note(used, 0, top)


def _uses_a_quarter(pixels: Pixels, levels: int) -> bool:
    """Whether some rows show already that the film uses a quarter of all levels and that these are not few far pixels.

    This takes a small part of the time of counting all pixels, and suffices for nearly every film.
    """
    rows = pixels[::_EVERY]
    bright = np.count_nonzero(rows >= levels // SMALL_SHARE)
    wide = SMALL_SHARE * (int(rows.max()) - int(rows.min()) + 1) > levels
    return bool(wide and bright > _BURNED_IN * rows.size)


def check_content(pixels: Pixels) -> None:
    """Raise FilmError if a film has only one grey level.

    The variance of all pixels is at least that of some of them times their share, so some rows suffice for nearly every
    film.
    """
    if _deviation(pixels[::_EVERY]) > _SUFFICES:
        return
    deviation = _deviation(pixels)
    if deviation < _BLANK_BELOW:
        raise FilmError(Status.BLANK, f"blank: standard deviation {deviation:.2f} of 255 grey levels")


def _deviation(pixels: Pixels) -> float:
    """Standard deviation in grey levels of 255."""
    return float(cv2.meanStdDev(pixels)[1][0, 0]) / (257 if pixels.dtype == np.uint16 else 1)


def check_spread(pixels: NDArray[np.uint16]) -> None:
    """Raise FilmError if a film that was spread over its own range shows noise only.

    The mean of n pixels varies by 1 / sqrt(n) of noise, and by nearly all of a body.
    """
    height, width = pixels.shape
    side = (max(4, min(_COARSE, width // 8)), max(4, min(_COARSE, height // 8)))
    coarse = cv2.resize(pixels, side, interpolation=cv2.INTER_AREA)
    fine_variance, coarse_variance = (float(cv2.meanStdDev(one)[1][0, 0] / 257) ** 2 for one in (pixels, coarse))
    averaged = height * width / (side[0] * side[1])
    body = coarse_variance - max(fine_variance - coarse_variance, 0) / averaged
    if body < _NOISE_BELOW**2:
        raise FilmError(Status.BLANK, "blank: its grey values vary by noise only")
