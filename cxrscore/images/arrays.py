"""Films that are arrays in memory: accepted shapes and types, and their conversion to grey pixels."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from cxrscore.errors import InputError
from cxrscore.images.codecs import cv2
from cxrscore.images.decode import LoadedFilm
from cxrscore.images.film import Film, FilmError, Header, Pixels, Status, check_sides
from cxrscore.images.grey_range import check_content, in_used_range
from cxrscore.images.preprocess import Preprocessing, preprocess
from cxrscore.remote import PathOrUrl, RemotePath, location

CHANNELS = (1, 3, 4)
"""Lengths of a last axis that is colour: grey, RGB, RGBA."""
_EIGHT_BIT_TOLERANCE = 1e-3
"""In grey levels of 255: floats this close to integer levels are an 8-bit film divided by 255."""
_PIL_MODES = ("L", "RGB", "RGBA", "I;16", "I;16L", "I;16B", "I;16N")
"""Modes of PIL whose values are levels of grey or colour: not indices of a palette (P) or inks (CMYK)."""
_WANTED = "expected a path, or an array [H,W], [H,W,3], [N,H,W] or [N,H,W,3]"

FilmSource: TypeAlias = PathOrUrl | NDArray[Any]
"""One film: a file, or an array [H,W] or [H,W,C] with C of CHANNELS."""


def as_films(given: Any) -> tuple[Sequence[FilmSource], bool]:
    """The films that an argument names, and whether it names one film and not a list.

    Parameters
    ----------
    given : path, array, or iterable of these
        A file as str, os.PathLike or RemotePath; an array [H,W] or [H,W,C] of one film; an array [N,H,W] or
        [N,H,W,C] of N films; or an iterable of files and arrays of one film each, of any sizes. C is 1 (grey), 3 (RGB)
        or 4 (RGBA). An array of three axes is one colour film if its last axis has length 1, 3 or 4, else N grey
        films: a film has at least 32 pixels a side, so it cannot be both. Types: see load_array.

    Raises
    ------
    InputError
        If it is of another type or shape, or names a folder.

    Examples
    --------
    >>> import numpy as np
    >>> films, single = as_films(np.zeros((64, 48), np.uint8))
    >>> len(films), single
    (1, True)
    >>> films, single = as_films(np.zeros((5, 64, 48, 3), np.uint8))
    >>> len(films), films[0].shape, single
    (5, (64, 48, 3), False)
    """
    if isinstance(given, str | os.PathLike | RemotePath):
        return [_file(given)], True
    if _is_array(given):
        array = _as_array(given)
        if array.dtype.kind in "OUT":  # such as a column of a data frame
            return _from_column(array), False
        return _from_array(array)
    if isinstance(given, Iterable) and not isinstance(given, type | bytes | bytearray | memoryview | io.IOBase):
        return [_one_film(item, index) for index, item in enumerate(given)], False
    raise InputError(f"films are of type {type(given).__name__}, {_WANTED}, or a list of these")


def _is_array(given: Any) -> bool:
    """Asks the class: an object may fail when it is asked, such as a closed PIL image."""
    return hasattr(type(given), "__array__") or hasattr(type(given), "__array_interface__")


def _as_array(given: Any) -> NDArray[Any]:
    """Of any object that is an array to NumPy, such as a tensor on the CPU or a PIL image."""
    mode = getattr(given, "mode", None)
    if type(given).__module__.startswith("PIL.") and mode not in _PIL_MODES:
        raise InputError(
            f"the PIL image has the mode {mode}, expected L, RGB, RGBA or I;16: convert it with .convert('L'), or pass "
            "the path of its file"
        )
    if isinstance(given, np.ma.MaskedArray) and np.ma.is_masked(given):
        raise InputError("the array has masked pixels, expected a value for each pixel: fill them with .filled(0)")
    try:
        return np.asarray(given)
    except Exception as error:  # what it raises is up to the other library
        raise InputError(
            f"an object of type {type(given).__name__} cannot be converted to a NumPy array ({error}); convert it "
            "first, such as tensor.detach().float().cpu().numpy()"
        ) from error


def _from_column(array: NDArray[Any]) -> list[FilmSource]:
    if array.ndim > 1 and array.shape[1:] != (1,):
        raise InputError(
            f"an array or table of type {array.dtype} has the shape {list(array.shape)}, expected one column of paths, "
            "such as frame['path']; pixels are expected as uint8, uint16 or float"
        )
    return [_one_film(item, index) for index, item in enumerate(array.ravel())]


def _one_film(item: Any, index: int) -> FilmSource:
    try:
        if isinstance(item, str | os.PathLike | RemotePath):
            return _file(item)
        if not _is_array(item):
            raise InputError(f"it is of type {type(item).__name__}, expected a path or an array [H,W] or [H,W,3]")
        films, single = _from_array(_as_array(item))
        if not single:
            raise InputError("the array holds several films; pass the array by itself, or its films one by one")
    except InputError as error:
        raise InputError(f"film {index} of the list (counted from 0): {error}") from error
    return films[0]


def _file(given: str | os.PathLike[str] | RemotePath) -> PathOrUrl:
    found = location(given, "film")
    if isinstance(found, Path) and os.path.isdir(found):  # unlike Path.is_dir, False for a name that is too long
        raise InputError(f"{found} is a folder; pass its files, or use cxrscore.score for a folder")
    return found


def _from_array(array: NDArray[Any]) -> tuple[Sequence[NDArray[Any]], bool]:
    _check_type(array)
    if array.size == 0 and array.shape[:1] == (0,) and array.ndim != 2:
        return [], False
    colour = array.ndim > 2 and array.shape[-1] in CHANNELS
    axes = array.ndim - colour
    if array.ndim > 2 and array.shape[-1] == 2:
        raise InputError(
            f"the array has the shape {list(array.shape)}, {_WANTED}; of grey and transparency pass the grey, "
            "array[..., 0]"
        )
    if axes not in (2, 3) or array.ndim > 4:
        hint = "; the colours come last, not first" if array.ndim == 4 and array.shape[1] in CHANNELS else ""
        raise InputError(f"the array has the shape {list(array.shape)}, {_WANTED}{hint}")
    return ([array], True) if axes == 2 else (list(array), False)


def _check_type(array: NDArray[Any]) -> None:
    if array.dtype.kind != "f" and array.dtype.newbyteorder("=") not in (np.uint8, np.uint16):
        raise InputError(
            f"the array is of type {array.dtype}, expected uint8 (0 to 255), uint16 (0 to 65535) or float (0.0 to "
            "1.0), black to white: convert it, such as with array.astype('uint16') if white is 65535"
        )


def load_array(array: NDArray[Any], preprocessing: Preprocessing, *, also: Sequence[Preprocessing] = ()) -> LoadedFilm:
    """One film in memory, preprocessed as a file is; it gets the same statuses for what cannot be used.

    Parameters
    ----------
    array : array [H,W] or [H,W,C]
        0 is black. uint8: 255 is white. uint16: 65535 is white. Float: 1.0 is white; the values become 16-bit levels,
        or 8-bit levels if all of them are multiples of 1/255. Colour becomes grey, and transparency is ignored. A film
        that uses less than a quarter of its range, such as 12 bits in uint16, is spread over the range that it uses,
        with a note in its message (grey_range.in_used_range).
    preprocessing : Preprocessing
        How the film becomes a square.
    also : sequence of Preprocessing
        Further ones for which squares are returned.

    Raises
    ------
    InputError
        If a float is NaN, below 0 or above 1.
    """
    height, width = array.shape[:2]
    try:
        check_sides(Header(width=width, height=height))
        pixels, note = in_used_range(_grey(_levels(array)))
        check_content(pixels)
    except FilmError as error:
        return LoadedFilm(film=Film(status=error.status, message=str(error), width=width, height=height), pixels=None)
    square, *more = (preprocess(pixels, one) for one in (preprocessing, *also))
    film = Film(status=Status.OK, message=note, width=width, height=height)
    return LoadedFilm(film=film, pixels=square, more=tuple(more))


def _levels(array: NDArray[Any]) -> Pixels:
    """The same film as uint8 or uint16, contiguous and in the byte order of this machine."""
    if array.dtype.kind != "f":
        return cast(Pixels, np.ascontiguousarray(array, array.dtype.newbyteorder("=")))
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 1):
        raise InputError(
            f"a film of type {array.dtype} has values from {low:.9g} to {high:.9g}, expected 0.0 (black) to 1.0 "
            "(white) and no NaN: scale it first, such as with film / 255 if white is 255"
        )
    eight = array.astype(np.float64) * 255
    rounded = np.rint(eight)
    if np.abs(eight - rounded).max() < _EIGHT_BIT_TOLERANCE:
        return rounded.astype(np.uint8)
    return np.rint(eight * 257).astype(np.uint16)


def _grey(pixels: Pixels) -> Pixels:
    if pixels.ndim == 2:
        return pixels
    if pixels.shape[2] == 1:
        return cast(Pixels, np.ascontiguousarray(pixels[..., 0]))
    return cast(Pixels, cv2.cvtColor(np.ascontiguousarray(pixels[..., :3]), cv2.COLOR_RGB2GRAY))
