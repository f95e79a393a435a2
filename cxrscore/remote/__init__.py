"""Remote films and scores files: URLs, reading with retries, and complete uploads."""

from cxrscore.remote.arguments import (
    Location,
    StrPath,
    convert_paths,
    local_path,
    local_paths,
    location,
    locations,
    one_or_several,
)
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
    "Location",
    "PathOrUrl",
    "RemotePath",
    "StrPath",
    "as_local_path",
    "check_writable",
    "convert_paths",
    "download",
    "is_url",
    "list_remote",
    "local_path",
    "local_paths",
    "location",
    "location_text",
    "locations",
    "one_or_several",
    "parse_location",
    "read_remote",
    "remote_exists",
    "rewrite_path_in_errors",
    "upload",
    "without_secrets",
]
