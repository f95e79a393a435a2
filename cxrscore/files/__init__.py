"""Files that are whole or absent, their digests, and a lock."""

from cxrscore.files.atomic import make_folder, whole_file, write_whole
from cxrscore.files.digest import sha256_bytes, sha256_of
from cxrscore.files.lock import locked

__all__ = ["locked", "make_folder", "sha256_bytes", "sha256_of", "whole_file", "write_whole"]
