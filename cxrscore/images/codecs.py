"""Image libraries: OpenCV, which is imported only here because its limits must be set before the import, and simplejpeg
(extra "strict").

cxrscore calls OpenCV from several threads, and OpenCV releases the interpreter lock while it computes. Its own thread
pool would only compete with these threads.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
from typing import Any

from cxrscore.images.film import MAX_PIXELS, FilmError, Status

# Headers are checked before decoding; this limit is a second check.
os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(MAX_PIXELS)

import cv2

cv2.setNumThreads(1)
# A damaged film is reported by its status; OpenCV's messages on stderr give neither film nor cause.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

__all__ = ["cv2"]


def check_jpeg_strictly(data: bytes) -> None:
    """Raise FilmError if libjpeg warns about the coded data; decoders do not report these warnings.

    Does nothing if simplejpeg is not installed, or if it cannot decode this kind of JPEG at all, such as CMYK with
    subsampled colours: then OpenCV decides. A JPEG has no checksum, so some damage is not detected: a changed byte in
    the coded data is found in about half of the cases.
    """
    simplejpeg = _simplejpeg()
    if simplejpeg is None:
        return
    try:
        simplejpeg.decode_jpeg(data, colorspace="GRAY", strict=True)
    except ValueError as error:
        if _is_decoded_leniently(simplejpeg, data):
            raise FilmError(Status.DAMAGED, f"damaged: {str(error)[:80]}") from None


def _is_decoded_leniently(simplejpeg: Any, data: bytes) -> bool:
    """Whether the same decoder gives pixels if it passes over warnings."""
    try:
        simplejpeg.decode_jpeg(data, colorspace="GRAY", strict=False)
    except ValueError:
        return False
    return True


@functools.cache
def _simplejpeg() -> Any:
    return importlib.import_module("simplejpeg") if importlib.util.find_spec("simplejpeg") else None
