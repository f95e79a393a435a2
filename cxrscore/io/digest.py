"""SHA-256 of bytes and files, as lower-case hex."""

import hashlib
from pathlib import Path

from cxrscore.io.regular import open_regular


def sha256_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """OSError as io.regular.open_regular."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
