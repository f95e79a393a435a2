"""The one place that imports OpenCV, because its limits must be set before the import.

OpenCV is used from several threads of cxrscore at once and lets go of the interpreter lock while it works,
so its own thread pool would only compete with them.
"""

import os

from cxrscore.images.film import MAX_PIXELS

# Headers are checked before decoding; this is the second lock on the same door.
os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(MAX_PIXELS)

import cv2

cv2.setNumThreads(1)
# A damaged film is reported by its status; OpenCV's own lines on stderr name neither film nor cause.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

__all__ = ["cv2"]
