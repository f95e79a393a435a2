"""The folder of this user for what cxrscore stores between runs."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """CXRSCORE_CACHE, else the platform's cache folder for users."""
    return Path(os.environ.get("CXRSCORE_CACHE") or platformdirs.user_cache_dir("cxrscore"))
