"""Films and scores files that lie elsewhere: addresses, reading with patience, writing whole or not at all."""

from cxrscore.remote.bounds import Entry
from cxrscore.remote.transfer import (
    INSTALL,
    as_local_path,
    check_writable,
    download,
    list_remote,
    read_remote,
    remote_exists,
    rewrite_path_in_errors,
    upload,
)
from cxrscore.remote.url import PathOrUrl, RemotePath, is_url, location_text, parse_location, without_secrets

__all__ = [
    "INSTALL",
    "Entry",
    "PathOrUrl",
    "RemotePath",
    "as_local_path",
    "check_writable",
    "download",
    "is_url",
    "list_remote",
    "location_text",
    "parse_location",
    "read_remote",
    "remote_exists",
    "rewrite_path_in_errors",
    "upload",
    "without_secrets",
]
